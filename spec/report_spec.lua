-- What a run writes about itself: the report, the trace, the metrics.

local lfs = require "lfs"
local json = require "dkjson" -- busted needs it, too
local minigun = require "minigun"
local chart = require "minigun.view.chart"
local history = require "minigun.view.history"
local support = require "spec.support"

local directory
local directory_of = support.directory_for_each(before_each, after_each)
before_each(function() directory = directory_of() end)

-- A run of half a second with two branches, workers, failures, and names that HTML must not take for its own.
local function run(options)
  local p = minigun.pipeline 'a <b>"name"</b>'
  p:producer("numbers", { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 })
  p:processes(2, function()
    p:processor("square", function(x, emit, ctx)
      minigun.sleep(0.05)
      ctx:count("all & some", 1)
      if x == 7 then error "</script><script>alert(1)</script>" end
      emit(x * x)
    end)
  end)
  p:map("left", { from = "square" }, function(x) return x end)
  p:map("right", { from = "square" }, function(x) return -x end)
  p:each("sum", { from = { "left", "right" } }, function() end)
  options.failures, options.progress = "collect", false
  return p:run(options)
end

describe("a chart of lines", function()
  local function steady(first)
    local points = { { 0.05, first } }
    for i = 2, 60 do points[i] = { i / 20, 900 + i } end
    return { { name = "a", points = points } }
  end

  it("has a scale for what is usual, and says where a few points are far above that", function()
    local svg = chart.lines("rates", steady(50000), 3, "/s")
    assert.matches(">1056/s</text>", svg, 1, true)
    assert.matches("cut off at the top: up to 50 k/s", svg, 1, true)
    local tops = 0
    for y in svg:match 'points="(.-)"':gmatch ",([%d.]+)" do tops = tops + (y == "10.0" and 1 or 0) end
    assert.equal(1, tops)
    svg = chart.lines("rates", steady(1500), 3, "/s")
    assert.matches(">1500/s</text>", svg, 1, true)
    assert.not_matches("cut off", svg)
  end)

  it("names each quarter of the time at its place", function()
    local svg, texts, places = chart.lines("rates", steady(900), 2, "/s"), {}, {}
    for x, where, text in svg:gmatch '<text class="axis" x="([%d.]+)" y="%d+" text%-anchor="(%l+)">([^<]*)' do
      texts[#texts + 1], places[#places + 1] = where .. " " .. text, tonumber(x)
    end
    assert.same({ "start 0", "middle 500 ms", "middle 1 s", "middle 1.5 s", "end 2 s" }, texts)
    for i = 2, 5 do assert.near((places[5] - places[1]) / 4, places[i] - places[i - 1], 0.11) end
    local width = tonumber(svg:match 'viewBox="0 0 (%d+) ')
    assert.is_true(places[5] > 0.8 * width and places[5] <= width and places[1] < 0.2 * width)
  end)
end)

describe("the history of a run", function()
  it("keeps a bounded number of samples, over all of its time, and no busy time is lost", function()
    local own, busy = history.new(), 0
    for i = 1, 20000 do
      local at = i * 0.05
      busy = busy + 0.03
      if own:is_due(at) then
        own:take { elapsed = at, memory = 0, stages = { { items_in = i, items_out = 0, pending = 1, failed = 0 } },
          workers = { { segment = "s", worker = 1, pid = 1, stage = "s", busy = busy } } }
      end
    end
    assert.is_true(#own.samples > 100 and #own.samples <= 240, #own.samples)
    assert.is_true(own.samples[1].at < 20 and own.samples[#own.samples].at > 950)
    local sum = 0
    for _, sample in ipairs(own.samples) do sum = sum + sample.workers[1].busy end
    assert.is_true(math.abs(sum - busy) < 0.05 * busy, ("%g of %g"):format(sum, busy))
  end)
end)

describe("a run's report", function()
  it("is one page without network and script that names stages, failures, lines and items", function()
    local path = directory .. "/run.html"
    run { report = path }
    local page = support.read_file(path)
    assert.is_nil(page:find("src=", 1, true))
    assert.is_nil(page:find("http", 1, true))
    assert.equal(1, select(2, page:gsub("<script", "")))
    for _, text in ipairs { "numbers", "square", "left", "right", "sum", "report_spec.lua:%d+: &lt;/script&gt;",
      "processes%(2%)", "Items in a second", "a &lt;b&gt;&quot;name&quot;", "all &amp; some" } do
      assert.matches(text, page)
    end
    local status = json.decode((page:match '<script type="application/json" id="run">(.-)</script>'))
    assert.equal(5, #status.stages)
    assert.equal(1, status.failed)
    assert.equal("square", status.bottleneck)
    assert.equal(5, #status.edges)
    assert.equal("run.html\n", support.run("ls " .. directory).stdout)
  end)

  it("is written whatever ends the run, also where nothing happens", function()
    local path = directory .. "/run.html"
    local p = minigun.pipeline "p"
    p:producer(function() error "broken" end)
    p:each(print)
    assert.has_error(function() p:run { report = path } end)
    assert.matches("broken", support.read_file(path), 1, true)
    minigun.pipeline("q"):producer({}):each(print):run { report = path }
    assert.matches("too short for charts", support.read_file(path), 1, true)
  end)

  it("stays below a megabyte", function()
    local path = directory .. "/run.html"
    local p = minigun.pipeline "many"
    p:producer("source", function(emit) for i = 1, 300 do emit(i) end end)
    for i = 1, 40 do p:map("stage " .. i, function(x) return x end) end
    p:each(function(x) error(("x"):rep(100000) .. x) end)
    p:run { report = path, failures = "collect", progress = false }
    assert.is_true(lfs.attributes(path, "size") < 1e6, lfs.attributes(path, "size"))
  end)

  it("cannot be written: an error at the caller's line, before anything runs", function()
    for _, name in ipairs { "report", "trace", "metrics" } do
      local ran = false
      local p = minigun.pipeline("p"):producer({ 1 }):each(function() ran = true end)
      local ok, message = pcall(function() p:run { [name] = directory .. "/none/x" } end)
      assert.is_false(ok)
      assert.matches("report_spec.lua:%d+: option '" .. name .. "': cannot write '.*/none/x': No such file", message)
      assert.is_false(ran)
    end
  end)

  it("is refused in the place of a directory, and written into a pipe or a device, which stays what it is", function()
    local p = minigun.pipeline("p"):producer({ 1 }):each(function() end)
    local _, message = pcall(function() p:run { report = directory } end)
    assert.matches("cannot write '.*': it is a directory", message)
    local pipe = directory .. "/pipe"
    local result = support.run((("mkfifo PIPE; ./bin/minigun run --report PIPE examples/001_hello.lua > PIPE.out & " ..
      "cat PIPE"):gsub("PIPE", pipe)))
    assert.is_truthy(result.stdout:find "^<!doctype html>.*</html>\n$")
    assert.equal("named pipe", lfs.attributes(pipe, "mode"))
    local path = support.write_file(directory .. "/said.lua", "print 'before' " ..
      "require 'minigun'.pipeline 'p':producer { 1 }:each(function() end):run() print 'after'")
    support.run(("./bin/minigun run --report /dev/stdout %s > %s/out"):format(path, directory))
    assert.matches("^before\n<!doctype html>.*</html>\nafter\n$", support.read_file(directory .. "/out"))
    assert.equal("link", lfs.symlinkattributes("/dev/stdout", "mode"))
  end)

  it("looks right in a browser: light, dark, wide and narrow, without a message of the console", function()
    if not support.has "chromium" then return pending "chromium is not installed" end
    support.deadline(240)
    run { report = directory .. "/run.html" }
    -- One browser shows all of them in frames, and says of each: its width, that of what is in it, how much text and
    -- how many drawings of some size it shows, its colours.
    support.write_file(directory .. "/all.html", [[<body>
      <iframe src="run.html" width="1100"></iframe>
      <iframe src="run.html" width="400"></iframe>
      <iframe src="run.html" width="1100" style="color-scheme: dark"></iframe>
      <script>onload = function () {
        document.body.innerHTML = Array.from(document.querySelectorAll("iframe"), function (frame) {
          var page = frame.contentDocument, body = page.body, root = page.documentElement
          var drawings = Array.from(page.querySelectorAll("svg"), function (svg) { return svg.getBoundingClientRect() })
          return [root.clientWidth, root.scrollWidth, body.innerText.length,
            drawings.filter(function (box) { return box.width > 100 && box.height > 20 }).length,
            getComputedStyle(body).backgroundColor, getComputedStyle(body).color].join(";")
        }).join("!")
      }</script>]])
    local result = support.run(("chromium --headless --no-sandbox --disable-gpu --allow-file-access-from-files " ..
      "--user-data-dir=%s/c --enable-logging=stderr --dump-dom file://%s/all.html"):format(directory, directory),
      { timeout = 120 })
    assert.is_nil(result.stderr:find("CONSOLE", 1, true), result.stderr)
    local shown = {}
    for width, inside, letters, drawings, back, text in result.stdout:gmatch
        "(%d+);(%d+);(%d+);(%d+);rgb%((%d+)[^;]+;rgb%((%d+)" do
      shown[#shown + 1] = { width = tonumber(width), dark = tonumber(back) < 50 and tonumber(text) > 200,
        light = tonumber(back) > 200 and tonumber(text) < 50 }
      assert.equal(width, inside)
      assert.is_true(tonumber(letters) > 500, result.stdout)
      assert.equal("4", drawings)
    end
    assert.equal(3, #shown, result.stdout)
    assert.is_true(shown[1].light and shown[1].width > 1000, result.stdout)
    assert.is_true(shown[2].light and shown[2].width < 400, result.stdout)
    assert.is_true(shown[3].dark and shown[3].width > 1000, result.stdout)
  end)
end)

describe("a run's trace", function()
  it("has the names of stages and workers, and events within the run's time", function()
    local path = directory .. "/run.json"
    local result = run { trace = path }
    local trace = json.decode(support.read_file(path))
    local names, busy, counts = {}, 0, 0
    for _, event in ipairs(trace.traceEvents) do
      assert.equal(math.floor(event.pid), event.pid)
      if event.ph == "M" then names[event.args.name or ""] = true end
      if event.ph == "X" then
        assert.is_true(event.ts >= 0 and event.dur > 0 and event.ts + event.dur <= result.elapsed * 1e6 + 1)
        busy = busy + event.dur
      end
      if event.ph == "C" then counts = counts + 1 end
    end
    for _, name in ipairs { "numbers", "square", "sum", "worker 1", "worker 2" } do
      assert.is_true(names[name], name)
    end
    assert.is_true(busy > 0.2e6 and counts >= 5)
  end)
end)

describe("a run's metrics", function()
  it("are text of Prometheus with each stage's counts, and are replaced whole", function()
    local path = directory .. "/run.prom"
    run { metrics = path }
    local text = support.read_file(path)
    for name, kind in text:gmatch "# TYPE minigun_([%w_]+) (%l+)" do -- as promtool wants it
      assert.equal(kind == "counter", name:find "_total$" ~= nil, name)
      assert.is_nil(name:find "_count$" or name:find "_sum$" or name:find "gauge" or name:find "counter")
    end
    assert.matches('minigun_items_in_total{pipeline="a <b>\\"name\\"</b>",stage="square"} 10\n', text, 1, true)
    assert.matches('minigun_items_failed_total{pipeline="a <b>\\"name\\"</b>",stage="square"} 1\n', text, 1, true)
    assert.matches('minigun_counted{pipeline="a <b>\\"name\\"</b>",name="all & some"} ', text, 1, true)
    for line in text:gmatch "[^\n]+" do
      assert.is_truthy(line:find '^# %u+ minigun_[%w_]+ ' or line:find '^minigun_[%w_]+{.*} %-?[%d.e+-]+$', line)
    end
    if support.has "promtool" then
      assert.equal(0, support.run("promtool check metrics", { stdin = text }).code)
    end
    assert.equal("run.prom\n", support.run("ls " .. directory).stdout)
  end)
end)
