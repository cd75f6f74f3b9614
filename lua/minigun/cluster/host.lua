--- A worker host: takes chunks of a stage from the engine, runs the stage on their items in a pool of its own, and says
-- what has come of them. It is an ordinary run: one producer takes, another one says what is done, renews leases, and
-- looks for chunks of hosts that are gone; what is retried, timed out, or crashed is the pool's matter. Where the run
-- is asked to end, and has no producers any more, the last stage does their work until all is finished.
local connection = require "minigun.cluster.connection"
local core = require "minigun.core"
local ctx = require "minigun.handlers.ctx"
local emits = require "minigun.handlers.emit"
local engines = require "minigun.cluster.engine"
local message = require "minigun.cluster.message"
local replies = require "minigun.child.replies"
local route = require "minigun.policy.route"
local tasks = require "minigun.handlers.tasks"

local host = {}

local Host = {}
Host.__index = Host

local LOOK <const> = 200 -- milliseconds that a call for chunks waits
local BEAT <const> = 2   -- seconds between two words of being there
local IDLE <const> = 0.2 -- seconds between two looks for a job
local GONE <const> = { GONE = true, NOGROUP = true, UNBLOCKED = true } -- errors that say that a job is not there
local LAST <const> = 5    -- seconds in which the end of a host can be told
local PAUSE <const> = 0.1  -- seconds before a call is made again
local TELL <const> = 5     -- calls that fail one after the other, until the user is told
local REST <const> = 0.05  -- seconds that a producer sleeps, unless a bell rings
local AHEAD <const>, MOST <const> = 0.05, 64 -- seconds of work that a host has in hand; in chunks at most

--- Makes a worker host.
---@param given table
--- `address` of url.parse; `addresses` of the stage in the plan; `pipeline`, `stage`: names; `code`; `processes`;
--- `once`: it ends when there is no job; `tell(text)` is called when the server is away, and when it is back
---@return table host
function host.new(given)
  local self = setmetatable({ given = given, chunks = {}, done = {}, in_hand = 0, job = false, facts = false,
    stopping = false, ending = false, failed = 0, beat = 0, renewed = 0, reaped = core.now(), idle = false,
    bell = assert(core.event()), -- rings where a chunk is to be told of
    room = assert(core.event()), -- rings where another one can be taken
    cost = 0.1, most = 2 * given.processes, -- seconds of a chunk; chunks in hand
    taking = connection.new(given.address), telling = connection.new(given.address) }, Host)
  local file <close> = io.open "/proc/sys/kernel/hostname"
  self.name = ("%s:%d:%x"):format(file and file:read "l" or "host", core.pid(), core.random() & 0xffffffff)
  return self
end

local function engine(self, link, job)
  return engines.new(link, self.given.pipeline, self.given.stage, job or self.job)
end

-- All that is of a job is gone from here: of one that has ended, or that the server has lost. The submitter makes the
-- latter known again, with what was not finished.
local function leave_job(self)
  self.job, self.facts = false, false
  self.chunks, self.done, self.in_hand = {}, {}, 0
end

-- Calls f; what another connection may do better is tried again later. nil: not yet, or the job is gone.
local function try(self, f)
  local job = self.job
  local value, fault = f()
  if not fault then
    if self.failed >= TELL then self.given.tell(("%s is there again"):format(self.given.address.text)) end
    self.failed = 0
    return value
  end
  if GONE[fault.code] then return self.job == job and leave_job(self) or nil end
  if not fault.again then error(("the cluster at %s: %s"):format(self.given.address.text, fault.message), 0) end
  self.failed = self.failed + 1
  if self.failed == TELL then
    self.given.tell(("%s: %s; tried again until it is there"):format(self.given.address.text, fault.message))
  end
  tasks.sleep(PAUSE)
  return nil
end

-- --- the job -------------------------------------------------------------------------------------------------------

-- Looks for a job that this program is for, after the one it has. A program that is for none of them is refused.
local function find_job(self)
  local jobs = try(self, function() return engine(self, self.taking, ""):open_jobs() end) or {}
  local first, other = 0, nil
  for i, job in ipairs(jobs) do
    if job == self.job then first = i end
  end
  for i = first + 1, first + #jobs do
    local job = jobs[(i - 1) % #jobs + 1]
    local facts = try(self, function() return engine(self, self.taking, job):facts() end)
    if facts and facts.state == "open" and facts.silent < engines.SILENT then
      if facts.code == self.given.code then
        self.job, self.facts = job, facts
        return true
      end
      other = other or ("job %s is of another program: its sum is %s, that of this one %s"):format(job, facts.code,
        self.given.code)
    end
  end
  if other and not self.job then error(other, 0) end
  return false
end

-- --- chunks --------------------------------------------------------------------------------------------------------

local function finish(self, id, bytes)
  table.insert(self.done, { id, "ok", bytes })
  self.chunks[id] = nil
  core.event_ring(self.bell)
end

-- Emits the items of a chunk.
local function begin(self, entry, emit)
  local id, items = entry[1], message.items(entry[2] and entry[2][2])
  if self.chunks[id] then return end
  if not items or not items[1] then return finish(self, id, core.encode {}) end
  self.chunks[id] = { left = #items, answers = {} }
  self.in_hand = self.in_hand + 1
  for k, bytes in ipairs(items) do
    emit { job = self.job, chunk = id, k = k, bytes = bytes, id = ("%s/%s/%s#%d"):format(self.job, self.given.stage, id,
      k) }
  end
end

-- How many chunks are to be in hand: those that AHEAD seconds of work take, and two for each process at least.
local function plan_ahead(self, answers)
  local busy, n = 0, self.given.processes
  for _, answer in ipairs(answers) do busy = busy + (answer.busy or 0) end
  self.cost = (7 * self.cost + busy) / 8
  self.most = math.max(2 * n, math.min(MOST, math.ceil(AHEAD * n / self.cost)))
end

-- What has come of an item. Of a job that was left in the meantime nothing is wanted.
local function answered(self, item, answer)
  local chunk = item.job == self.job and self.chunks[item.chunk]
  if not chunk or chunk.answers[item.k] then return end
  chunk.answers[item.k], chunk.left = answer, chunk.left - 1
  if chunk.left > 0 then return end
  self.in_hand = self.in_hand - 1
  core.event_ring(self.room)
  plan_ahead(self, chunk.answers)
  finish(self, item.chunk, core.encode(chunk.answers))
end

-- Nothing was there to be taken: does the job go on, and is there work of another one?
local function look_around(self)
  local job, gone = self.job, false
  try(self, function()
    local facts, fault = engine(self, self.taking):facts()
    gone = not fault and (not facts or facts.state ~= "open" or facts.silent >= engines.SILENT)
    return true, fault
  end)
  if self.job ~= job then return end -- the other producer has left it
  if gone then leave_job(self)
  elseif self.in_hand == 0 and not self.done[1] then find_job(self) end
end

-- Begins chunks that were asked for, unless the job was left in the meantime.
local function begin_all(self, job, entries, emit)
  if self.job ~= job then return end
  for _, entry in ipairs(entries or {}) do begin(self, entry, emit) end
end

-- The producer that takes.
local function take(self, emit)
  while not self.stopping do
    local job, room = self.job, self.most - self.in_hand
    if not job and not find_job(self) then
      if self.given.once then break end
      tasks.sleep(IDLE)
    elseif job and room <= 0 then
      if tasks.wait(self.room, "r", REST) then core.event_clear(self.room) end
    elseif job then
      local entries = try(self, function() return engine(self, self.taking):take(self.name, room, LOOK) end)
      begin_all(self, job, entries, emit)
      self.idle = self.job and not (entries and entries[1]) or false
      if self.job and not (entries and entries[1]) then look_around(self) end
    end
  end
end

-- --- saying what is done -------------------------------------------------------------------------------------------

local function tell_done(self)
  local list, words, job = self.done, {}, self.job
  if not list[1] or not job then return end
  for _, each in ipairs(list) do table.move(each, 1, 3, #words + 1, words) end
  local n = #list
  local counted = try(self, function() return engine(self, self.telling):done(self.given.code, words) end)
  if counted then table.move(list, n + 1, #list + n, 1) end
end

local function chunks_in_hand(self)
  local ids = {}
  for id in pairs(self.chunks) do ids[#ids + 1] = id end
  return ids
end

-- Says what is done, that it is there, and that what it has in hand is not lost.
local function tell(self)
  tell_done(self)
  local now, lease = core.now(), self.facts and self.facts.lease / 1000 or math.huge
  if now - self.beat > BEAT then
    self.beat = now
    try(self, function() return engine(self, self.telling, ""):beat(self.name, self.given.code) end)
  end
  if self.job and now - self.renewed > lease / 3 then
    self.renewed = now
    local ids = chunks_in_hand(self)
    if ids[1] then try(self, function() return engine(self, self.telling):renew(self.name, ids) end) end
  end
end

-- Takes over chunks of hosts that are gone; those that were given back, as soon as there is nothing else to do.
local function reap(self, emit)
  local job, now, n = self.job, core.now(), self.given.processes
  if not job or self.stopping or self.in_hand >= n then return end
  if not self.idle and now - self.reaped < self.facts.lease / 4000 then return end
  self.reaped, self.idle = now, false
  begin_all(self, job, try(self, function() return engine(self, self.telling):reap(self.name, self.facts, n) end), emit)
end

-- The producer that tells. Where it is ended, it may be in the middle of a reply.
local function keep(self, emit)
  local _ <close> = setmetatable({}, { __close = function()
    self.stopping, self.ending = true, true
    self.telling:close()
  end })
  while not self.stopping or self.in_hand > 0 or self.done[1] do
    tell(self)
    reap(self, emit)
    if not self.done[1] and tasks.wait(self.bell, "r", REST) then core.event_clear(self.bell) end
  end
end

-- The end of the run: says what is done, and gives back what is not.
local function leave(self)
  local due = core.now() + LAST
  while self.job and self.done[1] and core.now() < due do tell_done(self) end
  local ids = self.job and chunks_in_hand(self) or {}
  if ids[1] then engine(self, self.telling):give_back(self.name, self.facts.lease, ids) end
  engine(self, self.telling, ""):leave(self.name)
  self.telling:close()
  self.taking:close()
  core.shut(self.bell)
  core.shut(self.room)
end

-- --- the stage -----------------------------------------------------------------------------------------------------

-- What a handler's emit and ctx are here: what it emits, collects and counts is written down.
local function recorder(given, item_id, addresses)
  local out, said = {}, {}
  local function put(name, value)
    replies.check(value)
    out[#out + 1] = { to = name, bytes = core.encode(value) }
  end
  local emit = emits.new(function(_, value, more)
    if more ~= nil then error(emits.MORE, 2) end
    if value == nil then error(emits.NIL, 2) end
    put(nil, value)
  end, function(name, value)
    if value == nil then error(emits.NIL, 3) end
    route.resolve(addresses, name, value, 3) -- raises for a name that there is not
    put(name, value)
  end)
  local own = ctx.new({ pipeline = given.pipeline, stage = given.stage, pid = given.pid, worker = given.worker,
    item_id = item_id }, replies.checker(function(kind, name, value) said[#said + 1] = { kind, name, value } end))
  own.state, own.attempt = given.state, given.attempt
  return emit, own, out, said
end

--- The handler that workers run: that of the stage, on an item's bytes.
---@param handler function of the plan's stage
---@param addresses table of the plan: what names mean to `emit:to`
---@return function
function host.handler(handler, addresses)
  return function(item, emit, given)
    local own_emit, own_ctx, out, said = recorder(given, item.id, addresses)
    local start = core.now()
    local value, problem = core.decode(item.bytes)
    if value == nil and problem then error("cannot decode an item: " .. problem, 0) end
    handler(value, own_emit, own_ctx)
    emit { item = { job = item.job, chunk = item.chunk, k = item.k },
      answer = { out = out, said = said, busy = core.now() - start } }
  end
end

--- Defines the run of a worker host.
---@param p table an empty pipeline
---@param stage table of the plan: `handler`, `retries`, `backoff`, `timeout`, `hooks`
---@return table p
function Host:define(p, stage)
  p:producer("take", function(emit)
    local ok, fault = pcall(take, self, emit)
    self.stopping = true -- the other producer ends, too
    if not ok then error(fault, 0) end
  end)
  p:producer("keep", function(emit) keep(self, emit) end)
  p:processor("run", { processes = self.given.processes, from = { "take", "keep" }, retries = stage.retries,
    backoff = stage.backoff ~= 0 and stage.backoff or nil, timeout = stage.timeout or nil },
    host.handler(stage.handler, self.given.addresses))
  for name, list in pairs(stage.hooks or {}) do
    for _, hook in ipairs(list) do p[name](p, "run", hook.f) end
  end
  p:each("done", function(record)
    answered(self, record.item, record.answer)
    if self.ending then tell(self) end
  end)
  p:after_run(function() leave(self) end)
  p:on_failure(function(record)
    if record.stage ~= "run" then return end
    local text = record.message:gsub("^%?: ", "") -- the submitter says where its stage is defined
    answered(self, record.item, { failed = { kind = record.kind, message = text,
      traceback = record.traceback, attempts = record.attempts } })
  end)
  return p
end

return host
