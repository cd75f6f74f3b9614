-- A run under limits, for spec/limits_spec.lua: limited.lua WORKERS CONTEXT FILE. The context "executor": an executor
-- of so many processes, which is given the items one by one.
-- Writes into FILE what has come out: "ok ITEMS FAILURES", then the warnings; or "error MESSAGE".
local minigun = require "minigun"

local workers, context, path = tonumber(arg[1]), arg[2], arg[3]
local function run()
  local p = minigun.pipeline "limited"
  p:producer("numbers", function(emit)
    for i = 1, 300 do emit(i) end
  end)
  p:batch(30)
  p:processor("work", { [context] = workers }, function(batch, emit)
    for _, item in ipairs(batch) do emit(item) end
  end)
  return p:run { failures = "collect" }
end

local function submit()
  local pool = minigun.executor(function(n) return n end, { processes = workers })
  local futures, items = {}, {}
  for i = 1, 300 do futures[i] = pool:submit(i) end
  for i = 1, 300 do items[i] = futures[i]:result() end
  local result = pool:close()
  return { items = items, failures = result.failures, stats = result.stats }
end

local ok, result = pcall(context == "executor" and submit or run)
local file = assert(io.open(path, "w"))
if ok then
  local seen, n = {}, 0
  for _, item in ipairs(result.items) do
    if not seen[item] then n = n + 1 end
    seen[item] = true
  end
  file:write(("ok %d %d\n"):format(n == #result.items and n or -1, #result.failures))
  for _, warning in ipairs(result.stats.warnings) do file:write(warning, "\n") end
else
  file:write("error ", tostring(result), "\n")
end
file:close()
