--- A run's figures in the text format of Prometheus.
local metrics = {}

local ESCAPES <const> = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

local function label(text) return (tostring(text):gsub('[\\"\n]', ESCAPES)) end

-- Of stages: name, kind, help, value of a row (nil: it has none).
local OF_STAGES <const> = {
  { "items_in_total", "counter", "Items that a stage has taken in", function(row) return row.items_in end },
  { "items_out_total", "counter", "Items that a stage has emitted", function(row) return row.items_out end },
  { "items_failed_total", "counter", "Items that have failed for good", function(row) return row.failed end },
  { "items_retried_total", "counter", "Further attempts", function(row) return row.retried end },
  { "pending_items", "gauge", "Items that wait or are in work", function(row) return row.pending end },
  { "oldest_item_seconds", "gauge", "How long the oldest of them has been here",
    function(row) return row.oldest or 0 end },
  { "busy_seconds_total", "counter", "Time in handlers", function(row) return row.busy end },
  { "waiting_in_seconds_total", "counter", "Time of waiting for items", function(row) return row.waiting_in end },
  { "waiting_out_seconds_total", "counter", "Time of waiting for room", function(row) return row.waiting_out end },
}
local QUANTILES <const> = { { "0.5", "p50" }, { "0.9", "p90" }, { "0.95", "p95" }, { "0.99", "p99" } }

local function number(value)
  return math.type(value) == "integer" and ("%d"):format(value) or ("%.9g"):format(value)
end

local function add_stages(lines, status, common)
  local function add(...) lines[#lines + 1] = (...):format(select(2, ...)) end
  for _, metric in ipairs(OF_STAGES) do
    add("# HELP minigun_%s %s", metric[1], metric[3])
    add("# TYPE minigun_%s %s", metric[1], metric[2])
    for _, row in ipairs(status.stages) do
      add('minigun_%s{%s,stage="%s"} %s', metric[1], common, label(row.name), number(metric[4](row)))
    end
  end
  add "# HELP minigun_service_seconds Time of a handler for an item"
  add "# TYPE minigun_service_seconds summary"
  for _, row in ipairs(status.stages) do
    if row.p50 then
      for _, quantile in ipairs(QUANTILES) do
        add('minigun_service_seconds{%s,stage="%s",quantile="%s"} %s', common, label(row.name), quantile[1],
          number(row[quantile[2]]))
      end
      add('minigun_service_seconds_count{%s,stage="%s"} %d', common, label(row.name), row.observed)
      add('minigun_service_seconds_sum{%s,stage="%s"} %s', common, label(row.name), number(row.busy))
    end
  end
end

local function add_run(lines, status, common)
  for _, metric in ipairs {
    { "up", "gauge", "Whether the run goes on", (status.state == "done" or status.state == "failed") and 0 or 1 },
    { "elapsed_seconds", "gauge", "Time since the run began", status.elapsed },
    { "workers", "gauge", "Processes that live", status.alive },
    { "shared_memory_bytes", "gauge", "Shared memory in use", status.memory },
    { "shared_memory_limit_bytes", "gauge", "Shared memory that may be used", status.memory_limit },
  } do
    lines[#lines + 1] = ("# HELP minigun_%s %s"):format(metric[1], metric[3])
    lines[#lines + 1] = ("# TYPE minigun_%s %s"):format(metric[1], metric[2])
    lines[#lines + 1] = ("minigun_%s{%s} %s"):format(metric[1], common, number(metric[4] or 0))
  end
  local names = {}
  for name in pairs(status.counters) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  if not names[1] then return end
  lines[#lines + 1] = "# HELP minigun_counted What handlers have counted with ctx:count"
  lines[#lines + 1] = "# TYPE minigun_counted gauge"
  for _, name in ipairs(names) do
    lines[#lines + 1] = ('minigun_counted{%s,name="%s"} %s'):format(common, label(name), number(status.counters[name]))
  end
end

--- The text.
---@param status table minigun.Status
---@return string text
function metrics.text(status)
  local lines, common = {}, ('pipeline="%s"'):format(label(status.pipeline))
  add_stages(lines, status, common)
  add_run(lines, status, common)
  return table.concat(lines, "\n") .. "\n"
end

return metrics
