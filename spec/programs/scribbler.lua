-- Workers that write into the run's shared memory what no worker may write: scribbler.lua RUNS SEED [FROM [heads]].
-- Each run ends unharmed (each item once), named (each item once, or in a failure) or ended (the run has failed and
-- says of what). It may not lose or double an item in silence, not hang, and not fail with an error of the library's
-- own.
--
-- What is written over: the words of the slots' shared part (src/core/slot.h) and heads of records
-- (src/core/record.h). The bytes of a value are not: a changed one cannot be distinguished from one that was
-- emitted so.
local minigun = require "minigun"

local runs, seed, from = tonumber(arg[1]), tonumber(arg[2]) or os.time(), tonumber(arg[3]) or 1
local only_heads = arg[4] == "heads" -- of the rings to the coordinator: it is shown descriptors that it has had
local UNIT, N = 65536, 30

-- --- memory ------------------------------------------------------------------------------------------------------

-- The largest shared mapping of this process: the run's.
local function mapping()
  local best, size = nil, 0
  for line in io.lines "/proc/self/maps" do
    local first, last, mode = line:match "^(%x+)%-(%x+) (%S+)"
    local bytes = tonumber(last, 16) - tonumber(first, 16)
    if mode:sub(4) == "s" and bytes > size then best, size = tonumber(first, 16), bytes end
  end
  return best
end

local memory = {}

function memory.open() return { base = mapping(), file = assert(io.open("/proc/self/mem", "r+b")) } end

function memory.read(m, at, n)
  m.file:seek("set", m.base + at)
  return m.file:read(n)
end

function memory.write(m, at, bytes)
  m.file:seek("set", m.base + at)
  m.file:write(bytes)
  m.file:flush()
end

-- Offsets in a slot's shared part: two rings (head, tail, 64 descriptors of 64 bytes), the worker's words, the
-- coordinator's, the claims.
local RING = 128 + 64 * 64
local WORDS = {
  { 0, 4 }, { 64, 4 }, { RING, 4 }, { RING + 64, 4 },                               -- heads and tails
  { 2 * RING, 8 }, { 2 * RING + 8, 8 }, { 2 * RING + 16, 8 },                       -- commit, began, running
  { 2 * RING + 24, 4 }, { 2 * RING + 28, 4 },                                       -- worker_asleep, step
  { 2 * RING + 64, 4 }, { 2 * RING + 68, 4 }, { 2 * RING + 72, 4 },                 -- asleep, spin_allowed, stop
  { 2 * RING + 128, 4 }, { 2 * RING + 132, 4 }, { 2 * RING + 136, 4 },              -- claims
}

local function rubbish(rng, old)
  local how, n = rng(4), #old
  if how == 1 then return string.pack("<I" .. n, rng(0, 3)) end
  if how == 2 then return ("\255"):rep(n) end
  if how == 3 then -- a little more or less
    local value = string.unpack("<i" .. n, old) + rng(-2, 2)
    return string.pack("<i" .. n, value)
  end
  local bytes = {}
  for i = 1, n do bytes[i] = string.char(rng(0, 255)) end
  return table.concat(bytes)
end

local function scribble_word(rng, m, slots)
  local slot, n = rng(0, slots - 1), 4
  local at
  if only_heads then
    at = rng(2, 3) * UNIT + RING -- of the forks, whose slots have been used before
    return memory.write(m, at, string.pack("<I4", string.unpack("<I4", memory.read(m, at, 4)) + rng(3)))
  end
  if rng(3) == 1 then at = rng(0, 1) * RING + 128 + 64 * rng(0, 7) + 4 * rng(0, 15) -- in a descriptor
  else at, n = table.unpack(WORDS[rng(#WORDS)]) end
  at = at + slot * UNIT
  memory.write(m, at, rubbish(rng, memory.read(m, at, n)))
end

-- The head of some record in one of the first blocks after the slots.
local function scribble_head(rng, m, slots)
  local at = (slots + rng(0, 9)) * UNIT
  local heads = {}
  for _ = 1, 40 do
    local length, _, version = string.unpack("<I4I2B", memory.read(m, at, 8))
    if version ~= 1 or length == 0 or length > 4096 then break end
    heads[#heads + 1] = at
    at = at + (8 + length + 7) // 8 * 8
  end
  if #heads == 0 then return end
  at = heads[rng(#heads)]
  if rng(3) == 1 then return memory.write(m, at + 4, string.pack("<I2", rng(0, 8))) end -- another edge
  local n = rng(1, 4)
  memory.write(m, at + rng(0, 8 - n), rubbish(rng, memory.read(m, at, n)))
end

-- --- runs --------------------------------------------------------------------------------------------------------

local function generator(number)
  local state = number * 2654435761 % 4294967296 | 1
  return function(low, high)
    if not high then low, high = 1, low end
    for _ = 1, 3 do
      state = state ~ (state << 13) & 0xffffffff
      state = state ~ (state >> 17)
      state = state ~ (state << 5) & 0xffffffff
    end
    return low + state % (high - low + 1)
  end
end

local function pass(x, emit) emit(x) end

local function gather(batch, emit)
  for _, x in ipairs(batch) do emit(x) end
end

local shapes = {}
shapes[1] = function(p, dirty)
  p:processor("a", { processes = 2 }, dirty)
  return 2
end
shapes[2] = function(p, dirty)
  p:processor("a", { processes = 2 }, dirty):processor("b", { processes = 1 }, pass)
  return 3
end
shapes[3] = function(p, dirty)
  p:processes(2, function() p:processor("a", dirty):processor("b", { to = { "c", "d" } }, pass) end)
  p:processor("c", { inline = true, to = {} }, pass):each("d", { inline = true }, function() end)
  return 2
end
shapes[4] = function(p, dirty)
  p:processor("a", { processes = 2 }, dirty):batch(7):processor("b", { processes = 1 }, gather)
  return 3
end
shapes[5] = function(p, dirty)
  p:processor("a", { processes = 1, threads = 3 }, dirty):processor("b", { threads = 2 }, pass)
  return 1
end
shapes[6] = function(p, dirty)
  p:processor("a", { processes = 2, ordered = true }, dirty):processor("b", { process_per_batch = 2 }, pass)
  return 4
end

local INTERNAL = { "attempt to ", "bad argument", "broken invariant", "stack overflow", "not a block", "no such slot",
  "out of range" }

-- What has become of a run, and what is wrong with that.
local function judge(result, message)
  if message then
    for _, text in ipairs(INTERNAL) do
      if message:find(text, 1, true) then return "internal", message end
    end
    return "ended"
  end
  local seen, failed, unreadable = {}, 0, 0
  for _, x in ipairs(result.items) do
    -- A report that was given the edge of an item, while an item was given another: like an item that was changed.
    if type(x) ~= "number" then unreadable = unreadable + 1 end
    if seen[x] then return "silent", ("%s has come twice"):format(x) end
    seen[x] = true
  end
  for _, failure in ipairs(result.failures) do
    local list = type(failure.item) == "table" and failure.item or { failure.item }
    if failure.item == nil then unreadable = unreadable + (tostring(failure):find "decode" and 7 or 1) end
    for _, x in ipairs(list) do
      if not seen[x] then failed = failed + 1 end
      seen[x] = true
    end
  end
  for x = 1, N do -- of an item, or a batch of seven, whose bytes are damaged, a failure can say only that
    if not seen[x] then
      unreadable, failed = unreadable - 1, failed + 1
      if unreadable < 0 then
        return "silent", ("%d is gone; %d failures: %s"):format(x, result.failed, tostring(result.failures[1]))
      end
    end
  end
  return (failed > 0 or result.failed > 0) and "named" or "unharmed"
end

local tally = { unharmed = 0, named = 0, ended = 0 }
for number = from, from + runs - 1 do
  local rng = generator(seed + number)
  local shape, dirty_at, times, word = rng(#shapes), rng(N), rng(2), rng(2) == 1
  if only_heads then shape, dirty_at, times, word = 6, N // 2, 200, true end
  local slots
  local p = minigun.pipeline("scribbled"):producer("gen", { to = "a" }, function(emit)
    for x = 1, N do emit(x) end
  end)
  slots = shapes[shape](p, function(x, emit, ctx)
    ctx:count("seen", 1)
    if x % 3 == 0 then emit(x) end
    if x == dirty_at and ctx.attempt == 1 then
      local m = memory.open()
      for _ = 1, times do (word and scribble_word or scribble_head)(rng, m, slots) end
      m.file:close()
    end
    if x % 3 ~= 0 then emit(x) end
  end)
  io.stdout:write(number, " ")
  io.stdout:flush()
  local ok, result = pcall(p.run, p, { failures = "collect", memory = "16M" })
  local kind, problem = judge(ok and result, not ok and tostring(result))
  if problem then
    print(("\nrun %d of seed %d, shape %d, %s: %s: %s"):format(number, seed, shape, word and "word" or "head", kind,
      problem))
  end
  tally[kind] = (tally[kind] or 0) + 1
end
print(("\nseed %d: %d unharmed, %d named, %d ended, %d silent, %d internal"):format(seed, tally.unharmed, tally.named,
  tally.ended, tally.silent or 0, tally.internal or 0))
