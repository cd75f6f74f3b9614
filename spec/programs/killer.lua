-- Sends signals to children of a process at random moments: killer.lua PID COUNT MEAN SEED MODE FILE
-- MEAN: seconds between two on average. MODE: "kill" (SIGKILL), "user" (SIGUSR1), "stop" (SIGSTOP, then SIGCONT after
-- about as long) or "any" of these, each time anew.
-- Ends when its work is done, FILE is removed, or the process is gone; prints how many signals have hit.
local unruly = require "unruly"
local core = require "minigun.core"

local parent, count, mean, seed = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4])
local mode, path = arg[5], arg[6]
local SIGNALS <const> = { kill = 9, user = 10, stop = 19 }
local NAMES <const> = { "kill", "user", "stop" }
local SIGCONT <const> = 18

math.randomseed(seed)
io.stdout:setvbuf "line"

local function children()
  local file = io.open(("/proc/%d/task/%d/children"):format(parent, parent))
  if not file then return nil end
  local pids = {}
  for pid in file:read("a"):gmatch "%d+" do
    if tonumber(pid) ~= core.pid() then pids[#pids + 1] = tonumber(pid) end
  end
  file:close()
  return pids
end

local function wanted()
  local file = io.open(path)
  return file and file:close()
end

local hits = 0
while hits < count and wanted() do
  unruly.pause(math.random() * 2 * mean)
  local pids = children()
  if not pids then break end
  if #pids > 0 then
    local pid = pids[math.random(#pids)]
    local deed = mode == "any" and NAMES[math.random(#NAMES)] or mode
    if unruly.kill(pid, SIGNALS[deed]) then hits = hits + 1 end
    if deed == "stop" then
      unruly.pause(math.random() * 2 * mean)
      unruly.kill(pid, SIGCONT)
    end
  end
end
print(hits)
