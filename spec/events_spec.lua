-- What becomes of what workers say, without a process: items go on as the graph says, and what no worker may say ends
-- the run, with words that say so.
local events = require "minigun.run.events"
local report = require "minigun.base.protocol"

-- A run of three stages; 1 and 3 are run by `mine`, 2 is a producer elsewhere. What is done is noted.
local function new()
  local stages = {}
  for id, name in ipairs { "work", "gen", "end" } do
    stages[id] = { id = id, name = name, kind = id == 2 and "producer" or "processor", terminal = id == 3 }
  end
  local mine = { plan = { context = "processes(2)", stages = { 1 } } }
  local log, pool = {}, {}
  local function note(...) log[#log + 1] = table.concat({ ... }, " ") end
  function pool.release(_, block) note("release", block) end
  function pool.decode_into(_, list, n, block, offset, length, edge)
    note("decode", block, offset, length, edge)
    for i = 1, pool.holds do list[n + i] = i end
    return pool.holds and n + pool.holds, not pool.holds and "no record" or nil
  end
  local self = events.new { stages = stages }
  self.places, self.shared = { of = { mine, {}, mine } }, { pool = pool }
  self.outlets = { of = { { targets = { 3 } } } }
  self.state = { fail = function(_, text) error(text, 0) end }
  self.transport = { note_sent = function(_, from, to) note("sent", from, to) end, route = function(_, targets, range)
    note("route to", table.concat(targets, ","), range.block, range.offset, range.length, range.count, range.only)
  end }
  self.outcome = { stats = { { items_out = 0 } }, keep_read = function(_, _, f)
    local n, refused = f({}, 0)
    return n, refused
  end }
  return self, mine, log, pool
end

local function part(edge, count)
  return { only = edge, block = 7, offset = 16, length = 64, count = count or 4 }
end

describe("items that a worker says it has emitted", function()
  it("go to the receivers of their stage, and are counted", function()
    local self, mine, log = new()
    self:worker_emitted(mine, part(1))
    assert.same({ "route to 3 7 16 64 4 1" }, log)
    assert.equal(4, self.outcome.stats[1].items_out)
  end)

  it("go to the stage that they were sent to", function()
    local self, mine, log = new()
    self:worker_emitted(mine, part(report.TO | 3, 2))
    assert.same({ "sent 1 3", ("route to 3 7 16 64 2 %d"):format(report.TO | 3) }, log)
    assert.equal(2, self.outcome.stats[1].items_out)
  end)

  it("are results where their stage is the last, and give their block back", function()
    local self, mine, log, pool = new()
    pool.holds = 4
    self:worker_emitted(mine, part(3))
    assert.same({ "decode 7 16 64 3", "release 7" }, log)
  end)

  it("end the run where no worker can have said so", function()
    local self, mine, _, pool = new()
    local foreign = "processes(2): a worker sent items of a stage that is not its own"
    local nowhere = "processes(2): a worker sent items to a stage that there is not"
    for _, case in ipairs { { 2, foreign }, { 4, foreign }, { 0, foreign }, { report.TO | 4, nowhere },
      { report.TO | 2, nowhere }, { report.TO, nowhere } } do
      assert.has_error(function() self:worker_emitted(mine, part(case[1])) end, case[2])
    end
    for holds in pairs { [3] = true, [5] = true, [0] = true } do
      pool.holds = holds
      assert.has_error(function() self:worker_emitted(mine, part(3)) end,
        "processes(2): a worker has damaged the run's shared memory: what was read is not what was announced")
    end
    pool.holds = false
    pool.decode_into = function() return nil, "no record" end
    assert.has_error(function() self:worker_emitted(mine, part(3)) end,
      "stage 'end': a result cannot be read: no record")
  end)
end)
