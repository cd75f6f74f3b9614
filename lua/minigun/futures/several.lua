--- Waiting for several futures, whatever owns them: `minigun.as_completed`, `minigun.wait_all`.
local core = require "minigun.core"
local failure = require "minigun.base.failure"
local futures = require "minigun.futures.future"
local waiting = require "minigun.system.waiting"

local several = {}

local function check_list(list, what)
  if type(list) ~= "table" then
    failure.raise(("%s: a list of futures expected, got %s"):format(what, failure.show(list)))
  end
  for i, each in ipairs(list) do
    if not futures.is(each) then
      failure.raise(("%s: a future expected at [%d], got %s"):format(what, i, failure.show(each)))
    end
  end
end

-- Waits until one of several owners has something to do, or the deadline has come.
local function wait_for(owners, deadline)
  local poller = assert(core.poller())
  local _ <close> = setmetatable({}, { __close = function() poller:close() end })
  for owner in pairs(owners) do assert(poller:set(assert(owner:fd()), "r")) end
  local left = deadline and math.max(0, deadline - core.now())
  waiting.readable(poller:fd(), left)
end

-- Lets what owns the futures go on until `settled` has grown, or the deadline has come.
local function advance(owners, settled, deadline)
  local before, only = settled.n, next(owners)
  if only and not next(owners, only) then return only:advance(deadline) end
  for owner in pairs(owners) do owner:step() end
  if settled.n == before then
    wait_for(owners, deadline)
    for owner in pairs(owners) do owner:step() end
  end
end

-- Has futures put into a list as they are settled. Returns that list, and the owners of those that are not.
local function gather(list)
  local settled, owners = { n = 0 }, {}
  for _, future in ipairs(list) do
    local owner, waits = future.owner, not future.state
    if waits then owners[owner] = (owners[owner] or 0) + 1 end
    futures.on_done(future, function()
      settled.n = settled.n + 1
      settled[settled.n] = future
      if waits then owners[owner] = owners[owner] > 1 and owners[owner] - 1 or nil end
    end)
  end
  return settled, owners
end

--- Goes through futures in the order in which they are settled, for a generic for: `for f in minigun.as_completed(list)
--- do print(f:result()) end`.
---@param list minigun.Future[]
---@param timeout number? seconds, after which the loop ends; nil: no limit
---@return fun(): minigun.Future?
function several.as_completed(list, timeout)
  check_list(list, "minigun.as_completed")
  if timeout ~= nil then failure.check_seconds(timeout, "minigun.as_completed") end
  local deadline, total, at = timeout and core.now() + timeout, #list, 0
  local settled, owners = gather(list)
  return function()
    if at == total then return nil end
    while settled.n == at do
      if deadline and core.now() >= deadline then return nil end
      advance(owners, settled, deadline)
    end
    at = at + 1
    return settled[at]
  end
end

local FIRST <const> = { done = true, failure = true }

---@class minigun.WaitOptions
---@field timeout number? seconds
---@field first "done"|"failure"? wait until one is settled, or until one has failed, only

--- Waits until all of the futures are settled. A failure is not raised: `f:result()` does that.
---@param list minigun.Future[]
---@param options minigun.WaitOptions?
---@return minigun.Future[] settled in this order
---@return minigun.Future[] others that are not settled
function several.wait_all(list, options)
  check_list(list, "minigun.wait_all")
  options = options or {}
  if type(options) ~= "table" then
    failure.raise("minigun.wait_all: options must be a table, got " .. failure.show(options))
  end
  for name, value in pairs(options) do
    if name == "timeout" then failure.check_seconds(value, "minigun.wait_all")
    elseif name ~= "first" or not FIRST[value] then
      failure.raise(('minigun.wait_all: options are timeout = seconds and first = "done" or "failure", got %s = %s')
        :format(tostring(name), failure.show(value)))
    end
  end
  local deadline, total, at = options.timeout and core.now() + options.timeout, #list, 0
  local settled, owners = gather(list)
  local enough = false
  repeat
    while at < settled.n do
      at = at + 1
      enough = enough or options.first == "done" or options.first and settled[at].state ~= "done"
    end
    local over = enough or at == total or deadline and core.now() >= deadline
    if not over then advance(owners, settled, deadline) end
  until over
  local known, done, others = {}, {}, {}
  for i = 1, at do
    done[i] = settled[i]
    known[settled[i]] = true
  end
  for _, future in ipairs(list) do
    if not known[future] then others[#others + 1] = future end
  end
  return done, others
end

return several
