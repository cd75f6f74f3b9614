-- What a worker writes that no worker may write is noticed: the run goes on unharmed, names what it has lost, or
-- ends and says why (spec/programs/scribbler.lua).
local support = require "spec.support"

describe("workers that write over the run's shared memory", function()
  local function scribble(runs, what)
    support.deadline(120)
    local seed = tonumber(os.getenv "SEED") or os.time()
    -- What is looked at where $MINIGUN_CHECK is set takes a damaged word for a fault of the library's own.
    local command = "env -u MINIGUN_CHECK lua5.4 spec/programs/scribbler.lua %d %d 1 %s"
    local done = support.run(command:format(runs, seed, what),
      { timeout = support.short_or_long(100, 3000), env = support.lua_env() })
    local said = ("spec/programs/scribbler.lua %d %d 1 %s: %s%s"):format(runs, seed, what, done.stdout, done.stderr)
    assert.is_false(done.timed_out, said)
    local silent, internal = done.stdout:match "(%d+) silent, (%d+) internal"
    assert.same({ "0", "0" }, { silent, internal }, said)
  end

  it("lose nothing in silence, hang nothing, and cause no internal error", function()
    scribble(support.short_or_long(36, 2000), "")
  end)

  it("do not have what the coordinator has read once read again", function()
    scribble(support.short_or_long(24, 1000), "heads")
  end)

  it("are found where their counter in the ring goes back, as if it stayed full", function()
    support.deadline(60)
    for _ = 1, support.short_or_long(4, 50) do
      local done = support.run("lua5.4 spec/programs/scribbler.lua 1 1796016266 1",
        { timeout = 20, env = support.lua_env() })
      assert.is_false(done.timed_out)
    end
  end)
end)
