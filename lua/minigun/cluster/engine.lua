--- The engine: what a submitter and a worker host ask of the Redis server about one stage of one job. Each call may be
-- made again where it is not known whether it has worked.
local scripts = require "minigun.cluster.scripts"

local engine = {}

local Engine = {}
Engine.__index = Engine

local ABORTED <const> = 3600 -- seconds in which the submitter of an aborted job can hear of it
local SILENT <const> = 60    -- seconds after which a submitter that says nothing is taken for dead

engine.KEEP = 7 * 86400 -- seconds that keys live after they were last written to

--- The chunk's number in an id, "NUMBER-1".
---@param id string
---@return integer?
function engine.number_of(id) return math.tointeger(tonumber(id:match "^(%d+)%-")) end

--- Makes the engine of one stage of one job.
---@param connection table of connection.lua
---@param pipeline string
---@param stage string
---@param job string
---@return table engine
function engine.new(connection, pipeline, stage, job)
  local tag = ("mg:{%s/%s}"):format(job, stage)
  return setmetatable({ connection = connection, job = job,
    input = tag .. ":in", output = tag .. ":out", dead = tag .. ":dead", meta = tag .. ":meta",
    jobs = ("mg:jobs:%s/%s"):format(pipeline, stage), hosts = ("mg:hosts:%s/%s"):format(pipeline, stage) }, Engine)
end

-- The words that call a script by its sum.
local function words_of(sum, keys, arguments)
  local words = { "EVALSHA", sum, #keys }
  table.move(keys, 1, #keys, 4, words)
  return table.move(arguments, 1, #arguments, #words + 1, words)
end

-- Calls a script; the server is told it where it does not know it, once for all engines of a connection.
local function run_script(self, name, keys, arguments)
  local link = self.connection
  if not link.sums[name] then
    local sum, fault = link:call { "SCRIPT", "LOAD", scripts[name] }
    if not sum then return nil, fault end
    link.sums[name] = sum
  end
  local words = words_of(link.sums[name], keys, arguments)
  local reply, fault = link:call(words)
  if fault and fault.code == "NOSCRIPT" then -- another server, or one that has forgotten all
    link.sums = {}
    words[1], words[2] = "EVAL", scripts[name]
    reply, fault = link:call(words)
  end
  return reply, fault
end

-- Sends commands and waits for their replies, of which each that is an error is a fault, but for the code `but`.
local function ask(self, commands, but, seconds)
  local replies, fault = self.connection:calls(commands, seconds)
  if not replies then return nil, fault end
  for _, reply in ipairs(replies) do
    if type(reply) == "table" and reply.code and reply.code ~= but then return nil, self.connection:fault(reply) end
  end
  return replies
end

--- Makes the job known, and its keys; nothing happens where it is there.
---@param facts table
--- `code`; `by`: its submitter; `limit`: most chunks that may lie there; `lease`, milliseconds; `tries`: most
--- deliveries
---@return boolean? ok
---@return table? fault
function Engine:create(facts)
  local replies, fault = ask(self, {
    { "XGROUP", "CREATE", self.input, "w", "0", "MKSTREAM" },
    { "HSETNX", self.meta, "state", "open" }, { "HSETNX", self.meta, "by", facts.by },
    { "HSET", self.meta, "code", facts.code, "limit", facts.limit, "lease", facts.lease, "tries", facts.tries },
    { "EXPIRE", self.input, engine.KEEP }, { "EXPIRE", self.meta, engine.KEEP },
    { "ZADD", self.jobs, "NX", os.time(), self.job },
  }, "BUSYGROUP")
  return replies and true, fault
end

--- Takes a job over that is another submitter's, which hears of it.
---@param by string
---@return table[]? entries its chunks: array of { id, { "d", bytes } }
---@return table? fault
function Engine:take_over(by)
  local replies, fault = ask(self, { { "HSET", self.meta, "by", by }, { "XRANGE", self.input, "-", "+" } })
  if not replies then return nil, fault end
  return replies[2]
end

--- Hands chunks over: as many as there is room for, from the first on.
---@param by string the submitter
---@param limit integer
---@param first integer number of the first chunk
---@param chunks string[]
---@return integer? taken
---@return table? fault
function Engine:put(by, limit, first, chunks)
  local arguments = table.move(chunks, 1, #chunks, 5, { by, limit, first, engine.KEEP })
  return run_script(self, "put", { self.meta, self.input, self.output }, arguments)
end

-- A reply of XREAD and XREADGROUP: array of { id, { "d", bytes ... } }.
local function entries_of(reply)
  if not reply then return {} end
  local stream = type(reply) == "table" and reply[1]
  return type(stream) == "table" and type(stream[2]) == "table" and stream[2] or {}
end

--- Takes chunks to work on.
---@param worker string
---@param n integer at most
---@param wait integer milliseconds, from 1 on
---@return table[]? entries array of { id, { "d", bytes } }
---@return table? fault
function Engine:take(worker, n, wait)
  local reply, fault = self.connection:call({ "XREADGROUP", "GROUP", "w", worker, "COUNT", n, "BLOCK", wait, "STREAMS",
    self.input, ">" }, wait / 1000)
  if fault then return nil, fault end
  return entries_of(reply)
end

local function arguments_of_done(self, code, results)
  return { self.input, self.output, self.meta }, table.move(results, 1, #results, 2, { code })
end

--- Says what has come of chunks, without waiting: `done` with the same results is to be called next.
---@param code string
---@param results table as for `done`
---@return table|false sent for `done`; false: it could not be sent at once
function Engine:send_done(code, results)
  local sum = self.connection.sums.done
  local sent = sum and { words_of(sum, arguments_of_done(self, code, results)) }
  return sent and self.connection:send_ahead(sent) and sent or false
end

--- Says what has come of chunks.
---@param code string
---@param results table array: id, status, bytes, id, status ...
---@param sent table|false|nil as from `send_done`
---@return integer? counted
---@return table? fault
function Engine:done(code, results, sent)
  if sent then
    local replies, fault = self.connection:calls(sent)
    if not replies then return nil, fault end
    local reply = replies[1]
    if type(reply) ~= "table" then return reply end
    if reply.code ~= "NOSCRIPT" then return nil, self.connection:fault(reply) end
  end
  return run_script(self, "done", arguments_of_done(self, code, results))
end

--- Begins the leases of chunks anew.
---@param worker string
---@param ids string[]
---@return string[]? own those that are still its own
---@return table? fault
function Engine:renew(worker, ids)
  return run_script(self, "renew", { self.input }, table.move(ids, 1, #ids, 2, { worker }))
end

--- Gives chunks back.
---@param worker string
---@param lease integer
---@param ids string[]
---@return integer? given
---@return table? fault
function Engine:give_back(worker, lease, ids)
  return run_script(self, "give_back", { self.input }, table.move(ids, 1, #ids, 3, { worker, lease }))
end

--- Takes over chunks whose lease is over.
---@param worker string
---@param facts table of the job: `lease`, `tries`
---@param n integer at most
---@return table[]? entries array of { id, { "d", bytes }, deliveries }
---@return table? fault
function Engine:reap(worker, facts, n)
  return run_script(self, "reap", { self.input, self.output, self.dead },
    { worker, facts.lease, facts.tries, n })
end

-- The words of `drop`. The script goes along, and not its sum: an answer that the server does not know it would come
-- too late.
local function words_of_drop(self, by, ids)
  local words = { "EVAL", scripts.drop, 3, self.meta, self.input, self.output, by }
  return table.move(ids, 1, #ids, #words + 1, words)
end

--- The results that are there. They stay until they are dropped; what is seen twice is known by its number.
---@param n integer at most
---@param wait integer milliseconds, from 1 on
---@param by string the submitter
---@param gone string[] ids as for `drop`: these are dropped before
---@return table[]? entries array of { id, { "i", chunk's id, "s", status, "d", bytes } }
---@return table? fault
function Engine:results(n, wait, by, gone)
  local read = { "XREAD", "COUNT", n, "BLOCK", wait, "STREAMS", self.output, "0" }
  local replies, fault = ask(self, gone[1] and { words_of_drop(self, by, gone), read } or { read }, "GONE", wait / 1000)
  if not replies then return nil, fault end -- that the job is gone `alive` says
  return entries_of(replies[#replies])
end

--- Removes results that the submitter has now, and their chunks.
---@param by string the submitter
---@param ids string[] of a result, of its chunk, of the next result ...
---@return integer? n
---@return table? fault
function Engine:drop(by, ids)
  return run_script(self, "drop", { self.meta, self.input, self.output }, table.move(ids, 1, #ids, 2, { by }))
end

--- The number of the last chunk that the server has had: after a fail-over it may be an earlier one than before.
---@return integer? number nil without a fault: it does not know the job
---@return table? fault
function Engine:last()
  local reply, fault = self.connection:call { "XINFO", "STREAM", self.input }
  if fault then
    if fault.code == "ERR" then return nil end
    return nil, fault
  end
  for i = 1, #reply - 1, 2 do
    if reply[i] == "last-generated-id" then return engine.number_of(reply[i + 1]) end
  end
end

--- What the job is.
---@return table? facts `state`, `code`, `by`, `limit`, `lease`, `tries`; `age`: seconds since it began; `dead`: its
--- submitter has said nothing for a minute; nil without a fault: there is none
---@return table? fault
function Engine:facts()
  local replies, fault = ask(self, { { "HGETALL", self.meta }, { "TIME" } })
  if not replies then return nil, fault end
  local reply, facts = replies[1], {}
  for i = 1, #reply - 1, 2 do facts[reply[i]] = reply[i + 1] end
  for _, name in ipairs { "limit", "lease", "tries" } do
    facts[name] = math.tointeger(tonumber(facts[name]))
    if not facts[name] or facts[name] < 1 then return nil end -- it is none of ours
  end
  local now = tonumber(replies[2][1]) or 0
  facts.dead = now - (tonumber(facts.seen) or now) >= SILENT
  facts.age = now - (tonumber(facts.begun) or now)
  return facts
end

--- Says that the submitter is there.
---@return string|false|nil state "open", "aborted"; false: the server has lost the job, or a part of it
---@return table? fault
function Engine:alive()
  return run_script(self, "alive", { self.input, self.output, self.meta }, { engine.KEEP })
end

--- Ends the job of a submitter that may be there: it hears of it, and workers drop what they have of it.
---@return boolean? ok
---@return table? fault
function Engine:abort()
  local replies, fault = self.connection:calls { { "HSET", self.meta, "state", "aborted" },
    { "EXPIRE", self.meta, ABORTED }, { "ZREM", self.jobs, self.job },
    { "UNLINK", self.input, self.output, self.dead } }
  return replies and true, fault
end

--- Removes all that is of the job, if it is the submitter's own.
---@param by string the submitter
---@return boolean? ok
---@return table? fault
function Engine:remove(by)
  local ok, fault = run_script(self, "remove", { self.meta, self.input, self.output, self.dead }, { by })
  if ok then ok, fault = self.connection:call { "ZREM", self.jobs, self.job } end
  return ok and true, fault
end

--- How far a job is: chunks.
---@return integer? waiting that no host has taken
---@return integer|table work in hosts; a fault
---@return integer? results that the submitter has not taken over
function Engine:progress()
  local replies, fault = self.connection:calls { { "XLEN", self.input }, { "XPENDING", self.input, "w" },
    { "XLEN", self.output } }
  if not replies then return nil, fault end
  local inside = math.tointeger(replies[2][1]) or 0 -- it is an error where the job is gone
  local results = math.tointeger(replies[3]) or 0
  return math.max(0, (math.tointeger(replies[1]) or 0) - inside - results), inside, results
end

--- Says that a worker host is there.
---@param worker string
---@param facts string what it is, for people
---@return boolean? ok
---@return table? fault
function Engine:beat(worker, facts)
  return run_script(self, "beat", { self.hosts, self.hosts .. ":facts" }, { worker, facts, 3600 })
end

--- Says that it has gone.
---@param worker string
function Engine:leave(worker)
  return self.connection:calls { { "ZREM", self.hosts, worker }, { "HDEL", self.hosts .. ":facts", worker } }
end

--- How many worker hosts have told of themselves lately.
---@param seconds integer
---@return integer? n
---@return table? fault
function Engine:workers(seconds)
  return run_script(self, "workers", { self.hosts, self.hosts .. ":facts" }, { seconds })
end

--- The jobs of this stage that are open, oldest first.
---@return string[]? jobs
---@return table? fault
function Engine:open_jobs() return self.connection:call { "ZRANGE", self.jobs, 0, -1 } end

return engine
