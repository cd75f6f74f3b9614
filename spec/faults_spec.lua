-- The core under the fault-injecting test build (make faults): a worker that dies between any two stores, and system
-- calls that fail.
local support = require "spec.support"

local function run(program, argument)
  local path = ("./lua/?.lua;./lua/?/init.lua;;")
  return support.run(("LUA_PATH=%s LUA_CPATH=%s lua5.4 spec/programs/%s %s"):format(support.quote(path),
    support.quote "./build-faults/?.so;;", program, argument or ""), { timeout = support.short_or_long(100, 900) })
end

describe("the test build", function()
  for _, threads in ipairs { "", "4" } do
    local what = threads == "" and "a worker" or "a worker with threads"
    it(("loses nothing and doubles nothing, wherever %s dies"):format(what), function()
      support.deadline(support.short_or_long(120, 1000))
      local done = run("die_at_points.lua", support.short_or_long("1", "60") .. " " .. threads)
      assert.equal(0, done.code, done.stderr)
      assert.is_nil(done.stdout:match "WRONG[^\n]*", done.stdout)
      local points = 0
      for name, deaths in done.stdout:gmatch "([%w_]+): %d+ passes, (%d+) deaths" do
        points = points + 1
        assert.is_true(tonumber(deaths) > 0, "nobody died at " .. name)
      end
      assert.is_true(points >= 12, done.stdout)
    end)
  end

  it("leaves no child and no descriptor of what could not be begun", function()
    local path = support.write_file(os.tmpname(), [=[
      local minigun, core, support = require "minigun", require "minigun.core", require "spec.support"
      local EMFILE <const>, ENOMEM <const> = 24, 12
      local function left(what, f)
        local before = support.descriptor_count()
        local ok = f()
        local now, children = support.descriptor_count(), #support.children()
        if not ok then print(what, now - before, children) end
      end
      for _, call in ipairs { "file_facts", "epoll_add", "eventfd" } do
        for n = 1, 6 do
          left(call .. n, function()
            core.faults.call(call, n, EMFILE)
            return pcall(minigun.each, { 1, 2 }, function() end, { processes = 1 })
          end)
        end
      end
      local letters = os.tmpname()
      local spool = minigun.spool(letters)
      spool:write { 1 }
      for _, call in ipairs { "lock_file", "file_facts" } do
        for n = 1, 3 do
          left(call .. n, function()
            core.faults.call(call, n, ENOMEM)
            local read, reader = pcall(spool.records, spool)
            if read and reader then return pcall(reader) end
          end)
        end
      end
      os.remove(letters)
    ]=])
    local done = support.run(("LUA_PATH=%s LUA_CPATH=%s lua5.4 %s"):format(
      support.quote "./lua/?.lua;./lua/?/init.lua;./?.lua;;", support.quote "./build-faults/?.so;;", path))
    os.remove(path)
    assert.equal("", done.stderr)
    local refused = {}
    for what, descriptors, children in done.stdout:gmatch "(%S+)\t(%d+)\t(%d+)\n" do
      refused[#refused + 1] = what
      assert.same({ "0", "0" }, { descriptors, children }, what)
    end
    assert.is_true(#refused >= 8, table.concat(refused, " "))
  end)

  for _, threads in ipairs { "", " here", " there" } do
    local where = threads == "" and "" or ", with threads" .. threads
    it("ends in a result or a clear error, whichever allocation of Lua fails" .. where, function()
      support.deadline(support.short_or_long(120, 1000))
      local seed = tonumber(os.getenv "SEED") or os.time()
      local done = run("fail_allocations.lua", support.short_or_long("150 ", "3 ") .. seed .. threads)
      assert.equal(0, done.code, done.stderr)
      assert.is_nil(done.stdout:match "WRONG[^\n]*", ("SEED=%d\n%s"):format(seed, done.stdout))
      assert.is_true(tonumber(done.stdout:match "(%d+) runs") > 8, done.stdout)
    end)
  end

  it("gives an executor's items their results or errors, whichever allocation of Lua fails", function()
    support.deadline(support.short_or_long(120, 1000))
    local seed = tonumber(os.getenv "SEED") or os.time()
    local done = run("fail_answers.lua", support.short_or_long("8 ", "1 ") .. seed)
    assert.equal(0, done.code, ("SEED=%d\n%s"):format(seed, done.stderr))
    assert.is_nil(done.stdout:match "WRONG[^\n]*", ("SEED=%d\n%s"):format(seed, done.stdout))
    assert.is_true(tonumber(done.stdout:match "(%d+) errors") > 8, done.stdout)
  end)

  it("shows that a worker closes what it inherits of its siblings by a few calls, however many they are", function()
    local done = support.run((("LUA_PATH=%s LUA_CPATH=%s lua5.4 -e '%s'"):format(
      support.quote "./lua/?.lua;./lua/?/init.lua;./?.lua;;", support.quote "./build-faults/?.so;;", [[
      local core, minigun = require "minigun.core", require "minigun"
      local function closed() local calls = core.faults.calls() return calls.close + calls.close_run end
      local function most(n) -- calls of one worker
        local p, list, before = minigun.pipeline "closing", {}, 0
        for i = 1, n do list[i] = i end
        p:before_fork(function() before = closed() end) -- each worker has its own
        p:producer(list):map("count", { processes = n }, function() return closed() - before end)
        return math.max(table.unpack(p:run().items))
      end
      local few, many = most(4), math.huge
      for _ = 1, 10 do -- forked one by one, on a busy machine, it is more
        if many - few >= 20 then many = math.min(many, most(64)) end
      end
      print(few)
      print(many)]])))
    local few, many = done.stdout:match "^(%d+)\n(%d+)\n$"
    assert.is_truthy(few, done.stderr)
    assert.is_true(many - few < 20, few .. " calls with 4 workers, " .. many .. " with 64")
  end)

  it("keeps everything that it uses, whenever Lua collects its garbage", function()
    support.deadline(support.short_or_long(120, 1000))
    local seed = tonumber(os.getenv "SEED") or os.time()
    local one = 8 + seed % 4
    local done = run("collect.lua", ("%d %s"):format(seed, support.short_or_long(one .. " " .. one, "1 50")))
    local context = ("SEED=%d\n%s%s"):format(seed, done.stdout, done.stderr)
    assert.equal(0, done.code, context)
    assert.is_nil(done.stdout:find("WRONG", 1, true), context)
    local checks, collections = done.stdout:match "(%d+) checks, (%d+) collections"
    assert.is_true(tonumber(checks) >= 190 and tonumber(collections) > 250, context)
  end)

  for _, mode in ipairs { "", "threads", "journal", "programs", "worker" } do
    local what = ({ threads = ", with threads", programs = ", with programs", journal = ", with a journal and a spool",
      worker = " in a worker" })[mode]
    it("ends in a result or a clear error, whichever system call fails" .. (what or ""), function()
      support.deadline(support.short_or_long(120, 1000))
      local seed = tonumber(os.getenv "SEED") or os.time()
      local done = run("fail_calls.lua", ("%s %d %s"):format(support.short_or_long("-", "8"), seed, mode))
      local context = ("SEED=%d\n%s%s"):format(seed, done.stdout:sub(-2000), done.stderr)
      assert.equal(0, done.code, context) -- a hang: the last line tells what has failed in that run
      assert.is_nil(done.stdout:match "WRONG[^\n]*", context)
      local runs, failed, retried = done.stdout:match "(%d+) runs, (%d+) ended with an error, (%d+) retries"
      assert.is_true(tonumber(runs) > (mode == "" and 40 or 20), context)
      -- In a worker, 4 calls make the item fail whichever of their first two fails.
      if mode == "worker" then assert.is_true(tonumber(retried) > 0, context)
      else assert.is_true(tonumber(failed) > (mode == "" and 4 or 1), context) end
    end)
  end
end)
