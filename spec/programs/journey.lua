-- One item's way: from `emit` in a producer of the coordinator through a pool, a batch and a fork per batch to a stage
-- of the coordinator. journey.lua prints how many functions a reader meets on it, in how many files, and how often the
-- next one is in another file; with -v the functions. A function counts once for each process, where it is called
-- first: the rounds of a run call the same ones again. The library's part in C counts as one file.
local core = require "minigun.core"
local minigun = require "minigun"

local out, log_path = nil, os.tmpname()
local tracing = false
local functions = {} -- of the core, by the function itself
for name, f in pairs(core) do functions[f] = name end
for _, meta in pairs(debug.getregistry()) do
  local methods = type(meta) == "table" and rawget(meta, "__index")
  if type(methods) == "table" and type(rawget(meta, "__name")) == "string" and meta.__name:find "^minigun%." then
    for name, f in pairs(methods) do functions[f] = meta.__name:match "[^.]+$" .. ":" .. name end
  end
end

local function hook()
  if not tracing then return end
  local info = debug.getinfo(2, "nSf")
  local file = info.source:match "lua/minigun/(.*)%.lua$"
  if info.what == "C" and functions[info.func] then out:write(core.pid(), " core ", functions[info.func], "\n")
  elseif file then out:write(core.pid(), " ", file, " ", info.name or "?", ":", info.linedefined, "\n") end
end

local create = coroutine.create
coroutine.create = function(f) -- luacheck: ignore 122
  local thread = create(f)
  debug.sethook(thread, hook, "c")
  return thread
end

out = assert(io.open(log_path, "a"))
out:setvbuf "line"
debug.sethook(hook, "c")
local p = minigun.pipeline "journey"
p:producer("source", function(emit)
  tracing = true
  emit(1)
  emit(2)
end)
p:map("work", { processes = 1 }, function(n) return n * 10 end)
p:batch(2)
p:map("measure", { process_per_batch = { max = 1 } }, function(batch) return #batch end)
local arrived
p:each("show", function(n) tracing, arrived = false, n end)
p:run { progress = false }
debug.sethook()
assert(arrived == 2)

local last, files, met, count, changes, steps = {}, {}, {}, 0, 0, 0
for line in io.lines(log_path) do
  local pid, file = line:match "^(%d+) (%S+)"
  if not met[line] then
    met[line], steps = true, steps + 1
    if arg[1] == "-v" then print(line) end
    if not files[file] then files[file], count = true, count + 1 end
    if last[pid] and last[pid] ~= file then changes = changes + 1 end
    last[pid] = file
  end
end
os.remove(log_path)
print(("%d functions, %d changes of file, %d files"):format(steps, changes, count))
