-- The port: what a place where stages run may ask of the run. contexts/contract.lua says what each member means; here
-- is which part of the run answers.
local core = require "minigun.core"
local admission = require "minigun.policy.admission"
local signals = require "minigun.system.signals"

local port = {}

--- Makes the port of a run whose pool is open.
---@param parts table the parts of the run, by name
---@return table port
function port.new(parts)
  local ledger, acks, resume, shared = parts.ledger, parts.acks, parts.resume, parts.shared
  local lineage = parts.lineage
  local admits, transport, failures, outcome = parts.admission, parts.transport, parts.failures, parts.outcome
  local hooks, state, status, inline = parts.hooks, parts.state, parts.status, parts.inline
  return {
    plan = parts.plan, pool = shared.pool, stats = outcome.stats, returns = outcome.returns, pid = outcome.pid,
    heap = parts.heap,
    memory = shared.memory, queue_bytes = shared.queue_bytes, held_most = shared.held_most,
    now = core.now, clock = core.clock,

    finished = function(stage, n, origin)
      ledger:finish(stage, n)
      if origin then acks:release(origin, n) end
    end,
    emitted = function(stage, item) transport:deliver(stage, item) end,
    sent = function(stage, id, item) transport:send_to(stage, id, item) end,
    in_turn = function(place, part)
      if part.give then acks:under(part.origin, part.give, part.stage, part.item, part.more)
      else acks:under(part.origin, parts.events.worker_emitted, parts.events, place, part) end
    end,
    failed = function(place, slot, stage, fields, work)
      return failures:item_failed(place, slot, stage, fields, work)
    end,
    settle = function(stage, fields, item, again) return failures:settle(stage, fields, item, again) end,
    raised = signals.pass_on,
    unreadable = function(stage, list) failures:unreadable(stage, list) end,
    effect = function(kind, name, value) outcome:effect(kind, name, value) end,
    any_failed = function() return outcome.result.failed > 0 end,

    blocked = function(place)
      return admits:is_full(place.targets)
        or transport.paused and parts.plan.stages[place.plan.stages[1]].kind == "producer"
    end,
    room = function(place) return admits:room(place.targets, place.per) end,
    room_of = admission.room_of,
    may_begin = function(place)
      return not (state.aborted or inline:full() or admits:is_full(place.targets))
    end,
    lend = function(slot, size, want, younger) return shared:may_lend(slot, size, want, younger) end,
    take_overdraft = function(slot, slots) shared:take_overdraft(slot, slots) end,
    returned = function(slot) shared:release_overdraft(slot) end,

    hooks = function(list, fields, argument)
      if list[1] then hooks:call(list, fields, argument) end
    end,
    fork_hooks = function(segment, names, context_of)
      hooks:call_about_forks(segment, parts.plan.stages, names, context_of)
    end,
    warn = function(text) outcome:warn(text) end,
    fail = function(text) state:fail(text) end,
    worker = function(record) table.insert(outcome.result.stats.workers, record) end,
    count = function(stage, counts) status:count(stage, counts) end,

    accept = function(stage) ledger:accept(stage, 1) end,
    reopen = function(stage) ledger:reopen(stage) end,
    changed = function() ledger.changed = true end,
    check = function(work) shared:check(work) end,
    timed = function() parts.places.timed = true end,
    loop = function() return parts.threads:open() end,

    under = function(origin)
      local before = acks.origin
      acks.origin = origin or false
      return before
    end,
    holds = function() return lineage and lineage:hold() or nil end,
    source = function(stage) return resume and resume.sources[stage] or nil end,
  }
end

return port
