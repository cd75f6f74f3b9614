-- Clusters, rule C8: a run with a job's name attaches again after the death of its submitter, and goes on from its
-- journal. "Hosts" are processes of this machine.

local clusters = require "spec.clusters"
local support = require "spec.support"

local cluster
local it = clusters.tests(_ENV, function(started) cluster = started end)

-- A program that writes down what its handler has done, and what has arrived. The handler waits as long as the file
-- "hold" is there.
local function program(n, body, name)
  return cluster:program(([[
    local minigun = require "minigun"
    local function note(file, ...)
      local f <close> = io.open(%q .. file, "a")
      f:write(table.concat({ ... }, " "), "\n")
    end
    local function held()
      local f = io.open(%q)
      if f then f:close() end
      return f ~= nil
    end
    local p = minigun.pipeline("numbers", { journal = os.getenv "JOURNAL" })
    p:producer("source", function(emit) for i = 1, %d do emit(i) end end)
    p:processor("work", { cluster = { url = %q, lease = 1 } }, function(x, emit, ctx)
      note("done", x, ctx.item_id)
      while held() do minigun.sleep(0.02) end
      %s
    end)
    p:each("take", function(x) note("taken", x) end)
    return p
  ]]):format(cluster.directory .. "/", cluster.directory .. "/hold", n, cluster.url, body or "emit(x)"), name)
end

-- The first word of each line of a file: how many lines, how many different ones.
local function lines_of(name)
  local seen, lines, different = {}, 0, 0
  for word in cluster:said(name):gmatch "(%S+)[^\n]*\n" do
    different = different + (seen[word] and 0 or 1)
    seen[word], lines = true, lines + 1
  end
  return lines, different
end

local function command(path, name, journal)
  return ("env JOURNAL=%s/%s %s run %s --job %s"):format(cluster.directory, journal or "journal", support.command(),
    path, name)
end

local function submit(path, name, out, journal) return cluster:spawn(command(path, name, journal), out) end

local function finish(path, name, journal)
  return support.run("exec " .. command(path, name, journal), { env = support.lua_env(), timeout = 60 })
end

local function wait_for(f, seconds) assert(support.wait_until(f, seconds or 20)) end

local function kill(pid, name)
  cluster:signal(pid, name or "KILL")
  wait_for(function() return not support.alive(pid) end)
end

local function count(stream, name)
  return tonumber((cluster:redis(("XLEN 'mg:{%s/work}:%s'"):format(name or "j", stream))))
end

-- How many chunks are there, when the submitter has handed over all that it has.
local function settled()
  local n, since = 0, support.now()
  wait_for(function()
    local now = count "in" or 0
    if now ~= n then n, since = now, support.now() end
    return n > 0 and support.now() - since > 0.2
  end)
  return n
end

-- Nothing of a job is on the server, once its hosts have gone.
local function is_clean() return cluster:redis "KEYS 'mg:{*'" .. cluster:redis "KEYS 'mg:jobs:*'" == "" end

describe("a run with a job's name", function()
  local seed = tonumber(os.getenv "SEED") or os.time()
  io.stdout:write(("spec/cluster_attach_spec.lua: SEED=%d\n"):format(seed))

  it("C8: goes on after each of several deaths of its submitter, and each item arrives", function()
    math.randomseed(seed)
    local path, n = program(1500, "minigun.sleep(0.004) emit(x)"), 1500
    cluster:worker(path)
    local kills = 0
    for round = 1, 6 do
      local pid = submit(path, "j", "submitter" .. round)
      support.wait_until(function() return not support.alive(pid) end, 0.1 + 0.5 * math.random())
      kills = kills + (support.alive(pid) and 1 or 0)
      kill(pid)
    end
    local result = finish(path, "j")
    assert.equal(0, result.code, result.stderr)
    local taken, different = lines_of "taken"
    local done, all_done = lines_of "done"
    assert.same({ n, n }, { different, all_done })
    -- What the journal had not heard of yet when its run was killed: some milliseconds' items, and their chunks.
    assert.is_true(kills >= 2 and taken <= n + 150 * kills and done <= n + 150 * kills, taken .. " " .. done)
    assert.is_true(is_clean())
  end)

  it("C8: takes over what hosts have finished meanwhile, and what they work on, under the same ids", function()
    local path = program(60)
    support.write_file(cluster.directory .. "/hold", "")
    cluster:worker(path)
    local pid = submit(path, "j", "first")
    local n = settled()
    wait_for(function() return lines_of "done" == 2 end)
    kill(pid)
    os.remove(cluster.directory .. "/hold")
    wait_for(function() return count "out" == n end)
    local jobs = support.run(("%s jobs %s numbers/work"):format(support.command(), cluster.url),
      { env = support.lua_env() })
    assert.matches(("1 job\nj  age %%d+ s  waiting 0  in work 0  results %d\n"):format(n), jobs.stdout)
    local result = finish(path, "j")
    assert.equal(0, result.code, result.stderr)
    assert.same({ 60, 60 }, { lines_of "taken" })
    assert.same({ 60, 60 }, { lines_of "done" })
    assert.is_true(is_clean())
  end)

  it("C8: takes a job over from a submitter that was frozen: only one of them gets each result", function()
    local path = program(200, "minigun.sleep(0.005) emit(x)")
    cluster:worker(path)
    local frozen = submit(path, "j", "frozen")
    wait_for(function() return lines_of "taken" > 20 end)
    cluster:signal(frozen, "STOP")
    os.rename(cluster.directory .. "/taken", cluster.directory .. "/taken.before")
    local second = submit(path, "j", "second", "another")
    wait_for(function() return lines_of "taken" > 20 end)
    cluster:signal(frozen, "CONT")
    wait_for(function() return not support.alive(second) and not support.alive(frozen) end, 40)
    assert.matches("another submitter has taken the job over", cluster:said "frozen.err", 1, true)
    local _, different = lines_of "taken"
    assert.same({ 200, "" }, { different, cluster:said "second.err" })
    assert.is_true(is_clean())
  end)

  it("C8: is refused while another one on this machine has its journal", function()
    local path = program(60)
    support.write_file(cluster.directory .. "/hold", "")
    submit(path, "j", "first")
    local n = settled()
    local result = finish(path, "j")
    assert.equal(1, result.code)
    assert.matches("is that of a run that is not over", result.stderr, 1, true)
    assert.equal(n, count "in")
  end)

  it("C8: begins anew what was left of another program, or was aborted", function()
    local path, other = program(60, "emit(x)"), program(60, "emit(-x)", "other")
    support.write_file(cluster.directory .. "/hold", "")
    local pid = submit(path, "j", "first")
    settled()
    kill(pid)
    os.remove(cluster.directory .. "/hold")
    local before = cluster:redis "HGET 'mg:{j/work}:meta' code"
    local second = submit(other, "j", "second")
    wait_for(function() return cluster:redis "HGET 'mg:{j/work}:meta' code" ~= before end)
    cluster:worker(other)
    wait_for(function() return not support.alive(second) end)
    assert.equal("", cluster:said "second.err")
    assert.matches("\n-60\n", cluster:said "taken", 1, true)
    assert.is_nil(cluster:said "taken":find("\n60\n", 1, true))
  end)

  it("C8: stays on the server when Ctrl-C ends it, until it has come to its end, or minigun abort", function()
    local path = program(60)
    support.write_file(cluster.directory .. "/hold", "")
    for _, ending in ipairs { "abort", "end" } do
      local pid = submit(path, "j", ending)
      local n = settled()
      cluster:signal(pid, "INT") -- it waits for what is inside then
      wait_for(function() return cluster:said(ending .. ".err"):find("Ctrl-C", 1, true) end)
      support.sleep(0.3)
      kill(pid, "INT")
      assert.equal(n, count "in")
      if ending == "abort" then
        local words = ("%s abort %s numbers/work j"):format(support.command(), cluster.url)
        assert.equal(0, support.run(words, { env = support.lua_env() }).code)
        assert.equal(0, count "in")
      end
    end
    os.remove(cluster.directory .. "/hold")
    cluster:worker(path)
    assert.equal(0, finish(path, "j").code)
    assert.same({ 60, 60 }, { lines_of "taken" })
    assert.is_true(is_clean())
  end)
end)

describe("a job's name", function()
  local minigun, plan = require "minigun", require "minigun.plan.plan"

  it("gives its run a journal, unless that has one; a program's own words come after it", function()
    local p = minigun.pipeline "p"
    p:producer("source", { 1 })
    assert.equal("night-1.journal", plan.build(p, { job = "night-1" }).options.journal.path)
    assert.equal("own", plan.build(p, { job = "night-1", journal = "own" }).options.journal.path)
    for _, bad in ipairs { "", ".", "../x", "a b", "{x}", "a/b" } do
      assert.matches("option 'job'", select(2, pcall(plan.build, p, { job = bad })), 1, true)
    end
    assert.matches("option 'job' is for runs with producers", select(2, pcall(p.open, p, { job = "x" })), 1, true)
    local run, parser = require "minigun.command.run", require "minigun.command.parser"
    for words, want in pairs {
      ["f.lua --job x a"] = "x: f.lua a", ["--job x f.lua a --job y"] = "x: f.lua a --job y",
      ["f.lua --job=x --seed 1"] = "x: f.lua --seed 1", ["f.lua -- --job x"] = "nil: f.lua -- --job x",
      ["f.lua --seed 1"] = "nil: f.lua --seed 1",
    } do
      local list = {}
      for word in words:gmatch "%S+" do list[#list + 1] = word end
      local given = parser.parse(run, list)
      assert.equal(want, tostring(given.job) .. ": " .. table.concat(given.rest, " "))
    end
  end)
end)
