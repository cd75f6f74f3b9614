--- A loop stage: a handler with a loop of its own, as one that is called for each item.
--
-- The handler runs in a coroutine that waits in `input()`. An item is finished when the handler asks for the next one;
-- what it has emitted by then belongs to it. At the end of the stream `input()` gives nil, once; what the handler emits
-- then belongs to no item. One that returns earlier, or raises, is begun anew with the next item.
local errors = require "minigun.base.traceback"
local programs = require "minigun.system.programs"

local loop = {}

local NEXT <const> = {} -- what the coroutine says when it waits for an item

local Loop = {}
Loop.__index = Loop

local function make_input(self)
  return function()
    if coroutine.running() ~= self.thread then
      error("input is called by its own handler only, while that runs, and not in another coroutine", 2)
    end
    if self.fresh then
      local item = self.fresh.item
      self.fresh = nil
      return item
    end
    if self.ended then return nil end
    return coroutine.yield(NEXT)
  end
end

--- Makes the loop of one worker, or of one thread of it; it has not begun.
---@param handler function `handler(input, emit, ctx)`
---@param port table
--- `watch(thread)`, where there is one, hears of the coroutine that is about to run, and without it that the caller's
--- own runs again; `wait(...)` takes what a handler yields that waits for something else than an item, and returns
--- what that has brought; without it a handler must not yield
---@param once boolean? true: the stream is one item, and its end belongs to it
---@return table loop
function loop.new(handler, port, once)
  local self = setmetatable({ handler = handler, port = port, once = once, begun = false, thread = nil }, Loop)
  self.input = make_input(self)
  return self
end

--- Whether the end of the stream would be news to it: it waits for an item, or has not begun.
---@return boolean
function Loop:open()
  return self.thread ~= nil or not self.begun
end

--- Gives up the item that the handler is at: it will begin anew.
function Loop:abandon()
  local thread = self.thread
  self.thread, self.fresh = nil, nil
  if thread then programs.close(thread) end
end

-- Lets the coroutine run until it wants the next item or is over; raises what it raises.
local function go_on(self, ...)
  local watch, wait, thread = self.port.watch, self.port.wait, self.thread
  local given = table.pack(...)
  while true do
    if watch then watch(thread) end
    local said = table.pack(coroutine.resume(thread, table.unpack(given, 1, given.n)))
    if watch then watch() end
    if coroutine.status(thread) == "dead" then
      self.thread = nil
      local ok, caught = said[2], said[3]
      if not said[1] then ok, caught = false, errors.take(said[2], thread) end -- of memory, at its begin
      if not ok then errors.raise_again(caught) end
      return
    end
    if said[2] == NEXT then return end
    if not wait then
      self.thread = nil
      coroutine.close(thread)
      error("the handler of a loop stage has yielded: it waits in input() only", 0)
    end
    given = table.pack(wait(table.unpack(said, 2, said.n)))
  end
end

--- Gives the handler an item, and comes back when that is finished. Raises when the item has failed.
---@param item any nil: the end of the stream; comes back when the handler has returned
---@param emit any
---@param ctx table
function Loop:take(item, emit, ctx)
  if item == nil then return self:finish(emit, ctx) end
  self.ended = false
  if self.thread then
    go_on(self, item)
  else
    self:start({ item = item }, emit, ctx)
  end
  if self.fresh then
    self.fresh = nil
    error("the handler of a loop stage has returned before it has called input(), so the item was not taken", 0)
  end
  if self.once then self:finish(emit, ctx) end
end

--- The stream has ended: `input()` gives nil. Nothing happens where the handler knows already.
---@param emit any
---@param ctx table
function Loop:finish(emit, ctx)
  if not self:open() then return end
  self.ended = true
  if not self.once then ctx.attempt = 1 end
  if self.thread then go_on(self, nil) else self:start(nil, emit, ctx) end
end

--- Begins the handler.
---@param fresh table? `{ item = }`: the first item; nil: the stream has ended
---@param emit any
---@param ctx table
function Loop:start(fresh, emit, ctx)
  self.begun, self.fresh = true, fresh
  local handler, input = self.handler, self.input
  self.thread = coroutine.create(function() return errors.call(handler, input, emit, ctx) end)
  go_on(self)
end

return loop
