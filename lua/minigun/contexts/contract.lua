--- The contract of a place: what runs stages, inline, in workers, in threads. And the part that is the same for all:
-- the queue of work that has come and is not begun.
--
-- Every item is in exactly one place. What a stage has accepted and not finished is in its place's queue, in hand
-- there, or waits for its next attempt; the place tells the run through its port when an item is finished, and what it
-- has emitted.
--
-- A place has the fields
--     here       true: the coordinator's own stages, see inline.lua
--     takes      "values" or "bytes": how items are to come
--     first, last     its slots in the pool; false: it has none, and what it emits are values in this process
--     fresh      true: each item has a process of its own, so it alone sees what that does to it
--     plan       its segment of the plan: kind, n, stages, hooks ...
--     n          workers or threads; as many as the segment says, until `resize`
--     queued     items that wait in its queue
--     look_at    when it must look again for workers that are overdue, on the monotonic clock; nil: it need not
-- the run notes on it
--     targets    set of the places that fill up after it, and stages' queue limits by id
--     limited    whether one of them has a limit; `per`: how many of its own items make one for them
--     keeps      whether what has come to it may be kept in variables to the end of the run
-- and the methods
--     start()                    before the first item
--     push(work, front)          takes in work (base/work.lua): last, or first of all
--     full()                     whether the stages that send to it should wait
--     dispatch()                 begins what can be begun -> whether it has begun anything; and whether it has run
--                                stages in this process, so that there may be more to do at once
--     supply()                   gives what its workers lack -> whether one still lacks something
--     wanted()                   how large a block is that one waits for, in bytes
--     due(now)                   does what the clock asks for -> when to look next, or nil
--     idles()                    whether it could do more, and finds nothing in its queue
--     working()                  whether it goes on while the coordinator is in another stage's handler
--     in_work(stage)             how many items of a stage are begun: its limit does not count them
--     tally(stage)               how many of its items are queued, how many in hand; counted anew, for checks
--     free()                     how many single items it could begin at once, beside those in its queue
--     withdraw(origin)           takes out a piece of work of that origin that is not begun -> whether there was one
--     abandon(origin)            ends what works at such a piece, which comes to nothing -> whether there was one
--     resize(n)                  changes how many workers or threads there are -> true; nil, message
--     alive()                    how many processes of its own live
--     wakes()                    whether something that is not the clock will end a sleep of the coordinator
--     end_input(stage)           no more comes to a loop stage -> whether it learns that only now, and ends later
--     stop_producer(grace)       ends a producer that runs here
--     finish()                   no more work comes at all
--     ended()                    whether everything is over after that
--     close()                    gives back what it holds, however the run has ended
-- A new kind of place has a file of its own and a line in kinds.lua; what it does not say itself it has from here.
--
-- Its port is all that it knows of the run (run/port.lua). Values: `plan`, `pool`, `stats` (by stage), `returns`
-- (see chain.new), `pid`, `memory`, `queue_bytes`, `held_most`, `heap`. Functions:
--     now(), clock()                           seconds: of the monotonic clock, and of the one without stops
--     finished(stage, n, origin)               items are finished, well or not
--     emitted(stage, item), sent(stage, id, item)      a value goes on: to all receivers, or to one
--     in_turn(place, part)                     output that was held for its turn goes on
--     failed(place, slot, stage, fields, work) an item has failed in a worker -> the failure; nil: it is tried again
--     settle(stage, fields, item, again)       the same for any other failure
--     unreadable(stage, list)                  items cannot be decoded
--     effect(kind, name, value)                what ctx collects and counts
--     blocked(place)                           whether what it sends to is full
--     may_begin(place)                         whether a thread may: the run goes on, and no receiver is full
--     room(place)                              how many items it may begin as far as those after it are concerned
--     room_of(place)                           how many may still be sent to it, as it stands before a limited stage
--     lend(slot, size, want, younger), take_overdraft(slot, slots), returned(slot)    the limit of memory
--     hooks(list, fields, argument), warn(text), fail(text)
--     accept(stage), reopen(stage)             the end of a loop's input is an item of its own; it is to come again
--     worker(record), count(stage, counts)     for the statistics: a worker; what a stage of values has done
--     any_failed()                             whether an item has failed for good
--     fork_hooks(segment, names, ctx_of)       hooks about forks of stages that run in the coordinator
--     raised(err)                              ends the run where what was raised is Ctrl-C
--     loop()                                   the event loop
--     changed()                                stages may have come to their end
--     check(work)                              ends the run where a block does not hold what was announced
--     under(origin)                            what happens now comes of that
--     holds()                                  takes a hold of the origin of what happens now, where there is a journal
--     source(stage)                            of a producer, where there is a journal
--     timed()                                  from now on `due` must be asked
local acks = require "minigun.policy.acks"
local order = require "minigun.policy.order"
local queue = require "minigun.base.queue"
local work = require "minigun.base.work"

local contract = {}

local Place = {}
Place.__index = Place
contract.Place = Place

--- Gives a place the fields that each has.
---@param place table with fields of its own
---@param port table
---@param segment table of the plan
---@param takes "values"|"bytes"
---@return table place
function contract.open(place, port, segment, takes)
  place.port, place.plan, place.pool, place.takes, place.n = port, segment, port.pool, takes, segment.n
  place.here, place.fresh, place.first = false, place.fresh or false, place.first or false
  place.queue, place.lanes, place.queued, place.queued_bytes = queue.new(), {}, 0, 0
  place.targets, place.limited, place.per, place.keeps = {}, false, math.huge, false
  place.arrived = 0         -- items, in their order
  place.only_way_in = nil   -- the stage that all of them have come to; false: there are several
  place.no_more = {}        -- loop stages whose workers know that nothing more comes
  place.order, place.partitioned, place.finishing = nil, false, false
  if segment.ordered then
    place.order = order.new(function(part) port.in_turn(place, part) end, port.memory // 8)
  end
  return place
end

--- Adds work, first to be taken or last; in an ordered place to where it belongs.
---@param own table
---@param in_front boolean?
function Place:push(own, in_front)
  local line = own.lane and self.lanes[own.lane] or self.queue
  if not own.first then
    own.first, self.arrived = self.arrived + 1, self.arrived + own.count
    if self.only_way_in == nil then self.only_way_in = own.stage end
    if self.only_way_in ~= own.stage then self.only_way_in = false end
    if next(self.no_more) then self:reopen_loops() end
    line:push(own)
  elseif self.order then
    line:insert(own)
  else
    line:push(own, in_front)
  end
  self.queued = self.queued + own.count
  self.queued_bytes = self.queued_bytes + (own.length or 0)
  local s = self.port.stats[own.stage]
  if self.queued > s.queue_most then s.queue_most = self.queued end
end

--- Prepares for work that only one worker may have.
function Place:open_lanes()
  self.partitioned = true
  for i in ipairs(self.slots) do self.lanes[i] = queue.new() end
end

--- The queue from which a worker takes next.
---@param slot table
---@return table|false|nil line with something in it; else there is nothing for it
function Place:queue_for(slot)
  local lane = self.lanes[slot.number]
  local line = lane and lane:first() and lane or self.queue
  local own = line:first()
  return own and (not self.order or self.order:may_begin(own.first)) and line
end

--- Takes at most n items of the oldest work of a queue.
---@param n integer
---@param line table the queue
---@return table work
function Place:take(n, line)
  local whole = line:first()
  local slice = whole
  if whole.count > n and whole.block then
    local at, count = self.pool:walk(whole.block, whole.offset, whole.length, whole.only, n)
    if not at or count < n then
      self.port.fail(("a worker of an earlier stage has damaged a block that holds items for '%s'"):format(
        self.port.plan.stages[whole.stage].name))
    end
    self.pool:retain(whole.block)
    local origin = whole.origin and acks.cut(whole, n)
    slice = work.cut(whole, n, at)
    slice.origin = origin
  else
    line:pop()
  end
  self.queued = self.queued - slice.count
  self.queued_bytes = self.queued_bytes - (slice.length or 0)
  return slice
end

--- Decodes the item of work that has come as bytes, for a place that runs it in this process: `value`; or `given_up`,
--- as it comes to nothing, with the `problem` where it cannot be had.
---@param own table
function Place:decode(own)
  local port, pool, stage = self.port, self.pool, self.port.plan.stages[own.stage]
  port.check(own)
  local after, value, problem = pool:decode(own.block, own.offset, own.offset + own.length, own.only)
  pool:release(own.block)
  if not after then port.fail(("stage '%s': an item cannot be read: %s"):format(stage.name, value)) end
  own.value = value
  if type(problem) == "table" then -- a batch without these
    port.unreadable(stage, problem)
    own.given_up = #value == 0
  else
    own.given_up, own.problem = problem ~= nil, problem
  end
end

--- Items are finished: `n` of some work after the first `passed`.
---@param own table
---@param passed integer
---@param n integer
function Place:finished(own, passed, n)
  self.port.finished(own.stage, n, own.origin)
  if not self.order then return end
  if own.again then self.order:settled(own.first)
  else self.order:finished(own.first + passed, n) end
end

--- How many items of a stage wait in the queues.
---@param id integer
---@return integer
function Place:count_queued(id)
  local n = self.queue:items(id)
  for _, lane in pairs(self.lanes) do n = n + lane:items(id) end
  return n
end

-- Something has come in after all: loops that have ended begin again, and will be ended again.
function Place:reopen_loops()
  for id in pairs(self.no_more) do self.port.reopen(id) end
  self.no_more = {}
end

--- The workers and threads whose loops are to learn that nothing more comes.
---@return table slots array
function Place:looping() return self.slots end

--- Tells the loop of a stage, in each worker, that nothing more comes: work of its own, so that what the loops emit
--- then is committed like an item's output, and no later stage ends before that has arrived.
---@param id integer the stage
---@return boolean new false: they know already
function Place:end_input(id)
  if self.no_more[id] then return false end
  self.no_more[id] = true
  for _, slot in ipairs(self:looping()) do
    self.lanes[slot.number] = self.lanes[slot.number] or queue.new()
    self.port.accept(id)
    self.arrived = self.arrived + 1
    self:push(work.of_end(id, slot.number, self.arrived))
  end
  return true
end

--- A piece of work is finished that nothing has been done with.
---@param own table
function Place:drop(own)
  if own.block then self.pool:release(own.block) end
  self:finished(own, 0, own.count)
end

--- Takes out work that is not begun.
---@param origin table
---@return boolean found
function Place:withdraw(origin)
  local own = self.queue:take_of(origin)
  if not own then return false end
  self.queued, self.queued_bytes = self.queued - own.count, self.queued_bytes - (own.length or 0)
  self:drop(own)
  return true
end

-- What a place does where its own file says nothing else.
function Place:start() return self end
function Place:abandon(_) return false end
function Place:resize(_) return nil, "it has no workers" end
function Place:supply() return false end
function Place:wanted() return 0 end
function Place:due(_) return nil end
function Place:working() return false end
function Place:alive() return 0 end
function Place:stop_producer(_) return self end -- only workers have some
function Place:close() return self end
function Place:finish() self.finishing = true end
function Place:ended() return self.finishing and self.queued == 0 end

--- Makes a kind of place: a class whose objects have the methods of every place. They are in it from the start, as a
--- look-up through two classes would be felt with each item.
---@return table class
function contract.kind()
  local class = {}
  for name, method in pairs(Place) do class[name] = method end
  class.__index = class
  return class
end

return contract
