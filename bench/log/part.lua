-- SPDX-License-Identifier: MIT
-- A part of the log from standard input: counts of each path and time, for merge.awk.
local counts, bad = {}, 0
for line in io.lines() do
  local path, ms = line:match '"%u+ (%S+) [^"]*" .* (%d+)$'
  if path then
    local key = path .. " " .. ms
    counts[key] = (counts[key] or 0) + 1
  else
    bad = bad + 1
  end
end
local out = {}
for key, n in pairs(counts) do out[#out + 1] = key .. " " .. n .. "\n" end
out[#out + 1] = "bad " .. bad .. "\n"
io.write(table.concat(out))
