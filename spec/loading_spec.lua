-- A run loads what its pipeline asks for, before it forks: in a worker the program may have changed its directory or
-- package.path, and a file that is read there would be read by each worker again.

local support = require "spec.support"

local LOOP <const> = "function(input, emit) for x in input do emit(x) end end"

-- From what a pipeline has to its definition, after a producer `n` of 40 numbers.
local PIPELINES <const> = {
  ["a stage that fails"] = [[p:map("w", { processes = 2, retries = 1, timeout = 5 }, seven)]],
  ["batches, and a fork for each"] = [[p:batch(7):map("w", { process_per_batch = 2 }, function(b) return #b end)]],
  ["order"] = [[p:map("w", { processes = 2, ordered = true }, seven)]],
  ["a group"] = [[p:processes(2, function() p:map("a", seven):batch("b", 3):stage("c", ]] .. LOOP .. [[) end)]],
  ["a loop"] = [[p:stage("w", { processes = 2 }, ]] .. LOOP .. [[)]],
  ["an accumulator"] = [[p:accumulator("w", { processes = 2, max_size = 3 })]],
  ["threads"] = [[p:processes(2, function() p:threads(2, function()
    p:map("a", function(x) minigun.sleep(0.001) return x end):batch("b", 3):stage("c", ]] .. LOOP .. [[)
  end) end)]],
  ["a reduce"] = [[p:reduce("r", 0, function(a, b) return a + b end, { processes = 2 })]],
  ["a fold"] = [[p:processes(2, function() p:map("a", seven):reduce("r", 0, function(a, b) return a + b end) end)]],
  ["a source in a process"] = [[p:producer("l", { processes = 1 }, minigun.lines "LICENSE"):each(seven)]],
  ["commands and messages"] = [[p:each("w", { processes = 2 }, function()
    minigun.command { "true" }
    minigun.log("debug", "text")
  end)]],
  ["a worker that dies"] = [[p:each("w", { processes = 2 }, function(x) if x == 9 then os.exit(3) end end)]],
  ["a journal of a source in a process"] = [[journal = file .. ".journal"
    p = minigun.pipeline():producer("n", { processes = 1 }, minigun.range(1, 40)):each(seven)]],
  ["a journal"] = [[journal = file .. ".journal" p:map("w", { processes = 2 }, seven)]],
}

describe("a plain run", function()
  it("loads nothing that only others need", function()
    local result = support.run_lua([[
      require("minigun").map({ 1, 2, 3 }, function(x) return x end, { processes = 2 })
      for _, name in ipairs { "language.edits", "language.groups", "language.hooks", "language.inserts",
        "language.reduce", "policy.batcher", "policy.order", "policy.reduce", "handlers.loop_stage", "handlers.threads",
        "run.answers", "run.journal", "run.lineage", "run.snapshot", "control.live", "view.hud", "executor.pool" } do
        if package.loaded["minigun." .. name] then print(name) end
        require("minigun." .. name) -- it is there
      end]])
    assert.equal("", result.stdout, result.stderr)
    assert.equal(0, result.code)
  end)
end)

describe("the library", function()
  -- As busted does it for each spec file, and for each block that it insulates.
  local FORGET <const> = [[
    local function forget(pattern)
      for name in pairs(package.loaded) do
        if name:find(pattern) then package.loaded[name] = nil end
      end
    end
    local function use(minigun, metatable)
      minigun.register("point", metatable)
      local p = minigun.pipeline():producer { 1, 2 }:map({ processes = 1 }, function(x)
        return setmetatable({ x = x, out = minigun.command { "echo", "said" } }, metatable)
      end)
      for _, item in ipairs(p:run().items) do assert(getmetatable(item) == metatable and item.out.ok) end
    end
  ]]

  it("can be loaded again by a program that forgets all modules, its own too", function()
    local result = support.run_lua(FORGET .. [[
      for _ = 1, 3 do
        use(require "minigun", {})
        forget "^minigun"
      end]])
    assert.equal(0, result.code, result.stderr)
  end)

  it("can be loaded again in part", function()
    local result = support.run_lua(FORGET .. [[
      local minigun, metatable = require "minigun", {}
      for _, pattern in ipairs { "handlers", "run%.", "^minigun%.[^c]", "^none" } do
        use(minigun, metatable)
        forget(pattern)
      end
      print(pcall(minigun.register, "point", {}))]])
    assert.equal(0, result.code, result.stderr)
    assert.matches("false.*'point' is registered with another metatable", result.stdout)
  end)
end)

describe("a worker", function()
  for what, definition in pairs(PIPELINES) do
    it("loads nothing of the library: " .. what, function()
      local result = support.run_lua([[
        local minigun, core = require "minigun", require "minigun.core"
        local coordinator, file, journal = core.pid(), os.tmpname(), nil
        table.insert(package.searchers, 1, function(name)
          if core.pid() == coordinator or not name:find "^minigun" then return nil end
          local list <close> = io.open(file, "a")
          list:write(name, "\n")
        end)
        local function seven(x) if x == 7 then error "seven" end return x end
        local p = minigun.pipeline():producer("n", minigun.range(1, 40))
        ]] .. definition .. "\n" .. [[
        p:run { failures = "collect", journal = journal }
        local list <close> = io.open(file)
        print(list:read "a")
        os.remove(file)
        if journal then os.remove(journal) end]])
      assert.equal("\n", result.stdout, result.stderr)
      assert.equal(0, result.code)
    end)
  end
end)
