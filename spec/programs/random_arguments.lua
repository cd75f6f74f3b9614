-- Run by spec/options_spec.lua: calls every public function with arguments made at random. Each call is accepted or
-- refused with a text that begins with the line of the call; no other error, no hang, and the process is afterwards as
-- it was. What was accepted is planned, and some of it is run.
-- random_arguments.lua SEED CALLS, in the directory of the project. Prints WRONG lines for what went otherwise.
local lfs = require "lfs"
local minigun = require "minigun"
local plan = require "minigun.plan.plan"
local options = require "minigun.language.schemas"
local support = require "spec.support"
require "minigun.control.execution" -- all that is loaded late, as this leaves the directory

local seed, calls = tonumber(arg[1]), tonumber(arg[2])
math.randomseed(seed)
local random = math.random
local THIS <const> = debug.getinfo(1, "S").short_src

local function one_of(list) return list[random(#list)] end

-- --- values ------------------------------------------------------------------------------------------------------

local function hostile() error(THIS .. ": hostile metamethod", 0) end
local Hostile = {}
for _, name in ipairs { "__index", "__newindex", "__pairs", "__tostring", "__len", "__eq", "__concat", "__lt" } do
  Hostile[name] = hostile
end
local metatables = { Hostile, { __name = {} }, { __metatable = "locked" }, { __name = 7, __tostring = function() end },
  { __call = function() end }, { __index = function() return 1 end }, { __len = function() return "many" end },
  { __name = "minigun.spool" }, { __name = "minigun.pipeline" }, { __call = 7 }, { __gc = true, __close = 1 },
  { __index = table }, { __pairs = function() return 7 end }, { __len = function() return 5 end } }

local names = { "a", "b", "c", "a", "b", "inner", "inner.a", "" , "x\0y", ("long"):rep(300), "%s%d", "round_robin",
  "broadcast", "collect", "stop", "raise", "64K", "1e9T", "none", "end", "r", "w", "\xff\xfe", "nan" }
local numbers = { 0, 1, 2, 3, 1.0, 2.0, 0.001, 0.5, -1, -0.0, 1 / 0, -1 / 0, 0 / 0, math.maxinteger, math.mininteger,
  1 << 53, 2.0 ^ 63, 1e308, 65536, 65537.0, 1024, 1025 }
local function nothing() end
local option_names, schema_list = {}, {}
for _, schema in pairs(options.schemas) do schema_list[#schema_list + 1] = schema.names end
table.sort(schema_list, function(a, b) return table.concat(a, " ") < table.concat(b, " ") end)
for _, list in ipairs(schema_list) do table.move(list, 1, #list, #option_names + 1, option_names) end

local value

-- Calm values are such that a run with them is short.
local calm = false

local function number()
  if calm then return one_of { 1, 2, 2.0 } end
  return random(3) == 1 and random(-5, 5) or one_of(numbers)
end

local function fitting(name, depth)
  if name == "journal" or name == "path" then return calm and "journal" or one_of { "journal", 7, {}, "x\0", "/" } end
  if calm and (name:find "^re" or name == "failures" or name == "memory" or name == "dead_letter") then return nil end
  if calm and name == "timeout" then return 5 end
  return value(depth)
end

local function option_table(depth)
  local made, list = {}, random(4) == 1 and option_names or one_of(schema_list)
  for _ = 1, random(0, 3) do
    local name = one_of(list)
    made[name] = fitting(name, depth - 1)
  end
  if not calm and random(30) == 1 then made[one_of { 1, "unknown", 1.5, true, nothing }] = value(depth - 1) or 1 end
  if not calm and random(20) == 1 then setmetatable(made, one_of(metatables)) end
  return made
end

local function list(depth)
  local made = {}
  for i = 1, random(0, 3) do made[random(8) == 1 and i + 1 or i] = value(depth - 1) end
  return made
end

local function pass(x, emit) if type(emit) == "userdata" then emit(x) else return x end end
local function define(p) p:processor(one_of(names), calm and {} or option_table(2), pass) end

local shared_cycle = {}
shared_cycle[1], shared_cycle.cycle = shared_cycle, { shared_cycle }
local spare = minigun.pipeline("spare"):producer("a", { 1, 2, 3 }):processor("b", pass)

local kinds = {
  function() return nil end, function() return random(2) == 1 end, number, number, number,
  function() return one_of(names) end, function() return one_of(names) end, function() return one_of(names) end,
  function() return pass end, function() return pass end, function() return nothing end,
  option_table, option_table, option_table, list, list,
  function() return shared_cycle end, function() return setmetatable({}, one_of(metatables)) end,
  function() return coroutine.create(pass) end, function() return io.stdout end, function() return spare end,
  function() return minigun.pipeline("inner"):processor("a", pass) end,
  function() return { 1, 2, 3 } end, function() return define end,
}

function value(depth)
  if depth <= 0 then return number() end
  return one_of(kinds)(depth)
end

-- What a method is likely to be given, or not: nothing at all, fewer, more.
local function arguments(...)
  local given = table.pack(...)
  for i = 1, given.n do
    if type(given[i]) == "function" then given[i] = given[i](3) end
    if not calm and random(5) == 1 then given[i] = value(3) end
  end
  if not calm and random(10) == 1 then given.n = random(0, given.n) end
  if not calm and random(20) == 1 then
    given.n = given.n + 1
    given[given.n] = value(3)
  end
  return given
end

-- --- calls -------------------------------------------------------------------------------------------------------

local made, refused, ran, wrong = 0, 0, 0, 0
local counts = {}

local function complain(what, text)
  wrong = wrong + 1
  if wrong <= 20 then print(("WRONG: SEED=%d, call %d, %s: %s"):format(seed, made, what, text)) end
end

local function dispatch(f, given)
  local results = table.pack(f(table.unpack(given, 1, given.n))) -- the line of every call
  return results
end
local LINE <const> = debug.getinfo(dispatch, "S").linedefined + 1
-- What is called for them is at fault too: a block, and the handlers of the one-liners.
local at_fault = { [LINE] = true }
for _, f in ipairs { pass, define } do at_fault[debug.getinfo(f, "S").linedefined] = true end

-- Calls f; the results, or nil where it is refused. In a handler the error is that of the handler's line as well.
local function call(what, f, given)
  made = made + 1
  counts[what] = (counts[what] or 0) + 1
  local ok, results = pcall(dispatch, f, given)
  if ok then return results end
  refused = refused + 1
  if type(results) ~= "string" then return complain(what, "an error that is a " .. type(results)) end
  if results:find("hostile metamethod", 1, true) then return nil end
  if results:find("which cannot be sent to another process", 1, true) then return nil end -- has no line
  local place, line, message = results:match "^([^:]+):(%d+): ([^\n]*)"
  if place ~= THIS or not at_fault[tonumber(line)] then
    complain(what, "not at the caller's line: " .. results:sub(1, 400))
  elseif message:find "attempt to" and tonumber(line) == LINE then complain(what, results:sub(1, 400)) end
  return nil
end

local function name() return one_of(names) end
local function opts() return option_table(3) end
local function any() return value(3) end
local function source() return { 1, 2, 3 } end
local function fun() return pass end
local function block() return define end
local function stage_args()
  return one_of { arguments(name, opts, fun), arguments(opts, fun), arguments(name, fun), arguments(fun) }
end

local methods = {
  producer = function() return one_of { arguments(name, opts, source), arguments(name, source), arguments(source) } end,
  processor = stage_args, consumer = stage_args, map = stage_args, flat_map = stage_args, filter = stage_args,
  each = stage_args, accumulator = stage_args,
  stage = function()
    return arguments(name, opts, function() return function(input, emit) for x in input do emit(x) end end end)
  end,
  batch = function() return one_of { arguments(number), arguments(name, number, opts), arguments(opts) } end,
  pipeline = function() return one_of { arguments(name, opts, block), arguments(block), arguments(name, any) } end,
  reduce = function() return arguments(name, 0, function() return function(a) return a end end, opts) end,
  threads = function() return one_of { arguments(number, block), arguments(opts, block), arguments(block) } end,
  processes = function() return one_of { arguments(number, block), arguments(opts, block), arguments(block) } end,
  process_per_batch = function() return one_of { arguments(number, block), arguments(opts, block) } end,
  inline = function() return arguments(block) end,
  context = function() return arguments(name, opts) end,
  before_run = function() return arguments(fun) end, after_run = function() return arguments(fun) end,
  after_producer = function() return arguments(fun) end, on_failure = function() return arguments(fun) end,
  on_worker_exit = function() return arguments(fun) end,
  before = function() return arguments(name, fun) end, after = function() return arguments(name, fun) end,
  before_fork = function() return one_of { arguments(name, fun), arguments(fun) } end,
  after_fork = function() return one_of { arguments(name, fun), arguments(fun) } end,
  before_exit = function() return one_of { arguments(name, fun), arguments(fun) } end,
  extend = function() return one_of { arguments(name, opts, block), arguments(opts), arguments() } end,
  replace = function() return one_of { arguments(name, opts, fun), arguments(name, fun), arguments(name, opts) } end,
  remove = function() return arguments(name) end,
  insert_after = function() return one_of { arguments(name, name, opts, fun), arguments(name, block) } end,
  insert_before = function() return one_of { arguments(name, name, opts, fun), arguments(name, block) } end,
  reroute = function() return one_of { arguments(name, name), arguments(name, list) } end,
  bind = function() return arguments(any) end,
}
local method_names = {}
for key in pairs(methods) do method_names[#method_names + 1] = key end
table.sort(method_names)

local function definition()
  local rows = { name = "table", source = source() }
  local actions = { "map", "filter", "flat_map", "each", "reduce", "run", "loop", "source", "pipeline", "max_size" }
  for i = 1, random(3) do
    local row = option_table(2)
    rawset(row, 1, name())
    rawset(row, one_of(actions), random(4) == 1 and any() or pass)
    rows[i] = random(10) == 1 and any() or row
  end
  if random(4) == 1 then rows[one_of(option_names)] = any() end
  return rows
end

local function run_accepted(p)
  ran = ran + 1
  local results = call("start", p.start, table.pack(p, { failures = "collect", progress = false }))
  local run = results and results[1]
  if not run then return end
  local ok, result, message = pcall(run.wait, run, 10)
  if ok and not result then complain("run", "hangs: " .. tostring(message) .. "\n" .. tostring(p)) end
  if not ok and type(result) ~= "string" then complain("run", "an error that is a " .. type(result)) end
  if not ok and tostring(result):find "^%S*lua/minigun/" then complain("run", tostring(result)) end
  run:close()
end

local function a_pipeline()
  calm = random(40) == 1
  local results = call("minigun.pipeline", minigun.pipeline,
    calm and table.pack "p" or one_of { arguments("p", opts), arguments(definition), arguments(any, any) })
  local p = results and results[1]
  if calm then p:producer("a", { 1, 2, 3 }) end
  for _ = 1, p and random(6) or 0 do
    local method = one_of(method_names)
    if not (calm and (method == "bind" or method == "on_failure")) then
      local given = methods[method]()
      local answer = call("p:" .. method, p[method], table.pack(p, table.unpack(given, 1, given.n)))
      if method == "extend" and answer then p = answer[1] end
    end
  end
  if not p then return end
  call("tostring(p)", tostring, table.pack(p))
  local planned = call("plan", plan.build, table.pack(p, not calm and random(2) == 1 and opts() or nil))
  if planned and calm then run_accepted(p) end
  calm = false
end

local base = minigun.pipeline "base":producer("numbers", { 1, 2, 3 }):processor("b", pass)
local result = base:run()

-- A time that does not last.
local function short_time()
  return one_of { -1, 0, 0.001, 0.0, 0 / 0, "1", {}, nothing, true, -1 / 0, io.stdout, setmetatable({}, Hostile) }
end

local function of_a_run()
  local run = base:start { progress = false }
  for _ = 1, 3 do
    local method = one_of { "step", "wait", "status", "fd", "stop" }
    call("run:" .. method, run[method], table.pack(run, short_time(), any()))
  end
  call("run:wait", run.wait, table.pack(run, 10))
  run:close()
end

local function of_a_handler()
  base:extend():processor("c", function(_, emit, ctx)
    call("ctx:collect", ctx.collect, table.pack(ctx, any(), any()))
    call("ctx:count", ctx.count, table.pack(ctx, any(), any()))
    local level = any()
    if type(level) ~= "string" then call("ctx:log", ctx.log, table.pack(ctx, level, any())) end
    if random(4) > 1 then call("emit", emit, table.pack(any(), any())) end
    call("emit:to", emit.to, table.pack(emit, any(), any()))
  end):run { failures = "collect" }
end

local function of_the_module()
  local what = random(12)
  if what == 1 then call("minigun.encode", minigun.encode, arguments(any))
  elseif what == 2 then call("minigun.decode", minigun.decode, arguments(name))
  elseif what == 3 then
    call("minigun.register", minigun.register, arguments(name, function() return setmetatable({}, {}) end, any, any))
  elseif what == 4 then
    local results = call("minigun.spool", minigun.spool, arguments("spool", opts))
    local spool = results and results[1]
    if spool then
      call("spool:write", spool.write, table.pack(spool, any()))
      call("spool:records", function(s) s:records()() end, table.pack(spool))
      call("spool:damage", spool.damage, table.pack(spool, any()))
      call("spool:close", spool.close, table.pack(spool, any()))
      if random(3) == 1 then call("spool:write", spool.write, table.pack(spool, 1)) end
    end
    os.remove "spool"
  elseif what == 5 then call("minigun.sleep", minigun.sleep, table.pack(short_time(), any()))
  elseif what == 6 then call("minigun.wait", minigun.wait, table.pack(any(), any(), short_time()))
  elseif what == 7 then call("result:of", result.of, table.pack(result, any()))
  elseif what == 8 then call("result:summary", result.summary, table.pack(random(2) == 1 and result or any()))
  elseif random(8) == 1 then
    local shorthand = one_of { "map", "each", "reduce" }
    calm = random(4) == 1
    local given = shorthand == "reduce" and arguments(source, 0, fun, opts) or arguments(source, fun, opts)
    if given[given.n] == nil or type(given[given.n]) ~= "table" then given.n = 4 given[4] = {} end
    calm = false
    local last = given[given.n]
    if getmetatable(last) == nil and not rawget(last, "timeout") then last.inline = last.inline or true end
    call("minigun." .. shorthand, minigun[shorthand], given)
  end
end

-- --- the process -------------------------------------------------------------------------------------------------

local function state()
  collectgarbage()
  collectgarbage()
  local signals = support.read_file("/proc/self/status"):match "SigBlk:.-SigCgt:%s*%x+"
  return ("%s\n%d children, %d descriptors, %d mappings"):format(signals, #support.children(),
    support.descriptor_count(), support.shared_mappings())
end

local directory = os.tmpname()
os.remove(directory)
assert(lfs.mkdir(directory))
local home = lfs.currentdir()
assert(lfs.chdir(directory))
of_a_run()
local before = state()
io.stdout:setvbuf "line"
while made < calls and wrong < 20 do
  local what = random(100)
  if what <= 60 then a_pipeline()
  elseif what <= 62 then of_a_run()
  elseif what <= 64 then of_a_handler()
  else of_the_module() end
end
local after = state()
if after ~= before then print("WRONG: the process is not as it was:", before, after) end
lfs.chdir(home)
os.execute("rm -rf " .. directory)
local fewest
for what, n in pairs(counts) do
  if not fewest or n < counts[fewest] then fewest = what end
end
print(("%d calls, %d refused, %d pipelines run; fewest: %s, %d"):format(made, refused, ran, fewest, counts[fewest]))
