-- A run that stays in the phase that it is told until a file is there, for spec/signals_spec.lua: phases.lua PHASE FILE
-- Prints "ready" when it is there, and at its end what has arrived.
local core = require "minigun.core"
local minigun = require "minigun"

local phase, path = arg[1], arg[2]
local here = false
io.stdout:setvbuf "line"

local function at(name)
  if phase ~= name or here then return end
  here = true
  print "ready"
  local file
  repeat
    core.sleep(0.01)
    file = io.open(path)
  until file
  file:close()
end

local p = minigun.pipeline "phases"
p:before_run(function() at "before the forks" end)
p:before_fork(function(ctx)
  if ctx.worker == 2 then at "while it forks" end
end)
p:producer("numbers", function(emit)
  for i = 1, 200 do
    if i == 100 then at "steady" end
    emit(i)
  end
end)
p:processor("work", { processes = 2, retries = 100 }, function(item, emit, ctx)
  emit(item)
  ctx:count("handled", 1)
end)
p:consumer("take", function(_, _, ctx) ctx:count("taken", 1) end)
p:after_producer(function() at "draining" end)
p:on_worker_exit(function() at "reaping" end)
local result = p:run { failures = "collect" }
print(("end %d %d %d"):format(result.counters.handled, result.counters.taken, #result.failures))
