-- Run by spec/faults_spec.lua with the test build: makes the Nth system call of each kind fail with each errno, and
-- checks that the run ends with every item or with an error that says why. Prints WRONG lines for what went otherwise.
-- fail_calls.lua N [threads]: the Ns are the first so many numbers of Fibonacci's; stages wait in threads.
local core = require "minigun.core"
local minigun = require "minigun"

local ENOMEM <const>, EAGAIN <const>, EMFILE <const>, EINTR <const>, EPERM <const> = 12, 11, 24, 4, 1
-- What a kernel can answer; a call that is not named can fail with any of them. Writing to an eventfd says EAGAIN only
-- where the reader is sure to wake.
local errnos = { ENOMEM, EAGAIN, EMFILE, EINTR, EPERM }
local plausible = {
  write = { EINTR, EPERM }, read = { EINTR, EAGAIN }, set_signals = {}, block_signals = { EPERM },
  fork = { ENOMEM, EAGAIN }, reap = { EPERM }, poll = { EINTR }, close = { EINTR },
}

local threads = arg[2] and 3
if threads then package.preload.cqueues = function() error "hidden: the library's own loop makes the calls" end end
local moments = { table.unpack({ 1, 2, 3, 5, 8, 13, 21, 34 }, 1, tonumber(arg[1])) }

local function run()
  local p = minigun.pipeline "calls"
  p:producer("numbers", function(emit)
    for i = 1, 300 do emit(i) end
  end)
  local function pass(x, emit)
    if threads and x % 50 == 0 then
      local pipe = assert(io.popen "echo x")
      minigun.wait(pipe)
      pipe:close()
    end
    emit(x)
  end
  if threads then p:processor("here", { threads = threads, retries = 2 }, pass) end
  p:processor("pool", { processes = 2, threads = threads, retries = 2 }, pass)
  p:batch(30)
  p:processor("fork", { process_per_batch = 2, retries = 2 }, function(batch, emit)
    for _, x in ipairs(batch) do emit(x) end
  end)
  return p:run { failures = "collect" }
end

local function problem(ok, r)
  if not ok then
    return not tostring(r):find "%a+: %a+" and "an error that does not say why: " .. tostring(r)
  end
  local seen, n = {}, 0
  for _, x in ipairs(r.items) do
    if seen[x] then return ("item %d twice"):format(x) end
    seen[x], n = true, n + 1
  end
  return n ~= 300 and ("%d items of 300"):format(n)
end

local function used()
  local before = core.faults.calls()
  run()
  local counts = core.faults.calls()
  for name, n in pairs(counts) do counts[name] = n - before[name] end
  return counts
end

local counts, names, runs, errors = used(), {}, 0, 0
for name in pairs(counts) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do
  for _, nth in ipairs(moments) do
    for _, errno in ipairs(nth <= counts[name] and (plausible[name] or errnos) or {}) do
      core.faults.reset()
      core.faults.call(name, nth, errno)
      local ok, r = pcall(run)
      runs, errors = runs + 1, errors + (ok and 0 or 1)
      local wrong = problem(ok, r)
      if wrong then print(("WRONG: call %d of %s failed with errno %d: %s"):format(nth, name, errno, wrong)) end
    end
  end
end
print(("%d runs, %d ended with an error"):format(runs, errors))
