--- The master of a server: it does what the policy (fleet.lua) decides, and tells it what has happened.
--
-- 1. Sockets, board and bell are there before the first fork, and signals are watched.
-- 2. Time for decisions is the master's own: what it stood still for (stopped, suspended, busy) does not count.
-- 3. A worker's process, pipes and line are given back when its end is reported, and nowhere else.
-- 4. What the user's hooks raise is logged and changes nothing.
local core = require "minigun.core"
local endings = require "minigun.supervisor.endings"
local failure = require "minigun.base.failure"
local figures = require "minigun.supervisor.figures"
local fleet = require "minigun.supervisor.fleet"
local identity = require "minigun.supervisor.identity"
local kinds = require "minigun.supervisor.kinds"
local loops = require "minigun.loop"
local notify = require "minigun.supervisor.notify"
local output = require "minigun.supervisor.output"
local pid_file = require "minigun.supervisor.pid_file"
local sockets = require "minigun.supervisor.sockets"
local traceback = require "minigun.base.traceback"
local upgrade = require "minigun.supervisor.upgrade"
local worker = require "minigun.supervisor.worker"

local master = {}

local LINES <const> = 4096 -- of the board
local KILL <const>, ABRT <const> = 9, 6
local READY <const> = 1
local ASK_DRAIN <const>, ASK_STOP <const>, ASK_REOPEN <const> = 1, 2, 3

local Master = {}
Master.__index = Master

--- Writes a message.
---@param text string
---@param ... any for string.format
function Master:log(text, ...)
  text = text:format(...)
  if self.options.log then
    local ok, err = pcall(self.options.log, text)
    if ok then return end
    text = text .. "\n(the function 'log' has failed: " .. tostring(err) .. ")"
  end
  core.write_fd(2, ("minigun: %s: %s\n"):format(self.options.name, text))
end

local function call_hooks(self, name, ...)
  for _, f in ipairs(self.options[name] or {}) do
    local ok, err = traceback.call(f, ...)
    if not ok then self:log("the hook %s has failed: %s", name, err.message) end
  end
end

-- --- time -----------------------------------------------------------------------------------------------------------

local function clock(self)
  local now = core.now()
  self.steady = self.steady + math.min(now - self.looked_at, 2 * self.interval)
  self.looked_at = now
  return self.steady
end

-- --- a worker's process ---------------------------------------------------------------------------------------------

-- In a worker's process: what is the master's only is closed.
local function close_in_child(self, own)
  for each in pairs(self.workers) do
    if each ~= own then
      core.shut(each.control)
      core.shut(each.output.read)
    end
  end
  if self.upgrade then core.shut(self.upgrade.read) end
  self.page:close()
end

local function in_child(self, w, control)
  if not core.die_with_parent(self.pid) then return 1 end
  w.output:become()
  close_in_child(self, w)
  core.shut(w.control)
  local options = self.options
  return worker.run {
    number = w.number, generation = w.generation, options = options, sockets = self.sockets,
    line = self.board:take(w.line), bell = self.bell, control = control,
    most_requests = w.max_requests and math.max(1, math.ceil(w.max_requests)),
  }
end

local function free(self, w)
  self.workers[w] = nil
  if w.output then w.output:close() end
  if w.control then core.shut(w.control) end
  if w.line then table.insert(self.free_lines, w.line) end
  w.control, w.line = nil, nil
end

local function prepare(self, w)
  local message
  w.line = table.remove(self.free_lines)
  if not w.line then return nil, "there are too many processes" end
  self.board:wipe(w.line)
  w.output, message = output.open()
  if not w.output then return nil, message end
  local control
  control, w.control = core.pipe(true) -- a full one wakes as well: what is asked stands in the line
  if not control then
    message, w.control = w.control, nil
    return nil, message
  end
  return control
end

local function read_line(self, w)
  local state, waits, in_hand, beat, requests, accepted, doing = self.board:read(w.line)
  w.requests, w.in_hand, w.accepted, w.beat, w.doing, w.waits = requests, in_hand, accepted, beat, doing, waits
  return state
end

local function on_exit(self, w, ended)
  read_line(self, w)
  local text, expected = endings.text(ended), w.state == "draining"
  free(self, w)
  local tail = expected and "" or w.output:tail()
  self.fleet:exited(w, { text = text, tail = tail, code = ended.code, signal = ended.signal }, clock(self))
  call_hooks(self, "on_exit", self:describe(w), { code = ended.code, signal = ended.signal, text = text,
    expected = expected, stderr = w.output.last, core = ended.core, max_rss = ended.max_rss, cpu = ended.cpu })
  self:go_on()
end

local function fork(self, w)
  call_hooks(self, "before_fork", w.number)
  local control, message = prepare(self, w)
  local pid
  if control then
    pid, message = self.loop:fork(function(loop)
      loop:close()
      return in_child(self, w, control)
    end, { on_exit = function(ended) on_exit(self, w, ended) end })
    core.shut(control)
  end
  if pid then
    w.pid, w.began = pid, core.now()
    self.workers[w] = true
    w.output:watch(self.loop)
    return
  end
  free(self, w)
  self.fleet:exited(w, { text = "could not be started: " .. message, tail = "" }, clock(self))
end

-- --- what the policy wants ------------------------------------------------------------------------------------------

local actions = {}

function actions.start(self, w) fork(self, w) end
function actions.log(self, text) self:log("%s", text) end
function actions.notice(_, w) core.kill(w.pid, ABRT) end
function actions.kill(self, w)
  if self.workers[w] then core.kill(w.pid, KILL) end
end

function actions.drain(self, w, last)
  if not self.workers[w] then return end
  self.board:ask(w.line, last and not self.handed_over and not self.shared and ASK_STOP or ASK_DRAIN)
  core.write_fd(w.control, "d")
end

function actions.give_up(self, text)
  self:log("giving up: %s", text)
  call_hooks(self, "on_giving_up", text)
end

function actions.stop_listening(self)
  if not self.handed_over and not upgrade.is_awaited() then notify.tell "STOPPING=1" end -- another one serves then
  upgrade.abandon(self)
  if not self.handed_over then sockets.stop(self.sockets) end
  sockets.close(self.sockets, not self.handed_over)
end

function actions.restarted(self)
  if self.reloading then notify.tell "READY=1" end
  self.reloading = nil
end

function actions.finish(self, status)
  self.status_code = status
  self:log("ended, status %d", status)
  self.loop:stop()
end

--- Does what is to be done now, and sees to it that it is asked again in time.
function Master:go_on()
  if self.going then return end
  self.going = true
  local list, next_time
  repeat
    list, next_time = self.fleet:decide(clock(self))
    for _, action in ipairs(list) do actions[action[1]](self, table.unpack(action, 2)) end
  until #list == 0
  self.going = false
  if self.timer then self.timer:stop() end
  self.timer = nil
  if next_time and not self.status_code then
    self.timer = self.loop:after(math.max(0, next_time - self.steady), function() self:go_on() end)
  end
end

-- --- looking --------------------------------------------------------------------------------------------------------

local function all_ready(self)
  for _, slot in ipairs(self.fleet.slots) do
    if not slot.current or slot.current.state ~= "ready" then return false end
  end
  return not self.fleet.stopping
end

-- What a server says when it serves: "4 workers at 127.0.0.1:8080".
local function serving(self)
  local list = sockets.addresses(self.sockets)
  local workers = failure.count(#self.fleet.slots, "worker")
  return ("%s%s%s"):format(workers, list[1] and " at " or "", table.concat(list, ", "))
end

local function look(self, now)
  for w in pairs(self.workers) do
    local state = read_line(self, w)
    if state >= READY and w.state == "starting" and not w.killed then
      self.fleet:ready(w, now)
      call_hooks(self, "on_ready", self:describe(w))
    end
    self.fleet:beat(w, w.beat, w.waits, w.doing, now)
  end
  if not self.served and all_ready(self) then
    self.served = true
    notify.tell(("READY=1\nMAINPID=%d"):format(self.pid))
    sockets.take_over(self.sockets)
    upgrade.tell_ready()
    pid_file.write(self)
    self:log("%s", serving(self))
  end
  self:go_on()
end

local function tick(self)
  local now = clock(self)
  if self.options.max_memory and now - self.weighed_at >= math.min(1, self.interval) then
    self.weighed_at = now
    for w in pairs(self.workers) do w.memory = core.memory(w.pid) end
  end
  look(self, now)
end

--- What is known of a worker.
---@param w table
---@return minigun.WorkerStatus
function Master:describe(w)
  local slot = self.fleet.slots[w.number]
  return {
    number = w.number, pid = w.pid, state = w.ended and "gone" or w.state, generation = w.generation,
    requests = w.requests or 0, in_hand = w.in_hand or 0, accepted = w.accepted or 0,
    restarts = slot and slot.restarts or 0, beat = w.beat and core.now() - w.beat, doing = w.doing ~= "" and w.doing
      or nil, memory = not w.ended and w.pid and core.memory(w.pid) or nil, age = w.began and core.now() - w.began,
  }
end

--- What is known of all.
---@return minigun.ServerStatus
function Master:status()
  local list = {}
  for w in pairs(self.workers) do
    read_line(self, w)
    list[#list + 1] = self:describe(w)
  end
  table.sort(list, function(a, b)
    if a.number ~= b.number then return a.number < b.number end
    return a.pid < b.pid
  end)
  return { name = self.options.name, pid = self.pid, generation = self.fleet.generation, workers = list,
    wanted = #self.fleet.slots, listen = sockets.addresses(self.sockets), status = self.status_code,
    state = self.status_code and "ended" or self.fleet.stopping and "stopping" or self.served and "serving"
      or "starting" }
end

-- --- signals --------------------------------------------------------------------------------------------------------

--- What a signal asks for.
---@param what string of Fleet:command
---@param number integer
function Master:command(what, number)
  if what == "restart" and not self.fleet.stopping then
    self.reloading = true
    notify.tell(("RELOADING=1\nMONOTONIC_USEC=%d"):format(core.now() * 1e6 // 1))
  end
  self.fleet:command(what, number, clock(self))
  self:go_on()
end

local function reopen(self)
  self:log "log files are opened anew"
  call_hooks(self, "reopen")
  for w in pairs(self.workers) do
    self.board:ask(w.line, ASK_REOPEN)
    core.write_fd(w.control, "r")
  end
end

local COMMANDS <const> = { TERM = "stop", INT = "stop", QUIT = "quit", HUP = "restart", TTIN = "more", TTOU = "less" }

--- The signals that a server minds.
master.signals = { "TERM", "INT", "QUIT", "HUP", "TTIN", "TTOU", "USR1", "USR2", "WINCH" }

--- Does what a signal does.
---@param name string without "SIG"
function Master:signal(name)
  if self.status_code then return end
  if COMMANDS[name] then self:command(COMMANDS[name], core.signal_numbers[name])
  elseif name == "USR1" then reopen(self)
  elseif name == "USR2" and not self.fleet.stopping then upgrade.begin(self) end
end

-- --- beginning and end ----------------------------------------------------------------------------------------------

--- Gives everything back. Workers that still run are killed.
function Master:close()
  if self.closed or self.process ~= core.process() then return end
  if next(self.workers) then
    self.fleet:quit(self.status_code or 128 + KILL, clock(self))
    self:go_on()
    pcall(function()
      while next(self.workers) and self.loop:step(1) do end -- luacheck: ignore 542
    end)
    for w in pairs(self.workers) do -- the loop has failed
      core.end_child(w.pid)
      pcall(free, self, w)
    end
  end
  self.closed = true
  upgrade.abandon(self)
  self.loop:close()
  sockets.close(self.sockets, not self.handed_over)
  core.shut(self.bell)
  self.board:close()
  self.page:close()
  pid_file.remove(self)
end

Master.__gc, Master.__close = Master.close, Master.close

local function open(self)
  local options = self.options
  local identity_found, message, errno = identity.find(options.user, options.group)
  message = message or kinds.missing(options.loop)
  if message then return nil, message, errno end
  options.identity = identity_found
  self.board, message, errno = core.board(LINES)
  if not self.board then return nil, message, errno end
  self.bell, message, errno = core.event()
  if not self.bell then return nil, message, errno end
  self.loop, message, errno = loops.new()
  if not self.loop then return nil, message, errno end
  self.sockets, message, errno = sockets.open(options.listen or {}, options.backlog)
  if not self.sockets then return nil, message, errno end
  for _, socket in ipairs(self.sockets) do self.shared = self.shared or socket.inherited == "systemd" end
  return self.loop:watch_io(self.bell, "r", function()
    core.event_clear(self.bell)
    look(self, clock(self))
  end)
end

--- Starts a server: opens what it needs and forks its workers.
---@param options table filled in
---@return table? master nil: it cannot listen, or has not what it needs
---@return string? message
---@return integer? errno
function master.start(options)
  local beats = options.heartbeat_timeout
  local self = setmetatable({
    options = options, pid = core.pid(), process = core.process(), workers = {}, sockets = {}, free_lines = {},
    steady = 0, looked_at = core.now(), weighed_at = -1, interval = beats and math.min(1, beats / 4) or 1,
    fleet = fleet.new(options, math.random),
  }, Master)
  local ok, message, errno = open(self)
  if not ok then
    if self.loop then self.loop:close() end
    if self.sockets then sockets.close(self.sockets, true) end
    if self.bell then core.shut(self.bell) end
    if self.board then self.board:close() end
    self.closed = true
    return nil, message, errno
  end
  for i = LINES, 1, -1 do self.free_lines[#self.free_lines + 1] = i end
  self.loop:every(self.interval, function() tick(self) end)
  self.page = figures.open(self.loop, function() return self:status() end)
  local watchdog = notify.interval()
  if watchdog then self.loop:every(watchdog, function() notify.tell "WATCHDOG=1" end) end
  return self
end

return master
