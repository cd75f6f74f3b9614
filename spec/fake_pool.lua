-- A pool without processes, and what a place that runs stages in workers sees of a run: both note what they are asked.
-- So the policy of a place (which worker gets what, what a death costs) is tested without a fork. Records are 8 bytes
-- each.

local core = require "minigun.core"
local failure = require "minigun.base.failure"
local stats = require "minigun.base.stats"
local work = require "minigun.base.work"
local workers = require "minigun.contexts.workers"

local M = {}

M.RECORD = 8

local Pool = {}
Pool.__index = Pool

--- Makes a pool whose slots only note what is done to them.
-- @return pool; `calls`: array of texts; `held`: references by block; `overtimes`: seconds by slot
function M.pool()
  return setmetatable({ calls = {}, held = {}, overtimes = {}, revocable = {}, shortened = {}, states = {},
    next_pid = 1000, refuses = nil, full = nil }, Pool)
end

function Pool:note(...) self.calls[#self.calls + 1] = table.concat({ ... }, " ") end

function Pool:take_calls()
  local calls = self.calls
  self.calls = {}
  return calls
end

function Pool:spawn(slot)
  if self.refuses then return nil, "cannot fork: no more processes", self.refuses end
  self.next_pid = self.next_pid + 1
  self:note("spawn", slot)
  return self.next_pid
end

function Pool:offer(slot, number, _, _, _, count)
  if self.full == slot then return false end
  self:note("offer", slot, "chunk", number, "items", count)
  return true
end

function Pool:lend() return 65536 end
function Pool:state(slot) return table.unpack(self.states[slot] or { 0, 2, 0 }) end
function Pool:finish(slot) self:note("finish", slot) end
function Pool:stop(slot) self:note("stop", slot) end
function Pool:kill(slot) self:note("kill", slot) end
function Pool:revoke(slot) return self.revocable[slot] end
function Pool:shorten(slot) return table.unpack(self.shortened[slot] or {}) end
function Pool:retain(block) self.held[block] = (self.held[block] or 0) + 1 end
function Pool:release(block) self.held[block] = self.held[block] - 1 end
function Pool:overtime(slot) return self.overtimes[slot] or 0, slot end
function Pool:time_out(slot) self:note("time out", slot) end
function Pool:make_threaded() return true end
function Pool:memory() return 0 end

-- The offset after n records, and how many there were.
function Pool:walk(_, offset, length, _, n)
  n = math.min(n, length // M.RECORD)
  return offset + M.RECORD * n, n
end

--- The port of a place (contexts/contract.lua) over it, for one stage; notes what it is asked.
-- @param pool from `pool`
-- @param options table: fields of the stage
-- @return table port; `finished_items`, `failures`, `warnings`, `ends`, `workers`: what it was told; `is_full`,
-- `room_left`: what it answers
function M.port(pool, options)
  local stage = { id = 1, name = "work", kind = "processor", hooks = { after = {} }, outputs = {}, retries = 0 }
  for key, value in pairs(options or {}) do stage[key] = value end
  local function quiet() end
  local port = {
    pool = pool, memory = 1 << 26, queue_bytes = 1 << 20, held_most = 1 << 24, pid = 1, warnings = {}, failures = {},
    heap = { prepare = quiet, forked = quiet }, stats = { stats.stage() }, finished_items = 0, ends = 0, workers = {},
    plan = { stages = { stage }, hooks = { on_worker_exit = {} },
      options = { max_restarts = 3, restart_window = 5, grace = nil } },
    now = core.now, clock = core.clock, is_full = false, room_left = math.huge,
    hooks = quiet, returned = quiet, check = quiet, under = quiet, changed = quiet, source = quiet, timed = quiet,
    take_overdraft = quiet, reopen = quiet,
  }
  function port.warn(text) port.warnings[#port.warnings + 1] = text end
  function port.fail(text) error(text, 0) end
  function port.finished(_, n) port.finished_items = port.finished_items + n end
  function port.failed(_, _, _, fields, own)
    fields.stage, fields.attempts, fields.first = "work", fields.attempt, own.first
    port.failures[#port.failures + 1] = failure.new(fields)
    return port.failures[#port.failures]
  end
  function port.settle(_, fields) port.failed(nil, nil, nil, fields, {}) end
  function port.any_failed() return #port.failures > 0 end
  function port.accept() port.ends = port.ends + 1 end
  function port.worker(record) port.workers[#port.workers + 1] = record end
  function port.blocked() return port.is_full end
  function port.room() return port.room_left end
  function port.room_of() return port.room_left end
  function port.lend() return true end
  return port
end

--- A place of workers over them, started.
-- @param n workers
-- @param options table?: fields of the stage; `ordered`; `items_per_worker`
-- @return place, pool, port
function M.place(n, options)
  local pool = M.pool()
  local port = M.port(pool, options)
  options = options or {}
  local place = workers.new(port, { id = 1, kind = "processes", n = n, name = "work", stages = { 1 }, width = 0,
    items_per_worker = options.items_per_worker or math.huge, context = ("processes(%d)"):format(n),
    ordered = options.ordered, hooks = { before_fork = {}, after_fork = {}, before_exit = {} } }, 1)
  place:start()
  return place, pool, port
end

--- Queues n items in one block.
function M.push(place, n, block)
  block = block or 7
  place.pool:retain(block)
  place:push(work.of_bytes(1, block, 0, n * M.RECORD, n, 0xffff))
end

--- How many items are in the hands of workers.
function M.in_hand(place)
  local n = 0
  for _, slot in ipairs(place.slots) do
    for _, entry in pairs(slot.hand) do n = n + entry.count - (entry.finished or 0) end
  end
  return n
end

--- A worker has finished items of the chunk that it is at.
function M.done(place, worker, items, ended, seconds)
  local slot = place.slots[worker]
  local number
  for each in pairs(slot.hand) do number = math.min(number or each, each) end
  local block = slot.hand[number].block
  place:on_done(slot, number, items, ended, false, seconds or 0.0001)
  if ended and block then place.pool:release(block) end -- the pool's own reference
end

--- A worker has died; `in_hand`: in the middle of an item of the chunk that it was at. The pool's references to the
-- blocks of its chunks come with the events.
function M.die(place, worker, in_hand, code, signal, how)
  local slot, numbers = place.slots[worker], {}
  for number in pairs(slot.hand) do numbers[#numbers + 1] = number end
  table.sort(numbers)
  for i, number in ipairs(numbers) do
    local entry = slot.hand[number]
    local passed = entry.finished or 0
    place:on_left(slot, { number = number, block = entry.block, offset = (entry.offset or 0) + passed * M.RECORD,
      length = (entry.count - passed) * M.RECORD, count = entry.count - passed, in_hand = in_hand and i == 1,
      how = how or 0 })
  end
  place:on_exit(slot, slot.pid, code or 0, signal or 0, false)
end

return M
