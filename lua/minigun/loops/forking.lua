--- The child of `loop:fork`: what it has of its parent's loops and libraries is made harmless, before anything of the
--- user's runs.
--
-- Epoll descriptors are shared with the parent: what a child adds to one, the parent's loop hears
-- of; what it takes out of one, the parent's loop loses. So all that it has inherited are new and empty there, under
-- the same numbers, before any Lua runs (src/lua/lua_process.c): what a library, a finalizer or the user does with an
-- inherited loop stays in the child.
local core = require "minigun.core"
local inherited = require "minigun.loops.inherited"
local traceback = require "minigun.base.traceback"
local waiting = require "minigun.system.waiting"

local forking = {}

local FAILED <const> = 1 -- exit code

local function exit(code)
  core.exit(code == nil and 0 or code == true and 0 or code == false and 1 or code)
end

local function say(text) io.stderr:write("minigun: process ", core.pid(), ": ", text, "\n") end

local function main(f, make)
  math.randomseed(core.random())
  os.exit = exit -- luacheck: ignore 122
  waiting.forget()
  inherited.leave()
  return f(assert(make()))
end

--- What the child does.
---@param f fun(loop: table): any
---@param make fun(): table? makes its loop
---@return integer code for the process to leave with
function forking.child(f, make)
  local ok, code = traceback.call(main, f, make)
  if not ok then
    say(code.message .. (code.traceback and "\n" .. code.traceback or ""))
    return FAILED
  end
  if code == nil or code == true then return 0 end
  if code == false then return 1 end
  if math.type(code) == "integer" and code >= 0 and code <= 255 then return code end
  say(("the function of loop:fork returns an exit code from 0 to 255, got %s"):format(tostring(code)))
  return FAILED
end

return forking
