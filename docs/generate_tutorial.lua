-- Makes docs/tutorial.md from the examples: `lua5.4 docs/generate_tutorial.lua [--check]`.
--
-- A chapter is an example: the first paragraphs of its head comment, its code, what it prints, and the comment at its
-- end, which says what to see in it. After it come links to the examples of the same part of examples/README.md.

-- Example, title of its chapter.
local CHAPTERS <const> = {
  { "001_hello", "Hello" },
  { "007_log_errors", "A job" },
  { "106_nested_pipeline", "A pipeline as a stage" },
  { "202_routing", "Other ways than straight on" },
  { "301_contexts", "Where a stage runs" },
  { "305_threads", "Waiting side by side" },
  { "401_batch_then_fork", "Batches, and a process for each" },
  { "501_hooks_in_order", "Hooks" },
  { "505_statistics", "Counting and collecting in workers" },
  { "601_errors_and_retries", "When something goes wrong" },
  { "701_streaming", "Results as they come" },
  { "702_background", "In the background" },
}

local HEAD <const> = [[
# Tutorial

<!-- Made by `make docs` from the files of examples/: change those. -->

From hello to a run in the background, in twelve programs. Each is a file of [examples/](../examples/README.md): run it
with `minigun run FILE`, or in the source tree with `./bin/minigun run examples/001_hello.lua`. The text after each
program is what it prints; text that differs from run to run is `...` here, a
number 4711. (The tests run them all.)
]]

local TAIL <const> = [[
## From here

- [examples/README.md](../examples/README.md): a file for each pattern
- [reference.md](reference.md): every function, option and hook
- [recipes.md](recipes.md): whole small jobs; [symptoms.md](symptoms.md): what to do when something looks wrong
- [failures.md](failures.md): everything that can go wrong, and what you see then
- [coming-from.md](coming-from.md): the same job in the words of other tools
- [how-it-works.md](how-it-works.md): why nothing is lost
]]

local function lines_of(path)
  local lines = {}
  for line in io.lines(path) do lines[#lines + 1] = line end
  return lines
end

-- The text of comment lines, without what they begin with.
local function uncomment(lines, first, last)
  local text = {}
  for i = first, last do text[#text + 1] = lines[i]:gsub("^%-%- ?", "") end
  return (table.concat(text, "\n"):gsub("^\n+", ""):gsub("\n+$", ""))
end

-- A line of the expected output as a program would print it: a pattern ("~ ...") with something in place of its
-- classes.
local function sample(line)
  local pattern = line:match "^~ (.*)$"
  if not pattern then return line end
  return (pattern:gsub("%%S%*", ""):gsub("%%d%+", "4711"):gsub("%.%*", "..."):gsub("%%(%p)", "%1"))
end

-- An example in its parts: the text before and after the code, the code, the lines that it prints.
local function parts_of(name)
  local lines = lines_of(("examples/%s.lua"):format(name))
  local head, expected = 0, nil
  while (lines[head + 1] or ""):find "^%-%-" do
    head = head + 1
    if lines[head]:find "^%-%- Expected output" then expected = head end
  end
  local tail = #lines + 1
  while lines[tail - 1]:find "^%-%-" do tail = tail - 1 end
  local output = {}
  for i = expected + 1, head do output[#output + 1] = sample(lines[i]:gsub("^%-%-   ", "")) end
  return {
    before = uncomment(lines, 1, expected - 1), after = uncomment(lines, tail, #lines),
    code = table.concat(lines, "\n", head + 1, tail - 1):gsub("^\n+", ""):gsub("\n+$", ""),
    output = table.concat(output, "\n"), any_order = lines[expected]:find("any order", 1, true) ~= nil,
  }
end

-- From an example's name to the other examples of its part, in order: { { name, what it shows }, ... }.
local function neighbours()
  local of, part = {}, {}
  for line in io.lines "examples/README.md" do
    if line:find "^## " then part = {} end
    local name, shows = line:match "^| %[([%w_]+)%.lua%]%S+ | (.-) |$"
    if name then
      part[#part + 1] = { name, shows }
      of[name] = part
    end
  end
  return of
end

local function chapter(number, name, title, others)
  local parts = parts_of(name)
  local text = { ("## %d. %s"):format(number, title), parts.before,
    ("`examples/%s.lua`:"):format(name), "```lua\n" .. parts.code .. "\n```",
    parts.any_order and "It prints, in any order:" or "It prints:", "```text\n" .. parts.output .. "\n```" }
  if parts.after ~= "" then text[#text + 1] = parts.after end
  local links = {}
  for _, other in ipairs(others) do
    if other[1] ~= name then
      links[#links + 1] = ("- [%s](../examples/%s.lua): %s"):format(other[1], other[1], other[2])
    end
  end
  text[#text + 1] = "More of this:\n\n" .. table.concat(links, "\n")
  return table.concat(text, "\n\n")
end

local function page()
  local others, told, text = neighbours(), {}, { HEAD }
  for number, entry in ipairs(CHAPTERS) do
    local part = assert(others[entry[1]], entry[1] .. " is not in examples/README.md")
    local shown = chapter(number, entry[1], entry[2], told[part] and {} or part)
    if told[part] then shown = shown:gsub("\n\nMore of this:\n\n$", "") end
    told[part], text[#text + 1] = true, shown .. "\n"
  end
  text[#text + 1] = TAIL
  return table.concat(text, "\n")
end

local PATH <const> = "docs/tutorial.md"
local text, file = page(), io.open "docs/tutorial.md"
local present = file and file:read "a"
if file then file:close() end
if present == text then return end
if arg[1] == "--check" then
  io.stderr:write(PATH, " is not what the examples say; run `make docs` and commit it\n")
  os.exit(1)
end
local out <close> = assert(io.open(PATH, "w"))
assert(out:write(text))
