--- Spools: files of values that any number of processes append to.
--
-- A record is written under a lock, whole or not at all; src/store/spool.h has its format. A process that was forked
-- with an open spool opens the file for itself at its first write, as a lock belongs to the open file.
local core = require "minigun.core"
local failure = require "minigun.base.failure"
local methods = require "minigun.base.methods"
local schema = require "minigun.base.schema"
local types = require "minigun.base.types"

local spool = {}

---@class minigun.Spool
--- A file of values. At the end of a to-be-closed variable it is closed.
---@field path string
local Spool = { __name = "minigun.spool" }
Spool.__index = Spool
methods.suggest(Spool, "a spool")
types.Spool = Spool

--- Opens a spool, see `minigun.spool`.
---@param path string
---@param given table? options
---@return table? spool or nil, a message and the errno
function spool.new(path, given)
  schema.value(types.name, path, "minigun.spool", "the path")
  if path:find "\0" then failure.raise "minigun.spool: the path has a zero byte" end
  local known = types.schemas.spool
  local filled = schema.fill(known, schema.check(known, given, ("spool '%s'"):format(path)))
  local file, message, errno = core.spool_file(path, filled.read_only)
  if not file then return nil, message, errno end
  return setmetatable({ path = path, file = file, options = filled, reader = nil }, Spool)
end

-- From an iterator of `records` to the function that hears of records that cannot be decoded.
local losing = setmetatable({}, { __mode = "k" })

--- Whether a function is an iterator of `records`.
---@param f any
---@return boolean
function spool.is_records(f) return losing[f] ~= nil end

--- Says which function hears of records that cannot be decoded.
---@param f function an iterator of `records`
---@param lost function (value, message): see handlers/ctx.lua
function spool.on_lost(f, lost) losing[f] = lost end

local function check_open(self, what)
  if self.file:closed() then failure.raise(("spool '%s': %s after it was closed"):format(self.path, what)) end
end

--- Writes a value after the last, whole or not at all. Waits while another process writes.
---@param value any any value but nil that can be serialised; for another an error with its path at the caller's line
---@return boolean? written nil: the file is as long as before; where only the waiting of `sync` has failed the value is
--- there, for as long as the machine goes on
---@return string? message
---@return integer? errno
function Spool:write(value)
  check_open(self, "write")
  if self.options.read_only then failure.raise(("spool '%s': it was opened read_only"):format(self.path)) end
  if value == nil then failure.raise(("spool '%s': nil cannot be written"):format(self.path)) end
  local ok, message, errno = self.file:write(value)
  if ok == false then
    failure.raise(message and ("spool '%s': %s"):format(self.path, message)
      or ("spool '%s': write after it was closed"):format(self.path))
  end
  if ok and self.options.sync then ok, message, errno = self.file:sync() end
  return ok, message, errno
end

--- Waits until everything that this process has written is on the disk.
---@return boolean? done
---@return string? message
---@return integer? errno
function Spool:sync()
  check_open(self, "sync")
  return self.file:sync()
end

--- Reads the values: `for value in spool:records() do`, also a producer's source. It begins at the first record and
--- ends where the file ends when the first value is taken. What is damaged is skipped, see `damage`. A record that
--- cannot be decoded (its `load` hook has raised or given nil, or its type is not registered here) costs no other: of a
--- producer's source it is a failure of kind `unserialisable`; otherwise an error at the caller's line tells of all of
--- them when the others have been given. A fault of the disk is an error at once.
---@return fun(): any iterator and the further values of a generic for
function Spool:records()
  check_open(self, "records")
  local reader, iterator, left_out, first = nil, nil, 0, nil
  local closing = setmetatable({}, { __close = function()
    if reader then reader:close() end
  end })
  function iterator()
    if not reader then
      check_open(self, "records")
      local message
      reader, message = self.file:reader()
      if not reader then failure.raise(message) end
      self.reader = reader
    end
    while true do
      local more, value, problem = reader:next()
      if more == nil then failure.raise(("spool '%s': %s"):format(self.path, value)) end
      if more and not problem then return value end
      if not more then break end
      losing[iterator](value == nil and false or value, ("spool '%s': %s"):format(self.path, problem))
    end
    if left_out == 0 then return nil end
    local text = ("%s%s"):format(first, left_out > 1 and ("; and %d more, see damage"):format(left_out - 1) or "")
    left_out = 0
    failure.raise(text)
  end
  losing[iterator] = function(_, message)
    left_out, first = left_out + 1, first or message
  end
  return iterator, nil, nil, closing
end

---@class minigun.Damage
--- The first 1000 damaged ranges of a spool, and how much there is in all.
---@field [integer] { offset: integer, bytes: integer, message: string? } message: of a record that cannot be decoded
---@field records integer how many were skipped, as far as they can be distinguished
---@field bytes integer
---@field places integer how many ranges

--- What of the file cannot be read: torn by a writer that was killed, changed on the disk, or a record that cannot be
--- decoded. It reports what the last `records` of this spool has met so far; without one the file is read for it.
---@return minigun.Damage? damage
---@return string? message
---@return integer? errno
function Spool:damage()
  if self.reader then return self.reader:damage() end
  check_open(self, "damage")
  local reader, message, errno = self.file:reader()
  if not reader then return nil, message, errno end
  local more
  repeat more, message, errno = reader:next() until not more
  if more == nil then return nil, ("spool '%s': %s"):format(self.path, message), errno end
  return reader:damage()
end

--- Closes the file; a second time does nothing. What `records` has begun to read can be read on.
---@return boolean? closed
---@return string? message
---@return integer? errno
function Spool:close()
  return self.file:close()
end

--- The spool as text.
---@return string
function Spool:__tostring()
  return ("spool '%s'%s"):format(self.path, self.file:closed() and " (closed)" or "")
end

Spool.__close = Spool.close
Spool.__gc = Spool.close

return spool
