--- Pages of figures: small files in which a run or a server says how it is, for `minigun top` in another terminal.
--
-- They lie in `$XDG_RUNTIME_DIR/minigun`, or where there is none in `minigun-USER` below TMPDIR or /tmp, a directory of
-- this user alone. Their names are PID-NUMBER.run and PID-NUMBER.server. A page has mode 0600 and is removed at the
-- end; its process has it as its own while it lives, so one without an owner is that of a dead process. It is
-- overwritten in place, whether anybody reads it or not:
--     8 bytes  "MINIGUN1"        4 bytes  length of what follows the head        4 bytes  CRC-32C of that
--     then a table as MessagePack (docs/wire-format.md): minigun.Status, or minigun.ServerStatus
-- Integers are little-endian. A reader that finds another sum than it says was faster than the writer: it reads again.
local core = require "minigun.core"

local page = {
  EVERY = 0.25, -- seconds between two writes; a run that takes less has no page
}

local HEAD <const>, MAGIC <const> = "<c8I4I4", "MINIGUN1"
local TRIES <const> = 10

local Page = {}
Page.__index = Page

local count = 0 -- of pages of this process

--- Where pages are.
---@return string path
function page.directory()
  local own = os.getenv "XDG_RUNTIME_DIR"
  if own and own ~= "" then return own .. "/minigun" end
  return ("%s/minigun-%s"):format(os.getenv "TMPDIR" or "/tmp", os.getenv "USER" or os.getenv "LOGNAME" or "user")
end

--- Makes a page, whose file comes with the first figures.
---@param kind "run"|"server"
---@param figures fun(): table gives them
---@param on_fault fun(message: string)? hears why there can be none
---@return table page
function page.new(kind, figures, on_fault)
  return setmetatable({ kind = kind, figures = figures, on_fault = on_fault or false, file = false, gone = false,
    due = core.now() + page.EVERY }, Page)
end

local function open(self)
  local directory = page.directory()
  local made, message = core.make_directory(directory)
  if made then
    count = count + 1
    made, message = core.page(("%s/%d-%d.%s"):format(directory, core.pid(), count, self.kind))
  end
  if not made and self.on_fault then self.on_fault(("%s: %s"):format(directory, message)) end
  self.file, self.gone = made or false, not made
  return made
end

--- Writes the figures.
function Page:write()
  if self.gone or not (self.file or open(self)) then return end
  local bytes = core.encode(self.figures())
  self.file:write(string.pack(HEAD, MAGIC, #bytes, core.crc32c(bytes)) .. bytes)
end

--- Writes the figures when it is time.
---@param seconds number? that its owner would like to sleep; nil: without end
---@return number? seconds until it should look again
function Page:look(seconds)
  if self.gone then return seconds end
  local now = core.now()
  if now >= self.due then
    self.due = now + page.EVERY
    self:write()
  end
  return math.min(seconds or math.huge, self.due - now)
end

--- Removes it.
function Page:close()
  if self.file then self.file:close() end
  self.file, self.gone = false, true
end

--- Reads a page.
---@param path string
---@return table? figures nil: it is none, or cannot be read
---@return string? message
function page.read(path)
  for _ = 1, TRIES do
    local file, message = io.open(path, "rb")
    if not file then return nil, message end
    local text = file:read "a" or ""
    file:close()
    if #text < HEAD:packsize() or text:sub(1, 8) ~= MAGIC then return nil, path .. ": no page of figures" end
    local _, length, sum, at = HEAD:unpack(text)
    local bytes = text:sub(at, at + length - 1)
    if #bytes == length and core.crc32c(bytes) == sum then return core.decode(bytes) end
    core.sleep(0.001)
  end
  return nil, path .. ": it changes all the time"
end

--- The pages that there are, of processes that live; those of dead ones are removed.
---@return table[] list `{ path =, pid =, kind =, number = }`, by number of the process
---@return string? message why nothing is looked at: the directory is not this user's alone
function page.list()
  local directory, list = page.directory(), {}
  local names = core.list_directory(directory) or {}
  if names[1] and not core.make_directory(directory) then -- it is there, so it is only checked
    return list, ("'%s' is left alone: it belongs to another user, or others can write there"):format(directory)
  end
  for _, name in ipairs(names) do
    local pid, number, kind = name:match "^(%d+)%-(%d+)%.(%l+)$"
    local path = directory .. "/" .. name
    if pid and core.is_owned(path) then
      list[#list + 1] = { path = path, pid = tonumber(pid), number = tonumber(number), kind = kind }
    elseif pid then
      os.remove(path)
    end
  end
  table.sort(list, function(a, b) return a.pid < b.pid or a.pid == b.pid and a.number < b.number end)
  return list
end

return page
