-- A job: the log of a web shop is read, its errors are counted by path. Each line has the path, the status and the
-- milliseconds of one request. One line is garbage.
--
-- Expected output:
--   pipeline 'log', 4 stages
--     lines   producer  inline        -> parse
--     parse   map       processes(2)  -> errors
--     errors  filter    processes(2)  -> count
--     count   each      inline        -> (result)
--   10 errors of /search, 10 of /
--   ~ parse, error, garbage: %S*007_log_errors%.lua:%d+: not a request: garbage

local minigun = require "minigun"

local lines = {}
for i = 1, 1000 do
  local path = ({ "/", "/cart", "/search", "/pay" })[i % 4 + 1]
  lines[i] = ("%s %d %d"):format(path, i % 50 == 0 and 500 or 200, i % 7)
end
lines[123] = "garbage"

local function parse(line)
  local path, status, ms = line:match "^(%S+) (%d+) (%d+)$"
  if not path then error("not a request: " .. line) end
  return { path = path, status = tonumber(status), ms = tonumber(ms) }
end

local count = {}
local p = minigun.pipeline "log"
p:producer("lines", lines)
p:processes(2, function()
  p:map("parse", parse)
  p:filter("errors", function(request) return request.status >= 500 end)
end)
p:each("count", function(request) count[request.path] = (count[request.path] or 0) + 1 end)

print(p)
local result = p:run { failures = "collect" }

print(("%d errors of /search, %d of /"):format(count["/search"], count["/"]))
for _, failure in ipairs(result.failures) do
  print(("%s, %s, %s: %s"):format(failure.stage, failure.kind, failure.item, failure.message))
end
return true                                     -- the failure is what it shows

-- `p:processes(2, function() ... end)` is a **group**: its stages run in the same two workers and call each other
-- directly. The place where a stage runs is its **context**. The stage `count` is in no group and has no option for a
-- context, so it runs in the coordinator (**inline**) and can change the variable `count`. When a function in a worker
-- changes a variable, only that worker sees it: emit the results as items.
--
-- `print(p)` shows the stages, where each runs, and where its items go.
--
-- One line was garbage, and `parse` raised an error. Only this item failed; all others were counted. With
-- `failures = "collect"` the run collects its failures; without it, `run` raises an error at its end, with the place in
-- the file.
