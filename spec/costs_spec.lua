-- What a run costs beside its handlers: how many calls of the system the coordinator makes, how often it is woken, and
-- how much of the processor it takes. The bounds are wide: a run that hands each item over alone, is woken for each, or
-- looks again and again while it waits passes them ten times over.
local support = require "spec.support"

-- Case of spec/programs/costs.lua -> most calls, most waits, most milliseconds, most hand-overs.
local QUICK <const> = { -- 20,000 items, of threads in workers 4,000, of forks 100
  ["quick inline"] = { 200, 50, 150, 0 },
  ["quick processes"] = { 1200, 600, 100, 800 },
  ["quick ordered"] = { 1200, 600, 100, 800 },
  ["quick pools"] = { 2400, 1200, 150, 1600 },
  ["quick batches"] = { 1200, 600, 100, 200 },
  ["quick threads"] = { 6000, 100, 700, 0 },
  ["quick hosted"] = { 12000, 5000, 400, 4200 },
  ["quick forks"] = { 6000, 1000, 400, 110 },
}

local WAITS <const> = {} -- a second or more of nothing
for _, name in ipairs { "a worker", "a worker with a time-out", "a fork", "a thread", "threads in a worker",
  "a source that sleeps", "lines of a pipe", "a program", "a queue", "a further attempt", "a batch" } do
  WAITS["waits for " .. name] = { 400, 200, 40, 12 }
end
WAITS["waits in the middle of threads' items"] = { 400, 200, 40, 12 }

-- Runs the cases side by side; what each has said, as numbers, and all as a text.
local function run_all(cases)
  local lines, said = {}, {}
  for name in pairs(cases) do
    lines[#lines + 1] = ("lua5.4 spec/programs/costs.lua %s 2>&1 &"):format(support.quote(name))
  end
  lines[#lines + 1] = "wait"
  local env = support.lua_env()
  env.LUA_CPATH = "./build-faults/?.so;;"
  local all = support.run(table.concat(lines, "\n"), { timeout = 60 * support.patience, env = env }).stdout
  for name, text in all:gmatch "(%f[^\n\0][^:\n]+): ([^\n]*)" do
    local numbers = {}
    for n in text:gmatch "%d+" do numbers[#numbers + 1] = tonumber(n) end
    said[name] = numbers
  end
  return said, all
end

describe("what a run costs the coordinator", function()
  for _, cases in ipairs { QUICK, WAITS } do
    local said, all
    for name, most in pairs(cases) do
      it(("R60 R82 is little: %s"):format(name), function()
        if not said then said, all = run_all(cases) end
        assert.is_truthy(said[name], all)
        for i, what in ipairs { "calls of the system", "waits", "ms of processor time", "hand-overs" } do
          local bound = most[i] * (i == 3 and support.patience or 1)
          assert.is_true(said[name][i] <= bound, ("%d %s, at most %d expected"):format(said[name][i], what, bound))
        end
      end)
    end
  end
end)

describe("descriptor 0", function()
  it("can be waited for, and read by lines, as any other", function()
    local result = support.run_lua([[
      local minigun = require "minigun"
      print(minigun.wait(0, "r", 10))
      local p = minigun.pipeline "standard input"
      p:producer("lines", function(emit)
        minigun.wait(0, "r")
        for line in minigun.lines "-" do emit(line) end
      end):map("same", { threads = 2 }, function(line)
        minigun.wait(0, "r", 5)
        return line
      end)
      print(table.concat(p:run().items, " "))
    ]], { stdin = "one\ntwo\n" })
    assert.equal("", result.stderr)
    assert.equal("true\none two\n", result.stdout)
  end)
end)
