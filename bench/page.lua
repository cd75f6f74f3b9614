-- SPDX-License-Identifier: MIT
--- Puts the figures of a run into the pages: the tables between two marks of docs/performance.md, and the chart.
local json = require "json"
local tables = require "tables"

local PAGE, CHART = "docs/performance.md", "docs/throughput.svg"
local BEGIN = "<!-- figures: written by bench/run.lua --write-docs -->"
local END = "<!-- end of figures -->"
local IMAGE = "![Items per second against the size of an item and the cost of the handler](throughput.svg)\n\n"

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

local function write(path, text)
  local file <close> = assert(io.open(path, "w"))
  assert(file:write(text))
  print(path)
end

local M = {}

--- The page with the tables of a run between its marks.
--- @param page string
--- @param run table  what bench/run.lua has written
--- @param has_chart boolean  refer to the chart
--- @return string
function M.with_figures(page, run, has_chart)
  local _, before = page:find(BEGIN, 1, true)
  local behind = page:find(END, 1, true)
  assert(before and behind, PAGE .. " has lost its marks: " .. BEGIN .. " and " .. END)
  return page:sub(1, before) .. "\n\n" .. (has_chart and IMAGE or "") .. tables.render(run, "### ") .. "\n" ..
    page:sub(behind)
end

--- Writes both from a file of results.
--- @param results string  path
function M.write(results)
  local run = json.decode(read(results))
  local chart = require "chart"(run)
  if chart then write(CHART, chart) end
  write(PAGE, M.with_figures(read(PAGE), run, chart ~= nil))
end

return M
