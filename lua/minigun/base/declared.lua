--- Objects whose fields are all in their constructor. Where $MINIGUN_CHECK is set, as in all specs, a read or write of
-- any other field is an error at its line, so nothing can be put into an object that its constructor does not name. A
-- field that has no value yet is `false`, never nil.
local strict = os.getenv "MINIGUN_CHECK"

local checked = setmetatable({}, { __mode = "k" }) -- from a class to its checking form

local function checking(class)
  local form = {}
  for key, value in pairs(class) do form[key] = value end
  form.__index = setmetatable(form, { __index = function(_, key) -- methods are found without a call
    local value = class[key]
    if value == nil then error(("there is no field '%s' (see the constructor)"):format(tostring(key)), 2) end
    return value
  end })
  function form.__newindex(_, key)
    error(("the field '%s' is not in the constructor, or was set to nil"):format(tostring(key)), 2)
  end
  return form
end

--- Makes an object.
---@param fields table all of them, none nil
---@param class table its metatable, with the methods in `__index`; complete by now
---@return table fields
return function(fields, class)
  if not strict then return setmetatable(fields, class) end
  checked[class] = checked[class] or checking(class)
  return setmetatable(fields, checked[class])
end
