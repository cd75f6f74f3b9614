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

workload.main(workloads, arg)
