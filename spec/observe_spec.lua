-- docs/observe.md: its programs print what it says, and its table of keys is the view's own.
local pages = require "spec.pages"
local screens = require "spec.screens"
local support = require "spec.support"

local TEXT <const> = support.read_file "docs/observe.md"

describe("docs/observe.md", function()
  it("has programs that print what the page says", function()
    local n = 0
    for program, printed in TEXT:gmatch "```lua\n(.-)```\n\n```text\n(.-)```" do
      n = n + 1
      local result = support.run_lua(program)
      assert.equal(0, result.code, result.stderr)
      pages.assert_output({ { printed } }, result.stdout)
    end
    assert.equal(2, n)
  end)

  it("names every key of the view's help, and no other", function()
    local help = screens.text(screens.status({}, ""), { "h" }, { port = screens.RUN })
    local keys = TEXT:match "| key | what it does |(.-)\n\n"
    for key in ("W e l o O w a s d 0 + - c r p x K S q Q h / Enter Tab space"):gmatch "%S+" do
      assert.is_truthy(keys:find("`" .. key .. "`", 1, true) or keys:find(key, 1, true), key .. " is not in the page")
      assert.is_truthy(help:find("%f[%w%p]" .. key:gsub("%p", "%%%0") .. "%f[^%w%p]") or help:find(key, 1, true),
        key .. " is not in the help")
    end
  end)
end)
