-- Dead letters: where items go that have failed for good; and the waits between attempts.
local contexts = require "spec.contexts"
local core = require "minigun.core"
local support = require "spec.support"
local minigun = require "minigun"
local options = require "minigun.language.schemas"
local refusals = require "spec.refusals"
local backoffs = require "minigun.policy.backoff"

local N <const> = 8

local function pass(item, emit) emit(item) end

local function numbers() return contexts.range(1, N) end

local function passed()
  local list = {}
  for i = 1, N do
    if i % 4 ~= 0 then list[#list + 1] = i end
  end
  return list
end

-- Fails every fourth item, each time.
local function work(item, emit, ctx)
  emit(item)
  if item % 4 == 0 then error(("no %d at attempt %d"):format(item, ctx.attempt)) end
end

local function by_item(a, b) return a.item < b.item end

local function check_letters(letters, attempts)
  table.sort(letters, by_item)
  assert.equal(N // 4, #letters)
  for i, letter in ipairs(letters) do
    assert.equal(4 * i, letter.item)
    local failure = letter.failure
    assert.is_nil(getmetatable(failure))
    assert.same({ "error", "work", attempts }, { failure.kind, failure.stage, failure.attempts })
    assert.matches(("^spec/dead_letter_spec.lua:%%d+: no %d at attempt %d$"):format(4 * i, attempts), failure.message)
    assert.is_nil(failure.item)
  end
end

local function check_result(r)
  assert.equal(N // 4, #r.failures)
  for _, failure in ipairs(r.failures) do assert.is_true(failure.dead_letter) end
  assert.is_nil(r.error)
  assert.equal(N // 4, r.stats.stages.work.failed)
end

local path

local function letters_of(spool)
  local list = {}
  for letter in spool:records() do list[#list + 1] = letter end
  return list
end

for _, context in ipairs(contexts.all) do
  describe(("[%s]"):format(context.name), function()
    before_each(function() path = os.tmpname() end)
    after_each(function() os.remove(path) end)

    for _, target in ipairs(contexts.kinds) do
      it("R51 a failed item goes to the dead letters' stage, " .. target.name, function()
        for _, given in ipairs { "stage", "run", "pipeline" } do
          local name = "dead"
          local r = minigun.pipeline("dead_letter", { dead_letter = given == "pipeline" and name or nil })
            :producer("numbers", numbers())
            :processor("work", contexts.options(context, { retries = 1, to = {},
              dead_letter = given == "stage" and name or nil }), work)
            :processor("dead", contexts.options(target, { await = true, to = {} }), function(letter, emit, ctx)
              assert(ctx.stage == "dead")
              emit(letter)
            end)
            :run { dead_letter = given == "run" and name or nil }
          assert.same(passed(), contexts.sorted(r:of "work"))
          check_letters(r:of "dead", 2)
          check_result(r)
          assert.equal(N // 4, r.stats.stages.dead.items_in)
        end
      end)
    end

    it("R51 or into a spool, where a later script finds it", function()
      local spool <close> = assert(minigun.spool(path))
      local after
      local r = minigun.pipeline "dead_letter":producer("numbers", numbers())
        :processor("work", contexts.options(context, { retries = 2, dead_letter = spool }), work)
        :after_run(function() after = letters_of(spool) end):run()
      assert.same(passed(), contexts.sorted(r.items))
      check_letters(after, 3)
      check_result(r)
      check_letters(letters_of(assert(minigun.spool(path, { read_only = true }))), 3)
    end)

    it("R51 what fails in the dead letters' stage, or after it, is an ordinary failure", function()
      for _, where in ipairs { "dead", "after" } do
        local function fail(letter, emit, ctx)
          if ctx.stage == where then error "dead again" end
          emit(letter)
        end
        local p = minigun.pipeline("loop", { dead_letter = "dead" }):producer("numbers", { 1, 2, 3, 4 })
          :processor("work", contexts.options(context, { to = {} }), work)
          :processor("dead", contexts.options(context, { await = true }), fail)
          :processor("after", contexts.options(context, { to = {} }), fail)
        local ok, message = pcall(p.run, p)
        assert.is_false(ok)
        assert.matches("dead again", message, 1, true)
        assert.is_nil(message:find("more failure", 1, true))
        local failures = p.last.failures
        assert.same({ "work", true, where }, { failures[1].stage, failures[1].dead_letter, failures[2].stage })
        assert.equal(2, #failures)
        assert.is_nil(failures[2].dead_letter)
      end
    end)

    it("R46 back-off lies between the attempts and grows", function()
      local p = minigun.pipeline "backoff":producer { 1, 2 }
        :processor("work", contexts.options(context, {
          retries = 3, backoff = { first = 0.02, factor = 2, jitter = 0 },
        }), function(_, emit, ctx)
          if ctx.attempt < 4 then error(("at %.6f"):format(core.now())) end
          emit { ctx.attempt, core.now() }
        end)
      local began = core.now()
      local r = p:run()
      assert.equal(2, #r.items)
      for _, item in ipairs(r.items) do
        assert.equal(4, item[1])
        assert.is_true(item[2] - began >= 0.14, item[2] - began) -- 0.02 + 0.04 + 0.08
      end
      assert.equal(6, r.stats.stages.work.retried)
    end)
  end)
end

for _, context in ipairs(contexts.forked) do
  it(("R51 [%s] a crash and a time-out become dead letters too"):format(context.name), function()
    local r = minigun.pipeline "crash":producer { 1, 2, 3, 4 }
      :processor("work", contexts.options(context, { to = {}, dead_letter = "dead", timeout = 0.3 * support.patience }),
        function(item, emit, ctx)
          if item == 2 then os.execute("kill -KILL " .. ctx.pid) end
          if item == 3 then core.sleep(20) end
          emit(item)
        end)
      :consumer("dead", { await = true, to = {} }, pass):run()
    local done, letters = r:of "work", r:of "dead"
    table.sort(letters, by_item)
    for i = #letters, 1, -1 do -- what else the worker that was killed had in hand
      local item = letters[i].item
      if context.hosted and (item == 1 or item == 4) then
        assert.equal("crash", table.remove(letters, i).failure.kind)
        done[#done + 1] = item
      end
    end
    assert.same({ 1, 4 }, contexts.sorted(done))
    assert.equal(2, #letters)
    assert.same({ 2, "crash", 9 }, { letters[1].item, letters[1].failure.kind, letters[1].failure.signal })
    assert.same({ 3, "timeout" }, { letters[2].item, letters[2].failure.kind })
  end)
end

describe("dead letters", function()
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  it("carry a batch that has failed, and an item that a producer could not send, as text", function()
    local spool <close> = assert(minigun.spool(path))
    local r = minigun.pipeline("kinds", { dead_letter = spool })
      :producer("numbers", { 1, 2, { f = print }, 3 })
      :processor("pool", { processes = 1 }, pass)
      :accumulator("batch", { max_size = 2, by = function(x)
        if x == 3 then error "no key" end
        return 1
      end }, function() error "no batch" end):run()
    assert.equal(3, #r.failures)
    local by_kind = {}
    for _, letter in ipairs(letters_of(spool)) do by_kind[letter.failure.message:match "no %a+" or "text"] = letter end
    assert.same({ 1, 2 }, by_kind["no batch"].item)
    assert.equal(3, by_kind["no key"].item)
    assert.equal("unserialisable", by_kind.text.failure.kind)
    assert.equal('{f = a function}', by_kind.text.item)
  end)

  it("of an inline stage keep their item as it is on the way to an inline stage", function()
    local item = { print }
    local r = minigun.pipeline "as_is":producer { item }
      :processor("work", { to = {}, dead_letter = "dead" }, function() error "no" end)
      :consumer("dead", { await = true, to = {} }, pass):run()
    assert.same(item, r:of "dead"[1].item) -- in a table of its own
    assert.not_equal(item, r:of "dead"[1].item)
  end)

  it("are none for a failure without an item, which is raised as ever", function()
    local spool <close> = assert(minigun.spool(path))
    local p = minigun.pipeline("none", { dead_letter = spool }):producer(function(emit)
      emit(1)
      error "the source is dry"
    end):processor(pass)
    local ok, message = pcall(p.run, p)
    assert.is_false(ok)
    assert.matches("the source is dry", message, 1, true)
    assert.same({}, letters_of(spool))
  end)

  it("that cannot be written leave an ordinary failure and a warning", function()
    local spool = assert(minigun.spool(path))
    local p = minigun.pipeline("closed", { dead_letter = spool }):producer { 4 }:processor("work", work)
      :before_run(function() spool:close() end)
    local r = p:run { failures = "collect" }
    assert.is_nil(r.failures[1].dead_letter)
    assert.matches("a dead letter could not be written: .*closed", r.stats.warnings[1])
    local ok, message = pcall(p.run, p)
    assert.is_false(ok)
    assert.matches("no 4", message, 1, true)
  end)

  it("that their stage's pool refuses after all leave an ordinary failure and a warning", function()
    local Type, calls = {}, 0
    minigun.register("dead_letter_spec.type", Type, function()
      calls = calls + 1
      return calls > 3 and print or 1 -- 2: copies, of the array's item, and of what the handler gets; 3: the check
    end, function() return setmetatable({}, Type) end)
    local r = minigun.pipeline("refused", { dead_letter = "dead" }):producer { setmetatable({}, Type) }
      :processor("work", { to = {} }, function() error "no" end)
      :consumer("dead", { await = true, to = {}, processes = 1 }, pass):run { failures = "collect" }
    assert.equal(1, #r.failures)
    assert.is_nil(r.failures[1].dead_letter)
    assert.matches("a dead letter could not be written: .*function", r.stats.warnings[1])
    assert.same({}, r:of "dead")
  end)

  it("do not stop a run with failures = 'stop'; hooks see them marked", function()
    local spool <close> = assert(minigun.spool(path))
    local seen = 0
    local r = minigun.pipeline "stop":producer("numbers", numbers()):processor("work", work)
      :on_failure(function(failure) seen = seen + (failure.dead_letter and 1 or 0) end)
      :run { failures = "stop", dead_letter = spool }
    assert.same(passed(), r.items)
    assert.equal(N // 4, seen)
  end)

  it("go where the stage says, whatever the run says; false is nowhere", function()
    local spool <close> = assert(minigun.spool(path))
    local r = minigun.pipeline("override", { dead_letter = spool }):producer("numbers", numbers())
      :processor("work", { dead_letter = false }, work):run { failures = "collect" }
    assert.equal(N // 4, #r.failures)
    assert.is_nil(r.failures[1].dead_letter)
    assert.same({}, letters_of(spool))
  end)

  it("to a stage that there is not, or that cannot be, are refused before the run", function()
    local function new(given, run_options)
      local p = minigun.pipeline("refused", run_options):producer("source", { 1 })
      p:processor("work", given, pass)
      p:consumer("dead", { await = true }, pass):consumer("deaf", { await = false, from = "dead" }, pass)
      return p
    end
    local began = false
    local function run(p) return p:before_run(function() began = true end):run() end
    local spool = assert(minigun.spool(path))
    local only <close> = assert(minigun.spool(path, { read_only = true }))
    spool:close()
    for text, p in pairs {
      ["'daed', a stage that there is not (did you mean 'dead'?)"] = new { dead_letter = "daed" },
      ["pipeline 'refused': option 'dead_letter' names 'nobody'"] = new({}, { dead_letter = "nobody" }),
      ["'source', which receives no items"] = new { dead_letter = "source" },
      ["'deaf', which receives no items"] = new { dead_letter = "deaf" },
      ["would come back for ever"] = new { dead_letter = "work" },
    } do
      local ok, message = pcall(run, p)
      assert.is_false(ok)
      assert.matches(text, message, 1, true)
      assert.matches("^spec/dead_letter_spec.lua:%d+: ", message)
    end
    local circle = minigun.pipeline "circle":producer { 1 }:processor("a", { dead_letter = "b", to = {} }, pass)
      :processor("b", { await = true, dead_letter = "c", to = {} }, pass)
      :processor("c", { await = true, dead_letter = "b", to = {} }, pass)
    assert.matches("would come back for ever", select(2, pcall(run, circle)), 1, true)
    assert.is_false(began)
    refusals.check {
      { function() circle:map("x", { dead_letter = 7 }, pass) end,
        "stage 'x': option 'dead_letter' must be a stage's name, a spool" },
      { function() circle:map("x", { dead_letter = spool }, pass) end, "a spool that is open for writing" },
      { function() circle:run { dead_letter = only } end, "a spool that is open for writing" },
    }
  end)
end)

describe("R46 the schedule of backoff", function()
  local function checked(value)
    return options.check(options.schemas.processor, { backoff = value }, "stage 'x'").backoff
  end

  it("is a number of seconds, always the same", function()
    for attempt = 1, 5 do assert.equal(0.25, backoffs.delay(checked(0.25), attempt, 0.7)) end
  end)

  it("or grows by a factor up to a limit, with a part left to chance", function()
    local backoff = checked { first = 0.1, factor = 3, max = 1, jitter = 0.5 }
    for attempt, seconds in ipairs { 0.1, 0.3, 0.9, 1, 1 } do
      assert.near(seconds, backoffs.delay(backoff, attempt, 0), 1e-9)
      assert.near(seconds / 2, backoffs.delay(backoff, attempt, 1), 1e-9)
    end
    assert.near(1, backoffs.delay(backoff, 100000, 0), 1e-9)
    assert.same({ first = 0.1, factor = 2, max = 10, jitter = 0.5 }, checked {})
  end)

  it("is checked", function()
    local p = minigun.pipeline "checked"
    local function pad(value) return { backoff = value } end
    refusals.check {
      { function() p:map(pad(-1), pass) end, "option 'backoff' must be a number of seconds" },
      { function() p:map(pad { first = -1 }, pass) end, "option 'backoff': option 'first'" },
      { function() p:map(pad { factor = 0.5 }, pass) end, "'factor' must be a number of at least 1" },
      { function() p:map(pad { jitter = 2 }, pass) end, "'jitter' must be a number from 0 to 1" },
      { function() p:map(pad { jitters = 1 }, pass) end, "unknown option 'jitters' (did you mean 'jitter'?)" },
    }
  end)

  it("leaves the program's random numbers alone", function()
    local function draw(p)
      math.randomseed(7)
      if p then p:run() end
      return math.random(1 << 30)
    end
    local p = minigun.pipeline "random":producer { 1 }
      :processor("work", { retries = 2, backoff = { first = 0.001 } }, function(_, _, ctx)
        if ctx.attempt < 3 then error "again" end
      end)
    assert.equal(draw(), draw(p))
  end)
end)
