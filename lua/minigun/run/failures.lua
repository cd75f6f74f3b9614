--- Failures: what becomes of an item that has failed: a further attempt, a dead letter, a record in the result.
local backoff = require "minigun.policy.backoff"
local core = require "minigun.core"
local declared = require "minigun.base.declared"
local earlier = require "minigun.base.earlier"
local effects = require "minigun.child.replies"
local errors = require "minigun.base.traceback"
local failure = require "minigun.base.failure"
local halt = require "minigun.policy.halt"
local report = require "minigun.base.protocol"
local signals = require "minigun.system.signals"
local work = require "minigun.base.work"

local failures = {}

-- What a dead letter says of a failure.
local SHOWN <const> = { "kind", "stage", "message", "error", "attempts", "traceback", "worker", "pid", "signal", "code",
  "partial", "batch" }
local FUNCTIONS <const> = 100 -- items of an iterator that are functions, and cannot be sent, after which it is ended

local Failures = {}
Failures.__index = Failures

--- Makes what settles the failures of a run.
---@param plan table
---@param pid integer the coordinator's
---@param explain function (outcome, stage, fields) adds to a failure what it comes of
---@param finished function () -> how many of the sources' items are finished
---@return table failures `timers`: work that waits for its next attempt, `{ due =, work = }`
function failures.new(plan, pid, explain, finished)
  return declared({
    plan = plan, pid = pid, explain = explain, finished = finished, outcome = false, state = false, ledger = false,
    lineage = false, receipts = false, gates = false, answers = false,
    shared = false, places = false, inline = false, transport = false, hooks = false, reentry = false, reduces = false,
    timers = {},
    dead_letter = false,     -- while one is sent: `problem` is set where it cannot be encoded
  }, Failures)
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

-- --- time --------------------------------------------------------------------------------------------------------

--- Lets an item go on before its time: one that is to be taken out.
---@param origin table of what it has come
---@return boolean found
function Failures:wake_of(origin)
  for i, timer in ipairs(self.timers) do
    if self.ledger:kept(timer.work, report.ORIGIN) == origin then
      table.remove(self.timers, i)
      self.ledger:wake(timer.work)
      return true
    end
  end
  return self.gates:wake_of(origin)
end

--- Starts the attempts whose time has come, and lets through what waits at a gate.
---@param now number
---@return number? due when the next one's will; nil: none waits
---@return boolean started
function Failures:check_clock(now)
  local timers, due, started = self.timers, self.gates:check_clock(now)
  for i = #timers, 1, -1 do
    local timer = timers[i]
    if timer.due <= now then
      table.remove(timers, i)
      self.ledger:wake(timer.work)
      started = true
    else
      due = earlier(due, timer.due)
    end
  end
  return due, started
end

-- The next attempt at an item of an ordered stage of the coordinator: nothing of that stage may overtake it. Workers
-- are kept going meanwhile.
local function retry_in_place(self, entry, due)
  while true do -- a sleep brings events, which are to be taken before anything hands out work again
    if self.shared.pool then self.reentry:enter "workers" end
    local left = due - core.clock()
    if left <= 0 or self.state.aborted then break end
    self.reentry:sleep(left, true)
  end
  self.inline.chain.calls:push(entry.stage, entry.value, entry.attempt, entry.first)
end

local function try_again(self, stage, entry, attempt)
  local s = self.outcome.stats[stage.id]
  entry.attempt = attempt + 1
  s.retried = s.retried + 1
  local due = core.clock() + backoff.delay(stage.backoff, attempt, chance())
  if stage.ordered then return retry_in_place(self, entry, due) end
  if self.lineage then self.lineage:owe(entry) end
  self.ledger:changed(true) -- the clock is to be looked at
  self.timers[#self.timers + 1] = { due = due, work = self.ledger:enter(entry, "waiting") }
end

-- --- for good ----------------------------------------------------------------------------------------------------

-- Hands a failed item over to where its stage's dead letters go. Returns whether that has it.
local function send_dead_letter(self, stage, record)
  local target = stage.dead_letter
  if not target or record.item == nil then return false end
  local shown = {}
  for _, key in ipairs(SHOWN) do shown[key] = record[key] end
  local sent = { item = record.item, failure = shown }
  local is_stage = type(target) == "number"
  local segment = is_stage and self.places.of[target]
  local travels = not is_stage or segment.takes ~= "values"
  if not travels then sent.item = core.copy(sent.item) end -- the failure's item stays as it is
  if travels and not protected(core.encode, sent) then
    if not protected(core.encode, shown.error) then shown.error = nil end
    if not protected(core.encode, sent) then sent.item = failure.show(record.item) end
  end
  local problem
  if is_stage then
    self.dead_letter = { problem = nil }
    self.transport:send_to(stage, target, sent)
    problem, self.dead_letter = self.dead_letter.problem, false
  else
    local ok, written, message = protected(target.write, target, sent)
    problem = not ok and written or message
  end
  if problem then
    self.outcome:warn(("stage '%s': a dead letter could not be written: %s"):format(stage.name, problem))
  end
  return not problem
end

-- Tells the hooks on_failure. Returns whether there was one.
local function tell_hooks(self, stage, record)
  local handled = false
  for _, hook in ipairs(self.plan.hooks.on_failure) do
    if not hook.stages or hook.stages[stage.id] then
      handled = true
      local ok, answer = self.hooks:call_one(hook.f, record, self.outcome:context { stage = stage.name })
      if not ok then self.hooks:fail(hook.name, hook.at, answer) end
      signals.check()
      if answer == "stop" then self.state:abort() end
    end
  end
  return handled
end

-- Ends the run where too many items have failed.
local function look_for_halt(self, failed)
  local options, own = self.plan.options.halt, self.state
  if not options or own.stop_asked then return end
  local what = halt.after(options, failed, type(options.failures) == "table" and self.finished() or 0)
  if not what then return end
  self.outcome:warn(("the run was ended, as %s (option 'halt')"):format(failed == 1 and "1 item has failed"
    or ("%d items have failed"):format(failed)))
  own.stop_asked = true
  if what == "now" then own:abort() end
end

-- Failures of which no line of the handler's is known: the one of the stage's definition stands in front.
local LINELESS <const> = { crash = true, timeout = true }

-- The record of an item that has failed for good.
local function record_of(stage, fields, item, attempt)
  fields.at = LINELESS[fields.kind] and stage.at or nil
  fields.stage, fields.attempts, fields.attempt = stage.name, math.max(attempt, 1), nil
  fields.at_end = attempt == 0 or nil -- of a loop's input, not of an item
  fields.item, fields.index, fields.place = item(), nil, nil
  fields.unreadable, fields.uncalled, fields.folded, fields.loading = nil, nil, nil, nil
  if stage.shows then fields.item, fields.message = stage.shows(fields.item, fields.message) end
  return failure.new(fields)
end

--- Tries again, or records the failure. `again()` makes the work of the next attempt; nil: there can be none.
---@param stage table
---@param fields table of the failure
---@param item function () -> the item
---@param again function|false|nil
---@return minigun.Failure? record nil: it is tried again
function Failures:settle(stage, fields, item, again)
  local attempt, outcome = fields.attempt, self.outcome
  if self.answers and self.answers:is_cancelled() then return nil end
  if again and backoff.allows(attempt, self.reduces:retries_of(stage), fields.partial) then
    local entry = again()
    if entry then return try_again(self, stage, entry, attempt) end
  end
  local s = outcome.stats[stage.id]
  s.failed = s.failed + 1
  self.explain(outcome, stage, fields)
  local record = record_of(stage, fields, item, attempt)
  record.dead_letter = send_dead_letter(self, stage, record) or nil
  local result, kept = outcome.result, outcome.result.failures
  result.failed = result.failed + 1
  if #kept < self.plan.options.keep_failures then kept[#kept + 1] = record end
  local answered = self.answers and self.answers:failed(record)
  local heard = self.receipts and self.receipts:failed(record)
  local handled = tell_hooks(self, stage, record) or record.dead_letter or answered or heard
  if not handled then outcome.unhandled:add(record) end
  if self.plan.options.failures == "stop" and not record.dead_letter then self.state:abort() end
  look_for_halt(self, result.failed)
  return record
end

--- What ends a source: it is an iterator, and all that it has given are functions, which cannot be sent. It would give
--- them for ever.
---@param stage table
---@param sent integer items of it that have gone
---@return string? message nil: it is not ended
function Failures:only_functions(stage, sent)
  if self.outcome.stats[stage.id].failed < FUNCTIONS or sent > 0 then return nil end
  return ("%s: stage '%s': the source is an iterator whose first %d items are functions, and none of them can be " ..
    "sent; it is ended"):format(stage.at, stage.name, FUNCTIONS)
end

--- Items cannot be had, in the coordinator: each is a failure of its own.
---@param stage table
---@param list table array of { what stands for it or false, message }
function Failures:unreadable(stage, list)
  for _, refused in ipairs(list) do
    self:settle(stage, errors.fields(errors.unreadable(refused[2], nil, refused[3]), { attempt = 1, pid = self.pid }),
      function() return refused[1] or nil end)
  end
end

-- --- in workers --------------------------------------------------------------------------------------------------

-- The same for items that a worker has left out of a batch, and reported with the batch's failure.
local function left_out(self, stage, fields, list)
  for _, refused in ipairs(list or {}) do
    local own = effects.left_out(refused)
    own.pid, own.worker, own.workers = fields.pid, fields.worker, fields.workers
    self:settle(stage, own, function() return own.item or nil end)
  end
end

-- Where in its block the failed item of some work is: its offset, and that after the whole; nil: it is not in a block.
local function find(self, stage, fields, entry)
  if not (fields.index and entry.block) then return nil end
  local at, n, only = self.shared.pool:walk(entry.block, entry.offset, entry.length, entry.only, fields.index)
  if n ~= fields.index or fields.index >= entry.count then self.shared:found_damage(stage, entry.count, n) end
  return at, entry.offset + entry.length, only
end

local function item_of(self, fields, entry, at, limit, only)
  if fields.item ~= nil then return fields.item end
  if at then
    -- What a load hook has refused, or a worker may have died in, is not given to it once more.
    local plain = fields.unreadable or fields.loading
    local _, value, problem = self.shared.pool:decode(entry.block, at, limit, only, plain)
    if problem then return value or nil end
    return value
  end
  if entry.value ~= nil and fields.index then return entry.value end
  return fields.item_text
end

-- The work of the next attempt, with a reference of its own; nil: there can be none.
local function entry_again(self, stage, fields, entry, at, limit, only)
  if at then
    local pool = self.shared.pool
    local next_at, n, rest = pool:walk(entry.block, at, limit - at, only, 1)
    if n ~= 1 then self.shared:found_damage(stage, 1, n) end
    pool:retain(entry.block)
    return work.of_bytes(stage.id, entry.block, at, (rest == only and next_at or limit) - at, 1, only)
  elseif fields.folded then
    return fields.item ~= nil and self.reduces:alone(stage, fields.item, fields.attempt)
  elseif fields.index then
    return work.of_value(stage.id, entry.value)
  elseif fields.item ~= nil then
    return self:encode(stage, fields.item)
  end
end

--- An item has failed in a worker.
---@param segment table its place
---@param slot table of the worker
---@param stage table
---@param fields table of the failure
---@param entry table that it was in
---@return minigun.Failure? record nil: it is tried again
function Failures:item_failed(segment, slot, stage, fields, entry)
  fields.pid, fields.worker, fields.workers = fields.pid or slot.pid, slot.number, segment.n
  local at, limit, only = find(self, stage, fields, entry)
  local function item() return item_of(self, fields, entry, at, limit, only) end
  local ordinal = entry.first + (fields.index or fields.place or 0)
  if fields.index and fields.attempt > 0 and self.ledger:only_way_in(segment.id) == stage.id then
    fields.number = ordinal
  end
  local function retry()
    local next_attempt = entry_again(self, stage, fields, entry, at, limit, only)
    if not next_attempt then return nil end
    if segment.order then segment.order:retry(ordinal) end
    return work.repeats(next_attempt, ordinal, at and entry.lane)
  end
  local refused = fields.refused
  fields.refused = nil
  local record, anew
  if stage.recipe and not fields.folded then
    local batch = { batch = item(), ordinal = ordinal, tried = entry.count == 1 and entry.tried or {} }
    record, anew = self.reduces:batch_failed(segment, stage, fields, batch, retry)
  else
    local whole = stage.kind ~= "producer" and not fields.unreadable and not (stage.by_parts and fields.step)
    record = self:settle(stage, fields, item, whole and retry)
  end
  if record or anew then left_out(self, stage, fields, refused) end -- another attempt will tell
  return record
end

--- Work of one Lua value that goes back into a pool.
---@param stage table
---@param item any
---@return table? entry nil: it cannot be encoded
function Failures:encode(stage, item)
  if self.places.of[stage.id].takes == "values" then return work.of_value(stage.id, item) end
  local bad = false
  local writer = core.writer(self.shared.pool, stage.id, function(w, need)
    if need > 0 and not w:open(need) then self.state:fail "out of shared memory" end
  end, function() bad = true end, 1, 1)
  if stage.recipe then writer:batches(true) end
  writer(item)
  local entry
  if not bad then
    local block, offset, length = writer:take()
    entry = work.of_bytes(stage.id, block, offset, length, 1, report.ANY)
  end
  writer:close()
  return entry
end

return failures
