--- Pieces: what a worker process of a host gets, some items of a chunk. It is one item of the host's own run, whose
-- handler calls the stage's for each of them, and gives one result (message.lua).
--
-- 1. The worker notes which item it is at, as a reduce does (src/core/worker.h). So a time-out is for one item, and the
--    report of a death names one. The others of the piece are done again: nothing of a piece is committed before its
--    end.
-- 2. A piece ends early: after LONG, as others may have nothing to do; and at an item that is to be tried again, which
--    is then a piece by itself, whose attempts are the pool's matter. What is left of the piece is a new one.
-- 3. That item's first attempt was in the piece: the first call for it by itself only raises what that has raised.
local core = require "minigun.core"
local ctx = require "minigun.handlers.ctx"
local emits = require "minigun.handlers.emit"
local errors = require "minigun.base.traceback"
local message = require "minigun.cluster.message"
local replies = require "minigun.child.replies"
local route = require "minigun.policy.route"

local pieces = {}

local LONG <const> = 0.01 -- seconds of a piece

local encode <const>, decode <const>, now <const> = core.encode, core.decode, core.now
local SCALAR <const> = { number = true, string = true, boolean = true }

local Piece = {}
Piece.__index = Piece

-- The bytes of a value that a handler gives; raises at the user's line where it cannot be sent.
local function bytes_of(self, value, what)
  if SCALAR[type(value)] then return (encode(value)) end
  local ok, bytes, refs = pcall(encode, value)
  if not ok then replies.refuse(bytes, what) end
  self.refs = self.refs or refs or nil
  return bytes
end

-- What is no plain output of the item in hand.
local function note(self, ...)
  local more = self.more
  more[#more + 1] = { self.item, self.outputs, ... }
end

-- `choose`: of a route; nil: all stages after this one get what it emits. Ids are those of this process: where a
-- program defines its stages in another order, they are others.
local function make_emit(self, addresses, choose, stages)
  return emits.new(function(_, value, more)
    if more ~= nil then error(emits.MORE, 2) end
    if value == nil then error(emits.NIL, 2) end
    if choose then
      for _, id in ipairs(choose(value)) do note(self, "routed", stages[id].name, bytes_of(self, value, "")) end
      return
    end
    local bytes, n = bytes_of(self, value, ""), self.outputs + 1
    self.out[n], self.outputs = bytes, n
  end, function(name, value)
    if value == nil then error(emits.NIL, 3) end
    route.resolve(addresses, name, value, 3) -- raises for a name that there is not
    note(self, "to", name, bytes_of(self, value, ""))
  end)
end

-- The handler's ctx; `given` is that of the host's own stage.
local function make_ctx(self, stage, given)
  local own = ctx.new({ pipeline = stage.pipeline, stage = stage.stage, pid = given.pid, worker = given.worker },
    function(kind, name, value)
      note(self, kind, name, kind == "collect" and bytes_of(self, value, "ctx:collect: ") or value)
    end)
  own.state = given.state
  return ctx.computed(own, "item_id", function() return self.id .. self.first + self.item - 1 end)
end

-- Forgets what the item in hand has given.
local function forget(self, outputs, notes)
  for i = outputs + 1, self.outputs do self.out[i] = nil end
  for i = notes + 1, #self.more do self.more[i] = nil end
  self.outputs = outputs
end

-- Calls the handler for an item. Returns how many outputs it has given; nil, and what it has raised.
local function call(self, handler, bytes)
  local outputs, notes = self.outputs, #self.more
  local value, problem = decode(bytes)
  local ok, caught
  if value == nil and problem then caught = errors.unreadable(problem)
  else ok, caught = errors.call(handler, value, self.emit, self.ctx) end
  if ok then return self.outputs - outputs end
  forget(self, outputs, notes)
  return nil, caught
end

-- What has raised in an item of several: the item is done, as a failure, or it is to be tried again.
local function failed(self, caught)
  local fields = replies.failed(caught, {})
  if self.retries > 0 and not fields.unreadable then
    return { kind = fields.kind, message = fields.message, traceback = fields.traceback }
  end
  note(self, "failed", fields.kind, fields.message, 1, fields.traceback)
end

-- Runs items until all are done, the time is over, or one is to be tried again. Returns how many are done, and what is
-- wrong with the next one.
local function run(self, handler, items, step)
  local each, due, several = self.each, now() + LONG, #items > 1
  for k = 1, #items do
    self.item = k
    if several then step(k) end
    local n, caught = call(self, handler, items[k])
    if caught and not several then errors.raise_again(caught) end
    local again = caught and failed(self, caught)
    if again then return k - 1, again end
    each[k] = n or 0
    if n ~= 1 then self.each_one = false end
    if now() > due then return k end
  end
  return #items
end

-- Begins with a piece. It gets new tables for its outputs: after an error the old tables may still have some of the
-- piece before.
local function begin(self, piece, given)
  self.id, self.first, self.item = piece.id, piece.first, 0
  self.out, self.outputs, self.each, self.each_one, self.more, self.refs = {}, 0, {}, true, {}, nil
  self.ctx.attempt = given.attempt
end

-- Each process deals out for itself, and begins anywhere.
local function choose_of(plan)
  return plan.route and plan.route ~= "broadcast" and route.new(plan, core.random() & 0xffff) or nil
end

--- The handler that workers of a host run: that of the stage, on the items of a piece.
---@param stage table
--- `pipeline`, `stage`: names; `plan`: the plan's stage; `stages`: all of the plan, by id; `addresses`: what names mean
--- to `emit:to`
---@return function make (step) -> function (piece, emit, ctx), where `step(k)` says which item the worker is at
function pieces.handler(stage)
  return function(step)
    local self = setmetatable({ retries = stage.plan.retries }, Piece)
    self.emit = make_emit(self, stage.addresses, choose_of(stage.plan), stage.stages)
    return function(piece, emit, given)
      if piece.again and given.attempt == 1 then errors.raise_again(piece.again) end
      self.ctx = self.ctx or make_ctx(self, stage, given)
      begin(self, piece, given)
      local began, items = now(), assert(message.items(piece.bytes))
      local done, again = run(self, stage.plan.handler, items, step)
      step(0)
      local busy = now() - began
      emit { chunk = piece.chunk, serial = piece.serial, first = piece.first, n = piece.n, done = done, again = again,
        busy = busy, bytes = encode { each = self.each_one and 1 or self.each, out = message.elements(self.out),
          refs = self.refs, more = self.more, busy = busy } }
    end
  end
end

return pieces
