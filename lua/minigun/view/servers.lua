--- Servers in the live view: the figures of one, in the form of those of a run.
local servers = {}

--- Makes a status of a server's figures.
---@param figures table minigun.ServerStatus
---@return table status as minigun.Status, with workers that say what they are at
function servers.status(figures)
  local status = {
    id = figures.name, pipeline = figures.name, pid = figures.pid, state = figures.state, elapsed = 0, started = 0,
    stages = {}, edges = {}, workers = {}, alive = #figures.workers, items = 0, failed = 0, failures = {},
    warnings = {}, counters = {}, collected = {}, produced = 0, consumed = 0, rate = 0, mean = 0, memory = 0,
    memory_most = 0, memory_limit = 0, server = true,
  }
  for i, address in ipairs(figures.listen) do status.counters["listens at " .. address] = i end
  for i, w in ipairs(figures.workers) do
    status.workers[i] = { segment = ("generation %d"):format(w.generation), worker = w.number, pid = w.pid,
      state = w.state, doing = w.doing, items = w.requests, in_hand = w.in_hand, restarts = w.restarts,
      died = w.restarts, memory = w.memory, age = w.age }
    status.consumed, status.memory = status.consumed + w.requests, status.memory + (w.memory or 0)
    status.elapsed = math.max(status.elapsed, w.age or 0)
    status.counters.connections = (status.counters.connections or 0) + w.in_hand
  end
  return status
end

return servers
