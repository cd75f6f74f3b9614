--- What handlers and hooks receive: the `ctx`. (`emit` is emit.lua's.)
local failure = require "minigun.base.failure"
local log = require "minigun.system.log"

local context = {}

---@class minigun.Emit
--- Sends an item to every stage downstream, `emit(item)`: any value but nil. An object that can be called. What is
--- emitted is given away: receivers do not see what is done to a table afterwards. It takes one item: a further value
--- is an error (which is looked for in the first calls of a handler only), so `emit((s:gsub("a", "b")))`.
---@overload fun(item: any)
---@field to fun(self: minigun.Emit, stage: string, item: any) sends it to that one stage, whatever the graph says

---@class minigun.Input
--- A loop stage's input, `for item in input do`: waits for the next item; nil at the end of the stream.
---@overload fun(): any

---@class minigun.Ctx
---@field pipeline string its name
---@field stage string? its name; in the hooks of a run nil
---@field pid integer of the process
---@field worker integer? number of the worker, from 1; nil in the coordinator
---@field attempt integer at this item, from 1
---@field client minigun.ServiceClient? who has asked, in the first stages of a pipeline whose producer is a service
---@field state table the stage's own in this worker: handlers and hooks keep there what they need
local Ctx = { __name = "minigun.ctx" }
Ctx.__index = Ctx

local EFFECT <const> = {} -- key of the function that takes what is collected and counted

-- From a producer's ctx to the function that hears of items that its source cannot give.
local losing = setmetatable({}, { __mode = "k" })

--- Says which function hears of items that a producer's source has and cannot give.
---@param ctx table
---@param lost function (value, message, malformed): `value` is what stands for the item, false:
--- nothing does; malformed: it is a record of a source that is no item
function context.on_lost(ctx, lost) losing[ctx] = lost end

-- From a producer's ctx to the function that keeps what its source has open.
local keeping = setmetatable({}, { __mode = "k" })

--- Says which function gets what a producer's source has open and need not read any more, but workers may: it is to be
--- closed when they have ended.
---@param ctx table
---@param keep function (reader)
function context.on_input(ctx, keep) keeping[ctx] = keep end

--- The function that gets it.
---@param ctx table
---@return function? keep as for `on_input`
function context.keeper_of(ctx) return keeping[ctx] end

--- The function that hears of such items.
---@param ctx table
---@return function? lost as for `on_lost`
function context.lost_of(ctx) return losing[ctx] end

local CTX <const> = setmetatable({ [Ctx] = true }, { __mode = "k" }) -- metatables of such objects

-- `ctx.count("x")`, with a dot, is recognised first.
local function check_self(self, method)
  if not CTX[getmetatable(self)] then
    error(("call ctx:%s with a colon, on the ctx: ctx:%s(...)"):format(method, method), 3)
  end
end

local function check_name(method, name)
  if type(name) ~= "string" then
    error(("ctx:%s: the name must be a string, got %s"):format(method, type(name)), 3)
  end
end

--- Makes a ctx.
---@param fields table `pipeline`, `stage` (names), `pid`, `worker` (slot number or nil)
---@param effect function (kind, name, value): takes what is collected and counted
---@return table ctx the fields, `attempt`, `state`, and the methods
function context.new(fields, effect)
  fields.attempt = 1
  fields.state = {}
  fields[EFFECT] = effect
  return setmetatable(fields, Ctx)
end

--- Gives a ctx a field that is made whenever it is asked for.
---@param ctx table
---@param name string
---@param make function () -> value
---@return table ctx
function context.computed(ctx, name, make)
  local kind = { __name = Ctx.__name, __index = function(_, key)
    if key == name then return make() end
    return Ctx[key]
  end }
  CTX[kind] = true
  return setmetatable(ctx, kind)
end

--- Appends a value to `result.collected[name]`, from any process. From a handler it arrives once,
--- when the item is done.
---@param name string
---@param value any any value but nil
function Ctx:collect(name, value)
  check_self(self, "collect")
  check_name("collect", name)
  if value == nil then error("ctx:collect: nil cannot be collected", 2) end
  self[EFFECT]("collect", name, value)
end

--- Adds to `result.counters[name]`, from any process. From a handler it counts once, when the item is done.
---@param name string
---@param n number? 1 by default
function Ctx:count(name, n)
  check_self(self, "count")
  check_name("count", name)
  if n == nil then n = 1 end
  if type(n) ~= "number" then error(("ctx:count: a number expected, got %s"):format(type(n)), 2) end
  self[EFFECT]("count", name, n)
end

--- Checks a message for the log, and gives its record; raises at the line of the caller's caller.
---@param what string the function, for messages
---@param level any
---@param text any
---@param fields any
---@return table? record nil: it is not to be written
function context.message(what, level, text, fields)
  if not log.is_level(level) then
    error(("%s: the level is debug, info, warning or error, got %s"):format(what, failure.show(level)), 3)
  end
  if fields ~= nil and type(fields) ~= "table" then
    error(("%s: the fields must be a table, got %s"):format(what, failure.show(fields)), 3)
  end
  local told, shown = pcall(tostring, text)
  if not told then error(("%s: the text cannot be shown: %s"):format(what, failure.show(shown)), 3) end
  return log.wants(level) and { level = level, text = shown, fields = fields } or nil
end

--- Writes a message to the log, with pipeline, stage, worker and pid: see `minigun.log`.
---@param level "debug"|"info"|"warning"|"error"
---@param text any
---@param fields table<string, any>? further values, shown as JSON
function Ctx:log(level, text, fields)
  check_self(self, "log")
  local record = context.message("ctx:log", level, text, fields)
  if not record then return end
  record.pipeline, record.stage, record.worker, record.pid = self.pipeline, self.stage, self.worker, self.pid
  record.attempt = self.attempt > 1 and self.attempt or nil
  log.write(record)
end

return context
