--- Servers as users see them: what `minigun.supervisor` returns, and a server that runs.
local core = require "minigun.core"
local failure = require "minigun.base.failure"
local machine = require "minigun.system.machine"
local master = require "minigun.supervisor.master"
local methods = require "minigun.base.methods"
local options = require "minigun.supervisor.options"
local schema = require "minigun.base.schema"

local server = { last = nil } -- the status of the last server that has run, for the command `minigun`

local CANNOT_START <const> = 1 -- exit status

---@class minigun.WorkerStatus
--- What is known of a worker.
---@field number integer
---@field pid integer
---@field state "starting"|"ready"|"draining"|"gone"
---@field generation integer
---@field requests integer that it has answered
---@field accepted integer connections that it has taken
---@field in_hand integer connections that it has now, or had at its end
---@field restarts integer how often a worker of this number has died
---@field beat number? seconds since its last beat
---@field doing string? what it is at, as it has said
---@field memory integer? bytes that are resident
---@field age number? seconds since it was forked

---@class minigun.ServerStatus
--- What is known of a server.
---@field name string
---@field pid integer of the master
---@field state "starting"|"serving"|"stopping"|"ended"
---@field generation integer one more after each rolling restart
---@field wanted integer workers
---@field workers minigun.WorkerStatus[] by number; old and new ones while they change
---@field listen string[] addresses
---@field status integer? the exit status, where it has ended

---@class minigun.Supervisor
--- What `minigun.supervisor` returns: a server that can be run.
local Supervisor = { __name = "minigun.supervisor" }
Supervisor.__index = Supervisor
methods.suggest(Supervisor, "a server")

---@class minigun.Server
--- A server that was started, as `server:start()` returns it.
local Server = { __name = "minigun.server" }
Server.__index = Server
methods.suggest(Server, "a server that runs")

local function check(self, class, method)
  if getmetatable(self) ~= class then
    failure.raise(("call %s with a colon, on a server: server:%s(...)"):format(method, method))
  end
end

local forced, forced_in = {}, nil -- the second: the process whose servers obey; not its children

--- Lets options hold for each server that this process makes, whatever the program says: those of `minigun serve`.
---@param given table
function server.force(given)
  schema.check(options.schemas.supervisor, given, "serve")
  forced, forced_in = given, core.process()
end

-- What the program says, with what is forced.
local function obey(given)
  if type(given) ~= "table" or forced_in ~= core.process() then return given end
  local copy = {}
  for name, value in pairs(given) do copy[name] = value end
  for name, value in pairs(forced) do copy[name] = value end
  return copy
end

--- Makes a server; nothing is opened before `run` or `start`.
---@param given minigun.SupervisorOptions
---@return minigun.Supervisor server
function server.new(given)
  return setmetatable({ options = options.check(obey(given), function() return machine.cpus() end) }, Supervisor)
end

local function begin(self)
  if self.master and not self.master.closed then
    failure.raise(("supervisor '%s' runs already"):format(self.options.name))
  end
  local made, message, errno = master.start(self.options)
  self.master = made
  return made, message, errno
end

local function run(self)
  local running, message = begin(self)
  if not running then
    io.stderr:write(("minigun: %s: %s\n"):format(self.options.name, message))
    return CANNOT_START
  end
  local _ <close> = running
  for _, name in ipairs(master.signals) do
    local watch
    watch, message = running.loop:watch_signal(name, function() running:signal(name) end)
    if not watch then
      running:log("%s", message)
      return CANNOT_START
    end
  end
  running:go_on()
  if not running.status_code then running.loop:run() end
  return running.status_code
end

--- Runs the server until it ends, with the signals' meanings of docs/server.md. What keeps it from starting is written
--- to standard error.
---@return integer status
--- for os.exit: 0 ended in good order; 1 gave up, or could not start; 124 workers had to be killed after
--- `stop_timeout`; 128 and the signal's number: ended at once
function Supervisor:run()
  check(self, Supervisor, "run")
  self.last = run(self)
  server.last = self.last
  return self.last
end

--- Starts the server in the background: its workers serve, and it is looked after by `step`. No signal is touched.
---@return minigun.Server? running nil: it cannot listen, or has not what it needs
---@return string? message
---@return integer? errno
function Supervisor:start()
  check(self, Supervisor, "start")
  local running, message, errno = begin(self)
  if not running then return nil, message, errno end
  running:go_on()
  return setmetatable({ master = running, supervisor = self }, Server)
end

local function live(self, method)
  local running = self.master
  if running and not running.closed and running.process == core.process() then return running end
  failure.raise(("server:%s: the server does not run"):format(method))
end

--- What is known of the server and its workers.
---@return minigun.ServerStatus
function Supervisor:status()
  check(self, Supervisor, "status")
  return live(self, "status"):status()
end

--- Does what a signal does.
---@param name string "TERM", "HUP", "USR1" …, with or without "SIG"
function Supervisor:signal(name)
  check(self, Supervisor, "signal")
  local short = type(name) == "string" and name:upper():gsub("^SIG", "")
  for _, known in ipairs(master.signals) do
    if known == short then return live(self, "signal"):signal(short) end
  end
  failure.raise(("server:signal: one of %s expected, got %s"):format(table.concat(master.signals, ", "),
    failure.show(name)))
end

--- The same for a server that was started.
---@return minigun.ServerStatus
function Server:status()
  check(self, Server, "status")
  return self.supervisor:status()
end

--- Does what a signal does.
---@param name string
function Server:signal(name)
  check(self, Server, "signal")
  self.supervisor:signal(name)
end

--- Looks after the workers: to be called when `fd` is readable, or now and then.
---@param timeout number? seconds to wait where there is nothing to do; 0 by default
---@return integer? status nil: it goes on; then as `run` returns it
function Server:step(timeout)
  check(self, Server, "step")
  local running = live(self, "step")
  if not running.status_code then running.loop:step(timeout) end
  return running.status_code
end

--- A descriptor for an event loop: readable when `step` has something to do.
---@return integer fd
function Server:fd()
  check(self, Server, "fd")
  return live(self, "fd").loop:fd()
end

--- Ends the server in good order, and waits for that.
---@return integer status as `run` returns it
function Server:stop()
  check(self, Server, "stop")
  local running = live(self, "stop")
  running:signal "TERM"
  while not running.status_code do running.loop:step(1) end
  running:close()
  return running.status_code
end

--- Ends the server at once, where it still runs, and gives everything back. So does the end of a to-be-closed variable.
function Server:close()
  check(self, Server, "close")
  self.master:close()
end

Server.__close, Server.__gc = Server.close, Server.close

return server
