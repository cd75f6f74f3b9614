--- Retries: what becomes of an item that failed. Methods of a run (see run.lua).
local chain = require "minigun.chain"
local core = require "minigun.core"
local failure = require "minigun.failure"
local report = require "minigun.report"

local retries = {}

--- Tries again, or records the failure. `again()` makes the entry of the next attempt; nil: there can be none.
function retries:settle_failure(stage, fields, item, again)
  local attempt = fields.attempt
  local s = self.stats[stage.id]
  if attempt <= stage.retries and not fields.partial and again then
    local entry = again()
    if entry then
      entry.attempt = attempt + 1
      s.retried = s.retried + 1
      self.pending[stage.id] = self.pending[stage.id] + 1
      self.retries[#self.retries + 1] = { due = core.now() + stage.backoff, entry = entry }
      return
    end
  end
  s.failed = s.failed + 1
  fields.stage, fields.attempts, fields.attempt = stage.name, attempt, nil
  fields.item, fields.index = item(), nil
  local record = failure.new(fields)
  local failures = self.result.failures
  failures[#failures + 1] = record
  for _, hook in ipairs(self.plan.hooks.on_failure) do
    local ok, answer = xpcall(hook.f, chain.caught, record, self:context { stage = stage.name })
    if not ok then self:hook_failed(hook.name, hook.at, chain.as_caught(answer)) end
    if answer == "stop" then self.stopping = true end
  end
  if self.plan.options.failures == "stop" then self.stopping = true end
end

--- An item has failed in a worker.
function retries:item_failed(segment, slot, stage, fields, entry)
  fields.pid, fields.worker, fields.workers = fields.pid or slot.pid, slot.number, segment.plan.n
  local pool, at, limit = self.pool, nil, nil
  if fields.index and entry.block then
    at = pool:walk(entry.block, entry.offset, entry.length, entry.only, fields.index)
    limit = entry.offset + entry.length
  end
  local function item()
    if fields.item ~= nil then return fields.item end
    if at then return (select(2, pool:decode(entry.block, at, limit, entry.only))) end
    if entry.value ~= nil and fields.index then return entry.value end
    return fields.item_text
  end
  self:settle_failure(stage, fields, item, stage.kind ~= "producer" and function()
    if at then
      local next_at = pool:walk(entry.block, at, limit - at, entry.only, 1)
      pool:retain(entry.block)
      return { stage = stage.id, count = 1, block = entry.block, offset = at, length = next_at - at, only = entry.only,
        lane = entry.lane }
    elseif fields.index then
      return { stage = stage.id, count = 1, value = entry.value }
    elseif fields.item ~= nil then
      return self:encode(stage, fields.item)
    end
  end)
end

--- An entry for one Lua value that goes back into a pool.
function retries:encode(stage, item)
  if self.segment_of[stage.id].per_item then return { stage = stage.id, count = 1, value = item } end
  local bad = false
  local writer = core.writer(self.pool, stage.id, function(w, need)
    if need > 0 and not w:open(need) then self:fail "out of shared memory" end
  end, function() bad = true end, 1, 1)
  writer(item)
  local entry
  if not bad then
    local block, offset, length = writer:take()
    entry = { stage = stage.id, count = 1, block = block, offset = offset, length = length, only = report.ANY }
  end
  writer:close()
  return entry
end

return retries
