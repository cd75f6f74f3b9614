-- Which rules of the conformance list the specs prove, and in which contexts: read off the titles of all tests, which
-- begin with the numbers of their rules and name the context they run in, as "[processes(2)]" or "inline: ...".
local contexts = require "spec.contexts"
local lfs = require "lfs"

local RULES <const> = 84

-- Rules that are not proved yet. This list may only become shorter.
local MISSING <const> = {}

local ALL <const> = { "inline", "threads", "processes", "process_per_batch" }
local NONE <const>, FORKED <const> = {}, { "processes", "process_per_batch" }

-- Where a rule has to hold, if not everywhere. NONE: it is about definitions, or names its contexts itself.
local APPLIES <const> = {
  [2] = NONE, [15] = NONE, [24] = { "process_per_batch" }, [25] = { "processes" }, [26] = NONE, [27] = NONE,
  [28] = NONE, [29] = NONE, [36] = FORKED, [37] = NONE, [38] = NONE, [47] = FORKED, [48] = FORKED, [57] = NONE,
  [58] = NONE, [62] = FORKED, [63] = { "processes" }, [70] = NONE, [76] = FORKED, [79] = NONE,
}

-- Calls f with the title of every test that a spec file defines; none of them runs.
local function each_title(path, f)
  local names = {}
  local function test(name)
    names[#names + 1] = name
    f(table.concat(names, " "))
    names[#names] = nil
  end
  local function group(name, body)
    names[#names + 1] = name
    body()
    names[#names] = nil
  end
  local function nothing() end
  local env = setmetatable({
    describe = group, context = group, insulate = group, expose = group, it = test, spec = test, test = test,
    pending = nothing, setup = nothing, teardown = nothing, lazy_setup = nothing, lazy_teardown = nothing,
    strict_setup = nothing, strict_teardown = nothing, before_each = nothing, after_each = nothing,
    finally = nothing, io = setmetatable({ stdout = { write = nothing } }, { __index = io }),
  }, { __index = _G })
  assert(loadfile(path, "t", env))()
end

-- The kinds of contexts that a title names.
local function kinds_in(title)
  local kinds = {}
  local function find(text)
    for _, kind in ipairs(ALL) do
      if text:find("%f[%w_]" .. kind .. "%f[^%w_]") then kinds[kind] = true end
    end
  end
  for text in title:gmatch "%[(.-)%]" do find(text) end
  for text in title:gmatch "%f[%w_]([%w_]+%(?%d*%)?): " do find(text) end
  return kinds
end

describe("the rules of conformance", function()
  local proved, unknown, titles = {}, {}, 0

  setup(function()
    for name in lfs.dir "spec" do
      if name:find "_spec%.lua$" and name ~= "conformance_spec.lua" then
        each_title("spec/" .. name, function(title)
          titles = titles + 1
          local kinds = kinds_in(title)
          for digits in title:gmatch "%f[%w]R(%d+)%f[^%w]" do
            local number = math.tointeger(digits)
            if number < 1 or number > RULES then unknown[#unknown + 1] = title end
            proved[number] = proved[number] or {}
            for kind in pairs(kinds) do proved[number][kind] = true end
          end
        end)
      end
    end
  end)

  it("are proved, each of them", function()
    assert.is_true(titles > 1000)
    local missing = {}
    for number = 1, RULES do
      if (proved[number] == nil) ~= (MISSING[number] or false) then missing[#missing + 1] = number end
    end
    assert.same({}, missing)
    assert.same({}, unknown)
  end)

  it("are proved in every context that they are for", function()
    local missing = {}
    for number in pairs(proved) do
      for _, kind in ipairs(APPLIES[number] or ALL) do
        if not proved[number][kind] then missing[#missing + 1] = ("R%d in %s"):format(number, kind) end
      end
    end
    table.sort(missing)
    assert.same({}, missing)
  end)

  it("know every kind of context that the common table has", function()
    local known = {}
    for _, kind in ipairs(ALL) do known[kind] = true end
    for _, context in ipairs(contexts.all) do assert.is_true(known[context.name:match "^[%a_]+"], context.name) end
  end)
end)
