-- SPDX-License-Identifier: MIT
-- `minigun busted` beside busted: on a suite that is there, or on small ones that are made here, whose tests take so
-- many seconds of processor time. Both in turn, medians; a run whose counts are not busted's ends it.
--
-- usage: lua5.4 bench/busted.lua [--runs N] [DIRECTORY [WORDS...]]            from the top of the tree
package.path = "./bench/?.lua;./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = ("./%s/?.so;"):format(os.getenv "MINIGUN_BUILD" or "build") .. package.cpath
local minigun = require "minigun"
local median = require "workload".median

local FILES <const>, TESTS <const> = 8, 10 -- of a suite that is made here
local SIZES <const> = { 0, 0.05, 0.1, 0.2, 0.3, 1 }

local words, runs = { table.unpack(arg) }, 5
if words[1] == "--runs" then runs = tonumber(table.remove(words, 2)) table.remove(words, 1) end
local here <const> = assert(minigun.command { "pwd" }).out:match "[^\n]+"
local COMMANDS <const> = { { "lua5.4", "/usr/bin/busted" }, { here .. "/bin/minigun", "busted" } }

-- Runs a suite once. Returns the seconds, those of processor time, and the counts of the closing line.
local function measure(command, directory, more)
  local list = table.move(more, 1, #more, #command + 3, { table.unpack(command) })
  table.move({ "-o", "plainTerminal" }, 1, 2, #command + 1, list)
  local script = { "sh", "-c", 'cd "$0" && "$@"; times >&2', directory, table.unpack(list) }
  local result = assert(minigun.command(script, { env = { XDG_CACHE_HOME = directory } }))
  local cpu, children = 0, result.err:match "[^\n]*\n$"
  for minutes, seconds in children:gmatch "(%d+)m([%d.]+)s" do cpu = cpu + minutes * 60 + seconds end
  return result.seconds, cpu, result.out:match "%d+ success[^:]* pending" or result.out .. result.err
end

local function compare(name, directory, more)
  local seconds, cpu, counts = { {}, {} }, { {}, {} }, nil
  measure(COMMANDS[2], directory, more) -- it remembers how long each file takes
  for run = 1, runs do
    for i, command in ipairs(COMMANDS) do
      local told
      seconds[i][run], cpu[i][run], told = measure(command, directory, more)
      counts = counts or told
      assert(told == counts, told)
    end
  end
  local theirs, ours = median(seconds[1]), median(seconds[2])
  print(("%-20s %9.3f %9.3f %8.2f %8.2f   %s"):format(name, theirs, ours, ours / theirs, median(cpu[2]) /
    median(cpu[1]), counts))
end

local function make_suite(directory, seconds)
  assert(os.execute(("mkdir -p %s/spec"):format(directory)))
  for i = 1, FILES do
    local file <close> = assert(io.open(("%s/spec/f%d_spec.lua"):format(directory, i), "w"))
    file:write(([[for i = 1, %d do it("is test " .. i, function()
      local stop = os.clock() + %g
      while os.clock() < stop do end
    end) end]]):format(TESTS, seconds / FILES / TESTS))
  end
end

print(("%-20s %9s %9s %8s %8s"):format("seconds of", "busted", "minigun", "ratio", "of CPU"))
if words[1] then
  local directory = table.remove(words, 1)
  compare(directory:match "[^/]*$", directory, words)
else
  local directory <const> = os.tmpname()
  os.remove(directory)
  for _, seconds in ipairs(SIZES) do
    make_suite(directory, seconds)
    compare(("a suite of %.2f s"):format(seconds), directory, {})
  end
  os.execute("rm -r " .. directory)
end
