--- The coordinator's heap, made ready to be shared by forks: when its pages are joined into huge ones. How, see
-- src/core/heap.h.
--
-- Joining a large heap's pages takes as long as a hundred forks or more, and makes each fork after it ten times as
-- fast. Piece by piece it is done as long as it pays. It has paid up to the time that forks have taken so far: a
-- process with few forks loses little by that, and one with many takes at most twice what it had to. It pays, too,
-- where the forks that are sure to come would take longer. After a full queue as many again are expected as in it, or
-- as there have been so far.
--
-- What is written to after a fork, and what the heap grows by, is in small pages again: all is joined anew when forks
-- have become slower by half.
local core = require "minigun.core"

local heap = {}

local LARGE <const> = 8 << 10     -- KiB of Lua's heap from which on forks are worth preparing for
local PIECE <const> = 32 << 20    -- bytes that are joined at once
local TRIES <const> = 16          -- for a piece that cannot be joined now
local SLOWER <const> = 1.5        -- times the least that forks have taken since all was joined
local GROWN <const> = 1.25        -- times what the last collection has left: with less there is no further one

--- KiB that Lua's heap has; 0 in a finalizer, where the collector does not tell.
---@return number
function heap.kib() return collectgarbage "count" or 0 end

-- Of this process, in all its runs: whether the heap was large at the begin of the last; KiB that the last collection
-- has left; how many forks there were, the seconds of the last, and of all less those of joining; where joining goes
-- on, after how many bytes, how long a piece took and how often this one was tried; what forks take, and the least of
-- that, since all was joined.
local own = { large = false, kept = 0, forks = 0, took = 0, unspent = 0, next = false, joined = 0, joining = nil,
  tries = 0, usual = nil, least = math.huge }

local Heap = {}
Heap.__index = Heap

--- Makes a heap's record for one run; nothing is done yet.
---@return table heap `last`: the seconds of the last fork, which the caller notes; false: they are counted
function heap.new() return setmetatable({ prepared = false, last = false }, Heap) end

-- Joins the next piece. Returns false where that is for later: a child that is just ending may be in its way.
local function join()
  local start = core.now()
  local next, busy = core.heap_collapse(own.next, PIECE)
  local seconds = core.now() - start
  own.unspent = own.unspent - seconds
  if busy and own.tries < TRIES then
    own.tries = own.tries + 1
    return false
  end
  own.next, own.tries, own.joining, own.joined = next or false, 0, seconds, own.joined + PIECE
  own.usual, own.least = nil, math.huge
  return true
end

-- Collects the heap of a process that has not forked yet, later a large one where it has grown; sorts malloc's lists
-- where it is large.
local function settle()
  local kib = heap.kib()
  local large = kib >= LARGE
  if own.kept == 0 or large and kib >= GROWN * own.kept then
    collectgarbage()
    own.kept = heap.kib()
  elseif kib > 0 then
    own.kept = math.min(own.kept, kib) -- it may have become smaller by itself
  end
  if not large then
    own.large, own.next = false, false
    return
  end
  core.heap_settle()
  if not own.large then own.large, own.next, own.joined = true, 0, 0 end
end

-- Counts a fork of so many seconds. Those that have become slower show that all is to be joined anew.
local function count(seconds)
  own.forks, own.took, own.unspent = own.forks + 1, seconds, own.unspent + seconds
  if not own.large or own.next then return end
  own.usual = own.usual and own.usual + (seconds - own.usual) / 8 or seconds
  own.least = math.min(own.least, own.usual)
  if own.usual > SLOWER * own.least then own.next, own.joined = 0, 0 end
end

--- Before a fork: the heap is collected once, in the first run, as the finalizers of what is garbage are no child's
--- business; a large one again in a run that finds it grown, and malloc's lists are sorted then; pages are joined as
--- far as it pays. To collect a small one in each run would cost a short run more than all else.
---@param waiting integer how many forks are waited for
---@param full boolean whether more may be
function Heap:prepare(waiting, full)
  if not self.prepared then
    self.prepared = true
    settle()
  end
  if self.last then count(self.last) end
  self.last = false
  if own.forks == 0 then return end
  local coming = (waiting + (full and math.max(waiting, own.forks) or 0)) * own.took
  while own.next do
    local left = math.max(0, heap.kib() * 1024 - own.joined) / PIECE
    local pays = own.joining and coming > left * own.joining
    if not (pays or own.unspent > 0) or not join() then return end
  end
end

return heap
