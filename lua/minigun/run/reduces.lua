--- Folds: reductions in a run. Methods of a run (see run.lua); the values are policy/reduce.lua's.
--
-- A reduction emits when nothing else is left to do anywhere, as any handler that still runs could send it an item: one
-- reduction after the other, front to back. With `await = false` nobody sends to it, and it emits at its input's end.
local errors = require "minigun.base.traceback"
local core = require "minigun.core"
local effects = require "minigun.child.replies"
local reduction = require "minigun.policy.reduce"
local signals = require "minigun.system.signals"
local work = require "minigun.base.work"

local folds = {}

--- Makes a reduction's last stage ready to run, and lets its batches, if it has some, become as large as is good.
---@param stage table
function folds:open_fold(stage)
  local fold, entry = stage.reduces.fold, stage.id
  local result = stage.reduces.parts and reduction.combiner(fold, stage.reduces.workers, os.clock)
    or reduction.inline(fold)
  while self.plan.stages[entry].behind do entry = self.plan.stages[entry].behind end
  local each = { stage = stage, entry = self.chain.states[entry], result = result, late = nil,
    segment = self.segment_of[stage.behind] }
  self.folds[stage.id] = each
  if each.segment then each.entry.combiner = result end
  self.chain.states[stage.id].handler = function(item)
    if each.late then error(each.late, 0) end
    result:add(item)
    if each.segment then each.entry.batches:resize(result:size()) end
  end
end

--- What has failed in a stage of the coordinator: of a reduction that combines parts, what is in the part.
---@param stage table
---@param item any
---@return any
function folds:folded(stage, item)
  local each = self.folds[stage.id]
  if each and each.segment and not each.late then return item[2] end
  return item
end

--- Passes on batches that are not full to workers that would have nothing to do.
function folds:feed_folds()
  for _, each in pairs(self.folds) do
    if each.segment and each.entry.batches.first and each.segment:idles() then
      self.chain:flush_batches(each.entry.stage.id)
    end
  end
end

--- Emits the value of a reduction, unless it has done so.
---@param id integer its last stage
function folds:emit_fold(id)
  local each = self.folds[id]
  if not each or each.late then return end
  each.late = ("stage '%s' has emitted its value already; this item was sent to it afterwards, with emit:to"):format(
    each.stage.name)
  each.entry.late, each.stage.retries = each.late, 0
  local ok, value = errors.call(each.result.finish, each.result)
  self.ledger.changed = true
  if ok then return self.chain:emit_batch(self.chain.states[each.stage.id], value) end
  signals.pass_on(value.raised)
  self:settle_failure(each.stage, errors.fields(value, { attempt = 1, pid = self.pid, batch = true }),
    function() return each.result:values() end)
end

--- Emits the value of the first reduction that has not done so; everything else must have come to its end.
---@return boolean emitted false: all have
function folds:emit_next_fold()
  for id in ipairs(self.plan.stages) do
    local each = self.folds[id]
    if each and not each.late then
      self:emit_fold(id)
      return true
    end
  end
  return false
end

--- A batch of values could not be encoded: the items that cannot be sent fail, the others go on.
---@param stage table that gathers
---@param batch table array of items; of a reduction pair of number and items
---@param message string what is wrong with the batch
---@param writer userdata that could not encode it
function folds:batch_refused(stage, batch, message, writer)
  local good, items = {}, stage.batch.numbered and batch[2] or batch
  local function fail(item, text, whole)
    local fields = effects.refused(item, stage.at, text)
    fields.pid, fields.batch = self.pid, whole
    self:settle_failure(stage, fields, function() return item end)
  end
  for _, item in ipairs(items) do
    local ok, text = pcall(core.encode, item)
    if ok then good[#good + 1] = item else fail(item, text) end
  end
  if #good == #items then return fail(batch, message, true) end -- too much together
  if #good > 0 then writer(stage.batch.numbered and { batch[1], good } or good) end
end

--- A batch has failed in a worker: one of its items, where it is known which, or the whole. An item that has failed for
--- good is taken out, and the others are folded anew.
---@param segment table
---@param stage table that folds
---@param fields table of the failure; `step`: the item in work
---@param entry table of which the batch is one item
---@param batch table? pair of number and items; nil: it cannot be read
---@param again function () -> entry of the same batch
---@param ordinal integer of the batch in the segment
---@return minigun.Failure? record nil: the batch is tried again
---@return boolean? anew the rest of it goes on as a new batch
function folds:batch_failed(segment, stage, fields, entry, batch, again, ordinal)
  local items = type(batch) == "table" and batch[2] or {}
  local k = #items == 1 and 1 or fields.step or 0
  local tried, retried = entry.count == 1 and entry.tried or {}, false
  tried[k] = (tried[k] or 0) + 1
  fields.attempt, fields.step, fields.number, fields.batch = tried[k], nil, nil, k == 0 or nil
  local record = self:settle_failure(stage, fields, function()
    if k > 0 then return items[k] end
    return items
  end, function()
    local retry = again()
    if retry then retry.tried, retried = tried, true end
    return retry
  end)
  if retried or k == 0 or #items == 1 or fields.partial then return record end
  table.remove(items, k)
  local rest, shifted = self:encode(stage, batch), { [0] = tried[0] }
  for i = 1, #items do shifted[i] = tried[i < k and i or i + 1] end
  if not rest then
    self:settle_failure(stage, { kind = "unserialisable", attempt = 1, pid = self.pid, batch = true,
      message = "what is left of a batch without a failed item cannot be sent again" }, function() return items end)
    return record
  end
  work.repeats(rest, ordinal).tried = shifted
  if segment.order then segment.order:retry(ordinal) end
  self.ledger:accept(stage.id, rest.count)
  if self.resume then self.resume:owe(rest) end
  self:enqueue(rest)
  return record, true
end

return folds
