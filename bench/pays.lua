-- SPDX-License-Identifier: MIT
-- When does it pay to move a step into workers? The same step, at several costs and for several kinds of item, in a
-- plain loop, in two workers, and in two workers by batches; all in one run, in turn, medians of ROUNDS.
--
-- usage: lua5.4 bench/pays.lua [--write-docs] [ROUNDS]          from the top of the tree
--   --write-docs   puts the tables into docs/when-it-pays.md
package.path = "./bench/?.lua;./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = ("./%s/?.so;"):format(os.getenv "MINIGUN_BUILD" or "build") .. package.cpath
local minigun = require "minigun"
local workload = require "workload"
local median = workload.median

local PAGE <const> = "docs/when-it-pays.md"
local BEGIN <const>, END <const> = "<!-- figures: written by bench/pays.lua -->", "<!-- end of figures -->"
local SECONDS <const> = 0.15                     -- of the plain loop, in each measurement
local MOST <const>, LEAST <const> = 200000, 300  -- items
local DIFFERENT <const> = 64                      -- items, sent in turn: a long list would be a heap to fork

local KINDS <const> = {
  { "a number", function(i) return i end },
  { "a line of 100 bytes", function(i) return ("%08d"):format(i) .. ("x"):rep(92) end },
  { "a record of four fields", workload.record },
  { "a string of 64 KiB", function(i) return ("%08d"):format(i) .. ("x"):rep(65528) end, most = 4000, bytes = 65536 },
}
local COSTS <const> = { 0, 1, 3, 10, 30, 100, 1000 } -- microseconds

local per_us = workload.loops_per_ms() / 1000

-- Seconds that a pipeline takes for n items: `step` for each, in two workers; `size`: by batches of so many.
local function pipeline_seconds(items, n, step, size)
  local p = minigun.pipeline "pays"
  p:producer("source", function(emit)
    for i = 0, n - 1 do emit(items[i % #items + 1]) end
  end)
  if size then p:batch(size) end
  p:processor("step", { processes = 2 }, size and function(list, emit)
    local done = 0
    for i = 1, #list do done = done + step(list[i]) end
    emit(done)
  end or function(item, emit) emit(step(item)) end)
  local taken = 0
  p:each("take", function(each) taken = taken + each end)
  local start = minigun.now()
  p:run { progress = false }
  assert(taken == n, "wrong result")
  return minigun.now() - start
end

local function loop_seconds(items, n, step)
  local start = minigun.now()
  for i = 0, n - 1 do step(items[i % #items + 1]) end
  return minigun.now() - start
end

-- { loop =, single =, batch = } in microseconds for each item.
local function measure(kind, cost, rounds)
  local loops = math.floor(cost * per_us)
  local function step(item)
    if loops > 0 then workload.burn(loops) end
    return item and 1
  end
  local n = math.floor(math.max(LEAST, math.min(kind.most or MOST, SECONDS * 1e6 / (cost + 0.1))))
  local items, size = {}, workload.chunk(kind.bytes, cost)
  for i = 1, DIFFERENT do items[i] = kind[2](i) end
  local times = { loop = {}, single = {}, batch = {} }
  for round = 1, rounds do
    local turns = { { "loop", loop_seconds }, { "single", pipeline_seconds }, { "batch", pipeline_seconds, size } }
    for i = 1, #turns do
      local turn = turns[round % 2 == 1 and i or #turns + 1 - i]
      table.insert(times[turn[1]], turn[2](items, n, step, turn[3]) * 1e6 / n)
    end
  end
  return { loop = median(times.loop), single = median(times.single), batch = median(times.batch) }
end

local function tables(rounds)
  local lines = {}
  for _, kind in ipairs(KINDS) do
    lines[#lines + 1] = ("\n**%s%s**\n"):format(kind[1]:sub(1, 1):upper(), kind[1]:sub(2))
    lines[#lines + 1] = "| the step takes | plain loop | two workers | gain | by batches | gain |"
    lines[#lines + 1] = "| ---: | ---: | ---: | ---: | ---: | ---: |"
    for _, cost in ipairs(COSTS) do
      local m = measure(kind, cost, rounds)
      lines[#lines + 1] = ("| %s | %.2f µs | %.2f µs | %.2f | %.2f µs | %.2f |"):format(
        cost == 0 and "nothing" or cost .. " µs", m.loop, m.single, m.loop / m.single, m.batch, m.loop / m.batch)
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

local docs = arg[1] == "--write-docs"
local text = tables(math.tointeger(tonumber(arg[docs and 2 or 1])) or 5)
if docs then workload.put_between(PAGE, BEGIN, END, "\n" .. text .. "\n") else io.write(text) end
