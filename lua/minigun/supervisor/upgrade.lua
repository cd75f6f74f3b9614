--- SIGUSR2: the program is executed anew, with the sockets that it listens at handed over. The new master says by a
-- pipe when its workers are ready; then the old one drains. A new one that ends before that, or that is not ready in
-- time, changes nothing.
local core = require "minigun.core"
local endings = require "minigun.supervisor.endings"
local sockets = require "minigun.supervisor.sockets"

local upgrade = {}

local KILL <const> = 9
local READY <const> = "ready"
local HANDED <const> = { MINIGUN_SOCKETS = true, MINIGUN_UPGRADE = true, MINIGUN_PID = true, LISTEN_FDS = true,
  LISTEN_PID = true, LISTEN_FDNAMES = true, WATCHDOG_PID = true }

-- What this program was started as: its executable and its arguments.
local function command()
  local file, message = io.open("/proc/self/cmdline", "rb")
  if not file then return nil, "cannot read the program's own command line: " .. message end
  local arguments = {}
  for word in file:read("a"):gmatch "([^%z]*)%z" do arguments[#arguments + 1] = word end
  file:close()
  local path = core.link "/proc/self/exe"
  if not path or #arguments == 0 then return nil, "cannot find the program's own executable" end
  return (path:gsub(" %(deleted%)$", "")), arguments
end

-- In the child: becomes the new master.
local function execute(path, arguments, listening, ready)
  local numbers, environment = {}, {}
  for i, socket in ipairs(listening) do numbers[i] = socket.fd end
  for _, entry in ipairs(core.environment()) do
    if not HANDED[entry:match "^[^=]*"] then environment[#environment + 1] = entry end
  end
  environment[#environment + 1] = "MINIGUN_SOCKETS=" .. sockets.to_hand(listening)
  environment[#environment + 1] = "MINIGUN_UPGRADE=" .. ready
  environment[#environment + 1] = "MINIGUN_PID=" .. core.pid()
  numbers[#numbers + 1] = ready
  local _, message = core.execute(path, arguments, environment, numbers)
  io.stderr:write("minigun: ", message, "\n")
  return 127
end

local function over(self)
  local now = self.upgrade
  self.upgrade = nil
  now.watch:stop()
  now.timer:stop()
  core.shut(now.read)
end

--- Begins it; one at a time.
---@param self table master
function upgrade.begin(self)
  if self.upgrade then return self:log("an upgrade is on its way already (pid %d)", self.upgrade.pid) end
  local path, arguments = command()
  if not path then return self:log("no upgrade: %s", arguments) end
  local read, write = core.pipe()
  if not read then return self:log("no upgrade: %s", write) end
  local now = { read = read }
  local pid, message = self.loop:fork(function() return execute(path, arguments, self.sockets, write) end,
    { on_exit = function(ended) upgrade.ended(self, now, ended) end })
  core.shut(write)
  if not pid then
    core.shut(read)
    return self:log("no upgrade: cannot fork: %s", message)
  end
  now.pid = pid
  self.upgrade = now
  self:log("upgrade: the program is executed anew (pid %d)", pid)
  now.watch = self.loop:watch_io(read, "r", function() upgrade.heard(self) end)
  now.timer = self.loop:after(2 * self.options.start_timeout, function()
    self:log("upgrade: the new master (pid %d) was not ready in time: killed; nothing has changed", pid)
    core.kill(pid, KILL)
  end)
end

--- The new master has said something, or has closed its pipe.
---@param self table master
function upgrade.heard(self)
  local now = self.upgrade
  local text = core.read_fd(now.read)
  if not text then return end
  if text == "" then return now.watch:stop() end -- its end is reported, too
  over(self)
  self:log("upgrade: the new master (pid %d) is ready; this one drains", now.pid)
  self.handed_over = true
  self.successor = now.pid
  self:command("stop", 15)
end

--- A new master has ended.
---@param self table master
---@param now table what `begin` has made
---@param ended minigun.Ended
function upgrade.ended(self, now, ended)
  if self.upgrade ~= now then return end
  over(self)
  self:log("upgrade: the new master (pid %d) %s before it was ready; nothing has changed", now.pid, endings.text(ended))
end

--- The master goes: a new one that is not ready goes with it.
---@param self table master
function upgrade.abandon(self)
  if not self.upgrade then return end
  core.kill(self.upgrade.pid, KILL)
  over(self)
end

local announced = false

--- Whether a former master serves on until this one's workers are ready.
---@return boolean
function upgrade.is_awaited() return not announced and sockets.handed "MINIGUN_UPGRADE" ~= "" end

--- Tells the former master that this one's workers are ready.
function upgrade.tell_ready()
  if not upgrade.is_awaited() then return end
  local fd = tonumber(sockets.handed "MINIGUN_UPGRADE")
  announced = true
  core.write_fd(fd, READY)
  core.shut(fd)
end

return upgrade
