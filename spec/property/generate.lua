--- Descriptions of random pipelines: plain data, from which build.lua makes pipelines and model.lua what must come out.
--
-- A description has `stages` in order of definition, `contexts` and options of the run. A stage has `name`, `kind`,
-- `salt`, `acts` (acts.lua) and `outputs` (names, of stages after it); and where it applies `items` (producers),
-- `ends`, `retries`, `queue`, `route`, `bad_route`, `partition`, `await`, `batch`, `handler`, `takes_batches`,
-- `batch_fault`, `dead_letter`, `letters`, `twin`, `context`, `nest` (numbers). Every feature is a row of a table here,
-- or in acts.lua.
local acts = require "spec.property.acts"
local nests = require "spec.property.nests"
local values = require "spec.property.values"

local generate = {}

--- The URL of a Redis server, where stages are put into clusters, too.
generate.url = os.getenv "MINIGUN_PROPERTY_REDIS"

-- Picks a key of a table of rows with weights.
local function pick(draw, rows, allowed)
  local names, total = {}, 0
  for name, row in pairs(rows) do
    if not allowed or allowed(row, name) then names[#names + 1], total = name, total + row.weight end
  end
  table.sort(names)
  local left = draw(total)
  for _, name in ipairs(names) do
    left = left - rows[name].weight
    if left <= 0 then return name, rows[name] end
  end
end

--- The kinds of stages. `plain`: the function gets the item alone, and what it returns is emitted;
-- `emits`: how often for each item; `passes`: it emits one in so many as it is. One function keeps a whole batch from
-- going into a pool, so where there are functions there are no batches.
generate.kinds = {
  processor = { weight = 8 },
  consumer = { weight = 1 },
  map = { weight = 1, plain = true, emits = 1 },
  flat_map = { weight = 1, plain = true },
  filter = { weight = 1, plain = true, emits = 0, passes = 2 },
  each = { weight = 1, plain = true, emits = 0 },
  batch = { weight = 1, batch = true },
  accumulator = { weight = 2, batch = true, handler = true },
  stage = { weight = 1 },
  reduce = { weight = 2, plain = true, emits = 0, fold = true },
}

--- What a stage or a run may have besides: `chance` in a hundred, `give(stage, draw)`.
generate.options = {
  { chance = 40, give = function(s, draw) s.retries = draw(2) end },
  { chance = 15, give = function(s) s.backoff = 0.002 end },
  { chance = 20, give = function(s, draw) s.queue = draw(3) * draw(3) end },
  { chance = 12, give = function(s, draw)
    if not s.batch and not s.takes_batches then s.partition = draw(1000) end
  end },
  { chance = 8, give = function(s, draw, d) -- what is held back by the coordinator leaves its group for that
    local plain = not s.batch and s.kind ~= "reduce" and not d.functions and not d.deaths
    if plain then s[draw(2) == 1 and "rate" or "delay"] = true end
  end },
}

--- The contexts: a group of neighbours, a named context of any stages, or a stage's own option.
generate.contexts = {
  own = { weight = 4 },
  group = { weight = 4 },
  named = { weight = 2 },
}

generate.workers = {
  processes = { weight = 4, size = "n" },
  process_per_batch = { weight = 3, size = "max" },
  threads = { weight = 2, size = "n" },
  inline = { weight = 1 },
  cluster = { weight = generate.url and 3 or 0 },
}

local function add_acts(s, d, draw, row, extra)
  local name = type(row) == "string" and row or pick(draw, row)
  local act = { row = name, salt = draw(1 << 20), one_in = 1, limit = d.limit }
  for key, value in pairs(extra or {}) do act[key] = value end
  s.acts[#s.acts + 1] = act
end

local function add_faults(s, d, draw, plain)
  if draw(100) > d.faults then return end
  local name = pick(draw, acts.faults, function(row, name)
    if plain then return name == "error" or name == "object" end
    return (d.deaths or not row.deaths) and (d.functions or not row.functions)
  end)
  add_acts(s, d, draw, name, { one_in = acts.faults[name].deaths and 8 or 4 })
end

local function fill_acts(s, d, draw, kind)
  local whole = s.batch or s.takes_batches -- which fails as a whole
  if not whole then add_faults(s, d, draw, kind.plain) end
  if not kind.plain then
    for _ = 1, draw(3) - 1 do
      local name = pick(draw, acts.others, function(row) return not row.needs end)
      add_acts(s, d, draw, name, { one_in = name == "sleep" and 10 or draw(3) })
    end
  end
  if kind.emits ~= 0 and (kind.emits or draw(10) > 1) then
    local function allowed(row, name) return (kind.emits ~= 1 or name ~= "many") and not (row.own and kind.plain) end
    for _ = 1, kind.emits or (draw(6) == 1 and 2 or 1) do
      local one_in = not kind.emits and draw(3) == 1 and 2 or 1
      add_acts(s, d, draw, (pick(draw, acts.emissions, allowed)), { one_in = one_in })
    end
  end
  if kind.passes then add_acts(s, d, draw, "same", { one_in = kind.passes }) end
  -- Always or never: for the first time after some calls is what its receiver may see (differences_spec.lua).
  if not kind.plain and draw(3) == 1 and not d.many then add_acts(s, d, draw, acts.spoils) end
  if not kind.plain and not whole and draw(3) == 1 then add_faults(s, d, draw) end
end

local function new_stage(d, draw, kind)
  local s = { name = "s" .. #d.stages + 1, kind = kind, salt = draw(1 << 20), acts = {}, outputs = {} }
  d.stages[#d.stages + 1] = s
  d.by_name[s.name] = s
  return s
end

local function add_producer(d, draw)
  local s = new_stage(d, draw, "producer")
  s.items = {}
  local n = d.many and 100 + draw(500) or draw(10) == 1 and 0 or draw(12)
  for i = 1, n do
    s.items[i] = d.functions and draw(8) == 1 and { f = values.stubborn(draw), n = i } or values.random(draw, d.limit)
  end
  s.source = ({ "array", "iterator", "coroutine", "handler", "handler" })[draw(5)]
  if s.source ~= "handler" and s.salt % 2 == 0 then -- what build.lua can make a file or a range of
    s.source = "described"
    for i = 1, n do
      s.items[i] = s.salt % 4 == 0 and ("line %d"):format(i * s.salt):rep((i + s.salt) % 3) or s.salt % 1000 + i
    end
  end
  s.rests = (s.source == "coroutine" or s.source == "handler") and draw(3) == 1 and 1 + draw(6) or nil
  if s.source == "handler" then
    if draw(3) == 1 then
      local name = pick(draw, acts.others, function(row, name)
        return not row.needs and not (d.functions and name == "collect") -- which would end it
      end)
      add_acts(s, d, draw, name, { one_in = draw(3) })
    end
    if draw(100) <= d.faults / 3 then
      s.ends = { after = draw(n + 1) - 1, how = d.deaths and ({ "fail", "kill", "exit" })[draw(3)] or "fail" }
    end
  end
  local own = s.source == "handler" and draw(3)
  add_acts(s, d, draw, own == 1 and ({ "refilled", "doubled", "shared" })[draw(3)] or "same")
  if own and own < 3 then add_acts(s, d, draw, acts.spoils) end
  return s
end

local function has_context(s)
  return not (generate.kinds[s.kind] and generate.kinds[s.kind].plain) and not s.letters
    and not (s.kind == "producer" and s.source ~= "handler") and s.kind ~= "batch"
end

-- Stages that may be linked to a stage after them, the last ones rather; twins count as one.
local function inputs_for(d, draw, wanted)
  local found = {}
  for _ = 1, wanted do
    local at = #d.stages - math.min(draw(#d.stages), draw(#d.stages)) + 1
    local s = d.stages[at]
    if s.kind ~= "batch" and not s.letters and s.route ~= "round_robin" then found[s.twin or s.name] = true end
  end
  local list = {}
  for _, s in ipairs(d.stages) do
    if found[s.twin or s.name] then list[#list + 1] = s end
  end
  return list
end

local function link(from, to)
  for _, name in ipairs(from.outputs) do
    if name == to.name then return end
  end
  from.outputs[#from.outputs + 1] = to.name
end

local function give_options(s, d, draw)
  for _, option in ipairs(generate.options) do
    if draw(100) <= option.chance then option.give(s, draw, d) end
  end
  if d.letters and draw(2) == 1 then s.dead_letter = "letters" end
end

local function give_batch_fault(s, d, draw, by)
  if draw(100) > d.faults then return end
  local name = pick(draw, acts.faults, function(row, name)
    if row.functions or row.deaths and not d.deaths then return false end
    return by or name:find "once" or name == "twice"
  end)
  s.batch_fault = { row = name, salt = draw(1000), one_in = 2, by = by }
end

-- A stage after the ones before it; a batch without a handler brings the stage that takes its batches.
local function add_stage(d, draw)
  local name, kind = pick(draw, generate.kinds, function(row) return not ((row.batch or row.fold) and d.functions) end)
  local inputs = inputs_for(d, draw, draw(5) == 1 and 3 or draw(3) == 1 and 2 or 1)
  local s = new_stage(d, draw, name)
  for _, input in ipairs(inputs) do link(input, s) end
  d.folds = d.folds or kind.fold
  if #inputs == 0 or draw(12) == 1 and not kind.plain then s.await = draw(2) == 1 or 60 end
  if kind.batch then
    s.batch = { max_size = draw(3) == 1 and 1 or draw(8), by = draw(3) == 1 and draw(1000) or nil,
      max_wait = draw(4) == 1 and 0.002 or nil }
    s.handler = kind.handler
    if kind.handler then give_batch_fault(s, d, draw, s.batch.by) end
  end
  give_options(s, d, draw)
  if kind.fold then s.fold, s.partition, s.queue, s.dead_letter = true, nil, nil, nil end
  if name ~= "batch" then fill_acts(s, d, draw, kind) end
  if name == "batch" then
    s.retries, s.backoff = nil, nil
    if draw(4) > 1 then
      for _ = 1, draw(4) == 1 and 2 or 1 do
        local taker = new_stage(d, draw, "processor")
        taker.takes_batches = true
        give_options(taker, d, draw)
        give_batch_fault(taker, d, draw, s.batch.by)
        fill_acts(taker, d, draw, generate.kinds.processor)
        link(s, taker)
      end
    end
  elseif draw(8) == 1 and not kind.batch and not kind.fold then -- a dealer and the stages it deals to
    s.route = "round_robin"
    local twin = new_stage(d, draw, "processor")
    fill_acts(twin, d, draw, generate.kinds.processor)
    give_options(twin, d, draw)
    twin.twin = twin.name
    link(s, twin)
    for _ = 1, draw(2) do
      local other = new_stage(d, draw, "processor")
      for key, value in pairs(twin) do
        if key ~= "name" and key ~= "outputs" then other[key] = value end
      end
      link(s, other)
    end
  end
end

-- What emit:to may name.
local function receivers(d, first, last)
  local list = {}
  for i = first, last do
    local s = d.stages[i]
    if s.kind ~= "producer" and not s.takes_batches and not s.letters and not s.fold then list[#list + 1] = s end
  end
  return list
end

local function add_sends(d, draw)
  for i, s in ipairs(d.stages) do
    if has_context(s) and not s.twin then
      local ahead, back = receivers(d, i + 1, #d.stages), receivers(d, 1, i)
      if #ahead > 0 and draw(10) == 1 then
        add_acts(s, d, draw, "to", { target = ahead[draw(#ahead)].name, one_in = draw(3) })
      end
      if s.kind ~= "producer" and #back > 0 and not d.folds and draw(14) == 1 then
        add_acts(s, d, draw, "back", { target = back[draw(#back)].name, one_in = draw(3) })
      end
    end
    if s.await then
      local senders = {}
      for k = 1, i - 1 do
        if has_context(d.stages[k]) and not d.stages[k].twin then senders[#senders + 1] = d.stages[k] end
      end
      if #senders > 0 and draw(8) > 1 then
        add_acts(senders[draw(#senders)], d, draw, "to", { target = s.name, one_in = draw(2) })
      end
    end
  end
end

local function add_routes(d, draw)
  for _, s in ipairs(d.stages) do
    if #s.outputs > 1 and not s.route and not s.twin and not s.fold and s.kind ~= "batch" and draw(3) == 1 then
      s.route, s.bad_route = "function", not (s.batch or s.takes_batches) and draw(100) <= d.faults or nil
    end
  end
end

-- What dies with a batch depends on what is in it, so a stage with batches shares no worker with one that kills it.
local function part_batches(d)
  local deadly = {}
  for _, s in ipairs(d.stages) do
    for _, act in ipairs(s.acts) do
      if s.context and acts.rows[act.row].deaths then deadly[s.context] = true end
    end
  end
  for _, s in ipairs(d.stages) do
    if (s.batch or s.takes_batches) and deadly[s.context] then s.context = nil end
  end
end

-- Hosts of a cluster take single items.
local function spare_clusters(d)
  for _, s in ipairs(d.stages) do
    local context = d.contexts[s.context]
    if context and context.kind == "cluster" and (s.kind == "producer" or s.kind == "stage" or s.fold or
      s.partition) then
      s.context = nil
    end
  end
end

-- A group from whose middle a stage was taken is two groups.
local function split_groups(d)
  local seen, before, now = {}, nil, nil
  for _, s in ipairs(d.stages) do
    local number = s.context
    if number and d.contexts[number].how == "group" and number ~= before and seen[number] then
      local copy = {}
      for key, value in pairs(d.contexts[number]) do copy[key] = value end
      d.contexts[#d.contexts + 1], now = copy, #d.contexts + 1
    elseif number ~= before then
      now = number
    end
    if number then seen[number] = true end
    before, s.context = number, now
  end
end

-- Puts most of the reduces into a group with the stage before, whose workers fold for them.
local function place_folds(d, draw, add)
  for i, s in ipairs(d.stages) do
    local before, leads = d.stages[i - 1], false
    for _, name in ipairs(before and before.outputs or {}) do leads = leads or name == s.name end
    if s.fold and leads and before.kind ~= "producer" and not before.twin and draw(4) > 1 then
      local number = add("group", "processes")
      d.contexts[number].threads = nil
      before.context, s.context = number, number
    end
  end
end

--- Puts the stages into random contexts: the field `contexts`, and `context` of stages.
---@param d table a description, changed
---@param draw function
function generate.place(d, draw)
  d.contexts = {}
  for _, s in ipairs(d.stages) do s.context = nil end
  local at = 1
  local function add(how, kind)
    local context = { how = how, kind = kind, n = draw(3), ordered = kind ~= "inline" and draw(4) == 1 or nil }
    -- Threads in processes: not where workers die, as what is in hand in them dies with each other.
    if kind == "processes" and not d.deaths and draw(2) == 1 then context.threads = 1 + draw(4) end
    if kind == "processes" and draw(3) == 1 then
      context.recycled = { [({ "max_items", "max_age", "idle_timeout" })[draw(3)]] = 1 + draw(5), lazy = draw(2) == 1 }
    end
    d.contexts[#d.contexts + 1] = context
    return #d.contexts
  end
  local twins = {} -- that take turns run alike, so that it does not matter whose turn it is
  while at <= #d.stages do
    if draw(3) > 1 or d.stages[at].twin then
      local how = pick(draw, generate.contexts)
      local number = add(how, (pick(draw, generate.workers)))
      local size = how == "own" and 1 or draw(4)
      for i = at, math.min(at + size - 1, #d.stages) do
        if d.stages[i].twin then
          local kind = twins[d.stages[i].twin] or (pick(draw, generate.workers))
          twins[d.stages[i].twin] = kind
          d.stages[i].context = add("own", kind)
        elseif how ~= "named" or draw(3) > 1 then d.stages[i].context = number end
      end
      at = at + size
    else
      at = at + 1
    end
  end
  place_folds(d, draw, add)
  part_batches(d)
  spare_clusters(d)
  split_groups(d)
  nests.choose(d, draw)
end

--- Every stage inline.
---@param d table a description, changed
function generate.unplace(d)
  d.contexts = {}
  for _, s in ipairs(d.stages) do s.context, s.nest = nil, nil end
end

--- Makes a description from a seed.
---@param seed integer
---@return table description, without contexts
---@return function draw
function generate.description(seed)
  local draw = values.generator(seed)
  local d = {
    seed = seed, stages = {}, by_name = {}, contexts = {},
    limit = ({ 10, 300, 300, 5000, 60000, 400000 })[draw(6)], faults = ({ 0, 25, 60 })[draw(3)],
    many = draw(5) == 1, functions = draw(6) == 1,
  }
  d.letters = not d.functions and draw(5) == 1
  if d.many and d.limit > 300 then d.limit = 300 end
  d.deaths = not d.many and d.faults > 0 and d.limit <= 5000
  local producers = draw(5) == 1 and 3 or draw(3) == 1 and 2 or 1
  for _ = 1, producers do add_producer(d, draw) end
  for _ = 1, draw(10) do
    if draw(12) == 1 then add_producer(d, draw) else add_stage(d, draw) end
  end
  for i = #d.stages, 1, -1 do -- a producer has a stage to produce for
    local s = d.stages[i]
    if s.kind == "producer" and #s.outputs == 0 then
      local target
      for _, other in ipairs(receivers(d, i + 1, #d.stages)) do target = target or not other.twin and other end
      if not target then
        target = new_stage(d, draw, "processor")
        fill_acts(target, d, draw, generate.kinds.processor)
      end
      target.await = nil
      link(s, target)
    end
  end
  add_sends(d, draw)
  add_routes(d, draw)
  if d.letters then
    d.stages[#d.stages + 1] = { name = "letters", kind = "processor", salt = 0, acts = {}, outputs = {}, letters = true,
      await = true }
    d.by_name.letters = d.stages[#d.stages]
  end
  return d, draw
end

return generate
