--- The contexts in which a rule must hold, and what specs of whole runs share.
local support = require "spec.support"

local contexts = {}

--- Each has a `name`, its `number` here, the stage `options` that choose it, `n` (workers), `size` (how many items a
--- test may well send through it) and what is true of it: `inline` (in the coordinator), `per_item`, `threads`,
--- `hosted` (threads in workers; then `n` counts processes, and `workers` all that ctx.worker tells apart).
local size = support.short_or_long(60, 500)
contexts.all = {
  { name = "inline", options = { inline = true }, n = 1, size = size, inline = true },
  { name = "processes(1)", options = { processes = 1 }, n = 1, size = size },
  { name = "processes(2)", options = { processes = 2 }, n = 2, size = size },
  { name = "processes(4)", options = { processes = 4 }, n = 4, size = size },
  { name = "process_per_batch", options = { process_per_batch = { max = 2 } }, n = 2, per_item = true,
    size = support.short_or_long(5, 16) },
  { name = "threads(4)", options = { threads = 4 }, n = 4, size = size, inline = true, threads = true },
  { name = "threads(3) in processes(2)", options = { processes = 2, threads = 3 }, n = 2, workers = 6, size = size,
    hosted = true },
}

for number, context in ipairs(contexts.all) do context.number = number end

--- One context of each kind, for rules about pairs of them.
contexts.kinds = { contexts.all[1], contexts.all[3], contexts.all[5], contexts.all[6], contexts.all[7] }

--- Those with workers that handle many items.
contexts.pools = { contexts.all[2], contexts.all[3], contexts.all[4] }

--- All of them, by their numbers.
contexts.numbered = contexts.all

-- In the run that everybody waits for, a pool of one size has to do for those of all sizes.
if not support.long then contexts.all = contexts.kinds end

--- Those with children.
contexts.forked = {}
for _, context in ipairs(contexts.all) do
  if not context.inline then table.insert(contexts.forked, context) end
end

--- The options of a stage: those that choose the context, and more.
---@param context table
---@param more table?
---@return table
function contexts.options(context, more)
  local merged = {}
  for key, value in pairs(context.options) do merged[key] = value end
  for key, value in pairs(more or {}) do merged[key] = value end
  return merged
end

--- The numbers from first to last.
---@return table array
function contexts.range(first, last)
  local list = {}
  for i = first, last do list[#list + 1] = i end
  return list
end

--- A sorted copy; values of any type.
---@param list table
---@return table
function contexts.sorted(list)
  local copy, kind = table.move(list, 1, #list, 1, {}), type(list[1])
  for _, value in ipairs(copy) do
    if type(value) ~= kind then kind = nil end
  end
  if kind == "number" or kind == "string" then -- by the order of their own, which is quicker
    table.sort(copy)
    return copy
  end
  table.sort(copy, function(a, b)
    if type(a) == "number" and type(b) == "number" then return a < b end
    return tostring(a) < tostring(b)
  end)
  return copy
end

--- How often each value is in a list.
---@param list table
---@return table from value to count, and how many different values there are
function contexts.counts(list)
  local counts, different = {}, 0
  for _, value in ipairs(list) do
    if not counts[value] then different = different + 1 end
    counts[value] = (counts[value] or 0) + 1
  end
  return counts, different
end

--- Adds a producer of the numbers from 1 to n.
---@param p table pipeline
---@param n integer
---@return table p
function contexts.source(p, n)
  return p:producer("numbers", function(emit)
    for i = 1, n do emit(i) end
  end)
end

--- Spins for so long; what a handler does that works.
---@param seconds number
function contexts.work(seconds)
  local core = require "minigun.core"
  local stop = core.now() + seconds
  while core.now() < stop do end
end

--- How many times longer than usual things may take.
contexts.patience = support.patience

--- The least of what f returns; for times, which other work on the machine can only make longer.
---@param limit number good enough: no further try
---@param f function () -> number
---@return number
function contexts.least(limit, f)
  local least = math.huge
  for _ = 1, 4 do
    least = math.min(least, f())
    if least < limit then break end
  end
  return least
end

local has_cqueues, cqueues = pcall(require, "cqueues")

--- The kinds of event loop that threads may have: `name`, `own` (the library's).
contexts.loops = { { name = "the library's own loop", own = true }, has_cqueues and { name = "cqueues" } or nil }

--- From now on the loops that are made are of this kind; nil: of the usual one.
---@param loop table?
function contexts.use_loop(loop)
  local hidden = loop and loop.own
  package.loaded.cqueues = not hidden and has_cqueues and cqueues or nil
  package.preload.cqueues = hidden and function() error "hidden by the spec" end or nil
end

--- Describes the same once for each kind of loop.
---@param f function (loop)
function contexts.each_loop(f)
  local busted = require "busted"
  for _, loop in ipairs(contexts.loops) do
    busted.describe("with " .. loop.name, function()
      busted.before_each(function() contexts.use_loop(loop) end)
      busted.after_each(function() contexts.use_loop() end)
      f(loop)
    end)
  end
end

--- How many processes were workers of a run.
---@param result table
---@return integer
function contexts.forks(result)
  local n = 0
  for _, worker in ipairs(result.stats.workers) do n = n + worker.restarts + 1 end
  return n
end

--- How many intervals lie over one another at most.
---@param intervals table array of { from, to }
---@return integer
function contexts.most_at_once(intervals)
  local events = {}
  for _, interval in ipairs(intervals) do
    events[#events + 1] = { interval[1], 1 }
    events[#events + 1] = { interval[2], -1 }
  end
  table.sort(events, function(a, b) return a[1] < b[1] end)
  local now, most = 0, 0
  for _, event in ipairs(events) do
    now = now + event[2]
    most = math.max(most, now)
  end
  return most
end

--- Moves a background run by its descriptor until it is over.
---@param run table
---@return integer steps
function contexts.step_to_end(run)
  local core = require "minigun.core"
  local fd, steps = run:fd(), 0
  repeat
    assert(core.wait(fd, "r", 5))
    steps = steps + 1
  until not run:step()
  return steps
end

--- Options as a table of Lua's source text, for a program that is started anew.
function contexts.literal(options)
  local parts = {}
  for name, value in pairs(options) do
    parts[#parts + 1] = name .. " = " .. (type(value) == "table" and contexts.literal(value) or tostring(value))
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

return contexts
