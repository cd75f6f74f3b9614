--- The `ctx` that handlers and hooks receive.
local context = {}

local levels = { debug = true, info = true, warning = true, error = true }

local function check_name(method, name)
  if type(name) ~= "string" then
    error(("ctx:%s: the name must be a string, got %s"):format(method, type(name)), 3)
  end
end

--- Makes a ctx.
---@param fields table `pipeline`, `stage` (names), `pid`, `worker` (slot number or nil)
---@param effect function (kind, name, value): takes what is collected and counted
---@return table ctx the fields, `attempt`, `state`, and the methods `collect`, `count` and `log`
function context.new(fields, effect)
  fields.attempt = 1
  fields.state = {}
  return setmetatable(fields, { __name = "minigun.ctx", __index = {
    collect = function(_, name, value)
      check_name("collect", name)
      if value == nil then error("ctx:collect: nil cannot be collected", 2) end
      effect("collect", name, value)
    end,
    count = function(_, name, n)
      check_name("count", name)
      if n == nil then n = 1 end
      if type(n) ~= "number" then error(("ctx:count: a number expected, got %s"):format(type(n)), 2) end
      effect("count", name, n)
    end,
    log = function(self, level, text)
      if not levels[level] then
        error(("ctx:log: the level is debug, info, warning or error, got %s"):format(tostring(level)), 2)
      end
      local worker = self.worker and (", worker %d"):format(self.worker) or ""
      -- One write, so that lines of several workers do not mix.
      io.stderr:write(("[%s] %s%s%s (pid %d): %s\n"):format(level, self.pipeline,
        self.stage and ("/" .. self.stage) or "", worker, self.pid, tostring(text)))
    end,
  } })
end

return context
