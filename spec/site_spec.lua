-- The site: `make site` gives pages whose links all lead somewhere, anchors too.

local support = require "spec.support"

-- Links of a page: file and anchor, as the page has them.
local function links_of(html)
  local list = {}
  for target in html:gmatch 'href="([^"]*)"' do
    if not target:find "^%a[%w+.-]*:" then list[#list + 1] = { target:match "^([^#]*)#?(.*)$" } end
  end
  return list
end

local function normal(path)
  local parts = {}
  for part in path:gmatch "[^/]+" do
    if part == ".." then parts[#parts] = nil elseif part ~= "." then parts[#parts + 1] = part end
  end
  return "/" .. table.concat(parts, "/")
end

describe("the site", function()
  local directory
  before_each(function()
    directory = os.tmpname()
    os.remove(directory)
  end)
  after_each(function() support.remove_tree(directory) end)

  it("has pages for README, docs and examples, a search, and no link that leads nowhere", function()
    if not support.has "mkdocs" then return pending "mkdocs is not installed" end
    support.deadline(120)
    local made = support.run(("make -s site SITE=%s"):format(directory), { timeout = 100, env = { MAKEFLAGS = "" } })
    assert.equal(0, made.code, made.stdout .. made.stderr)
    local html, ids, dead = {}, {}, {}
    for _, path in ipairs(support.lines_of(("find %s/html -name '*.html'"):format(directory))) do
      html[path], ids[path] = support.read_file(path), {}
      for id in html[path]:gmatch '%f[%w]id="([^"]*)"' do ids[path][id] = true end
    end
    for _, name in ipairs { "index", "reference", "command", "how-it-works", "examples/001_hello" } do
      assert.is_truthy(html[("%s/html/%s.html"):format(directory, name)], name)
    end
    assert.is_truthy(support.read_file(directory .. "/html/search/search_index.json"):find("processes", 1, true))
    for path, text in pairs(html) do
      for _, link in ipairs(links_of(text)) do
        local target = link[1] == "" and path or normal(path:match "^(.*/)" .. link[1])
        local known = html[target] or io.open(target)
        if not known or link[2] ~= "" and ids[target] and not ids[target][link[2]] and not path:find "404" then
          dead[#dead + 1] = ("%s: %s#%s"):format(path:sub(#directory + 7), link[1], link[2])
        end
        if io.type(known) == "file" then known:close() end
      end
    end
    assert.same({}, dead)
  end)
end)
