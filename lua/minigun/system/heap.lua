--- The coordinator's heap, made ready to be shared by forks: when its pages are joined into huge ones. How, see
-- src/core/heap.h.
--
-- Joining a large heap's pages takes as long as a hundred forks or more, and makes each fork after it ten times as
-- fast. Piece by piece it is done as long as it pays. It has paid up to the time that forks have taken so far: a run
-- with few forks loses little by that, and one with many takes at most twice what it had to. It pays, too, where the
-- forks that are sure to come would take longer. After a full queue as many again are expected as in it, or as
-- there have been so far.
--
-- What is written to after a fork, and what the heap grows by, is in small pages again: all is joined anew when forks
-- have become slower by half.
local core = require "minigun.core"

local heap = {}

local LARGE <const> = 8 << 10     -- KiB of Lua's heap from which on forks are worth preparing for
local PIECE <const> = 32 << 20    -- bytes that are joined at once
local TRIES <const> = 16          -- for a piece that cannot be joined now
local SLOWER <const> = 1.5        -- times the least that forks have taken since all was joined

--- KiB that Lua's heap has; 0 in a finalizer, where the collector does not tell.
---@return number
function heap.kib() return collectgarbage "count" or 0 end

local GROWN <const> = 1.25        -- times what the last collection has left: with less there is none

local kept = 0 -- KiB after the last collection, in any run of this process

local Heap = {}
Heap.__index = Heap

--- Makes a heap's record; nothing is done yet.
---@return table heap `last`: the seconds of the last fork, which the caller notes; false: they are counted
function heap.new()
  return setmetatable({ prepared = false, large = false, next = false, last = false, forks = 0, took = 0, unspent = 0,
    joined = 0, joining = nil, tries = 0, usual = nil, least = math.huge }, Heap)
end

-- Joins the next piece. Returns false where that is for later: a child that is just ending may be in its way.
local function join(self)
  local start = core.now()
  local next, busy = core.heap_collapse(self.next, PIECE)
  local seconds = core.now() - start
  self.unspent = self.unspent - seconds
  if busy and self.tries < TRIES then
    self.tries = self.tries + 1
    return false
  end
  self.next, self.tries, self.joining, self.joined = next or false, 0, seconds, self.joined + PIECE
  self.usual, self.least = nil, math.huge
  return true
end

-- Whether a fork of `last` seconds, and those before it, show that all is to be joined anew.
local function is_slower(self, last)
  self.usual = self.usual and self.usual + (last - self.usual) / 8 or last
  self.least = math.min(self.least, self.usual)
  return self.usual > SLOWER * self.least
end

--- Before a fork: a large heap is collected, once in a run, where it has grown since that of a run before, and malloc's
--- lists sorted; pages are joined as far as it pays. To collect a small one would cost a short run more than all else,
--- and its children hardly ever collect anything.
---@param waiting integer how many forks are waited for
---@param full boolean whether more may be
function Heap:prepare(waiting, full)
  if not self.prepared then
    self.prepared = true
    local kib = heap.kib()
    if kib < LARGE then return end
    if kib >= GROWN * kept then
      collectgarbage()
      kept = heap.kib()
    end
    core.heap_settle()
    self.large, self.next = true, 0
  end
  local last = self.last
  if last then
    self.forks, self.took, self.unspent, self.last = self.forks + 1, last, self.unspent + last, false
    if self.large and not self.next and is_slower(self, last) then self.next, self.joined = 0, 0 end
  end
  if self.forks == 0 then return end
  local coming = (waiting + (full and math.max(waiting, self.forks) or 0)) * self.took
  while self.next do
    local left = math.max(0, heap.kib() * 1024 - self.joined) / PIECE
    local pays = self.joining and coming > left * self.joining
    if not (pays or self.unspent > 0) or not join(self) then return end
  end
end

return heap
