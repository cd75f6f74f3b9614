--- The contract of a place: what runs stages, inline, in workers, in threads. And the part that is the same for all.
--
-- Every item is in exactly one place. What a stage has accepted and not finished is in its place's queue, in hand
-- there, or waits for its next attempt. All of that is in the run's ledger (src/core/ledger.h), where a place has a
-- number; it tells the run through its port what it has emitted, and what has failed.
--
-- A place has the fields
--     here       true: the coordinator's own stages, see inline.lua
--     takes      "values" or "bytes": how items are to come
--     first, last     its slots in the pool; false: it has none, and what it emits are values in this process
--     fresh      true: each item has a process of its own, so it alone sees what that does to it
--     plan       its segment of the plan: kind, n, stages, hooks ...
--     n          workers or threads; as many as the segment says, until `resize`
--     ledger, id      the run's, and its number there
--     in_flight  how much of what it was given is outside of the run, so that what comes back will end a sleep
-- the run notes on it
--     targets    set of the places that fill up after it, and stages' queue limits by id
--     limited    whether one of them has a limit; `per`: how many of its own items make one for them
-- and the methods
--     start()                    before the first item
--     dispatch()                 begins what can be begun, and gives what its workers lack -> whether it has begun
--                                anything; whether a worker still lacks something; when to look for workers that
--                                are overdue, on the monotonic clock, or nil
--     wanted()                   how large a block is that one waits for, in bytes
--     due(now)                   does what the clock asks for -> when to look next, or nil
--     working()                  whether it goes on while the coordinator is in another stage's handler
--     free()                     how many single items it could begin at once, beside those in its queue
--     withdraw(origin)           takes out a piece of work of that origin that is not begun -> whether there was one
--     abandon(origin)            ends what works at such a piece, which comes to nothing -> whether there was one
--     resize(n)                  changes how many workers or threads there are -> true; nil, message
--     alive()                    how many processes of its own live
--     chunk_flags(stage)         flags of the chunks of a stage, as in src/core/slot.h
--     end_input(stage)           no more comes to a loop stage -> whether it learns that only now, and ends later
--     stop_producer()            ends a producer that runs here
--     finish()                   no more work comes at all
--     ended()                    whether everything is over after that
--     close()                    gives back what it holds, however the run has ended
-- A new kind of place has a file of its own and a line in kinds.lua; what it does not say itself it has from here.
--
-- What fills up, what waits and what can end a sleep the ledger knows of every place: `ledger:full(place.id)`,
-- `queued`, `idles`, `wakes`.
--
-- Its port is all that it knows of the run (run/port.lua). Values: `plan`, `ledger`, `pool`, `stats` (by stage),
-- `workers` (the records of workers' slots), `returns` (see chain.new), `pid`, `memory`, `held_most`, `heap`, `told`
-- (of all that is finished: there is a journal), `sources` (producers by stage, where there is a journal, or nil).
-- Functions:
--     now(), clock()                           seconds: of the monotonic clock, and of the one without stops
--     emitted(stage, item), sent(stage, id, item)      a value goes on: to all receivers, or to one
--     passed(place, part)                      so do items of a stage as bytes, see Events:worker_emitted
--     in_turn(place, part)                     output that was held for its turn goes on
--     failed(place, slot, stage, fields, work) an item has failed in a worker -> the failure; nil: it is tried again
--     settle(stage, fields, item, again)       the same for any other failure
--     unreadable(stage, list)                  items cannot be decoded
--     effect(kind, name, value)                what ctx collects and counts
--     may_begin(place)                         whether a thread may: the run goes on, and no receiver is full
--     hooks(list, fields, argument), warn(text), fail(text)
--     count(stage, counts)                     for the statistics: what a stage of values has done
--     any_failed()                             whether an item has failed for good
--     fork_hooks(segment, names, ctx_of)       hooks about forks of stages that run in the coordinator
--     raised(err)                              ends the run where what was raised is Ctrl-C
--     loop()                                   the event loop
--     check(work)                              ends the run where a block does not hold what was announced
--     under(origin)                            what happens now comes of that
--     holds()                                  takes a hold of the origin of what happens now, where there is a journal
--     timed()                                  from now on `due` must be asked

local contract = {}

local Place = {}
Place.__index = Place
contract.Place = Place

--- Gives a place the fields that each has, and its number in the ledger.
---@param place table with fields of its own; `most`: items that may wait for it; nil: bytes alone count
---@param port table
---@param segment table of the plan
---@param takes "values"|"bytes"
---@return table place
function contract.open(place, port, segment, takes)
  place.port, place.plan, place.pool, place.takes, place.n = port, segment, port.pool, takes, segment.n
  place.ledger = port.ledger
  place.here, place.in_flight, place.fresh, place.first = false, 0, place.fresh or false, place.first or false
  place.targets, place.limited, place.per = {}, false, math.huge
  place.order, place.finishing, place.has_lanes, place.partitioned = nil, false, false, false
  local ids = segment.stages
  place.id = port.ledger:add_place { n = segment.n, seats = segment.seats or segment.n, first = place.first or 0,
    stages = #ids, front = ids[1], threads = segment.groups and segment.width or 0,
    per_worker = place.per_worker or math.huge, most = place.most or 0,
    -- The stages of a group tell themselves what they emit.
    counted = not ids[2] and not port.plan.stages[ids[1]].recipe and ids[1] or 0,
    fresh = place.fresh, ordered = segment.ordered, told = port.told or segment.ordered,
    loops = place.loops and place.loops[1], folds = segment.folds and segment.folds[1] }
  if segment.ordered then
    place.order = require("minigun.policy.order").new(function(part) port.in_turn(place, part) end, port.memory // 8,
      function(head, limit) port.ledger:order(place.id, head, limit) end)
  end
  return place
end

--- Prepares for work that only one worker may have.
function Place:open_lanes()
  self.has_lanes, self.partitioned = true, true
  self.ledger:open_lanes(self.id)
end

--- Ends the run where a block with items for a stage is damaged.
---@param id integer the stage
function Place:found_damage(id)
  self.port.fail(("a worker of an earlier stage has damaged a block that holds items for '%s'"):format(
    self.port.plan.stages[id].name))
end

--- Takes the next items for a worker or thread of this process.
---@param number integer of that, from 1
---@param n integer? at most, by default one
---@return table? work see base/work.lua; nil: there is none that may be begun
function Place:take(number, n)
  local own, damaged = self.ledger:take(self.id, number, n)
  if damaged then self:found_damage(damaged) end
  return own and self.ledger:read(own) or nil
end

--- Decodes the item of work that has come as bytes, for a place that runs it in this process: `value`; or `given_up`,
--- as it comes to nothing, with the `problem` where it cannot be had.
---@param own table
function Place:decode(own)
  local port, stage = self.port, self.port.plan.stages[own.stage]
  port.check(own)
  local after, value, problem = self.pool:decode(own.block, own.offset, own.offset + own.length, own.only)
  self.ledger:unload(own.id)
  if not after then port.fail(("stage '%s': an item cannot be read: %s"):format(stage.name, value)) end
  own.value = value
  if type(problem) == "table" then -- a batch without these
    port.unreadable(stage, problem)
    own.given_up = #value == 0
  else
    own.given_up, own.problem = problem ~= nil, problem
  end
end

--- Work that was taken is finished.
---@param own table
function Place:finished(own)
  self.ledger:finish(own.id)
  self:settle_order(own, 0, own.count)
  self.ledger:drop(own.id)
end

--- In an ordered place: `n` items of some work after the first `passed` are finished, and what waits for them may go
--- on.
---@param own table
---@param passed integer
---@param n integer
function Place:settle_order(own, passed, n)
  if not self.order then return end
  if own.again then self.order:settled(own.first)
  else self.order:finished(own.first + passed, n) end
end

--- Takes out work that is not begun.
---@param origin table what it has come of
---@return boolean found
function Place:withdraw(origin)
  local own = self.ledger:withdraw(self.id, origin)
  if own then self:finished(self.ledger:read(own)) end
  return own ~= nil
end

--- The workers and threads whose loops are to learn that nothing more comes.
---@return table slots array
function Place:looping() return self.slots end

--- Tells the loop of a stage, in each worker, that nothing more comes: work of its own, so that what the loops emit
--- then is committed like an item's output, and no later stage ends before that has arrived.
---@param id integer the stage
---@return boolean new false: they know already
function Place:end_input(id)
  local ledger = self.ledger
  if ledger:no_more(id, true) then return false end
  for _, slot in ipairs(self:looping()) do
    self.has_lanes = true
    ledger:push(ledger:end_of(id, slot.number))
  end
  return true
end

-- What a place does where its own file says nothing else.
function Place:free() return self.ledger:free(self.id) end
function Place:start() return self end
function Place:abandon(_) return false end
function Place:resize(_) return nil, "it has no workers" end
function Place:wanted() return 0 end
function Place:due(_) return nil end
function Place:working() return false end
function Place:alive() return 0 end
function Place:chunk_flags(_) return 0 end
function Place:stop_producer() return self end -- only workers have some
function Place:close() return self end
function Place:finish() self.finishing = true end
function Place:ended()
  local queued, _, in_hand = self.ledger:queued(self.id)
  return self.finishing and queued == 0 and in_hand == 0
end

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
