--- Draws mutants: of a random line one random kind of mutation, and of these one. Those that do not compile, and those
-- whose code is the same, are left out.

local mask = require "spec.mutants.mask"
local operators = require "spec.mutants.operators"
local shell = require "spec.mutants.shell"

local M = {}

-- Lines that hold no behaviour, or only ends of blocks.
local function is_dull(line, masked, language)
  if not masked:find("%S") or masked:find("^%s*[%a%s{}%(%),;]*$") and not masked:find("%a%(") and
    not masked:find("return") and not masked:find("break") and not masked:find("continue") then return true end
  if language == "lua" then
    return line:find("^local [%w_, ]+ = require%f[%W]") or masked:find("^%s*local function%f[%W].*%)%s*$")
      or masked:find("^%s*function [%w_%.:]+%b()%s*$") or line:find("^return [%w_]+$")
  end
  return masked:find("^[%a_][%w_ %*]*%([^=]*$") or masked:find("^%s+[%a_][%w_ %*]*;$") or masked:find("^typedef")
end

--- All lines of the sources that can be changed.
-- @param pattern string, nil: files whose paths it does not match are left out
-- @return table: lua, c: arrays of { path =, number =, line =, after = (the line before), list = }
function M.pool(pattern)
  local pool = { lua = {}, c = {} }
  for _, path in ipairs(shell.lines "find lua src -name '*.lua' -o -name '*.[ch]' | LC_ALL=C sort") do
    if not path:find("^src/test/") and (not pattern or path:find(pattern)) then
      local language = path:find("%.lua$") and "lua" or "c"
      local text = shell.read(path)
      local lines, masks = mask.lines(text), mask.lines(mask.mask(text, language))
      for i, line in ipairs(lines) do
        local list = is_dull(line, masks[i], language) and {} or operators.mutations(line, masks[i], language)
        if #list > 0 then
          table.insert(pool[language], { path = path, number = i, line = line, list = list,
            after = (lines[i - 1] or ""):match("^%s*(.-)%s*$") })
        end
      end
    end
  end
  return pool
end

--- A file with one line changed.
-- @param text string
-- @param number integer
-- @param line string
-- @return string
function M.with_line(text, number, line)
  local lines = mask.lines(text)
  lines[number] = line
  return table.concat(lines, "\n") .. "\n"
end

local STRICT = "-Werror=implicit-function-declaration -Werror=int-conversion -Werror=incompatible-pointer-types"

-- The code of a file without what lines it came from, nil where it does not compile.
local function code_of(path, text, dir, include)
  if path:find("%.lua$") then
    local chunk = load(text, "=mutant", "t")
    return chunk and string.dump(chunk, true)
  end
  local source, object = dir .. "/" .. path, dir .. "/mutant.o"
  local before = shell.read(source)
  shell.write(source, text)
  local users = path:find("%.c$") and { path } or shell.lines(("cd %s && grep -rlE '#include \"([a-z]*/)?%s\"' src "
    .. "| grep '\\.c$' | LC_ALL=C sort"):format(dir, path:match("[^/]+$")))
  local codes = {}
  for _, user in ipairs(users) do
    local built = os.execute(("cd %s && cc -std=gnu11 -fPIC -fvisibility=hidden -O2 %s -I%s -Isrc -c -o mutant.o %s "
      .. "2>/dev/null"):format(dir, STRICT, include, user))
    codes[#codes + 1] = built and shell.read(object) or false
    if not built then break end
  end
  shell.write(source, before)
  return codes[#codes] and table.concat(codes)
end

--- @param n integer, how many
-- @param seed integer
-- @param dir string, a copy of the tree in which files are compiled
-- @param pattern string, nil: see `pool`
-- @return array of { number =, path =, line =, kind =, old =, new =, at = (the column of the first change) }
-- @return table: how many were left out, by why
function M.draw(n, seed, dir, pattern)
  math.randomseed(seed)
  local pool, list, used = M.pool(pattern), {}, {}
  local include = os.getenv "LUA_INC" or "/usr/include/lua5.4"
  local out = { ["does not compile"] = 0, ["same code"] = 0 }
  local tries = 0
  while #list < n and tries < 20 * n do
    tries = tries + 1
    local lines = (math.random(3) == 1 and #pool.c > 0 or #pool.lua == 0) and pool.c or pool.lua
    local place = lines[math.random(#lines)]
    local kinds, by_kind = {}, {}
    for _, mutation in ipairs(place.list) do
      if not by_kind[mutation.kind] then
        by_kind[mutation.kind] = {}
        kinds[#kinds + 1] = mutation.kind
      end
      table.insert(by_kind[mutation.kind], mutation.text)
    end
    local kind = kinds[math.random(#kinds)]
    local new = by_kind[kind][math.random(#by_kind[kind])]
    if not used[place] then
      used[place] = true
      local text = shell.read(place.path)
      local code = code_of(place.path, M.with_line(text, place.number, new), dir, include)
      if not code then
        out["does not compile"] = out["does not compile"] + 1
      elseif code == code_of(place.path, text, dir, include) then
        out["same code"] = out["same code"] + 1
      else
        local at = 1
        while new:byte(at) == place.line:byte(at) do at = at + 1 end
        list[#list + 1] = { number = #list + 1, path = place.path, line = place.number, kind = kind, old = place.line,
          new = new, at = at, after = place.after }
      end
    end
  end
  return list, out
end

return M
