--- The tabs of the live view: which tables there are, and what stands in their columns.
local diagram = require "minigun.view.diagram"
local numbers = require "minigun.view.numbers"
local style = require "minigun.view.style"

local tabs = {}

local count, time, percent = numbers.count, numbers.time, numbers.percent

-- Looks by value.
local function rate_look(rate)
  return rate > 100 and style.green or rate > 10 and style.yellow or rate > 0 and style.orange or style.gray
end

local function time_look(seconds)
  return not seconds and style.gray or seconds < 0.01 and style.green or seconds < 0.1 and style.yellow or style.red
end

local function number(title, rank, field, look)
  return { title = title, rank = rank, right = true, text = function(row) return count(row[field] or 0) end,
    key = function(row) return row[field] or 0 end, look = look }
end

local function times(title, rank, field)
  return { title = title, rank = rank, right = true, text = function(row) return time(row[field]) end,
    key = function(row) return row[field] or 0 end, look = function(row) return time_look(row[field]) end }
end

local function share(title, rank, field)
  return { title = title, rank = rank, right = true, text = function(row) return percent(row[field]) end,
    key = function(row) return row[field] or 0 end }
end

local function red_if(field)
  return function(row) return (row[field] or 0) > 0 and style.red or style.gray end
end

-- Items that a stage has given: of one at the end, those that it has finished.
local function items_of(row) return row.terminal and math.max(0, row.items_in - row.pending) or row.items_out end

--- Columns of the table of stages.
---@param status table
---@param glyphs table
---@return minigun.view.Column[]
function tabs.stages(status, glyphs)
  local function state(row) return diagram.state_of(row, status) end
  local rate = status.over and "mean" or "rate"
  return {
    { title = "STAGE", rank = 0, most = 24, look = function() return style.bold end,
      text = function(row) return diagram.icon(row, glyphs) .. " " .. row.name end,
      key = function(row) return row.name end },
    { title = "", rank = 1, text = function(row) return glyphs.states[state(row)] end,
      key = state, look = function(row) return diagram.looks[state(row)] end },
    { title = "ITEMS", rank = 0, right = true, text = function(row) return count(items_of(row)) end, key = items_of },
    { title = "THRU", rank = 0, right = true, text = function(row) return numbers.rate(row[rate]) end,
      key = function(row) return row[rate] end, look = function(row) return rate_look(row[rate]) end },
    { title = "QUEUE", rank = 3, right = true, key = function(row) return row.pending end, text = function(row)
      if row.source then return "-" end
      return row.queue and count(row.pending) .. "/" .. count(row.queue) or count(row.pending)
    end },
    number("FAILED", 6, "failed", red_if "failed"),
    times("P50", 2, "p50"), times("P90", 12, "p90"), times("P95", 13, "p95"), times("P99", 4, "p99"),
    share("BUSY", 5, "busy_share"), share("W.IN", 8, "in_share"), share("W.OUT", 9, "out_share"),
    { title = "MEAN", rank = 10, right = true, text = function(row) return numbers.rate(row.mean) end,
      key = function(row) return row.mean end },
    { title = "OLDEST", rank = 11, right = true, key = function(row) return row.oldest or 0 end,
      text = function(row) return row.oldest and numbers.duration(row.oldest) or "-" end },
    number("RETRIED", 11, "retried"), number("IN", 14, "items_in"), number("OUT", 15, "items_out"),
    { title = "CONTEXT", rank = 7, most = 20, text = function(row) return row.context end,
      look = function() return style.blue end },
  }
end

--- Columns of the table of workers.
---@return minigun.view.Column[]
function tabs.workers()
  return {
    { title = "STAGES", rank = 0, most = 24, text = function(row) return row.segment or "worker" end },
    number("NO", 1, "worker"),
    { title = "PID", rank = 0, right = true, key = function(row) return row.pid or 0 end,
      text = function(row) return row.pid and ("%d"):format(row.pid) or "-" end },
    { title = "STATE", rank = 2, text = function(row) return row.state or "ended" end, look = function(row)
      return (row.state == "working" or row.state == "ready") and style.green or style.gray
    end },
    { title = "AT", rank = 3, most = 24, text = function(row)
      if row.doing then return row.doing end
      return row.stage and row.item and ("%s %d"):format(row.stage, row.item) or row.stage or "-"
    end },
    { title = "FOR", rank = 6, right = true, key = function(row) return row.held or 0 end,
      text = function(row) return row.held and numbers.duration(row.held) or "-" end },
    number("ITEMS", 2, "items"), number("RESTARTS", 5, "restarts", red_if "died"),
    { title = "CPU", rank = 4, right = true, text = function(row) return percent(row.cpu) end },
    { title = "MEMORY", rank = 4, right = true, text = function(row) return numbers.bytes(row.memory) end,
      key = function(row) return row.memory or 0 end },
    { title = "AGE", rank = 7, right = true, key = function(row) return row.age or row.lived or 0 end,
      text = function(row) return numbers.duration(row.age or row.lived or 0) end },
  }
end

--- Columns of the table of failures.
---@return minigun.view.Column[]
function tabs.failures()
  return {
    { title = "STAGE", rank = 1, most = 20, text = function(row) return row.stage or "-" end },
    { title = "KIND", rank = 3, text = function(row) return row.kind end, look = function() return style.red end },
    { title = "ITEM", rank = 2, most = 24, text = function(row) return row.item or "-" end },
    { title = "TRIES", rank = 4, right = true, text = function(row) return count(row.attempts or 1) end },
    { title = "MESSAGE", rank = 0, most = 200, text = function(row) return (row.message:match "[^\n]*") end },
  }
end

local LEVELS <const> = { debug = 1, info = 2, warning = 3, error = 4 }
local LEVEL_LOOKS <const> = { debug = style.gray, info = style.plain, warning = style.yellow, error = style.red }

--- The lines of the log from a level on; what has no level is shown always.
---@param lines string[]
---@param least string a level
---@return table[] rows
function tabs.log_rows(lines, least)
  local rows = {}
  for _, line in ipairs(lines) do
    local level = line:match "%[(%l+)%]"
    if not LEVELS[level] or LEVELS[level] >= LEVELS[least] then rows[#rows + 1] = { text = line, level = level } end
  end
  return rows
end

--- The one column of the log.
---@return minigun.view.Column[]
function tabs.log()
  return { { title = "LINE", rank = 0, text = function(row) return row.text end,
    look = function(row) return LEVEL_LOOKS[row.level] or style.plain end } }
end

--- The lines of the tab of totals: name and value.
---@param status table
---@return table[] rows
function tabs.totals(status)
  local rows = {}
  local function add(name, value) rows[#rows + 1] = { name = name, value = value } end
  add("run", status.id)
  add("process", ("%d"):format(status.pid))
  add("elapsed", numbers.duration(status.elapsed))
  add("items of the sources", count(status.produced) .. (status.total and (" of %d"):format(status.total) or ""))
  if status.part then add("done", percent(status.part)) end
  if status.left then add("time left", numbers.duration(status.left)) end
  add("items at the end", count(status.consumed))
  add("failed", count(status.failed))
  add("bottleneck", status.bottleneck or "none")
  add("shared memory", ("%s, at most %s of %s"):format(numbers.bytes(status.memory), numbers.bytes(status.memory_most),
    numbers.bytes(status.memory_limit)))
  add("workers", count(status.alive))
  local names = {}
  for name in pairs(status.counters) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do add("count of " .. name, count(status.counters[name])) end
  for _, warning in ipairs(status.warnings) do add("warning", warning) end
  if status.error then add("error", (status.error:match "[^\n]*")) end
  return rows
end

--- The columns of that tab.
---@return minigun.view.Column[]
function tabs.pairs()
  return {
    { title = "WHAT", rank = 0, most = 30, text = function(row) return row.name end },
    { title = "VALUE", rank = 0, text = function(row) return row.value end, look = function() return style.bold end },
  }
end

return tabs
