-- Run by spec/loop_processes_spec.lua with the test build: makes the Nth system call of each kind fail with each errno
-- while an event loop is made, watches and forks, and checks that all that was begun is told of, or that a call has
-- said why it was not; and that nothing is left over: no child, no descriptor, no handler of a signal.
-- fail_loop.lua ADAPTER. Prints WRONG lines for what went otherwise, and at the end "N runs, N refused".
package.path = "./?.lua;" .. package.path
local core = require "minigun.core"
local loop = require "minigun.loop"
local loops = require "spec.loops"
local support = require "spec.support"
local unruly = require "spec.programs.build".unruly()

local name = arg[1]
assert(loops.by_name[name])
local ENOMEM <const>, EMFILE <const>, EPERM <const> = 12, 24, 1
local EINTR <const>, EAGAIN <const>, ENOSPC <const> = 4, 11, 28
local plausible <const> = {
  epoll_create = { EMFILE, ENOMEM }, epoll_set = { ENOMEM, ENOSPC }, epoll_add = { ENOMEM, ENOSPC },
  epoll_del = { ENOMEM }, epoll_wait = { EINTR, ENOMEM }, eventfd = { EMFILE, ENOMEM }, bell_add = { ENOMEM },
  bell_ring = { ENOMEM }, timerfd = { EMFILE, ENOMEM }, timer_set = { EPERM }, signal_action = { EPERM },
  block_signals = { EPERM }, fork = { EAGAIN, ENOMEM }, pidfd_open = { EMFILE, EPERM }, file_facts = { ENOMEM },
  lifeline = { EMFILE }, poll = { EINTR, ENOMEM }, read = { EAGAIN, EINTR }, reap = { EPERM }, close = { EINTR },
  renew_epolls = { EMFILE }, symbol = { ENOMEM }, default_signals = { EPERM }, at_exit = { ENOMEM },
}
local TEXTS <const> = { [ENOMEM] = "Cannot allocate memory", [EMFILE] = "Too many open files",
  [ENOSPC] = "No space left", [EPERM] = "Operation not permitted", [EINTR] = "Interrupted",
  [EAGAIN] = "Resource temporarily unavailable" }
local NTHS <const> = { 1, 2, 3, 5 }

-- Everything that a loop does. Returns what was not told of: names and reasons.
local function use(refused)
  local l, message = loop.new(name)
  if not l then
    refused[#refused + 1] = message
    return {}
  end
  local _ <close> = l
  local r, w = unruly.pipe()
  local open = {}
  local function begin(what, f, ...)
    local got, why = f(l, ...)
    if got then open[what] = true else refused[#refused + 1] = why end
    return got
  end
  local ok, err = pcall(function()
    begin("timer", l.after, 0.005, function() open.timer = nil end)
    local signal
    signal = begin("signal", l.watch_signal, "USR1", function()
      open.signal = nil
      signal:stop()
    end)
    local io_watch
    io_watch = begin("io", l.watch_io, r, "r", function()
      open.io = nil
      io_watch:stop()
    end)
    begin("child", l.fork, function(own)
      core.faults.reset()
      own:after(0.001, function() end)
      own:run()
      return 3
    end, { on_exit = function() open.child = nil end })
    unruly.write(w, "x")
    if signal then unruly.kill(core.pid(), core.signal_numbers.USR1) end
    l:after(10, function() l:stop() end)
    local given_up = core.now() + 12
    while next(open) and core.now() < given_up do l:step(0.05) end
  end)
  unruly.close(r)
  unruly.close(w)
  if not ok then
    refused[#refused + 1] = tostring(err)
    return {}
  end
  return open
end

local before = unruly.handler(core.signal_numbers.USR1)
use {}
collectgarbage()
collectgarbage()
-- Up to the call that fails all is as without it, so what is not made so often there cannot fail; the child makes one
-- more of some kinds before it is out of the test's hands.
local earlier <const> = core.faults.calls()
use {}
local made <const> = core.faults.calls()
collectgarbage()
collectgarbage()
local descriptors = support.descriptor_count()
local runs, said = 0, 0
for call, errors in pairs(plausible) do
  for _, errno in ipairs(errors) do
    for _, nth in ipairs(NTHS) do
      if nth > made[call] - earlier[call] + 1 then break end
      local label = ("%s %d: %s"):format(call, nth, TEXTS[errno])
      print(label)
      io.stdout:flush()
      core.faults.reset()
      core.faults.call(call, nth, errno)
      local refused = {}
      local open = use(refused)
      core.faults.reset()
      runs = runs + 1
      for what in pairs(open) do print(("WRONG %s: the %s was not told of"):format(label, what)) end
      for _, why in ipairs(refused) do
        said = said + 1
        if not why:find(TEXTS[errno], 1, true) then print(("WRONG %s: said %s"):format(label, why)) end
      end
      collectgarbage()
      collectgarbage()
      if unruly.handler(core.signal_numbers.USR1) ~= before then
        -- The third is the one that looks whether the handler is still ours.
        if call ~= "signal_action" or nth < 3 then print(("WRONG %s: a handler is left"):format(label)) end
        use {} -- which takes it away
      end
      if support.descriptor_count() ~= descriptors then
        print(("WRONG %s: %d descriptors, not %d"):format(label, support.descriptor_count(), descriptors))
        descriptors = support.descriptor_count()
      end
      for _, pid in ipairs(support.children(core.pid())) do
        -- Whose watch has ended with the loop, by an error, is the program's to wait for.
        if #refused == 0 then print(("WRONG %s: a child is left"):format(label)) end
        unruly.kill(pid, 9)
        unruly.wait(pid)
      end
    end
  end
end
print(("%d runs, %d refused"):format(runs, said))
