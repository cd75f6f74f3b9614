-- Run by spec/faults_spec.lua with the test build: makes the Nth system call of each kind fail with each errno, and
-- checks that the run ends with every item or with an error that says why, and that nothing is left over. Prints WRONG
-- lines for what went otherwise, and before each run what is to fail in it.
-- fail_calls.lua N SEED [threads|journal|worker|programs]: the Ns are the first so many numbers of Fibonacci's; with
-- "-" each call fails at one of them with one errno, in half of the modes: which half is said by SEED.
-- threads: stages wait in threads; journal: with a journal, and dead letters in a spool that is read afterwards;
-- programs: handlers start such; worker: what fails does so in a worker that has begun its work, and in the run that
-- its handler makes.
local core = require "minigun.core"
local minigun = require "minigun"
local support = require "spec.support"

local names_of = { [12] = "Cannot allocate memory", [11] = "Resource temporarily unavailable",
  [24] = "Too many open files", [23] = "Too many open files in system", [28] = "No space left on device",
  [4] = "Interrupted system call", [1] = "Operation not permitted" }
local ENOMEM <const>, EAGAIN <const>, EMFILE <const>, ENFILE <const>, ENOSPC <const> = 12, 11, 24, 23, 28
local EINTR <const>, EPERM <const>, ENOSYS <const> = 4, 1, 38
-- What a kernel can answer; to taking a whole mapping away it cannot say no. A filter of system calls (seccomp) says
-- EPERM; a full disk is told of by whatever writes, with a file system of the network by `close` too.
local plausible = {
  map_shared = { ENOMEM }, map_private = { ENOMEM }, unmap = {}, advise = { ENOMEM, EAGAIN, EPERM }, wiped_page = {},
  fork = { ENOMEM, EAGAIN }, pidfd_open = { ENOMEM, EMFILE, ENFILE, EPERM }, kill = { EPERM }, kill_wait = {},
  reap = { EPERM }, eventfd = { ENOMEM, EMFILE, ENFILE }, timerfd = { ENOMEM, EMFILE, ENFILE, EPERM },
  fill_standard = {}, bell_add = { ENOMEM, ENOSPC, EPERM }, bell_ring = {}, at_exit = { ENOMEM }, line_buffer = {},
  ticker_open = { EAGAIN, EPERM }, ticker_set = {}, ticker_close = {},
  timer_set = {}, lifeline = { EMFILE, ENFILE }, epoll_create = { ENOMEM, EMFILE, ENFILE },
  epoll_add = { ENOMEM, ENOSPC, EPERM }, epoll_set = { ENOMEM, ENOSPC, EPERM }, epoll_del = { ENOMEM, EPERM },
  epoll_wait = { EINTR }, poll = { EINTR, ENOMEM }, read = { EINTR, EAGAIN }, write = { EINTR, EPERM, ENOSPC },
  close = { EINTR, ENOSPC }, open_file = { ENOMEM, EMFILE, ENFILE, ENOSPC, EINTR, EPERM },
  file_facts = { ENOMEM }, path_facts = { ENOMEM }, lock_file = { ENOMEM, EINTR }, own_file = { ENOMEM, EPERM },
  truncate_file = { EINTR, EPERM, ENOSPC }, sync_file = { EINTR, ENOSPC }, read_at = { EINTR, ENOMEM },
  glob = { ENOMEM }, glob_free = {},
  null_stdin = { EMFILE, ENFILE, EPERM }, parent_death_signal = { EPERM }, block_signals = { EPERM },
  set_signals = {}, handle_signal = { EPERM }, signal_action = { EPERM }, random = { EINTR, EAGAIN }, cpus = {},
  limit_memory = { EPERM }, be_nice = { EPERM }, bind_cpu = { EPERM },
  terminal = { EPERM }, foreground = {}, print_into = {}, stop_self = {}, launch = { ENOMEM, EAGAIN },
  has_ended = { EPERM }, kill_other = { EPERM }, new_group = { EPERM },
  new_session = { EPERM }, close_others = {}, close_run = {}, read_link = { ENOMEM }, write_pipe = { EINTR, EAGAIN },
  do_not_block = { EPERM }, open_output = { EMFILE, ENFILE, ENOSPC, EINTR },
  barrier = { EPERM, ENOSYS }, flush = { ENOSPC }, complain = { ENOSPC }, read_ahead = {}, raise = {},
  sleep = { EINTR },
  -- those of servers: see fail_server.lua
  resolve = {}, socket = {}, socket_option = {}, bind = {}, listen = {}, accept = {}, connect = {}, socket_name = {},
  is_listening = {}, send = {}, receive = {}, shutdown = {}, epoll_share = {}, copy = {}, inherit = {}, execute = {},
  remove_file = {}, find_user = {}, find_group = {}, become_user = {}, memory_of = {}, limit_descriptors = {},
  -- those of services: see service_calls.lua
  send_packet = {}, receive_packet = {}, peer = {}, set_rights = {}, memory_file = {}, sealed_size = {}, map_rings = {},
  peek = { EMFILE },
  -- those of views and pages, which a run does without
  open_terminal = {}, screen_size = {}, get_mode = {}, set_mode = {}, at_end = {}, make_directory = {},
  list_directory = {}, make_file = {}, is_owned = {}, write_at = {}, lock_line = {}, write_room = {},
  -- those of event loops
  default_signals = {}, renew_epolls = {}, symbol = {},
}

local ITEMS <const> = arg[1] ~= "-" and 300 or 60
local most, mode = tonumber(arg[1]), arg[3]
local MODES <const> = { threads = 1, journal = 2, programs = 3, worker = 4 }
local threads = mode == "threads" and 3 or nil
if threads then package.preload.cqueues = function() error "hidden: the library's own loop makes the calls" end end
local seed = math.tointeger(arg[2])
math.randomseed(seed)
local fibonacci = mode == "worker" and { 1, 2 } or { 1, 2, 3, 5, 8, 13, 21, 34 }
local journal, letters = os.tmpname(), os.tmpname()

-- What is to fail in the worker that first has item 7 in hand: name, nth, errno.
local in_worker

local function pass(x, emit, ctx)
  if threads and x % 50 == 0 then
    local pipe = assert(io.popen "echo x")
    minigun.wait(pipe)
    pipe:close()
  end
  if mode == "programs" and x % 40 == 0 then
    local ran = assert(minigun.command({ "cat" }, { stdin = "x", stderr = "/dev/null" }))
    assert(ran.ok and ran.out == "x")
  end
  if mode == "worker" and x == 7 then
    if ctx.attempt == 1 and in_worker then core.faults.call(table.unpack(in_worker)) end
    local inner = minigun.map({ 1, 2, 3 }, function(y) return y * 2 end, { processes = 1 })
    assert(#inner == 3 and inner[3] == 6)
  end
  if mode == "journal" and x % 50 == 0 then error "for the spool" end
  emit(x)
end

local function pipeline(delivered)
  local p = minigun.pipeline "calls"
  p:producer("numbers", function(emit)
    for i = 1, ITEMS do emit(i) end
  end)
  if mode == "programs" then p:processor("here", { threads = 2, retries = 2 }, pass) end
  if threads then p:processor("here", { threads = threads, retries = 2 }, pass) end
  p:processor("pool", { processes = 2, threads = threads, retries = mode ~= "journal" and 2 or 0 }, pass)
  p:batch(30)
  p:processor("fork", { process_per_batch = 2, retries = 2 }, function(batch, emit)
    for _, x in ipairs(batch) do emit(x) end
  end)
  return p:consumer("take", function(x) delivered[x] = (delivered[x] or 0) + 1 end)
end

local function run(delivered, options)
  options = options or { failures = "collect" }
  if mode ~= "journal" then return pipeline(delivered):run(options) end
  local spool <close> = assert(minigun.spool(letters, { sync = true }))
  options.journal, options.dead_letter = { path = journal, sync = "always" }, spool
  return pipeline(delivered):run(options)
end

-- Whether the items of failures and of the spool are where they belong.
local function take_others(delivered, r)
  for _, failure in ipairs(r and r.failures or {}) do
    local list = type(failure.item) == "table" and failure.item or { failure.item }
    for _, x in ipairs(list) do
      if not failure.dead_letter then delivered[x] = (delivered[x] or 0) + 1 end
    end
  end
  if mode ~= "journal" then return end
  local spool <close> = assert(minigun.spool(letters))
  for letter in spool:records() do delivered[letter.item] = (delivered[letter.item] or 0) + 1 end
end

local function problem(ok, r, delivered, name, errno)
  local whole = name == "sync_file" -- a letter that may not be on the disk is told of, and there
  if not ok then
    local said = tostring(r):find(names_of[errno], 1, true) or tostring(r):find "worker"
    if not said then return "an error that does not say why: " .. tostring(r) end
    if mode ~= "journal" then return nil end
    -- Another run goes on, and between them nothing is lost.
    local again, second = pcall(run, delivered)
    if not again then return "it cannot be resumed: " .. tostring(second) end
    r, whole = second, true
  end
  local read, message = pcall(take_others, delivered, r)
  if not read then return tostring(message) end
  for x = 1, ITEMS do
    if not delivered[x] then return ("item %d is lost: %s"):format(x, tostring(r.failures[1])) end
    if delivered[x] > 1 and not whole then return ("item %d is there %d times"):format(x, delivered[x]) end
  end
end

local function left_over()
  collectgarbage()
  collectgarbage()
  return ("%d children, %d descriptors, %d mappings"):format(#support.children(), support.descriptor_count(),
    support.shared_mappings())
end

local function forget_files()
  os.remove(journal)
  os.remove(letters)
end

local function used()
  forget_files()
  local before = core.faults.calls()
  run {}
  local counts = core.faults.calls()
  for name, n in pairs(counts) do counts[name] = n - before[name] end
  return counts
end

local function moments_of(count)
  local moments = {}
  for _, nth in ipairs(fibonacci) do
    -- In the worker that it is armed in, and in those that are forked with it armed, there may be more.
    if nth <= count or mode == "worker" or count == 0 and nth == 1 then moments[#moments + 1] = nth end
  end
  return moments
end

local function chosen(moments, i)
  if most then return i <= math.min(most, #moments) and moments[i] or nil end
  return i == 1 and moments[math.random(#moments)] or nil
end

used()
local counts, usual = used(), left_over()
local names, runs, errors, retried = {}, 0, 0, 0
for name in pairs(counts) do names[#names + 1] = name end
table.sort(names)
io.stdout:setvbuf "line"
for number, name in ipairs(names) do
  local moments = moments_of(counts[name])
  local errors_of = assert(plausible[name], name .. " is not in the table of what may fail")
  if not most then errors_of = { errors_of[math.random(#errors_of)] } end
  if not most and mode and (number + MODES[mode] + seed) % 2 == 1 then errors_of = {} end
  for _, errno in ipairs(errors_of) do
    for i = 1, #fibonacci do
      local nth = chosen(moments, i)
      if not nth then break end
      local what = ("call %d of %s fails with errno %d"):format(nth, name, errno)
      print(what)
      core.faults.reset()
      forget_files()
      local delivered = {}
      if mode == "worker" then in_worker = { name, nth, errno } else core.faults.call(name, nth, errno) end
      local ok, r = pcall(run, delivered)
      in_worker = nil
      core.faults.reset()
      runs, errors = runs + 1, errors + (ok and 0 or 1)
      retried = retried + (ok and r.stats.stages.pool.retried or 0)
      local wrong = problem(ok, r, delivered, name, errno)
      if wrong then print(("WRONG: %s: %s"):format(what, wrong)) end
      local left = left_over()
      if left ~= usual then print(("WRONG: %s: left over: %s instead of %s"):format(what, left, usual)) end
      usual = left
    end
  end
end
forget_files()
print(("%d runs, %d ended with an error, %d retries"):format(runs, errors, retried))
