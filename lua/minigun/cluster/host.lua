--- A worker host: takes chunks of a stage from the engine, runs the stage on their items in a pool of its own, and says
-- what has come of them. It is an ordinary run: one producer takes, another one says what is done, renews leases, and
-- looks for chunks of hosts that are gone; what is retried, timed out, or crashed is the pool's matter.
local connection = require "minigun.cluster.connection"
local core = require "minigun.core"
local engines = require "minigun.cluster.engine"
local failure = require "minigun.base.failure"
local message = require "minigun.cluster.message"
local route = require "minigun.policy.route"
local tasks = require "minigun.handlers.tasks"

local host = {}

local Host = {}
Host.__index = Host

local LOOK <const> = 200 -- milliseconds that a call for chunks waits
local BEAT <const> = 2   -- seconds between two words of being there
local IDLE <const> = 0.2 -- seconds between two looks for a job
local PAUSE <const>, PACE <const> = 0.1, 0.005 -- seconds before a call is made again; between two looks

--- Makes a worker host.
---@param given table
--- `address` of url.parse; `addresses` of the stage in the plan; `pipeline`, `stage`: names; `code`; `processes`;
--- `once`: it ends when there is no job
---@return table host
function host.new(given)
  local self = setmetatable({ given = given, chunks = {}, done = {}, in_hand = 0, job = false, facts = false,
    stopping = false, taking = connection.new(given.address), telling = connection.new(given.address) }, Host)
  self.name = ("%s:%d"):format((io.open "/proc/sys/kernel/hostname" or io.stdin):read "l" or "host", core.pid())
  return self
end

local function engine(self, link, job)
  return engines.new(link, self.given.pipeline, self.given.stage, job or self.job)
end

-- Calls f; what another connection may do better is tried again later. nil: not yet.
local function try(self, f)
  local value, fault = f()
  if not fault then return value end
  if not fault.again then error(("the cluster at %s: %s"):format(self.given.address.text, fault.message), 0) end
  tasks.sleep(PAUSE)
  return nil
end

-- --- the job -------------------------------------------------------------------------------------------------------

-- Looks for a job that this program is for. What another program is for is said, once for each.
local function find_job(self)
  local jobs = try(self, function() return engine(self, self.taking, ""):open_jobs() end) or {}
  for _, job in ipairs(jobs) do
    local facts = try(self, function() return engine(self, self.taking, job):facts() end)
    if facts and facts.state == "open" and facts.code == self.given.code then
      self.job, self.facts = job, facts
      return true
    elseif facts and facts.state == "open" then
      error(("job %s is of another program: its sum is %s, that of this one %s"):format(job, facts.code,
        self.given.code), 0)
    end
  end
  return false
end

local function leave_job(self)
  self.job, self.facts = false, false
  self.chunks, self.done, self.in_hand = {}, {}, 0
end

-- --- chunks --------------------------------------------------------------------------------------------------------

local function finish(self, id, bytes)
  table.insert(self.done, { id, "ok", bytes })
  self.chunks[id] = nil
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

-- What has come of an item. Of a job that was left in the meantime nothing is wanted.
local function answered(self, item, answer)
  local chunk = item.job == self.job and self.chunks[item.chunk]
  if not chunk or chunk.answers[item.k] then return end
  chunk.answers[item.k], chunk.left = answer, chunk.left - 1
  if chunk.left > 0 then return end
  self.in_hand = self.in_hand - 1
  finish(self, item.chunk, core.encode(chunk.answers))
end

-- The producer that takes.
local function take(self, emit)
  while not self.stopping do
    if not self.job and not find_job(self) then
      if self.given.once then break end
      tasks.sleep(IDLE)
    elseif self.in_hand >= 2 * self.given.processes then
      tasks.sleep(PACE)
    else
      local entries = try(self, function()
        return engine(self, self.taking):take(self.name, 2 * self.given.processes - self.in_hand, LOOK)
      end) or {}
      for _, entry in ipairs(entries) do begin(self, entry, emit) end
      if not entries[1] then
        local own = engine(self, self.taking)
        local facts = try(self, function()
          local found, fault = own:facts()
          return found or not fault and {}, fault
        end)
        if facts and facts.state ~= "open" then leave_job(self) end
      end
    end
  end
end

-- --- saying what is done -------------------------------------------------------------------------------------------

local function tell_done(self)
  local list, words = self.done, {}
  if not list[1] or not self.job then return end
  for _, each in ipairs(list) do table.move(each, 1, 3, #words + 1, words) end
  local counted, fault = engine(self, self.telling):done(self.given.code, words)
  if counted then
    table.move(list, #words // 3 + 1, #list + #words // 3, 1)
  elseif not fault.again and fault.code ~= "ERR" then
    error(("the cluster at %s: %s"):format(self.given.address.text, fault.message), 0)
  elseif fault.code == "ERR" then
    leave_job(self) -- it is gone
  end
end

local function renew(self)
  local ids = {}
  for id in pairs(self.chunks) do ids[#ids + 1] = id end
  if ids[1] then try(self, function() return engine(self, self.telling):renew(self.name, ids) end) end
end

-- The producer that tells: it emits what it has taken over from hosts that are gone.
local function keep(self, emit)
  local beat, renewed, reaped = 0, 0, core.now()
  while not self.stopping or self.in_hand > 0 or self.done[1] do
    tell_done(self)
    local now, lease = core.now(), self.facts and self.facts.lease / 1000 or math.huge
    if now - beat > BEAT then
      beat = now
      try(self, function() return engine(self, self.telling, ""):beat(self.name, self.given.code) end)
    end
    if self.job and now - renewed > lease / 3 then
      renewed = now
      renew(self)
    end
    if self.job and not self.stopping and now - reaped > lease / 4 and self.in_hand < self.given.processes then
      reaped = now
      local entries = try(self, function()
        return engine(self, self.telling):reap(self.name, self.facts, self.given.processes)
      end) or {}
      for _, entry in ipairs(entries) do begin(self, entry, emit) end
    end
    tasks.sleep(PACE)
  end
  engine(self, self.telling, ""):leave(self.name)
end

-- --- the stage -----------------------------------------------------------------------------------------------------

-- What a handler's emit and ctx are here: what it emits, collects and counts is written down.
local function recorder(ctx, item_id, addresses)
  local out, said = {}, {}
  local emit = setmetatable({ to = function(_, name, value)
    route.resolve(addresses, name, value, 3) -- raises for a name that there is not
    out[#out + 1] = { to = name, bytes = core.encode(value) }
  end }, { __call = function(_, value)
    if value == nil then failure.raise "nil cannot be emitted (an item is any value but nil)" end
    out[#out + 1] = { bytes = core.encode(value) }
  end })
  local own = setmetatable({ item_id = item_id,
    collect = function(_, name, value) said[#said + 1] = { "collect", name, value } end,
    count = function(_, name, n) said[#said + 1] = { "count", name, n or 1 } end }, { __index = ctx })
  return emit, own, out, said
end

--- The handler that workers run: that of the stage, on an item's bytes.
---@param handler function of the plan's stage
---@param addresses table of the plan: what names mean to `emit:to`
---@return function
function host.handler(handler, addresses)
  return function(item, emit, ctx)
    local own_emit, own_ctx, out, said = recorder(ctx, item.id, addresses)
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
  p:each("done", function(record) answered(self, record.item, record.answer) end)
  p:on_failure(function(record)
    if record.stage ~= "run" then return end
    answered(self, record.item, { failed = { kind = record.kind, message = record.message,
      traceback = record.traceback, attempts = record.attempts } })
  end)
  return p
end

--- Ends it in good order: what is in hand is finished.
function Host:stop() self.stopping = true end

return host
