--- Cluster: a place whose stage runs on other hosts. Items are gathered into chunks, which go to the engine; what has
-- come of them comes back, each chunk once.
--
-- A chunk is known by its number. It is in `flight` until its result is here; the engine may have it, or lose it where
-- a server dies: after each new connection, also the other task's, the submitter looks which number the engine has
-- last, and sends the rest anew. Two tasks of the run's loop do this, each with a connection of its own: `send` hands
-- over, `receive` takes results.
--
-- How many items a chunk has follows from what they cost: where one takes CHUNK_TIME, hosts share the work well.
--
-- A job that has a name may be another submitter's, which has died: its chunks are taken over. Each of their items is
-- given to an item that arrives here with the same bytes. A result is dropped on the server before anything is made of
-- it, so what is there belongs to items that the run's journal has not acknowledged.
local adoption = require "minigun.cluster.adoption"
local code = require "minigun.cluster.code"
local connection = require "minigun.cluster.connection"
local contract = require "minigun.contexts.contract"
local core = require "minigun.core"
local current = require "minigun.handlers.current"
local engines = require "minigun.cluster.engine"
local message = require "minigun.cluster.message"
local report = require "minigun.base.protocol"
local results = require "minigun.cluster.results"
local terminal_line = require "minigun.base.terminal_line"
local url = require "minigun.base.redis_url"

local place = { blocks = true }

local ITEMS <const>, BYTES <const> = 1000, 64 << 10 -- of a chunk, at most; a larger item is a chunk by itself
local CHUNK_TIME <const> = 0.1  -- seconds of a worker
local FIRST <const> = 10        -- items of a chunk, as long as nothing is known of them
local AT_ONCE <const>, AT_ONCE_BYTES <const> = 16, 1 << 20 -- that are handed over in one call, beside the first chunk
local IN_FLIGHT <const> = 64 << 20 -- bytes of chunks; one more may be there
local RESULTS <const> = 64      -- that are taken in one call
local LARGE <const> = 4 << 20   -- bytes of results: fewer are taken in the next call; of a chunk's: fewer items
local ALIVE <const> = 1         -- seconds between two words of being there
local LISTEN <const> = 1000     -- milliseconds that a call for results waits
local START <const> = 10        -- seconds that a server has to become the one that it can begin with
local NO_WORKER <const> = 5     -- seconds until the run says that no worker is there, or no room
local PAUSES <const> = { 0.002, 0.01, 0.05, 0.2, 0.5, 1 } -- seconds before a call is made again

local Cluster = contract.kind()

local function say(self, text)
  return ("stage '%s': the cluster at %s: %s"):format(self.stage.name, self.said.url, text)
end

-- Says once what the run waits for.
local function warn(self, text)
  if self.warned then return end
  self.warned = true
  self.port.warn(text)
  io.stderr:write(terminal_line.before_text(), "minigun: ", text, "\n")
end

-- A connection that works, for a server that is there: before anything is forked.
local function dial(self)
  local address = assert(url.parse(self.said.url)) -- it was checked where it was given
  local own = connection.new(address)
  local ok, fault = own:dial()
  if not ok then self.port.fail(say(self, fault.message)) end
  return own, address
end

--- Makes a place; it looks whether the engine is there.
---@param port table see contexts/contract.lua
---@param segment table of the plan
---@return table place
function place.new(port, segment)
  local said = segment.worker
  local self = setmetatable({
    slots = { { number = 1 } }, said = said, stage = port.plan.stages[segment.stages[1]],
    after = {},      -- by name: ids of the stages after it
    flight = {},     -- by number: { works, n = items, bytes }; of a chunk that was adopted, one item is one work
    orphans = {},    -- items of chunks that were adopted, see adoption.lua
    made = 0,        -- number of the chunk that was made last
    in_flight = 0, bytes = 0, -- chunks, and results that lie on the server, and their bytes
    size = FIRST,    -- items of a chunk, at most
    weight = 1,      -- bytes of an item
    results = RESULTS, -- that are taken in one call
    synced = false,  -- `dials` of the connection for which it is known what the engine has
    unsent = {},     -- numbers of those to be handed over, in order
    sender = false, closed = false, told = 0, heard = core.now(), warned = false,
  }, Cluster)
  for _, id in ipairs(self.stage.outputs) do self.after[port.plan.stages[id].name] = id end
  contract.open(self, port, segment, "bytes")
  self.ledger:resize(self.id, said.limit * FIRST, 0)
  self.out, self.address = dial(self)
  self.back = connection.new(self.address)
  return self
end

local function engine_of(self, link)
  return engines.new(link, self.port.plan.name, self.stage.name, self.job)
end

-- Calls f until the engine has answered; what cannot get better ends the run.
local function insist(self, f)
  local try = 0
  while not self.closed do
    local value, fault = f()
    if not fault then return value end
    if not fault.again then self.port.fail(say(self, fault.message)) end
    try = try + 1
    current.sleep(PAUSES[math.min(try, #PAUSES)])
  end
end

-- --- from items to chunks ------------------------------------------------------------------------------------------

local function add_flight(self, number, chunk)
  self.flight[number] = chunk
  self.in_flight, self.bytes = self.in_flight + 1, self.bytes + #chunk.bytes
end

local function add_chunk(self, works, n, bytes)
  self.made = self.made + 1
  add_flight(self, self.made, { works = works, n = n, bytes = bytes })
  table.insert(self.unsent, self.made)
end

-- Takes some of what waits: work, and its items' bytes as elements of an array.
local function take_some(self, most)
  local own = self.port.may_begin(self) and self:take(1, next(self.orphans) and 1 or most)
  if not own then return nil end
  local bytes, n = self.pool:strings(own.block, own.offset, own.length, own.only or report.ANY)
  if n ~= own.count then self.port.check(own) end -- which ends the run
  self.ledger:unload(own.id)
  return own, bytes
end

-- Makes a chunk of what waits. Returns whether there was anything.
local function gather(self)
  local works, parts, n, size = {}, {}, 0, 0
  while n < self.size and size < BYTES do
    local fit = math.max(1, (BYTES - size) // self.weight | 0)
    local own, bytes = take_some(self, math.min(self.size - n, fit))
    if not own then break end
    if not adoption.rejoin(self.orphans, own, bytes) then
      works[#works + 1], parts[#parts + 1] = own, bytes
      n, size = n + own.count, size + #bytes
    end
  end
  if n == 0 then return false end
  self.weight = size / n
  add_chunk(self, works, n, message.array(n, table.concat(parts)))
  return true
end

local function has_room(self) return self.in_flight < self.said.limit and self.bytes < IN_FLIGHT end

-- Hands over the chunks with the next numbers, which follow one another.
local function hand_over(self, engine)
  -- The server before may have given the result of one that this server has not had.
  while self.unsent[1] and not self.flight[self.unsent[1]] do table.remove(self.unsent, 1) end
  local first, chunks, bytes = self.unsent[1], {}, 0
  if not first then return 1 end
  for i = 1, math.min(AT_ONCE, #self.unsent) do
    local chunk = self.unsent[i] == first + i - 1 and self.flight[self.unsent[i]]
    bytes = bytes + (chunk and #chunk.bytes or 0)
    if not chunk or i > 1 and bytes > AT_ONCE_BYTES then break end
    chunks[i] = chunk.bytes
  end
  local taken, fault = engine:put(self.facts.by, self.said.limit, first, chunks)
  if taken then table.move(self.unsent, taken + 1, #self.unsent + taken, 1) end
  if fault and fault.code == "OOM" and core.now() - self.heard > NO_WORKER then warn(self, say(self, fault.message)) end
  return taken, fault
end

-- After a new connection: the engine may have lost what it had, or all. What it does not have is sent anew. The
-- answers must be of one connection: the next one may be to another server.
local function resync(self, engine)
  local last
  repeat
    insist(self, function() return engine:create(self.facts) end)
    self.synced = self.out.dials
    last = insist(self, function()
      local number, fault = engine:last()
      return number or 0, fault
    end)
  until self.closed or self.synced == self.out.dials and self.out:is_open()
  local list = {}
  for number in pairs(self.flight) do
    if number > (last or 0) then list[#list + 1] = number end
  end
  table.sort(list)
  self.unsent = list
end

local function send(self)
  local engine, pause = engine_of(self, self.out), 1
  while not self.closed do
    if not self.synced then self.out:close() end -- the server that it is to may be another one's replica by now
    if not self.out:is_open() or self.synced ~= self.out.dials then resync(self, engine) end
    while has_room(self) and gather(self) do end -- luacheck: ignore 542
    if not self.synced then -- it was found out meanwhile
      pause = 1
    elseif not self.unsent[1] then
      self.sender = "parked"
      coroutine.yield(current.PARK)
      self.sender = "runs"
    else
      local taken, fault = hand_over(self, engine)
      if fault and fault.code == "GONE" then self.synced = false
      elseif fault and not fault.again then self.port.fail(say(self, fault.message)) end
      pause = (taken or 0) > 0 and 1 or math.min(pause + 1, #PAUSES)
      if pause > 1 then current.sleep(PAUSES[pause - 1]) end
    end
  end
end

-- --- what comes back -----------------------------------------------------------------------------------------------

-- How large the next chunks are: by the time that an item of this one took, and by what has come of it.
local function learn(self, n, busy, bytes)
  local fit = math.min(CHUNK_TIME * n / math.max(busy, 1e-9), LARGE * n / bytes, ITEMS)
  self.size = math.max(1, math.floor((self.size + fit) / 2 + 0.5))
end

-- Sends each item of a chunk by itself, as no host could finish it: only the one that ends hosts is to fail.
local function send_singly(self, chunk)
  local items, k = message.items(chunk.bytes), 0
  for _, own in ipairs(chunk.works) do
    local whole = { left = own.count }
    for i = 0, own.count - 1 do
      k = k + 1
      add_chunk(self, { { id = own.id, count = 1, origin = own.origin, first = own.first and own.first + i,
        whole = whole } }, 1, message.chunk { items[k] })
    end
  end
end

-- Returns how many chunks of the server's fewer there are.
local function take_result(self, fields)
  local number = type(fields[2]) == "string" and engines.number_of(fields[2])
  local chunk = number and self.flight[number]
  if not chunk then return 0 end -- it was here before
  self.flight[number] = nil
  self.bytes = self.bytes - #chunk.bytes
  local dead, result, problem = fields[4] == "dead"
  if dead and chunk.n > 1 and not chunk.adopted then return 1, send_singly(self, chunk) end
  if dead then
    problem = ("its chunk was given to workers %s times, and none has finished it"):format(fields[6])
  else
    result, problem = results.read(self, chunk, fields[6])
    problem = problem and "what a worker has sent of it cannot be read: " .. problem
  end
  if result then learn(self, chunk.n, result.busy, #fields[6]) else result = results.failed(self, chunk, problem) end
  if chunk.adopted then adoption.settle(chunk, result) else result:settle(chunk.works) end
  return 1
end

-- Says once that no worker is there.
local function look_for_workers(self, engine)
  if self.warned or self.in_flight == 0 or core.now() - self.heard < NO_WORKER then return end
  if engine:workers(NO_WORKER * 2) == 0 then
    warn(self, ("no worker for stage '%s' of '%s' at %s; start one with: minigun worker FILE --stage %s --engine %s")
      :format(self.stage.name, self.port.plan.name, self.said.url, self.stage.name, self.said.url))
  end
end

-- The engine is to be told again what it may have lost.
local function lose(self)
  self.synced = false
  self:wake()
end

-- Says that the run is there; looks whether the job is.
local function stay(self, engine)
  if core.now() - self.told < ALIVE then return end
  self.told = core.now()
  local dials = self.back.dials
  local state = insist(self, function() return engine:alive() end)
  if state == "aborted" then self.port.fail(say(self, "the job was ended: aborted")) end
  if not state or dials ~= self.back.dials then lose(self) end
end

-- Results are the run's from now on. nil: the run is over.
local function drop(self, engine, ids)
  return insist(self, function()
    local n, fault = engine:drop(self.facts.by, ids)
    if fault and fault.code == "GONE" then return 0 end -- they went with the job
    return n, fault
  end)
end

-- Of a job that has a name results are dropped before anything is made of them. Others go with the next call: what is
-- seen twice is known by its number.
local function receive(self)
  local engine, by, gone = engine_of(self, self.back), self.facts.by, {}
  while not self.closed do
    local dials = self.back.dials
    local entries = insist(self, function() return engine:results(self.results, LISTEN, by, gone) end) or {}
    if dials > 0 and dials ~= self.back.dials then lose(self) end
    local ids, bytes = {}, 0
    for _, entry in ipairs(entries) do
      ids[#ids + 1], ids[#ids + 2] = entry[1], entry[2][2]
      bytes = bytes + #(entry[2][6] or "")
    end
    self.results = bytes > LARGE and math.max(1, self.results // 2) or math.min(RESULTS, self.results * 2)
    gone = self.port.plan.options.job and {} or ids
    if not ids[1] then look_for_workers(self, engine)
    elseif gone == ids or drop(self, engine, ids) then
      self.heard = core.now()
      for _, entry in ipairs(entries) do
        local fewer = take_result(self, entry[2]) -- it may add some
        self.in_flight = self.in_flight - fewer
      end
      self:wake()
      coroutine.yield(current.MORE) -- what has come goes on before the server is asked again
    end
    stay(self, engine)
  end
end

-- --- the contract --------------------------------------------------------------------------------------------------

-- What the engine answers before the run's loop is there; it may be about to get another server.
local function sure(self, engine, call, ...)
  local due = core.now() + START
  while true do
    local value, fault = engine[call](engine, ...)
    if not fault then return value end
    if not fault.again or core.now() > due then self.port.fail(say(self, fault.message)) end
    core.sleep(PAUSES[4])
  end
end

-- Takes over what is there of a job of this name: of another program's nothing is wanted.
local function attach(self, engine)
  local facts = sure(self, engine, "facts")
  local before = facts and facts.by or ""
  self.facts.by = ("%08d-%s"):format((tonumber(before:match "^%d+") or 0) + 1, self.facts.by)
  if facts and (facts.code ~= self.facts.code or facts.state ~= "open") then sure(self, engine, "remove", before) end
  sure(self, engine, "create", self.facts)
  local entries = sure(self, engine, "take_over", self.facts.by)
  for i = #entries, 1, -1 do
    local chunk = adoption.adopt(self.orphans, entries[i][2][2])
    if chunk then add_flight(self, engines.number_of(entries[i][1]), chunk) end
  end
  -- Items of runs that had the name before had other numbers, as handlers know items by them.
  self.made = math.max(sure(self, engine, "last") or 0, os.time() << 20)
end

--- Makes the job known, and begins.
function Cluster:start()
  local port, name = self.port, self.port.plan.options.job
  local id = ("%d-%d-%x"):format(os.time(), port.pid, core.random()) -- hosts may have the same numbers of processes
  self.job = name or id
  local program = type(arg) == "table" and type(arg[0]) == "string" and arg[0] or ""
  self.facts = { code = code.sum(program, self.stage.name, require("minigun.redis").sha256), by = id,
    limit = self.said.limit, lease = math.floor(self.said.lease * 1000), tries = self.said.tries }
  local engine = engine_of(self, self.out)
  if name then attach(self, engine) else sure(self, engine, "create", self.facts) end
  self.synced = self.out.dials
  self.tasks = { port.loop():spawn(function() send(self) end), port.loop():spawn(function() receive(self) end) }
end

function Cluster:wake()
  if self.sender == "parked" then
    self.sender = "woken"
    self.port.loop():unpark(self.tasks[1])
  end
end

function Cluster:dispatch()
  if self.ledger:queued(self.id) > 0 and has_room(self) then self:wake() end
  return false
end

--- Work is finished, or one item of it that was sent by itself.
---@param own table
function Cluster:finished(own)
  local whole = own.whole
  if not whole then return contract.Place.finished(self, own) end
  self.ledger:finish(own.id, own.count)
  self:settle_order(own, 0, own.count)
  whole.left = whole.left - own.count
  if whole.left == 0 then self.ledger:drop(own.id) end
end

-- Whether there is something of the job that another submitter could take over.
local function leaves_work(self)
  local queued, _, in_hand = self.ledger:queued(self.id)
  return self.port.plan.options.job and queued + in_hand > 0
end

--- Removes what is of the job; of one that has not come to its end, hosts drop what they have. What is left of a job
--- with a name stays, for the run that attaches again.
function Cluster:close()
  if self.closed then return end
  self.closed = true
  self.out:close() -- a task may have left it in the middle of a reply
  self.back:close()
  if not self.facts or self.port.pid ~= core.pid() or leaves_work(self) then return end
  engine_of(self, self.out):remove(self.facts.by) -- hosts that work for it see that it is gone
  self.out:close()
end

return place
