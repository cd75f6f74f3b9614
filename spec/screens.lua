-- Statuses and screens for the specs of the live view, made without a run or a terminal.
local glyphs = require "minigun.view.glyphs"
local hud = require "minigun.view.hud"
local scene = require "minigun.view.scene"

local screens = {}

local function nothing() end

--- What the view of a run of this process can do with it.
screens.RUN = { pause = nothing, stop = nothing, kill = nothing, save = nothing }

local FIELDS <const> = { kind = "map", context = "inline", workers = 1, at = "job.lua:7", items_in = 0, items_out = 0,
  failed = 0, retried = 0, busy = 0, waiting_in = 0, waiting_out = 0, queue_most = 0, observed = 0, pending = 0,
  state = "working", rate = 0, mean = 0, busy_share = 0, in_share = 1, out_share = 0, blocked = 0, blocked_most = 0 }

--- A row of a status.
---@param name string
---@param fields table? those that are not as usual
---@return table
function screens.row(name, fields)
  local row = { name = name }
  for key, value in pairs(FIELDS) do row[key] = value end
  for key, value in pairs(fields or {}) do row[key] = value end
  return row
end

--- A status of stages and edges, "a>b a=c": `=` bytes, `!` dead letters,
-- `~` sent.
---@param rows table[]
---@param edges string
---@param more table? further fields
---@return table
function screens.status(rows, edges, more)
  local status = { id = "1796000000-4711-1", pipeline = "shop", pid = 4711, state = "running", started = 1796000000,
    elapsed = 12.345, stages = rows, edges = {}, workers = {}, alive = 0, items = 0, failed = 0, failures = {},
    warnings = {}, counters = {}, collected = {}, produced = 1234, consumed = 980, rate = 105.25, mean = 100,
    memory = 0, memory_most = 0, memory_limit = 1 << 30 }
  for from, sign, to in edges:gmatch "(%S-)([>=!~])(%S+)" do
    local kind = sign == ">" and "value" or sign == "=" and "bytes" or sign == "~" and "sent" or "dead_letter"
    table.insert(status.edges, { from = from, to = to, kind = kind })
  end
  for key, value in pairs(more or {}) do status[key] = value end
  return status
end

--- A view of a status, with a screen of a fixed size that keeps what is written.
---@param status table
---@param how table? `glyphs`, `width`, `height`, `port`: further fields of the port
---@return table view
---@return table screen `typed`: what is read next; `written`: parts; `width`, `height`, `shown`, `anew`, `room`
---@return table clock `now`
function screens.view(status, how)
  how = how or {}
  local clock, screen = { now = 100 }, { typed = "", written = {}, width = how.width or 120, height = how.height or 30,
    shown = true, anew = false, room = math.huge }
  function screen.check()
    local anew = screen.anew
    screen.anew = false
    return screen.shown, anew
  end
  function screen.size() return screen.width, screen.height end
  function screen.read()
    local typed = screen.typed
    if typed then screen.typed = "" end
    return typed
  end
  function screen.write(bytes, after)
    local part = bytes:sub(after + 1, after + math.min(screen.room, #bytes))
    table.insert(screen.written, part)
    return #part
  end
  local port = { status = function() return status end, log = function() return how.log or {} end,
    now = function() return clock.now end, glyphs = how.glyphs or glyphs.unicode, colours = 256,
    is_over = function() return status.over or false end }
  for name, f in pairs(how.port or {}) do port[name] = f end
  return hud.new(port, screen), screen, clock
end

--- The screen of a view after keys, as text.
---@param status table
---@param keys string[]? names, see view/keys.lua
---@param how table? as for `view`, and `beat`
---@return string
function screens.text(status, keys, how)
  how = how or {}
  local view = screens.view(status, how)
  view:frame()
  for _, key in ipairs(keys or {}) do
    view:key(key)
    scene.draw(view.status, view, how.width or 120, how.height or 30, how.beat or 0)
  end
  view.log = how.log or {}
  local canvas = scene.draw(view.status, view, how.width or 120, how.height or 30, how.beat or 0)
  return table.concat(canvas:lines(), "\n") .. "\n"
end

return screens
