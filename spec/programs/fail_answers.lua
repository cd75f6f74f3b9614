-- Run by spec/faults_spec.lua with the test build: makes the Nth allocation of Lua fail while an executor is used, and
-- checks that whatever comes of an item is its result or an error. Prints WRONG lines for what went otherwise.
-- fail_answers.lua STEP SEED: every STEPth N, about.
local core = require "minigun.core"
local minigun = require "minigun"

local step, seed = tonumber(arg[1]), tonumber(arg[2])
local ITEMS <const>, MOST <const> = 6, 250 -- allocations, of which one fails, and the next
math.randomseed(seed)
core.faults.allocation(1 << 40, 1) -- from here on they are counted

local function pair(n) return { n, tostring(n) } end

local function open(lists)
  if not lists then return minigun.executor(pair, { processes = 1 }) end
  return minigun.pipeline("pairs"):map("pair", { processes = 1 }, pair):open()
end

local function is_right(value, i, lists)
  if lists then value = type(value) == "table" and value[1] end
  return type(value) == "table" and value[1] == i and value[2] == tostring(i)
end

-- Uses an executor. Returns how many errors there were, and what was wrong.
local function use(pool, lists, nth)
  local errors, wrong, futures = 0, nil, {}
  local function look(what, i, ok, value)
    errors = errors + (ok and 0 or 1)
    if ok and not is_right(value, i, lists) then wrong = ("%s of %d gave %s"):format(what, i, tostring(value)) end
  end
  pcall(function() -- what this program itself allocates may fail, too
    core.faults.allocation(nth, 2)
    for i = 1, ITEMS do look("call", i, pcall(pool.call, pool, i)) end
    for i = 1, ITEMS do
      local ok, future = pcall(pool.submit, pool, i)
      futures[i] = ok and future or nil
    end
    for i, future in pairs(futures) do look("submit", i, pcall(future.result, future)) end
  end)
  core.faults.reset()
  return errors, wrong
end

local runs, all, nth = 0, 0, 1
while nth <= MOST do
  for _, lists in ipairs { false, true } do
    local pool = open(lists)
    for i = 1, 3 do assert(is_right(pool:call(i), i, lists)) end
    local errors, wrong = use(pool, lists, nth)
    runs, all = runs + 1, all + errors
    if wrong then print(("WRONG: allocation %d: %s"):format(nth, wrong)) end
    pcall(pool.kill, pool)
  end
  nth = nth + math.random(1, 2 * step - 1)
end
print(("%d runs, %d errors"):format(runs, all))
