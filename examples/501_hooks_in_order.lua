-- Every hook of a run with one worker, in the order of the calls, and the process that each runs in. What a hook in a
-- worker has to say it collects: its variables are the child's own, but what is collected arrives in the result.
--
-- Expected output:
--   in the coordinator:
--     before_run
--     before_fork
--     after_producer
--     on_worker_exit: expected true
--     after_run: ok true
--   in the worker:
--     after_fork
--     before work
--     item 1
--     item 2
--     after work
--     before_exit

local minigun = require "minigun"

local coordinator = {}
local function note(text)
  coordinator[#coordinator + 1] = text
end
local function tell(text)
  return function(ctx) ctx:collect("worker", text) end
end

local p = minigun.pipeline "hooks_in_order"
p:producer("numbers", { 1, 2 })
p:consumer("work", { processes = 1 }, function(n, _, ctx) ctx:collect("worker", "item " .. n) end)

p:before_run(function() note "before_run" end)
p:before_fork(function() note "before_fork" end)
p:after_fork("work", tell "after_fork")
p:before("work", tell "before work")
p:after("work", tell "after work")
p:before_exit("work", tell "before_exit")
p:after_producer(function() note "after_producer" end)
p:on_worker_exit(function(exit) note("on_worker_exit: expected " .. tostring(exit.expected)) end)
p:after_run(function(result) note("after_run: ok " .. tostring(result.ok)) end)
local result = p:run()

print "in the coordinator:"
print("  " .. table.concat(coordinator, "\n  "))
print "in the worker:"
print("  " .. table.concat(result.collected.worker, "\n  "))

-- A child inherits open files and connections. When two processes use the same one, their data gets mixed. So open it
-- in the process that uses it: in `after_fork`, and close it in `before_exit`.
