--- Losses: what becomes of the items that a dead worker had. The one that it was at has failed, and has paid with an
-- attempt; all others go back to the queue. Where it was killed for the sake of an item that nobody wants any more, any
-- other that it was at goes back too.
local failure = require "minigun.base.failure"
local report = require "minigun.base.protocol"
local restarts = require "minigun.policy.restarts"
local work = require "minigun.base.work"

local losses = {}

local SIGKILL <const> = 9

-- The item that a dead worker was at has failed. Returns what is left after it, if anything.
local function fail_in_hand(place, slot, left, rest, death)
  local port, pool, one, fields = place.port, place.pool, rest, left.fields
  if rest.block then port.check(rest) end
  if rest.count > 1 then
    local at = pool:walk(rest.block, rest.offset, rest.length, rest.only, 1)
    pool:retain(rest.block)
    one = work.cut(rest, 1, at)
  else
    rest = nil
  end
  if place.processes.stop_killed then -- its output is where it should be
    port.warn(("stage '%s': the producer (pid %d) did not end when the run was stopped, and was killed"):format(
      place.plan.name, fields.pid))
    port.finished(one.stage, 1)
    return nil
  end
  local stage = port.plan.stages[one.stage]
  fields.index, fields.attempt, fields.step = 0, one.attempt, left.step
  if one.attempt == 0 and fields.message then fields.message = fields.message:gsub("the item", "its end") end
  fields.partial = left.how & report.STREAMED ~= 0 or stage.kind == "producer" or nil
  death.record = port.failed(place, slot, stage, fields, one)
  place:finished(one, 0, 1)
  if one.block then pool:release(one.block) end
  return rest
end

-- What is left of a slice goes on.
local function return_slice(place, slot, left, death)
  local own = slot.hand[left.number]
  place.port.under(own.origin)
  if own.block then place.pool:release(own.block) end -- the ledger's; the event has brought another reference
  local rest = work.part(own, own.finished or 0, left.count, left.offset, left.length)
  local innocent = slot.struck and slot.struck ~= own.origin and left.how & report.STREAMED == 0
  if left.in_hand and not innocent then rest = fail_in_hand(place, slot, left, rest, death) end
  if rest then
    rest.death = death
    place:push(rest, true)
  end
end

-- The fields of the failure that a death costs.
local function fields_of(place, slot, last, timed_out, in_flight)
  local fields = failure.of_exit(last, slot.number)
  if timed_out then failure.of_timeout(fields, place.processes.timeout, "its worker was killed")
  elseif not last.code then fields.message = "the worker " .. restarts.cause() end
  fields.in_flight = in_flight
  return fields
end

--- Takes back all that a worker had when it ended.
---@param place table of workers
---@param slot table its `left`: what there is
---@param last table how it ended, see processes.lua
---@return boolean timed_out whether it was killed as its time was over
function losses.settle(place, slot, last)
  local in_flight, death, any_timed_out = 0, {}, false
  for _, left in ipairs(slot.left) do in_flight = in_flight + left.count end
  for i = #slot.left, 1, -1 do -- from the last: each goes to the front of the queue
    local left = slot.left[i]
    -- Of a worker with threads: the item by whose time-out it was killed, unless it had left by itself before the
    -- signal.
    local timed_out = left.how & report.TIMED_OUT ~= 0 and (last.signal == SIGKILL or not last.signal)
    any_timed_out = any_timed_out or timed_out
    left.fields = fields_of(place, slot, last, timed_out, in_flight)
    return_slice(place, slot, left, death)
  end
  return any_timed_out
end

--- A worker died whose loops had items: they are begun anew, and the user should know.
---@param place table
---@param slot table
---@param last table
---@param in_hand table? what it was at, of `left`: the end of a loop's input is a failure of its own
function losses.warn_of_loops(place, slot, last, in_hand)
  if slot.items == 0 or place.fresh then return end
  local names, ended = {}, slot.loops_ended or {}
  local ending = in_hand and slot.hand[in_hand.number].attempt == 0 and slot.hand[in_hand.number].stage
  for _, id in ipairs(place.plan.stages) do
    local stage = place.port.plan.stages[id]
    if stage.loop and not ended[id] and id ~= ending then names[#names + 1] = "'" .. stage.name .. "'" end
  end
  if #names == 0 then return end
  place.port.warn(("worker %d (pid %d) %s in the middle of the loop of stage %s, after %d item%s: what that had " ..
    "kept in its variables is lost; a new one begins"):format(slot.number, last.pid,
    restarts.cause(last.code, last.signal), table.concat(names, " and of stage "), slot.items,
    slot.items == 1 and "" or "s"))
end

return losses
