-- Extract, transform, load: lines of a file become records, which are written in batches. A line that cannot be read
-- goes to a file of its own, with the reason, and does not stop the others.
--
-- Expected output:
--   1,Ada,1815
--   2,Grace,1906
--   4,Barbara,1939
--   ~ 3;Alan;n/a  %S*901_etl%.lua:%d+: no year: n/a
--   ~ five  %S*901_etl%.lua:%d+: three fields expected
--   3 loaded, 2 rejected

local minigun = require "minigun"

local source, target, rejected = os.tmpname(), os.tmpname(), os.tmpname()

local function append(path, lines)
  local file <close> = assert(io.open(path, "a"))
  file:write(table.concat(lines, "\n"), "\n")
end

local function show(path)
  local lines = {}
  for line in minigun.lines(path) do
    lines[#lines + 1] = line
  end
  table.sort(lines)
  print(table.concat(lines, "\n"))
end

append(source, { "1;ada;1815", "2;GRACE;1906", "3;Alan;n/a", "4;barbara;1939", "five" })

local p = minigun.pipeline "etl"
p:producer("extract", minigun.lines(source))
p:processes(2, function()
  p:map("parse", function(line)
    local id, name, year = line:match "^([^;]*);([^;]*);([^;]*)$"
    if not id then error "three fields expected" end
    return { id = math.tointeger(id), name = name, year = math.tointeger(year) or error("no year: " .. year) }
  end)
  p:map("clean", function(record)
    record.name = record.name:sub(1, 1):upper() .. record.name:sub(2):lower()
    return record
  end)
  p:map("format", function(record) return ("%d,%s,%d"):format(record.id, record.name, record.year) end)
end)
p:batch(100)
p:each("load", { inline = true }, function(lines) append(target, lines) end)
p:on_failure(function(failure)                  -- in the coordinator: one process writes the file
  append(rejected, { failure.item .. "  " .. failure.message })
end)
local result = p:run()

show(target)
show(rejected)
print(("%d loaded, %d rejected"):format(result.stats.stages.format.items_out, #result.failures))
for _, path in ipairs { source, target, rejected } do
  os.remove(path)
end
