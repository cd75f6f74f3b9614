-- The knots of lua/minigun: files that call each other in a circle. knot.lua prints each with its files, and the calls
-- inside it with -v.
--
-- Read from the text of the files. Three forms are calls of another file: `module.name(`, of a module that the file
-- requires; `object:name(`, where the object is called like the file that defines such a method, or like its class
-- (`self.ledger:add(` calls run/ledger.lua); and `self:name(`, where the file does not define the method itself: then
-- it is one of a file that requires this one, and has handed in its object. A function that is handed over as a value
-- and called by it is no call of the file that it stands in: that is how a lower room calls back.
local verbose = arg[1] == "-v"

local function lines_of(command)
  local list, pipe = {}, assert(io.popen(command))
  for line in pipe:lines() do list[#list + 1] = line end
  pipe:close()
  return list
end

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

local PATHS <const> = lines_of "find lua/minigun -name '*.lua' | sort"

local function short(path) return path:match "^lua/minigun/(.*)%.lua$" end

-- Without comments and strings, which name calls too.
local function code_of(path)
  return (read(path):gsub("%-%-%[%[.-%]%]", ""):gsub("%-%-[^\n]*", ""):gsub('"[^"\n]*"', function(s)
    return s:find "^\"minigun%." and s or '""'
  end))
end

-- From the name of a method to the files that define one, `function Class:name(`: { path = class }.
local function methods()
  local defined = {}
  for _, path in ipairs(PATHS) do
    for class, name in code_of(path):gmatch "function%s+([%w_]+)[.:]([%w_]+)%s*%(" do
      defined[name] = defined[name] or {}
      defined[name][short(path)] = class:lower()
    end
  end
  return defined
end

-- From each file to those that it requires: { [file] = { [variable] = required } }.
local function requirements()
  local list = {}
  for _, path in ipairs(PATHS) do
    local own = {}
    for variable, module in code_of(path):gmatch 'local%s+([%w_]+)[%s<>const]*=%s*require%s*%(?"minigun%.([%w_.]+)"' do
      own[variable] = module ~= "core" and module:gsub("%.", "/") or nil
    end
    list[short(path)] = own
  end
  return list
end

local function requires(own, file)
  for _, required in pairs(own) do if required == file then return true end end
  return false
end

-- From each file to the files that it calls, with the names.
local function calls()
  local defined, required, edges = methods(), requirements(), {}
  for _, path in ipairs(PATHS) do
    local own, code = short(path), code_of(path)
    local out = {}
    edges[own] = out
    local function add(to, name)
      if to ~= own then
        out[to] = out[to] or {}
        out[to][name] = true
      end
    end
    for variable, module in pairs(required[own]) do
      for name in code:gmatch("%f[%w_]" .. variable .. "%.([%w_]+)") do add(module, name) end
    end
    for object, name in code:gmatch '([%w_]+):([%w_]+)%s*[%({"]' do
      local files = defined[name] or {}
      local of_class = {} -- how many files define it for a class of this name: more than one are the forms of a port
      for _, class in pairs(files) do of_class[class] = (of_class[class] or 0) + 1 end
      for to, class in pairs(files[own] and {} or files) do
        local called = object == class and of_class[class] == 1 or object == to:match "[^/]+$"
        if called or object == "self" and requires(required[to], own) then add(to, name) end
      end
    end
  end
  return edges
end

-- The strongly connected components of more than one node (Tarjan, "Depth-first search and linear graph algorithms").
local function components(edges)
  local index, order, low, stack, on, found = 0, {}, {}, {}, {}, {}
  local function visit(v)
    index = index + 1
    order[v], low[v], on[v], stack[#stack + 1] = index, index, true, v
    for w in pairs(edges[v] or {}) do
      if not order[w] then
        visit(w)
        low[v] = math.min(low[v], low[w])
      elseif on[w] then
        low[v] = math.min(low[v], order[w])
      end
    end
    if low[v] == order[v] then
      local part = {}
      repeat
        local w = table.remove(stack)
        on[w], part[#part + 1] = nil, w
      until w == v
      table.sort(part)
      if #part > 1 then found[#found + 1] = part end
    end
  end
  for _, path in ipairs(PATHS) do if not order[short(path)] then visit(short(path)) end end
  table.sort(found, function(a, b) return #a > #b end)
  return found
end

local edges = calls()
for _, part in ipairs(components(edges)) do
  print(#part, table.concat(part, " "))
  for _, from in ipairs(verbose and part or {}) do
    for _, to in ipairs(part) do
      local names = {}
      for name in pairs(edges[from][to] or {}) do names[#names + 1] = name end
      table.sort(names)
      if #names > 0 then print("", from .. " -> " .. to .. ": " .. table.concat(names, " ")) end
    end
  end
end
