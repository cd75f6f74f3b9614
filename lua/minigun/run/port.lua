-- The port: what a place where stages run may ask of the run. contexts/contract.lua says what each member means; here
-- is which part of the run answers.
local core = require "minigun.core"
local signals = require "minigun.system.signals"

local port = {}

--- Makes the port of a run whose pool is open.
---@param run table
---@return table port
function port.new(run)
  local ledger, acks, resume = run.ledger, run.acks, run.resume
  return {
    plan = run.plan, pool = run.pool, stats = run.stats, pid = run.pid, heap = run.heap,
    memory = run.memory, queue_bytes = run.queue_bytes, held_most = run.held_most,
    now = core.now, clock = core.clock,

    finished = function(stage, n, origin)
      ledger:finish(stage, n)
      if origin then acks:release(origin, n) end
    end,
    emitted = function(stage, item) run:deliver(stage, item) end,
    sent = function(stage, id, item) run:send_to(stage, id, item) end,
    in_turn = function(place, part)
      if part.give then acks:under(part.origin, part.give, part.stage, part.item, part.more)
      else acks:under(part.origin, run.worker_emitted, run, place, table.unpack(part)) end
    end,
    failed = function(place, slot, stage, fields, work) return run:item_failed(place, slot, stage, fields, work) end,
    settle = function(stage, fields, item, again) return run:settle_failure(stage, fields, item, again) end,
    raised = signals.pass_on,
    unreadable = function(stage, list) run:items_refused(stage, list) end,
    effect = function(kind, name, value) run:effect(kind, name, value) end,
    any_failed = function() return run.result.failed > 0 end,

    blocked = function(place) return run:receivers_full(place.targets) end,
    room = function(place) return run:room(place.targets, place.per) end,
    room_of = run.room_of,
    may_begin = function(place)
      return not (run.stopping or run:inline_full() or run:receivers_full(place.targets))
    end,
    lend = function(slot, size, want, younger) return run:may_lend(slot, size, want, younger) end,
    take_overdraft = function(slot, slots) run:take_overdraft(slot, slots) end,
    returned = function(slot) run:release_overdraft(slot) end,

    hooks = function(list, fields, argument) run:hooks(list, fields, argument) end,
    fork_hooks = function(segment, names, ctx_of) run:fork_hooks(segment, names, ctx_of) end,
    warn = function(text) run:warn(text) end,
    fail = function(text) run:fail(text) end,
    worker = function(record) table.insert(run.result.stats.workers, record) end,
    count = function(stage, counts) run:add_inline(stage, run.stats[stage.id], counts) end,

    accept = function(stage) ledger:accept(stage, 1) end,
    reopen = function(stage) ledger:reopen(stage) end,
    changed = function() ledger.changed = true end,
    check = function(work) run:check_entry(work) end,
    timed = function() run.timed = true end,
    loop = function() return run:open_loop() end,

    under = function(origin)
      local before = acks.origin
      acks.origin = origin or false
      return before
    end,
    holds = function() return resume and acks:hold(1) or nil end,
    source = function(stage) return resume and resume.sources[stage] or nil end,
  }
end

return port
