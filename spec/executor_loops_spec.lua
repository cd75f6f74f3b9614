-- Executors inside event loops, and at the prompt: rule F8.
local minigun = require "minigun"
local contexts = require "spec.contexts"
local loops = require "spec.loops"
local support = require "spec.support"

for _, adapter in ipairs(loops.list) do
  describe(("F8: in the loop '%s'"):format(adapter.name), function()
    for _, context in ipairs(contexts.kinds) do
      it("an executor is moved by its descriptor [" .. context.name .. "]", function()
        loops.in_test(adapter, pending, function(l)
          local pool <close> = minigun.executor(function(n)
            if n == 3 then error("three", 0) end
            return n * n
          end, contexts.options(context))
          assert(l:watch_io(assert(pool:fd()), "r", function() pool:step() end))
          local sum, failed, submitted, left = 0, 0, 0, 0
          local function take(future)
            left = left - 1
            if future:failure() then failed = failed + 1 else sum = sum + future:result() end
          end
          local function more()
            submitted, left = submitted + 1, left + 1
            pool:submit(submitted):on_done(function(future)
              take(future)
              if submitted < 12 then more() end -- from a callback of the executor
            end)
          end
          for _ = 1, 3 do more() end
          local by_loop = false
          l:after(0.02, function() -- and from one of the loop
            by_loop = true
            more()
          end)
          loops.run_until(l, function() return left == 0 and submitted >= 12 and by_loop end)
          assert.equal(1, failed)
          assert.equal(submitted * (submitted + 1) * (2 * submitted + 1) // 6 - 9, sum)
          return l
        end)
      end)
    end

    for _, context in ipairs(contexts.kinds) do
      it("its descriptor tells of what waits when all that was begun has ended [" .. context.name .. "]", function()
        loops.in_test(adapter, pending, function(l)
          local pool <close> = minigun.executor(function(n) return n end, contexts.options(context))
          local left = 20
          assert(l:watch_io(assert(pool:fd()), "r", function()
            support.sleep(0.005) -- whatever a worker has ends meanwhile
            pool:step()
          end))
          for i = 1, left do pool:submit(i):on_done(function() left = left - 1 end) end
          loops.run_until(l, function() return left == 0 end)
          return l
        end)
      end)
    end

    it("an idle executor does not wake the loop", function()
      loops.in_test(adapter, pending, function(l)
        local pool <close> = minigun.executor(function(n) return n end, { processes = 2 })
        local steps = 0
        assert(l:watch_io(assert(pool:fd()), "r", function()
          steps = steps + 1
          pool:step()
        end))
        assert.equal(1, pool:call(1))
        l:after(0.05, function() l:stop() end)
        l:run()
        local before = steps
        l:after(0.3, function() l:stop() end)
        l:run()
        assert.is_true(steps - before <= 1, steps - before .. " steps")
        return l
      end)
    end)

    it("executors whose threads wait for each other are moved by the descriptor of one", function()
      loops.in_test(adapter, pending, function(l)
        local a, b
        a = minigun.executor(function(n) return n > 0 and 1 + b:call(n - 1) or 0 end, { threads = 8 })
        b = minigun.executor(function(n)
          minigun.sleep(0.002)
          return n > 0 and 1 + a:call(n - 1) or 0
        end, { threads = 8 })
        assert(l:watch_io(assert(a:fd()), "r", function() a:step() end))
        local results, left = {}, 4
        for n = 1, 4 do
          a:submit(n):on_done(function(future)
            results[n], left = future:result(), left - 1
          end)
        end
        loops.run_until(l, function() return left == 0 end)
        assert.same({ 1, 2, 3, 4 }, results)
        a:close()
        b:close()
        return l
      end)
    end)
  end)
end

describe("F8: at the prompt", function()
  it("an idle prompt does not move an executor; result does", function()
    local script = [[
      minigun = require "minigun"
      pool = minigun.executor(function(n) return n + 1 end, { processes = 1 })
      future = pool:submit(1)
      later = pool:submit(2):on_done(function() print "told" end)
      os.execute "sleep 0.1"
      print("idle", later:done())
      print("got", later:result(), future:result())
      pool:close()
      print(pool)
    ]]
    local done = support.run("exec lua5.4 -i", { timeout = 30, stdin = script, env = support.lua_env() })
    assert.matches("idle\tfalse", done.stdout)
    assert.matches("told.*got\t3\t2", done.stdout)
    assert.matches("executor 'executor', closed: 0 waiting, 0 begun, 0 workers", done.stdout)
  end)
end)
