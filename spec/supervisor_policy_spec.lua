-- What a supervisor decides, without processes: the workers of a fleet are tables here, and time is a number.
local fleet = require "minigun.supervisor.fleet"
local options = require "minigun.supervisor.options"
local restarts = require "minigun.supervisor.restarts"
local stuck = require "minigun.supervisor.stuck"

local function nothing() end

-- A fleet whose workers obey at once, as far as `w.obeys` lets them: a world without processes.
local function world(given, random)
  given.worker = nothing
  local made = { now = 0, log = {}, started = {}, status = nil, given_up = nil, alive = {} }
  made.fleet = fleet.new(options.check(given, function() return 2 end), random or function() return 0 end)

  local act = {
    start = function(w)
      w.pid = 1000 + #made.started
      made.started[#made.started + 1] = w
      made.alive[w] = true
      w.born = made.now
    end,
    kill = function(w) made.to_end[#made.to_end + 1] = { w, { text = "was killed", tail = "", signal = 9 } } end,
    drain = function(w) w.asked = true end,
    notice = function(w) w.noticed = true end,
    log = function(text) table.insert(made.log, text) end,
    give_up = function(text) made.given_up = text end,
    finish = function(status) made.status = status end,
    stop_listening = nothing, restarted = function(ok) made.restarted = ok end,
  }

  function made:go_on()
    local next_time
    repeat
      self.to_end = {}
      local list
      list, next_time = self.fleet:decide(self.now)
      for _, action in ipairs(list) do act[action[1]](table.unpack(action, 2)) end
      for _, each in ipairs(self.to_end) do self:ends(each[1], each[2]) end
    until #list == 0
    self.next_time = next_time
  end

  function made:ends(w, how)
    if not self.alive[w] then return end
    self.alive[w] = nil
    how = how or { text = "ended with exit code 0", tail = "", code = 0 }
    how.text, how.tail = how.text or "ended", how.tail or ""
    self.fleet:exited(w, how, self.now)
  end

  function made:die(w, code)
    self:ends(w, { text = ("ended with exit code %d"):format(code or 1), code = code or 1 })
    self:go_on()
  end

  function made:ready(w)
    self.fleet:ready(w, self.now)
    self:go_on()
  end

  -- Lets time go by until `to`, from decision to decision. each(w): is called for each living worker then.
  function made:until_time(to, each)
    while self.now < to and not self.status do
      local living = {}
      for w in pairs(self.alive) do living[#living + 1] = w end
      for _, w in ipairs(living) do
        if each then each(w) end
      end
      self.now = math.min(to, math.max(self.now + 0.001, self.next_time or to))
      self:go_on()
    end
  end

  function made:command(what, number)
    self.fleet:command(what, number or 15, self.now)
    self:go_on()
  end

  function made:current(number) return self.fleet.slots[number].current end

  function made:said(pattern)
    for _, text in ipairs(self.log) do
      if text:find(pattern) then return true end
    end
    return false
  end

  function made:count()
    local n = 0
    for _ in pairs(self.alive) do n = n + 1 end
    return n
  end

  made:go_on()
  return made
end

local function all_ready(self)
  for i = 1, #self.fleet.slots do
    if self:current(i) then self:ready(self:current(i)) end
  end
end

describe("a supervisor's policy", function()
  it("S3: doubles the wait from 50 ms to 30 s, less a random part", function()
    local r = restarts.new(options.check({ worker = nothing }, function() return 1 end), function() return 0 end)
    local waits = {}
    for i = 1, 12 do waits[i] = r:delay(i) end
    assert.same({ 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30 }, waits)
    r.random = function() return 1 end
    assert.equal(0.025, r:delay(1))
    assert.equal(30 * 0.5, r:delay(5000))
  end)

  it("S3: forks a worker that crashes while starting at most 8 times in its first 5 s, with any jitter", function()
    for _, chance in ipairs { 0, 0.5, 1 } do
      local w = world({ workers = 1, max_restarts = 1000 }, function() return chance end)
      w:until_time(5, function(worker) w:die(worker) end)
      assert.is_true(#w.started <= 8 and #w.started >= 7, #w.started .. " forks")
      assert.equal(1, w.started[#w.started].number)
    end
  end)

  it("S3: begins again with the shortest wait only after a worker was ready and well for healthy_after", function()
    local w = world({ workers = 1, max_restarts = 1000, healthy_after = 10 })
    local function live(seconds)
      w:ready(w:current(1))
      w:until_time(w.now + seconds)
      local at = w.now
      w:die(w:current(1))
      while not w:current(1) do w:until_time(w.next_time) end
      return w.now - at
    end
    assert.near(0.05, live(1), 0.01)
    assert.near(0.1, live(9), 0.01)
    assert.near(0.2, live(1), 0.01)
    assert.near(0.05, live(11), 0.01)
  end)

  it("S3: kills a start that does not become ready within start_timeout, and counts it", function()
    local w = world { workers = 1, start_timeout = 3 }
    w:until_time(2.9)
    assert.equal(1, #w.started)
    w:until_time(3.2)
    assert.equal(2, #w.started)
    assert.is_true(w:said "not ready within start_timeout = 3 s")
  end)

  it("S4: gives up where workers die before they are ready, and says how", function()
    local w = world { workers = 4, max_restarts = 5, restart_window = 10 }
    w:until_time(10, function(worker) w:die(worker, 7) end)
    assert.matches("6 workers died within 10 s, more than max_restarts = 5", w.given_up)
    assert.matches("exit code 7", w.given_up)
    assert.equal(1, w.status)
  end)

  it("S4: gives up where one becomes ready and dies at once again and again", function()
    local w = world { workers = 1 }
    w:until_time(120, function(worker)
      w:ready(worker)
      w:die(worker)
    end)
    assert.is_truthy(w.given_up)
    assert.equal(1, w.status)
    assert.equal(11, #w.started)
  end)

  it("S4: drains the other workers first", function()
    local w = world { workers = 2, max_restarts = 0 }
    all_ready(w)
    local other = w:current(2)
    w:die(w:current(1))
    assert.is_truthy(w.given_up)
    assert.is_true(other.asked)
    assert.is_nil(w.status)
    w:ends(other)
    w:go_on()
    assert.equal(1, w.status)
  end)

  it("S4: ends at once on exit code 78, but not where others serve on", function()
    local w = world { workers = 2 }
    all_ready(w)
    w:die(w:current(1), 78)
    assert.matches("cannot be configured %(exit code 78%)", w.given_up)
    w = world { workers = 1 }
    all_ready(w)
    w:command "restart"
    w:die(w.started[2], 78)
    assert.is_nil(w.given_up)
    assert.equal("ready", w:current(1).state)
  end)

  it("S4: bears max_restarts deaths in the window for ever", function()
    local w = world { workers = 1, max_restarts = 2, restart_window = 10, healthy_after = 1 }
    for _ = 1, 50 do
      w:ready(w:current(1))
      w:until_time(w.now + 6)
      w:die(w:current(1))
      w:until_time(w.now + 0.2)
    end
    assert.is_nil(w.given_up)
  end)

  it("S5: ends with status 0 when all have drained", function()
    local w = world { workers = 2 }
    all_ready(w)
    w:command("stop", 15)
    assert.is_nil(w.status)
    for worker in pairs(w.alive) do
      assert.is_true(worker.asked)
      w:ends(worker)
    end
    w:go_on()
    assert.equal(0, w.status)
    assert.equal(2, #w.started)
  end)

  it("S5: kills what has not finished within stop_timeout, status 124", function()
    local w = world { workers = 2, stop_timeout = 5 }
    all_ready(w)
    w:command("stop", 2)
    w:until_time(4.9)
    assert.equal(2, w:count())
    w:until_time(5.1)
    assert.equal(124, w.status)
  end)

  it("S5: ends at once at the second signal or at QUIT, with the signal's status; not at an echo", function()
    local w = world { workers = 2 }
    all_ready(w)
    w:command("stop", 15)
    w.now = 0.1
    w:command("stop", 15)
    assert.equal(2, w:count())
    w.now = 1
    w:command("stop", 15)
    assert.equal(143, w.status)
    w = world { workers = 2 }
    w:command("quit", 3)
    assert.equal(131, w.status)
  end)

  it("S5: does not start what has died meanwhile", function()
    local w = world { workers = 2 }
    all_ready(w)
    w:command "stop"
    w:die((next(w.alive)))
    w:until_time(1)
    assert.equal(2, #w.started)
  end)

  it("S6: a restart of four workers takes less than four times one's start", function()
    local w = world { workers = 4 }
    all_ready(w)
    w:command "restart"
    local began = w.now
    for _ = 1, 100 do
      if w.restarted then break end
      w:until_time(w.now + 0.1, function(each) -- one second to start, and half a second to drain
        if each.state == "starting" and w.now >= each.born + 1 then w:ready(each)
        elseif each.asked and w.now >= each.since + 0.5 then w:ends(each) end
      end)
    end
    assert.is_true(w.restarted)
    assert.is_true(w.now - began < 4, w.now - began .. " s")
  end)

  it("S6: starts the new one before the old one drains: first one, then up to half at a time", function()
    local w = world { workers = 4 }
    all_ready(w)
    local old = { table.unpack(w.started) }
    w:command "restart"
    assert.equal(5, #w.started)
    assert.equal("ready", old[1].state)
    w:ready(w.started[5])
    assert.is_true(old[1].asked)
    assert.is_nil(old[2].asked)
    assert.equal(7, #w.started)
    w:ready(w.started[6])
    w:ready(w.started[7])
    w:ready(w.started[8])
    for i = 1, 4 do
      assert.is_true(old[i].asked)
      assert.equal(i, w:current(i).number)
      assert.equal(2, w:current(i).generation)
    end
    assert.is_true(w.restarted)
    assert.equal(8, #w.started)
  end)

  it("S6: keeps the old ones where the new one does not become ready, and says so", function()
    local w = world { workers = 3 }
    all_ready(w)
    w:command "restart"
    w:die(w.started[4])
    w:until_time(100)
    assert.is_false(w.restarted)
    assert.is_true(w:said "the rolling restart is given up")
    assert.equal(4, #w.started)
    for i = 1, 3 do assert.equal("ready", w:current(i).state) end
    assert.is_nil(w.given_up)
    w:command "restart"
    for i = 5, 7 do w:ready(w.started[i]) end
    assert.is_true(w.restarted)
    assert.equal(3, w:current(2).generation)
  end)

  it("S6: a second restart begins anew", function()
    local w = world { workers = 2 }
    all_ready(w)
    w:command "restart"
    w:command "restart"
    for i = 3, 6 do
      if w.started[i] and w.alive[w.started[i]] then w:ready(w.started[i]) end
    end
    for i = 1, 2 do assert.equal(3, w:current(i).generation) end
  end)

  it("S6: a current worker's death during a restart costs nothing", function()
    local w = world { workers = 2 }
    all_ready(w)
    w:command "restart"
    w:die(w:current(1))
    assert.equal(w.started[3], w:current(1))
    assert.is_true(w:said "worker 1 %(pid 1000%) ended with exit code 1; its successor starts already")
    assert.is_false(w:said "started again in")
    w:ready(w.started[3])
    w:ready(w.started[4])
    assert.is_true(w.restarted)
  end)

  it("S8: adds and takes away the last number, and never the last worker", function()
    local w = world { workers = 2 }
    all_ready(w)
    w:command "more"
    assert.equal(3, w.started[3].number)
    w:ready(w.started[3])
    w:die(w:current(2))
    w:command "more"
    assert.equal(4, w.started[4].number)
    for _ = 1, 5 do w:command "less" end
    assert.equal(1, #w.fleet.slots)
    w:command "more"
    assert.equal(2, #w.fleet.slots)
    local seen = {}
    for i = 1, #w.fleet.slots do
      local number = w:current(i) and w:current(i).number or i
      assert.is_nil(seen[number])
      seen[number] = true
    end
  end)

  it("S9: tells a worker first, then has it killed; waiting ones and those that beat are left alone", function()
    local s = stuck.new(2)
    assert.is_nil(s:look("a", 1, false, 0))
    assert.is_nil(s:look("a", 1, false, 1.9))
    assert.equal("notice", s:look("a", 1, false, 2))
    assert.is_nil(s:look("a", 1, false, 2.5))
    assert.equal("kill", s:look("a", 1, false, 3))
    assert.is_nil(s:look("a", 1, false, 4))
    for now = 0, 100 do
      assert.is_nil(s:look("b", 1, true, now))
      assert.is_nil(s:look("c", now, false, now))
    end
    assert.is_nil(s:look("b", 1, false, 101))
    assert.is_nil(stuck.new(false):look("a", 1, false, 1e9))
  end)

  it("S10: replaces by requests, age and memory, one worker at a time, the new one first", function()
    for _, case in ipairs {
      { { max_requests = 100 }, function(worker) worker.requests = 100 end, "answered 100 requests" },
      { { max_memory = "10M" }, function(worker) worker.memory = 11 << 20 end, "11.0 MiB" },
      { { max_age = 60 }, function() end, "60 s old" },
    } do
      case[1].workers = 3
      local w = world(case[1])
      all_ready(w)
      local old = { table.unpack(w.started) }
      for _, worker in ipairs(old) do case[2](worker) end
      w:until_time(61)
      assert.equal(4, #w.started)
      assert.equal("ready", old[1].state)
      w:ready(w.started[4])
      assert.is_true(old[1].asked)
      assert.equal(5, #w.started)
      assert.is_nil(old[2].asked)
      assert.is_true(w:said(case[3]))
    end
  end)

  it("S10: has limits that differ from worker to worker", function()
    math.randomseed(7)
    local w = world({ workers = 20, max_requests = 1000, max_age = 100, recycle_jitter = 0.2 }, math.random)
    local least, most = math.huge, 0
    for _, worker in ipairs(w.started) do
      least, most = math.min(least, worker.max_requests), math.max(most, worker.max_requests)
      assert.is_true(worker.max_age >= 80 and worker.max_age <= 100)
    end
    assert.is_true(least >= 800 and most <= 1000 and most - least > 50)
  end)

  it("S10: where the new one does not start the old one stays, and it is tried again later and later", function()
    local w = world { workers = 1, max_requests = 10 }
    all_ready(w)
    local old = w:current(1)
    old.requests = 10
    w:go_on()
    w:until_time(5, function(worker)
      if worker ~= old then w:die(worker) end
    end)
    assert.equal(old, w:current(1))
    assert.is_nil(w.given_up)
    assert.is_true(#w.started <= 9, #w.started .. " forks")
  end)
end)

describe("a supervisor's options", function()
  it("say what is wrong, at the caller's line", function()
    for _, case in ipairs {
      { {}, "option 'worker' is missing" },
      { { worker = nothing, listen = "8080x" }, "option 'listen' must be" },
      { { worker = nothing, listen = { "127.0.0.1:70000" } }, "option 'listen' must be" },
      { { worker = nothing, listen = { true } }, "option 'listen' must be" },
      { { worker = nothing, listen = "unix:/a\0b" }, "option 'listen' must be" },
      { { worker = nothing, wrokers = 2 }, "did you mean 'workers'" },
      { { worker = nothing, loop = "libuv" }, "option 'loop' must be" },
      { { worker = nothing, back_off = { frist = 1 } }, "did you mean 'first'" },
      { { worker = nothing, heartbeat_timeout = 0 }, "or false" },
    } do
      local ok, message = pcall(options.check, case[1], function() return 2 end)
      assert.is_false(ok)
      assert.matches(case[2], message, 1, true)
    end
  end)

  it("take addresses in all their forms", function()
    local filled = options.check({ worker = nothing, workers = "auto",
      listen = { 8080, ":81", "*:82", "localhost:83", "[::1]:84", "unix:/run/a.sock", "unix:@name" } },
      function() return 3 end)
    assert.equal(3, filled.workers)
    local texts = {}
    for i, each in ipairs(filled.listen) do texts[i] = each.path or each.host .. " " .. each.port end
    assert.same({ "127.0.0.1 8080", "127.0.0.1 81", "0.0.0.0 82", "localhost 83", "::1 84", "/run/a.sock", "@name" },
      texts)
  end)
end)
