-- SPDX-License-Identifier: MIT
-- What it costs that a run can be looked at: W1 and W2 (processor time) and W7 (median latency) as they are, with all
-- that looks at runs taken out, and with a page of figures that nobody reads (MINIGUN_TOP=1), in alternating rounds.
-- Then, of a run of 20 stages, what a page takes by itself, and the live view at a pseudo-terminal of 120 columns and
-- 40 rows: of a processor, and bytes a second.
--
-- usage: lua5.4 bench/observe.lua [--rounds N] [--seconds N]                from the top of the tree
local ROUNDS <const>, SECONDS <const>, STAGES <const> = 9, 10, 20

package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = ("./%s/?.so;"):format(os.getenv "MINIGUN_BUILD" or "build") .. package.cpath

-- Loaded before the library: a run that knows nothing of views and pages.
local WITHOUT <const> = [[
  local nothing = function() end
  local off = { line = false, output = false, page = false, looks = false }
  local screen = setmetatable(off, { __index = function() return nothing end })
  package.preload["minigun.run.screen"] = function() return { new = function() return screen end } end
  package.preload["minigun.control.watchers"] = function() return { check = nothing, open = nothing } end]]

local SIZES <const> = { { "W1", 4000000 }, { "W2", 300000 }, { "W7", 100000 } } -- a second or two each

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function output_of(command)
  local pipe <close> = assert(io.popen("bash -c " .. quote(command)))
  return pipe:read "a"
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

-- Seconds of the processor that a workload and its workers take, or where it says that an item's latency.
local function cost_of(way, name, items)
  local taken_out = way == "without" and "-e " .. quote(WITHOUT) or ""
  local command = ("MINIGUN_TOP=%s lua5.4 %s bench/ours.lua %s default %d"):format(way == "page" and "1" or "''",
    taken_out, name, items)
  local text = output_of(("TIMEFORMAT='cpu %%3U %%3S'; { time %s; } 2>&1"):format(command))
  local user, system = text:match "cpu ([%d.]+) ([%d.]+)"
  return tonumber(text:match "p50_us=([%d.]+)") or assert(tonumber(user), text) + tonumber(system)
end

-- The least of each way counts: what else goes on at the machine only adds to it.
local function compare_workloads(rounds)
  print(("%-10s %12s %12s"):format("workload", "as it is", "with a page   (of without)"))
  for _, each in ipairs(SIZES) do
    local least = { without = math.huge, off = math.huge, page = math.huge }
    for _ = 1, rounds do
      for way, cost in pairs(least) do least[way] = math.min(cost, cost_of(way, each[1], each[2])) end
    end
    print(("%-10s %12.3f %12.3f"):format(each[1], least.off / least.without, least.page / least.without))
  end
end

-- --- a run of many stages --------------------------------------------------------------------------------------------

-- Counts the writes of pages, and their seconds.
local function watch_pages(seen)
  local page = require "minigun.system.page"
  local new = page.new
  function page.new(...)
    local own = new(...)
    local write = own.write
    function own.write(self)
      local before = os.clock()
      write(self)
      seen.seconds, seen.writes = seen.seconds + os.clock() - before, seen.writes + 1
    end
    return own
  end
end

-- In a process of its own: some hundred items a second through 20 stages; writes down what this process has taken.
local function run_stages(path, seconds, how)
  local minigun, core = require "minigun", require "minigun.core"
  local seen = { seconds = 0, writes = 0 }
  watch_pages(seen)
  local p = minigun.pipeline "twenty"
  p:producer("source", function(emit)
    local until_then = core.now() + seconds
    while core.now() < until_then do
      for i = 1, 5 do emit(i) end
      minigun.sleep(0.02)
    end
  end)
  for i = 2, STAGES - 1 do
    p:map("stage " .. i, i % 6 == 0 and { processes = 1 } or { inline = true }, function(n) return n end)
  end
  p:each("end", { inline = true }, function() end)
  local before = core.worked()
  p:run { hud = how == "view" and "leave" or false, observe = how == "page", progress = false }
  local file <close> = assert(io.open(path, "w"))
  file:write(core.worked() - before, " ", seen.seconds / math.max(1, seen.writes))
end

-- Seconds of the processor, those of a write of the page, and bytes that came to the terminal.
local function look(seconds, how)
  local path = os.tmpname()
  local own = ("stty cols 120 rows 40; TERM=xterm-256color exec lua5.4 bench/observe.lua run %s %g %s"):format(path,
    seconds, how)
  local bytes = #output_of(("script -qec %s /dev/null </dev/null"):format(quote(own)))
  local file <close> = assert(io.open(path))
  local took, write = file:read("n", "n")
  os.remove(path)
  return assert(took, "the run has said nothing"), write, bytes
end

local function measure_views(rounds, seconds)
  local shares, rates, writes = {}, {}, {}
  for i = 1, rounds do
    local without = look(seconds, "nothing")
    local _, write = look(seconds, "page")
    local with, _, bytes = look(seconds, "view")
    writes[i] = write
    shares[i], rates[i] = (with - without) / seconds, bytes / seconds
  end
  local write = median(writes)
  print(("a page of %d stages: %.3f ms four times a second, %.3f %% of a processor"):format(STAGES, write * 1e3,
    write * 400))
  print(("the live view of them: %.2f %% of a processor, %.1f KB a second"):format(100 * median(shares),
    median(rates) / 1000))
end

if arg[1] == "run" then
  run_stages(arg[2], tonumber(arg[3]), arg[4])
else
  local options = { rounds = ROUNDS, seconds = SECONDS }
  for i = 1, #arg, 2 do options[arg[i]:match "^%-%-(.*)"] = tonumber(arg[i + 1]) end
  compare_workloads(options.rounds)
  measure_views(math.min(3, options.rounds), options.seconds)
end
