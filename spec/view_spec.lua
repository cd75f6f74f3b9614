-- The live view without a terminal: its screens, compared with those in spec/screens/ (MINIGUN_SCREENS=write makes them
-- anew: look at what has changed), its keys, what it writes.
local columns = require "minigun.view.columns"
local glyphs = require "minigun.view.glyphs"
local keys = require "minigun.view.keys"
local layout = require "minigun.view.layout"
local numbers = require "minigun.view.numbers"
local plain = require "minigun.view.plain"
local screens = require "spec.screens"
local servers = require "minigun.view.servers"
local style = require "minigun.view.style"
local support = require "spec.support"

local row, status = screens.row, screens.status

-- Asserts that a screen is as it was, and that no line is wider than it.
local function assert_screen(name, text, width)
  local path = ("spec/screens/%s.txt"):format(name)
  if os.getenv "MINIGUN_SCREENS" == "write" then support.write_file(path, text) end
  for line in text:gmatch "[^\n]+" do assert.is_true(columns.width(line) <= (width or 120), line) end
  assert.equal(support.read_file(path), text, name)
end

local function chain()
  return status({
    row("source", { kind = "producer", source = true, items_out = 1234, rate = 105.25, in_share = 0.2,
      busy_share = 0.8 }),
    row("fetch", { context = "processes(4)", workers = 4, queue = 64, pending = 60, items_in = 1234, items_out = 1170,
      oldest = 12.5, failed = 4, retried = 9, rate = 98.2, busy_share = 0.97, p50 = 0.034, p90 = 0.08, p95 = 0.12,
      p99 = 0.31, observed = 1170, queue_most = 64, retries = 2, timeout = 5, ordered = true,
      hooks = { "after", "before" } }),
    row("save", { kind = "consumer", context = "threads(8)", terminal = true, items_in = 1170, pending = 3, rate = 95,
      p50 = 0.002, p99 = 0.0041, p90 = 0.003, p95 = 0.004, observed = 1000, state = "waiting" }),
  }, "source=fetch fetch=save", { bottleneck = "fetch", failed = 4, total = 5000, part = 0.237, left = 39.7, alive = 4,
    counters = { pages = 1170 }, warnings = { "something odd" },
    workers = { { segment = "fetch", worker = 1, pid = 5001, state = "working", stage = "fetch", item = 1171,
      held = 0.31, in_hand = 1, items = 300, restarts = 1, died = 1, busy = 11.9, age = 12.2, cpu = 0.31,
      memory = 5 << 20 },
      { segment = "fetch", worker = 2, state = "none", in_hand = 0, items = 0, restarts = 0, died = 0, busy = 0 } },
    failures = { { kind = "error", stage = "fetch", message = "job.lua:9: no such page\nmore", item = '"/x"',
      attempts = 3, worker = 1, pid = 5001 } } })
end

local function plain_rows(...)
  local rows = {}
  for i, name in ipairs { ... } do
    rows[i] = row(name, { rate = 10 * i, source = i == 1 or nil, kind = i == 1 and "producer" or "map" })
  end
  return rows
end

local function diamond()
  return status(plain_rows("source", "left", "right", "join"), "source>left source=right left>join right=join")
end

local LOG <const> = { "[info] shop/fetch, worker 1 (pid 5001): begun", "[debug] shop (pid 4711): detail",
  "printed by a handler", "[error] shop/save (pid 4711): disk full" }

describe("the screens of the live view:", function()
  for name, make in pairs {
    chain = function() return screens.text(chain()) end,
    diamond = function() return screens.text(diamond()) end,
    ["fan out"] = function()
      return screens.text(status(plain_rows("source", "a", "b", "c"), "source>a source>b source>c"))
    end,
    ["four paths"] = function()
      return screens.text(status(plain_rows("source", "a", "b1", "b2", "c1", "c2", "c3", "end"),
        "source>a source>b1 b1>b2 source>c1 c1>c2 c2>c3 a>end b2>end c3>end source>end"), {}, { height = 40 })
    end,
    ["dead letters"] = function()
      local rows = plain_rows("source", "work", "dead")
      rows[2].failed = 2
      return screens.text(status(rows, "source>work work!dead"))
    end,
    ["sent by themselves"] = function()
      return screens.text(status(plain_rows("source", "left", "right", "last"),
        "source>left source>right left>last right~last source~last"))
    end,
    kinds = function()
      local rows = {}
      for i, kind in ipairs { "producer", "processor", "consumer", "accumulator", "stage", "reduce", "batch" } do
        rows[i] = row(kind .. " " .. i, { kind = kind })
      end
      rows[8] = row("chooses", { route = "choice" })
      rows[9] = row("forks", { context = "process_per_batch(2)" })
      return screens.text(status(rows, ""), { "-" })
    end,
    nested = function()
      local rows = plain_rows("source", "inner.parse", "inner.check", "save")
      return screens.text(status(rows, "source>inner.parse inner.parse>inner.check inner.check>save"), {},
        { height = 36 })
    end,
    ["ascii"] = function() return screens.text(chain(), {}, { glyphs = glyphs.ascii }) end,
    ["80 columns"] = function() return screens.text(chain(), {}, { width = 80, height = 24 }) end,
    ["60 columns"] = function() return screens.text(chain(), {}, { width = 60, height = 10 }) end,
    ["200 columns"] = function() return screens.text(chain(), {}, { width = 200, height = 50 }) end,
    ["too small"] = function() return screens.text(chain(), {}, { width = 59, height = 9 }) end,
    help = function() return screens.text(chain(), { "h" }, { port = screens.RUN }) end,
    help_of_another_process = function() return screens.text(chain(), { "h" }) end,
    sources_ended = function()
      local all = chain()
      all.stages[1].state = "done"
      return screens.text(all)
    end,
    details = function() return screens.text(chain(), { "down", "down", "enter" }) end,
    question = function() return screens.text(chain(), { "x" }, { port = { stop = function() end } }) end,
    paused = function() return screens.text(chain(), { "space" }) end,
    finished = function()
      local own = chain()
      own.over, own.state, own.part, own.left = true, "done", nil, nil
      for _, each in ipairs(own.stages) do each.state, each.rate = "done", 0 end
      return screens.text(own)
    end,
    workers = function() return screens.text(chain(), { "W" }) end,
    ["no workers"] = function() return screens.text(diamond(), { "2" }) end,
    failures = function() return screens.text(chain(), { "e" }) end,
    log = function() return screens.text(chain(), { "l" }, { log = LOG }) end,
    ["log from warnings on"] = function() return screens.text(chain(), { "l", "v", "v" }, { log = LOG }) end,
    totals = function() return screens.text(chain(), { "5" }) end,
    list = function() return screens.text(chain(), { "-", "-" }) end,
    ["large boxes"] = function() return screens.text(chain(), { "+", "+" }, { height = 40 }) end,
    sorted = function() return screens.text(chain(), { "o", "o", "o" }) end,
    ["found"] = function() return screens.text(chain(), { "/", "s", "a", "enter" }) end,
    ["long and wide names"] = function()
      return screens.text(status({ row(("n"):rep(60), { kind = "producer", source = true }), row "漢字の名前はここにある",
        row "e\u{301}vil \27[31m\1 name" }, ("n"):rep(60) .. ">漢字の名前はここにある"))
    end,
    ["60 columns and a long name"] = function()
      return screens.text(status({ row(("n"):rep(40), { kind = "producer", source = true }), row "b" },
        ("n"):rep(40) .. ">b"), {}, { width = 60, height = 14 })
    end,
    ["forty stages"] = function()
      local rows, edges = {}, {}
      for i = 1, 40 do
        rows[i] = row("stage " .. i, { rate = i })
        rows[i].name = "stage" .. i
        if i > 1 then edges[#edges + 1] = ("stage%d>stage%d"):format(i - 1, i) end
      end
      return screens.text(status(rows, table.concat(edges, " ")), { "down", "page down", "page down", "s", "s" })
    end,
    server = function()
      return screens.text(servers.status { name = "web", pid = 99, state = "serving", generation = 2, wanted = 2,
        listen = { "127.0.0.1:8080" }, workers = {
          { number = 1, pid = 100, state = "ready", generation = 2, requests = 1200, accepted = 1300, in_hand = 3,
            restarts = 0, memory = 9 << 20, age = 63, doing = "GET /" },
          { number = 2, pid = 101, state = "starting", generation = 2, requests = 0, accepted = 0, in_hand = 0,
            restarts = 2, age = 1 } } }, { "2" })
    end,
  } do
    it(name, function()
      local width = tonumber(name:match "^(%d+) columns") or name == "too small" and 59 or 120
      assert_screen(name:gsub(" ", "_"), make(), width)
    end)
  end
end)

describe("the live view", function()
  it("tells how many items have failed beside the name of their table", function()
    for failed, text in pairs { [0] = "3 Failures  4 Log", [1] = "3 Failures(1)", [1200] = "3 Failures(1.2K)" } do
      local drawn = screens.text(status({ row("source", { failed = failed }) }, "", { failed = failed }))
      assert.is_truthy(drawn:find(text, 1, true), drawn)
    end
  end)

  it("writes only what has changed, and little of it while things move", function()
    local rows, edges = {}, {}
    for i = 1, 20 do
      rows[i] = row("stage" .. i, { rate = 100 + i, items_in = 1000 * i, items_out = 1000 * i, p50 = 0.001 * i,
        busy_share = 0.5, context = "processes(2)", source = i == 1 or nil })
      if i > 1 then edges[#edges + 1] = ("stage%d=stage%d"):format(i - 1, i) end
    end
    local own = status(rows, table.concat(edges, " "))
    local view, screen, clock = screens.view(own, { height = 40 })
    view:frame()
    screen.written = {}
    view:frame()
    assert.equal("", table.concat(screen.written))
    for _ = 1, 100 do -- ten seconds
      clock.now, own.elapsed = clock.now + 0.1, own.elapsed + 0.1
      for i, each in ipairs(rows) do
        each.items_in, each.items_out = each.items_in + 13, each.items_out + 13
        each.rate, each.p50 = 100 + (clock.now * 7 * i) % 10, each.p50 * 1.01
      end
      view:frame()
    end
    local bytes = #table.concat(screen.written) / 10
    assert.is_true(bytes > 100 and bytes < 10000, bytes .. " bytes in a second")
  end)

  it("draws ten times a second at most, and not while the terminal takes nothing", function()
    local own = chain()
    local view, screen, clock = screens.view(own)
    assert.is_true(view:look() <= 0.1)
    local first = #screen.written
    for _ = 1, 50 do
      clock.now = clock.now + 0.001
      view:look()
    end
    assert.equal(first, #screen.written)
    screen.room, own.elapsed = 0, 99
    clock.now = clock.now + 0.5
    view:look()
    local stuck = view.pending
    assert.is_true(#stuck > 0)
    for _ = 1, 5 do
      clock.now = clock.now + 0.3
      view:look()
    end
    assert.equal(stuck, view.pending)
    screen.room = 7 -- and takes it in small pieces
    clock.now = clock.now + 0.3
    screen.written = {}
    view:look()
    assert.equal(stuck, table.concat(screen.written):sub(1, #stuck))
  end)

  it("paints all anew where the terminal was away, or has another size", function()
    local view, screen, clock = screens.view(chain())
    view:frame()
    for _, change in ipairs { function() screen.anew = true end, function() screen.width = 100 end,
      function() screen.typed = "r" end } do
      screen.written, clock.now = {}, clock.now + 1
      change()
      view:frame()
      assert.matches("\27%[2J", table.concat(screen.written))
    end
    screen.shown, screen.written = false, {}
    view:frame()
    assert.same({}, screen.written)
  end)

  it("asks before it stops or kills a run, and does only what is answered with yes", function()
    local done = {}
    local port = { owns = true, stop = function() done[#done + 1] = "stop" end,
      kill = function() done[#done + 1] = "kill" end, pause = function(on) done[#done + 1] = tostring(on) end,
      save = function(lines, own) return ("saved %d %s"):format(#lines, own.pipeline) end }
    local view = screens.view(chain(), { port = port })
    view:frame()
    for _, key in ipairs { "x", "n", "K", "escape", "q", "a", "p", "S" } do view:key(key) end
    assert.same({ "true" }, done)
    assert.is_false(view.closed)
    assert.equal("saved 30 shop", view.message)
    for _, key in ipairs { "x", "y", "K", "y", "q", "y" } do view:key(key) end
    assert.same({ "true", "stop", "kill", "stop" }, done)
    assert.is_true(view.closed)
  end)

  it("of a run that is not its own closes at once, and touches nothing", function()
    local view = screens.view(chain())
    view:frame()
    for _, key in ipairs { "x", "y", "K", "y", "p", "S" } do view:key(key) end
    assert.is_false(view.closed)
    view:key "q"
    assert.is_true(view.closed)
  end)

  it("is closed where it fails, and the run goes on; an interrupt ends the run", function()
    local result = support.run_lua([[
      local live = require "minigun.control.live"
      for _, text in ipairs { "a fault", "view.lua:1: interrupted!" } do
        local port, now = live.port(function() error(text, 0) end), 0
        port.now = function() return now end
        local view = live.open(port)
        now = 2
        print(pcall(view.look, view, 7))
        print(view:is_closed(), view:look(8))
      end
    ]], { env = { TERM = "dumb" } })
    assert.equal("true\t7\ntrue\t8\nfalse\tinterrupted!\ntrue\t8\n", result.stdout)
    assert.matches("^minigun: the live view has failed and is closed, the run goes on: a fault\nstack traceback:\n",
      result.stderr)
    assert.is_nil(result.stderr:find "interrupted")
  end)

  it("closes when the terminal is gone", function()
    local view, screen = screens.view(chain())
    screen.typed = nil
    view:frame()
    assert.is_true(view.closed)
  end)

  it("bears any keys in any order, on screens of any size", function()
    local seed = tonumber(os.getenv "SEED") or os.time()
    math.randomseed(seed)
    local random = math.random
    local names = { "q", "Q", "x", "K", "n", "y", "h", "r", "up", "down", "page up", "page down", "home", "end", "w",
      "a", "s", "d", "0", "c", "+", "-", "tab", "back tab", "W", "e", "l", "/", "enter", "o", "O", "v", "p", "S", "1",
      "2", "3", "4", "5", "space", "escape", "backspace", "ä", "漢", "?", "ctrl-l" }
    local sizes = { { 120, 30 }, { 60, 10 }, { 59, 9 }, { 1, 1 }, { 200, 60 }, { 61, 100 }, { 0, 0 } }
    for _, make in ipairs { chain, diamond, function() return status({}, "") end } do
      local view, screen, clock = screens.view(make(), { log = LOG, port = { owns = true, stop = function() end,
        kill = function() end, pause = function() end, save = function() return "saved" end } })
      for n = 1, support.short_or_long(100, 2000) do
        screen.width, screen.height = table.unpack(sizes[random(#sizes)])
        clock.now = clock.now + random() * 0.3
        view:frame()
        local key = names[random(#names)]
        local ok, message = xpcall(view.key, debug.traceback, view, key)
        assert.is_true(ok, ("SEED=%d, key %d '%s': %s"):format(seed, n, key, message))
        view.closed = false
      end
    end
  end)
end)

describe("keys", function()
  it("are named, from whatever bytes come", function()
    assert.same({ "q", "up", "down", "page up", "tab", "space", "enter", "escape", "ä", "ctrl-c", "up" },
      keys.of "q\27[A\27[B\27[5~\t \r\27ä\3\27OA")
    assert.same({ "a", "b" }, keys.of "a\27[200~\27[1;5Cb\1\2")
    assert.same({}, keys.of "")
    for _ = 1, 500 do
      local bytes = {}
      for i = 1, math.random(12) do bytes[i] = string.char(math.random(0, 255)) end
      assert.is_table(keys.of(table.concat(bytes)))
    end
  end)
end)

describe("the layout of a diagram", function()
  it("never lets boxes touch, and leads each line from below its source to above its target", function()
    local seed = tonumber(os.getenv "SEED") or os.time()
    math.randomseed(seed)
    for _ = 1, support.short_or_long(20, 400) do
      local stages, edges = {}, {}
      local n = math.random(1, 14)
      for i = 1, n do
        stages[i] = { name = "s" .. i, width = math.random(14, 30) }
        for j = 1, i - 1 do
          if math.random() < 2 / i then edges[#edges + 1] = { from = "s" .. j, to = "s" .. i } end
        end
      end
      local picture = layout.new(stages, edges, 3)
      local taken = {}
      for name, box in pairs(picture.boxes) do
        for x = box.x - 1, box.x + box.width do
          for y = box.y, box.y + 2 do
            local key = x .. "," .. y
            local inside = x >= box.x and x < box.x + box.width
            assert.is_false(taken[key] ~= nil and inside, ("SEED=%d: %s"):format(seed, name))
            if inside then taken[key] = name end
          end
        end
        assert.is_true(box.x >= 1 and box.x + box.width - 1 <= picture.width and box.y + 2 <= picture.height)
      end
      assert.equal(#edges, #picture.ways)
      for _, way in ipairs(picture.ways) do
        local from, to, cells = picture.boxes[way.edge.from], picture.boxes[way.edge.to], way.cells
        assert.equal(from.y + 3, cells[1].y)
        assert.equal(to.y - 1, cells[#cells].y)
        assert.equal(from.x + from.width // 2, cells[1].x)
        assert.equal(to.x + to.width // 2, cells[#cells].x)
        for i, cell in ipairs(cells) do
          assert.is_nil(taken[cell.x .. "," .. cell.y], ("SEED=%d: a line through a box"):format(seed))
          local before = cells[i - 1]
          assert.is_true(not before or math.abs(before.x - cell.x) + math.abs(before.y - cell.y) == 1)
        end
      end
    end
  end)

  it("crosses no lines of a tree", function()
    local seed = tonumber(os.getenv "SEED") or os.time()
    math.randomseed(seed)
    for round = 1, support.short_or_long(100, 1000) do
      local stages, edges = { { name = "s1", width = 14 } }, {}
      for i = 2, math.random(2, 20) do
        stages[i] = { name = "s" .. i, width = math.random(14, 30) }
        edges[#edges + 1] = { from = "s" .. math.random(math.max(1, i - 5), i - 1), to = "s" .. i }
      end
      local boxes, crossed = layout.new(stages, edges, 3).boxes, 0
      for _, a in ipairs(edges) do
        for _, b in ipairs(edges) do
          local above = boxes[a.from].y == boxes[b.from].y and boxes[a.from].x - boxes[b.from].x or 0
          if above * (boxes[a.to].x - boxes[b.to].x) < 0 then crossed = crossed + 1 end
        end
      end
      assert.equal(0, crossed, ("SEED=%d, round %d"):format(seed, round))
    end
  end)
end)

describe("numbers", function()
  it("are short", function()
    local said = {}
    for i, n in ipairs { 0, 7, 999, 1000, 1234, 99999, 3400000, 2e9 } do said[i] = numbers.count(n) end
    assert.same({ "0", "7", "999", "1.0K", "1.2K", "100K", "3.4M", "2.0G" }, said)
    assert.same({ "0/s", "10.5/s", "0.3/s", "1.2K/s" }, { numbers.rate(0), numbers.rate(10.5), numbers.rate(0.31),
      numbers.rate(1200.0) })
    assert.same({ "-", "850us", "12ms", "1.5s" }, { numbers.time(nil), numbers.time(0.00085), numbers.time(0.012),
      numbers.time(1.5) })
    assert.same({ "512 B", "64 KiB", "1.5 GiB" }, { numbers.bytes(512), numbers.bytes(65536), numbers.bytes(3 << 29) })
    assert.same({ "7.25 s", "3:07 min", "2:05 h" }, { numbers.duration(7.25), numbers.duration(187),
      numbers.duration(7512) })
  end)
end)

describe("the plain view", function()
  it("is a line so often as is asked for, and one at the end, of a run with progress = 'plain'", function()
    local now, lines = 0, {}
    local view = plain.new({ status = chain, now = function() return now end }, function(text)
      lines[#lines + 1] = text
    end, 5)
    for second = 1, 11 do
      now = second
      view:look()
    end
    assert.equal(2, #lines)
    local result = support.run_lua([[
      require "minigun".pipeline "logged":producer { 1, 2 }:each("last", { processes = 1 }, function() end)
        :run { progress = "plain" }]])
    assert.matches("^logged done, [^\n]+last 2 [^\n]+\n$", result.stderr)
  end)

  it("is one line", function()
    assert.equal("shop running, 12.35 s, 24%, 39.70 s left: source 1234 105/s > fetch 1174/1234 98.2/s, 4 failed > "
      .. "save 1167/1170 95.0/s", plain.line(chain()))
  end)
end)

describe("what a terminal can show", function()
  local function env(values) return function(name) return values[name] end end

  it("is told by the environment", function()
    assert.equal(glyphs.unicode, glyphs.of(env { LANG = "en_US.UTF-8" }))
    assert.equal(glyphs.ascii, glyphs.of(env { LANG = "en_US.UTF-8", LC_ALL = "C" }))
    assert.equal(glyphs.ascii, glyphs.of(env {}))
    assert.equal(256, style.colours(env { TERM = "xterm-256color" }))
    assert.equal(8, style.colours(env { TERM = "linux" }))
    assert.equal(0, style.colours(env { TERM = "xterm", NO_COLOR = "1" }))
  end)
end)
