--- Tells busted's output handler what the processes of `minigun busted` have told (busted_workers.lua), as if it had
--- all happened here. Handlers ask a busted for the elements around one: so there is one here, which runs nothing.
local library = require "minigun.command.busted_library"

---@class minigun.BustedTeller
---@field own table a busted
---@field parents table<table, table> its elements, each with the one around it
---@field suite table the element around all
---@field wrong integer errors and failures
---@field start fun() tells of the suite's begin, once
local Teller = {}
Teller.__index = Teller

-- Has busted load the handler that is asked for, with the suite's own search paths.
local function load_handler(own, given)
  own.subscribe({ "error", "output" }, function(element, _, message)
    io.stderr:write(("minigun busted: error: Cannot load output library: %s\n%s\n"):format(element.name, message))
    return nil, true
  end)
  package.path = given.lpath .. ";" .. package.path
  package.cpath = given.cpath .. ";" .. package.cpath
  library "busted.modules.output_handler_loader"()(own, given.output, {
    defaultOutput = given.default_output, enableSound = given["enable-sound"], verbose = given.verbose,
    suppressPending = given["suppress-pending"], language = given.lang, deferPrint = given["defer-print"],
    arguments = given.Xoutput,
  })
end

--- Begins to tell of a suite.
---@param given table busted's options
---@param seed integer of the order of files and tests
---@param absent table[] what busted's loader says of files that are not there, see `publish` of busted's
---@return minigun.BustedTeller
local function new(given, seed, absent)
  local own = library "busted.core"()
  local self = setmetatable({ own = own, parents = setmetatable({}, { __mode = "k" }), suite = own.context.get(),
    wrong = 0 }, Teller)
  function own.context.parent(element) return self.parents[element] end
  library "busted"(own)
  for _, kind in ipairs { "error", "failure" } do
    own.subscribe({ kind }, function()
      self.wrong = self.wrong + 1
      return nil, true
    end)
  end
  load_handler(own, given)
  self.suite.starttick, self.suite.starttime = own.monotime(), own.gettime()
  self.start = function()
    for _, event in ipairs(absent) do own.publish(table.unpack(event, 1, event.n)) end
    own.publish({ "suite", "start" }, self.suite, 1, 1, given["shuffle-tests"] and seed or nil)
    self.start = function() end
  end
  return self
end

local STREAMS <const> = { out = io.stdout, err = io.stderr }

-- What was printed until its process had printed so much; nil: all.
local function print_until(printed, lengths)
  for name, stream in pairs(STREAMS) do
    local part, length = printed[name], lengths[name]
    local at = part.at or 1
    local to = length and length - part.from or #part.text
    if to >= at then
      stream:write(part.text:sub(at, to))
      stream:flush()
      part.at = to + 1
    end
  end
end

-- What is told of an element is told in parts, under its number.
local function publish(self, events, printed)
  local elements = {}
  local function of(part)
    if not part then return nil end
    local element = elements[part.id] or {}
    elements[part.id] = element
    for key, value in pairs(part) do
      if key ~= "id" then element[key] = value end
    end
    return element
  end
  for _, event in ipairs(events) do
    local element, parent = of(event[1]), of(event[2])
    if element then
      self.parents[element] = self.parents[element] or parent or event.channel[1] == "file" and self.suite or nil
    end
    if printed then print_until(printed, event) end
    self.own.publish(event.channel, element, parent, table.unpack(event, 3, event.n))
  end
end

local function publish_error(self, name, text)
  self.own.publish({ "error", "file" }, { name = name, descriptor = "file" }, nil, text,
    { short_src = name, currentline = 0, traceback = "", message = text })
end

--- Tells of a file that is finished.
---@param file minigun.BustedFile
function Teller:file(file)
  self.start()
  publish(self, file.events, file.printed)
  print_until(file.printed, {})
  if file.died then
    publish_error(self, file.path, ("%s: its process ended before its tests: %s"):format(file.path, file.died))
  end
end

--- Tells the rest, and of the suite's end. What each process has told of no file, as of a set-up of the whole suite,
--- counts once.
---@param workers minigun.BustedWorkers
function Teller:finish(workers)
  if workers.refusal then -- that of busted itself, as of a helper that cannot be loaded
    io.stderr:write(workers.refusal)
    self.wrong = 1
    return
  end
  self.start()
  local told = {}
  for _, event in ipairs(workers.loose) do
    local text = tostring(event[3])
    if not told[text] then publish(self, { event }) end
    told[text] = true
  end
  for _, text in ipairs(workers.faults) do
    if not told[text] then publish_error(self, "busted", text) end
    told[text] = true
  end
  self.own.safe_publish("suite", { "suite", "end" }, self.suite, 1, 1)
  self.own.publish { "exit" }
end

return { new = new }
