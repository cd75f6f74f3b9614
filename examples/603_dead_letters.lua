-- Dead letters: an item that has failed for good goes to a stage of its own, or into a spool, a file that any number of
-- processes write and that a later script reads. `run` does not raise for it; it stays in result.failures.
--
-- Expected output:
--   to a stage: 3 parsed, 2 dead letters
--   ~ the dead letter 'four' after 3 attempts: %S*603_dead_letters%.lua:%d+: not a number: four
--   ~ the dead letter 'two' after 3 attempts: %S*603_dead_letters%.lua:%d+: not a number: two
--   into a spool: 3 parsed, 2 dead letters; the run is over
--   a later script finds: four two
--   it mends them, and sends them through again: 2 4

local minigun = require "minigun"

local lines = { "1", "two", "3", "four", "5" }

local function parse(line)
  return math.tointeger(line) or error("not a number: " .. line)
end

-- A growing wait between the attempts: 10 ms, then 20 ms, each shortened by up to a half at random.
local retries = { processes = 2, retries = 2, backoff = { first = 0.01, factor = 2, max = 1, jitter = 0.5 } }

local p = minigun.pipeline("to a stage", { dead_letter = "dead" })
p:producer("lines", lines)
p:map("parse", retries, parse)
p:consumer("numbers", { to = {} }, function(n, emit) emit(n) end)
p:consumer("dead", { await = true, to = {} }, function(letter, emit) emit(letter) end)
local result = p:run()

print(("to a stage: %d parsed, %d dead letters"):format(#result:of "numbers", #result:of "dead"))
table.sort(result:of "dead", function(a, b) return a.item < b.item end)
for _, letter in ipairs(result:of "dead") do
  print(("the dead letter '%s' after %d attempts: %s"):format(letter.item, letter.failure.attempts,
    letter.failure.message))
end

local path = os.tmpname()
local spool <close> = assert(minigun.spool(path))
p = minigun.pipeline("into a spool", { dead_letter = spool })
p:producer("lines", lines)
p:map("parse", retries, parse)
result = p:run()
print(("into a spool: %d parsed, %d dead letters; the run is over"):format(#result.items, #result.failures))

-- From here on it could be another script, another day.
local found = {}
for letter in assert(minigun.spool(path, { read_only = true })):records() do
  found[#found + 1] = letter.item
end
table.sort(found)
print("a later script finds: " .. table.concat(found, " "))

local meant = { two = "2", four = "4" }
p = minigun.pipeline "again"
p:producer("letters", spool:records())
p:map("mend", function(letter) return meant[letter.item] end)
p:map("parse", retries, parse)
result = p:run()
table.sort(result.items)
print("it mends them, and sends them through again: " .. table.concat(result.items, " "))
os.remove(path)
