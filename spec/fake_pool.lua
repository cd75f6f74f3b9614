-- A pool without processes, and what a place that runs stages in workers sees of a run: both note what they are asked.
-- Ledger, blocks and slots are the real ones; a slot's worker is played. So what a worker gets, and what a death costs,
-- is tested without a fork.

local core = require "minigun.core"
local failure = require "minigun.base.failure"
local ledgers = require "minigun.run.ledger"
local stats = require "minigun.base.stats"
local workers = require "minigun.contexts.workers"

local M = {}

local Pool = {}

--- Makes a pool whose slots have no processes.
-- @param slots integer?
-- @return pool with the methods of a real one, `real`; `calls`: array of texts; `overtimes`: seconds by slot;
-- `refuses`: the errno of a fork
function M.pool(slots)
  local real = core.pool(slots or 4, 64 << 20, 64 << 20)
  return setmetatable({ real = real, calls = {}, overtimes = {}, next_pid = 1000, refuses = false },
    { __index = function(_, name)
      return Pool[name] or function(_, ...) return real[name](real, ...) end
    end })
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
  self.real:play(slot)
  return self.next_pid
end

function Pool:finish(slot) self:note("finish", slot) end
function Pool:stop(slot) self:note("stop", slot) end
function Pool:kill(slot) self:note("kill", slot) end
function Pool:overtime(slot) return self.overtimes[slot] or 0, slot end
function Pool:time_out(slot) self:note("time out", slot) end

--- The port of a place (contexts/contract.lua) over it, for stage 1; notes what it is asked. Stage 2 is the
-- coordinator's.
-- @param pool from `pool`
-- @param options table: fields of the stage
-- @return table port; `failures`, `warnings`, `workers`: what it was told
function M.port(pool, options)
  local stage = { id = 1, name = "work", kind = "processor", hooks = { after = {} }, outputs = {}, retries = 0 }
  for key, value in pairs(options or {}) do stage[key] = value end
  local function quiet() end
  local plan = { stages = { stage, { id = 2, name = "after", kind = "processor" } }, segments = { {}, {} },
    hooks = { on_worker_exit = {} }, options = { max_restarts = 3, restart_window = 5, grace = nil } }
  local port = {
    plan = plan, pool = pool, ledger = ledgers.new(plan, {}), memory = 1 << 26, held_most = 1 << 24, pid = 1,
    told = false,
    warnings = {}, failures = {}, workers = {}, heap = { prepare = quiet }, stats = { stats.stage() },
    now = core.now, clock = core.clock, hooks = quiet, check = quiet, under = quiet, timed = quiet,
  }
  port.ledger:attach(pool.real, 1 << 26, options and options.queue_bytes or 1 << 20)
  port.own = port.ledger:add_place { here = true, n = 1, first = 0, stages = 0, front = 0, threads = 0, most = 0,
    counted = 0, per_worker = math.huge }
  function port.warn(text) port.warnings[#port.warnings + 1] = text end
  function port.fail(text) error(text, 0) end
  function port.failed(_, _, _, fields, own)
    fields.stage, fields.attempts, fields.first = "work", fields.attempt, own.first
    port.failures[#port.failures + 1] = failure.new(fields)
    return port.failures[#port.failures]
  end
  function port.settle(_, fields) port.failed(nil, nil, nil, fields, {}) end
  function port.any_failed() return #port.failures > 0 end
  return port
end

-- Tells the ledger of the stages.
local function draw(port, place)
  local function row(in_place, kind)
    return { place = in_place, flags = 0, producing = kind == "producer" }
  end
  port.ledger:stage(1, row(place.id, port.plan.stages[1].kind))
  port.ledger:stage(2, row(port.own))
end

--- A place of workers over them, started.
-- @param n workers
-- @param options table?: fields of the stage; `ordered`; `items_per_worker`; `queue_bytes`; `folds`
-- @return place, pool, port
function M.place(n, options)
  local pool = M.pool()
  local port = M.port(pool, options)
  options = options or {}
  local place = workers.new(port, { id = 1, kind = "processes", n = n, name = "work", stages = { 1 }, width = 0,
    items_per_worker = options.items_per_worker or math.huge, context = ("processes(%d)"):format(n),
    ordered = options.ordered, folds = options.folds,
    hooks = { before_fork = {}, after_fork = {}, before_exit = {} } }, 1)
  draw(port, place)
  place:start()
  return place, pool, port
end

--- Queues n items in one block.
-- @return their block
function M.push(place, n)
  local writer = core.writer(place.pool.real, 1, function(w, need)
    if need > 0 then assert(w:open(need)) end
  end, function() end, 1, 1)
  for i = 1, n do writer(i) end
  local block, offset, length, count = writer:take()
  writer:close()
  place.ledger:accept(1, block, offset, length, count, 0xffff)
  return block
end

--- What the workers of a place have in hand: for each an array of the numbers of items that are left of its slices.
function M.hands(place)
  local list, ledger = {}, place.ledger
  for i, slot in ipairs(place.slots) do
    list[i] = {}
    for k, own in ipairs(ledger:hands(slot.index)) do
      own = ledger:read(own)
      list[i][k] = own.count - own.finished
    end
  end
  return list
end

--- How many items are queued, in the hands of workers, and finished of those that were pushed.
function M.tally(place, pushed)
  local queued, _, in_hand = place.ledger:queued(place.id)
  place.ledger:check()
  return queued, in_hand, pushed - place.ledger:pending(1)
end

--- A worker has finished items of the slice that it is at; by default all of them.
function M.done(place, worker, items, ended, seconds)
  local ledger, index = place.ledger, place.slots[worker].index
  local own = ledger:read(ledger:hand(index))
  ledger:done(index, own.number, items or own.count - own.finished, ended ~= false, seconds or 0.0001)
end

--- A worker has died; `in_hand`: in the middle of an item of the slice that it was at.
function M.die(place, worker, in_hand, code, signal, how)
  local slot, ledger = place.slots[worker], place.ledger
  for i, own in ipairs(ledger:hands(slot.index)) do
    own = ledger:read(own)
    local at, length = own.offset, own.length
    if own.block then
      at = place.pool:walk(own.block, own.offset, own.length, own.only, own.finished)
      length = own.offset + own.length - at
      place.pool:retain(own.block) -- the event's reference
    end
    place:on_left(slot, { number = own.number, block = own.block, offset = at, length = length,
      count = own.count - own.finished, only = own.only or 0xffff, in_hand = in_hand and i == 1, how = how or 0 })
  end
  place:on_exit(slot, slot.pid, code or 0, signal or 0, false)
end

return M
