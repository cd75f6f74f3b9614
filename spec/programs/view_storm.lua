-- The storm on the live view, `make view-storm`: runs at a terminal, one after the other, with random keys, sizes,
-- stops (Ctrl-Z, fg), workers that die, items that fail, and ends of all kinds (keys, Ctrl-C, signals). After each the
-- terminal is compared with before (`stty -a`), and the result is looked at.
-- usage: view_storm.lua [SECONDS] [SEED]     prints how often a run has ended how; exits with 1 at the first damage
local core = require "minigun.core"
local live = require "spec.live"
local terminal = require "spec.terminal"

local seconds, seed = tonumber(arg[1]) or 600, tonumber(arg[2]) or os.time()
assert(terminal.available(), "the storm needs a C compiler and a pseudo-terminal")
math.randomseed(seed)
print("SEED=" .. seed)

local began, rounds, ends = core.now(), 0, {}
while core.now() - began < seconds do
  rounds = rounds + 1
  local wrong, how = live.storm()
  if wrong then
    io.stderr:write(("SEED=%d, round %d: %s\nwhat was done:\n%s\n"):format(seed, rounds, wrong, how))
    os.exit(1)
  end
  ends[how] = (ends[how] or 0) + 1
end
local names = {}
for how in pairs(ends) do names[#names + 1] = how end
table.sort(names)
for _, how in ipairs(names) do print(("%4d  %s"):format(ends[how], how)) end
print(("%d runs in %.0f s: the terminal as before after each, each result right"):format(rounds, core.now() - began))
