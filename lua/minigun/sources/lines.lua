--- Lines: a source of the lines of files, pipes, sockets and standard input that holds nothing up while it waits.
--
-- An object describes what is read (`paths`, `file` or `fd`); each run, and each process that has it for a producer,
-- opens paths anew. What is not opened by it (a file, a descriptor, standard input) is one stream, so that has one
-- reader (src/lua/lua_lines.c), which keeps what it has read and not given yet.
local core = require "minigun.core"
local failure = require "minigun.base.failure"
local tasks = require "minigun.handlers.tasks"

local lines = {}

---@class minigun.Lines
--- Lines of files: a source of a producer or of `minigun.map`, and an iterator for a loop: `for line in lines do`.
---@field paths string[]? of the files that are read, one after the other
local Lines = { __name = "minigun.lines" }
Lines.__index = Lines

local STDIN <const> = "-"

--- Whether a value is an object of `minigun.lines`.
---@param value any
---@return boolean
function lines.is(value) return getmetatable(value) == Lines end

local function raise(self, what, message)
  failure.raise(("minigun.lines: %s: %s"):format(what, message), self.at)
end

-- The reader of what is not opened here.
local function stream(self)
  if core.process() ~= self.process and (self.name == STDIN or self.fd == 0 or self.file == io.stdin) then
    raise(self, "standard input", "it belongs to the coordinator, a worker has none; read it in a producer there")
  end
  if not self.reader then
    local message
    self.reader, message = core.lines(self.file or self.fd)
    if not self.reader then raise(self, self.name, message) end
  end
  return self.reader
end

-- What goes through the files from the first to the last: `next()` gives a line, or nil at the end.
local function cursor(self)
  local at, reader, name = 0, nil, nil
  local function open()
    if not self.paths then
      if at > 0 then return nil end
      at, name = 1, self.name
      return stream(self)
    end
    at = at + 1
    name = self.paths[at]
    if not name then return nil end
    local opened, message = core.lines(name)
    if not opened then raise(self, ("'%s'"):format(name), message) end
    return opened
  end
  local function next_line()
    while true do
      reader = reader or open()
      if not reader then
        at = 0
        return nil
      end
      local line, message = reader:line()
      if line then return line end
      if line == false then tasks.wait(reader:fd()) -- what is wrong with it, the next call says
      elseif message then raise(self, self.paths and ("'%s'"):format(name) or name, message)
      else
        if self.paths then reader:close() end
        reader = nil
      end
    end
  end
  local function close()
    if reader and self.paths then reader:close() end
    reader, at = nil, 0
  end
  return next_line, close
end

--- Makes the handler of a producer.
---@param self table
---@return function handler
function lines.handler(self)
  return function(emit)
    local next_line, close = cursor(self)
    local _ <close> = setmetatable({}, { __close = close })
    for line in next_line do emit(line) end
  end
end

--- The next line; what a generic for calls. After the last one it is nil, and then the first once more, of files.
function Lines:__call()
  if not self.next_line then self.next_line, self.close_cursor = cursor(self) end
  return self.next_line()
end

function Lines:__tostring()
  return ("minigun.lines(%s)"):format(self.paths and table.concat(self.paths, ", ") or self.name)
end

--- Closes what a loop that was left early has open. The end of a loop, and of a run, needs none.
function Lines:close()
  if self.close_cursor then self.close_cursor() end
end

Lines.__close = Lines.close

local function check_path(self, path)
  if type(path) ~= "string" then
    failure.raise(("minigun.lines: a path expected, got %s"):format(failure.show(path)))
  end
  local ok, message = core.readable(path)
  if not ok then raise(self, ("'%s'"):format(path), message) end
end

--- What `minigun.lines` does.
---@param source string|string[]|integer|file* a path, paths, an open file (also of `io.popen`), a descriptor, or "-"
---@return minigun.Lines lines raises where a file is not there, or cannot be read
function lines.new(source)
  local self = setmetatable({ at = failure.where(), process = core.process() }, Lines)
  if source == STDIN then
    self.name = STDIN
  elseif type(source) == "string" then
    self.paths = { source }
  elseif math.type(source) == "integer" and source >= 0 and source <= 0x7fffffff then
    self.fd, self.name = source, ("descriptor %d"):format(source)
  elseif io.type(source) == "file" then
    self.file, self.name = source, tostring(source)
  elseif type(source) == "table" and getmetatable(source) == nil and (source[1] ~= nil or next(source) == nil) then
    self.paths = table.move(source, 1, #source, 1, {})
  else
    failure.raise(("minigun.lines: a path, an array of paths, an open file, a descriptor or \"-\" expected, got %s")
      :format(io.type(source) == "closed file" and "a closed file" or failure.show(source)))
  end
  for _, path in ipairs(self.paths or {}) do check_path(self, path) end
  return self
end

return lines
