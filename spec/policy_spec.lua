-- The room of decisions: each of its files can be loaded and used where there is neither a clock nor the part in C, and
-- each has a spec that does so.

local route = require "minigun.policy.route"
local support = require "spec.support"

local FILES <const> = {}
for path in io.popen "ls lua/minigun/policy/*.lua":lines() do FILES[#FILES + 1] = path:match "([^/]+)%.lua$" end

describe("policy", function()
  it("needs neither a clock nor the core to be loaded", function()
    local done = support.run(([[exec lua5.4 -e '
      local numbers = setmetatable({}, { __index = function() return 1 end }) -- those that C and Lua agree on
      package.loaded["minigun.core"] = setmetatable({ protocol = numbers }, { __index = function(_, name)
        error("policy asks the core for " .. name, 0)
      end })
      os.clock, os.time, os.date = nil, nil, nil
      for name in ("%s"):gmatch("%%S+") do require("minigun.policy." .. name) end
      print "loaded"']]):format(table.concat(FILES, " ")), { env = support.lua_env() })
    assert.equal("loaded\n", done.stdout, done.stderr)
  end)

  it("has a spec for each file", function()
    local specs = ""
    for path in io.popen "ls spec/*_spec.lua":lines() do specs = specs .. support.read_file(path) end
    for _, name in ipairs(FILES) do
      assert.is_truthy(specs:find('require "minigun.policy.' .. name .. '"', 1, true), name .. " has no spec")
    end
  end)

  it("asks for no time of its own", function()
    for _, name in ipairs(FILES) do
      local text = support.read_file("lua/minigun/policy/" .. name .. ".lua")
      assert.is_nil(text:find "os%.clock" or text:find "os%.time", name)
    end
  end)
end)

describe("a route", function()
  local A <const>, B <const>, AB <const> = { 2, name = "a" }, { 3, name = "b" }, { 2, 3, name = "ab" }

  local function stage(fields)
    local own = { at = "x.lua:1", name = "s", groups = { A, B } }
    for key, value in pairs(fields) do own[key] = value end
    return own
  end

  it("of a terminal stage has nothing to choose", function()
    assert.is_nil(route.new(stage { route = "round_robin", terminal = true }))
  end)

  it("deals in turn, each process from another one on", function()
    local choose, got = route.new(stage { route = "round_robin" }), {}
    local other = route.new(stage { route = "round_robin" }, 1)
    for i = 1, 3 do got[i] = choose().name .. other().name end
    assert.same({ "ab", "ba", "ab" }, got)
  end)

  it("asks a function, which names one target or several", function()
    local choose = route.new(stage { route = function(item) return item end, answers = { a = A, b = B, ab = AB } })
    assert.same({ 2, name = "a" }, choose "a")
    assert.same({ 2, 3 }, { table.unpack(choose "ab") })
    assert.same({ 3, 2, 3 }, choose { "b", "ab" })
    assert.same({}, choose {})
    for _, answer in ipairs { "c", 7, { "a", "c" } } do
      local ok, message = pcall(choose, answer)
      assert.is_false(ok)
      assert.matches("^x.lua:1: route of stage 's' gave .-, which is none of its targets %(there are: a, b%)$", message)
    end
  end)

  it("of one item knows names, and says what is wrong with another one", function()
    local addresses = { a = 2, ab = { 2, 3 }, c = "emit:to: there is no stage 'c'" }
    assert.same({ 2 }, route.resolve(addresses, "a", 1, 1))
    assert.same({ 2, 3 }, route.resolve(addresses, "ab", 1, 1))
    assert.matches("no stage 'c'", select(2, pcall(route.resolve, addresses, "c", 1, 1)))
    assert.matches("nil cannot be emitted", select(2, pcall(route.resolve, addresses, "a", nil, 1)))
    assert.is_false(pcall(route.check_colon, "a", 1))
    route.check_colon({}, 1)
  end)
end)
