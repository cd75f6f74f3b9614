-- Makes the pages of the site from README.md, docs/ and examples/, for mkdocs:
-- `lua5.4 docs/generate_site.lua DIRECTORY`. It writes DIRECTORY/mkdocs.yml and DIRECTORY/pages/: the same texts with
-- links that lead to other pages of the site, and a page for each example. `make site` runs mkdocs over them, which
-- fails where a link leads nowhere.

local TARGET <const> = assert(arg[1], "usage: lua5.4 docs/generate_site.lua DIRECTORY")

-- The contents: title of a part, its pages; a page is { title, file of the tree }.
local CONTENTS <const> = {
  { "Begin", { { "Minigun", "README.md" }, { "Tutorial", "docs/tutorial.md" }, { "Recipes", "docs/recipes.md" },
    { "When it pays", "docs/when-it-pays.md" }, { "Coming from", "docs/coming-from.md" } } },
  { "Use", { { "Reference", "docs/reference.md" }, { "Command line", "docs/command.md" },
    { "See it run", "docs/observe.md" }, { "Executors", "docs/executor.md" }, { "Services", "docs/service.md" },
    { "Servers", "docs/server.md" }, { "Clusters", "docs/cluster.md" },
    { "Event loops", "docs/loops.md" }, { "Symptoms", "docs/symptoms.md" } } },
  { "Know", { { "How it works", "docs/how-it-works.md" }, { "Failures", "docs/failures.md" },
    { "Reliability", "docs/reliability.md" }, { "Performance", "docs/performance.md" },
    { "Scaling", "docs/scaling.md" }, { "Wire format", "docs/wire-format.md" },
    { "Service protocol", "docs/service-protocol.md" }, { "Changes", "CHANGELOG.md" } } },
  { "Change", { { "The sources", "HACKING.md" }, { "Where is what", "docs/where.md" } } },
}

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return text
end

local function write(path, text)
  local directory = path:match "^(.*)/"
  assert(os.execute(("mkdir -p '%s'"):format(directory)))
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function lines_of(command)
  local list = {}
  local pipe = assert(io.popen(command))
  for line in pipe:lines() do list[#list + 1] = line end
  pipe:close()
  return list
end

-- From a file of the tree to its page, as a path below pages/.
local page_of = {}

local function plan_pages()
  for _, part in ipairs(CONTENTS) do
    for i = #part[2], 1, -1 do
      local path = part[2][i][2]
      if read(path) then page_of[path] = path == "README.md" and "index.md" or path:gsub("^docs/", ""):lower()
      else table.remove(part[2], i) end
    end
  end
  for _, path in ipairs(lines_of "find examples -name '*.lua' -o -path '*examples*' -name '*.md' | sort") do
    page_of[path] = path:gsub("README%.md$", "index.md"):gsub("%.lua$", ".md")
  end
  for _, path in ipairs(lines_of "find docs -name '*.svg' -o -name '*.png'") do
    page_of[path] = path:gsub("^docs/", "")
  end
end

-- "docs/../examples/x.lua" as "examples/x.lua".
local function normal(path)
  local parts = {}
  for part in path:gmatch "[^/]+" do
    if part == ".." then parts[#parts] = nil elseif part ~= "." then parts[#parts + 1] = part end
  end
  return table.concat(parts, "/")
end

local function directory_of(path) return path:match "^(.*/)[^/]*$" or "" end

-- The way from one page to another.
local function relative(from, to)
  local up = select(2, directory_of(from):gsub("/", ""))
  return ("../"):rep(up) .. to
end

-- A text with links to other pages of the site; a link to what is no page becomes its words.
local function with_links(text, path, page)
  local function lead(mark, words, target, anchor)
    if target:find "^%a+:" then return nil end
    local found = target == "" and page or page_of[normal(directory_of(path) .. target)]
    if not found then return mark == "!" and "" or words:sub(2, -2) end
    return ("%s%s(%s%s)"):format(mark, words, target == "" and "" or relative(page, found), anchor)
  end
  return (text:gsub("(!?)(%b[])%(([^()%s#]*)(#?[^()%s]*)%)", lead))
end

-- An example: the comment at its head is text, the rest is code.
local function page_of_example(path)
  local text = read(path)
  local name = path:match "([^/]+)%.lua$"
  return ("# %s\n\n`%s`\n\n```lua\n%s\n```\n"):format(name, path, (text:gsub("\n+$", "")))
end

local function contents()
  local lines = { "site_name: Minigun", "site_description: pipelines over every core of a machine, for Lua",
    "docs_dir: pages", "site_dir: html", "use_directory_urls: false", "strict: true", "theme:", "  name: mkdocs",
    "plugins:", "  - search", "markdown_extensions:", "  - tables", "  - fenced_code", "  - toc:",
    "      permalink: true", "nav:" }
  for _, part in ipairs(CONTENTS) do
    lines[#lines + 1] = ("  - %s:"):format(part[1])
    for _, each in ipairs(part[2]) do lines[#lines + 1] = ('    - "%s": %s'):format(each[1], page_of[each[2]]) end
  end
  lines[#lines + 1] = "  - Examples:"
  for _, path in ipairs(lines_of "find examples -name '*.md' -o -name '*.lua' | sort") do
    local name = path:find "README" and "All" or path:gsub("^examples/", ""):gsub("%.lua$", "")
    lines[#lines + 1] = ('    - "%s": %s'):format(name, page_of[path])
  end
  return table.concat(lines, "\n") .. "\n"
end

plan_pages()
for path, page in pairs(page_of) do
  local text = path:find "%.lua$" and page_of_example(path) or read(path)
  if path:find "%.md$" then text = with_links(text, path, page) end
  write(TARGET .. "/pages/" .. page, text)
end
write(TARGET .. "/mkdocs.yml", contents())
