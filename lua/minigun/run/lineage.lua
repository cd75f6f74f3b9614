--- Lineage: which source items everything in flight has come of; only in a run with a journal. Methods of a run (see
-- run.lua).
--
-- An origin stands for some source items, or for several origins where what came of them was put together:
--     { count =, source =, ranges = { first, last... } }    of one producer; `fresh` while its items are on their way
--                                                           to their first stages: see `cut`
--     { count =, parents = { origin... } }                  of a batch, or of a block that was written by several
-- `count`: items in the ledger that have it (`entry.origin`), and one for each other place that holds it: a batch, a
-- block that is being written, output that waits for its turn, items of the result that nobody has got yet. When it
-- falls to 0, everything that has come of those source items is finished, and they are acknowledged.
--
-- `run.origin` is that of what the coordinator is at; whatever enters the ledger meanwhile gets it. An entry that comes
-- of nobody knows what has the origin `unknown`: as long as there is one, nothing is acknowledged. And what may be kept
-- in the variables of a loop stage, or in the value of a reduction, is held to the end of the run.
local core = require "minigun.core"
local journals = require "minigun.run.journal"
local report = require "minigun.base.protocol"
local router = require "minigun.policy.route"
local tasks = require "minigun.handlers.tasks"

local lineage = {}

local GROUP <const>, GROUP_SECONDS <const> = 64, 0.002 -- most items that are emitted with one origin, and for how long

-- --- origins -----------------------------------------------------------------------------------------------------

local function acknowledge(self, origin)
  if self.unknown.count > 0 then
    self.parked[#self.parked + 1] = origin
    return
  end
  local ranges, name = origin.ranges, origin.source.name
  for i = 1, #ranges, 2 do self.journal:acknowledge(name, ranges[i], ranges[i + 1]) end
end

--- Gives up n holds of an origin.
---@param origin table
---@param n integer
function lineage:release_origin(origin, n)
  local left = origin.count - n
  origin.count = left
  if left > 0 then return end
  if origin.ranges then return acknowledge(self, origin) end
  if origin == self.unknown then
    local parked = self.parked
    self.parked = {}
    for _, each in ipairs(parked) do acknowledge(self, each) end
    return
  end
  local waiting = { origin } -- a list, not calls: what goes in circles has long chains of them
  while waiting[1] do
    for _, parent in ipairs(table.remove(waiting).parents) do
      if parent.parents and parent.count == 1 then
        parent.count = 0
        waiting[#waiting + 1] = parent
      else
        self:release_origin(parent, 1)
      end
    end
  end
end

--- Takes a hold of the origin of what the coordinator is at.
---@return table origin
function lineage:hold_origin()
  local origin = self.origin or self.unknown
  origin.count = origin.count + 1
  return origin
end

--- An origin, by default that of what the coordinator is at, is held until the end of the run.
---@param origin table?
function lineage:keep_origin(origin)
  origin = origin or self.origin or self.unknown
  if origin.kept or origin == self.unknown then return end
  origin.kept, origin.count = true, origin.count + 1
  self.kept[#self.kept + 1] = origin
end

--- Adds the origin of what the coordinator is at to what has gathered somewhere.
---@param gathered table? an origin that is held there
---@return table gathered
function lineage:gather_origin(gathered)
  local origin = self.origin or self.unknown
  if gathered == origin then return gathered end
  if not gathered then return self:hold_origin() end
  if gathered.last == origin then return gathered end
  if not gathered.set then
    gathered = { count = 1, parents = { gathered }, set = { [gathered] = true } }
  end
  gathered.last = origin
  if not gathered.set[origin] then
    gathered.set[origin] = true
    gathered.parents[#gathered.parents + 1] = self:hold_origin()
  end
  return gathered
end

--- What has gathered goes on; nothing is added to it any more.
---@param gathered table?
---@return table? origin that is still held once
function lineage:close_origin(gathered)
  if gathered then gathered.set, gathered.last = nil, nil end
  return gathered
end

--- What has gathered in one place goes on to another, where more gathers.
---@param outlet table
---@param gathered table
function lineage:pass_joined(outlet, gathered)
  local before = self.origin
  self.origin = self:close_origin(gathered)
  outlet.origin = self:gather_origin(outlet.origin)
  self.origin = before
  self:release_origin(gathered, 1)
end

--- Puts an entry's items into the ledger of origins.
---@param entry table
function lineage:owe(entry)
  local origin = entry.origin or self.origin or self.unknown
  entry.origin, origin.count = origin, origin.count + entry.count
  entry.is_source = origin.fresh
  local segment = self.segment_of[entry.stage]
  if segment and segment.keeps then self:keep_origin(origin) end
end

--- Calls a function as what comes of an origin, and gives up one hold of that.
---@param origin table?
---@param f function
---@param ... any its arguments
function lineage:under_origin(origin, f, ...)
  local before = self.origin
  self.origin = origin
  f(...)
  self.origin = before
  if origin then self:release_origin(origin, 1) end
end

--- Lets the coordinator's own stages tell what gathers in them.
function lineage:trace_chain()
  local links = self.chain
  local emit_batch = links.emit_batch
  function links.emit_batch(_, state, batch)
    local origins = state.batches and state.batches.origins
    local origin = origins and self:close_origin(origins[batch])
    if origin then origins[batch] = nil end
    self:under_origin(origin, emit_batch, links, state, batch)
  end
  for _, stage in ipairs(self.inline) do
    local state = links.states[stage.id]
    if state.batches then state.batches:trace(function(gathered) return self:gather_origin(gathered) end) end
    local handler = state.handler
    if stage.loop or stage.reduces then
      state.handler = function(...)
        self:keep_origin()
        return handler(...)
      end
    end
  end
  for _, segment in ipairs(self.segments) do
    for _, id in ipairs(segment.plan.stages) do
      segment.keeps = segment.keeps or self.plan.stages[id].loop and not segment.per_item
    end
  end
end

--- A part of an entry that is cut off: where its items are the source items themselves, these get an origin of their
--- own, to be acknowledged as soon as they are finished.
---@param entry table
---@param n integer items of the part, fewer than all
---@return table origin of the part
function lineage.cut(entry, n)
  local origin = entry.origin
  local ranges = entry.is_source and origin.count == entry.count and origin.ranges
  if not ranges or #ranges ~= 2 or ranges[2] - ranges[1] + 1 ~= entry.count then return origin end
  local first = ranges[1]
  ranges[1], origin.count = first + n, origin.count - n
  return { count = n, source = origin.source, ranges = { first, first + n - 1 } }
end

-- --- sources -----------------------------------------------------------------------------------------------------

--- Opens the ledger of origins, and a source for each producer:
--- `ranges`, `marks`: what runs before have acknowledged; `seen`, `at`: the ordinal of the last item that it has
--- emitted, and the first range that ends behind it; `next`, `next_at`: the same of what has come, one further on;
--- `next_mark`: the next ordinal that has a mark; `open`: the origin of what is being emitted; `skipped`: items that
--- were not passed on
function lineage:open_lineage()
  self.unknown, self.parked, self.kept, self.sources = { count = 0 }, {}, {}, {}
  self.items_kept, self.first_kept, self.last_kept = {}, 1, 0
  for id, stage in ipairs(self.plan.stages) do
    if stage.kind == "producer" then
      local done = self.journal.done[stage.name] or { ranges = {}, marks = {} }
      self.sources[id] = { name = stage.name, path = self.journal.path, ranges = done.ranges, marks = done.marks,
        seen = 0, at = 1, next = 1, next_at = 1, next_mark = 1, skipped = 0 }
    end
  end
  for _, warning in ipairs(self.journal.warnings) do self:warn(warning) end
end

--- Numbers an item that a producer emits.
---@param source table
---@param item any
---@return boolean skip it was acknowledged before
---@return string? problem it is another one than then
function lineage.skips(source, item)
  local n, ranges, at = source.seen + 1, source.ranges, source.at
  source.seen = n
  if not ranges[at] or n < ranges[at] then return false end
  if n == ranges[at + 1] then source.at = at + 2 end
  source.skipped = source.skipped + 1
  local mark = source.marks[n]
  local own = mark and journals.mark_of(item) -- nil: nobody knows, as its dump hook fails now
  if own and own ~= mark then
    return true, ("producer '%s': item %d is not the one that the journal '%s' has acknowledged, so it cannot be " ..
      "told what is still to be done; restore the producer's input, or delete the journal to start over"):format(
      source.name, n, source.path)
  end
  return true
end

--- What is wrong when a producer has come to its end.
---@param source table
---@param seen integer items that it has emitted
---@return string? problem
function lineage.too_short(source, seen)
  local last = source.ranges[#source.ranges]
  if not last or last <= seen then return nil end
  return ("producer '%s' has emitted %d item%s, and the journal '%s' has acknowledged item %d of it; restore the " ..
    "producer's input, or delete the journal to start over"):format(source.name, seen, seen == 1 and "" or "s",
    source.path, last)
end

--- The same for items of the coordinator's own producers; a problem ends the run, whoever catches the error.
---@param source table
---@param item any
---@return boolean skip
function lineage:skip_item(source, item)
  local skip, problem = lineage.skips(source, item)
  if problem then
    self.misfit = problem
    self:fail(problem)
  end
  return skip
end

--- A producer of the coordinator has emitted an item, which the coordinator is at from now on. Items that are emitted
--- one behind the other have one origin, see `open_source`.
---@param source table
---@param item any
---@return boolean begun false: it was acknowledged before
function lineage:begin_emission(source, item)
  if self:skip_item(source, item) then return false end
  local n, origin = source.seen, source.open
  if n >= source.next_mark then
    if journals.marked(n) == n then self.journal:remember(source.name, n, journals.mark_of(item)) end
    source.next_mark = journals.marked(n + 1)
  end
  if origin and origin.ranges[2] == n - 1 then
    origin.ranges[2] = n
  else
    if origin then self:leave_source(source) end
    origin = { count = 1, source = source, ranges = { n, n }, began = core.now() }
    source.open = origin
  end
  self.origin = origin
  return true
end

--- The item has gone its way.
---@param source table
function lineage:end_emission(source)
  local origin, now = source.open, core.now()
  self.origin = nil
  if origin.ranges[2] - origin.ranges[1] + 1 < source.most and now - origin.began < GROUP_SECONDS then return end
  self:leave_source(source)
  self.journal:tick() -- it may be long until the run's next round
end

--- How many items that a producer of the coordinator emits one behind the other may have one origin: only one where
--- each is work of its own, in a thread, a fork or the loop over `iterate`, or counted by a queue.
---@param source table
---@param id integer of the producer
function lineage:open_source(source, id)
  source.most = self.streams and 1 or GROUP
  for segment, limit in pairs(self.reach[id]) do
    if limit ~= true or segment.by_value then source.most = 1 end
  end
end

--- What a source emits next has another origin.
---@param source table
function lineage:leave_source(source)
  local origin = source.open
  source.open = nil
  if origin then self:release_origin(origin, 1) end
end

--- Writes what there is to be written.
---@return number? seconds until the next time
function lineage:tick()
  for _, source in pairs(self.sources) do
    if source.open ~= self.origin then self:leave_source(source) end
  end
  return self.journal:tick()
end

--- The origin of the next n items that come from a producer whose items were numbered where it runs: those that were
--- not skipped there.
---@param source table
---@param n integer
---@return table origin held once
function lineage.arrived(source, n)
  local skipped, at, next_one, ranges = source.ranges, source.next_at, source.next, {}
  while n > 0 do
    local from = skipped[at] or math.maxinteger
    if next_one >= from then
      next_one, at = skipped[at + 1] + 1, at + 2
    else
      local last = math.min(next_one + n, from) - 1
      ranges[#ranges + 1], ranges[#ranges + 2] = next_one, last
      n, next_one = n - (last - next_one + 1), last + 1
    end
  end
  source.next, source.next_at = next_one, at
  return { count = 1, source = source, ranges = ranges, fresh = true }
end

--- Remembers marks of items that have come as bytes, one record after the other.
---@param origin table of all of them
---@param block integer
---@param offset integer bytes
---@param length integer bytes
function lineage:mark_range(origin, block, offset, length)
  local at, limit, ranges, passed = offset, offset + length, origin.ranges, 0
  local before = 0 -- items of the ranges before
  for i = 1, #ranges, 2 do
    local ordinal = journals.marked(ranges[i])
    while ordinal <= ranges[i + 1] do
      local index = before + ordinal - ranges[i]
      if index > passed then at = self.pool:walk(block, at, limit - at, report.ANY, index - passed) end
      if not at then return end
      local behind, item = self.pool:decode(block, at, limit, report.ANY, true)
      if not behind then return end
      self.journal:remember(origin.source.name, ordinal, journals.mark(item))
      at, passed, ordinal = behind, index + 1, journals.marked(ordinal + 1)
    end
    before = before + ranges[i + 1] - ranges[i] + 1
  end
end

--- What a producer's writer has in its block goes on.
---@param outlet table
---@return table? origin held once
function lineage:leave_outlet(outlet, block, offset, length, count)
  local source = outlet.direct and self.sources[outlet.stage_id]
  if not source then
    local origin = self:close_origin(outlet.origin)
    outlet.origin = nil
    return origin
  elseif block then
    local origin = lineage.arrived(source, count)
    self:mark_range(origin, block, offset, length)
    return origin
  end
end

--- An item of a producer of the coordinator whose emit is the writer, that goes another way: the coordinator is at it
--- from now on. What is in the writer's block has come before.
---@param stage table
---@param item any
---@return table origin held once
function lineage:begin_beside(stage, item)
  self:flush_writer(self.outlets[stage.id])
  local origin = lineage.arrived(self.sources[stage.id], 1)
  local ordinal = origin.ranges[1]
  if journals.marked(ordinal) == ordinal then
    self.journal:remember(origin.source.name, ordinal, journals.mark_of(item))
  end
  self.origin, origin.fresh = origin, nil
  return origin
end

--- The item has gone its way.
---@param origin table
function lineage:end_beside(origin)
  self.origin = nil
  self:release_origin(origin, 1)
end

--- The emit of a producer whose emit is the writer: what was acknowledged does not come to that.
---@param stage table
---@param emit any the writer
---@return any emit
function lineage:skipping_emit(stage, emit)
  local source, addresses, since = self.sources[stage.id], self.plan.addresses[stage.id], 0
  local function skip(item)
    if not self:skip_item(source, item) then return false end
    since = since + 1
    if since % 1024 == 0 then self:let_others(tasks.MORE) end
    return true
  end
  return setmetatable({}, { __name = "emit", __metatable = false,
    __call = function(_, item)
      if item == nil or not skip(item) then return emit(item) end
    end,
    __index = { to = function(own, name, item)
      router.check_colon(own, 2)
      router.resolve(addresses, name, item, 2)
      if not skip(item) then return emit:to(name, item) end
    end },
  })
end

-- --- the result --------------------------------------------------------------------------------------------------

--- Items have come into the result: they are delivered when the caller has got them.
---@param n integer
function lineage:keep_items(n)
  local origin, last = self.origin or self.unknown, self.items_kept[self.last_kept]
  origin.count = origin.count + n
  if last and last.origin == origin then
    last.n = last.n + n
  else
    self.last_kept = self.last_kept + 1
    self.items_kept[self.last_kept] = { origin = origin, n = n }
  end
end

--- The caller has got so many more of the result's items.
---@param n integer
function lineage:hand_items(n)
  while n > 0 do
    local first = self.items_kept[self.first_kept]
    local some = math.min(n, first.n)
    self:release_origin(first.origin, some)
    n, first.n = n - some, first.n - some
    if first.n == 0 then
      self.items_kept[self.first_kept], self.first_kept = nil, self.first_kept + 1
    end
  end
end

--- Counts what was acknowledged before and not passed on.
function lineage:count_resumed()
  local resumed, fresh, result = 0, 0, self.result
  for id, source in pairs(self.sources or {}) do
    self.stats[id].resumed = source.skipped
    resumed, fresh = resumed + source.skipped, fresh + self.stats[id].items_out
  end
  result.resumed = resumed
  if self.finishing and resumed > 0 and fresh == 0 and self.journal.ended then
    self:warn(("journal '%s': an earlier run has come to its end, and there was nothing new; delete the file to " ..
      "start over"):format(self.journal.path))
  end
end

--- Closes the journal, when the run is over.
---@param delivered boolean the caller gets the result, with its items
function lineage:close_lineage(delivered)
  local journal = self.journal
  if not journal then return end
  local ended = delivered and self.finishing -- and so are loop stages and reductions
  for _, origin in ipairs(ended and self.kept or {}) do self:release_origin(origin, 1) end
  while delivered and self.sources and not self.streams and self.first_kept <= self.last_kept do
    self:hand_items(self.items_kept[self.first_kept].n)
  end
  self.journal = nil
  local problem = journal:finish(ended and not self.stopped and self.first_kept > self.last_kept)
  if problem then self:warn(problem) end
end

return lineage
