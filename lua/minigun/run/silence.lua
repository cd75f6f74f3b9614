--- Silence: where a run would silently have given nothing: warnings and failures at its end.
local sources = require "minigun.sources.sources"

local silence = {}

local advice <const> = {
  producer = "a producer passes on what it emits, emit(item); a table of items can take the handler's place",
  processor = "what goes on is what it emits, emit(value); 'map' passes on what its function returns",
  accumulator = "what goes on is what it emits, emit(value); after a batch without a handler, 'map' passes on " ..
    "what its function returns",
}

-- A handler that returns what it should emit.
local function returned(outcome, stage, s)
  if not outcome.returns[stage.id] or s.items_out > 0 or s.failed > 0 then return end
  outcome:warn(("stage '%s' (defined at %s): its handler has returned values and never emitted one: %s"):format(
    stage.name, stage.at, advice[stage.emitting]))
end

-- An iterator that a run before this one has used up gives nothing and says nothing.
local function used_up(failures, stage, s, ended_early)
  local iterator = stage.iterator
  if s.items_out > 0 then
    iterator.gave = true
  elseif iterator.gave and s.failed == 0 and not ended_early then
    failures:settle(stage, { kind = "error", attempt = 1, pid = failures.pid,
      message = ("%s: stage '%s': the source is an iterator, and an earlier run has used it up; make a new one for " ..
        "each run, or give a function(emit)"):format(stage.at, stage.name) }, function() end)
  end
end

--- Adds to the failure of a producer what it comes of, where its iterator's file or the like was closed by an earlier
--- run.
---@param outcome table
---@param stage table
---@param fields table of the failure
function silence.explain(outcome, stage, fields)
  local own = sources.place .. ":"
  if stage.iterator and fields.message:sub(1, #own) == own then -- it was called there, but it is the user's
    fields.message = stage.at .. fields.message:sub(#own + 1):gsub("^%d+", "", 1)
  end
  if not (stage.iterator and stage.iterator.gave and outcome.stats[stage.id].items_out == 0) then return end
  if fields.message:find("an earlier run has used it up", 1, true) then return end
  fields.message = ("%s\nThe source of '%s' (%s) is an iterator, and an earlier run has used it up; make a new one " ..
    "for each run, or give a function(emit)"):format(fields.message, stage.name, stage.at)
end

--- Looks at a run that has come to its end.
---@param stages table array of the plan's stages
---@param outcome table
---@param failures table
---@param ok boolean whether nothing has ended it before
---@param ended_early boolean producers had to end, or it was given up
function silence.look(stages, outcome, failures, ok, ended_early)
  for id, stage in ipairs(stages) do
    if stage.emitting then returned(outcome, stage, outcome.stats[id]) end
    if stage.iterator and ok then used_up(failures, stage, outcome.stats[id], ended_early) end
  end
end

return silence
