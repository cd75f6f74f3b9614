-- The contract of a place: each kind keeps it, and a further kind needs its own file and one line (base/kinds.lua).
local contract = require "minigun.contexts.contract"
local fake = require "spec.fake_pool"
local inline = require "minigun.contexts.inline"
local support = require "spec.support"
local threads = require "minigun.contexts.threads"

-- The methods that the contract's first page lists.
local function methods()
  local list = {}
  local page = support.read_file "lua/minigun/contexts/contract.lua"
  local text = page:match "and the methods\n(.-)%-%- A new kind of place"
  for name in text:gmatch "\n?%-%-     ([%a_]+)%(" do list[#list + 1] = name end
  assert(#list > 13, "the contract lists " .. #list .. " methods")
  return list
end

describe("every place", function()
  local places = {
    workers = function() return (fake.place(1)) end,
    ["a worker for each item"] = function() return (fake.place(1, { items_per_worker = 1 })) end,
    threads = function()
      return threads.new(fake.port(fake.pool()), { kind = "threads", n = 2, name = "work", stages = { 1 }, width = 0 })
    end,
    inline = function()
      return inline.new({ stages = {}, segments = {} }, { pid = 1, process = 1, patient = false })
    end,
  }

  for name, make in pairs(places) do
    it("has all methods and fields of the contract: " .. name, function()
      local place = make()
      for _, method in ipairs(methods()) do assert.is_function(place[method], method) end
      assert.is_true(place.takes == "values" or place.takes == "bytes")
      assert.is_boolean(place.here)
      assert.is_boolean(place.fresh)
      assert.is_table(place.plan.stages)
    end)
  end

  it("has no other words for what all do: a kind begins with the methods of every place", function()
    local kind = contract.kind()
    assert.equal(contract.Place.take, kind.take)
    assert.are_not.equal(contract.kind(), kind)
  end)
end)

describe("a further kind of context", function()
  it("needs its own file and one line", function()
    local done = support.run("lua5.4 spec/programs/toy_context.lua", { timeout = 60, env = support.lua_env() })
    assert.equal("fine\n", done.stdout .. done.stderr)
  end)
end)
