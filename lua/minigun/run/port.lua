-- The port: what a place where stages run may ask of the run. contexts/contract.lua says what each member means; here
-- is which part of the run answers.
local core = require "minigun.core"
local signals = require "minigun.system.signals"

local port = {}

--- Makes the port of a run whose pool is open.
---@param parts table the parts of the run, by name
---@return table port
function port.new(parts)
  local ledger, acks, resume, shared = parts.ledger, parts.acks, parts.resume, parts.shared
  local lineage = parts.lineage
  local transport, failures, outcome = parts.transport, parts.failures, parts.outcome
  local hooks, state, status, inline = parts.hooks, parts.state, parts.status, parts.inline
  return {
    plan = parts.plan, ledger = ledger, pool = shared.pool, told = lineage ~= false, stats = outcome.stats,
    workers = outcome.result.stats.workers, sources = resume and resume.sources or nil,
    returns = outcome.returns, pid = outcome.pid, heap = parts.heap,
    memory = shared.memory, held_most = shared.held_most, now = core.now, clock = core.clock,

    emitted = function(stage, item) transport:deliver(stage, item) end,
    sent = function(stage, id, item) transport:send_to(stage, id, item) end,
    passed = function(place, part) parts.events:worker_emitted(place, part) end,
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

    may_begin = function(place)
      if state.aborted or ledger:blocked(place.id) then return false end
      return not ledger:full(inline.id) or parts.admission:is_waited_for(place, ledger)
    end,

    hooks = function(list, fields, argument) hooks:call(list, fields, argument) end,
    fork_hooks = function(segment, names, context_of)
      hooks:call_about_forks(segment, parts.plan.stages, names, context_of)
    end,
    warn = function(text) outcome:warn(text) end,
    fail = function(text) state:fail(text) end,
    count = function(stage, counts) status:count(stage, counts) end,

    check = function(work) shared:check(work) end,
    timed = function() parts.places.timed = true end,
    loop = function() return parts.threads:open() end,

    under = function(origin)
      local before = acks.origin
      acks.origin = origin or false
      return before
    end,
    holds = function() return lineage and lineage:hold() or nil end,
  }
end

return port
