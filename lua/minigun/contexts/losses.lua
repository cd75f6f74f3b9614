--- Losses: what becomes of the items that a dead worker had. The one that it was at has failed, and has paid with an
-- attempt; all others go back to the queue. Where it was killed for the sake of an item that was cancelled, any
-- other that it was at goes back too, and what is left of the cancelled one is dropped.
local failure = require "minigun.base.failure"
local report = require "minigun.base.protocol"
local restarts = require "minigun.policy.restarts"

local losses = {}

local SIGKILL <const> = 9

-- The item that a dead worker was at, the first of some work, has failed. Returns what is left after it, if anything.
local function fail_in_hand(place, slot, left, rest, death)
  local port, ledger, fields = place.port, place.ledger, left.fields
  local own = ledger:read(rest)
  if own.block then port.check(own) end
  if own.count > 1 then
    own = ledger:read(ledger:cut(rest, 1))
    port.under(own.origin) -- its own from now on, see acks.cut
  else
    rest = nil
  end
  if place.processes.stop_killed then -- its output is where it should be
    port.warn(("stage '%s': the producer (pid %d) did not end when the run was stopped, and was killed"):format(
      place.plan.name, fields.pid))
    place:finished(own)
    return nil
  end
  local stage = port.plan.stages[own.stage]
  fields.index, fields.attempt, fields.step = 0, own.attempt, left.step
  if own.attempt == 0 and fields.message then fields.message = fields.message:gsub("the item", "its end") end
  fields.loading = left.how & report.LOADING ~= 0
  fields.partial = left.how & report.STREAMED ~= 0 or stage.kind == "producer" or nil
  death.record = port.failed(place, slot, stage, fields, own)
  place:finished(own)
  return rest
end

-- Of items that are committed together the `n`-th is in hand, or in another stage's fold, which is no fault of its own.
-- Returns those before it, and the rest. Where output has gone on already nothing can be undone: all of them fail.
local function fail_among(place, slot, left, rest, death, n, aside)
  local fields, before = left.fields, nil
  local streamed = left.how & report.STREAMED ~= 0
  if not streamed and n > 1 then before = place.ledger:cut(rest, n - 1) end
  for _ = 1, streamed and n or aside and 0 or 1 do
    left.fields = {}
    for key, value in pairs(fields) do left.fields[key] = value end
    rest = fail_in_hand(place, slot, left, rest, death)
  end
  return before, rest
end

-- What is left of a slice goes on.
local function return_slice(place, slot, left, death)
  local ledger = place.ledger
  local rest = ledger:left(slot.index, left.number, left.block, left.offset, left.length, left.count, left.only)
  local origin = ledger:kept(rest, report.ORIGIN)
  if origin and origin.cancelled then return place:finished(ledger:read(rest)) end
  place.port.under(origin)
  local innocent = slot.struck and slot.struck ~= origin and left.how & report.STREAMED == 0
  local step, before = left.step or 0, nil
  if left.in_hand and step & report.STEP_ITEM ~= 0 then
    left.step = nil
    ledger:singly(rest)
    before, rest = fail_among(place, slot, left, rest, death, step & report.STEP_NUMBER,
      innocent or step & report.STEP_ASIDE ~= 0)
  elseif left.in_hand and not innocent then
    rest = fail_in_hand(place, slot, left, rest, death)
  end
  for _, part in ipairs { rest or before, rest and before } do
    ledger:keep(part, report.DEATH, death)
    ledger:push(part, true)
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
  local names, ended, ledger = {}, slot.loops_ended or {}, place.ledger
  local own = in_hand and ledger:read(ledger:hand(slot.index, in_hand.number))
  local ending = own and own.attempt == 0 and own.stage
  for _, id in ipairs(place.plan.stages) do
    local stage = place.port.plan.stages[id]
    if stage.loop and not ended[id] and id ~= ending then names[#names + 1] = "'" .. stage.name .. "'" end
  end
  if #names == 0 then return end
  place.port.warn(("worker %d (pid %d) %s in the middle of the loop of stage %s, after %s: what that had " ..
    "kept in its variables is lost; a new one begins"):format(slot.number, last.pid,
    restarts.cause(last.code, last.signal), table.concat(names, " and of stage "), failure.count(slot.items, "item")))
end

return losses
