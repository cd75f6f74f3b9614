--- Builds the C programs of this directory for the specs that need them, once for each run, where there is a compiler.
local support = require "spec.support"

local M = {}

--- The directory of the built programs and modules.
M.directory = support.build_dir() .. "/spec"

local function stale(source, target)
  local lfs = require "lfs"
  local made = lfs.attributes(target, "modification")
  return not made or made < lfs.attributes(source, "modification")
end

local function compile(name, target, flags)
  local source = ("spec/programs/%s.c"):format(name)
  if not stale(source, target) then return true end
  os.execute("mkdir -p " .. support.quote(M.directory))
  local temporary = ("%s.%d"):format(target, support.pid())
  local done = support.run(("${CC:-cc} -O1 -Wall -Wextra %s -I%s -o %s %s"):format(flags,
    os.getenv("LUA_INC") or "/usr/include/lua5.4", support.quote(temporary), source))
  if done.code ~= 0 then return false end
  return os.rename(temporary, target)
end

--- The Lua module `unruly` (see unruly.c).
---@return table? module nil where there is no compiler
function M.unruly()
  if not compile("unruly", M.directory .. "/unruly.so", "-fPIC -shared") then return nil end
  local open = package.loadlib(M.directory .. "/unruly.so", "luaopen_unruly")
  return open and open()
end

--- A program of this directory.
---@param name string of its file, without ".c"
---@return string? path nil where there is no compiler
function M.program(name)
  local target = M.directory .. "/" .. name
  return compile(name, target, "") and target or nil
end

--- The program `proxy` (see proxy.c).
---@return string? path nil where there is no compiler
function M.proxy()
  local target = M.directory .. "/proxy"
  return compile("proxy", target, "-pthread") and target or nil
end

--- A library of this directory, to be loaded before others (LD_PRELOAD).
---@param name string of its file, without ".c"
---@return string? path nil where there is no compiler
function M.library(name)
  local target = ("%s/%s.so"):format(M.directory, name)
  return compile(name, target, "-fPIC -shared") and target or nil
end

--- The program `confined` (see confined.c).
---@return string? path nil where there is no compiler
function M.confined() return M.program "confined" end

-- A pseudo-terminal can be had: not in a chroot without /dev/pts.
local function has_terminals()
  local ptmx = io.open("/dev/ptmx", "r+")
  if ptmx then ptmx:close() end
  return ptmx ~= nil
end

--- The program `pty` (see pty.c).
---@return string? path nil where there is no compiler or no pseudo-terminal
function M.pty()
  if not has_terminals() then return nil end
  return compile("pty", M.directory .. "/pty", "") and M.directory .. "/pty" or nil
end

--- The environment in which a child finds the tree's modules and these.
---@return table of strings, for support.run
function M.env()
  local env = support.lua_env()
  env.LUA_CPATH = ("./%s/?.so;%s"):format(M.directory, env.LUA_CPATH)
  return env
end

return M
