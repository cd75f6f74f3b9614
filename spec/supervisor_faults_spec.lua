-- Servers in the fault-injecting test build (make faults): whichever system call fails, in the master or in a worker,
-- the server does not start and says why, or serves, or gives up and says why, and leaves nothing.
local servers = require "spec.servers"
local support = require "spec.support"

describe("a server", function()
  for _, where in ipairs { "master", "worker" } do
    it(("ends in an answer or a clear error, whichever system call fails in the %s"):format(where), function()
      if servers.missing then return pending(servers.missing) end
      support.deadline(support.short_or_long(120, 400))
      local seed = tonumber(os.getenv "SEED") or os.time()
      local done = support.run(("LUA_PATH=%s LUA_CPATH=%s exec lua5.4 spec/programs/fail_server.lua %s %d %s"):format(
        support.quote "./lua/?.lua;./lua/?/init.lua;./?.lua;;", support.quote "./build-faults/?.so;;",
        support.short_or_long("0", "8"), seed, where == "worker" and where or ""), { timeout = 300 })
      local context = ("SEED=%d\n%s%s"):format(seed, done.stdout:sub(-3000), done.stderr:sub(-3000))
      assert.equal(0, done.code, context)
      assert.is_nil(done.stdout:match "WRONG[^\n]*", context)
      assert.is_true(tonumber(done.stdout:match "(%d+) runs") > 15, context)
    end)
  end
end)
