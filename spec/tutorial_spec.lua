-- The pages of docs/ that teach: their programs run, and each block prints what the page says.

local pages = require "spec.pages"
local support = require "spec.support"

for _, page in ipairs { "tutorial", "coming-from" } do
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
