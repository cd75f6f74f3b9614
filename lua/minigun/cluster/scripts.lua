--- What the engine does in one step: scripts that the server runs whole, or not at all.
--
-- Keys of a stage of a job, T = mg:{JOB/STAGE}: T:in the chunks to do, a stream with the group "w", whose ids are
-- NUMBER-1; T:out the results; T:dead what was delivered too often; T:meta what the job is. A chunk's bytes stand in
-- the field d. A chunk stays in T:in until its submitter has its result, so that another submitter that takes the job
-- over finds both. `by` in T:meta is the submitter that the job belongs to: a later one's text is greater, so that it
-- stays the owner where another server does not know of it yet.
local scripts = {}

-- What the submitter's calls begin with: whether the job is its own. KEYS meta first; ARGV submitter first.
local OWN <const> = [[
local state, by = unpack(redis.call('HMGET', KEYS[1], 'state', 'by'))
if not state then return redis.error_reply('GONE the job is gone') end
if by and by > ARGV[1] then return redis.error_reply('TAKEN another submitter has taken the job over') end
if by ~= ARGV[1] then redis.call('HSET', KEYS[1], 'by', ARGV[1]) end
]]

-- KEYS meta, in, out; ARGV submitter, limit, first number, seconds to keep, chunks ... -> how many were taken. A chunk
-- that is there already counts as taken, so it may be called again.
scripts.put = OWN .. [[
if state ~= 'open' then return redis.error_reply('CLOSED the job was ended: ' .. state) end
local room = tonumber(ARGV[2]) - redis.call('XLEN', KEYS[2])
local first, taken = tonumber(ARGV[3]), 0
for i = 5, #ARGV do
  if room <= 0 then break end
  local reply = redis.pcall('XADD', KEYS[2], string.format('%d-1', first + taken), 'd', ARGV[i])
  if type(reply) == 'table' and reply.err then
    if not string.find(reply.err, 'equal or smaller') then return reply end
  else
    room = room - 1
  end
  taken = taken + 1
end
for i = 1, #KEYS do redis.call('EXPIRE', KEYS[i], ARGV[4]) end
return taken]]

-- KEYS meta, in, out; ARGV submitter, (id of a result, its chunk's) ... -> how many results are gone, with their
-- chunks. What a result names may be nonsense.
scripts.drop = OWN .. [[
local dropped = 0
for i = 2, #ARGV, 2 do
  dropped = dropped + redis.call('XDEL', KEYS[3], ARGV[i])
  redis.pcall('XDEL', KEYS[2], ARGV[i + 1])
end
return dropped]]

-- KEYS meta, in, out, dead; ARGV submitter -> true: all that is of the job is gone.
scripts.remove = OWN .. [[
redis.call('UNLINK', unpack(KEYS))
return true]]

-- KEYS in, out, meta; ARGV the worker's code, (id, status, bytes) ... -> how many counted. Only the first result of a
-- chunk does: what came too late, or twice, is dropped.
scripts.done = [[
local code = redis.call('HGET', KEYS[3], 'code')
if not code then return redis.error_reply('GONE the job is gone') end
if code ~= ARGV[1] then return redis.error_reply('CODE the program is another one') end
local counted = 0
for i = 2, #ARGV, 3 do
  if redis.call('XACK', KEYS[1], 'w', ARGV[i]) == 1 then
    redis.call('XADD', KEYS[2], '*', 'i', ARGV[i], 's', ARGV[i + 1], 'd', ARGV[i + 2])
    counted = counted + 1
  end
end
return counted]]

-- KEYS in, out, meta; ARGV seconds to keep -> what the job is; false: it is gone, or a part of it. The submitter is
-- there: by the server's clock, as those of the hosts may be wrong.
-- A server whose memory is full lets only a script write more that has written before: so this one, and `beat`, first
-- write what takes no memory.
scripts.alive = [[
local state = redis.call('HGET', KEYS[3], 'state')
if not state or redis.pcall('XINFO', 'GROUPS', KEYS[1]).err then return false end
local now = redis.call('TIME')[1]
for i = 1, #KEYS do redis.call('EXPIRE', KEYS[i], ARGV[1]) end
redis.call('HSETNX', KEYS[3], 'begun', now)
redis.call('HSET', KEYS[3], 'seen', now)
return state]]

-- KEYS hosts, facts of hosts; ARGV worker, what it is, seconds to keep. A worker host is there.
scripts.beat = [[
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[1], redis.call('TIME')[1], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
for i = 1, #KEYS do redis.call('EXPIRE', KEYS[i], ARGV[3]) end
return true]]

-- KEYS hosts, facts of hosts; ARGV seconds -> how many hosts have said within them that they are there. Those that
-- have not for an hour are forgotten.
scripts.workers = [[
local now = tonumber(redis.call('TIME')[1])
for _, worker in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', now - 3600, 'BYSCORE')) do
  redis.call('ZREM', KEYS[1], worker)
  redis.call('HDEL', KEYS[2], worker)
end
return redis.call('ZCOUNT', KEYS[1], now - ARGV[1], '+inf')]]

-- KEYS in; ARGV worker, ids ... -> those that are still its own: their leases begin anew.
scripts.renew = [[
local own = {}
for i = 2, #ARGV do
  if #redis.call('XPENDING', KEYS[1], 'w', ARGV[i], ARGV[i], 1, ARGV[1]) == 1 then
    redis.call('XCLAIM', KEYS[1], 'w', ARGV[1], 0, ARGV[i], 'JUSTID')
    own[#own + 1] = ARGV[i]
  end
end
return own]]

-- KEYS in; ARGV worker, milliseconds of a lease, ids ... -> how many were given back: others find them at once.
scripts.give_back = [[
local given = 0
for i = 3, #ARGV do
  if #redis.call('XPENDING', KEYS[1], 'w', ARGV[i], ARGV[i], 1, ARGV[1]) == 1 then
    redis.call('XCLAIM', KEYS[1], 'w', '-', 0, ARGV[i], 'IDLE', ARGV[2], 'JUSTID')
    given = given + 1
  end
end
return given]]

-- KEYS in, out, dead; ARGV worker, milliseconds of a lease, most deliveries, most chunks -> the chunks whose
-- lease is over, now the worker's own, each { id, { 'd', bytes }, deliveries }. What was delivered too often is dead,
-- and the submitter hears of it.
scripts.reap = [[
local own = {}
for _, pending in ipairs(redis.call('XPENDING', KEYS[1], 'w', 'IDLE', ARGV[2], '-', '+', ARGV[4])) do
  local id, last, deliveries = pending[1], pending[2], pending[4]
  if deliveries >= tonumber(ARGV[3]) then
    local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
    if entry and redis.call('XACK', KEYS[1], 'w', id) == 1 then
      redis.call('XADD', KEYS[3], 'MAXLEN', '~', '10000', '*', 'i', id, 'n', deliveries, 'd', entry[2][2])
      redis.call('XADD', KEYS[2], '*', 'i', id, 's', 'dead', 'd', tostring(deliveries))
    end
  else
    local entry = redis.call('XCLAIM', KEYS[1], 'w', ARGV[1], ARGV[2], id)[1]
    if entry and entry[1] then own[#own + 1] = { entry[1], entry[2], deliveries + 1 } end
  end
end
return own]]

return scripts
