--- The Lua stack: which of its frames are the user's, for messages and tracebacks; and whether any code would see an
-- error. Nothing that a program may replace (debug.getinfo) is looked up when an error is handled.
local stack = {}

local getinfo <const>, running <const> = debug.getinfo, coroutine.running
local rawequal <const>, type <const> = rawequal, type
local dofile <const>, require <const> = dofile, require
local MOST_LINES <const> = 22 -- of a traceback

-- Every module of the library lies in this file's directory, so a frame whose source begins with it is ours.
-- nil in stripped bytecode, whose frames have no lines: those with one are the user's then.
local library = debug.getinfo(1, "S").source:match("^(@.*)base/stack%.lua$")

--- Whether a function's source, as of debug.getinfo, is a file of the library's: by the whole path, as `short_src` is
--- cut.
---@param source string
---@return boolean
function stack.is_library(source) return library and source:sub(1, #library) == library or false end

local blamed = setmetatable({}, { __mode = "k" }) -- from a function of the library's to the place that made it

local ours = setmetatable({}, { __mode = "k" })   -- functions that are known to be the library's

--- A function of the library's that stands for a user's, which has returned when it emits: what is wrong with that is
--- blamed on the place of the definition.
---@param f function
---@param at string "file:line"
---@return function f
function stack.stands_for(f, at)
  blamed[f] = at
  return f
end

--- The place in the user's code that called into the library.
---@return string? at "file:line", or nil where the stack holds no Lua frame outside of the library
function stack.where()
  local level = 2
  while true do
    local frame = getinfo(level, "f")
    local f = frame and frame.func
    if not f then return nil end
    if blamed[f] then return blamed[f] end
    if not ours[f] then
      local info = getinfo(level, "Sl")
      if stack.is_library(info.source) then ours[f] = true
      elseif info.currentline > 0 then return info.short_src .. ":" .. info.currentline end
    end
    level = level + 1
  end
end

local globals = setmetatable({}, { __mode = "k" }) -- from a function to its global name, or false

local function global_name(f)
  if globals[f] ~= nil then return globals[f] end
  local found = false
  for module, content in next, package.loaded do
    for name, value in next, type(content) == "table" and content or {} do
      if rawequal(value, f) and type(name) == "string" and type(module) == "string" then
        local full = module == "_G" and name or module .. "." .. name
        if not found or #full < #found or #full == #found and full < found then found = full end
      end
    end
  end
  globals[f] = found
  return found
end

-- How Lua's own tracebacks call a function. `below`: its caller, whose name for it means nothing where that is the
-- library's.
local function called(info, below)
  local global = global_name(info.func)
  if global then return "function '" .. global .. "'" end
  if info.namewhat ~= "" and not (below and stack.is_library(below.source)) then
    return info.namewhat .. " '" .. info.name .. "'"
  end
  if info.what == "main" then return "main chunk" end
  return info.what ~= "C" and ("function <%s:%d>"):format(info.short_src, info.linedefined) or "?"
end

-- Functions in C by which the library raises and calls: they say nothing of the user's code, nor does one without name.
local plumbing <const> = { error = true, pcall = true, xpcall = true }

local function is_plumbing(info, below)
  if info.what ~= "C" then return false end
  local name = global_name(info.func)
  if name then return plumbing[name] and below and stack.is_library(below.source) end
  return called(info, below) == "?"
end

local outermost = setmetatable({}, { __mode = "k" }) -- functions of the library's that call the user's for a run

--- A function of the library's from which the user's are called: a traceback ends there, as what lies below has
--- nothing to do with them; in a worker it is what the program did when the worker was forked.
---@param f function
---@return function f
function stack.outermost(f)
  outermost[f] = true
  return f
end

--- The user's part of the traceback: without the library's own way to the user's function, and without what that has
--- called of the library.
---@param level integer of the first frame, as seen from the caller
---@return string? text nil: there is no frame of the user's
function stack.traceback(level)
  local lines, own, tail = { "stack traceback:" }, false, 1 -- own: a function of the user's is there; tail: its line
  level = level + 1
  local info = getinfo(level, "Slntf")
  while info do
    local below = getinfo(level + 1, "Slntf")
    if stack.is_library(info.source) or outermost[info.func] then
      if own or outermost[info.func] then break end
    elseif is_plumbing(info, below) then -- luacheck: ignore 542
      -- left out
    elseif #lines > MOST_LINES then
      lines[#lines + 1] = "\t..."
      tail = #lines
      break
    else
      local at = info.currentline > 0 and ("%s:%d"):format(info.short_src, info.currentline) or info.short_src
      lines[#lines + 1] = ("\t%s: in %s"):format(at, called(info, below))
      if info.istailcall then lines[#lines + 1] = "\t(...tail calls...)" end
      if info.what ~= "C" then own, tail = true, #lines end
    end
    info, level = below, level + 1
  end
  return tail > 1 and table.concat(lines, "\n", 1, tail) or nil -- after that: protected calls of the library
end

-- --- errors that no code catches ------------------------------------------------------------------------------------

--- Whether only the stand-alone interpreter, lua, would see an error that the caller raises: nothing but Lua functions
--- lies between, in its main thread. Any function in C may be a protected call.
---@return boolean
function stack.only_interpreter()
  local arguments = rawget(_G, "arg")
  local _, in_main_thread = running()
  if not in_main_thread or type(arguments) ~= "table" or type(arguments[0]) ~= "string" then return false end
  local level, main = 2, false -- main: the frame before is a main chunk
  while true do
    local info = getinfo(level, "Sft")
    if not info then return false end
    if info.what == "C" and not getinfo(level + 1, "S") then return main end -- the interpreter's own
    if info.what == "C" and not rawequal(info.func, dofile) and not rawequal(info.func, require) then return false end
    main = info.what == "main" or info.istailcall -- the prompt returns what is typed
    level = level + 1
  end
end

local Final <const> = { __name = "minigun.error", __tostring = function(self) return self.text end }

--- What to raise for a text: the text; but where only the interpreter would see it an object that shows as the text and
--- the user's part of the traceback, as the interpreter would add the library's own.
---@param text any what was raised: nothing but a text is replaced
---@param traceback string? by default the caller's
---@return any err
function stack.final(text, traceback)
  if type(text) ~= "string" or not stack.only_interpreter() then return text end
  traceback = traceback or stack.traceback(2)
  return setmetatable({ text = traceback and text .. "\n" .. traceback or text }, Final)
end

return stack
