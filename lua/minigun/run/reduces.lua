--- The reduce stages of a run; the values are policy/reduce.lua's.
--
-- A reduce emits when nothing else is left to do anywhere, as any handler that still runs could send it an item. One
-- emits after the other, from the first stage to the last. With `await = false` no stage can send to it, and it emits
-- at the end of its input.
local core = require "minigun.core"
local declared = require "minigun.base.declared"
local effects = require "minigun.child.replies"
local errors = require "minigun.base.traceback"
local signals = require "minigun.system.signals"
local work = require "minigun.base.work"

local reduces = {}

local Reduces = {}
Reduces.__index = Reduces

--- Makes what runs the reduce stages of a run.
---@param plan table
---@param pid integer the coordinator's
---@return table reduces
--- `of`: by the id of a reduce's last stage, which is the coordinator's: `stage`; `state`, the state in the chain of
--- the stage that its items come to; `result`, the value; `place` of the workers that make parts of it, or nil;
--- `closed`: the error of an item that comes after the value was emitted
function reduces.new(plan, pid)
  return declared({ plan = plan, pid = pid, state = false, ledger = false, lineage = false,
    places = false, inline = false, transport = false, failures = false, of = {} }, Reduces)
end

--- Makes a reduce's last stage ready to run. Its batches, if it has some, become as large as its work asks for.
---@param stage table
function Reduces:open(stage)
  local policy, given, first, links = require "minigun.policy.reduce", stage.reduces, stage.id, self.inline.chain
  local result = given.parts and policy.of_parts(given.recipe, given.workers, os.clock) or policy.of_items(given.recipe)
  while self.plan.stages[first].continues do first = self.plan.stages[first].continues end
  local each = { stage = stage, state = links.states[first], result = result, closed = nil,
    place = self.places.of[stage.continues] }
  self.of[stage.id] = each
  self.transport.feed = function() self:feed() end
  if each.place then each.state.reduce = result end
  links:set_handler(stage.id, function(item)
    if each.closed then error(each.closed, 0) end
    if each.place and not item[1] then item[1] = self:number(each) end
    result:add(item)
    if each.place then each.state.batches:resize(result:size()) end
  end)
end

--- The number of a part, or a batch, that comes now: after all items that have come so far.
---@param each table of `of`
---@return integer
function Reduces:number(each)
  self.inline.chain:flush_batches(each.state.stage.id)
  return each.state.batches:take_number()
end

--- The next attempt at an item at which a fold in a worker has failed: a batch of its own.
---@param stage table that makes parts in workers
---@param item any
---@param attempts integer that it has had
---@return table? work nil: it cannot be encoded
function Reduces:alone(stage, item, attempts)
  local again = self.failures:encode(stage, { self:number(self.of[stage.outputs[1]]), { item } })
  if again then again.tried = { attempts } end
  return again
end

--- What has failed in a stage of the coordinator: of a reduce that combines parts, what is in the part.
---@param stage table
---@param item any
---@return any
function Reduces:content(stage, item)
  local each = self.of[stage.id]
  if each and each.place and not each.closed then return item[2] end
  return item
end

--- How many further attempts a stage allows: none, once a reduce has emitted its value.
---@param stage table
---@return integer
function Reduces:retries_of(stage)
  local each = self.of[stage.id]
  return each and each.closed and 0 or stage.retries
end

--- Passes on batches that are not full to workers that would have nothing to do.
function Reduces:feed()
  for _, each in next, self.of do
    if each.place and each.state.batches.first and self.ledger:idles(each.place.id) then
      self.inline.chain:flush_batches(each.state.stage.id)
    end
  end
end

--- Emits the value of a reduce, unless it has done so.
---@param id integer its last stage
function Reduces:emit(id)
  local each, links = self.of[id], self.inline.chain
  if not each or each.closed then return end
  each.closed = ("stage '%s' has emitted its value already; this item was sent to it afterwards, with emit:to"):format(
    each.stage.name)
  each.state.closed = each.closed
  local ok, value = errors.call(each.result.finish, each.result)
  self.ledger:changed(true)
  if ok and self.lineage then
    return self.lineage:under_kept(links.emit_batch, links, links.states[id], value)
  elseif ok then
    return links:emit_batch(links.states[id], value)
  end
  signals.pass_on(value.raised)
  self.failures:settle(each.stage, errors.fields(value, { attempt = 1, pid = self.pid, batch = true }),
    function() return each.result:values() end)
end

--- Emits the value of the first reduce that has not done so; everything else must have come to its end.
---@return boolean emitted false: all have
function Reduces:emit_next()
  for id in ipairs(self.plan.stages) do
    local each = self.of[id]
    if each and not each.closed then
      self:emit(id)
      return true
    end
  end
  return false
end

--- A batch of values could not be encoded: the items that cannot be sent fail, the others go on.
---@param stage table that gathers
---@param batch table array of items; of a reduce a pair of number and items
---@param message string what is wrong with the batch
---@param writer userdata that could not encode it
function Reduces:batch_refused(stage, batch, message, writer)
  local good, items = {}, stage.batch.numbered and batch[2] or batch
  local function fail(item, text, whole)
    local fields = effects.refused(item, stage.at, text)
    fields.pid, fields.batch = self.pid, whole
    self.failures:settle(stage, fields, function() return item end)
  end
  for _, item in ipairs(items) do
    local ok, text = pcall(core.encode, item)
    if ok then good[#good + 1] = item else fail(item, text) end
  end
  if #good == #items then return fail(batch, message, true) end -- too much together
  if #good > 0 then writer(stage.batch.numbered and { batch[1], good } or good) end
end

-- What is left of a batch without its k-th item goes on as a new one, with the attempts that its items have had.
local function go_on(self, place, stage, failed, k)
  local batch, tried, ordinal = failed.batch, failed.tried, failed.ordinal
  local items, shifted = batch[2], { [0] = tried[0] }
  table.remove(items, k)
  local rest = self.failures:encode(stage, batch)
  for i = 1, #items do shifted[i] = tried[i < k and i or i + 1] end
  if not rest then
    self.failures:settle(stage, { kind = "unserialisable", attempt = 1, pid = self.pid, batch = true,
      message = "what is left of a batch without a failed item cannot be sent again" }, function() return items end)
    return false
  end
  work.repeats(rest, ordinal).tried = shifted
  if place.order then place.order:retry(ordinal) end
  self.transport:enter_again(rest)
  return true
end

--- A batch has failed in a worker: one of its items, where it is known which, or the whole. An item that has failed for
--- good is taken out, and the others are run again.
---@param place table
---@param stage table the one in workers
---@param fields table of the failure; `step`: the item in work
---@param failed table
--- `batch`: pair of number and items; nil: it cannot be read; `ordinal`: of it in the place; `tried`: attempts that its
--- items have had, by their place in it
---@param again function () -> work of the same batch
---@return minigun.Failure? record nil: the batch is tried again
---@return boolean? anew the rest of it goes on as a new batch
function Reduces:batch_failed(place, stage, fields, failed, again)
  local batch, tried, retried = failed.batch, failed.tried, false
  local items = type(batch) == "table" and batch[2] or {}
  local k = #items == 1 and 1 or fields.step or 0
  tried[k] = (tried[k] or 0) + 1
  fields.attempt, fields.step, fields.number, fields.batch = tried[k], nil, nil, k == 0 or nil
  local record = self.failures:settle(stage, fields, function()
    if k > 0 then return items[k] end
    return items
  end, function()
    local retry = again()
    if retry then retry.tried, retried = tried, true end
    return retry
  end)
  if retried or k == 0 or #items == 1 or fields.partial then return record end
  return record, go_on(self, place, stage, failed, k) or nil
end

return reduces
