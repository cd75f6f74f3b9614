--- Reading: what the sources have in common that are described by a few values: `minigun.lines`, `records`, `csv`,
-- `range`, `files`. A description costs nothing; each run, and each process that has it for a producer, opens paths
-- anew. What is not opened by it (a file, a descriptor, standard input) is one stream, so that has one reader
-- (src/lua/lua_source.c), which keeps what it has read and not given yet.
--
-- A description has the fields
--     what, at    for messages: "minigun.lines"; the line of the user's call
--     given       paths, and patterns of paths (glob.lua); or `file`, `fd`, with `name`: one that is open already
--     list        a function that gives the items themselves, or `first`, `step`, `count`: a range
--     cut         how records are cut, for core.reader
--     header      of rows: true, the first one has the names; an array, these are the names
--     numbered    true: each item is a table with its place
local context = require "minigun.handlers.ctx"
local core = require "minigun.core"
local current = require "minigun.handlers.current"
local failure = require "minigun.base.failure"
local glob = require "minigun.sources.glob"
local programs = require "minigun.system.programs"

local reading = {}

---@class minigun.Source
--- What a producer, `minigun.map`, `each` and `reduce` read from: made by `minigun.lines`, `range`, `files`, `records`
--- and `csv`. It is described by a few values, and opens what it reads when it is read. It is an iterator, too:
--- `for line in minigun.lines "access.log" do`.
---@field paths string[]? of the files that are read, one after the other, as they were when it was made
local Source = { __name = "minigun.source" }
Source.__index = Source

local STDIN <const> = "-"
local NOTHING <const> = core.range(1, 1, 0)
local MARK <const> = "\u{feff}" -- with which some programs begin a file in UTF-8
local NOT_FOUND <const> = 127 -- the shell's status for a program that is not there
-- Programs that unpack what they read, by the end of the file's name.
local UNPACKERS <const> = { gz = "gzip", xz = "xz", bz2 = "bzip2", zst = "zstd" }

--- Whether a value is a source of this kind.
---@param value any
---@return boolean
function reading.is(value) return getmetatable(value) == Source end

local function raise(self, what, message)
  failure.raise(("%s: %s: %s"):format(self.what, what, message), self.at)
end

-- --- readers -----------------------------------------------------------------------------------------------------

-- The reader of what is not opened here.
local function stream(self)
  if core.process() ~= self.process and (self.name == STDIN or self.fd == 0 or self.file == io.stdin) then
    raise(self, "standard input", "it belongs to the coordinator, a worker has none; read it in a producer there")
  end
  if not self.reader then
    local message
    self.reader, message = core.reader(self.file or self.fd, self.cut)
    if not self.reader then raise(self, self.name, message) end
    if self.numbered then self.reader:placed(self.name) end
  end
  return self.reader
end

-- What a method of a reader gives when it need not wait any more.
local function await(reader, method)
  while true do
    local first, message, errno = method(reader)
    if first ~= false then return first, message, errno end
    current.wait(reader:fd()) -- what is wrong with it, the next call says
  end
end

-- Where a source is: in which file, and what reads that.
local Cursor = {}
Cursor.__index = Cursor

-- `keep(reader)`: takes over what may still be read elsewhere.
local function cursor(self, keep)
  local paths = self.given and glob.expand(self.given) or false
  return setmetatable({ keep = keep or false, source = self, at = 0, paths = paths,
    reader = false, name = false, program = false, guard = false }, Cursor)
end

-- What is collected with the file of a program, and before it as it is younger: Lua's own finalizer of the file would
-- wait for the program, and that for room in a pipe that workers have inherited.
local Guard = {}

function Guard:__gc()
  if io.type(self.file) == "file" and core.process() == self.process then programs.close_file(self.file) end
end

-- Opens a file; the contents of a packed one come from a program.
local function open_file(self, path)
  local program = UNPACKERS[path:match "%.(%w+)$"]
  if not program then return core.reader(path, self.source.cut) end
  local pipe, message = io.popen(("exec %s -dc < '%s'"):format(program, path:gsub("'", "'\\''")))
  if not pipe then return nil, message end
  self.program, self.guard = pipe, setmetatable({ file = pipe, process = core.process() }, Guard)
  return core.reader(pipe, self.source.cut)
end

-- Opens what comes next. Returns its reader; nil: nothing does.
function Cursor:open()
  local of = self.source
  self.at = self.at + 1
  if not self.paths then
    if self.at > 1 then return nil end
    self.name, self.reader = of.name, of.count and core.range(of.first, of.step, of.count) or stream(of)
    return self.reader
  end
  local path = self.paths[self.at]
  if not path then
    if self.at == 1 then raise(of, ("'%s'"):format(of.given[1] or ""), "there is no such file any more") end
    return nil
  end
  self.name = ("'%s'"):format(path)
  local reader, message = open_file(self, path)
  if not reader then raise(of, self.name, message) end
  if of.numbered then reader:placed(path) end
  self.reader = reader
  return reader
end

-- Finds the names of the columns.
local function read_names(self)
  local of, reader = self.source, self.reader
  local found, message = await(reader, function() return reader:begins(MARK) end)
  local names = of.header
  if names == true and found then names, message = await(reader, reader.next) end
  if message then raise(of, self.name, message) end
  local seen = {}
  for _, name in ipairs(names or {}) do
    if seen[name] then
      raise(of, self.name, ("two columns are named %s; give header = { names } or false"):format(failure.show(name)))
    end
    seen[name] = true
  end
  if names then reader:names(names) end
  of.begun = not self.paths -- it is read on by the next cursor
end

-- What comes next is open, and the cursor is where its items begin. Returns the reader; nil: nothing comes.
local function begin(self)
  local reader = self:open()
  if reader and self.source.header ~= nil and not self.source.begun then read_names(self) end
  return reader
end

-- Gives up what it has opened.
local function give_up(self)
  if self.paths and self.reader then
    if self.keep and self.reader:described() then self.keep(self.reader) else self.reader:close() end
  end
end

-- The file that is read has come to its end.
local function leave(self)
  local program, ok, how, code = self.program, true, nil, nil
  give_up(self)
  self.reader, self.program = false, false
  if program then ok, how, code = program:close() end
  if not ok and how then
    local unpacker = UNPACKERS[self.name:match "%.(%w+)'$"] or "the program that unpacks it"
    local ended = unpacker .. (how == "exit" and " has failed with status %d" or " was ended by signal %d")
    raise(self.source, self.name, code == NOT_FOUND and unpacker .. " is not installed: it unpacks such a file"
      or ended:format(code) .. "; what came before is here, the file may be damaged or cut short")
  end
end

-- What `take(reader)` gives first that is not to be waited for; nil at the end. Items that cannot be had go to `lost`,
-- where there is one.
local function advance(self, take, lost)
  while true do
    local reader = self.reader or begin(self)
    if not reader then
      self.at = 0
      return nil
    end
    local item, message, _, record = take(reader)
    if item == false then current.wait(reader:fd())
    elseif item ~= nil and item ~= true then return item
    elseif record and lost then
      lost(record, ("%s: %s: %s"):format(self.source.what, self.name, message), true)
    elseif message then raise(self.source, self.name, message)
    else leave(self) end
  end
end

-- Closes what it has open, however far it is.
function Cursor:close()
  give_up(self)
  if self.program then programs.close_file(self.program) end
  self.reader, self.program, self.at = false, false, 0
end

Cursor.__close = Cursor.close

-- --- the faces of a source -----------------------------------------------------------------------------------------

local function next_of(reader) return reader:next() end

--- Makes the handler of a producer.
---@param self table
---@return function handler
function reading.handler(self)
  if self.list then
    return function(emit)
      for _, item in ipairs(self.list()) do emit(item) end
    end
  end
  return function(emit, ctx)
    local at <close>, lost = cursor(self, ctx and context.keeper_of(ctx)), ctx and context.lost_of(ctx) or nil
    if core.feed(emit, NOTHING) then
      advance(at, function(reader) return core.feed(emit, reader) end, lost)
      return
    end
    for item in function() return advance(at, next_of, lost) end do emit(item) end
  end
end

--- How many items there are.
---@param self table
---@return function? length `length() -> integer`; nil: that is not known
function reading.length(self)
  if self.list then return function() return #self.list() end end
  return self.count and function() return self.count end
end

--- The next item; what a generic for calls. After the last one it is nil, and then the first once more, of files.
function Source:__call()
  local at = self.cursor
  if at and at.reader then
    local item = at.reader:next()
    if item then return item end
  end
  if self.list then
    at = at or { items = self.list(), at = 0 }
    at.at = at.at + 1
    self.cursor = at.items[at.at] ~= nil and at or nil
    return at.items[at.at]
  end
  self.cursor = at or cursor(self)
  local item = advance(self.cursor, next_of)
  if item == nil then self.cursor = nil end
  return item
end

function Source:__tostring()
  return ("%s(%s)"):format(self.what, self.given and table.concat(self.given, ", ") or self.name)
end

--- Closes what a loop that was left early has open. The end of a loop, and of a run, needs none.
function Source:close()
  if self.cursor and self.cursor.reader then self.cursor:close() end
  self.cursor = nil
end

Source.__close = Source.close

-- --- descriptions ------------------------------------------------------------------------------------------------

--- Makes a source of a description; raises at the line of the user's call.
---@param self table `what` and the fields of its kind
---@return minigun.Source source
function reading.new(self)
  self.at, self.process = failure.where(), core.process()
  return setmetatable(self, Source)
end

local function check_paths(self)
  self.paths = glob.expand(self.given, function(pattern)
    raise(self, ("'%s'"):format(pattern), "no file matches that pattern")
  end)
  for _, path in ipairs(self.paths) do
    local ok, message = core.readable(path)
    if not ok then raise(self, ("'%s'"):format(path), message) end
  end
end

--- Makes a source of records of what a user has named: a path, a pattern, an array of these, what is open, or "-".
---@param self table `what` and the fields of its kind
---@param source any
---@return minigun.Source source
function reading.of(self, source)
  self = reading.new(self)
  if source == STDIN then
    self.name = STDIN
  elseif type(source) == "string" then
    self.given = { source }
  elseif math.type(source) == "integer" and source >= 0 and source <= 0x7fffffff then
    self.fd, self.name = source, ("descriptor %d"):format(source)
  elseif io.type(source) == "file" then
    self.file, self.name = source, tostring(source)
  elseif type(source) == "table" and getmetatable(source) == nil and (source[1] ~= nil or next(source) == nil) then
    self.given = table.move(source, 1, #source, 1, {})
  else
    failure.raise(("%s: a path, an array of paths, an open file, a descriptor or \"-\" expected, got %s"):format(
      self.what, io.type(source) == "closed file" and "a closed file" or failure.show(source)))
  end
  for _, path in ipairs(self.given or {}) do
    if type(path) ~= "string" then
      failure.raise(("%s: a path expected, got %s"):format(self.what, failure.show(path)))
    end
  end
  if self.given then check_paths(self) end
  return self
end

return reading
