-- A command for each file, four at once, with a time-out, retries and a report. The threads wait for their programs
-- side by side; no program outlives its item, its run, or the death of this process.
--
-- Expected output:
--   Makefile: 32 hexadecimal digits
--   README.md: 32 hexadecimal digits
--   src/core/sys.h: 32 hexadecimal digits
--   3 done, 1 failed
--   no/such/file: exited with code 1, 3 attempts

local minigun = require "minigun"

local p = minigun.pipeline "checksums"
p:producer { "README.md", "Makefile", "no/such/file", "src/core/sys.h" }
p:map("sum", { threads = 4, retries = 2, backoff = 0.05 }, function(path)
  local sum = assert(minigun.command({ "md5sum", path }, { timeout = 60 }))
  if not sum.ok then error(path .. ": exited with code " .. tostring(sum.code), 0) end
  return ("%s: %d hexadecimal digits"):format(path, #sum.out:match "^%x+")
end)
local result = p:run { failures = "collect" }

table.sort(result.items)
for _, line in ipairs(result.items) do print(line) end
print(("%d done, %d failed"):format(#result.items, #result.failures))
for _, failure in ipairs(result.failures) do print(("%s, %d attempts"):format(failure.message, failure.attempts)) end
return true -- the failures above are what it shows: the command need not end with status 1
