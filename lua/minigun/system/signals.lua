--- Ctrl-C during a run: what the interpreter makes of it, and how a run passes it on.
--
-- lua5.4's own handler turns SIGINT into the error "interrupted!" at the next Lua instruction. A run that it ends kills
-- and reaps its children first. At the prompt, and wherever the program catches errors, that error goes on; in a
-- script that catches nothing the process then ends by SIGINT, as any other program would (status 130 in a shell).
-- That handler reaches the main thread only; `core.guard` extends it to the producers' coroutines, and notes that it
-- has come (src/lua/lua_signal.c): any error can have that text, and a handler's own pcall may have taken it.
local core = require "minigun.core"
local fatal = require "minigun.base.fatal"
local stack = require "minigun.base.stack"

local signals = {}

local SIGINT <const> = 2

local QUIET <const> = 0.2 -- seconds since the last Ctrl-C after which no other is expected; see `settle`

--- Raises where Ctrl-C is to end the run: called when a user's function has returned, which may have caught the error.
function signals.check()
  if core.interrupted() then error("interrupted!", 0) end
end

--- Raises once more what is no item's failure: Ctrl-C, or what ends the run (Run:fail).
---@param raised any what a handler's call has raised
function signals.pass_on(raised)
  if fatal.is(raised) then error(raised, 0) end
  signals.check()
end

-- `lua5.4 -i FILE`: after the script comes the prompt, which must stay.
local function prompt_follows()
  local arguments, i = rawget(_G, "arg"), -1
  while type(arguments) == "table" and arguments[i] ~= nil do
    if arguments[i] == "-i" then return true end
    i = i - 1
  end
  return false
end

-- Whether the program is being typed.
local function at_prompt()
  local level, last = 2, nil
  while true do
    local info = debug.getinfo(level, "S")
    if not info then return not last or last.source == "=stdin" end -- it returns what is typed: no chunk is left
    if info.what == "main" then last = info end
    level = level + 1
  end
end

-- Whether any code but the stand-alone interpreter would see an error raised here.
local function caught_by_program()
  if prompt_follows() then return true end
  local level = 2
  local last
  while true do
    local info = debug.getinfo(level, "fS")
    if not info then break end
    if info.func == pcall or info.func == xpcall or info.func == coroutine.resume then return true end
    if info.what == "main" then last = info end
    level = level + 1
  end
  local _, in_main_thread = coroutine.running()
  return not in_main_thread or not last or last.source == "=stdin"
end

--- At the prompt: waits until no second Ctrl-C is to be expected. There, outside of a run, it would end the session.
function signals.settle()
  if not prompt_follows() and not at_prompt() then return end
  local seconds = core.interrupted()
  while seconds and seconds < QUIET do
    core.sleep(QUIET - seconds)
    seconds = core.interrupted()
  end
end

--- Ends an interrupted run's caller: raises "interrupted!", or dies of SIGINT where only the interpreter would see
--- that.
function signals.interrupted()
  if caught_by_program() then error(stack.final "interrupted!", 0) end
  io.stderr:write "interrupted!\n"
  core.die_of(SIGINT)
end

return signals
