-- A service that is to end by SIGTERM, for spec/terminate_spec.lua: terminated.lua DOOR CONTEXT HANDLER FILE
--   DOOR     run, start, start with fd, iterate, map, blocked (its source reads standard input), inside (a run in a
--            handler)
--   HANDLER  default, own (which stops the run), ignored
--   FILE     where it notes each item that its last stage has had; with the suffix .journal there is a journal
-- Says "ready" when the first item is through, and at its end, in after_run, what there was. An item takes 0.05 s, or,
-- where FILE ends with .slow, 60 s, and it says "begun".
local core = require "minigun.core"
local minigun = require "minigun"
local unruly = require "unruly"

local door, kind, handler, path = table.unpack(arg)
local slow, journal = path:find "%.slow$", path:find "%.journal$"
local options = ({ inline = { inline = true }, processes = { processes = 2 }, threads = { threads = 3 },
  process_per_batch = { process_per_batch = 2 }, hosted = { processes = 2, threads = 2 } })[kind]
io.stdout:setvbuf "line"

if handler == "own" then unruly.catch(15) elseif handler == "ignored" then unruly.ignore(15) end

local produced, taken, ready = 0, 0, false
local out = assert(io.open(path, "a"))
out:setvbuf "line"

local p = minigun.pipeline "service"
p:producer("source", function(emit)
  if door == "blocked" then
    for line in io.lines() do
      produced = produced + 1
      emit(tonumber(line))
    end
    return
  end
  for i = 1, handler == "ignored" and 40 or journal and 60 or 1000000 do
    produced = produced + 1
    emit(i)
  end
end)
p:processor("work", options, function(item, emit)
  local seconds = slow and 60 or 0.05
  if slow then print "begun" end
  if door == "inside" then
    local list = minigun.map({ 1, 2, 3, 4 }, function(n)
      core.sleep(seconds / 4)
      return n * item
    end, { processes = 1 })
    assert(#list == 4 and list[4] == 4 * item, "a run inside has ended before its end")
  elseif kind == "threads" or kind == "hosted" then
    minigun.sleep(seconds)
  else
    core.sleep(seconds)
  end
  emit(item)
end)
p:each("take", function(item)
  taken = taken + 1
  out:write(item, "\n")
  if not ready and not slow then
    ready = true
    print "ready"
  end
end)
p:after_run(function(result)
  print(("after_run: stopped %s, ok %s, failures %d, workers %d, took all %s"):format(result.stopped, result.ok,
    #result.failures, result.stats.stages.work.failed, tostring(produced - taken <= 0)))
end)

local given = { grace = tonumber(os.getenv "GRACE"), journal = journal and path .. ".file" or nil, queue = 4 }
local run
if door == "start" then
  run = p:start(given)
  while run:step(0.02) do
    if unruly.caught() > 0 then run:stop() end
  end
  run:wait()
elseif door == "start with fd" then
  run = p:start(given)
  local fd = run:fd()
  repeat
    core.wait(fd, "r", 1)
    if unruly.caught() > 0 then run:stop() end
  until not run:step()
  run:wait()
elseif door == "iterate" then
  for _ in p:iterate(given) do end
elseif door == "map" then
  minigun.each({ 1, 2, 3 }, function(n)
    if n == 1 then print "ready" end
    core.sleep(0.3)
    out:write(n, "\n")
  end, { processes = 1 })
else
  p:run(given)
end
print "the program goes on"
