-- The rooms of lua/minigun/: which room may use which. A file that requires a module of another room is a fault, unless
-- the breach is in the list below, which may only get shorter.

local support = require "spec.support"

-- From a room to the rooms that it may use besides itself; "core" is the library's part in C.
local MAY_USE <const> = {
  base = {},
  policy = { "base" },
  store = { "base", "core" },
  system = { "base", "core" },
  loops = { "base", "system", "core" },
  futures = { "base", "system", "core" },
  handlers = { "base", "policy", "system", "loops", "core" },
  sources = { "base", "store", "system", "handlers", "core" },
  language = { "base", "policy", "store", "sources" },
  plan = { "base", "policy", "language" },
  child = { "base", "policy", "system", "handlers", "core" },
  contexts = { "base", "policy", "system", "handlers", "child", "core" },
  run = { "base", "policy", "store", "system", "sources", "handlers", "plan", "child", "contexts", "core" },
  view = { "base" },
  service = { "base", "system", "futures", "core" },
  supervisor = { "base", "system", "loop", "core" },
  control = { "base", "system", "handlers", "language", "plan", "run", "view", "core" },
  cluster = { "base", "policy", "handlers", "child", "contexts", "core", "redis" },
  command = { "base", "system", "language", "plan", "view", "control", "supervisor", "cluster", "redis" },
  executor = { "base", "system", "handlers", "language", "run", "futures", "control", "core" },
}

-- What a single file may use beside that: the core's numbers, which say how C and Lua understand each other.
local ALONE <const> = { ["base/protocol -> core"] = true }

-- Known breaches: "file -> module". Each is a thing to mend.
local BREACHES <const> = {
}

local lines_of = support.lines_of

local FILES <const> = lines_of "find lua/minigun -mindepth 2 -name '*.lua'"

local function room_of(path) return path:match "^lua/minigun/([^/]+)/" end

-- What a file requires of the library: list of module names without "minigun.".
local function required(path)
  local list = {}
  for name in support.read_file(path):gmatch 'require *%(?"minigun%.([%w_.]+)"' do list[#list + 1] = name end
  return list
end

describe("the rooms", function()
  it("are all in the list, and each has a page that says what it is for", function()
    local found = {}
    for _, path in ipairs(lines_of "find lua/minigun -mindepth 1 -maxdepth 1 -type d") do
      local room = path:match "[^/]+$"
      found[room] = true
      assert.is_table(MAY_USE[room], room .. " is not in the list of rooms")
      assert.is_truthy(support.read_file(path .. "/README.md"):find("# " .. room, 1, true))
      assert.is_truthy(support.read_file "HACKING.md":find("| `" .. room .. "/` |", 1, true), room)
    end
    for room in pairs(MAY_USE) do assert.is_true(found[room], room .. " is not there") end
  end)

  it("hold every module but the door", function()
    assert.same({ "lua/minigun/init.lua", "lua/minigun/loop.lua", "lua/minigun/pipeline.lua" },
      lines_of "find lua/minigun -maxdepth 1 -name '*.lua'")
  end)

  it("use only the rooms that they may use", function()
    local known, found = {}, {}
    for _, breach in ipairs(BREACHES) do known[breach] = true end
    for _, path in ipairs(FILES) do
      local own, may = room_of(path), {}
      for _, room in ipairs(MAY_USE[own] or {}) do may[room] = true end
      for _, name in ipairs(required(path)) do
        local room = name:match "^([^.]+)%." or name
        local breach = path:match "^lua/minigun/(.*)%.lua$" .. " -> " .. name
        if room ~= own and not may[room] and not ALONE[breach] then
          if not known[breach] then found[#found + 1] = breach end
          known[breach] = nil
        end
      end
    end
    assert.same({}, found)
    assert.is_nil(next(known), "no breach any more, take it out of the list: " .. tostring(next(known)))
  end)

  it("hold classes whose methods are their own: none is copied from another file's", function()
    local found = {}
    for _, path in ipairs(FILES) do
      local text = support.read_file(path)
      for _, copies in ipairs { "pairs%s*%(%s*require", "%u[%w_]*%[name%]%s*=%s*[%w_]+[%w_.]*%[name%]",
        "%u[%w_]*%[name%]%s*=%s*method" } do
        if text:find(copies) then found[#found + 1] = path end
      end
    end
    assert.same({}, found)
  end)

  it("do not depend on each other in a circle", function()
    local state = {}
    local function visit(room, way)
      assert.are_not.equal("open", state[room], "a circle: " .. way)
      if state[room] then return end
      state[room] = "open"
      for _, other in ipairs(MAY_USE[room] or {}) do visit(other, way .. " -> " .. other) end
      state[room] = "done"
    end
    for room in pairs(MAY_USE) do visit(room, room) end
  end)
end)
