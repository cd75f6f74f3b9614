--- One face for every event loop: `local loop = require "minigun.loop"`. See docs/loops.md.
local failure = require "minigun.base.failure"
local face = require "minigun.loops.face"

local loop = {}

-- In the order in which `adopt` asks them.
local NAMES <const> = { "epoll", "cqueues", "luv", "event", "copas", "select" }
local adapters = {}
for _, name in ipairs(NAMES) do adapters[name] = "minigun.loops." .. name end

local function make(name, driver)
  return face.new(name, function() return loop.new(name) end, driver)
end

--- Makes a loop.
---@param name ("epoll"|"select"|"copas"|"cqueues"|"luv"|"event")?
--- "epoll", the default: the library's own; any other: inside the loop of that library, which must be installed
---@return minigun.Loop? loop
---@return string? message
---@return integer? errno
function loop.new(name)
  name = name == nil and "epoll" or name
  if type(name) ~= "string" or not adapters[name] then
    failure.raise(("loop.new: one of %s expected, got %s"):format(table.concat(NAMES, ", "), failure.show(name)))
  end
  if name == "epoll" then return make(name) end
  return make(name, require(adapters[name]).new())
end

--- Makes a loop inside one that the program has already: a controller of cqueues, an event base of luaevent, or one of
--- the modules luv, copas and socket.
---@param object any
---@return minigun.Loop? loop
---@return string? message
---@return integer? errno
function loop.adopt(object)
  for _, name in ipairs(NAMES) do
    local adapter = name ~= "epoll" and require(adapters[name])
    local driver = adapter and adapter.adopt(object)
    if driver then return make(name, driver) end
  end
  if face.is(object) then return object end
  failure.raise(("loop.adopt: a controller of cqueues, an event base of luaevent, or one of the modules luv, copas " ..
    "and socket expected, got %s"):format(failure.show(object)))
end

return loop
