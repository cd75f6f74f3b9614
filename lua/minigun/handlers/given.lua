--- What is emitted is given away: no receiver may see what the emitter does to it later.
--
-- What goes to another process is encoded when it is emitted. Inside a process a copy would do the same, and cost as
-- much as all the rest. So whether a stage needs copies is found out: the tables of its early calls are copied, which
-- also makes a short run right in any case, and those of the first ones watched. A stage that changes a table after its
-- emit, be it some calls later, or emits one table or a part of it again, gets a copy of each for good. Of the others,
-- what they emit is passed on as it is, but for a call now and then, ever more seldom, that is watched in the same way.
-- Of tables that are too large for that only the first is watched; they are known again, and the second emit of one is
-- an error at the user's line.
local core = require "minigun.core"

local given = {}

-- What the program has no more it cannot change, and is not kept for this.
local WEAK_KEYS <const>, WEAK_VALUES <const> = { __mode = "k" }, { __mode = "v" }

local copy <const>, same <const>, watch <const> = core.copy, core.same, core.watch

local CALLS <const> = 16       -- of a stage's handler that are watched before it is trusted
local PLAIN <const> = 4        -- so many of them counts one that has emitted no table
given.EARLY = 256              -- calls whose tables are copied in any case
given.CHANGES = { table = true, userdata = true } -- types of what can be changed after it was emitted
local ROOM <const> = 1 << 14   -- entries of tables that are copied for that, in all
local LARGE <const> = 1 << 12  -- entries of a table that is not copied for it
local WHOLE <const> = 1 << 17  -- entries of the first of those, which is copied all the same
local SPACED <const> = 6       -- calls that are looked at after the first ones, ever more seldom, and watched too
local PASSED <const> = 976     -- after these a call that is looked at is watched too where so many calls came before it
local HELD <const> = 16        -- tables that are looked at once more: before it is trusted, at the next watched call

local Given = {}
Given.__index = Given

--- Makes what watches the emissions of a stage.
---@param always boolean? true: it gets copies in any case
---@param warn function? (text): called when a stage that was trusted has been found to need copies
---@return table given
--- `copies`: each table is copied; `large`: there are some that cannot be; then `take` must see each
function given.new(always, warn)
  return setmetatable({ copies = always or false, large = false, calls = CALLS, room = ROOM, n = 0, n_held = 0,
    passed = 0, unseen = 0, early_room = ROOM, warn = warn }, Given)
end

-- Makes what is needed for tables: at the first one.
local function begin_tables(self)
  self.originals, self.made = {}, {} -- of the call that is watched: tables as they were emitted, and copies
  self.held = setmetatable({}, WEAK_KEYS) -- from such a table of an earlier call to a copy
  self.seen, self.last = setmetatable({}, WEAK_KEYS), setmetatable({}, WEAK_VALUES)
end

--- Whether the next call is to be watched too.
---@return boolean
function Given:watches() return self.calls > 0 or self.copies or self.large end

--- A call begins that may be watched: each of the first ones, then the next few that are looked at, then one in so
--- many.
---@param every integer calls for which it stands
---@return boolean watched
function Given:begin(every)
  if self.copies then return true end
  if self.calls > 0 then
    self.calls = self.calls - 1
    return true
  end
  if self.n_held > 0 and self:changed_since() then
    self:distrust(true)
    return true
  end
  self.passed, self.unseen, self.room = self.passed + 1, self.unseen + every, LARGE
  if self.passed > SPACED and self.unseen < PASSED then return false end
  self.unseen = 0
  return true
end

--- What is passed on instead of an item that can be changed, in one of the early calls that is not watched.
---@param item any
---@return any given as from `take`
function Given:copied(item)
  local most = math.min(self.early_room, LARGE)
  local made, left = watch(item, nil, most)
  if not made then return self:take(item) end
  self.early_room = self.early_room - most + left
  return made
end

-- A watched call has emitted no table.
local function was_plain(self)
  if self.calls > 0 then self.calls = math.max(0, self.calls + 1 - PLAIN) end
end

-- Whether one of the tables that are held has been changed since its call has ended. None is held any more.
function Given:changed_since()
  local changed, held = false, self.held
  for original, made in next, held do
    changed = changed or not same(original, made)
    held[original] = nil
  end
  self.n_held = 0
  return changed
end

--- From now on each table is copied.
---@param seen boolean? other stages may have seen a change
function Given:distrust(seen)
  if self.copies then return end
  self.copies, self.large, self.n, self.n_held = true, false, 0, 0
  self.originals, self.made, self.seen, self.last, self.held = nil, nil, nil, nil, nil
  if seen and self.warn then
    self.warn("emits a table again that it has emitted, or changes one afterwards; before this was seen receivers " ..
      "in the same process may have seen such a change. From now on copies are made")
  end
end

--- What is passed on instead of an item.
---@param item any
---@return any given nil: it was emitted before and is too large to be copied
function Given:take(item)
  local kind = type(item)
  if kind ~= "table" and kind ~= "userdata" then return item end
  if self.copies then return copy(item) end
  if not self.seen then begin_tables(self) end
  if not self.large and self.room > 0 then
    local made, left, met = watch(item, self.seen, math.min(self.room, LARGE))
    if made then
      self.room = self.room - math.min(self.room, LARGE) + left
      if met then
        self:distrust(self.passed > 0)
      elseif made ~= item then
        local n = self.n + 1
        self.n, self.originals[n], self.made[n] = n, item, made
      end
      return made
    end
    self.large = self.room >= LARGE
    if not self.large then self.calls, self.room = 0, 0 end
    if self.large and not self.once then
      self.once = true
      made = copy(item, WHOLE)
      if made then
        self.last[1], self.n = item, self.n + 1
        self.originals[self.n], self.made[self.n] = item, made
        return made
      end
    end
  end
  if not self.large then return item end
  if rawequal(self.last[1], item) then return nil end
  self.last[1] = item
  return item
end

--- A watched call has ended, or what it has emitted so far is passed on: looks whether it has changed some of it. It is
--- held, to be looked at later, as a later call may.
---@param apart boolean? true: no receiver has the copies
function Given:check(apart)
  local changed, originals, made, n = false, self.originals, self.made, self.n_held
  if self.n == 0 then was_plain(self) end
  for i = 1, self.n do
    local original = originals[i]
    changed = changed or not same(original, made[i])
    if n < HELD then
      n, self.held[original] = n + 1, apart and made[i] or copy(made[i]) -- a receiver may change its own
    end
    originals[i], made[i] = nil, nil
  end
  self.n, self.n_held = 0, n
  if n > 0 and self.calls == 0 and self.passed == 0 then changed = self:changed_since() or changed end -- the last time
  if changed then self:distrust(self.passed > 0) end
end

--- Of a producer of the coordinator, whose items are passed on at once: what is passed on instead of one. The look at
--- the item before it comes with the next one.
---@param item any
---@return any given as from `take`
function Given:next(item)
  if self.calls > 0 then
    self.calls = self.calls - 1
  elseif not self.copies then
    self.passed, self.room = self.passed + 1, LARGE
    if self.n_held > 0 and self:changed_since() then self:distrust(true) end
  end
  if self.n > 0 then self:check(true) end
  local value = self:take(item)
  if self.n == 0 then was_plain(self) end
  for i = 1, self.n do self.made[i] = copy(self.made[i]) end -- its receivers may change it
  return value
end

--- The error for a table that is too large to be copied.
given.AGAIN = "this table was emitted before, and what is emitted is given away; it is too large to be copied each " ..
  "time: emit a new table for each item"

return given
