--- What a forked child makes of the event libraries that its parent has loaded: it can use each of them as if the
-- parent had not. Epoll descriptors are new already (forking.lua); here is what each library has besides.
local core = require "minigun.core"

local inherited = {}

--- From a library's name to why it cannot be used in this process.
---@type table<string, string>
inherited.unusable = {}

local libraries = {}

-- luv shares more with the parent than its epoll: the pipe of its signals, the bell of its threads. libuv renews them,
-- but luv does not say so to Lua. All inherited handles are closed, which never ends, as their loop does not run any
-- more: no callback of the parent's runs here. The child has a new loop.
function libraries.luv(uv)
  local path = package.searchpath("luv", package.cpath)
  local ok, message = core.luv_forked(path or "luv.so", 1)
  if ok then
    uv.walk(function(handle)
      if not handle:is_closing() then handle:close() end
    end)
    ok, message = core.luv_forked(path, 2)
  end
  inherited.unusable.luv = not ok and "in a forked child: " .. message or nil
end

-- In a child that was forked by a coroutine of cqueues, this coroutine still counts as running, and a step of another
-- controller would yield to it.
function libraries.cqueues(cqueues)
  local outer = cqueues.running()
  if not outer then return end
  local running = cqueues.running
  function cqueues.running() -- luacheck: ignore 122
    local controller, main = running()
    if controller == outer then return nil, true end
    return controller, main
  end
end

-- The threads and sockets of the parent lie in variables of the module: its file is run anew, into the table that the
-- program has. It refuses that where socket.http has been loaded before it.
function libraries.copas(copas)
  local http = package.loaded["socket.http"]
  package.loaded["socket.http"] = nil
  local path = type(copas.step) == "function" and debug.getinfo(copas.step, "S").source:match "^@(.*)" or ""
  local chunk, message = loadfile(path)
  local ok, fresh = pcall(chunk or error, chunk and "copas" or message, path)
  package.loaded["socket.http"] = http
  inherited.unusable.copas = not ok and "in a forked child: it cannot be begun anew: " .. tostring(fresh) or nil
  if not ok then return end
  for name in pairs(copas) do copas[name] = nil end
  for name, value in pairs(fresh) do copas[name] = value end
end

local seen = {} -- from a library's name to the process in which it was in use last

local function leave(name)
  local loaded = package.loaded[name]
  if type(loaded) ~= "table" then return end
  seen[name] = core.process()
  libraries[name](loaded)
end

--- Called in each child of `loop:fork`, before anything of the user's.
function inherited.leave()
  for name in pairs(libraries) do leave(name) end
end

--- Called before a loop of a library is made: this process may have been forked in another way.
---@param name string of the library
---@return string? why nil: it can be used
function inherited.enter(name)
  if seen[name] and seen[name] ~= core.process() then leave(name) end
  seen[name] = core.process()
  return inherited.unusable[name]
end

return inherited
