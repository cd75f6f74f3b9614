--- Layout: where the boxes of a flow diagram stand, and the ways of the lines between them. Values in, values out.
--
-- Stages stand in layers by their longest way from a source, each layer centred under the widest. A line over several
-- layers passes between the boxes of those in its way, at a place of its own there (a "pass"). All widths are even, so
-- the middles of layers lie under each other. Between two layers each stage that has a bend to make has a row of its
-- own for it where others would be in its way, its "track".
local layout = {}

local BETWEEN <const> = 2 -- columns between boxes
local SWEEPS <const> = 5  -- of putting each stage near those that it is joined with; odd: no lines of a tree cross

-- Sides of a cell that a line leads to: the index of its glyph is their sum.
local UP <const>, RIGHT <const>, DOWN <const>, LEFT <const> = 1, 2, 4, 8

-- Nodes for the stages, and from each edge a chain of nodes, one in each layer.
local function build(stages, edges)
  local nodes, layers, chains = {}, {}, {}
  for i, stage in ipairs(stages) do
    nodes[stage.name] = { name = stage.name, width = stage.width + stage.width % 2, index = i, layer = 1, up = {},
      down = {} }
  end
  local into = {}
  for _, edge in ipairs(edges) do
    local from, to = nodes[edge.from], nodes[edge.to]
    if from and to and from.index < to.index then
      into[to] = into[to] or {}
      table.insert(into[to], { from = from, edge = edge })
    end
  end
  for _, stage in ipairs(stages) do
    local node = nodes[stage.name]
    for _, each in ipairs(into[node] or {}) do node.layer = math.max(node.layer, each.from.layer + 1) end
    layers[node.layer] = layers[node.layer] or {}
    table.insert(layers[node.layer], node)
  end
  for _, stage in ipairs(stages) do
    local node = nodes[stage.name]
    for _, each in ipairs(into[node] or {}) do
      local chain = { edge = each.edge, each.from }
      for layer = each.from.layer + 1, node.layer - 1 do
        local pass = { width = 2, layer = layer, up = {}, down = {}, index = node.index, pass = true }
        table.insert(layers[layer], pass)
        chain[#chain + 1] = pass
      end
      chain[#chain + 1] = node
      for i = 2, #chain do
        table.insert(chain[i - 1].down, chain[i])
        table.insert(chain[i].up, chain[i - 1])
      end
      chains[#chains + 1] = chain
    end
  end
  return nodes, layers, chains
end

local function number(layer)
  for i, node in ipairs(layer) do node.place = i - #layer / 2 end
end

-- Puts the nodes of each layer in the order of the middles of those that they are joined with.
local function order(layers)
  for _, layer in ipairs(layers) do number(layer) end
  for sweep = 1, SWEEPS do
    local side = sweep % 2 == 1 and "up" or "down"
    local first, last, step = 1, #layers, 1
    if side == "down" then first, last, step = #layers, 1, -1 end
    for i = first, last, step do
      for at, node in ipairs(layers[i]) do
        local sum = 0
        for _, other in ipairs(node[side]) do sum = sum + other.place end
        node.wish = #node[side] > 0 and sum / #node[side] or node.place
        node.at = at
      end
      table.sort(layers[i], function(a, b) return a.wish < b.wish or a.wish == b.wish and a.at < b.at end)
      number(layers[i])
    end
  end
end

-- Columns; returns the width of all.
local function place(layers)
  local widest, widths = 0, {}
  for i, layer in ipairs(layers) do
    local width = -BETWEEN
    for _, node in ipairs(layer) do width = width + node.width + BETWEEN end
    widths[i], widest = width, math.max(widest, width)
  end
  for i, layer in ipairs(layers) do
    local x = (widest - widths[i]) // 2 + 1
    for _, node in ipairs(layer) do
      node.x, node.middle = x, x + node.width // 2
      x = x + node.width + BETWEEN
    end
  end
  return widest
end

-- Gives each node of a layer that has bends to make a track; those that only lead to the same node share one. Returns
-- how many tracks there are.
local function give_tracks(layer)
  local spans, ends, shared = {}, {}, {}
  for _, node in ipairs(layer) do
    local left, right = node.middle, node.middle
    for _, other in ipairs(node.down) do left, right = math.min(left, other.middle), math.max(right, other.middle) end
    local only = not node.down[2] and node.down[1] or nil
    local span = only and shared[only]
    if not span then
      span = { left = left, right = right }
      spans[#spans + 1] = span
      if only then shared[only] = span end
    end
    span.left, span.right = math.min(span.left, left), math.max(span.right, right)
    table.insert(span, node)
  end
  table.sort(spans, function(a, b) return a.left < b.left end)
  for _, span in ipairs(spans) do
    local track = 1
    while span.left < span.right and ends[track] and ends[track] >= span.left do track = track + 1 end
    if span.left < span.right then ends[track] = span.right end
    for _, node in ipairs(span) do node.track = track - 1 end
  end
  return #ends
end

-- The cells from one point to another, in a straight line, without the first.
local function go(cells, x, y, to_x, to_y)
  while x ~= to_x or y ~= to_y do
    x = x + (to_x > x and 1 or to_x < x and -1 or 0)
    y = y + (to_y > y and 1 or to_y < y and -1 or 0)
    cells[#cells + 1] = { x = x, y = y }
  end
end

-- The way of a chain from its first box to its last.
local function way(chain, height)
  local first, last = chain[1], chain[#chain]
  local cells = { { x = first.middle, y = first.y + height } }
  for i = 2, #chain do
    local from, to = chain[i - 1], chain[i]
    local at, turn = cells[#cells], from.y + height + from.track
    if from.middle ~= to.middle then
      go(cells, at.x, at.y, from.middle, turn)
      go(cells, from.middle, turn, to.middle, turn)
      at = cells[#cells]
    end
    go(cells, at.x, at.y, to.middle, to == last and to.y - 1 or to.y + height)
  end
  return cells
end

local function side(from, to)
  if to.y > from.y then return DOWN elseif to.y < from.y then return UP end
  return to.x > from.x and RIGHT or LEFT
end

local OPPOSITE <const> = { [UP] = DOWN, [DOWN] = UP, [LEFT] = RIGHT, [RIGHT] = LEFT }

-- What each cell of all ways leads to.
local function join(ways)
  local by_place, list = {}, {}
  for _, each in ipairs(ways) do
    for i, cell in ipairs(each.cells) do
      local key = cell.y * 65536 + cell.x
      local shared = by_place[key]
      if not shared then
        shared = { x = cell.x, y = cell.y, sides = 0, ways = {}, arrow = false }
        by_place[key], list[#list + 1] = shared, shared
      end
      local before, after = each.cells[i - 1], each.cells[i + 1]
      local come, go_on = before and OPPOSITE[side(before, cell)] or UP, after and side(cell, after) or DOWN
      shared.sides = shared.sides | come | go_on
      shared.arrow = shared.arrow or not after
      shared.ways[#shared.ways + 1] = { way = each, at = i }
    end
  end
  return list
end

--- Lays out a diagram.
---@param stages table[] in topological order: `name`, `width` (columns of its box)
---@param edges table[] `from`, `to`, and what the caller likes
---@param height integer rows of a box
---@return table picture
--- `width`, `height`; `boxes`: by name `{ x =, y =, width = }`; `ways`: of each edge `{ edge =, cells = }`, from its
--- source to its target; `cells`: each place of them once, `{ x =, y =, sides =, arrow =, ways = { { way =, at = } } }`
function layout.new(stages, edges, height)
  local nodes, layers, chains = build(stages, edges)
  order(layers)
  local width, y, boxes, ways = place(layers), 1, {}, {}
  for i, layer in ipairs(layers) do
    for _, node in ipairs(layer) do node.y = y end
    y = y + height + (i < #layers and math.max(2, give_tracks(layer) + 1) or 0)
  end
  for name, node in pairs(nodes) do boxes[name] = { x = node.x, y = node.y, width = node.width } end
  for i, chain in ipairs(chains) do ways[i] = { edge = chain.edge, cells = way(chain, height) } end
  return { width = width, height = y - 1, boxes = boxes, ways = ways, cells = join(ways) }
end

return layout
