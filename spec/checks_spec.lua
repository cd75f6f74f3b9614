-- The checks that run where $MINIGUN_CHECK is set: a wrong count in any of what the coordinator and its workers keep,
-- put in by hand, is found by the next round or step (src/test/miscount.c has what each word breaks).
local support = require "spec.support"

local function run(source, what)
  return support.run_lua([[
    local core = require "minigun.core"
    local MEBI <const>, ANY <const> = 1 << 20, core.protocol.ANY

    -- A block with an item on edge 1: block, offset, length, count.
    local function block_of(pool)
      local writer = core.writer(pool, 1, function(w, need)
        if need > 0 then w:open(65536) end
      end, error, 1, 1)
      writer "item"
      local block, offset, length, count = writer:take()
      writer:close()
      return block, offset, length, count
    end

    -- Takes events until there is one of this kind, which stays in the queue with "out".
    local function wait_for(pool, kind)
      local till = core.now() + 20
      while core.now() < till do
        pool:collect()
        if kind == "out" and pool:anything() then return end
        local event = pool:event()
        if event == kind then return end
        if not event then pool:wait(1) end
      end
      error("no " .. kind)
    end
  ]] .. source, { args = { what }, timeout = 30, env = { LUA_CPATH = "./build-faults/?.so;;", MINIGUN_CHECK = "1" } })
end

-- A pool whose slot has a worker that sleeps, an event that waits, an unread descriptor and a lent block.
local POOL <const> = [[
  local pool = core.pool(2, 16 * MEBI, 16 * MEBI)
  pool:spawn(1, MEBI, function(w)
    core.sleep(0.1) -- until there are blocks: it asks for none
    w:send(1, "said")
    w:publish()
    core.sleep(100)
  end)
  pool:lend(1, 65536)
  pool:lend(1, 65536)
  wait_for(pool, "out")
  local block, offset, length, count = block_of(pool)
  assert(pool:offer(1, 1, block, offset, length, count, ANY, 1, 1, 0))
  pool:collect()
  io.write "begun "
  io.stdout:flush()
  if arg[1] ~= "" then core.faults.miscount(pool, arg[1], 1) end
  pool:collect()
  io.write "not found"
  io.stdout:flush()
  pool:close()
]]

-- A worker with something in its open block that it has not said yet.
local WORKER <const> = [[
  local pool = core.pool(1, 16 * MEBI, 16 * MEBI)
  pool:spawn(1, MEBI, function(w)
    w:send(1, "said")
    io.write "begun "
    io.stdout:flush()
    if arg[1] ~= "" then core.faults.miscount(w, arg[1]) end
    w:next()
    io.write "not found"
  end)
  pool:lend(1, 65536)
  pool:finish(1)
  wait_for(pool, "exit")
  pool:close()
]]

local function finds(program, what, where)
  it(("find a wrong '%s' in %s"):format(what, where), function()
    local result = run(program, what)
    local said = ("%s\n%s"):format(result.stdout, result.stderr)
    assert.equal("begun ", result.stdout, said)
    assert.is_truthy(result.stderr:find("broken invariant", 1, true), said)
  end)
end

describe("the checks of $MINIGUN_CHECK", function()
  for _, what in ipairs { "used", "free", "done", "limit", "chunk", "published", "held", "lent", "empty", "child",
    "head", "entry", "descriptor", "event" } do
    finds(POOL, what, "a pool")
  end

  for _, what in ipairs { "end", "mark", "size", "count", "sure", "held", "word", "spare", "tail", "head" } do
    finds(WORKER, what, "a worker")
  end

  it("find nothing where nothing is wrong", function()
    for _, program in ipairs { POOL, WORKER } do
      local result = run(program, "")
      assert.same({ 0, "begun not found", "" }, { result.code, result.stdout, result.stderr })
    end
  end)
end)
