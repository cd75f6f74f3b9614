--- The items of a producer, numbered in a run with a journal: which are passed over because an earlier run has
-- acknowledged them, and which items those are that have come. Values in, values out.
--
-- A source item is known by its producer's name and its ordinal, its place in what that producer emits. Some ordinals
-- have a mark, which stands for the item (child/marks.lua). By it a producer is found out that emits something else
-- than in the run before.
local failure = require "minigun.base.failure"

local sources = {}

--- Makes the source of a producer.
---@param name string the producer
---@param done table? what earlier runs have acknowledged: `ranges`, sorted, { first, last... }, and `marks` by ordinal
---@param path string of the journal, for messages
---@return table source
--- `seen`, `at`: the ordinal of the last item that the producer has emitted, and the first range that ends after it;
--- `next`, `next_at`: the same of what has come, one further on; `next_mark`: the next ordinal that has a mark;
--- `skipped`: items that were not passed on; `open`: the origin of what is being emitted
function sources.new(name, done, path)
  return { name = name, path = path, ranges = done and done.ranges or {}, marks = done and done.marks or {}, seen = 0,
    at = 1, next = 1, next_at = 1, next_mark = 1, skipped = 0, open = nil }
end

--- The first ordinal from n on that has a mark: each up to 64, then 32 from each power of two to the next.
---@param n integer
---@return integer
function sources.marked(n)
  if n <= 64 then return n end
  local step <const> = 1 << (math.log(n, 2) // 1 | 0) - 5
  return (n + step - 1) // step * step
end

--- Numbers an item that a producer emits.
---@param source table
---@param item any
---@param mark_of function (item) -> its mark; nil: it has none, as its dump hook fails now
---@return boolean skip it was acknowledged before
---@return string? problem it is another one than then
function sources.skips(source, item, mark_of)
  local n, ranges, at = source.seen + 1, source.ranges, source.at
  source.seen = n
  if not ranges[at] or n < ranges[at] then return false end
  if n == ranges[at + 1] then source.at = at + 2 end
  source.skipped = source.skipped + 1
  local mark = source.marks[n]
  local own = mark and mark_of(item)
  if own and own ~= mark then
    return true, ("producer '%s': item %d is not the one that the journal '%s' has acknowledged, so what is " ..
      "still to be done is not known; restore the producer's input, or delete the journal to start over"):format(
      source.name, n, source.path)
  end
  return true
end

--- What is wrong when a producer has come to its end.
---@param source table
---@param seen integer items that it has emitted
---@return string? problem
function sources.too_short(source, seen)
  local last = source.ranges[#source.ranges]
  if not last or last <= seen then return nil end
  return ("producer '%s' has emitted %s, and the journal '%s' has acknowledged item %d of it; restore the " ..
    "producer's input, or delete the journal to start over"):format(source.name,
    failure.count(seen, "item"), source.path, last)
end

--- The ordinals of the next n items that come from a producer whose items were numbered where it runs: those that were
--- not skipped there.
---@param source table
---@param n integer
---@return table ranges { first, last... }
function sources.arrived(source, n)
  local skipped, at, next_one, ranges = source.ranges, source.next_at, source.next, {}
  while n > 0 do
    local from = skipped[at] or math.maxinteger
    if next_one >= from then
      next_one, at = skipped[at + 1] + 1, at + 2
    else
      local last = math.min(next_one + n, from) - 1
      ranges[#ranges + 1], ranges[#ranges + 2] = next_one, last
      n, next_one = n - (last - next_one + 1), last + 1
    end
  end
  source.next, source.next_at = next_one, at
  return ranges
end

return sources
