-- What a run says, word for word, and what it tells of its workers.
local contexts = require "spec.contexts"
local core = require "minigun.core"
local minigun = require "minigun"
local support = require "spec.support"

local SIGKILL <const> = 9

local function new() return minigun.pipeline "told" end
local function noop() end

describe("ctx:log", function()
  it("writes one line: level, pipeline, stage, worker, pid and the text of any value", function()
    local done = support.run_lua [[
      local minigun, core = require "minigun", require "minigun.core"
      local p = minigun.pipeline "told"
      p:producer("gen", function(emit, ctx) ctx:log("debug", "begun") emit(1) end)
      p:processor("pool", { processes = 1 }, function(x, emit, ctx)
        ctx:log("info", x)
        ctx:log("warning", setmetatable({}, { __tostring = function() return "a table" end }))
        emit(ctx.pid)
      end)
      p:processor("here", function(pid, _, ctx) io.write(core.pid(), " ", pid) ctx:log("error", nil) end)
      p:after_run(function() io.stdout:flush() end)
      p:run()
    ]]
    assert.not_matches("begun", done.stderr)
    local own, worker = done.stdout:match "^(%d+) (%d+)$"
    assert.equal(([[
[info] told/pool, worker 1 (pid WORKER): 1
[warning] told/pool, worker 1 (pid WORKER): a table
[error] told/here (pid OWN): nil
]]):gsub("%u%u+", { OWN = own, WORKER = worker }), done.stderr)
  end)

  it("refuses a level that there is not, and a text that cannot be shown, at the caller's line", function()
    local bad = setmetatable({}, { __tostring = function() error("no text", 0) end })
    local said = {}
    new():producer { 1 }:processor("here", function(_, _, ctx)
      said[1] = select(2, pcall(ctx.log, ctx, "loud", "x"))
      said[2] = select(2, pcall(ctx.log, ctx, "info", bad))
    end):run()
    assert.same({ 'ctx:log: the level is debug, info, warning or error, got "loud"',
      'ctx:log: the text cannot be shown: "no text"' }, said)
  end)
end)

describe("the record of a worker", function()
  it("counts how many followed the first, and tells on_worker_exit of each", function()
    local exits = {}
    local r = new():producer { 1, 2, 3 }:processor("work", { processes = 1, retries = 1 }, function(x, emit, ctx)
      if ctx.attempt == 1 and x < 3 then core.kill(ctx.pid, SIGKILL) end
      emit(x)
    end):on_worker_exit(function(exit) exits[#exits + 1] = { exit.number or exit.worker, exit.signal or 0 } end):run()
    table.sort(r.items)
    assert.same({ 1, 2, 3 }, r.items)
    assert.equal(1, #r.stats.workers)
    assert.equal(2, r.stats.workers[1].restarts)
    assert.equal(3, #exits)
    assert.same({ SIGKILL, SIGKILL, 0 }, { exits[1][2], exits[2][2], exits[3][2] })
  end)

  it("of forks per batch counts the further forks", function()
    local r = new():producer { 1, 2, 3, 4 }:each("work", { process_per_batch = 1 }, noop):run()
    assert.equal(3, r.stats.workers[1].restarts)
  end)
end)

describe("an option that a context does not take", function()
  it("is refused with what to do, where it is one of stages", function()
    for _, name in ipairs { "partition", "max_size", "max_wait", "by", "dead_letter" } do
      local ok, message = pcall(function() new():context("c", { processes = 1, [name] = noop }) end)
      assert.is_false(ok)
      assert.matches(("told_spec.lua:%%d+: context 'c': option '%s' is not for a context: it is for stages; give " ..
        "it to those inside$"):format(name), message)
    end
  end)
end)

describe("the statistics of a stage of the coordinator", function()
  it("have its time, whichever way its items have come", function()
    for _, before in ipairs { {}, { processes = 1 }, { process_per_batch = 1 }, { threads = 1 } } do
      local r = new():producer(contexts.range(1, 30)):map("before", before, function(x) return x end)
        :each("here", { inline = true }, function() contexts.work(0.002) end):run()
      local s = r.stats.stages.here
      assert.equal(30, s.items_in)
      assert.is_true(s.busy >= 0.04 and s.busy <= r.elapsed * 3, s.busy .. " s")
    end
  end)
end)

describe("a hint", function()
  it("names the first of several names that are as near", function()
    local p = new()
    for letter in ("hgfedcba"):gmatch "." do p:context("pool_" .. letter, { processes = 1 }) end
    p:producer { 1 }:each("work", { context = "pool_x" }, noop)
    assert.matches("told_spec.lua:%d+: stage 'work': there is no context 'pool_x' %(did you mean 'pool_a'%?%); p:co",
      select(2, pcall(p.run, p)))
  end)
end)

describe("a library in stripped bytecode", function()
  it("names the user's lines all the same", function()
    local directory = os.tmpname()
    os.remove(directory)
    finally(function() support.remove_tree(directory) end)
    assert(os.execute("cp -r lua " .. directory))
    for path in support.run(("find %s -name '*.lua'"):format(directory)).stdout:gmatch "[^\n]+" do
      support.write_file(path, string.dump(assert(loadfile(path)), true))
    end
    local text = ([[
package.path = "DIRECTORY/?.lua;DIRECTORY/?/init.lua;" .. package.path
local minigun = require "minigun"
local p = minigun.pipeline "stripped"
print(pcall(p.map, p, "x", { procesess = 2 }, print))
p:producer { 1 }:processor("a", function(_, emit)
  emit(nil)
end)
print(pcall(p.run, p))
]]):gsub("DIRECTORY", directory)
    local path = support.write_file(directory .. "/program.lua", text)
    local said = support.run("lua5.4 " .. path, { env = support.lua_env() }).stdout
    assert.matches("program.lua:4: stage 'x': unknown option 'procesess' (did you mean 'processes'?)", said, 1, true)
    assert.matches("program.lua:6: nil cannot be emitted", said, 1, true)
  end)
end)
