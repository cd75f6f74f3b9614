-- The pages of docs/ that teach: their programs run, and each block prints what the page says.

local pages = require "spec.pages"
local support = require "spec.support"

for _, page in ipairs { "coming-from", "executor", "recipes", "symptoms" } do
  describe("docs/" .. page .. ".md", function()
    local programs = pages.programs("docs/" .. page .. ".md")

    for _, program in ipairs(programs) do
      it(("line %d: the program prints what the page says"):format(program[1].line), function()
        support.deadline(60)
        pages.run(program, page .. ".lua")
      end)
    end

    it("has programs", function()
      assert.is_true(#programs > 0)
    end)
  end)
end

describe("docs/reference_examples.md", function()
  it("every example prints what the page says", function()
    support.deadline(240)
    pages.run(pages.examples "docs/reference_examples.md", "reference.lua")
  end)
end)

-- Its last column names the tests that prove a row: `crash: "kill -9 at random moments"`, "..." for what is left out.
describe("docs/failures.md", function()
  it("names tests that are there", function()
    local missing, count, file = {}, 0, nil
    for line in io.lines "docs/failures.md" do
      local cell = line:match "|([^|]*)|$" or ""
      for name, title in cell:gmatch '([%w_]*):? ?"([^"]+)"' do
        if name ~= "" then file = ("spec/%s_spec.lua"):format(name) end
        local text = support.read_file(file) or ""
        for part in (title:gsub("^a handler that ", "") .. "..."):gmatch "%s*(.-)%s*%.%.%." do
          if not text:find(part, 1, true) then missing[#missing + 1] = file .. ": " .. part end
        end
        count = count + 1
      end
    end
    assert.same({}, missing)
    assert.is_true(count > 40)
  end)
end)
