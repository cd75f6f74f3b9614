--- What ends a run, as an error that is known by its identity, never by a text or a field: whatever a user's function
-- raises is a failure of its item.
local fatal = {}

local getmetatable <const>, rawequal <const> = debug.getmetatable, rawequal

local Fatal <const> = { __name = "minigun.fatal", __metatable = false }
function Fatal:__tostring() return self.text end

--- Makes an error that ends its run.
---@param text string
---@return table err
function fatal.new(text) return setmetatable({ text = text }, Fatal) end

--- Whether an error is one of these.
---@param err any
---@return boolean
function fatal.is(err) return rawequal(getmetatable(err), Fatal) end

return fatal
