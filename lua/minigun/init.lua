--- Minigun: multi-stage data pipelines over every core of a machine.
local core = require "minigun.core"
local pipeline = require "minigun.pipeline"

local minigun = {
  version = core.version,
}

--- Makes an empty pipeline: `minigun.pipeline "name"`.
minigun.pipeline = pipeline.new

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
