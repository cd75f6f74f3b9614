--- What a handler calls to emit: `emit(item)`, and `emit:to(name, item)`. The object and its messages are the same in
-- every place; what becomes of the item is up to the one that makes it.
local router = require "minigun.policy.route"

local emits = {}

--- Messages of a wrong call.
emits.NIL = "nil cannot be emitted (an item is any value but nil; call emit only when there is one)"
emits.MORE = "emit takes one item, and was given more values: emit each by itself, or a table of them; " ..
  "of what a call returns, brackets keep the first: emit((f(x)))"
emits.OVER = "emit called after its handler has returned, or in another process"

--- Makes an emit. What it is given is called as it is: each item of a run goes through it.
---@param send fun(self: any, item: any)
--- sends an item to every receiver of the stage; it refuses nil. The user has called it: an error of level 2 is at the
--- user's line
---@param send_to fun(name: any, item: any) sends an item to one stage; an error of level 3 is at the user's line
---@return table emit
function emits.new(send, send_to)
  return setmetatable({}, { __name = "emit", __metatable = false, __call = send, __index = {
    to = function(self, name, item, more)
      router.check_colon(self, 2)
      if more ~= nil then error(emits.MORE, 2) end
      send_to(name, item)
    end,
  } })
end

return emits
