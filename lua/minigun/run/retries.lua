--- Retries: what becomes of an item that failed. Methods of a run (see run.lua).
local core = require "minigun.core"
local effects = require "minigun.child.replies"
local errors = require "minigun.base.traceback"
local failure = require "minigun.base.failure"
local silence = require "minigun.run.silence"
local report = require "minigun.base.protocol"
local signals = require "minigun.system.signals"
local work = require "minigun.base.work"

local retries = {}

-- What of a failure a dead letter tells.
local TOLD <const> = { "kind", "stage", "message", "error", "attempts", "traceback", "worker", "pid", "signal", "code",
  "partial", "batch" }

--- Seconds to wait after a failed attempt.
---@param backoff number|table seconds, or a filled table of the schema `backoff`
---@param attempt integer the one that has failed, 1 for the first
---@param chance number from 0 to 1
---@return number seconds
function retries.delay(backoff, attempt, chance)
  if type(backoff) == "number" then return backoff end
  local seconds = math.min(backoff.first * backoff.factor ^ (attempt - 1), backoff.max)
  return seconds * (1 - backoff.jitter * chance)
end

-- Of the system's randomness: the program's own sequence of math.random is left as it is.
local function chance()
  local bits = core.random()
  return (bits >> 11) * 2.0 ^ -53
end

-- pcall, but for Ctrl-C.
local function protected(f, ...)
  local answers = table.pack(pcall(f, ...))
  if not answers[1] then signals.pass_on(answers[2]) end
  return table.unpack(answers, 1, answers.n)
end

--- Hands a failed item over to where its stage's dead letters go.
---@param stage table where it has failed
---@param record table the failure
---@return boolean handled
function retries:send_dead_letter(stage, record)
  local target = stage.dead_letter
  if not target or record.item == nil then return false end
  local told = {}
  for _, key in ipairs(TOLD) do told[key] = record[key] end
  local letter = { item = record.item, failure = told }
  local is_stage = type(target) == "number"
  local segment = is_stage and self.segment_of[target]
  local travels = not is_stage or (segment and segment.takes ~= "values")
  if not travels then letter.item = core.copy(letter.item) end -- the failure's item stays as it is
  if travels and not protected(core.encode, letter) then
    if not protected(core.encode, told.error) then told.error = nil end
    if not protected(core.encode, letter) then letter.item = failure.show(record.item) end
  end
  local problem
  if is_stage then
    self.letter = { problem = nil }
    self:send_to(stage, target, letter)
    problem, self.letter = self.letter.problem, nil
  else
    local ok, written, message = protected(target.write, target, letter)
    problem = not ok and written or message
  end
  if problem then self:warn(("stage '%s': a dead letter could not be written: %s"):format(stage.name, problem)) end
  return not problem
end

--- The next attempt at an item of an ordered stage of the coordinator: nothing of that stage may overtake it. Workers
--- are kept going meanwhile.
---@param entry table
---@param due number when, by core.clock
function retries:retry_in_place(entry, due)
  while true do -- a sleep brings events, which are to be taken before anybody hands out work again
    if self.pool then self:serve_workers() end
    local left = due - core.clock()
    if left <= 0 or self.stopping then break end
    self:sleep(math.min(left, 0.1)) -- see src/core/clock.h
  end
  self.chain:push(entry.stage, entry.value, entry.attempt, entry.first)
end

--- Tries again, or records the failure. `again()` makes the entry of the next attempt; nil: there can be none.
---@param stage table
---@param fields table of the failure
---@param item function () -> the item
---@param again function?
---@return minigun.Failure? record nil: it is tried again
function retries:settle_failure(stage, fields, item, again)
  local attempt = fields.attempt
  local s = self.stats[stage.id]
  if attempt > 0 and attempt <= stage.retries and not fields.partial and again then
    local entry = again()
    if entry then
      entry.attempt = attempt + 1
      s.retried = s.retried + 1
      local seconds = retries.delay(stage.backoff, attempt, chance())
      if stage.ordered then return self:retry_in_place(entry, core.clock() + seconds) end
      self.ledger:wait(stage.id, entry.count)
      if self.resume then self.resume:owe(entry) end
      self.retries[#self.retries + 1] = { due = core.clock() + seconds, entry = entry }
      return
    end
  end
  s.failed = s.failed + 1
  silence.explain(self, stage, fields)
  fields.stage, fields.attempts, fields.attempt = stage.name, math.max(attempt, 1), nil
  fields.at_end = attempt == 0 or nil -- of a loop's input, not of an item
  fields.item, fields.index, fields.place = item(), nil, nil
  fields.unreadable = nil
  if stage.shows then fields.item, fields.message = stage.shows(fields.item, fields.message) end
  local record = failure.new(fields)
  record.dead_letter = self:send_dead_letter(stage, record) or nil
  local result, kept = self.result, self.result.failures
  result.failed = result.failed + 1
  if #kept < self.plan.options.keep_failures then kept[#kept + 1] = record end
  local handled = record.dead_letter
  for _, hook in ipairs(self.plan.hooks.on_failure) do
    if not hook.stages or hook.stages[stage.id] then
      handled = true
      local ok, answer = self:call_hook(hook.f, record, self:context { stage = stage.name })
      if not ok then self:hook_failed(hook.name, hook.at, answer) end
      signals.check()
      if answer == "stop" then self.stopping = true end
    end
  end
  if not handled then self.unhandled:add(record) end
  if self.plan.options.failures == "stop" and not record.dead_letter then self.stopping = true end
  return record
end

--- Items cannot be had, in the coordinator: each is a failure of its own.
---@param stage table
---@param list table array of { what stands for it or false, message }
function retries:items_refused(stage, list)
  for _, refused in ipairs(list) do
    self:settle_failure(stage, errors.fields(errors.unreadable(refused[2]), { attempt = 1, pid = self.pid }),
      function() return refused[1] or nil end)
  end
end

-- The same for items that a worker has left out of a batch, and told with the batch's failure.
local function left_out(self, stage, fields, list)
  for _, refused in ipairs(list or {}) do
    local own = effects.left_out(refused)
    own.pid, own.worker, own.workers = fields.pid, fields.worker, fields.workers
    self:settle_failure(stage, own, function() return own.item or nil end)
  end
end

--- An item has failed in a worker.
---@return minigun.Failure? record nil: it is tried again
function retries:item_failed(segment, slot, stage, fields, entry)
  fields.pid, fields.worker, fields.workers = fields.pid or slot.pid, slot.number, segment.plan.n
  local pool, at, limit = self.pool, nil, nil
  if fields.index and entry.block then
    local n
    at, n = pool:walk(entry.block, entry.offset, entry.length, entry.only, fields.index)
    if n ~= fields.index or fields.index >= entry.count then self:found_damage(stage, entry.count, n) end
    limit = entry.offset + entry.length
  end
  local function item()
    if fields.item ~= nil then return fields.item end
    if at then
      -- What a load hook has refused, or a worker may have died of, is not given to it once more.
      local plain = fields.unreadable or fields.kind ~= "error"
      local _, value, problem = pool:decode(entry.block, at, limit, entry.only, plain)
      if problem then return value or nil end
      return value
    end
    if entry.value ~= nil and fields.index then return entry.value end
    return fields.item_text
  end
  local ordinal = entry.first + (fields.index or fields.place or 0)
  if fields.index and segment.only_way_in == stage.id and fields.attempt > 0 then fields.number = ordinal end
  local function again()
    if at then
      local next_at, n = pool:walk(entry.block, at, limit - at, entry.only, 1)
      if n ~= 1 then self:found_damage(stage, 1, n) end
      pool:retain(entry.block)
      return work.of_bytes(stage.id, entry.block, at, next_at - at, 1, entry.only)
    elseif fields.index then
      return work.of_value(stage.id, entry.value)
    elseif fields.item ~= nil then
      return self:encode(stage, fields.item)
    end
  end
  local function retry()
    local next_attempt = again()
    if not next_attempt then return nil end
    work.repeats(next_attempt, ordinal, at and entry.lane or nil)
    if segment.order then segment.order:retry(ordinal) end
    return next_attempt
  end
  local refused = fields.refused
  fields.refused = nil
  local record, anew
  if stage.fold then
    record, anew = self:batch_failed(segment, stage, fields, entry, item(), retry, ordinal)
  else
    record = self:settle_failure(stage, fields, item, stage.kind ~= "producer" and not fields.unreadable and retry)
  end
  if record or anew then left_out(self, stage, fields, refused) end -- another attempt will tell
  return record
end

--- An entry for one Lua value that goes back into a pool.
function retries:encode(stage, item)
  if self.segment_of[stage.id].takes == "values" then return work.of_value(stage.id, item) end
  local bad = false
  local writer = core.writer(self.pool, stage.id, function(w, need)
    if need > 0 and not w:open(need) then self:fail "out of shared memory" end
  end, function() bad = true end, 1, 1)
  if stage.fold then writer:batches(true) end
  writer(item)
  local entry
  if not bad then
    local block, offset, length = writer:take()
    entry = work.of_bytes(stage.id, block, offset, length, 1, report.ANY)
  end
  writer:close()
  return entry
end

return retries
