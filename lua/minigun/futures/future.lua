--- Futures: what will come of one request or item.
--
-- A future is made and settled by its owner, an object with these methods:
--     owner:advance(deadline, future)  at least one round of what it does: it waits for something to happen, but not
--                                  past the deadline (of core.now; nil: no limit), and in a thread lets the others go
--                                  on; `future`: the only one that is waited for
--     owner:step()                 the same without waiting
--     owner:fd() -> fd | nil, message, errno    readable when `step` has something to do
--     owner:cancel(future, options) -> boolean  whether nothing will come of it; it has settled the future then
--
-- 1. A future is settled once: "done", "failed" or "cancelled"; that and its value do not change any more.
-- 2. Its functions are called once each, by what settles it; an error in one is the owner's to raise, between two
--    futures.
-- 3. 100,000 of them may wait at once: a future is a table of four fields, and what few of them need is elsewhere.
local errors = require "minigun.base.traceback"
local core = require "minigun.core"
local failure = require "minigun.base.failure"
local methods = require "minigun.base.methods"

local futures = {}

---@class minigun.Future
--- What will come of one request or item.
local Future = { __name = "minigun.future" }
Future.__index = Future
methods.suggest(Future, "a future")

local calls = setmetatable({}, { __mode = "k" }) -- from a future that is not settled to the functions to be called

--- Makes a future that is not settled.
---@param owner table see above
---@param key any the owner's own
---@return minigun.Future future
--- `state`: false, "done", "failed" or "cancelled"; `value`: what came of it, or the failure
function futures.new(owner, key)
  return setmetatable({ owner = owner, key = key, state = false, value = nil }, Future)
end

--- Whether a value is a future.
---@param value any
---@return boolean
function futures.is(value) return getmetatable(value) == Future end

local function close(self, state, value)
  self.state, self.value = state, value
  local list, problem = calls[self], nil
  if not list then return nil end
  calls[self] = nil
  for _, f in ipairs(list) do
    local ok, err = errors.call(f, self)
    if not ok then problem = problem or err end
  end
  return problem
end

--- Settles a future: this came of it.
---@param self minigun.Future
---@param value any
---@return table? problem the error of a function that was called, see base/traceback.lua; the owner raises it
function futures.settle(self, value) return close(self, "done", value) end

--- Settles a future: it has failed.
---@param self minigun.Future
---@param record minigun.Failure
---@return table? problem
function futures.fail(self, record)
  return close(self, record.kind == "cancelled" and "cancelled" or "failed", record)
end

--- Has a function called when a future is settled, or at once.
---@param self minigun.Future
---@param f function
function futures.on_done(self, f)
  if self.state then return f(self) end
  local list = calls[self]
  if list then list[#list + 1] = f else calls[self] = { f } end
end

local function check(self, method)
  if getmetatable(self) ~= Future then
    failure.raise(("future:%s: call it with a colon, on a future"):format(method))
  end
end

--- What came of it; waits for that. Meanwhile the pool or client that it is of goes on; in a thread of `threads(n)` the
--- other threads do. Raises the failure, an object that shows as text (`pcall` gives it: `err.kind`, `err.message`).
---@param timeout number? seconds; nil: no limit
---@return any value nil where the time is over before
---@return "timeout"? message
function Future:result(timeout)
  check(self, "result")
  if timeout ~= nil then failure.check_seconds(timeout, "future:result") end
  if not self.state then
    local deadline = timeout and core.now() + timeout
    repeat self.owner:advance(deadline, self) until self.state or deadline and core.now() >= deadline
    if not self.state then return nil, "timeout" end
  end
  if self.state == "done" then return self.value end
  self.value.asked_at = failure.where()
  error(self.value, 0)
end

--- Whether it is settled: done, failed or cancelled. Only looks.
---@return boolean
function Future:done()
  check(self, "done")
  return self.state ~= false
end

--- The failure, where it has failed or was cancelled. Only looks.
---@return minigun.Failure? failure
function Future:failure()
  check(self, "failure")
  if self.state and self.state ~= "done" then return self.value end
end

--- Takes it back, where that can still be done: its `result` raises a failure of kind "cancelled" then.
---@param options table? of the pool or client that it is of
---@return boolean cancelled false: it is settled, or has begun
function Future:cancel(options)
  check(self, "cancel")
  return not self.state and self.owner:cancel(self, options)
end

--- Calls a function with the future when it is settled, once; at once where it is. It is called by what moves the pool
--- or client (`step`, `result`, `call`), which raises an error of it.
---@param f fun(future: minigun.Future)
---@return minigun.Future self
function Future:on_done(f)
  check(self, "on_done")
  if type(f) ~= "function" and not (debug.getmetatable(f) or {}).__call then
    failure.raise(("future:on_done: a function expected, got %s"):format(failure.show(f)))
  end
  futures.on_done(self, f)
  return self
end

function Future:__tostring()
  if self.state == "done" then return "future: " .. failure.show(self.value) end
  return "future: " .. (self.state or "not done yet")
end

return futures
