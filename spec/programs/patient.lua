-- A run whose items take a while, each less than its time-out, or with "late" a minute, for spec/signals_spec.lua:
-- patient.lua CONTEXT SECONDS [late]
-- Prints "ready" when it has begun, and at its end how many items arrived and failed.
local core = require "minigun.core"
local minigun = require "minigun"

local context, seconds, late = arg[1], tonumber(arg[2]), arg[3] == "late"
io.stdout:setvbuf "line"
local p = minigun.pipeline "patient"
p:producer("numbers", late and { 1, 2 } or { 1, 2, 3, 4, 5, 6 })
p:processor("work", { [context] = 2, timeout = 2 * seconds }, function(item, emit)
  local till = core.now() + (late and 60 or seconds)
  while core.now() < till do core.sleep(0.01) end
  emit(item)
end)
p:after_run(function(r) print(("end %d %d"):format(#r.items, #r.failures)) end)
p:before_run(function() print "ready" end)
p:run { failures = "collect" }
