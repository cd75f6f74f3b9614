-- Clusters where things are as they should not be: large items, odd values, ends of hosts and submitters, jobs that
-- are left over, servers that forget. "Hosts" are processes of this machine.

local clusters = require "spec.clusters"
local support = require "spec.support"

local cluster
local it = clusters.tests(_ENV, function(started) cluster = started end)

-- A program whose stage "work" runs where CONTEXT says, over `source`; what comes is printed, sorted.
local function program(source, context, body, more)
  return ([[
    local minigun = require "minigun"
    local p = minigun.pipeline "hard"
    p:producer("source", function(emit) %s end)
    p:processor("work", %s, function(x, emit, ctx) %s end)
    %s
    local list = {}
    p:each("take", function(x)
      if type(x) == "table" then x = "t" .. #x end
      x = tostring(x)
      list[#list + 1] = #x > 50 and #x .. x:sub(1, 5) or x
    end)
    local r = p:run { failures = "collect", progress = false }
    table.sort(list)
    print(#list .. ": " .. table.concat(list, " "))
    local failures = {}
    for i, f in ipairs(r.failures) do
      local text = f.message:match "[^\n;]*":gsub("^.-:%%d+: ", ""):gsub(" with %%d+ items? in flight", "")
      failures[i] = ("%%s %%s %%s %%s"):format(f.kind, f.item, f.attempts, text)
    end
    table.sort(failures)
    print(table.concat(failures, "\n"))
    local names = {}
    for name, values in pairs(r.collected) do
      for i, v in ipairs(values) do values[i] = type(v) == "table" and "table" or tostring(v) end
      table.sort(values)
      names[#names + 1] = name .. "=" .. table.concat(values, ",")
    end
    table.sort(names)
    print(table.concat(names, " "), r.counters.n)
  ]]):format(source, context, body, more or "")
end

local function far(more) return ("{ cluster = { url = %q }%s }"):format(cluster.url, more or "") end

-- What the same program gives in processes and in a cluster.
local function same(source, body, more, stages)
  local near_path = cluster:program(program(source, "{ processes = 2" .. (more or "") .. " }", body, stages), "near")
  local far_path = cluster:program(program(source, far(more), body, stages), "far")
  cluster:worker(far_path)
  local near, away = cluster:run(near_path), cluster:run(far_path)
  assert.equal("", away.stderr)
  assert.equal(near.stdout, away.stdout)
  return away.stdout
end

local function wait_for(f, seconds) assert(support.wait_until(f, seconds or 20)) end

describe("a stage in a cluster gives what it gives in processes:", function()
  it("items whose load hooks end their process, never return, or raise: the submitter is not given them", function()
    local said = same([[for _, how in ipairs { "ends", "stays", "raises", "sends", "is well" } do
        emit(setmetatable({ how = how }, H))
      end]], [[if x.how == "sends" then emit(print) end emit(x.how)]], ", timeout = 1.5", [[
      H = {}
      minigun.register("H", H, function(o) return { o.how } end, function(t)
        if t[1] == "ends" then os.exit(7) elseif t[1] == "raises" then error "no" end
        while t[1] == "stays" do minigun.sleep(1) end
        return setmetatable({ how = t[1] }, H)
      end)
      p:on_failure(function(r) r.item = r.item.how and "loaded " .. r.item.how or r.item[1] end)]])
    assert.matches("^1: is well\n", said)
    for _, text in ipairs { "crash ends", "timeout stays", "unserialisable raises", "unserialisable loaded sends" } do
      assert.matches("\n" .. text, said, 1, true)
    end
  end)

  it("large items, and large results of small ones", function()
    local said = same([[for i = 1, 6 do emit(("x"):rep(1 << (13 + i))) end emit(("y"):rep(5 << 20)) emit(3 << 20)
      for i = 1, 30 do emit(i * 1000) end]],
      [[emit(type(x) == "number" and ("z"):rep(x) or x)]])
    assert.matches("^38: .* 5242880yyyyy", said)
    assert.matches(" 3145728zzzzz", said, 1, true)
  end)

  it("false, NaN, tables, and what cannot be sent or collected", function()
    local said = same([[emit(false) emit(0/0) emit {} emit { 1, 2, nil, 4 } emit(math.mininteger) emit "" emit(1e308)
      emit "f" emit "nil" emit "two" emit "collect" emit "name" emit "count" emit "to" emit "good"]],
      [[if x == "f" then emit(print) elseif x == "nil" then emit(nil) elseif x == "two" then emit(1, 2)
      elseif x == "collect" then ctx:collect("c", print) elseif x == "name" then ctx:collect(nil, 1)
      elseif x == "count" then ctx:count("n", {}) elseif x == "to" then emit:to("nowhere", 1)
      elseif x == "good" then ctx:collect("c", false) ctx:collect("c", { 1 }) ctx:count("n") ctx:count("n", 2.5)
      else emit(x) end]])
    assert.matches("^7: ", said)
    assert.matches("c=false,table", said, 1, true)
  end)

  it("error objects, time-outs, and retries with backoff", function()
    local said = same("for i = 1, 12 do emit(i) end", [[if x == 1 then error { code = 1 } end if x == 2 then error() end
      if x == 3 then error(setmetatable({}, { __tostring = function() return "own" end })) end
      if x == 4 or x == 5 then minigun.sleep(30) end
      if x > 8 and ctx.attempt < 3 then error "again" end emit(x .. "/" .. ctx.attempt)]],
      ", timeout = 0.3, retries = 2, backoff = 0.01")
    assert.matches("^7: 10/3 11/3 12/3 6/1 7/1 8/1 9/3\n", said)
    assert.matches("timeout 4 3 ", said, 1, true)
  end)

  it("a death and a time-out in the middle of many quick items, each of them for one item", function()
    for more, pause in pairs { [", timeout = 0.3"] = "", [", timeout = 0.3, retries = 1"] = "minigun.sleep(1)" } do
      local said = same("for i = 1, 1200 do emit(i) end", [[
        if x == 700 then os.execute("kill -KILL " .. ctx.pid) end
        while x == 900 do ]] .. pause .. [[ end
        if x == 1100 then error "no" end]], more)
      assert.matches("^0: \n", said)
      assert.matches("crash 700 %d ", said)
      assert.matches("timeout 900 %d ", said)
      assert.matches("error 1100 %d no", said)
    end
  end)

  it("batches and partitions before it, and after it", function()
    local said = same("for i = 1, 25 do emit(i) end", "for _, each in ipairs(x) do emit(each) end", "", [[
      p:insert_before("work", function(q) q:batch("pairs", 2) end)
      p:batch("fives", 5)
      p:map("unpack", { processes = 2 }, function(list) return #list end)]])
    assert.matches("^5: 5 5 5 5 5\n", said)
  end)
end)

describe("a stage in a cluster with a route", function()
  -- Runs it in processes and in a cluster; `take` and `other` print what each has got.
  local function both(route)
    local said = {}
    for i, context in ipairs { "processes = 2", ("cluster = %q"):format(cluster.url) } do
      local path = cluster:program(([[
        local minigun = require "minigun"
        local p = minigun.pipeline "routed"
        p:producer("source", minigun.range(1, 40))
        p:processor("work", { %s, to = { "one", "two" }, route = %s }, function(x, emit) emit { x } end)
        local got = { one = {}, two = {} }
        for name, list in pairs(got) do
          p:processor(name, { from = "work" }, function(x)
            assert(x[2] == nil) -- each has an item of its own
            x[2] = name
            list[#list + 1] = x[1]
          end)
        end
        local r = p:run { failures = "collect", progress = false }
        for _, name in ipairs { "one", "two" } do
          table.sort(got[name])
          print(#got[name], table.concat(got[name], " "))
        end
        print(r.failed, r.failures[1] and r.failures[1].message:match "^[^\n]*")
      ]]):format(context, route), "routed" .. i)
      if i == 2 then cluster:worker(path) end
      local result = cluster:run(path)
      assert.equal("", result.stderr)
      said[i] = result.stdout:gsub("routed%d", "routed")
    end
    return said
  end

  it("C1: sends each item to the targets that a function says: one, several, none, one that there is not", function()
    local said = both [[function(x)
      x = x[1]
      return x < 9 and { "one", "two" } or x < 20 and "one" or x < 30 and {} or x < 40 and "two" or "three"
    end]]
    assert.equal(said[1], said[2])
    assert.matches("^19\t1 2 3 [^\n]* 19\n18\t1 2 3 4 5 6 7 8 30 [^\n]*\n1\t[^\n]*'three', which is none", said[2])
  end)

  it("C1: deals items out in turn", function()
    for _, text in ipairs(both [["round_robin"]]) do
      local one, two = text:match "^(%d+)\t[^\n]*\n(%d+)\t[^\n]*\n0\tnil\n$"
      assert.equal(40, one + two)
      assert.is_true(tonumber(one) >= 5 and tonumber(two) >= 5)
    end
  end)

  it("is refused where hosts, that take single items in no order, would not do what it says", function()
    for what, text in pairs { ["a reduce"] = 'p:reduce("x", 0, print, { cluster = "redis://x" })',
      ["a stage that loops"] = 'p:stage("x", { cluster = "redis://x" }, print)',
      ["a stage with option 'partition'"] = 'p:map("x", { cluster = "redis://x", partition = print }, print)' } do
      local path = cluster:program('local p = require "minigun".pipeline "p" p:producer { 1 } ' .. text .. " p:run()")
      assert.matches("stage 'x': " .. what .. "[^\n]* cannot run in a cluster", cluster:run(path).stderr)
    end
  end)
end)

describe("a run with a cluster", function()
  it("goes through two of them, one after the other, with iterate, and with a journal", function()
    local path = cluster:program(([[
      local minigun = require "minigun"
      local p = minigun.pipeline "two"
      p:producer("source", minigun.range(1, 500))
      p:map("double", { cluster = %q }, function(x) return 2 * x end)
      p:filter("even", { cluster = %q }, function(x) return x %% 4 == 0 end)
      if arg[1] == "iterate" then
        local n = 0
        for x in p:iterate() do n = n + 1 end
        print(n)
      else
        p:each("take", function() end)
        local r = p:run { journal = arg[1], progress = false }
        print(r.ok, r.stats.stages.take.items_in)
      end
    ]]):format(cluster.url, cluster.url))
    cluster:worker(path, "--stage double --processes 1")
    cluster:worker(path, "--stage even --processes 1")
    local env = support.lua_env()
    local result = support.run("exec lua5.4 " .. path .. " iterate", { env = env, timeout = 30 })
    assert.equal("250\n", result.stdout, result.stderr)
    result = support.run(("exec lua5.4 %s %s/journal"):format(path, cluster.directory), { env = env, timeout = 30 })
    assert.equal("true\t250\n", result.stdout, result.stderr)
  end)

  local SLOW <const> = "for i = 1, 200 do emit(i) end"

  for _, name in ipairs { "TERM", "INT" } do
    it(("loses no work of a host that SIG%s ends: what it has in hand is told, not done again"):format(name), function()
      local path = cluster:program(program(SLOW, far(), [[minigun.sleep(0.01) emit(x) ctx:count("n")
        local f = io.open(]] .. ("%q"):format(cluster.directory .. "/done") .. [[, "a") f:write(x, "\n") f:close()]]))
      local first = cluster:worker(path)
      local submitter = cluster:spawn("lua5.4 " .. path, "submitter")
      wait_for(function() return support.read_file(cluster.directory .. "/done") end)
      support.sleep(0.3)
      cluster:signal(first, name)
      wait_for(function() return not support.alive(first) end)
      cluster:worker(path)
      wait_for(function() return not support.alive(submitter) end, 25) -- within a lease
      assert.matches("^200: ", cluster:said "submitter.out")
      local _, n = cluster:said "done":gsub("\n", "")
      assert.equal(200, n)
    end)
  end

  it("gives back at once what a host has in hand that a second Ctrl-C ends", function()
    local hold = support.write_file(cluster.directory .. "/hold", "")
    local path = cluster:program(program(SLOW, far(), ([[
      local file = io.open(%q)
      if file then file:close() minigun.sleep(1000) end
      emit(x)]]):format(hold)))
    local first = cluster:worker(path)
    local submitter = cluster:spawn("lua5.4 " .. path, "submitter")
    wait_for(function() return cluster:redis "EXISTS mg:jobs:hard/work" == "1" end)
    support.sleep(0.5)
    cluster:signal(first, "INT")
    wait_for(function() return cluster:said("worker1.err"):find "a second Ctrl%-C ends it" end)
    support.sleep(0.3)
    assert.is_true(support.alive(first))
    cluster:signal(first, "INT")
    wait_for(function() return not support.alive(first) end)
    os.remove(hold)
    cluster:worker(path)
    wait_for(function() return not support.alive(submitter) end, 15) -- the lease is 30 s
    assert.matches("^200: ", cluster:said "submitter.out")
  end)

  it("is not ended by the end of another one: hosts go on, also with what they have in hand", function()
    local path = cluster:program(program(SLOW, far(), "minigun.sleep(0.01) emit(x)"))
    local host = cluster:worker(path)
    for round, name in ipairs { "INT", "TERM", "KILL" } do
      local submitter = cluster:spawn("lua5.4 " .. path, "submitter" .. round)
      wait_for(function() return cluster:redis "ZCARD mg:jobs:hard/work" == "1" end)
      support.sleep(0.4)
      cluster:signal(submitter, name)
      wait_for(function() return not support.alive(submitter) end)
    end
    -- Of the last one all is still there; it is done, and the next one does not wait for it.
    local result = cluster:run(path, 50)
    assert.matches("^200: ", result.stdout, 1, false)
    assert.is_true(support.alive(host), cluster:said("worker1.err"))
  end)

  it("shares its hosts with another run of the same program", function()
    local path = cluster:program(program(SLOW, far(), "minigun.sleep(0.002) emit(x)"))
    cluster:worker(path)
    cluster:worker(path, "--processes 1")
    local one, two = cluster:spawn("lua5.4 " .. path, "one"), cluster:spawn("lua5.4 " .. path, "two")
    wait_for(function() return not support.alive(one) and not support.alive(two) end, 40)
    assert.matches("^200: ", cluster:said "one.out")
    assert.matches("^200: ", cluster:said "two.out")
    local once = cluster:worker(path, "--once", "once")
    wait_for(function() return not support.alive(once) end)
    assert.matches("^minigun: worker: stage [^\n]* ends it\n$", cluster:said "once.err") -- and nothing more
  end)

  it("goes on where the server forgets everything, once or while it is asked", function()
    local path = cluster:program(program("for i = 1, 1500 do emit(i) end", far(), "minigun.sleep(0.002) emit(x)"))
    cluster:worker(path)
    local submitter = cluster:spawn("lua5.4 " .. path, "submitter")
    for _ = 1, 3 do
      support.sleep(0.5)
      cluster:redis "FLUSHALL"
    end
    wait_for(function() return not support.alive(submitter) end, 40)
    assert.matches("^1500: ", cluster:said "submitter.out", 1, false)
    assert.equal("", cluster:said "submitter.err")
  end)

  it("shares few slow items among its hosts", function()
    local path = cluster:program(program("for i = 1, 16 do emit(i) end", far(), "minigun.sleep(0.5) emit(ctx.pid)"))
    cluster:worker(path)
    cluster:worker(path)
    local pids, n = {}, 0
    for pid in cluster:run(path).stdout:match "^16: ([^\n]*)":gmatch "%d+" do
      if not pids[pid] then pids[pid], n = true, n + 1 end
    end
    assert.is_true(n > 1)
  end)
end)

describe("a server whose memory is full", function()
  local function start(source)
    cluster:close()
    cluster = clusters.start "--maxmemory 6mb --maxmemory-policy noeviction"
    local path = cluster:program(program(source, far(), "emit(x.i)"))
    return path, cluster:worker(path)
  end

  it("lets the stages before wait until results have made room", function()
    local path, host = start [[for i = 1, 300 do emit { i = i, s = ("q"):rep(60000) } end]]
    local said = cluster:run(path)
    assert.matches("^300: ", said.stdout, nil, said.stderr)
    assert.equal("", said.stderr)
    assert.is_true(support.alive(host))
  end)

  it("is told of where it stays so, and the run goes on when there is room", function()
    local path, host = start [[for i = 1, 200 do emit { i = i } minigun.sleep(0.01) end]]
    local submitter = cluster:spawn("lua5.4 " .. path, "submitter")
    support.sleep(0.5)
    assert.equal("8000001", cluster:redis "SETRANGE other 8000000 x")
    wait_for(function() return cluster:said "submitter.err":find("the cluster at .-: OOM") end)
    cluster:redis "DEL other"
    wait_for(function() return not support.alive(submitter) end)
    assert.matches("^200: ", cluster:said "submitter.out", nil, cluster:said "submitter.err")
    assert.is_true(support.alive(host))
  end)
end)
