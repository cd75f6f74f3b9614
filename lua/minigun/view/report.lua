--- The report of a run: one HTML page that needs nothing else, no network and no script.
local chart = require "minigun.view.chart"
local flow = require "minigun.view.flow"
local history = require "minigun.view.history"
local json = require "minigun.base.json"

local report = {}

local Report = {}
Report.__index = Report

local MOST_WORKERS <const> = 64 -- rows of the timeline
local MOST_ITEM <const> = 200   -- bytes of an item, of a message in the table of failures

local STYLE <const> = [[
:root{--bg:#fff;--fg:#1b1f24;--dim:#57606a;--line:#d0d7de;--box:#f6f8fa;--bad:#cf222e;--warn:#9a6700;--ok:#1a7f37;
--c1:#0969da;--c2:#bf3989;--c3:#1a7f37;--c4:#bc4c00;--c5:#8250df;--c6:#0a7c8c;--c7:#9a6700;--c8:#57606a}
@media(prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--dim:#9198a1;--line:#3d444d;--box:#161b22;
--bad:#ff7b72;--warn:#e3b341;--ok:#56d364;--c1:#79c0ff;--c2:#ff9bce;--c3:#56d364;--c4:#ffa657;--c5:#d2a8ff;
--c6:#76e3ea;--c7:#e3b341;--c8:#9198a1}}*{box-sizing:border-box}body{background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,sans-serif;margin:0 auto;padding:16px;max-width:1080px}h1{font-size:1.5em;margin:.2em 0}h2{
font-size:1.15em;margin:1.6em 0 .5em}.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));
gap:10px}.facts div{background:var(--box);border:1px solid var(--line);border-radius:6px;padding:8px 12px}.facts b{
display:block;font-size:1.15em}.facts span,.dim{color:var(--dim)}.ok{color:var(--ok)}.bad{color:var(--bad)}.wrap{
overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92em}th,td{padding:4px 8px;
border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}th{color:var(--dim);font-weight:600}td.l,th.l{
text-align:left}td.t{text-align:left;white-space:normal;min-width:220px;overflow-wrap:anywhere}tr.slow td{
background:var(--box)}svg{display:block;width:100%;height:auto;margin:0 auto}svg text{fill:var(--fg);
font-family:system-ui,sans-serif}.box{fill:var(--box);stroke:var(--line)}.box.bad{stroke:var(--bad)}.box.bottleneck{
stroke:var(--warn);stroke-width:3}.name{font-size:13px;font-weight:600}svg .fact,svg .axis{font-size:11px;
fill:var(--dim)}.edge{fill:none;stroke:var(--dim);stroke-width:1.2;stroke-linejoin:round}.edge.bytes{stroke-width:2.4}
.grid{stroke:var(--line)}.line{fill:none;stroke-width:1.8}.legend span{margin-right:14px;white-space:nowrap}.legend i{
display:inline-block;width:12px;height:12px;border-radius:2px;margin-right:5px;vertical-align:-1px}.wrap>svg{
min-width:640px}]]

local function colours()
  local rules = {}
  for n = 1, 8 do
    rules[n] = ("polyline.cN{stroke:var(--cN)}rect.cN,i.cN{fill:var(--cN);background:var(--cN)}"):gsub("cN", "c" .. n)
  end
  return table.concat(rules, "\n")
end

local escape <const> = chart.escape

local function short(text)
  text = tostring(text)
  if #text <= MOST_ITEM then return text end
  return text:sub(1, utf8.offset(text, 0, MOST_ITEM + 1) - 1) .. "…"
end

-- --- parts of the page ---------------------------------------------------------------------------------------------

local function facts(status)
  local words = { running = "goes on", done = "done", failed = "failed" }
  local list = {
    { ('<b class="%s">%s</b>'):format(status.state == "done" and "ok" or "bad", words[status.state] or status.state),
      "state" },
    { ("<b>%s</b>"):format(chart.seconds(status.elapsed)), "took" },
    { ("<b>%s</b>"):format(chart.number(status.produced)), "items of the sources" },
    { ("<b>%s/s</b>"):format(chart.number(status.mean)), "on average" },
    { ("<b%s>%s</b>"):format(status.failed > 0 and ' class="bad"' or "", chart.number(status.failed)), "failed" },
    { ("<b>%s</b>"):format(escape(status.bottleneck or "none")), "bottleneck" },
    { ("<b>%s MB</b>"):format(chart.number(status.memory_most / 1e6)), "shared memory at most" },
  }
  local parts = { '<div class="facts">' }
  for _, fact in ipairs(list) do parts[#parts + 1] = ("<div>%s<span>%s</span></div>"):format(fact[1], fact[2]) end
  parts[#parts + 1] = "</div>"
  return table.concat(parts)
end

local function legend(names)
  local parts = {}
  for n, name in ipairs(names) do
    parts[n] = ('<span><i class="%s"></i>%s</span>'):format(chart.colour(n), escape(name))
  end
  return '<p class="legend">' .. table.concat(parts) .. "</p>"
end

-- The rates of the stages between one sample and the next, or what waits for them.
local function series_of(self, status, value)
  local list = {}
  for i, stage in ipairs(status.stages) do
    local points, before = {}, { at = 0, stages = {} }
    for _, sample in ipairs(self.history.samples) do
      local seconds, own, earlier = sample.at - before.at, sample.stages[i], before.stages[i]
      if own and seconds > 0 then points[#points + 1] = { sample.at, value(own, earlier, seconds) } end
      before = sample
    end
    list[i] = { name = stage.name, points = points }
  end
  return list
end

local function rate(own, earlier, seconds) return math.max(0, own.done - (earlier and earlier.done or 0)) / seconds end

local function pending(own) return own.pending end

local function rows_of_workers(self, status)
  local rows, class = {}, {}
  for i, stage in ipairs(status.stages) do class[stage.name] = chart.colour(i) end
  for k, worker in ipairs(self.history.workers) do
    if k > MOST_WORKERS then break end
    local bars, before = {}, 0
    for _, sample in ipairs(self.history.samples) do
      local own = sample.workers[k]
      if own and own.busy > 0 then
        local share = math.min(1, own.busy / math.max(1e-9, sample.at - before))
        bars[#bars + 1] = { before, sample.at, share = share, class = class[own.stage] or "c8",
          title = ("%s, process %s, %.0f %% busy"):format(own.stage, tostring(own.pid), share * 100) }
      end
      before = sample.at
    end
    rows[k] = { name = ("%d"):format(worker.worker), bars = bars }
  end
  return rows
end

-- What is wider than a small screen can be moved there.
local function wrap(svg) return '<div class="wrap">' .. svg .. "</div>" end

local function charts(self, status)
  if #self.history.samples < 2 then
    return '<p class="dim">The run was too short for charts over time.</p>'
  end
  local names, to = {}, status.elapsed
  for i, stage in ipairs(status.stages) do names[i] = stage.name end
  local parts = { legend(names), "<h3>Items in a second</h3>",
    wrap(chart.lines("items in a second, by stage", series_of(self, status, rate), to, "/s")),
    "<h3>Items that wait or are in work</h3>",
    wrap(chart.lines("items that wait or are in work, by stage", series_of(self, status, pending), to, "")) }
  local rows = rows_of_workers(self, status)
  if rows[1] then
    parts[#parts + 1] = "<h3>Workers</h3><p class=\"dim\">A row for each, in the colour of its stage: the stronger, " ..
      "the more of the time in handlers. What was in hand is looked at now and then.</p>"
    parts[#parts + 1] = wrap(chart.timeline("what workers were at", rows, to))
    if #self.history.workers > MOST_WORKERS then
      parts[#parts + 1] = ('<p class="dim">%d more workers are not shown.</p>'):format(
        #self.history.workers - MOST_WORKERS)
    end
  end
  return table.concat(parts)
end

local function percent(share) return ("%.0f %%"):format(share * 100) end

local function table_of_stages(status)
  local parts = { '<div class="wrap"><table><tr>' }
  for _, name in ipairs { "stage", "kind", "context" } do parts[#parts + 1] = ('<th class="l">%s</th>'):format(name) end
  for _, name in ipairs { "in", "out", "failed", "retried", "items/s", "busy", "waits for items", "waits for room",
    "p50", "p90", "p99", "queue at most" } do
    parts[#parts + 1] = ("<th>%s</th>"):format(name)
  end
  parts[#parts + 1] = "</tr>"
  local function time(value) return value and chart.seconds(value) or "–" end
  for _, stage in ipairs(status.stages) do
    parts[#parts + 1] = ('<tr%s><td class="l" title="%s">%s</td><td class="l">%s</td><td class="l">%s</td>'):format(
      stage.name == status.bottleneck and ' class="slow"' or "", escape(stage.at or ""), escape(stage.name),
      escape(stage.kind), escape(stage.context))
    for _, text in ipairs { chart.number(stage.items_in), chart.number(stage.items_out), chart.number(stage.failed),
      chart.number(stage.retried), chart.number(stage.mean), percent(stage.busy_share), percent(stage.in_share),
      percent(stage.out_share), time(stage.p50), time(stage.p90), time(stage.p99), chart.number(stage.queue_most) } do
      parts[#parts + 1] = "<td>" .. text .. "</td>"
    end
    parts[#parts + 1] = "</tr>"
  end
  parts[#parts + 1] = "</table></div>"
  return table.concat(parts)
end

local function table_of_failures(status)
  if not status.failures[1] then return '<p class="ok">None.</p>' end
  local parts = { '<div class="wrap"><table><tr><th class="l">stage</th><th class="l">kind</th>' ..
    '<th class="l">message</th><th class="l">item</th><th>attempts</th></tr>' }
  for _, record in ipairs(status.failures) do
    parts[#parts + 1] = ('<tr><td class="l">%s</td><td class="l">%s</td><td class="t">%s</td><td class="t">%s</td>' ..
      "<td>%s</td></tr>"):format(escape(record.stage or "–"), escape(record.kind), escape(short(record.message)),
      escape(short(record.item or "–")), record.attempts or "–")
  end
  parts[#parts + 1] = "</table></div>"
  if status.failed > #status.failures then
    parts[#parts + 1] = ('<p class="dim">The last %d of %d.</p>'):format(#status.failures, status.failed)
  end
  return table.concat(parts)
end

local function table_of_counters(status)
  local names, parts = {}, { "<table>" }
  for name in pairs(status.counters) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    parts[#parts + 1] = ('<tr><td class="l">%s</td><td>%s</td></tr>'):format(escape(name),
      escape(status.counters[name]))
  end
  parts[#parts + 1] = "</table>"
  return table.concat(parts)
end

local function list_of(title, texts)
  if not texts[1] then return "" end
  local parts = {}
  for i, text in ipairs(texts) do parts[i] = "<li>" .. escape(text) .. "</li>" end
  return ("<h2>%s</h2><ul>%s</ul>"):format(title, table.concat(parts))
end

-- The data, for programs. Long texts are cut, so that the page stays small; "</" would end the element.
local function data(status)
  local own, failures = {}, {}
  for key, value in pairs(status) do own[key] = value end
  for i, record in ipairs(status.failures) do
    failures[i] = {}
    for key, value in pairs(record) do failures[i][key] = type(value) == "string" and short(value) or value end
  end
  own.failures, own.error = failures, status.error and short(status.error)
  return (json.encode(own):gsub("<", "\\u003c"))
end

--- The page.
---@param status table minigun.Status of the run, at its end
---@param about table `version`, `lua`, `command`: texts
---@return string html
function Report:html(status, about)
  local title = "minigun: " .. status.pipeline
  return table.concat({
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
    '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,"><title>', escape(title),
    "</title><style>", STYLE, colours(), "</style></head><body><h1>", escape(status.pipeline), "</h1>",
    ('<p class="dim">%s · process %d · %s</p>'):format(os.date("%Y-%m-%d %H:%M:%S", math.floor(status.started)),
      status.pid, escape(about.command)),
    status.error and '<p class="bad">' .. escape(short(status.error)) .. "</p>" or "",
    facts(status), list_of("Warnings", status.warnings),
    "<h2>Flow</h2>", flow.svg(status.stages, status.edges, status.bottleneck),
    "<h2>Over time</h2>", charts(self, status), "<h2>Stages</h2>", table_of_stages(status),
    "<h2>Failures</h2>", table_of_failures(status),
    next(status.counters) and "<h2>Counters</h2>" .. table_of_counters(status) or "",
    ('<script type="application/json" id="run">%s</script>'):format(data(status)),
    ('<p class="dim">minigun %s, %s</p></body></html>\n'):format(escape(about.version), escape(about.lua)),
  })
end

--- Looks at the run now and then.
---@param status fun(): table gives minigun.Status
---@param elapsed number seconds of the run
---@return number seconds until it should be called again
function Report:look(status, elapsed) return self.history:look(status, elapsed) end

--- Takes the last figures.
---@param status table
function Report:finish(status) self.history:finish(status) end

--- Makes an empty one.
---@return table report
function report.new() return setmetatable({ history = history.new() }, Report) end

return report
