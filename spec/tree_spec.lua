-- The tree is consistent: the lists of files agree with each other and with the tree, layers are kept, public functions
-- are documented, and nothing in it belongs to one machine.

local support = require "spec.support"

local lines_of = support.lines_of

local function files(where, name)
  return lines_of(("find %s -type f -name '%s'"):format(where, name))
end

-- What git has, with what is new and not ignored; an unpacked archive has no .git: everything but the builds.
local function tree()
  local list = lines_of("git ls-files --cached --others --exclude-standard 2>/dev/null")
  if #list == 0 then
    list = lines_of([[find . -type f -not -path './.git/*' -not -path './build*' | sed 's|^\./||']])
  end
  return list
end

local function rockspec()
  local env = {}
  assert(loadfile("minigun-scm-1.rockspec", "t", env))()
  return env
end

local function module_name(path)
  return (path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
end

-- The core's; src/redis is a module of its own, which is built where it is asked for.
local C_SOURCES = lines_of "find src -name '*.c' -not -path 'src/redis/*'"
local LUA_SOURCES = files("lua", "*.lua")

describe("the lists of files", function()
  it("in the Makefile: every C source, and no other", function()
    local text = support.read_file("Makefile"):match("\nSRC *:= *(.-[^\\])\n")
    local list = {}
    for word in text:gmatch("[^%s\\]+") do
      list[#list + 1] = word
    end
    table.sort(list)
    assert.same(C_SOURCES, list)
  end)

  it("in the rockspec: the same C sources", function()
    local list = { table.unpack(rockspec().build.modules["minigun.core"].sources) }
    table.sort(list)
    assert.same(C_SOURCES, list)
  end)

  it("in the rockspec: every Lua module under its name, and no other", function()
    local expected = {}
    for _, path in ipairs(LUA_SOURCES) do
      expected[module_name(path)] = path
    end
    local list = {}
    for name, path in pairs(rockspec().build.modules) do
      if type(path) == "string" then
        list[name] = path
      end
    end
    assert.same(expected, list)
  end)

  it("in the continuous integration, the specs' runner and the Debian package: only specs that are there", function()
    local list = support.read_file(".ci/run"):match "ASAN_SPECS=%$%(printf '[^']*' (.-)%)\n"
      .. " " .. support.read_file("spec/run"):match "\nLONGEST='(.-)'"
    local missing, count = {}, 0
    for name in list:gsub("\\\n", " "):gmatch "%S+" do
      count = count + 1
      if not support.read_file(("spec/%s_spec.lua"):format(name)) then missing[#missing + 1] = name end
    end
    for path in support.read_file("debian/rules"):gmatch "spec/[%w_]+%.lua" do
      if not support.read_file(path) then missing[#missing + 1] = path end
    end
    assert.same({}, missing)
    assert.is_true(count > 50)
  end)

  it("in the rockspec: the command", function()
    assert.same({ minigun = "bin/minigun" }, rockspec().build.install.bin)
  end)
end)

-- A file includes only headers of lower layers and of its own module (codec_state.h is of codec, lua_mg.h of lua).
local LAYERS = {
  mg = 0, point = 0, sys = 1, crc = 1, faults = 2,
  clock = 3, shm = 3, ring = 3, byte_ring = 3, event = 3, proc = 3, codec = 3, heap = 3,
  record = 3, spool = 3, cut = 1, csv = 2, reader = 3, piece = 4, board = 3, listen = 3, slot = 4, channel = 4,
  keeper = 4, signals = 4, screen = 4,
  attach = 5, worker = 5, command = 5, relay = 5, pool = 6, ledger = 7, wait = 7, job = 7, miscount = 7, lua = 8,
  link = 1, -- of src/redis, with lua_redis
}

-- From a room to the rooms whose headers it may include besides its own; "core/mg.h": that one header.
local ROOMS = {
  core = {}, codec = { "core/mg.h" }, store = { "core/mg.h", "core/sys.h" },
  source = { "core/mg.h", "core/sys.h", "core/record.h" }, lua = { "core", "codec", "store", "source" },
  test = { "core", "lua" }, redis = {},
}

local function may_include(room, header)
  local other = header:match("^(%w+)/")
  for _, allowed in ipairs(other and other ~= room and ROOMS[room] or {}) do
    if allowed == other or allowed == header then return true end
  end
  return not other or other == room
end

local function c_module(path)
  local name = path:match("([^/]+)%.[ch]$")
  return LAYERS[name] and name or name:match("^[^_]+")
end

describe("the layers of src/", function()
  for _, path in ipairs(lines_of("find src -name '*.[ch]'")) do
    it(path .. " includes only what is below it", function()
      local own = c_module(path)
      assert.is_not_nil(LAYERS[own], path .. " has no layer: name it in spec/tree_spec.lua")
      for header in support.read_file(path):gmatch('#%s*include%s+"([^"]+)"') do
        local other = c_module(header)
        assert.is_true(other == own or (LAYERS[other] or math.huge) < LAYERS[own],
          ("%s (layer %d) includes %s"):format(path, LAYERS[own], header))
      end
    end)
  end

  it("are in rooms, which have a README and include headers of the rooms that they may", function()
    local found = {}
    for _, path in ipairs(lines_of("find src -name '*.[ch]'")) do
      local room = path:match("^src/(%w+)/[%w_]+%.[ch]$")
      assert.is_table(ROOMS[room], path .. " is in no room")
      for header in support.read_file(path):gmatch('#%s*include%s+"([^"]+)"') do
        if not may_include(room, header) then found[#found + 1] = path .. " includes " .. header end
      end
    end
    assert.same({}, found)
    for room in pairs(ROOMS) do
      local text = assert(support.read_file(("src/%s/README.md"):format(room)), room .. " has no README")
      for _, path in ipairs(files("src/" .. room, "*.[ch]")) do
        local name = path:match("([%w_]+)%.[ch]$")
        assert.is_truthy(text:find("`" .. name .. "`", 1, true) or text:find("`" .. name .. ".h`", 1, true),
          ("src/%s/README.md does not name %s"):format(room, name))
      end
    end
  end)

  it("keep Lua in the binding and the codec", function()
    for _, path in ipairs(lines_of("find src -name '*.[ch]'")) do
      local module = c_module(path)
      if module ~= "lua" and module ~= "codec" then
        assert.is_nil(support.read_file(path):match("#%s*include%s+<(l[ua][ux][^>]*)>"), path .. " includes Lua")
      end
    end
  end)

  it("are small: a file has at most 400 lines, a function at most 50", function()
    local found, functions = {}, 0
    for _, path in ipairs(lines_of("find src -name '*.[ch]'")) do
      local number, first, before = 0, nil, ""
      for line in io.lines(path) do
        number = number + 1
        local opens = line:match "^[%a_].*{$" and not line:match "^%l* ?enum" and not line:match "^typedef"
        if opens and (line .. before):find("(", 1, true) then first = number end
        if first and line:match "^}" then
          functions = functions + 1
          local lines = number - first + 1
          if lines > 50 then found[#found + 1] = ("%s:%d: %d lines"):format(path, first, lines) end
          first = nil
        end
        before = line
      end
      if number > 400 then found[#found + 1] = ("%s: %d lines"):format(path, number) end
    end
    assert.same({}, found)
    assert.is_true(functions > 700, functions)
  end)

  -- What else an object may call, none of which makes a system call, but for more memory.
  local PURE = {
    "^mg_", "^luaL?_", "^_GLOBAL_OFFSET_TABLE_$", "^__stack_chk_fail$", -- ours, Lua's, the compiler's
    "^_*mem%l+$", "^_*mem%l+_chk$", "^_*str%l+$", "^_*str%l+_chk$", "^_*snprintf", "sscanf$", "^frexp$",
    "^malloc$", "^malloc_usable_size$", "^calloc$", "^realloc$", "^free$", "^mallopt$",
    "^sig%l+set$", "^environ$", "^getenv$", "^fileno$", "^stdin$", "^__errno_location$", -- words in memory
    "^inet_ntop$",
  }

  local function pure(symbol)
    for _, pattern in ipairs(PURE) do
      if symbol:find(pattern) then return true end
    end
    return false
  end

  local function object_of(path) return (path:gsub("^src", "build-faults/obj"):gsub("c$", "o")) end

  local symbols                                 -- from an object to its symbols, both kinds

  local function read_symbols()
    symbols = {}
    for i, path in ipairs(C_SOURCES) do
      symbols[i] = object_of(path)
      symbols[symbols[i]] = { defined = {}, used = {} }
    end
    for _, line in ipairs(lines_of("nm -A " .. table.concat(symbols, " "))) do
      local object, kind, symbol = line:match "^([^:]+):.- (%a) ([%w_]+)"
      if kind == "U" or kind == "w" then table.insert(symbols[object].used, symbol)
      elseif kind and kind == kind:upper() then table.insert(symbols[object].defined, symbol) end
    end
  end

  -- The symbols that a module defines, and those that it uses.
  local function symbols_of(path)
    if not symbols then read_symbols() end
    local object = object_of(path)
    local of = symbols[object]
    assert.is_true(#of.defined + #of.used > 0, "nm " .. object .. " gives nothing (make faults)")
    return of.defined, of.used
  end

  it("leave all system calls to sys, where tests can make them fail: so say the symbols of the objects", function()
    local found, ours = {}, 0
    for _, path in ipairs(C_SOURCES) do
      local _, used = symbols_of(path)
      for _, symbol in ipairs(used) do
        if c_module(path) == "sys" then ours = ours + 1
        elseif not pure(symbol) then found[#found + 1] = path .. " calls " .. symbol end
      end
    end
    assert.same({}, found)
    assert.is_true(ours > 60)
  end)

  it("have no circles: no file calls one that calls it, or one that does in turn", function()
    local home, calls = {}, {}
    for _, path in ipairs(C_SOURCES) do
      local defined
      defined, calls[path] = symbols_of(path)
      for _, symbol in ipairs(defined) do home[symbol] = path end
    end
    local state, circles = {}, {}
    local function visit(path, way)
      state[path] = "open"
      for _, symbol in ipairs(calls[path]) do
        local to = home[symbol]
        if to and to ~= path and state[to] == "open" then
          circles[#circles + 1] = ("%s, %s calls %s of %s"):format(way, path, symbol, to)
        elseif to and not state[to] then
          visit(to, way .. ", " .. path)
        end
      end
      state[path] = "done"
    end
    for _, path in ipairs(C_SOURCES) do
      if not state[path] then visit(path, "from") end
    end
    assert.same({}, circles)
  end)
end)

describe("the files of the tree", function()
  it("name no machine path and no registry host", function()
    -- Put together, so that this file does not name them either.
    local forbidden = {
      "/" .. "home/", "/" .. "root/", "/" .. "work/", "/" .. "Users/", "luarocks" .. "%.org",
      "npmjs" .. "%.", "pypi" .. "%.", "docker" .. "%.io", "ghcr" .. "%.io",
    }
    local found = {}
    for _, path in ipairs(tree()) do
      local text = support.read_file(path) or ""
      for _, pattern in ipairs(forbidden) do
        local where = text:find(pattern)
        if where then
          local _, newlines = text:sub(1, where):gsub("\n", "")
          found[#found + 1] = ("%s:%d: %s"):format(path, newlines + 1, text:match("[^\n]*", where))
        end
      end
    end
    assert.same({}, found)
  end)

  it("have lines of at most 120 columns and no trailing blanks", function()
    local found = {}
    for _, path in ipairs(tree()) do
      local written = path:match("%.[ch]$") or (path:match("%.lua$") and not path:match("^library/"))
      if written or path == "Makefile" or path == "bin/minigun" then
        local number = 0
        for line in io.lines(path) do
          number = number + 1
          if utf8.len(line) == nil or utf8.len(line) > 120 or line:match("[ \t\r]$") then
            found[#found + 1] = path .. ":" .. number
          end
        end
      end
    end
    assert.same({}, found)
  end)
end)

-- Modules whose classes the user's code meets: there, methods are public too. Elsewhere, what the module returns is.
local FACES = { init = true, pipeline = true, inheritance = true, context = true, result = true, stats = true,
  background = true, spool = true }

describe("documentation in the sources", function()
  for _, path in ipairs(LUA_SOURCES) do
    it("stands before each public function of " .. path, function()
      local found, documented, number = {}, false, 0
      local exported = support.read_file(path):match("\nreturn ([%a_]%w*)%s*$")
      local face = FACES[path:match("([%w_]+)%.lua$")]
      for line in io.lines(path) do
        number = number + 1
        local owner = line:match("^function ([%w_]+)[.:]%a")
        if owner and (face or owner == exported) and not documented then
          found[#found + 1] = ("%s:%d: %s"):format(path, number, line)
        end
        documented = line:match("^%-%-%-") ~= nil or (documented and line:match("^%-%-") ~= nil)
      end
      assert.same({}, found)
    end)
  end

  it("stands before each function of a C header", function()
    local found = {}
    for _, path in ipairs(files("src", "*.h")) do
      local previous = ""
      for line in io.lines(path) do
        if line:match("^%a[%w_ ]*[ *]mg_[%w_]+%(") and not line:match("^static") and previous:match("^%s*$") then
          found[#found + 1] = path .. ": " .. line
        end
        previous = line
      end
    end
    assert.same({}, found)
  end)

  it("is what docs/reference.md and library/minigun.lua were made from", function()
    local result = support.run("lua5.4 docs/generate.lua --check")
    assert.same({ 0, "" }, { result.code, result.stderr })
  end)

  it("of the examples is what docs/tutorial.md was made from", function()
    local result = support.run("lua5.4 docs/generate_tutorial.lua --check")
    assert.same({ 0, "" }, { result.code, result.stderr })
  end)

  it("of the command is what docs/command.md was made from", function()
    local result = support.run("lua5.4 docs/generate_command.lua --check")
    assert.same({ 0, "" }, { result.code, result.stderr })
  end)

  it("has types for each function of the core and its objects, and no other: library/minigun.core.meta.lua", function()
    local described, class, of, params = {}, nil, {}, {}
    for line in io.lines "library/minigun.core.meta.lua" do
      class = line:match "^%-%-%-@class ([%w_.]+)" or class
      local variable = line:match "^local (%w+) = {}$"
      if variable then of[variable] = class end
      params[#params + 1] = line:match "^%-%-%-@param ([%w_.]+)"
      local owner, name, list = line:match "^function (%w+)[.:]([%w_]+)%((.-)%) end$"
      if owner then
        assert.equal(list, table.concat(params, ", "), of[owner] .. "." .. name .. ": its parameters and their types")
        described[#described + 1], params = of[owner] .. "." .. name, {}
      end
    end
    local there = {}
    local function add(name, functions)
      for key, value in pairs(functions) do
        if type(value) == "function" and key:sub(1, 2) ~= "__" then there[#there + 1] = name .. "." .. key end
      end
    end
    add("minigun.core", require "minigun.core")
    for name, value in pairs(debug.getregistry()) do -- luaL_newmetatable has put the types there
      local methods = type(name) == "string" and name:find "^minigun%." and type(value) == "table" and value.__index
      if methods then add(name, methods) end
    end
    table.sort(described)
    table.sort(there)
    assert.same(there, described)
  end)

  it("stands at the head of each example", function()
    for _, path in ipairs(lines_of("ls examples/*.lua 2>/dev/null")) do
      assert.matches("^%-%-", support.read_file(path):gsub("^#![^\n]*\n", ""), nil, nil, path .. " has no head comment")
    end
  end)
end)
