--- The processes of `minigun busted`, and what they tell. Each is a busted of its own (busted_child.lua, which has the
--- files that they share). It takes one spec file after the other, as busted does, until there is none left. What goes
--- wrong in one may come of the files before it: such a file is run again as the first of a new process, which goes on
--- in the old one's place, and what it says there counts.
local library = require "minigun.command.busted_library"
local minigun = require "minigun"
local terminate = require "minigun.system.terminate"

local lfs = library "lfs"

---@class minigun.BustedFile
---@field path string as busted calls it
---@field events table[] what busted has told of it
---@field printed table<string, minigun.BustedPrinted> by "out" and "err"
---@field seconds number it took
---@field died string? how its process ended in it
---@field finished boolean? all that is known of it is here

---@class minigun.BustedPrinted
---@field text string
---@field from integer where in all that its process has printed this begins

---@class minigun.BustedWorkers
---@field files minigun.BustedFile[] in the order in which they are begun
---@field loose table[] events of no file
---@field faults string[] how processes ended that did so in no file, and what they have said
---@field refusal string? what the first process has said, where none has come to a file
local Workers = {}
Workers.__index = Workers

local function write_file(path, text)
  local file <close> = assert(io.open(path, "w"))
  assert(file:write(text))
end

---@param files minigun.BustedFile[] in the order in which they are to be begun
---@param program string[] what starts a process
---@param cwd string where
---@return minigun.BustedWorkers
local function new(files, program, cwd)
  local directory = os.tmpname()
  os.remove(directory)
  assert(lfs.mkdir(directory))
  local self = setmetatable({ directory = directory, files = files, program = program, cwd = cwd, processes = {},
    begun = 0, loose = {}, faults = {} }, Workers)
  local paths = {}
  for i, file in ipairs(files) do paths[i] = file.path .. "\0" end
  write_file(directory .. "/files", table.concat(paths))
  write_file(directory .. "/next-1", "")
  return self
end

-- Removes the files of the shared directory whose names match a pattern.
local function remove(self, pattern)
  for name in lfs.dir(self.directory) do
    if name:find(pattern) and name ~= "." and name ~= ".." then os.remove(self.directory .. "/" .. name) end
  end
end

--- Removes what is in files; may be called twice.
function Workers:close()
  if not self.directory then return end
  remove(self, "")
  lfs.rmdir(self.directory)
  self.directory = nil
end

Workers.__close = Workers.close

local function open(self)
  local process = { own = #self.processes + 1, begun = 0, partial = "", wrong = false, printed = { out = 0, err = 0 } }
  process.path = ("%s/%d"):format(self.directory, process.own)
  write_file(process.path .. ".told", "")
  process.told = assert(io.open(process.path .. ".told"))
  self.processes[process.own] = process
  return process
end

-- What a process has printed since the last call, up to lengths of the whole; nil: all of it.
local function take_printed(process, lengths)
  local printed = {}
  for name, from in pairs(process.printed) do
    local file <close> = io.open(process.path .. "." .. name)
    if file then file:seek("set", from) end
    local text = file and file:read(lengths[name] and math.max(lengths[name] - from, 0) or "a") or ""
    printed[name] = { text = text, from = from }
    process.printed[name] = from + #text
  end
  return printed
end

local function end_file(process, file, told)
  process.current, process.last = nil, file
  file.seconds, file.printed = told.seconds, take_printed(process, told)
  if process.wrong and not file.alone then process.again = file
  else file.finished = true
  end
end

local function take(self, process, told)
  if told.begun then
    local file = self.files[told.begun]
    if not file.events then self.begun = self.begun + 1 end
    process.current, process.begun = file, process.begun + 1
    file.events, file.alone, file.died, process.wrong = {}, process.begun == 1, nil, false
  elseif told.ended then end_file(process, self.files[told.ended], told)
  elseif told.whole then process.whole = true
  else
    table.insert(process.current and process.current.events or self.loose, told)
    process.wrong = process.wrong or told.channel[1] == "error" or told.channel[1] == "failure"
  end
end

local function read(self, process)
  local text = process.partial .. process.told:read "a"
  local whole = text:match ".*\n" or "" -- the last line may be written just now
  process.partial = text:sub(#whole + 1)
  for _, told in ipairs(assert(load("return {" .. whole .. "}", "=told", "t", {}))()) do take(self, process, told) end
end

--- Reads what the processes have told since the last call.
function Workers:read()
  for _, process in ipairs(self.processes) do
    if process.told then read(self, process) end
  end
end

--- Has the processes begin no more files.
function Workers:halt() remove(self, "^next%-") end

--- The run ends now. What is known of each file that is at work, or that was to be run again, counts as its result.
function Workers:abandon()
  self:read()
  for _, process in ipairs(self.processes) do
    local file = process.told and process.current
    if file then file.printed, file.died = take_printed(process, {}), "with the whole run" end
  end
  for _, file in ipairs(self.files) do file.finished = file.printed ~= nil end
end

local function how_it_ended(result)
  return result.signal and "by signal " .. result.signal or result.code and "with code " .. result.code or
    "it is not known how"
end

-- A process has ended. Returns the file that is to be run again.
local function closed(self, process, result)
  read(self, process)
  process.told:close()
  process.told = nil
  local file, printed = process.current, take_printed(process, {})
  if file then
    file.printed, file.died = printed, how_it_ended(result)
    if not file.alone then return file end
    file.seconds, file.finished = result.seconds, true
    return nil
  end
  local text = printed.out.text .. printed.err.text
  if not process.whole then
    self.refusal = self.begun == 0 and (self.refusal or text) or nil
    table.insert(self.faults, ("%sa process ended %s, %s"):format(text,
      process.last and "after " .. process.last.path or "before its first file", how_it_ended(result)))
  elseif process.last then
    for name, last in pairs(process.last.printed) do last.text = last.text .. printed[name].text end
  end
  return process.again
end

--- Runs one process after the other until no file is left for a further one.
function Workers:work()
  local again, process
  repeat
    process = open(self)
    local result, fault = minigun.command(self.program, { cwd = self.cwd, stdout = process.path .. ".out",
      stderr = process.path .. ".err", env = {
        MINIGUN_BUSTED = ("%s %d %s"):format(self.directory, process.own, again and again.turn or "") } })
    if not result then error(fault, 0) end
    again = closed(self, process, result)
    self:read()
    local more = process.begun > 0 and not process.whole and self.begun < #self.files
  until terminate.asked() or not again and not more
end

return { new = new }
