--- Stages in layers, for drawings: each below all that send to it, and few lines that cross.
local layers = {}

local SWEEPS <const> = 4

-- From the names of stages to their numbers, and the edges that lead on, as numbers.
local function forward(stages, edges)
  local number, list = {}, {}
  for i, stage in ipairs(stages) do number[stage.name] = i end
  for _, edge in ipairs(edges) do
    local from, to = number[edge.from], number[edge.to]
    if from and to and from < to then list[#list + 1] = { from, to } end -- the stages are in topological order
  end
  return list
end

-- The layer of each stage: one more than that of the lowest which sends to it.
local function depths(stages, list)
  local depth = {}
  for i in ipairs(stages) do depth[i] = 1 end
  for i in ipairs(stages) do
    for _, edge in ipairs(list) do
      if edge[1] == i then depth[edge[2]] = math.max(depth[edge[2]], depth[i] + 1) end
    end
  end
  return depth
end

-- Sorts a layer by where its stages' neighbours stand, on their mean.
local function sort_by_neighbours(layer, place, neighbours)
  local wish = {}
  for k, i in ipairs(layer) do
    local sum, n = 0, 0
    for _, other in ipairs(neighbours[i] or {}) do sum, n = sum + place[other], n + 1 end
    wish[i] = { n > 0 and sum / n or place[i], k }
  end
  table.sort(layer, function(a, b)
    if wish[a][1] ~= wish[b][1] then return wish[a][1] < wish[b][1] end
    return wish[a][2] < wish[b][2]
  end)
end

-- Where each stage stands in its layer, from the middle: what lies in wider layers spreads around it.
local function places(result)
  local place = {}
  for _, layer in ipairs(result) do
    for k, i in ipairs(layer) do place[i] = k - (#layer + 1) / 2 end
  end
  return place
end

--- Puts stages into layers.
---@param stages table[] in topological order, with `name`
---@param edges table[] `{ from = name, to = name }`; those that lead back count for nothing
---@return integer[][] result the numbers of the stages in each layer, from left to right; the first holds the sources
function layers.of(stages, edges)
  local list = forward(stages, edges)
  local depth, result, above, below = depths(stages, list), {}, {}, {}
  for i in ipairs(stages) do
    for d = #result + 1, depth[i] do result[d] = {} end
    table.insert(result[depth[i]], i)
  end
  for _, edge in ipairs(list) do
    above[edge[2]], below[edge[1]] = above[edge[2]] or {}, below[edge[1]] or {}
    table.insert(above[edge[2]], edge[1])
    table.insert(below[edge[1]], edge[2])
  end
  for sweep = 1, SWEEPS do
    local down = sweep % 2 == 1
    for k = 1, #result do
      local layer = result[down and k or #result + 1 - k]
      sort_by_neighbours(layer, places(result), down and above or below)
    end
  end
  return result
end

return layers
