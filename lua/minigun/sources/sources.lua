--- Sources: what makes a producer's handler of an array, an iterator or lines. One that waits lets others go on, where
-- it is known how it waits: lines; coroutines that call minigun.sleep and minigun.wait; files read line by line.
local arrays = require "minigun.base.arrays"
local context = require "minigun.handlers.ctx"
local core = require "minigun.core"
local current = require "minigun.handlers.current"
local failure = require "minigun.base.failure"
local files = require "minigun.sources.files"
local spool = require "minigun.store.spool"

local sources = {}

--- Whether a value is a source that is described by a few values.
---@param value any
---@return boolean
function sources.is_described(value)
  local class = debug.getmetatable(value)
  return class ~= nil and rawget(class, "__name") == "minigun.source" and require("minigun.sources.reading").is(value)
end

--- What the message of an error begins with that an iterator of the user's in C blames on its caller, this file.
sources.place = debug.getinfo(1, "S").short_src

-- How many items a source has: from its handler to a function that tells, for those handlers that know.
local lengths = setmetatable({}, { __mode = "k" })

--- Notes how many items a source will emit.
---@param handler function
---@param length fun(): integer
---@return function handler
function sources.of_length(handler, length)
  lengths[handler] = length
  return handler
end

--- A handler that emits what a source reads that is described by a few values.
---@param given minigun.Source
---@return function handler
---@return string source see `stage.source`
function sources.described(given)
  local reading = require "minigun.sources.reading"
  local handler, length = failure.stands_for(reading.handler(given), given.at), reading.length(given)
  if length then return sources.of_length(handler, length), "array" end
  return handler, given.given and "lines" or "iterator"
end

local services = setmetatable({}, { __mode = "k" }) -- from a producer's handler to the service that it stands for

--- A handler that stands for a service, whose requests are the items; executor/serving.lua runs such a pipeline.
---@param given minigun.Service
---@param subject string for messages: "stage 'requests'"
---@return function handler
function sources.service(given, subject)
  local at = failure.where()
  local handler = failure.stands_for(function()
    failure.raise(("%s: a service is the only producer of a pipeline, in no nested one and in no context, and it is " ..
      "run by p:run"):format(subject), at)
  end, at)
  services[handler] = given
  return handler
end

--- The service that a producer's handler stands for.
---@param handler function?
---@return minigun.Service? service
function sources.service_of(handler) return handler and services[handler] end

--- How many items a source will emit.
---@param handler function
---@return integer? nil: it does not know
function sources.length_of(handler)
  local length = lengths[handler]
  return length and length()
end

--- How many items all producers of a run will emit.
---@param stages table array of the plan's stages
---@return integer? length nil: one of them does not know, or there are none
function sources.length_of_all(stages)
  local sum = 0
  for _, each in ipairs(stages) do
    if each.kind == "producer" then
      local length = sources.length_of(each.handler)
      if not length then return nil end
      sum = sum + length
    end
  end
  return sum > 0 and sum or nil
end

--- A handler that emits the elements of an array.
---@param array table
---@param subject string for messages: "stage 'list'"
---@return function handler
function sources.array(array, subject)
  local at = failure.where()
  return sources.of_length(failure.stands_for(function(emit)
    local n = arrays.length(array)
    for i = 1, n do
      local item = array[i]
      if item == nil then failure.raise(("%s: the array has a hole at [%d] of %d"):format(subject, i, n), at) end
      emit(item)
    end
  end, at), function() return #array end)
end

-- Calls the iterator when its file has a line: until then the caller waits, and with it nothing else.
local function by_file(f, state, control, closing, file, whole)
  return function(emit)
    local _ <close> = closing
    local item = control
    while true do
      files.wait(file, whole)
      item = f(state, item)
      if item == nil then return end
      emit(item)
    end
  end
end

-- Calls a coroutine's iterator; when it has yielded in order to wait, its caller waits in its place.
local function by_coroutine(f, state, control, closing, co)
  return function(emit)
    local _ <close> = closing
    local item = control
    while true do
      local first, second, waited = state, item, false
      repeat
        local task = current.generator(co)
        item = f(first, second)
        if task then
          task.generator, second = nil, nil
          waited, first = current.pass_on(task, item)
        end
      until not waited
      if item == nil then return end
      emit(item)
    end
  end
end

--- Says which function hears of items that a producer's source has and cannot give, see handlers/ctx.lua.
sources.on_lost = context.on_lost
--- Says which function gets what it has open in the end, see handlers/ctx.lua.
sources.on_input = context.on_input

-- Reads a spool: each record that cannot be decoded is a failure.
local function by_spool(f, state, control, closing)
  return function(emit, ctx)
    spool.on_lost(f, context.lost_of(ctx))
    for item in f, state, control, closing do emit(item) end
  end
end

--- A handler that emits what an iterator gives.
---@param f function|table|userdata
---@param state any
---@param control any
---@param closing any as in a generic for
---@return function handler
function sources.iterator(f, state, control, closing)
  local at, file, whole, regular = failure.where(), core.file_of(f)
  if file and not regular then return failure.stands_for(by_file(f, state, control, closing, file, whole), at) end
  local _, co = nil, nil
  if type(f) == "function" and debug.getinfo(f, "S").what == "C" then _, co = debug.getupvalue(f, 1) end
  if type(co) == "thread" then return failure.stands_for(by_coroutine(f, state, control, closing, co), at) end
  if spool.is_records(f) then return failure.stands_for(by_spool(f, state, control, closing), at) end
  return failure.stands_for(function(emit)
    for item in f, state, control, closing do emit(item) end -- which leaves closing to Lua
  end, at)
end

--- Whether what can be called is an iterator: a handler has to take `emit` to be of use, so a lone function without
--- parameters is one, and so is a C function (coroutine.wrap, string.gmatch, io.lines); the same of an object's
--- `__call`, which takes the object first.
---@param f any
---@return boolean
function sources.is_iterator(f)
  local own = 0
  if type(f) ~= "function" then f, own = debug.getmetatable(f).__call, 1 end
  local info = debug.getinfo(f, "Su")
  return info.what == "C" or (info.nparams <= own and not info.isvararg)
end

return sources
