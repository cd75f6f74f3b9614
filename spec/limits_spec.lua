-- Runs with little of what a process needs: descriptors, processes, address space, standard files. Each ends with all
-- items, perhaps with fewer workers and a warning, or with an error that says what is short.
local support = require "spec.support"

local path

local function limited(limits, workers, context, prefix)
  local done = support.run(("%s; exec %s lua5.4 spec/programs/limited.lua %d %s %s"):format(limits, prefix or "",
    workers, context, path), { timeout = 60, env = support.lua_env() })
  local text = support.read_file(path) or ""
  os.remove(path)
  return text, done
end

-- What is short, where the run did not go through.
local function assert_clear(text, done, what, limits)
  local context = ("%s: %s%s (exit %s)"):format(limits, text, done.stderr, done.code)
  assert.is_false(done.timed_out, context)
  if text:find "^ok" then return assert.matches("^ok 300 0\n", text, nil, nil, context) end
  if text == "" then return assert.matches(what, done.stderr, nil, nil, context) end -- it did not come so far
  assert.matches("^error ", text, nil, nil, context)
  assert.matches(what, text, nil, nil, context)
end

describe("with little", function()
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  for _, context in ipairs { "processes", "process_per_batch", "executor" } do
    it("of descriptors: " .. context, function()
      support.deadline(60)
      assert.matches("^ok 300 0\n", (limited("ulimit -n 64", 4, context)))
      for _, n in ipairs(support.short_or_long({ 5, 10, 12, 14, 18 },
        { 5, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 24, 32 })) do
        local limits = "ulimit -n " .. n
        local text, done = limited(limits, 4, context)
        local what = "[Tt]oo many open files"
        if done.stderr:find "while loading shared libraries" then what = "Error 24" end -- as valgrind says it
        assert_clear(text, done, what, limits)
      end
    end)

    it("of processes: " .. context, function()
      support.deadline(60)
      local nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
      if os.execute("prlimit --nproc=9 " .. nobody .. " test -r lua/minigun/init.lua 2>/dev/null") ~= true then
        return pending "there is no prlimit, or the user nobody may not read this directory"
      end
      for _, n in ipairs(support.short_or_long({ 1, 2, 3, 5 }, { 1, 2, 3, 4, 5, 6 })) do
        support.write_file(path, "")
        os.execute("chmod 666 " .. path)
        local limits = ("prlimit --nproc=%d %s"):format(n, nobody)
        local text, done = limited("true", 4, context, limits)
        assert_clear(text, done, "ulimit .u", limits)
        if n == 3 and context == "processes" then assert.matches("running with 2 workers", text) end
      end
    end)

    local kind = context == "executor" and "processes" or context
    it("of address space, but twice the limit of memory: not a word about it: " .. context, function()
      local done = support.run_lua(([=[
        local minigun, core = require "minigun", require "minigun.core"
        local open, had = core.pool, nil
        core.pool = function(...)
          local pool, message, errno = open(...)
          had = pool and pool:size()
          return pool, message, errno
        end
        local function run(memory)
          local p = minigun.pipeline "p":producer { 1, 2, 3 }:processor({ %s = 2 }, function(x, emit) emit(x) end)
          local r = p:run { memory = memory }
          assert(#r.items == 3)
          return #r.stats.warnings
        end
        run(1 << 20)
        local all = had
        assert(all < 4 << 30, "the address space is not limited")
        local exact, more = run(all // 2), run(all)
        print(exact, more, had == all)
      ]=]):format(kind), { limit = 1 << 20 })
      assert.same({ "", "0\t1\ttrue\n" }, { done.stderr, done.stdout })
    end)

    it("of address space: " .. context, function()
      support.deadline(60)
      if support.under then return pending "a sanitizer needs more address space" end
      for _, mib in ipairs(support.short_or_long({ 8, 20, 40, 400 },
        { 8, 10, 12, 16, 20, 30, 40, 60, 100, 200, 400 })) do
        local limits = "ulimit -v " .. mib * 1024
        local text, done = limited(limits, 4, context)
        assert_clear(text, done, "memory", limits)
      end
    end)

    it("of its standard files: " .. context, function()
      for _, closed in ipairs(support.short_or_long({ "<&-", ">&-", "<&- >&- 2>&-" },
        { "<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-" })) do
        assert.matches("^ok 300 0\n", (limited("exec " .. closed, 4, context)), nil, nil, closed)
      end
    end)
  end
end)
