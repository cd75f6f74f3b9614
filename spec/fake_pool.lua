-- A pool without processes, and what a place that runs stages in workers sees of a run: both note what they are asked.
-- So the policy of a place (who gets what, what a death costs) is tested without a fork. Records are 8 bytes each.

local acks = require "minigun.policy.acks"
local failure = require "minigun.base.failure"
local ledger = require "minigun.run.ledger"
local stats = require "minigun.base.stats"
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
function Pool:widen() return true end
function Pool:memory() return 0 end

-- The offset behind n records, and how many there were.
function Pool:walk(_, offset, length, _, n)
  n = math.min(n, length // M.RECORD)
  return offset + M.RECORD * n, n
end

--- What a place sees of a run of one stage in workers.
-- @param pool from `pool`
-- @param options table: fields of the stage
-- @return table run; `finished_items`, `failures`, `warnings`: what it was told
function M.run(pool, options)
  local stage = { id = 1, name = "work", kind = "processor", hooks = { after = {} }, outputs = {}, retries = 0 }
  for key, value in pairs(options or {}) do stage[key] = value end
  local function quiet() end
  local run = {
    pool = pool, memory = 1 << 26, queue_bytes = 1 << 20, held_most = 1 << 24, chunks = 0, warnings = {}, failures = {},
    heap = { prepare = quiet, forked = quiet }, stats = { stats.stage() }, ledger = false,
    finished_items = 0, result = { failed = 0, stats = { workers = {} } },
    plan = { stages = { stage }, hooks = { on_worker_exit = {} },
      options = { max_restarts = 3, restart_window = 5, grace = nil } },
    hooks = quiet, release_overdraft = quiet, check_entry = quiet, acks = acks.new(quiet), resume = false,
  }
  run.ledger = ledger.new { stage }
  function run:warn(text) self.warnings[#self.warnings + 1] = text end
  function run:fail(text) error(text, 0) end
  function run:finished(_, n) self.finished_items = self.finished_items + n end
  function run:item_failed(_, _, _, fields, entry)
    fields.stage, fields.attempts, fields.first = "work", fields.attempt, entry.first
    self.failures[#self.failures + 1] = failure.new(fields)
    return self.failures[#self.failures]
  end
  function run:settle_failure(_, fields) self:item_failed(nil, nil, nil, fields, {}) end
  function run:receivers_full() return self.full or false end
  function run:room() return self.room_left or math.huge end
  function run:room_of() return self.room_left or math.huge end
  function run:may_lend() return true end
  return run
end

--- A segment of workers over them, started.
-- @param n workers
-- @param options table?: fields of the stage; `ordered`, `per_item`
-- @return segment, pool, run
function M.segment(n, options)
  local pool = M.pool()
  local run = M.run(pool, options)
  options = options or {}
  local segment = workers.new(run, { id = 1, kind = options.per_item and "process_per_batch" or "processes", n = n,
    stages = { 1 }, width = 0, context = ("processes(%d)"):format(n), ordered = options.ordered,
    hooks = { before_fork = {}, after_fork = {}, before_exit = {} } }, 1)
  segment:start()
  return segment, pool, run
end

--- Queues n items in one block.
function M.push(segment, n, block)
  block = block or 7
  segment.pool:retain(block)
  segment:push { stage = 1, count = n, attempt = 1, block = block, offset = 0, length = n * M.RECORD }
end

--- How many items are in the hands of workers.
function M.in_hand(segment)
  local n = 0
  for _, slot in ipairs(segment.slots) do
    for _, entry in pairs(slot.hand) do n = n + entry.count - (entry.finished or 0) end
  end
  return n
end

--- A worker has finished items of the chunk that it is at.
function M.done(segment, worker, items, ended, seconds)
  local slot = segment.slots[worker]
  local number
  for each in pairs(slot.hand) do number = math.min(number or each, each) end
  local block = slot.hand[number].block
  segment:on_done(slot, number, items, ended, false, seconds or 0.0001)
  if ended and block then segment.pool:release(block) end -- the pool's own reference
end

--- A worker has died; `in_hand`: in the middle of an item of the chunk that it was at. The pool's references to the
-- blocks of its chunks come with the events.
function M.die(segment, worker, in_hand, code, signal, how)
  local slot, numbers = segment.slots[worker], {}
  for number in pairs(slot.hand) do numbers[#numbers + 1] = number end
  table.sort(numbers)
  for i, number in ipairs(numbers) do
    local entry = slot.hand[number]
    local passed = entry.finished or 0
    segment:on_left(slot, { number = number, block = entry.block, offset = (entry.offset or 0) + passed * M.RECORD,
      length = (entry.count - passed) * M.RECORD, count = entry.count - passed, in_hand = in_hand and i == 1,
      how = how or 0 })
  end
  segment:on_exit(slot, slot.pid, code or 0, signal or 0, false)
end

return M
