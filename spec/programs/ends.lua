-- All ways in which a child ends, each in the context that comes round, for spec/surroundings_spec.lua:
--   ends.lua FIRST [reaper]
-- Prints for each a line "how context: items, failures". FIRST is the context of the first way, from 0; with `reaper`
-- the program waits for all children whenever one ends.
local exit = os.exit
local core = require "minigun.core"
local minigun = require "minigun"
local unruly = require "unruly"

local first, reaper = tonumber(arg[1]), arg[2] == "reaper"
if reaper then unruly.reaper() end

local CONTEXTS <const> = {
  { "pool", { processes = 2 } }, { "fork", { process_per_batch = 2 } }, { "threads", { processes = 1, threads = 1 } },
}

local path = os.tmpname()
local file = io.open(path, "w")
for i = 1, 5 do file:write(i, "\n") end
file:close()

local function kill() unruly.kill(core.pid(), 9) end

-- What the child does with the third item, or (`hook`) when it has done all of them.
local WAYS <const> = {
  { "well", function() end },
  { "kill", kill },
  { "fault", unruly.fault },
  { "os.exit", function() os.exit(7) end },
  { "os.exit 0", function() os.exit(0) end },
  { "saved exit", function() exit(8) end },
  { "saved exit, closing", function() exit(8, true) end },
  { "exit of C", function() unruly.exit(9) end },
  { "_exit past us", function() unruly.leave(10) end },
  { "too slow", function() core.sleep(30) end, timeout = 0.3 },
  { "kill in a hook", kill, hook = true },
  { "saved exit in a hook", function() exit(11) end, hook = true },
  { "saved exit 0 in a hook", function() exit(0) end, hook = true },
}

local function how(failure)
  return failure.kind .. (failure.signal and " by signal " .. failure.signal or failure.code and
    " with code " .. failure.code or failure.kind == "crash" and ", not known how" or "")
end

local function run(way, context)
  local p, finalized = minigun.pipeline "ends", core.pid()
  local outside = setmetatable({}, { __gc = function() -- of the coordinator: no child's business
    if core.pid() ~= finalized then io.stderr:write "a finalizer of the coordinator ran in a child\n" end
  end })
  local read = {}
  p:producer("lines", function(emit)
    for line in io.lines(path) do
      assert(not read[line], "a line was read twice")
      read[line] = outside ~= nil
      emit(tonumber(line))
    end
  end)
  local options = { timeout = way.timeout, retries = 1 }
  for key, value in pairs(context[2]) do options[key] = value end
  p:map("work", options, function(n)
    if n == 3 and not way.hook then way[2]() end
    return n
  end)
  if way.hook then
    p:after("work", function(ctx)
      way[2]()
      ctx:count "ends"
    end)
  end
  local ok, result = pcall(p.run, p, { failures = "collect" })
  if not ok then return "error " .. tostring(result):match "[^\n]*" end
  local failures = {}
  for _, failure in ipairs(result.failures) do
    failures[how(failure) .. (failure.item and " of item " .. failure.item or "")] = true
  end
  local list = {}
  for text in pairs(failures) do list[#list + 1] = text end
  table.sort(list)
  return ("%d items, %s%s"):format(#result.items, list[1] and table.concat(list, " and ") or "no failure",
    result.counters.ends and ", the hook ended" or "")
end

for i, way in ipairs(WAYS) do
  local context = CONTEXTS[(first + i) % #CONTEXTS + 1]
  print(("%s %s: %s"):format(way[1], context[1], run(way, context)))
end
os.remove(path)
