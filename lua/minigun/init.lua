--- Minigun: multi-stage data pipelines over every core of a machine.
local core = require "minigun.core"
local pipeline = require "minigun.pipeline"
local shorthand = require "minigun.shorthand"
local spool = require "minigun.spool"

local minigun = {
  version = core.version,
}

--- Makes a pipeline: `minigun.pipeline "name"`, empty, or `minigun.pipeline { ... }`, from a table.
minigun.pipeline = pipeline.new

--- Calls f for every element of a list, over all cores; the results in the order of the list.
---@param list table array
---@param f function `function(element) -> value`; nil leaves a hole
---@param options table? of a stage (`processes = 4`, `retries = 2`) and of a run (`memory = "64M"`)
---@return table results
function minigun.map(list, f, options) return shorthand.map(pipeline.new, list, f, options) end

--- Calls f for every element of a list, over all cores, for what it does.
---@param list table array
---@param f function `function(element)`
---@param options table? as for `map`
function minigun.each(list, f, options) shorthand.each(pipeline.new, list, f, options) end

--- Opens a spool, a file of values that any number of processes append to: `minigun.spool(path [, options])`.
minigun.spool = spool.new

--- Processors that this process may use: affinity and cgroup quota counted.
minigun.cpus = core.cpus

--- Seconds of the monotonic clock, a float.
minigun.now = core.now

--- Encodes a value as a string of bytes (MessagePack, see docs/wire-format.md); raises for what cannot be serialised.
minigun.encode = core.encode

--- Decodes such a string; nil and a message when it is not one.
minigun.decode = core.decode

--- Registers a type whose objects may travel: `minigun.register(name, metatable [, dump, load])`.
minigun.register = core.register

return minigun
