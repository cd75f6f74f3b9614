--- The property test: random pipelines, run inline and in random contexts, against the model.
local build = require "spec.property.build"
local generate = require "spec.property.generate"
local model = require "spec.property.model"
local plan = require "minigun.plan.plan"
local values = require "spec.property.values"

local check = {}

local MOST_FORKS <const>, MOST_DEATHS <const> = 40, 12
local MOST_CALLS <const> = os.getenv "MINIGUN_LONG" and 3000 or 600 -- of handlers

--- Seconds that one run may take before it counts as hanging.
check.seconds = 30

-- --- comparing ---------------------------------------------------------------------------------------------------

local function compare_bags(lines, what, expected, found)
  local keys = {}
  for key in pairs(expected) do keys[key] = true end
  for key in pairs(found) do keys[key] = true end
  for key in pairs(keys) do
    if expected[key] ~= found[key] then
      lines[#lines + 1] = ("%s: %s: expected %s, found %s"):format(what, #key > 100 and key:sub(1, 100) .. "..." or key,
        expected[key] or "none", found[key] or "none")
    end
  end
end

-- How many batches there are depends on which item comes when, and with it what is counted in batches; what a producer
-- could not send is counted only where that is found out later; and a worker that dies takes with it what the stages of
-- its group have counted for its last chunk.
local function compared(d, m, s, key)
  local context = d.contexts[s.context]
  if context and context.kind == "cluster" and key == "retried" then return false end -- the hosts alone know
  if m.deaths > 0 and m.members[m.home[s.name].key] > 1 and key:find "^items" then return false end
  if s.letters and key == "items_in" or s.kind == "producer" and d.functions then return false end
  if s.takes_batches or s.kind == "batch" then return key == (s.takes_batches and "items_out" or "items_in") end
  if s.fold then return key ~= "retried" end -- whole parts may be folded anew
  return not s.batch or key == "items_in" or key == "items_out"
end

--- What differs between two accounts.
---@param d table
---@param expected table
---@param m table the model that has made it
---@param found table
---@return table lines sorted; empty where nothing differs
function check.differences(d, expected, m, found)
  local lines = {}
  for name, bag in pairs(expected.results) do compare_bags(lines, "result of " .. name, bag, found.results[name]) end
  compare_bags(lines, "failures", expected.failures, found.failures)
  for _, name in ipairs { "seen 0", "seen 1" } do
    compare_bags(lines, "collected " .. name, expected.collected[name] or {}, found.collected[name] or {})
  end
  compare_bags(lines, "counters", expected.counters, found.counters)
  for _, s in ipairs(d.stages) do
    local label = model.label(s)
    for key, value in pairs(expected.stats[label]) do
      if found.stats[label][key] ~= value and compared(d, m, s, key) then
        lines[#lines + 1] = ("stats of %s: %s: expected %d, found %d"):format(label, key, value,
          found.stats[label][key])
      end
    end
  end
  table.sort(lines)
  return lines
end

-- --- one pipeline ------------------------------------------------------------------------------------------------

--- Runs a description as it is placed, and says what is wrong.
---@param d table
---@param expected table? what the model says, with `m`, where that is known
---@param m table?
---@return string? problem nil: nothing
function check.problem(d, expected, m)
  if not m then expected, m = model.run(d) end
  local made, p = pcall(build.pipeline, d)
  if made then
    local checked, message = pcall(plan.build, p)
    if not checked then made, p = false, message end
  end
  if not made then return "cannot be defined: " .. tostring(p) end
  local _ <close> = build.hosts(p)
  local ran, result, hanging = pcall(build.doors[d.door], p, check.seconds)
  if not ran then return "run raised: " .. tostring(result) end
  if not result then return "hangs: " .. hanging end
  local found, problems = build.account(d, result)
  table.move(check.differences(d, expected, m, found), 1, 1000, #problems + 1, problems)
  if #problems == 0 then return nil end
  return table.concat(problems, "\n", 1, math.min(12, #problems))
end

-- Takes items away until it is not too much: what model.run gives; nil: it still is.
local function cut(d)
  for _ = 0, 12 do
    local expected, m = model.run(d, MOST_CALLS, true)
    if expected and m.forks <= MOST_FORKS and m.deaths <= MOST_DEATHS then return expected, m end
    for _, s in ipairs(d.stages) do
      if s.items then s.items = table.move(s.items, 1, #s.items // 2, 1, {}) end
    end
  end
end

-- A limit of memory that holds the largest item some times over, and what a failing attempt has emitted.
local function limit_memory(d, m, draw)
  local batch = 1
  for _, s in ipairs(d.stages) do batch = math.max(batch, s.batch and s.batch.max_size or 1) end
  local least = math.max(8 * batch * m.largest, 8 * m.most_bytes)
  local choices = { false }
  for _, bytes in ipairs { 1 << 16, 1 << 18, 1 << 20, 1 << 22 } do
    if bytes >= least then choices[#choices + 1] = bytes end
  end
  d.memory = choices[draw(#choices)] or nil
end

local doors = { "run", "run", "start" }

--- Checks one random pipeline: inline, then in random contexts.
---@param seed integer
---@param report function (description, problem)
function check.one(seed, report)
  local d, draw = generate.description(seed)
  for _, place in ipairs { "unplace", "place", "place" } do
    generate[place](d, draw)
    d.door = doors[draw(#doors)]
    local expected, m = cut(d)
    if not m then return end
    limit_memory(d, m, draw)
    local problem = check.problem(d, expected, m)
    if problem then return report(d, problem) end
  end
end

-- --- printing ----------------------------------------------------------------------------------------------------

local function short(value)
  local text = values.text(value)
  return #text <= 70 and text or text:sub(1, 70) .. "..."
end

local function shown(value)
  if type(value) ~= "table" then return values.text(value) end
  local parts, keys = {}, {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, key in ipairs(keys) do
    local text = type(value[key]) == "table" and shown(value[key]) or values.text(value[key])
    parts[#parts + 1] = type(key) == "number" and text or key .. "=" .. text
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

--- A description as text.
---@param d table
---@return string
function check.text(d)
  local lines = { ("seed %d, door %s, memory %s"):format(d.seed, d.door, d.memory) }
  for i, context in ipairs(d.contexts) do
    lines[#lines + 1] = ("  context %d: %s %s(%d)%s%s%s"):format(i, context.how, context.kind, context.n,
      context.threads and (" with threads(%d)"):format(context.threads) or "", context.ordered and ", ordered" or "",
      context.recycled and ", " .. next(context.recycled) or "")
  end
  for _, s in ipairs(d.stages) do
    local parts = {}
    for key, value in pairs(s) do
      if key == "items" then
        local items = {}
        for i = 1, math.min(#value, 20) do items[i] = short(value[i]) end
      if #value > 20 then items[21] = ("... %d"):format(#value) end
        parts[#parts + 1] = "items={" .. table.concat(items, ", ") .. "}"
      elseif key ~= "name" and key ~= "kind" then
        parts[#parts + 1] = key .. "=" .. shown(value)
      end
    end
    table.sort(parts)
    lines[#lines + 1] = ("  %s %s: %s"):format(s.kind, s.name, table.concat(parts, " "))
  end
  return table.concat(lines, "\n")
end

return check
