-- SPDX-License-Identifier: MIT
-- The loop a user has before any library: one process, no transport at all.
-- usage: lua5.4 bench/peers/plain.lua WORKLOAD [VARIANT] [ITEMS]
package.path = "./bench/?.lua;" .. package.path
local workload = require "workload"

local workloads = {}

local function square(x) return (x * x) % 7919 end

local function mark(record)
  record.ok = true
  return record
end

function workloads.W1(items)
  items = items or 1000000
  local expected, sum, start = workload.expected_sum(items), 0, os.clock()
  for i = 1, items do sum = sum + square(i) end
  return workload.rate(items, os.clock() - start, start, sum == expected)
end

function workloads.W2(items)
  items = items or 100000
  local count, start = 0, os.clock()
  for i = 1, items do
    if mark(workload.record(i)).ok then count = count + 1 end
  end
  return workload.rate(items, os.clock() - start, start, count == items)
end

--- The stages as plain functions, each of which calls the next.
local function chain(items, _, n)
  n = math.tointeger(tonumber(n))
  local sum = 0
  local call = function(x) sum = sum + x end
  for _ = 1, n do
    local next_one = call
    call = function(x) next_one(x + 1) end
  end
  local start = os.clock()
  for i = 1, items do call(i) end
  return workload.rate(items, os.clock() - start, start, sum == items * (items + 1) // 2 + n * items)
end

function workloads.W13(items, ...) return chain(items or 500000, ...) end
workloads.W14 = workloads.W13

function workloads.W15(items, _, n)
  items, n = items or 100000, math.tointeger(tonumber(n))
  local sum, takes = 0, {}
  for i = 1, n do takes[i] = function(x) sum = sum + x end end
  local start = os.clock()
  for i = 1, items do
    for k = 1, n do takes[k](i) end
  end
  return workload.rate(items, os.clock() - start, start, sum == n * items * (items + 1) // 2)
end

workload.main(workloads, arg)
