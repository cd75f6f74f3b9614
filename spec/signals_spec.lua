-- Signals to the coordinator, to its process group and to a worker, in each phase of a run: what becomes of the run,
-- and that no worker outlives it. The table is that of docs/failures.md.
local programs = require "spec.programs.build"
local support = require "spec.support"

local unruly = programs.unruly()

local PHASES <const> = { "before the forks", "while it forks", "steady", "draining", "reaping" }
local SIGNALS <const> = { HUP = 1, INT = 2, QUIT = 3, USR1 = 10, PIPE = 13, TERM = 15, TSTP = 20, WINCH = 28 }
local SIGCONT <const> = 18

-- "dies": by the signal, of SIGTERM in good order; "goes on": the run ends well. A worker that dies is replaced, one
-- that gets SIGTERM leaves that to the coordinator, so its run goes on.
local function expected(signal, target)
  if signal == "WINCH" or signal == "TSTP" or target == "worker" then return "goes on" end
  return "dies"
end

local function start(program, ...)
  local path = os.tmpname()
  local pid = unruly.launch(("%s exec lua5.4 spec/programs/%s %s >%s 2>&1"):format(
    support.env_words(support.lua_env()), program, table.concat({ ... }, " "), path))
  return { path = path, pid = pid }
end

local function wait_until_ready(run)
  assert.is_truthy(support.wait_until(function() return support.read_file(run.path):find "ready" end, 20))
end

local function send(run, target)
  run.workers = support.children(run.pid)
  local number, to = SIGNALS[run.signal], run.pid
  if target == "worker" then to = run.workers[1]
  elseif target == "group" then to = -run.pid end
  if not to then return false end
  unruly.kill(to, number)
  if run.signal == "TSTP" then
    support.sleep(0.05)
    unruly.kill(to, SIGCONT)
  end
  return true
end

local function finish(run)
  local code, signal = unruly.wait(run.pid)
  local text = support.read_file(run.path)
  os.remove(run.path)
  return text, code, signal
end

describe("R71 a signal", function()
  local names = {}
  for name in pairs(SIGNALS) do names[#names + 1] = name end
  table.sort(names)

  for at, phase in ipairs(PHASES) do
    for number, target in ipairs { "coordinator", "group", "worker" } do
      it(("to the %s, %s"):format(target, phase), function()
        if not unruly then return pending "there is no C compiler" end
        support.deadline(60)
        local runs, go = {}, os.tmpname()
        os.remove(go)
        -- Each stays in the phase until the file `go` is there; in the short form every signal comes to each target.
        local step = support.short_or_long(2, 1)
        for i = (at + number) % step + 1, #names, step do
          runs[#runs + 1] = start("phases.lua", support.quote(phase), go)
          runs[#runs].signal = names[i]
        end
        for _, run in ipairs(runs) do
          wait_until_ready(run)
          run.sent = send(run, target)
        end
        support.write_file(go, "")
        finally(function() os.remove(go) end)
        for _, run in ipairs(runs) do
          local text, code, died_of = finish(run)
          local what = ("%s to the %s, %s: %s"):format(run.signal, target, phase, text)
          if not run.sent or expected(run.signal, target) == "goes on" then
            assert.equal(0, code, what)
            assert.is_truthy(text:find("end 200 200 0", 1, true), what)
          else
            assert.equal(SIGNALS[run.signal], died_of, what)
            assert.is_nil(text:find("end 200", 1, true), what)
          end
          assert.is_true(support.wait_until(function()
            for _, pid in ipairs(run.workers) do
              if support.alive(pid) then return false end
            end
            return true
          end, 1 * support.patience), what .. ": a worker is left")
        end
      end)
    end
  end
end)

describe("R48 time in which everything is stopped", function()
  for _, context in ipairs { "processes", "process_per_batch" } do
    it("does not count for a time-out: " .. context, function()
      if not unruly then return pending "there is no C compiler" end
      support.deadline(60)
      local seconds = 0.2 * support.patience
      local run = start("patient.lua", context, tostring(seconds))
      wait_until_ready(run)
      support.sleep(seconds / 2)
      unruly.kill(-run.pid, SIGNALS.TSTP)
      support.sleep(5 * seconds)
      unruly.kill(-run.pid, SIGCONT)
      local text, code = finish(run)
      assert.equal(0, code, text)
      assert.is_truthy(text:find("end 6 0", 1, true), text)
    end)
  end

  it("counts in the end when it comes again and again, as on a machine that is too busy", function()
    if not unruly then return pending "there is no C compiler" end
    support.deadline(60)
    local run = start("patient.lua", "processes", tostring(0.2 * support.patience), "late")
    wait_until_ready(run)
    local over = support.wait_until(function()
      unruly.kill(-run.pid, SIGNALS.TSTP)
      support.sleep(0.7 * support.patience)
      unruly.kill(-run.pid, SIGCONT)
      support.sleep(0.05)
      return support.read_file(run.path):find("end", 1, true)
    end, 20 * support.patience)
    finish(run)
    assert.is_truthy(over)
  end)
end)
