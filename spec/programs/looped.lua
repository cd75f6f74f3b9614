-- Random pipelines against the model (see spec/property), moved by an event loop that has other things to do as well:
-- looped.lua ADAPTER SEED COUNT. Prints what is wrong, and at the end "N pipelines, N failed, N ticks".
package.path = "./?.lua;" .. package.path
local loop = require "minigun.loop"
local build = require "spec.property.build"
local check = require "spec.property.check"
local loops = require "spec.loops"

local name, seed, count = arg[1], math.tointeger(arg[2]), math.tointeger(arg[3])
assert(loops.by_name[name])
local l = assert(loop.new(name))
local ticks, children = 0, 0

local function look(run)
  if run:step() then return true end
  l:stop()
  return false
end

-- What moves the run while the loop lives: its descriptor alone.
local function by_loop(p, seconds)
  local run <close> = p:start()
  local late
  local guard = l:after(seconds, function()
    late = true
    l:stop()
  end)
  local ticker = l:every(0.002, function() ticks = ticks + 1 end)
  local watch = l:watch_io(run:fd(), "r", function() look(run) end)
  local child = l:fork(function(own)
    own:after(0.001, function() end)
    own:run()
  end, { on_exit = function(ended)
    assert(ended.code == 0)
    children = children + 1
  end })
  assert(child)
  l:run()
  guard:stop()
  ticker:stop()
  watch:stop()
  l:run() -- until the child has ended
  if late then return nil, tostring(run) end
  return run:wait()
end

local without <const> = { run = build.doors.run, start = build.doors.start }

local function use(run, start) build.doors.run, build.doors.start = run, start end

-- Whether a stage changes what it has emitted: that is looked for at samples of its calls.
local function spoils(d)
  for _, s in ipairs(d.stages) do
    for _, act in ipairs(s.acts or {}) do
      if act.row == "spoil" then return true end
    end
  end
  return false
end

local failed = 0
use(by_loop, by_loop)
for number = 1, count do
  check.one(seed * 1000003 + number, function(d, problem)
    use(without.run, without.start)
    local other = check.problem(d) -- what is wrong without a loop, too, is for the property test
    use(by_loop, by_loop)
    if other or spoils(d) then return end
    failed = failed + 1
    print(("pipeline %d of SEED=%d: %s\n%s"):format(number, seed, problem, check.text(d)))
  end)
end
assert(children > 0)
l:close()
print(("%d pipelines, %d failed, %d ticks"):format(count, failed, ticks))
