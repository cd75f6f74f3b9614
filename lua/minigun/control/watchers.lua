--- What looks at a run's figures while it goes on, and is finished with those of its end: the page of figures, the
-- report, the trace, the metrics. A run that nothing looks at has none of them.
local core = require "minigun.core"
local defaults = require "minigun.plan.defaults"
local failure = require "minigun.base.failure"
local replacing = require "minigun.system.replacing"
local terminal_line = require "minigun.base.terminal_line"

local watchers = {}

local Watchers = {}
Watchers.__index = Watchers

local METRICS_EVERY <const> = 1 -- seconds between two writes of the metrics

-- What was run, for a report.
local function about()
  local words = {}
  for i = 0, #(rawget(_G, "arg") or {}) do words[#words + 1] = tostring(arg[i]) end
  return { version = core.version, lua = _VERSION, command = table.concat(words, " ") }
end

-- Each makes what is written at the end: `look(status, elapsed) -> seconds`, `text(status)`.
local MAKE <const> = {}

function MAKE.report()
  local report = require("minigun.view.report").new()
  function report:text(status) return self:html(status, about()) end
  return report
end

function MAKE.trace()
  local trace = require("minigun.view.trace").new()
  trace.text = trace.json
  return trace
end

function MAKE.metrics(path)
  local text = require("minigun.view.metrics").text
  local due = METRICS_EVERY
  return {
    look = function(_, status, elapsed)
      if elapsed >= due then
        due = elapsed + METRICS_EVERY
        replacing.write(path, text(status()))
      end
      return due - elapsed
    end,
    finish = function() end,
    text = function(_, status) return text(status) end,
  }
end

-- The page of figures, where one is wanted.
local function page_of(options, status, warn)
  local said = options.observe
  if terminal_line.is_child() or said == false or not (said or defaults.observed) then return nil end
  return require("minigun.system.page").new("run", status, said and function(text)
    warn("there is no page of figures (observe = true): " .. text)
  end or nil)
end

--- Raises at the caller's line where what a run is to write cannot be written.
---@param own table checked options of the pipeline
---@param given table? those of the run
function watchers.check(own, given)
  for name in pairs(MAKE) do
    local path = given and given[name] or defaults.forced[name] or own[name]
    local problem = path and replacing.problem(path)
    if problem then
      failure.raise(("option '%s': cannot write '%s': %s; name a file in a directory that is there"):format(name, path,
        problem:match "[^:]*$":gsub("^ ", "")))
    end
  end
end

--- Opens those that a run's options ask for.
---@param options table of the run
---@param status fun(): table gives minigun.Status
---@param warn fun(text: string)
---@return table? watchers nil: none
function watchers.open(options, status, warn)
  local self = setmetatable({ page = page_of(options, status, warn), list = {}, status = status, warn = warn,
    began = core.now() }, Watchers)
  for name, make in pairs(MAKE) do
    local path = options[name]
    if path then table.insert(self.list, { name = name, path = path, view = make(path) }) end
  end
  if not (self.page or self.list[1]) then return nil end
  require "minigun.run.snapshot" -- what `status` takes, before handlers run
  return self
end

--- Lets each look that is due.
---@param seconds number? that the run would like to sleep; nil: without end
---@return number? seconds until they should look again
function Watchers:look(seconds)
  local elapsed = core.now() - self.began
  for _, each in ipairs(self.list) do
    seconds = math.min(seconds or math.huge, each.view:look(self.status, elapsed))
  end
  if self.page then seconds = self.page:look(seconds) end
  return seconds
end

--- The run has ended: its page goes.
function Watchers:close()
  if self.page then self.page:close() end
end

--- Writes what is made of the whole run.
---@param status table minigun.Status at the end
function Watchers:finish(status)
  for _, each in ipairs(self.list) do
    each.view:finish(status)
    local ok, message = replacing.write(each.path, each.view:text(status))
    if not ok then self.warn(("option '%s': cannot write '%s': %s"):format(each.name, each.path, message)) end
  end
end

return watchers
