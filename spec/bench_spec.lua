-- The benchmarks work: a run of a few items gives checked figures, and tables and chart are made from what it has
-- written. How fast anything is, is not tested.

local support = require "spec.support"

-- The modules of bench/ look for each other by their plain names.
local function from_bench(name)
  local path = package.path
  package.path = "./bench/?.lua;" .. path
  local module = require(name)
  package.path = path
  return module
end

local json = from_bench "json"

describe("a benchmark run", function()
  local out, run = os.tmpname(), nil

  setup(function()
    support.deadline(120)
    local result = support.run("lua5.4 bench/run.lua W10 C1_record S1_64 S2_10 --quick --only minigun --out " .. out,
      { timeout = 30 * support.patience })
    assert.equal(0, result.code, result.stderr)
    run = json.decode(support.read_file(out))
  end)

  teardown(function() os.remove(out) end)

  it("notes machine, date, commit and versions", function()
    local machine = run.machine
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT", machine.date)
    assert.is_true(machine.cores >= 1 and #machine.commit > 0 and machine.runs == 1 and machine.quick)
    assert.matches("^5%.[45]", machine.versions.Lua)
  end)

  it("gives figures of every workload that was asked for, and of no other", function()
    local seen = {}
    for name, per in pairs(run.results) do
      local entry = per["Minigun"]
      assert.is_nil(entry.failure, name .. ": " .. tostring(entry.failure))
      assert.equal(1, entry.runs[1].ok)
      seen[#seen + 1] = name
    end
    table.sort(seen)
    assert.same({ "C1_record", "S1_64", "S2_10", "W10" }, seen)
  end)

  it("is put between the marks of docs/performance.md, and nowhere else", function()
    local page = support.read_file "docs/performance.md"
    local with_figures = from_bench("page").with_figures
    local new = with_figures(page, run, true)
    for _, heading in ipairs { "\n### W10: ", "\n### C1: ", "\n### S1: ", "\n### S2: " } do
      assert.equal(1, select(2, new:gsub(heading, "%0")), heading)
    end
    assert.equal(new, with_figures(new, run, true))
    local before = page:match "^(.-)<!%-%- figures"
    assert.equal(before, new:sub(1, #before))
  end)

  it("is drawn", function()
    local svg = from_bench "chart"(run)
    assert.equal(4, select(2, svg:gsub("<polyline", "")))      -- two programs in two panels
    assert.is_nil(svg:find("nan", 1, true) or svg:find("inf", 1, true))
    local open = {}
    for closing, name, alone in svg:gmatch "<(/?)(%a+)[^<>]-(/?)>" do
      if closing == "/" then
        assert.equal(table.remove(open), name)
      elseif alone == "" then
        open[#open + 1] = name
      end
    end
    assert.same({}, open)
  end)
end)

describe("JSON of the benchmarks", function()
  it("gives back what was written", function()
    local value = { text = 'a"b\\c\n\t\1ü', list = { 1, -2.5, "x", true, false, { 3 } }, empty = {},
      deep = { a = { b = 1e20 } } }
    assert.same(value, json.decode(json.encode(value)))
  end)
end)
