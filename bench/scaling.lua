-- SPDX-License-Identifier: MIT
-- How many workers can one coordinator keep busy? What an item costs the coordinator, in processor time, for 2 and for
-- 64 workers; from that, at how many workers it would be busy all the time, for items of 1 us to 100 ms; and a check:
-- workers that sleep, up to 256, which a machine of two processors can hold.
--
-- usage: lua5.4 bench/scaling.lua [--write-docs]          from the top of the tree
--   --write-docs   puts the tables into docs/scaling.md
package.path = "./bench/?.lua;./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = ("./%s/?.so;"):format(os.getenv "MINIGUN_BUILD" or "build") .. package.cpath
local minigun = require "minigun"
local workload = require "workload"

local PAGE <const> = "docs/scaling.md"
local BEGIN <const>, END <const> = "<!-- figures: written by bench/scaling.lua -->", "<!-- end of figures -->"
local ROUNDS <const> = 3
local KINDS <const> = {
  { "a number", function(i) return i end, 300000 },
  { "a record of four fields", workload.record, 60000 },
  { "a string of 4 KiB", function(i) return ("%08d"):format(i) .. ("x"):rep(4088) end, 20000 },
}
local COSTS <const> = { 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1 }     -- seconds of work for an item
local SLEEPS <const> = { 0.001, 0.01, 0.1 } -- seconds
local LASTS <const> = 4     -- seconds of such a run
local MOST <const> = 30000  -- items a second
local WORKERS <const> = { 2, 16, 64, 256 }

local lines = {}

local function say(...)
  lines[#lines + 1] = (...):format(select(2, ...))
  print(lines[#lines])
end

-- Runs n items through w workers that do what `step` does; gives the coordinator's processor seconds and the run's.
local function run(make, n, w, step)
  local p = minigun.pipeline "scaling"
  local items = {}
  for i = 1, 64 do items[i] = make(i) end
  p:producer("source", function(emit) for i = 1, n do emit(items[i % 64 + 1]) end end)
  p:processor("step", { processes = w }, step)
  local count = 0
  p:each("take", function() count = count + 1 end)
  local cpu, start = os.clock(), minigun.now()
  p:run { progress = false }
  assert(count == n)
  return os.clock() - cpu, minigun.now() - start
end

local function back(item, emit) emit(item) end

-- Microseconds of the coordinator for an item: the slope between n and 3 n items, so that the start does not count.
local function cost(kind, w)
  local list = {}
  for i = 1, ROUNDS do
    local small = run(kind[2], kind[3] // 2, w, back)
    local large = run(kind[2], kind[3] * 3 // 2, w, back)
    list[i] = (large - small) / kind[3] * 1e6
  end
  return workload.median(list)
end

local function short(n)
  if n >= 1e6 then return ("%.0f million"):format(n / 1e6) end
  n = n >= 1000 and math.floor(n) or n
  if n >= 1000 then return ("%d,%03d"):format(n // 1000, n % 1000) end
  return ("%.3g"):format(n)
end

say "| item | µs of the coordinator, 2 workers | 64 workers |\n| --- | --- | --- |"
local costs = {}
for i, kind in ipairs(KINDS) do
  local two, many = cost(kind, 2), cost(kind, 64)
  costs[i] = math.max(two, many)
  say("| %s | %.2f | %.2f |", kind[1], two, many)
end

say "\nSo one coordinator is busy all the time with so many workers, each of them busy all the time:\n"
local head, rule = "| an item takes its worker |", "| --- |"
for _, kind in ipairs(KINDS) do head, rule = head .. " " .. kind[1] .. " |", rule .. " --- |" end
say("%s\n%s", head, rule)
for _, seconds in ipairs(COSTS) do
  local row = ("| %s |"):format(seconds < 1e-3 and ("%g µs"):format(seconds * 1e6) or ("%g ms"):format(seconds * 1e3))
  for i in ipairs(KINDS) do row = row .. " " .. short(math.max(1, seconds * 1e6 / costs[i])) .. " |" end
  say("%s", row)
end

say("\nWorkers that sleep, numbers as items: what part of the ideal they reach, start and end left out, and what\n" ..
  "an item costs the coordinator. (More than %d items a second are left out: two processors cannot wake so many.)\n",
  MOST)
say "| an item sleeps | workers | of the ideal | µs of the coordinator |\n| --- | --- | --- | --- |"
for _, seconds in ipairs(SLEEPS) do
  for _, w in ipairs(WORKERS) do
    if w / seconds <= MOST then
      local function nap(item, emit)
        minigun.sleep(seconds)
        emit(item)
      end
      local n = math.ceil(w * LASTS / seconds)
      local few_cpu, few = run(KINDS[1][2], n // 4, w, nap)
      local cpu, all = run(KINDS[1][2], n, w, nap)
      local items = n - n // 4
      say("| %g ms | %d | %.2f | %.1f |", seconds * 1e3, w, items * seconds / w / (all - few),
        (cpu - few_cpu) / items * 1e6)
    end
  end
end

if arg[1] == "--write-docs" then
  workload.put_between(PAGE, BEGIN, END, "\n\n" .. table.concat(lines, "\n") .. "\n\n")
end
