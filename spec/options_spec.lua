local failure = require "minigun.base.failure"
local tallies = require "minigun.policy.tally"
local options = require "minigun.language.schemas"
local refusals = require "spec.refusals"
local support = require "spec.support"

local schemas = options.schemas

describe("options", function()
  it("R70 fills in defaults and keeps what was given", function()
    local checked = options.check(schemas.accumulator, { max_size = 7.0 }, "stage 'x'")
    local filled = options.fill(schemas.accumulator, checked)
    assert.equal(7, filled.max_size)
    assert.equal("integer", math.type(filled.max_size))
    assert.equal(0, filled.retries)
    assert.is_nil(filled.max_wait)
  end)

  it("R58 lays options over one another, the first being the strongest", function()
    local function run(given) return options.check(schemas.run, given, "run") end
    local filled = options.fill(schemas.run, run { failures = "stop" }, run { failures = "collect", max_restarts = 0 })
    assert.equal("stop", filled.failures)
    assert.equal(0, filled.max_restarts)
    assert.equal(5, filled.restart_window)
  end)

  it("leaves the user's table as it is", function()
    local given = { to = "b", processes = 2 }
    options.check(schemas.processor, given, "stage 'a'")
    assert.same({ to = "b", processes = 2 }, given)
  end)

  it("R3 makes an array of names, each once", function()
    local checked = options.check(schemas.processor, { to = "b", from = { "x", "y", "x" } }, "stage 'a'")
    assert.same({ to = { "b" }, from = { "x", "y" } }, checked)
  end)

  it("reads amounts of memory", function()
    for text, bytes in pairs {
      ["64K"] = 65536, ["1m"] = 1048576, ["1.5 MiB"] = 1572864, ["2GB"] = 2147483648, ["100000"] = 100000,
      [70000.0] = 70000, [65536] = 65536,
    } do
      assert.equal(bytes, options.check(schemas.run, { memory = text }, "run").memory)
    end
  end)

  it("R70 refuses values of a wrong type or size with what is expected and what was got", function()
    local function check(kind, given) return options.check(schemas[kind], given, "stage 'parse'") end
    refusals.check {
      { function() check("processor", { processes = "four" }) end,
        "stage 'parse': option 'processes' must be an integer", 'got the string "four"' },
      { function() check("processor", { processes = 0 }) end, "from 1 to 1024", "got 0" },
      { function() check("processor", { processes = 1025 }) end, "got 1025" },
      { function() check("processor", { processes = 1.5 }) end, "got 1.5" },
      { function() check("processor", { fork = { max = 0 } }) end, "'fork'", "'max' must be an integer", "got 0" },
      { function() check("processor", { process_per_batch = { n = 2 } }) end, "unknown option 'n'", "max" },
      { function() check("processor", { inline = 1 }) end, "'inline' must be true or false" },
      { function() check("processor", { retries = -1 }) end, "at least 0" },
      { function() check("processor", { backoff = 0 / 0 }) end, "seconds" },
      { function() check("processor", { timeout = 0 }) end, "above 0" },
      { function() check("processor", { timeout = math.huge }) end, "above 0" },
      { function() check("processor", { queue = -1 }) end, "at least 1" },
      { function() check("processor", { to = 4 }) end, "a stage's name", "got 4" },
      { function() check("processor", { to = { "a", 4 } }) end, "array of names" },
      { function() check("processor", { to = { a = "b" } }) end, "array of names" },
      { function() check("processor", { from = {} }) end, "one name or more" },
      { function() check("processor", { context = "" }) end, "not empty" },
      { function() check("processor", { before_fork = "f" }) end, "a function or an array of functions" },
      { function() check("processor", { before_fork = { print, 1 } }) end, "a function or an array of functions" },
      { function() check("accumulator", { max_size = 0 }) end, "from 1 to 4294967295" },
      { function() check("accumulator", { max_wait = "1s" }) end, "seconds" },
      { function() check("accumulator", { by = "key" }) end, "a function" },
      { function() check("processor", { processes = { n = 2, max_memory = (1 << 20) - 1 } }) end, "'max_memory'",
        "at least 1048576", "got 1048575" },
      { function() check("run", { memory = 65535 }) end, "at least 65536", "got 65535" },
      { function() check("run", { memory = "64 bananas" }) end, "such as" },
      { function() check("run", { failures = "ignore" }) end, '"raise", "collect" or "stop"' },
      { function() check("run", 5) end, "options must be a table, got 5" },
    }
  end)

  it("R70 refuses unknown options and says what was meant", function()
    local function check(kind, given) return options.check(schemas[kind], given, "stage 'parse'") end
    refusals.check {
      { function() check("processor", { procesess = 4 }) end,
        "stage 'parse': unknown option 'procesess' (did you mean 'processes'?)" },
      { function() check("processor", { process = 4 }) end, "did you mean 'processes'?" },
      { function() check("processor", { form = "a" }) end, "did you mean 'from'?" },
      { function() check("processor", { retry = 4 }) end, "did you mean 'retries'?" },
      { function() check("accumulator", { max = 4 }) end, "did you mean 'max_size'?" },
      { function() check("run", { xyzzy = 4 }) end, "unknown option 'xyzzy' (there are: memory, failures" },
      { function() check("processor", { "b" }) end, "options are given by name", "[1]" },
      { function() check("producer", { from = "a" }) end, "'from' is not for a producer: it receives no items" },
      { function() check("producer", { retries = 1 }) end, "'retries' is not for a producer" },
      { function() check("processor", { max_size = 1 }) end, "unknown option 'max_size'" },
      { function() check("processor", { cluster = "host" }) end, "a URL of Redis begins with redis://" },
      { function() check("processor", { cluster = "redis://a:b@c" }) end, "a password does not belong there" },
    }
  end)

  it("documents every option", function()
    for _, schema in pairs(schemas) do
      local text = options.describe(schema)
      for _, name in ipairs(schema.names) do
        local row = text:match("\n(| `" .. name .. "` |[^\n]*)")
        assert.is_truthy(row, name)
        assert.equal(4, select(2, row:gsub(" |", "")), row)
      end
    end
    local text = options.describe(schemas.accumulator)
    assert.is_truthy(text:find("| `max_size` | an integer from 1 to 4294967295 | `100` |", 1, true))
  end)

  it("suggests only what is near", function()
    assert.equal("timeout", options.suggest("timout", { "to", "timeout" }))
    assert.equal("parse", options.suggest("Parse", { "purge", "parse" }))
    assert.is_nil(options.suggest("save", { "load", "parse" }))
    assert.is_nil(options.suggest("x", { "y" }))
    assert.equal("", options.hint("x", {}))
  end)
end)

describe("a failure", function()
  local function new(fields)
    return failure.new(fields)
  end

  it("R72 begins with the handler's line, then says where, then gives the traceback", function()
    local record = new {
      kind = "error", stage = "parse", item = 17, message = "app.lua:3: no number", traceback = "stack traceback:\n\tx",
      pid = 4711, worker = 2, workers = 4, attempts = 1,
    }
    assert.equal("app.lua:3: no number\nin stage 'parse', worker 2 of 4 (pid 4711), item 17\nstack traceback:\n\tx",
      tostring(record))
    assert.equal("error", record.kind)
    assert.equal(17, record.item)
  end)

  it("says only what is known", function()
    assert.equal("m", tostring(new { kind = "error", message = "m" }))
    assert.equal("m\nin stage 's', item false",
      tostring(new { kind = "error", message = "m", stage = "s", item = false }))
    assert.equal("m\npid 9, after 3 attempts", tostring(new { kind = "error", message = "m", pid = 9, attempts = 3 }))
    assert.equal("m\npart of its output was already delivered",
      tostring(new { kind = "error", message = "m", partial = true }))
  end)

  it("R72 names the signal or the code of a death", function()
    assert.equal("the worker was killed by signal 9 (SIGKILL)\nin stage 's'",
      tostring(new { kind = "crash", signal = 9, stage = "s" }))
    assert.equal("the worker was killed by signal 63", tostring(new { kind = "crash", signal = 63 }))
    assert.equal("a.lua:3: the worker was killed by signal 63",
      tostring(new { kind = "crash", signal = 63, at = "a.lua:3" }))
    assert.equal("the worker exited with code 3 with 1 item in flight",
      tostring(new { kind = "crash", code = 3, in_flight = 1 }))
  end)

  it("R72 says which workers got what the dead one held, as far as that is known", function()
    local record = new { kind = "crash", code = 3, in_flight = 4 }
    assert.equal("the worker exited with code 3 with 4 items in flight; the 3 others went back to the queue",
      record.message)
    failure.taken(record, 3)
    failure.taken(record, 3)
    assert.matches("; the 3 others went to worker 3$", record.message)
    failure.taken(record, 1)
    assert.matches("; the 3 others went to workers 1, 3$", record.message)
    assert.same({ 1, 3 }, record.went_to)
    assert.matches("; the other went back to the queue$",
      new({ kind = "timeout", message = "too long", in_flight = 2 }).message)
  end)

  it("R72 names the item's number where it is known", function()
    assert.equal("m\nin stage 's', item number 17, value {id = 17}",
      tostring(new { kind = "error", message = "m", stage = "s", item = { id = 17 }, number = 17 }))
    assert.equal("m\nitem number 17", tostring(new { kind = "error", message = "m", number = 17 }))
  end)

  it("refuses a kind that is none", function()
    assert.has_error(function() new { kind = "oops" } end)
  end)

  it("is summed up with the first in full and the rest counted", function()
    local function parse(message) return new { kind = "error", stage = "parse", message = message } end
    local crash = new { kind = "crash", stage = "save", signal = 9 }
    local function summary(list)
      local tally = tallies.new()
      for _, record in ipairs(list) do tally:add(record) end
      assert.equal(#list, tally.n)
      return tally:summary()
    end
    assert.is_nil(summary {})
    assert.equal("a\nin stage 'parse'", summary { parse "a" })
    assert.equal("a\nin stage 'parse'\nand 1 more failure: 1 of kind crash in stage 'save'",
      summary { parse "a", crash })
    assert.equal("a\nin stage 'parse'\n" ..
      "and 3 more failures: 2 of kind error in stage 'parse', 1 of kind crash in stage 'save'",
      summary { parse "a", parse "b", crash, parse "c" })
  end)
end)

describe("failure.show", function()
  it("shows values on one short line", function()
    for _, case in ipairs {
      { 17, "17" }, { 1.0, "1.0" }, { true, "true" }, { "a\n\"b\0", [["a\n\"b\000"]] }, { {}, "{}" },
      { { 1, "x", { 2 } }, '{1, "x", {...}}' }, { { id = 1, b = false }, "{b = false, id = 1}" },
      { { a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8 },
        "{a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8}" },
      { { 1, 2, 3, 4, 5, 6, 7, 8, 9 }, "{1, 2, 3, 4, 5, 6, 7, 8, ...}" },
      { { [3.5] = 1 }, "{[3.5] = 1}" }, { print, "a function" }, { { 1, n = 1 }, "{1, n = 1}" },
    } do
      assert.equal(case[2], failure.show(case[1]))
    end
    assert.equal("nil", failure.show(nil))
    local nine = {}
    for i = 1, 9 do nine[("abcdefghi"):sub(i, i)] = i end
    assert.matches("^{%a = %d, .*, %.%.%.}$", failure.show(nine))
  end)

  it("cuts what is long, and comes to an end in a cycle", function()
    local cycle, big = {}, {}
    cycle.self = cycle
    for i = 1, 10000 do big[i], big["k" .. i] = i, i end
    assert.equal("{self = {...}}", failure.show(cycle))
    assert.is_true(#failure.show(big) < 80)
    assert.is_true(#failure.show(("x"):rep(1000)) < 80)
  end)

  it("runs no metamethods", function()
    local function explode() error "called" end
    local value = setmetatable({ 1 }, { __index = explode, __len = explode, __pairs = explode, __tostring = explode })
    assert.equal("{1}", failure.show(value))
  end)
end)

describe("arguments made at random", function()
  it("R70 are accepted, or refused at the caller's line, whatever they are", function()
    support.deadline(support.short_or_long(60, 1200))
    local seed, count = tonumber(os.getenv "SEED") or os.time(), support.short_or_long(4000, 1000000)
    local home = assert(require "lfs".currentdir())
    local done = support.run(("exec lua5.4 spec/programs/random_arguments.lua %d %d"):format(seed,
      count), { timeout = support.short_or_long(50, 1100) * support.patience, env = {
        LUA_PATH = ("%s/lua/?.lua;%s/lua/?/init.lua;%s/?.lua;;"):format(home, home, home),
        LUA_CPATH = ("%s/%s/?.so;;"):format(home, support.build_dir()) } })
    local context = ("SEED=%d\n%s%s"):format(seed, done.stdout, done.stderr)
    assert.equal(0, done.code, context)
    assert.equal("", done.stderr, context)
    assert.is_nil(done.stdout:find("WRONG", 1, true), context)
    local calls, refused, runs, fewest = done.stdout:match "(%d+) calls, (%d+) refused, (%d+) [^:]*:[^\n]*, (%d+)\n$"
    calls, refused = tonumber(calls), tonumber(refused)
    assert.is_true(calls >= count and refused > calls / 4 and refused < calls * 3 / 4, context)
    assert.is_true(tonumber(runs) > 5 and tonumber(fewest) > 0, context)
  end)

  it("R70 that look like what they are not are refused like anything else", function()
    local minigun = require "minigun"
    local function like(meta) return setmetatable({}, meta) end
    local function noop() end
    local p, endless = minigun.pipeline "p", like { __len = function() return 1 << 40 end }
    local odd = like { __tostring = noop }
    refusals.check {
      { function() p:inline(like { __call = 7 }) end, "a function" },
      { function() p:map(like { __call = 7 }) end, "function" },
      { function() p:map("m", { dead_letter = like { __name = "minigun.spool" } }, noop) end, "dead_letter" },
      { function() p:pipeline("n", like { __name = "minigun.pipeline" }) end, "pipeline" },
      { function() minigun.pipeline():producer({ 1 }):run():of(odd) end, "not a terminal stage" },
    }
    local holes = table.pack(1, nil, 3)
    refusals.check { { function() minigun.each(holes, noop) end, "has a hole at [2] of 3" },
      { function() minigun.each(table.pack(nil, 2), noop) end, "the list has a hole at [1] of 2" } }
    p:producer({ 1 }):map("m", { to = endless, before = endless }, noop)
    assert.same({}, p.by_name.m.to)
    local r = minigun.pipeline():producer({ 1, 2 }):processor(function(x, _, ctx)
      if x == 1 then ctx:log(odd, "x") else ctx:log("info", odd) end
    end):run { failures = "collect" }
    for i, text in ipairs { "the level is debug", "the text cannot be shown" } do
      assert.matches("options_spec.lua:%d+: ctx:log: " .. text, r.failures[i].message)
    end
  end)

  it("calls a table a table in a program that has made no pipeline", function()
    local said = support.run([[exec lua5.4 -e 'require "minigun".supervisor { listen = { "x:y" }, worker = print }']],
      { env = support.lua_env() })
    assert.matches("got a table", said.stderr, 1, true)
  end)
end)
