--- Resume: a run with a journal goes on where an earlier one ended. What finished items have come of is counted by
-- policy/acks.lua, what each producer emits is numbered by policy/sources.lua; here both meet the journal, which is
-- known by four calls only: acknowledge, remember, tick, finish.
local core = require "minigun.core"
local declared = require "minigun.base.declared"
local marks = require "minigun.child.marks"
local report = require "minigun.base.protocol"
local emits = require "minigun.handlers.emit"
local router = require "minigun.policy.route"
local sources = require "minigun.policy.sources"

local resume = {}

local GROUP <const>, GROUP_SECONDS <const> = 64, 0.002 -- most items that are emitted with one origin, and for how long

local Resume = {}
Resume.__index = Resume

--- Makes what a run with a journal needs to know of its items.
---@param needs table
--- `plan`, `stats`, `result` of the run; `acks`; `journal`, the port, and `past`, what it knows of earlier runs (see
--- journal.open); `warn(text)`, `fail(text)`
---@return table resume `sources`: by the id of their producers
function resume.new(needs)
  local self = declared({
    plan = needs.plan, stats = needs.stats, result = needs.result, acks = needs.acks, journal = needs.journal,
    past = needs.past, warn = needs.warn, fail = needs.fail, sources = {},
    kept = {}, first = 1, last = 0, -- items of the result that the caller has not got yet: { origin =, n = }
    open = true,             -- the journal
  }, Resume)
  for id, stage in ipairs(needs.plan.stages) do
    if stage.kind == "producer" then
      self.sources[id] = sources.new(stage.name, needs.past.done[stage.name], needs.past.path)
    end
  end
  for _, warning in ipairs(needs.past.warnings) do needs.warn(warning) end
  return self
end

-- --- sources -----------------------------------------------------------------------------------------------------

--- An item of one of the coordinator's own producers is numbered; a problem ends the run, whatever catches the error.
---@param source table
---@param item any
---@return boolean skip
function Resume:skips(source, item)
  local skip, problem = sources.skips(source, item, marks.of_new)
  if problem then self.fail(problem) end
  return skip
end

local function remember(self, source, ordinal, item)
  if sources.marked(ordinal) == ordinal then self.journal:remember(source.name, ordinal, marks.of_new(item)) end
end

--- A producer of the coordinator has emitted an item, which the coordinator is at from now on. Items that are emitted
--- one after the other have one origin, see `open_source`.
---@param source table
---@param item any
---@return boolean begun false: it was acknowledged before
function Resume:begin_emission(source, item)
  if self:skips(source, item) then return false end
  local n, origin = source.seen, source.open
  if n >= source.next_mark then
    remember(self, source, n, item)
    source.next_mark = sources.marked(n + 1)
  end
  if origin and origin.ranges[2] == n - 1 then
    origin.ranges[2] = n
  else
    if origin then self:leave_source(source) end
    origin = { count = 1, source = source, ranges = { n, n }, began = core.now() }
    source.open = origin
  end
  self.acks.origin = origin
  return true
end

--- The item has gone its way.
---@param source table
function Resume:end_emission(source)
  local origin, now = source.open, core.now()
  self.acks.origin = false
  if origin.ranges[2] - origin.ranges[1] + 1 < source.most and now - origin.began < GROUP_SECONDS then return end
  self:leave_source(source)
  self.journal:tick() -- it may be long until the run's next round
end

--- How many items that a producer of the coordinator emits one after the other may have one origin.
---@param source table
---@param singly boolean only one, as each is work of its own
function Resume:open_source(source, singly)
  source.most = singly and 1 or GROUP
end

--- What a source emits next has another origin.
---@param source table
function Resume:leave_source(source)
  local origin = source.open
  source.open = nil
  if origin then self.acks:release(origin, 1) end
end

--- Writes what there is to be written.
---@return number? seconds until the next time
function Resume:tick()
  for _, source in pairs(self.sources) do
    if source.open ~= self.acks.origin then self:leave_source(source) end
  end
  return self.journal:tick()
end

--- The origin of the next n items that come from a producer whose items were numbered where it runs.
---@param source table
---@param n integer
---@return table origin held once
function Resume:arrived(source, n)
  return { count = 1, source = source, ranges = sources.arrived(source, n), fresh = true }
end

--- Remembers marks of items that have come as bytes, one record after the other.
---@param origin table of all of them
---@param pool userdata
---@param block integer
---@param offset integer bytes
---@param length integer bytes
function Resume:mark_range(origin, pool, block, offset, length)
  local at, limit, ranges, passed = offset, offset + length, origin.ranges, 0
  local before = 0 -- items of the ranges before
  for i = 1, #ranges, 2 do
    local ordinal = sources.marked(ranges[i])
    while ordinal <= ranges[i + 1] do
      local index = before + ordinal - ranges[i]
      if index > passed then at = pool:walk(block, at, limit - at, report.ANY, index - passed) end
      if not at then return end
      local after, item = pool:decode(block, at, limit, report.ANY, true)
      if not after then return end
      self.journal:remember(origin.source.name, ordinal, marks.of(item))
      at, passed, ordinal = after, index + 1, sources.marked(ordinal + 1)
    end
    before = before + ranges[i + 1] - ranges[i] + 1
  end
end

--- What a producer has written straight into a block goes on.
---@param source table
---@param pool userdata
---@param range table see transport.route
---@return table origin held once
function Resume:leave_writer(source, pool, range)
  local origin = self:arrived(source, range.count)
  self:mark_range(origin, pool, range.block, range.offset, range.length)
  return origin
end

--- An item of a producer of the coordinator whose emit is the writer, that goes another way: the coordinator is at it
--- from now on. What is in the writer's block has come before, and has been passed on.
---@param id integer the producer
---@param item any
---@return table origin held once
function Resume:begin_beside(id, item)
  local origin = self:arrived(self.sources[id], 1)
  remember(self, origin.source, origin.ranges[1], item)
  self.acks.origin, origin.fresh = origin, nil
  return origin
end

--- The item has gone its way.
---@param origin table
function Resume:end_beside(origin)
  self.acks.origin = false
  self.acks:release(origin, 1)
end

--- The emit of a producer whose emit is the writer: what was acknowledged does not come to that.
---@param id integer the producer
---@param emit any the writer
---@param let_others function () lets the rest of the run go on, in the middle of the producer
---@return any emit
function Resume:skipping_emit(id, emit, let_others)
  local source, addresses, since = self.sources[id], self.plan.addresses[id], 0
  local function skip(item)
    if not self:skips(source, item) then return false end
    since = since + 1
    if since % 1024 == 0 then let_others() end
    return true
  end
  return emits.new(function(_, item, more)
    if item == nil or more ~= nil or not skip(item) then return emit(item, more) end
  end, function(name, item)
    router.resolve(addresses, name, item, 3)
    if not skip(item) then emit:to(name, item) end
  end)
end

--- A producer of the coordinator has come to its end: fails the run where there is less than an earlier run had.
---@param source table
function Resume:check_end(source)
  local problem = sources.too_short(source, source.seen)
  if problem then self.fail(problem) end
end

-- --- the result --------------------------------------------------------------------------------------------------

--- Items have come into the result: they are delivered when the caller has got them.
---@param n integer
function Resume:keep_items(n)
  local origin, last = self.acks:hold(n), self.kept[self.last]
  if last and last.origin == origin then
    last.n = last.n + n
  else
    self.last = self.last + 1
    self.kept[self.last] = { origin = origin, n = n }
  end
end

--- The caller has got so many more of the result's items.
---@param n integer
function Resume:hand_items(n)
  while n > 0 do
    local first = self.kept[self.first]
    local some = math.min(n, first.n)
    self.acks:release(first.origin, some)
    n, first.n = n - some, first.n - some
    if first.n == 0 then
      self.kept[self.first], self.first = nil, self.first + 1
    end
  end
end

--- Counts what was acknowledged before and not passed on.
---@param finished boolean the run has come to its end
function Resume:count(finished)
  local resumed, fresh, result = 0, 0, self.result
  for id, source in pairs(self.sources) do
    self.stats[id].resumed = source.skipped
    resumed, fresh = resumed + source.skipped, fresh + self.stats[id].items_out
  end
  result.resumed = resumed
  if finished and resumed > 0 and fresh == 0 and self.past.ended then
    self.warn(("journal '%s': an earlier run has come to its end, and there was nothing new; delete the file to " ..
      "start over"):format(self.past.path))
  end
end

--- Closes the journal, when the run is over. May be called twice.
---@param finished boolean nothing was left to do, and the caller gets the result: so are loop stages and reduce stages
---@param delivered boolean the caller gets the result with all its items at once
---@param stopped boolean producers had to end
function Resume:close(finished, delivered, stopped)
  if not self.open then return end
  self.open = false
  if finished then self.acks:release_kept() end
  while delivered and self.first <= self.last do self:hand_items(self.kept[self.first].n) end
  local problem = self.journal:finish(finished and not stopped and self.first > self.last)
  if problem then self.warn(problem) end
end

return resume
