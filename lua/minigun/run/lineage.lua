--- Lineage: what everything in flight has come of, in a run where that is asked for: by a journal (resume.lua), or by
-- somebody who waits for what comes of single items (answers.lua). policy/acks.lua counts; here the parts of a run,
-- which take items in, gather and pass them on, meet it.
local acks = require "minigun.policy.acks"
local declared = require "minigun.base.declared"

local lineage = {}

local Lineage = {}
Lineage.__index = Lineage

--- Makes the lineage of a run.
---@param plan table
---@param counts table the run's acks
---@param singly boolean
--- each item is asked for by itself: what has come of two lies in no block together, and a loop stage has finished one
--- when it asks for the next, whatever it keeps of it
---@param value function (value) -> whether it takes what has reached a terminal stage; else that is the result's
---@return table lineage
function lineage.new(plan, counts, singly, value)
  return declared({ plan = plan, counts = counts, singly = singly, value = value, resume = false, shared = false,
    keeps = {},              -- stages whose place keeps what it gets to the end of the run
  }, Lineage)
end

--- Puts an entry's items into the ledger of origins.
---@param entry table
function Lineage:owe(entry)
  local origin = self.counts:owe(entry)
  if self.keeps[entry.stage] then self.counts:keep(origin) end
end

--- Takes one hold of the origin of what the coordinator is at.
---@return table origin
function Lineage:hold() return self.counts:hold(1) end

--- Lets the places where the stages run tell what gathers in them.
---@param links table the chain of the coordinator's own stages
---@param inline table array of these stages
---@param segments table array
function Lineage:trace(links, inline, segments)
  local own, emit_batch = self.counts, links.emit_batch
  function links.emit_batch(_, state, batch)
    local origins = state.batches and state.batches.origins
    local origin = origins and acks.close(origins[batch])
    if not origin then return emit_batch(links, state, batch) end
    origins[batch] = nil
    own:under(origin, emit_batch, links, state, batch)
  end
  for _, stage in ipairs(inline) do
    local state = links.states[stage.id]
    if state.batches then state.batches:trace(function(gathered) return own:gather(gathered) end) end
    local handler = state.handler
    if stage.reduces or stage.loop and not self.singly then
      links:set_handler(stage.id, function(...)
        own:keep()
        return handler(...)
      end)
    end
  end
  for _, segment in ipairs(self.singly and {} or segments) do
    local keeps = false
    for _, id in ipairs(segment.plan.stages) do
      keeps = keeps or self.plan.stages[id].loop and not segment.fresh
    end
    for _, id in ipairs(segment.plan.stages) do self.keeps[id] = keeps or nil end
  end
end

--- Calls a function as what comes of all that is kept.
---@param f function
---@param ... any its arguments
function Lineage:under_kept(f, ...) self.counts:under(self.counts:of_kept(), f, ...) end

--- An item is about to be written into an outlet's block, or has been: the block may be passed on before that, or with
--- it.
---@param outlet table
function Lineage:write(outlet) outlet.origin = self.counts:gather(outlet.origin) end

--- Whether what is written next would lie in one block with what has come of another item, where each is asked for by
--- itself.
---@param outlet table
---@return boolean
function Lineage:would_mix(outlet)
  local counts, open = self.counts, outlet.origin
  return self.singly and open and open ~= (counts.origin or counts.unknown) or false
end

--- What a writer has in its block goes on.
---@param outlet table
---@param range table? see transport.route; nil: there is nothing
---@return table? origin held once
function Lineage:leave(outlet, range)
  local resume = self.resume
  local source = outlet.direct and resume and resume.sources[outlet.stage_id]
  if source then return range and resume:leave_writer(source, self.shared.pool, range) or nil end
  local origin = acks.close(outlet.origin)
  outlet.origin = nil
  return origin
end

return lineage
