--- Makes a failing description smaller as long as it still fails: fewer stages, items, options, contexts.
local values = require "spec.property.values"

local shrink = {}

local function copy(value)
  if type(value) ~= "table" then return value end
  local result = {}
  for key, inner in pairs(value) do result[key] = copy(inner) end
  return result
end

-- Items stay the same values; the rest is copied.
local function clone(d)
  local result = {}
  for key, value in pairs(d) do
    if key ~= "stages" and key ~= "by_name" then result[key] = copy(value) end
  end
  result.stages, result.by_name = {}, {}
  for i, s in ipairs(d.stages) do
    local stage = {}
    for key, value in pairs(s) do
      stage[key] = key == "items" and table.move(value, 1, #value, 1, {}) or copy(value)
    end
    result.stages[i], result.by_name[s.name] = stage, stage
  end
  return result
end

-- Takes a stage out: those that sent to it send to those that it sent to.
local function without(d, i)
  local gone = d.stages[i]
  if gone.kind == "batch" or gone.twin or gone.takes_batches and #gone.outputs > 0 then return nil end
  d = clone(d)
  table.remove(d.stages, i)
  d.by_name[gone.name] = nil
  for _, s in ipairs(d.stages) do
    local outputs, known = {}, {}
    local function add(name)
      if name ~= s.name and not known[name] then outputs[#outputs + 1] = name end
      known[name] = true
    end
    for _, name in ipairs(s.outputs) do
      if name ~= gone.name then add(name)
      elseif s.kind ~= "batch" and s.route ~= "round_robin" then
        for _, further in ipairs(gone.outputs) do add(further) end
      end
    end
    s.outputs = outputs
    for k = #s.acts, 1, -1 do
      if s.acts[k].target == gone.name then table.remove(s.acts, k) end
    end
    if s.dead_letter == gone.name then s.dead_letter = nil end
  end
  if gone.letters then d.letters = nil end
  return d
end

local removable = { "retries", "backoff", "queue", "partition", "bad_route", "batch_fault", "dead_letter", "ends",
  "context", "await", "nest", "rate", "delay" }

-- The kinds of steps, in order: each gives functions that make one smaller description, from the largest step on.
local kinds = {}

local function change(d, f)
  return function()
    local candidate = clone(d)
    f(candidate)
    return candidate
  end
end

function kinds.stages(d, add)
  for i = #d.stages, 1, -1 do add(function() return without(d, i) end) end
end

function kinds.items(d, add)
  local piece = 1
  for _, s in ipairs(d.stages) do piece = math.max(piece, s.items and #s.items or 0) end
  while piece >= 1 do
    for i, s in ipairs(d.stages) do
      for first = 1, s.items and #s.items or 0, piece do
        add(change(d, function(c)
          local items = c.stages[i].items
          table.move(items, first + piece, #items + piece, first)
        end))
      end
    end
    piece = piece // 2
  end
end

function kinds.values(d, add)
  for i, s in ipairs(d.stages) do
    for k, item in ipairs(s.items or {}) do
      if type(item) == "table" or type(item) == "string" and #item > 8 then
        add(change(d, function(c) c.stages[i].items[k] = values.bytes(item) % 1000 end))
      end
    end
  end
end

function kinds.acts(d, add)
  for i, s in ipairs(d.stages) do
    for k = #s.acts, 1, -1 do
      if not s.twin then add(change(d, function(c) table.remove(c.stages[i].acts, k) end)) end
    end
    if #s.outputs > 1 and s.route ~= "round_robin" then
      for k = #s.outputs, 1, -1 do add(change(d, function(c) table.remove(c.stages[i].outputs, k) end)) end
    end
  end
end

function kinds.options(d, add)
  for i, s in ipairs(d.stages) do
    for _, name in ipairs(removable) do
      if s[name] ~= nil and not (s.twin and name ~= "context") then
        add(change(d, function(c) c.stages[i][name] = nil end))
      end
    end
    if s.route == "function" then
      add(change(d, function(c) c.stages[i].route, c.stages[i].bad_route = nil, nil end))
    end
    for _, key in ipairs { "by", "max_wait" } do
      if s.batch and s.batch[key] then add(change(d, function(c) c.stages[i].batch[key] = nil end)) end
    end
  end
  for i, context in ipairs(d.contexts) do
    if context.recycled then add(change(d, function(c) c.contexts[i].recycled = nil end)) end
    if context.n > 1 then add(change(d, function(c) c.contexts[i].n = 1 end)) end
  end
  if d.memory then add(change(d, function(c) c.memory = nil end)) end
  if d.door ~= "run" then add(change(d, function(c) c.door = "run" end)) end
end

--- The smallest description that is found in time and still has a problem of the same kind.
---@param d table
---@param problem string what is wrong with it
---@param check function (description) -> problem, or nil
---@return table description
---@return string problem its own
function shrink.down(d, problem, check)
  local now = require "minigun.core".now
  local stop = now() + (tonumber(os.getenv "MINIGUN_SHRINK") or 40)
  local function kind_of(text)
    return text:match "^run raised[^\n]*" or text:match "^%a+"
  end
  local kind, tries = kind_of(problem), 1
  local function fails(candidate)
    for _ = 1, tries do
      if now() > stop then return nil end
      local fine, found = pcall(check, candidate)
      if fine and found and kind_of(found) == kind then return found end
    end
  end
  for _ = 1, 3 do
    if not fails(d) then tries = tries + 1 end -- what depends on the moment gets more than one chance
  end
  local progress = true
  while progress and now() < stop do
    progress = false
    for _, name in ipairs { "stages", "items", "stages", "acts", "options", "values" } do
      local again
      repeat
        again = false
        local makers = {}
        kinds[name](d, function(make) makers[#makers + 1] = make end)
        for _, make in ipairs(makers) do
          local candidate = make()
          local found = candidate and fails(candidate)
          if found then
            d, problem, again, progress = candidate, found, true, true
            break
          end
        end
      until not again
    end
  end
  return d, problem
end

return shrink
