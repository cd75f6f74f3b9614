-- Chaos in a cluster, `make cluster-chaos`: while items go through it, its parts die at random moments: worker hosts
-- and their children, submitters, servers, connections; others are frozen, some for longer than a lease. What has
-- arrived is compared with what was produced: each item once. Where a submitter is killed, an item may come again that
-- its journal had not acknowledged, and no other.
-- usage: chaos.lua [ITEMS] [SEED] [WHAT]     WHAT: "sentinels", three servers and three sentinels, or "server", one
--                                            with its file; exits with 1 when anything is lost or there twice
local clusters = require "spec.clusters"
local minigun = require "minigun"
local support = require "spec.support"

local ITEMS <const>, SEED <const> = tonumber(arg[1]) or 600000, tonumber(arg[2]) or os.time()
local WHAT <const> = arg[3] or "sentinels"
local HOSTS <const>, LEASE <const>, PAUSE <const> = 3, 1.5, 0.25
local MOST <const> = 900 -- seconds

local missing = clusters.missing() or WHAT == "sentinels" and not support.has "redis-sentinel" and "no redis-sentinel"
if missing then
  print("skipped: " .. missing)
  os.exit(0)
end
math.randomseed(SEED)
local cluster <close> = clusters.start "--appendonly yes"
local directory = cluster.directory
local servers = WHAT == "sentinels" and cluster:sentinels(true) or cluster:behind_proxy()
local path = cluster:program(([[
  local minigun = require "minigun"
  local p = minigun.pipeline("chaos", { job = "chaos", journal = %q, progress = false })
  p:producer("source", minigun.range(1, %d))
  p:processor("work", { cluster = { url = %q, lease = %g, tries = 1000 }, retries = 1000 }, function(x, emit)
    if x %% 200 == 0 then minigun.sleep(0.01) end
    emit(x)
  end)
  local out
  p:each("take", function(x)
    out = out or io.open(arg[1], "a")
    out:write(x, "\n")
    out:flush()
  end)
  if arg[1] then p:run() end
  return true
]]):format(directory .. "/journal", ITEMS, servers.url, LEASE), "chaos")

-- --- what dies -----------------------------------------------------------------------------------------------------

local hosts, submitter, epoch, asleep, deaths, ended = {}, nil, 0, {}, {}, {}
local before = {} -- by submitter: what the journal had acknowledged when it began

-- The items that the journal has acknowledged by now.
local function acknowledged()
  local set = {}
  local file <close> = io.open(directory .. "/journal")
  if not file then return set end -- no submitter has lived until it made one
  local journal <close> = assert(minigun.spool(directory .. "/journal", { read_only = true }))
  for record in journal:records() do
    local ranges = record[1] == "done" and record[2].source or {}
    for i = 1, #ranges, 2 do
      for x = ranges[i], ranges[i + 1] do set[x] = true end
    end
  end
  return set
end

local function start_host(i)
  hosts[i] = cluster:spawn(("./bin/minigun worker %s --processes 2"):format(path), ("host%d"):format(#cluster.pids))
end

local function start_submitter()
  epoch = epoch + 1
  before[epoch] = acknowledged()
  support.write_file(("%s/taken.%d"):format(directory, epoch), "")
  submitter = cluster:spawn(("lua5.4 %s %s/taken.%d"):format(path, directory, epoch), "submitter" .. epoch)
end

local function kill(pid)
  cluster:signal(pid, "KILL")
  support.wait_until(function() return not support.alive(pid) end, 5)
end

-- It wakes after so many seconds.
local function freeze(pid, seconds)
  cluster:signal(pid, "STOP")
  asleep[#asleep + 1] = { pid = pid, at = support.now() + seconds }
end

local function wake()
  for i = #asleep, 1, -1 do
    if support.now() >= asleep[i].at then cluster:signal(table.remove(asleep, i).pid, "CONT") end
  end
end

local events = {
  child = function()
    local children = support.children(hosts[math.random(HOSTS)])
    if children[1] then cluster:signal(children[math.random(#children)], "KILL") end
  end,
  host = function()
    local i = math.random(HOSTS)
    kill(hosts[i])
    start_host(i)
  end,
  ["frozen host"] = function() freeze(hosts[math.random(HOSTS)], LEASE * (0.5 + math.random())) end,
  ["ended host"] = function()
    local i = math.random(HOSTS)
    cluster:signal(hosts[i], ({ "INT", "TERM" })[math.random(2)])
    start_host(i)
  end,
  submitter = function()
    kill(submitter)
    start_submitter()
  end,
  ["frozen submitter"] = function() freeze(submitter, math.random()) end,
  connections = function() servers:cut(math.random(#servers)) end,
  ["frozen server"] = function() freeze(servers[math.random(#servers)].pid, math.random() / 2) end,
  server = function() servers:kill(math.random(#servers)) end,
  master = WHAT == "sentinels" and function() servers:kill(servers:master()) end or nil,
}
local names = {}
for name in pairs(events) do names[#names + 1] = name end
table.sort(names)

-- --- what has arrived ----------------------------------------------------------------------------------------------

-- Compares what each submitter has had with what was acknowledged before.
local function compare()
  local all, lost, doubled, again = {}, 0, 0, 0
  for e = 1, epoch do
    local own = {}
    for line in io.lines(("%s/taken.%d"):format(directory, e)) do
      local x = math.tointeger(tonumber(line))
      if own[x] or before[e][x] then doubled = doubled + 1
      elseif all[x] then again = again + 1 end
      own[x], all[x] = true, true
    end
  end
  for x = 1, ITEMS do lost = lost + (all[x] and 0 or 1) end
  return lost, doubled, again
end

-- --- the run -------------------------------------------------------------------------------------------------------

local start = support.now()
-- Whether it has. One that has found no server is begun again, as what runs such programs would do.
local function has_ended()
  if support.alive(submitter) then return false end
  local said = cluster:said("submitter" .. epoch .. ".err")
  if not (said:find "cannot connect" or said:find "no answer" or said:find "connection") then return true end
  start_submitter()
  return false
end

for i = 1, HOSTS do start_host(i) end
start_submitter()
while not has_ended() and support.now() - start < MOST do
  support.sleep(PAUSE * 2 * math.random())
  wake()
  local name = names[math.random(#names)]
  if support.alive(submitter) then
    events[name]()
    deaths[name] = (deaths[name] or 0) + 1
  end
end
local seconds = support.now() - start
for _, name in ipairs(names) do ended[#ended + 1] = ("%s %d"):format(name, deaths[name] or 0) end
local lost, doubled, again = compare()
local said = cluster:said("submitter" .. epoch .. ".err")
print(("items %d, seed %d, %s, %.0f s: %s"):format(ITEMS, SEED, WHAT, seconds, table.concat(ended, ", ")))
print(("lost %d, doubled %d; not acknowledged when a submitter was killed: %d"):format(lost, doubled, again))
if said ~= "" then print(said) end
os.exit(lost + doubled == 0 and said == "", true)
