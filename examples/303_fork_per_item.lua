-- A fresh child for each item, for work that spoils the process it runs in. Each of these scripts changes something
-- for good, or ends its process; the next one finds everything as it was.
--
-- Expected output:
--   count up: counter is 1
--   count up again: counter is 1
--   spoil a function: string.upper is nil
--   use it: STILL THERE
--   ~ leave, crash: .*: the worker exited with code 3.*

local minigun = require "minigun"

local scripts = {
  { name = "count up", code = "counter = (counter or 0) + 1; return 'counter is ' .. counter" },
  { name = "count up again", code = "counter = (counter or 0) + 1; return 'counter is ' .. counter" },
  { name = "spoil a function", code = "string.upper = nil; return 'string.upper is ' .. tostring(string.upper)" },
  { name = "use it", code = "return ('still there'):upper()" },
  { name = "leave", code = "os.exit(3)" },
}
for i, script in ipairs(scripts) do
  script.number = i
end

local p = minigun.pipeline "fork_per_item"
p:producer("scripts", scripts)
p:map("run", { process_per_batch = { max = 2 } }, function(script)
  return { number = script.number, text = assert(load(script.code))() }
end)
local result = p:run { failures = "collect" }

table.sort(result.items, function(a, b) return a.number < b.number end)
for _, item in ipairs(result.items) do
  print(scripts[item.number].name .. ": " .. item.text)
end
for _, failure in ipairs(result.failures) do
  print(("%s, %s: %s"):format(failure.item.name, failure.kind, failure.message))
end
return true -- the failures above are what it shows: the command need not end with status 1
