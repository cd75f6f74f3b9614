-- Memory stays flat, however much passes through. Each pipeline runs in an interpreter of its own, and every process
-- tells how large it is, again and again; what it had after a tenth of the items is compared with the most that it had
-- later. ("many runs in one process leave nothing behind" is in contexts_spec.lua.)
local support = require "spec.support"

local program = [[
  local minigun, support = require "minigun", require "spec.support"
  local total, shape, grace = tonumber(arg[1]), arg[2], tonumber(arg[3]) -- grace: KiB that a process may grow

  local function resident() return select(2, support.read_file("/proc/self/statm"):match "^(%d+) (%d+)") * 4 end

  -- Notes the size of the process after every hundredth of the items.
  local seen, due = 0, 0
  local function look(n, tell)
    seen = seen + n
    if seen >= due then
      due = due + total // 100
      tell { seen, resident() }
    end
  end
  local function worker(n, ctx) look(n, function(sample) ctx:collect(ctx.pid .. "", sample) end) end

  local function pass(item, emit, ctx)
    worker(1, ctx)
    emit(item)
  end
  local function unpacked(batch, emit, ctx)
    worker(#batch, ctx)
    for i = 1, #batch do emit(batch[i]) end
  end

  local p = minigun.pipeline "flat"
  p:producer("items", function(emit)
    for i = 1, total do emit { i, "an item with some text", i * 0.5 } end
  end)
  if shape == "pools" then
    p:processor("a", { processes = 1 }, pass):processor("b", { processes = 1 }, pass)
  elseif shape == "group" then
    p:processes(1, function() p:processor("a", pass):processor("b", pass) end)
  elseif shape == "batches" then
    p:batch(1000):processor("a", { processes = 1 }, unpacked):batch(100):processor("b", { processes = 1 }, unpacked)
  elseif shape == "ordered" then
    p:processor("a", { processes = { n = 2, ordered = true } }, pass):processor("b", { threads = 4 }, pass)
  elseif shape == "routes" then
    p:processor("a", { processes = 1, to = { "b", "c" }, route = "round_robin" }, pass)
    p:processor("b", { processes = 1, to = "last", retries = 1 }, function(item, emit, ctx)
      worker(1, ctx)
      if item[1] % 100 == 0 and ctx.attempt == 1 then error "again" end
      emit(item)
    end)
    p:processor("c", { inline = true, to = "last" }, function(item, emit) emit(item) end)
  end
  local own, n = {}, 0
  p:each("last", { inline = true }, function()
    n = n + 1
    if n % (total // 100) == 0 then own[#own + 1] = { n, resident() } end
  end)
  local result = p:run()
  assert(n == total, n)
  result.collected.coordinator = own
  for name, samples in pairs(result.collected) do
    local first, most = nil, 0
    for _, sample in ipairs(samples) do
      if sample[1] >= samples[#samples][1] // 10 then
        first = first or sample[2]
        most = math.max(most, sample[2])
      end
    end
    assert(most <= first * 1.1 + grace, ("%s grew from %d to %d KiB"):format(name, first, most))
  end
  io.write "flat"
]]

describe("memory", function()
  for _, shape in ipairs { "pools", "group", "batches", "ordered", "routes" } do
    it("stays flat while items pass: " .. shape, function()
      local total = support.short_or_long(20000, 10000000)
      if support.under then total = total // 10 end
      support.deadline(support.short_or_long(60, 900))
      -- What may wait in three queues, 4 MiB each, is not reached at once.
      local result = support.run_lua(program, { args = { total, shape, support.short_or_long(16384, 12288) },
        timeout = support.short_or_long(55, 850) * support.patience })
      assert.equal("", result.stderr)
      assert.equal("flat", result.stdout)
    end)
  end

  it("and all else is as before when random pipelines have been run, and run again", function()
    local count = support.short_or_long(1, 600)
    support.deadline(support.short_or_long(60, 900))
    local result = support.run_lua([[
      local check, support = require "spec.property.check", require "spec.support"
      local count, patience, rounds = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3])
      local function runs()
        for seed = 1, count do check.one(seed, function(_, problem) error(problem) end) end
      end
      local function state()
        collectgarbage()
        collectgarbage()
        local resident = select(2, support.read_file("/proc/self/statm"):match "^(%d+) (%d+)") * 4
        return { descriptors = support.descriptor_count(), mappings = support.shared_mappings(),
          children = #support.children(), resident = resident, lua = collectgarbage "count" }
      end
      for _ = 1, rounds do runs() end -- until malloc has what it needs
      local before = state()
      for _ = 1, rounds do runs() end
      local after = state()
      for _, name in ipairs { "descriptors", "mappings", "children" } do
        assert(after[name] == before[name], name .. ": " .. before[name] .. ", then " .. after[name])
      end
      assert(after.lua < before.lua + 64, after.lua - before.lua .. " KiB more in use")
      assert(after.resident < before.resident * 1.1 + 8192 * patience, after.resident - before.resident .. " KiB more")
      io.write "flat"
    ]], { args = { count, support.patience, support.short_or_long(2, 3) },
      timeout = support.short_or_long(55, 850) * support.patience })
    assert.equal("", result.stderr)
    assert.equal("flat", result.stdout)
  end)
end)

describe("memory that malloc gives", function()
  it("may hold anything: nothing counts on zeros", function()
    local result = support.run_lua([=[
      local minigun, core = require "minigun", require "minigun.core"
      local function pass(x, emit) emit(x) end
      local function sum(list)
        local n = 0
        for _, x in ipairs(list) do n = n + (type(x) == "table" and x.n or x) end
        return n
      end
      local shared = { 1 }
      local text, references = core.encode { shared, shared, n = 0.5, [1 << 40] = ("x"):rep(300) }
      local back = core.decode(text, references)
      assert(back[1] == back[2] and back.n == 0.5 and #back[1 << 40] == 300)
      for _, options in ipairs { {}, { processes = 2 }, { process_per_batch = 2 }, { threads = 3 },
        { processes = 2, threads = 3 }, { processes = 2, ordered = true } } do
        local count = options.process_per_batch and 14 or 200
        local p = minigun.pipeline "dirty":producer("gen", function(emit) for i = 1, count do emit { n = i } end end)
          :processor("work", options, pass):batch(7)
          :processor("batches", options.ordered and {} or options, function(b, emit) emit(sum(b)) end)
        assert(sum(p:run().items) == count * (count + 1) // 2)
      end
      local path, letters = os.tmpname(), os.tmpname()
      os.remove(path)
      local spool <close> = minigun.spool(letters)
      for i = 1, 20 do spool:write { n = i } end
      spool:sync()
      local n = 0
      for record in spool:records() do n = n + record.n end
      assert(n == 210)
      local r = minigun.pipeline "journal":producer { 1, 2, 3 }:processor("w", { processes = 1 }, pass)
        :run { journal = path }
      assert(sum(r.items) == 6)
      local ran = assert(minigun.command({ "cat" }, { stdin = "dirty" }))
      assert(ran.ok and ran.out == "dirty")
      os.remove(path)
      os.remove(letters)
      io.write "sound"
    ]=], { env = { MALLOC_PERTURB_ = "165" } })
    assert.same({ "", "sound" }, { result.stderr, result.stdout })
  end)
end)
