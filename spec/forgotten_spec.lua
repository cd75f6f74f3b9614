-- Handles that a program forgets, and runs in finalizers: nothing is left, nothing is said, whatever order the
-- collector takes. Each is a program of its own, as the end of a state is one of the cases.
local contexts = require "spec.contexts"
local support = require "spec.support"

local BEGIN = [[
  local minigun, core, support = require "minigun", require "minigun.core", require "spec.support"
  warn "@on"
  local function collect() for _ = 1, 3 do collectgarbage() end end
  -- What a run takes for itself and gives back at its end: children, descriptors, mappings, the handlers
  -- of SIGCONT and SIGTERM.
  local function state()
    local caught = tonumber(support.read_file "/proc/self/status":match "SigCgt:%s*(%x+)", 16)
    return ("%d children, %d descriptors, %d mappings, SIGCONT %d, SIGTERM %d"):format(#support.children(),
      support.descriptor_count(), support.shared_mappings(), caught >> 17 & 1, caught >> 14 & 1)
  end
  local function pipeline()
    return minigun.pipeline "forgotten":producer("gen", function(emit) for i = 1, 1e9 do emit(i) end end)
      :processor("work", { processes = 2 }, function(x, emit) emit(x) end)
  end
]]

local FORGOTTEN = {
  ["a background run"] = "pipeline():start():step()",
  ["a background run in another loop"] = "local r = pipeline():start() r:fd() r:step()",
  ["one that is stopping"] = "local r = pipeline():start() r:step() r:stop()",
  ["one with threads"] = [[local r = pipeline():each("see", { threads = 2 }, function() minigun.sleep(9) end):start()
    for _ = 1, 20 do r:step() end]],
  ["a stream that is never read"] = "pipeline():iterate()",
  ["a stream of which an item was taken"] = "pipeline():iterate()()",
  ["a run with a journal"] = [[local path = os.tmpname() os.remove(path)
    pipeline():start { journal = path }:step() os.remove(path)]],
  ["a spool and a pipeline"] = [[local path = os.tmpname() local spool = minigun.spool(path) spool:write { 1 }
    pipeline() os.remove(path)]],
  ["a cursor of a spool"] = [[local path = os.tmpname() local spool = minigun.spool(path) spool:write { 1 }
    spool:write { 2 } spool:sync() spool:records()() os.remove(path)]],
}

local function run(source)
  local done = support.run_lua(BEGIN .. source, { timeout = 40 })
  assert.equal("", done.stderr)
  return done
end

describe("what a program forgets is given back:", function()
  for name, source in pairs(FORGOTTEN) do
    it(name, function()
      local done = run(([[
        pcall(require, "cqueues")
        pipeline():start():close()
        collect()
        local before = state()
        do (function() %s end)() end
        collect()
        assert(support.wait_until(function() collect() return state() == before end), before .. "; now " .. state())
        io.write "ok"
      ]]):format(source))
      assert.equal("ok", done.stdout)
    end)
  end

  it("also at the end of the state", function()
    local done = run [[
      kept = pipeline():start()
      kept:step()
      stream = pipeline():iterate()
      stream()
      io.write "ok"
    ]]
    assert.same({ "ok", 0 }, { done.stdout, done.code })
  end)
end)

describe("a worker that closes its state", function()
  it("runs no finalizer of the coordinator's objects", function()
    local done = run [[
      local exit, path = os.exit, os.tmpname()
      local kept <close> = setmetatable({}, { __close = function() end, __gc = function()
        local file = io.open(path, "a")
        file:write "finalized"
        file:close()
      end })
      for _, options in ipairs { { processes = 1 }, { process_per_batch = 1 } } do
        local r = minigun.pipeline "p":producer { 1 }:each("w", options, function() exit(3, true) end)
          :run { failures = "collect" }
        assert(#r.failures == 1 and r.failures[1].kind == "crash", "it did not die")
      end
      io.write("[", support.read_file(path), "]")
      os.remove(path)
    ]]
    assert.equal("[]", done.stdout)
  end)
end)

describe("a worker that collects garbage", function()
  for _, options in ipairs { "processes = 1", "process_per_batch = 1" } do
    it("finalizes nothing of what its program has dropped before the first run [" .. options .. "]", function()
      local done = run([[
        io.stdout:setvbuf "no"
        local parent, made = core.pid(), false
        local p = minigun.pipeline "p":producer { 1, 2, 3 }
        p:each("w", { ]] .. options .. [[ }, function()
          for i = 1, 50000 do local _ = { tostring(i) } end
          collectgarbage()
        end)
        p:before_fork("w", function()
          if made then return end
          made = true
          setmetatable({}, { __gc = function() io.write(core.pid() == parent and "own " or "inherited ") end })
        end)
        p:run()
      ]])
      assert.equal("own ", done.stdout)
    end)
  end
end)

describe("a run in a finalizer", function()
  for _, context in ipairs(contexts.kinds) do
    it("is a run as any other, also at the end of the state [" .. context.name .. "]", function()
      local options = {}
      for key, value in pairs(context.options) do
        options[#options + 1] = ("%s = %s"):format(key, type(value) == "table" and "{ max = 2 }" or tostring(value))
      end
      local done = run(([[
        local function finalized(name)
          return setmetatable({}, { __gc = function()
            local p = minigun.pipeline "z":producer { 1, 2, 3 }
              :processor("work", { %s }, function(x, emit) emit(x * 2) end)
            local items = p:run().items
            table.sort(items)
            io.write(name, ":", table.concat(items, " "), " ")
          end })
        end
        finalized "collected"
        collect()
        kept = finalized "closed"
      ]]):format(table.concat(options, ", ")))
      assert.same({ "collected:2 4 6 closed:2 4 6 ", 0 }, { done.stdout, done.code })
    end)
  end
end)
