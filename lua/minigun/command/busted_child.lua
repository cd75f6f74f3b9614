-- A process of `minigun busted` (busted_workers.lua): busted's own runner, which takes its spec files one after the
-- other from what all such processes share, and writes down what busted tells of them. It is the suite's own process:
-- nothing is loaded into it but busted. Without a number in MINIGUN_BUSTED it is busted as its own command is; a file
-- that is named there is not empty after its end.
--
-- The directory has:
--   files    the paths, each with a zero byte after it, in the order in which they are to be begun
--   next-K   file K is the next one. Who renames this to next-K+1 has taken file K; nothing else is shared.
-- and of process N, which is the environment's second word; a third one is a file that it begins with:
--   N.told   Lua tables, one a line, with a comma: { begun = K }; an event of busted's { channel =, n =, element,
--            parent, ... }; { ended = K, seconds = }; { whole = true }: it has come to its end. They have also `out`
--            and `err`, how long N.out and N.err were then.
--   N.out, N.err   what is printed
-- Each line is flushed: what a process has told before it died counts.

-- Under the name that busted has in its own messages.
local runner = assert(load("require 'busted.runner' { standalone = false }", "@busted"))

local function whole_suite(path)
  local loader = require "busted.modules.output_handler_loader"
  package.loaded["busted.modules.output_handler_loader"] = function()
    return function(busted, ...)
      busted.subscribe({ "exit" }, function()
        if path then assert(io.open(path, "w")):write("whole"):close() end
        return nil, true
      end)
      return loader()(busted, ...)
    end
  end
  runner()
end

local directory, own, first = (os.getenv "MINIGUN_BUSTED" or ""):match "^(%S+) (%d+) ?(%d*)$"
if not directory then return whole_suite(os.getenv "MINIGUN_BUSTED") end

-- Tests may put functions of their own in the place of these.
local find, format, gsub = string.find, string.format, string.gsub
local concat, io_type, math_type, next, select, tostring, type = table.concat, io.type, math.type, next, select,
  tostring, type

local LEFT_OUT <const> = { env = true, run = true, parent = true }
local DEEPEST <const> = 8
local SPACIOUS <const> = 64 * 1024 -- KiB
local STDOUT <const>, STDERR <const> = io.stdout, io.stderr
local PLAIN <const> = { number = true, boolean = true, ["nil"] = true }

local told = assert(io.open(format("%s/%s.told", directory, own), "a"))
local load_file, wrong = nil, false

-- A text as Lua has it, in one line.
local function quoted(text)
  text = format("%q", text)
  return find(text, "[\n\r]") and gsub(gsub(text, "\\\n", "\\n"), "\r", "\\r") or text
end

-- The beginnings of fields, by their keys; nil: a field that is not written down.
local fields = setmetatable({}, { __index = function(self, key)
  local text = type(key) == "string" and quoted(key) or math_type(key) == "integer" and tostring(key)
  if not text or LEFT_OUT[key] then return nil end
  self[key] = "[" .. text .. "]="
  return self[key]
end })

local function text_of(value, depth)
  local kind = type(value)
  if kind == "string" then return quoted(value) end
  if PLAIN[kind] then return format("%q", value) end
  if kind ~= "table" or depth > DEEPEST then return quoted(tostring(value)) end
  local parts, n = {}, 0
  for key, each in next, value do
    local field = fields[key]
    if field and type(each) ~= "function" then
      n = n + 1
      parts[n] = field .. text_of(each, depth + 1)
    end
  end
  return "{" .. concat(parts, ",") .. "}"
end

-- How much has been printed; nil where a test has closed the stream.
local function printed(stream)
  return io_type(stream) == "file" and stream:seek "end" or nil
end

local function tell(line)
  told:write("{out=", tostring(printed(STDOUT)), ",err=", tostring(printed(STDERR)), ",", line, "},\n")
  told:flush()
end

-- Of a file's elements: their numbers, and what of each is written down already.
local numbers, written, count = {}, {}, 0

-- An element is known by its number. What has changed in it is written down; what is in it, lists of other elements,
-- comes with these.
local function element_text(element)
  if type(element) ~= "table" then return "nil" end
  if not numbers[element] then
    count = count + 1
    numbers[element], written[element] = count, {}
  end
  local before, parts, n = written[element], { "id=" .. numbers[element] }, 1
  for key, value in next, element do
    if before[key] ~= value and fields[key] then
      local kind = type(value)
      if kind ~= "function" and not (kind == "table" and type(value[1]) == "table") then
        n = n + 1
        parts[n] = fields[key] .. text_of(value, 2)
      end
      before[key] = value
    end
  end
  return "{" .. concat(parts, ",") .. "}"
end

-- The same of an element around another: of one that is known only its seed may have changed.
local function parent_text(element)
  local before = written[element]
  if not before or before.randomseed ~= element.randomseed then return element_text(element) end
  return "{id=" .. numbers[element] .. "}"
end

local function record(channel)
  local begin = "channel=" .. text_of(channel, 1) .. ",n="
  local bad = channel[1] == "error" or channel[1] == "failure"
  return function(element, parent, ...)
    local n = select("#", ...)
    wrong = wrong or bad
    local parts = { begin .. n + 2, element_text(element), parent and parent_text(parent) or "nil" }
    for i = 1, n do parts[i + 3] = text_of(select(i, ...), 1) end
    tell(concat(parts, ","))
    return nil, true
  end
end

local CHANNELS <const> = { { "file", "start" }, { "file", "end" }, { "describe", "start" }, { "describe", "end" },
  { "test", "start" }, { "test", "end" }, { "pending" } }
for _, kind in ipairs { "failure", "error" } do
  for _, where in ipairs { "it", "file", "describe", "before_each", "after_each", "setup", "teardown", "lazy_setup",
    "lazy_teardown", "strict_setup", "strict_teardown", "suite", "test", "pending", "finally", "helper", "output" } do
    table.insert(CHANNELS, { kind, where })
  end
end

-- In the place of the output handler that is asked for.
local function output_handler_loader()
  return function(busted)
    for _, channel in ipairs(CHANNELS) do busted.subscribe(channel, record(channel)) end
    busted.subscribe({ "exit" }, function()
      tell "whole=true"
      return nil, true
    end)
  end
end

-- In the place of what loads all files before the first is run.
local loader = require "busted.modules.test_file_loader"
local function test_file_loader(busted, loaders)
  local _, load_one = loader(busted, loaders)
  load_file = load_one
  return function() end
end

-- The numbers of the files that this process is to run, and their paths.
local function turns()
  local paths, from, begin = {}, 1, tonumber(first)
  for path in assert(io.open(directory .. "/files")):read("a"):gmatch "%Z+" do paths[#paths + 1] = path end
  return function()
    local turn = begin
    begin = nil
    while not turn and from <= #paths do
      local here = directory .. "/next-"
      if os.rename(here .. from, here .. from + 1) then turn = from end
      from = from + 1
    end
    return turn, paths[turn]
  end
end

local memory = SPACIOUS

-- Takes all that a file has left from the suite, as between two runs of --repeat. Much garbage is collected at once:
-- the next file is quicker in memory that the processor has at hand.
local function forget_file(context, kept)
  local old = context.get()
  context.clear()
  local new = context.get()
  for key, value in pairs(old) do new[key] = value end
  new.file = nil
  for _, child in ipairs(kept) do context.attach(child) end
  numbers, written = {}, {}
  if collectgarbage "count" > memory then
    collectgarbage()
    memory = math.max(SPACIOUS, 2 * collectgarbage "count")
  end
end

local function run_file(busted, path)
  local run, get_trace, rewrite = load_file(busted, path)
  if not run then return end -- it has said why
  busted.executors.file(path, setmetatable({ getTrace = get_trace, rewriteMessage = rewrite }, { __call = run }))
  busted.execute()
end

-- In the place of what runs all files. When something goes wrong in a file after others it is the process's last.
local function execute(busted)
  local block = require "busted.block"(busted)
  return function(_, options)
    local context, n = busted.context, 0
    local root = context.get()
    root.randomseed = options.shuffle and busted.randomseed or nil
    local kept = table.move(context.children(root), 1, #context.children(root), 1, {})
    local started = busted.safe_publish("suite", { "suite", "start" }, root, 1, 1,
      busted.randomize and busted.randomseed or nil)
    if started and block.setup(root) then
      for turn, path in turns() do
        local start = busted.monotime()
        n, wrong = n + 1, false
        tell("begun=" .. turn)
        run_file(busted, path)
        tell(format("ended=%d,seconds=%.6f", turn, busted.monotime() - start))
        forget_file(context, kept)
        if wrong and n > 1 then break end
      end
      root = context.get()
    end
    block.lazyTeardown(root)
    block.teardown(root)
    busted.safe_publish("suite", { "suite", "end" }, root, 1, 1)
  end
end

-- Many suites make the names of temporary files of random numbers, with the time in seconds as their seed: that would
-- be the same for processes that start together.
local seed_with = math.randomseed
function math.randomseed(seed, ...) -- luacheck: ignore 122
  if math.type(seed) and math.abs(seed - os.time()) <= 1 then seed = seed + (tonumber(own) << 32) end
  if seed == nil then return seed_with() end
  return seed_with(seed, ...)
end

package.loaded["busted.modules.output_handler_loader"] = output_handler_loader
package.loaded["busted.modules.test_file_loader"] = test_file_loader
package.loaded["busted.execute"] = execute

runner()
