-- compile.lua DIRECTORY: writes the library there, compiled. The programs of the specs load it a thousand times, and
-- parsing is most of what that takes. Lines and names in messages are those of the sources. What most of these programs
-- need is in the file of "minigun" itself: to find and open a hundred files takes them as long as their run.
local lfs = require "lfs"

local NEEDED <const> = { "minigun.control.to_end", "minigun.pipeline", "minigun.contexts.workers" }

local function path_of(name) return name:gsub("%.", "/") .. ".lua" end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

local function write(path, bytes)
  local file <close> = assert(io.open(path, "wb"))
  file:write(bytes)
end

local function compile(from, to)
  assert(lfs.mkdir(to))
  for name in lfs.dir(from) do
    local source, target = from .. "/" .. name, to .. "/" .. name
    if name:find "%.lua$" then
      write(target, string.dump(assert(loadfile(source))))
    elseif not name:find "^%." and lfs.attributes(source, "mode") == "directory" then
      compile(source, target)
    end
  end
end

-- Adds a module to the set, and the modules that this module requires while it is being loaded.
local function add_needed(set, name)
  if set[name] or not lfs.attributes("lua/" .. path_of(name)) then return end
  set[name] = true
  for other in ("\n" .. read("lua/" .. path_of(name))):gmatch '\nlocal [%w_, ]+ = require "(minigun%.[%w_.]+)"' do
    add_needed(set, other)
  end
end

local function join(directory)
  local set, init = {}, directory .. "/minigun/init.lua"
  for _, name in ipairs(NEEDED) do add_needed(set, name) end
  local lines = { "local preload, load = package.preload, load" }
  for name in pairs(set) do
    local path = directory .. "/" .. path_of(name)
    lines[#lines + 1] = ("preload[%q] = function(name) preload[name] = nil return load(%q)(name, %q) end"):format(
      name, read(path), path)
  end
  lines[#lines + 1] = ("return load(%q)(...)"):format(read(init))
  write(init, string.dump(assert(load(table.concat(lines, "\n"), "=compiled")), true))
end

compile("./lua", arg[1])
join(arg[1])
require("spec.programs.build").unruly() -- most specs need it: it is built once here, not by several specs at once
