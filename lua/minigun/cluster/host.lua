--- A worker host: takes chunks of a stage from the engine, runs the stage on their items in a pool of its own, and says
-- what has come of them. It is an ordinary run: one producer takes, another one says what is done, renews leases, and
-- looks for chunks of hosts that are gone; what is retried, timed out, or crashed is the pool's matter. Where the run
-- is asked to end, and has no producers any more, the last stage does their work until all is finished.
local connection = require "minigun.cluster.connection"
local core = require "minigun.core"
local current = require "minigun.handlers.current"
local engines = require "minigun.cluster.engine"
local message = require "minigun.cluster.message"
local pieces = require "minigun.cluster.pieces"

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
local PIECE <const> = 0.005 -- seconds of work that a process gets at once
local REST <const> = 0.05  -- seconds that a producer sleeps, unless a bell rings
local AHEAD <const>, MOST <const> = 0.05, 64 -- seconds of work that a host has in hand; in chunks at most

--- Makes a worker host.
---@param given table
--- `address` of url.parse; `stages` of the plan, `addresses` of the stage in it; `pipeline`, `stage`: names; `code`;
--- `processes`; `retries` of the stage; `once`: it ends when there is no job; `tell(text)` is called when the server is
--- away, and when it is back
---@return table host
function host.new(given)
  local self = setmetatable({ given = given, chunks = {}, rest = {}, done = {}, in_hand = 0, job = false, facts = false,
    serial = 0,       -- of the chunk that was begun last
    per_item = false, -- seconds
    resting = false,  -- the producer that tells waits for the bell
    sent = false,     -- what was said of `done` and not answered yet
    stopping = false, ending = false, full = false, failed = 0, beat = 0, renewed = 0, reaped = core.now(),
    idle = false,
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
  self.chunks, self.rest, self.done, self.in_hand = {}, {}, {}, 0
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
  current.sleep(PAUSE)
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
    if facts and facts.state == "open" and not facts.dead then
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

-- What `done` of the engine takes.
local function results_of(list)
  local results = {}
  for _, each in ipairs(list) do table.move(each, 1, 3, #results + 1, results) end
  return results
end

-- A chunk is done. That is said at once, where the producer that tells only waits; it hears the answer.
local function finish(self, id, bytes)
  local list = self.done
  table.insert(list, { id, "ok", bytes })
  self.chunks[id] = nil
  core.event_ring(self.bell)
  if not self.resting or self.sent then return end
  local results = results_of(list)
  local commands = engine(self, self.telling):send_done(self.given.code, results)
  self.sent = commands and { list = list, n = #list, results = results, commands = commands }
end

-- A chunk that is in hand is done.
local function finish_chunk(self, id, bytes)
  self.in_hand = self.in_hand - 1
  if self.full then core.event_ring(self.room) end
  finish(self, id, bytes)
end

-- Items of a chunk as a chunk; nil: it is none.
local function bytes_of(chunk, first, n)
  if n == chunk.n then return chunk.bytes end
  chunk.items = chunk.items or message.items(chunk.bytes)
  return chunk.items and message.chunk(table.move(chunk.items, first, first + n - 1, 1, {}))
end

-- Emits items of a chunk, from `first` on, in pieces. Of items whose time is not known each is one by itself.
local function emit_pieces(self, own, emit)
  local id, chunk, last = own.id, self.chunks[own.id], own.first + own.n - 1
  if chunk ~= own.chunk then return end -- it was left meanwhile
  local most = self.per_item and math.max(1, math.floor(PIECE / math.max(self.per_item, 1e-9))) or 1
  for first = own.first, last, most do
    local n = math.min(most, last - first + 1)
    local bytes = bytes_of(chunk, first, n)
    if not bytes then return finish_chunk(self, id, core.encode {}) end
    emit { chunk = id, serial = chunk.serial, first = first, n = n, again = own.again, id = chunk.id, bytes = bytes }
  end
end

-- Emits what is left of pieces that have ended early.
local function emit_rest(self, emit)
  while self.rest[1] do emit_pieces(self, table.remove(self.rest, 1), emit) end
end

-- Begins with a chunk.
local function begin(self, entry, emit)
  local id, bytes = entry[1], entry[2] and entry[2][2]
  if self.chunks[id] then return end
  local n = message.count(bytes)
  if n == 0 then return finish(self, id, core.encode {}) end
  self.serial = self.serial + 1
  local chunk = { id = ("%s/%s/%s#"):format(self.job, self.given.stage, id), serial = self.serial, n = n, left = n,
    bytes = bytes, parts = {}, items = nil, busy = 0 }
  self.chunks[id] = chunk
  self.in_hand = self.in_hand + 1
  emit_pieces(self, { id = id, chunk = chunk, first = 1, n = n }, emit)
end

-- Sets how many chunks the host is to have in hand: as many as give its processes AHEAD seconds of work, and at least
-- two for each process.
local function plan_ahead(self, busy)
  local n = self.given.processes
  self.cost = (7 * self.cost + busy) / 8
  self.most = math.max(2 * n, math.min(MOST, math.ceil(AHEAD * n / self.cost)))
end

-- The chunk that a piece is of. Of one that was left in the meantime nothing is wanted.
local function chunk_of(self, piece)
  local chunk = self.chunks[piece.chunk]
  return chunk and chunk.serial == piece.serial and chunk or nil
end

-- Items of a chunk are to be run again, or for the first time.
local function run_rest(self, piece, chunk, first, n, again)
  if n < 1 then return end
  table.insert(self.rest, { id = piece.chunk, chunk = chunk, first = first, n = n, again = again })
  core.event_ring(self.bell)
end

-- What has come of n items of a chunk, from `first` on.
local function add_part(self, piece, chunk, first, n, bytes, busy)
  if n > 0 then table.insert(chunk.parts, { first = first, n = n, bytes = bytes }) end
  chunk.left, chunk.busy = chunk.left - n, chunk.busy + busy
  if chunk.left > 0 then return end
  plan_ahead(self, chunk.busy)
  table.sort(chunk.parts, function(a, b) return a.first < b.first end)
  finish_chunk(self, piece.chunk, message.join(chunk.parts))
end

-- A worker has done a piece, or has begun with it.
local function answered(self, piece)
  local chunk, done = chunk_of(self, piece), piece.done
  if not chunk then return end
  if done > 0 then
    local per = piece.busy / done
    self.per_item = self.per_item and (3 * self.per_item + per) / 4 or per
  end
  local next_one = piece.first + done
  if piece.again then
    run_rest(self, piece, chunk, next_one, 1, piece.again)
    next_one = next_one + 1
  end
  run_rest(self, piece, chunk, next_one, piece.first + piece.n - next_one)
  add_part(self, piece, chunk, piece.first, done, piece.bytes, piece.busy)
end

-- An item has failed for good, or in the middle of a piece; where it is not known which, all are run by themselves.
local function failed(self, piece, record)
  local chunk, step = chunk_of(self, piece), record.step
  if not chunk then return end
  local text = record.message:gsub("^%?: ", "") -- the submitter says where its stage is defined
  local known = { kind = record.kind, message = text, traceback = record.traceback, attempts = record.attempts }
  if piece.n > 1 and not step then
    for k = piece.first, piece.first + piece.n - 1 do run_rest(self, piece, chunk, k, 1) end
    return
  end
  local k = piece.first + (step or 1) - 1
  run_rest(self, piece, chunk, piece.first, k - piece.first)
  run_rest(self, piece, chunk, k + 1, piece.first + piece.n - 1 - k)
  if step and self.given.retries > 0 then return run_rest(self, piece, chunk, k, 1, known) end
  add_part(self, piece, chunk, k, 1, message.failed(known), 0)
end

-- Nothing was there to be taken: does the job go on, and is there work of another one?
local function look_around(self)
  local job, gone = self.job, false
  try(self, function()
    local facts, fault = engine(self, self.taking):facts()
    gone = not fault and (not facts or facts.state ~= "open" or facts.dead)
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
      current.sleep(IDLE)
    elseif job and room <= 0 then
      self.full = true
      if current.wait(self.room, "r", REST) then core.event_clear(self.room) end
      self.full = false
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
  local list, sent = self.done, self.sent
  self.sent = false
  if not list[1] or not self.job then return end
  if not sent or sent.list ~= list then sent = { n = #list, results = results_of(list) } end
  local counted = try(self, function()
    return engine(self, self.telling):done(self.given.code, sent.results, sent.commands)
  end)
  if counted then table.move(list, sent.n + 1, #list + sent.n, 1) end
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

-- Takes over the chunks of hosts that are gone. Chunks that a host has given back are taken as soon as this one has
-- nothing else to do.
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
    emit_rest(self, emit)
    reap(self, emit)
    self.resting = not self.done[1]
    if self.resting and current.wait(self.bell, "r", REST) then core.event_clear(self.bell) end
    self.resting = false
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

--- Defines the run of a worker host.
---@param p table an empty pipeline
---@param stage table of the plan: `handler`, `route`, `retries`, `backoff`, `timeout`, `hooks`
---@return table p
function Host:define(p, stage)
  p:producer("take", { threads = 1 }, function(emit)
    local ok, fault = pcall(take, self, emit)
    self.stopping = true -- the other producer ends, too
    if not ok then error(fault, 0) end
  end)
  p:producer("keep", { threads = 1 }, function(emit) keep(self, emit) end)
  p:processor("run", { processes = self.given.processes, from = { "take", "keep" }, retries = stage.retries,
    backoff = stage.backoff ~= 0 and stage.backoff or nil, timeout = stage.timeout or nil }, function() end)
  p.stages[#p.stages].by_parts = pieces.handler { pipeline = self.given.pipeline, stage = self.given.stage,
    plan = stage, stages = self.given.stages, addresses = self.given.addresses }
  for name, list in pairs(stage.hooks or {}) do
    for _, hook in ipairs(list) do p[name](p, "run", hook.f) end
  end
  p:processor("done", function(piece, emit)
    answered(self, piece)
    if not self.ending then return end
    tell(self)
    emit_rest(self, function(rest) emit:to("run", rest) end)
  end)
  p:after_run(function() leave(self) end)
  p:on_failure(function(record)
    if record.stage == "run" and record.item then failed(self, record.item, record) end
  end)
  return p
end

return host
