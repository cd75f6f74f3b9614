-- A run whose processes are all stopped for so many seconds while a deadline is waited for:
-- stopped.lua CASE SECONDS [frozen]. By Ctrl-Z; or, frozen, all at once and without a word, as a freezer does.
-- It says "ok", or what is wrong. It must be in a session of its own, and no leader of it. For stops_spec.lua.
local core = require "minigun.core"
local minigun = require "minigun"

local STOPPED = tonumber(arg[2])

-- Work that needs two seconds, in which a stop is not.
local function work(wait)
  for _ = 1, 10 do (wait or core.sleep)(0.2) end
end

-- Stops all in so many seconds; the process that does that is in a session of its own. Workers are groups of their own.
local function stop_in(seconds)
  local stat = io.open "/proc/self/stat"
  local group, session = stat:read "a":match "^.*%) %S %d+ (%d+) (%d+)"
  stat:close()
  local stop, go_on = "kill -TSTP -" .. group, "kill -CONT -" .. group
  if arg[3] == "frozen" then -- a program with a sanitizer's library in it stands still
    local pids = [[sed -nE "s/^([0-9]+) \(.*\) . [0-9]+ [0-9]+ %s .*/\1/p" /proc/[0-9]*/stat 2>&-]]
    local all = "$(env -u LD_PRELOAD " .. pids:format(session) .. ")"
    stop, go_on = "kill -STOP " .. all, "kill -CONT " .. all
  end
  os.execute(("setsid sh -c 'sleep %g; %s; sleep %g; %s' &"):format(seconds, stop, STOPPED, go_on))
end

local function text_of(list)
  local texts = {}
  for i, each in ipairs(list) do texts[i] = tostring(each) end
  return table.concat(texts, "; ")
end

-- A run of one stage with a deadline of 3 s.
local function in_time(given, wait)
  given.timeout = 3
  local result = minigun.pipeline("stopped"):before_run(function() stop_in(0.4) end):producer { 1 }
    :processor("work", given, function(x, emit)
      work(wait)
      emit(x)
    end):run { failures = "collect" }
  return #result.items == 1 and result.ok, text_of(result.failures)
end

local cases = {}

function cases.pool() return in_time({ processes = 2 }, core.sleep) end
function cases.fork() return in_time({ process_per_batch = 1 }, core.sleep) end
function cases.threads() return in_time({ threads = 2 }, minigun.sleep) end
function cases.hosted() return in_time({ processes = 1, threads = 2 }, minigun.sleep) end
function cases.hosted_computes() return in_time({ processes = 1, threads = 2 }, core.sleep) end

-- The same moved by the program's own loop.
function cases.background()
  local run = minigun.pipeline("stopped"):producer { 1 }:processor("work", { processes = 1, timeout = 3 },
    function(x, emit)
      work()
      emit(x)
    end):start { failures = "collect" }
  stop_in(0.4)
  while run:step() do minigun.wait(run:fd(), "r") end
  local result = run:wait()
  return result.ok, text_of(result.failures)
end

-- A coordinator that computes or sleeps itself when the stop comes.
function cases.busy()
  local result = minigun.pipeline("stopped"):before_run(function() stop_in(0.4) end)
    :producer("gen", { to = { "work", "own" } }, { 1 })
    :each("work", { processes = 1, timeout = 3 }, function() work() end)
    :each("own", { inline = true }, function() core.sleep(1) end):run { failures = "collect" }
  return result.ok, text_of(result.failures)
end

-- The deadline is still one: what it is for comes, later.
function cases.late()
  local from = core.now()
  local result = minigun.pipeline("stopped"):before_run(function() stop_in(0.4) end):producer { 1 }
    :each("work", { processes = 1, timeout = 1 }, function() core.sleep(30) end):run { failures = "collect" }
  local seconds = core.now() - from
  local kind = result.failures[1] and result.failures[1].kind
  return kind == "timeout" and seconds > STOPPED + 0.9 and seconds < STOPPED + 20, ("%s in %g s"):format(kind, seconds)
end

function cases.grace()
  local result = minigun.pipeline("stopped"):producer { 1 }:each("work", { processes = 1 }, function() end)
    :after("work", function(ctx)
      work()
      ctx:collect("through", true)
    end):before_exit(function() end):before_run(function() stop_in(0.6) end)
    :run { grace = 3, failures = "collect" }
  return result.ok and #(result.collected.through or {}) == 1, text_of(result.failures)
end

-- A producer in a child has a second to its next emit when the run is stopped.
function cases.stop()
  local run = minigun.pipeline("stopped"):producer("gen", { processes = 1 }, function(emit)
    while true do
      emit(1)
      core.sleep(0.7)
    end
  end):each("see", { inline = true }, function() end):start()
  while run:status().stages[2].items_in == 0 do run:step(0.05) end
  stop_in(0.1)
  local result = run:stop():wait()
  return #result.stats.warnings == 0, table.concat(result.stats.warnings, "; ")
end

-- Three deaths within a second of its time, of which two are allowed in a window that the stop alone would fill.
function cases.restarts()
  local p = minigun.pipeline("stopped"):producer { 1, 2, 3 }:each("work", { processes = 1 }, function()
    core.sleep(0.15)
    os.exit(1)
  end):before_run(function() stop_in(0.25) end)
  local ok, message = pcall(p.run, p, { max_restarts = 2, restart_window = STOPPED, failures = "collect" })
  return not ok and tostring(message):find "3 workers died" ~= nil, message
end

-- What is to wait a second waits that without the stop.
function cases.backoff()
  local times = {}
  local result = minigun.pipeline("stopped"):before_run(function() stop_in(0.5) end):producer { 1 }
    :each("work", { retries = 1, backoff = 1 }, function()
      times[#times + 1] = core.now()
      if #times == 1 then error "once" end
    end):run()
  local seconds = times[2] - times[1]
  return result.ok and seconds > STOPPED + 0.8, seconds
end

function cases.max_wait()
  local from, seconds
  local result = minigun.pipeline("stopped"):before_run(function() stop_in(0.5) end)
    :producer("gen", { processes = 1 }, function(emit)
      emit(1)
      for _ = 1, 10 do core.sleep(0.3) end
    end)
    :each("see", { inline = true }, function() from = core.now() end)
    :accumulator("batch", { max_size = 10, max_wait = 1, from = "gen" }, function() seconds = core.now() - from end)
    :run()
  return result.ok and seconds > STOPPED + 0.8 and seconds < STOPPED + 1.6, seconds
end

local ok, why = cases[arg[1]]()
print(ok and "ok" or tostring(why))
