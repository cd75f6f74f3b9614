-- What a failure tells of what was raised: the object, its text, the line, the traceback; and that nothing but the
-- library's own errors ends a run.
local contexts = require "spec.contexts"
local minigun = require "minigun"
local support = require "spec.support"

local function new(name) return minigun.pipeline(name or "raised") end

-- Objects that a handler may raise: `value()` makes one; `text`, of the failure, or a part of it; `sent`: whether
-- it can be sent, then `failure.error` is equal to it.
local thrown = coroutine.create(function() end)
local SHAPES <const> = {
  { name = "a string", value = function() return "here" end, text = "here", sent = true },
  { name = "a table", value = function() return { status = 503, url = "http://y/" } end, sent = true,
    text = '{status = 503, url = "http://y/"}' },
  { name = "a nested table", value = function() return { why = { "a", { b = 1 } } } end, text = "{why = {...}}",
    sent = true },
  { name = "an empty table", value = function() return {} end, text = "{}", sent = true },
  { name = "a number", value = function() return 42 end, text = "42", sent = true },
  { name = "false", value = function() return false end, text = "(error object is a boolean value)", sent = true },
  { name = "nil", value = function() return nil end, text = support.raised_nil or "(error object is a nil value)" },
  { name = "a function", value = function() return print end, text = "(error object is a function value)" },
  { name = "a coroutine", value = function() return thrown end, text = "(error object is a thread value)" },
  { name = "a file", value = function() return io.stderr end, text = "file (0x" },
  { name = "an object whose __index raises", text = "{}",
    value = function() return setmetatable({}, { __index = function() error "strict" end }) end },
  { name = "an object that has every field", text = "{}",
    value = function() return setmetatable({}, { __index = function() return "timeout" end }) end },
  { name = "an object whose metatable is a number", text = "{code = 1}",
    value = function() return setmetatable({ code = 1 }, { __metatable = 7 }) end },
  { name = "an object whose __eq, __len, __call, __name and __pairs raise", text = "{1}", value = function()
    local function bad() error "no" end
    return setmetatable({ 1 }, { __eq = bad, __len = bad, __call = bad, __pairs = bad, __name = {}, __concat = bad })
  end },
  { name = "an object with __tostring", text = "I am 7",
    value = function() return setmetatable({}, { __tostring = function() return "I am 7" end }) end },
  { name = "an object whose __tostring raises", text = "{code = 2}", value = function()
    return setmetatable({ code = 2 }, { __tostring = function() error "again" end })
  end },
  { name = "an object whose __tostring returns no string", text = "{code = 3}", value = function()
    return setmetatable({ code = 3 }, { __tostring = function() return {} end })
  end },
  { name = "an object whose __tostring yields", text = "{code = 4}", value = function()
    return setmetatable({ code = 4 }, { __tostring = function() coroutine.yield() end })
  end },
  { name = "the interpreter's text for Ctrl-C", value = function() return "interrupted!" end, text = "interrupted!",
    sent = true },
  { name = "the same with a place", value = function() return "x.lua:1: interrupted!" end, sent = true,
    text = "x.lua:1: interrupted!" },
  { name = "fields of the library's own", value = function()
    return { run_failed = "x", kind = "timeout", message = "m", traceback = "t", no_memory = true, text = "x" }
  end, text = "kind = \"timeout\"", sent = true },
}

local function expect(result, shape, count)
  local said = {}
  for i, failure in ipairs(result.failures) do said[i] = tostring(failure) end
  assert.equal(count, #result.failures, table.concat(said, "\n"))
  for _, failure in ipairs(result.failures) do
    assert.equal("error", failure.kind)
    assert.matches(shape.text, failure.message, 1, true)
    if shape.sent then assert.same(shape.value(), failure.error) end
  end
end

describe("R78 R45 R33 whatever is raised is a failure of its item, and carries it", function()
  for number, shape in ipairs(SHAPES) do
    for i, context in ipairs(contexts.kinds) do
      if support.long or i == 1 or (i + number) % 2 == 0 then
        it(("%s, in a handler [%s]"):format(shape.name, context.name), function()
          local p = contexts.source(new(), 4):processor("w", context.options, function(n, emit)
            if n == 2 then error(shape.value()) end
            emit(n)
          end)
          local result = p:run { failures = "collect" }
          assert.same({ 1, 3, 4 }, contexts.sorted(result.items))
          expect(result, { text = shape.text, sent = shape.sent, value = function()
            local value = shape.value() -- `error` puts a place before a string
            return type(value) == "string" and result.failures[1].message or value
          end }, 1)
        end)
      end
    end

    it(shape.name .. ", in a producer, and in a further attempt", function()
      local result = new():producer("source", function(emit)
        emit(1)
        error(shape.value(), 0)
      end):processor("w", { retries = 1 }, function() error(shape.value(), 0) end):run { failures = "collect" }
      expect(result, shape, 2)
    end)
  end

  it("in a hook it fails the run with its text, and after_run runs", function()
    for _, shape in ipairs(SHAPES) do
      for _, name in ipairs { "before_run", "after_producer" } do
        local after = false
        local p = new():producer { 1 }:each(function() end)
        p[name](p, function() error(shape.value(), 0) end)
        p:after_run(function() after = true end)
        local ok, message = pcall(p.run, p)
        assert.is_false(ok)
        assert.matches(shape.text, message, 1, true)
        assert.matches("in hook " .. name, message, 1, true)
        assert.is_true(after)
      end
    end
  end)

  it("with its text and traceback where a time limit is set, which does not fall due", function()
    for _, options in ipairs { { inline = true }, { processes = 1 }, { process_per_batch = 1 }, { threads = 1 } } do
      options.timeout = 20
      local r = minigun.pipeline "p":producer { 1, 2 }:map("w", options, function(n)
        if n == 2 then error "boom" end
        return n
      end):run { failures = "collect" }
      assert.same({ 1 }, r.items)
      assert.matches("^spec/raised_spec.lua:%d+: boom", r.failures[1].message)
      assert.matches("stack traceback:\n.*raised_spec", r.failures[1].traceback)
    end
  end)

  it("with no more of the stack than its first frames, and a sign that there are more", function()
    local function deep(n)
      if n == 0 then error "at the bottom" end
      return (deep(n - 1))
    end
    for _, case in ipairs { { 5, 8 }, { 100, 23 } } do
      local r = minigun.pipeline "p":producer { case[1] }:map("w", function(n) return deep(n) end)
        :run { failures = "collect" }
      local lines = {}
      for line in r.failures[1].traceback:gmatch "[^\n]+" do lines[#lines + 1] = line end
      assert.equal("stack traceback:", lines[1])
      for i = 2, math.min(case[2], 22) - 1 do assert.matches("^\t.*: in ", lines[i]) end
      assert.equal(case[1] == 100, lines[#lines] == "\t...")
      if case[1] == 100 then assert.matches("^\t.*raised_spec.lua:%d+: in ", lines[#lines - 1]) end
    end
  end)

  it("with debug.traceback, error's helpers and the like replaced by the program", function()
    local kept = { debug.traceback, debug.getinfo, debug.getmetatable, tostring, rawequal, getmetatable }
    local function bad() error "replaced" end
    local p = new():producer { 1, 2 }:each("w", function(n)
      if n == 1 then error { n = n } end
    end)
    debug.traceback, debug.getmetatable, _G.rawequal = bad, bad, bad -- luacheck: ignore
    local ok, result = pcall(p.run, p, { failures = "collect" })
    debug.traceback, debug.getmetatable, _G.rawequal = kept[1], kept[3], kept[5] -- luacheck: ignore
    assert.is_true(ok, result)
    assert.equal(1, #result.failures)
    assert.same({ n = 1 }, result.failures[1].error)
    assert.matches("stack traceback:\n.*raised_spec", result.failures[1].traceback)
  end)

  it("and a dead letter has it too", function()
    local path = os.tmpname()
    os.remove(path)
    for _, context in ipairs(contexts.kinds) do
      local got = {}
      new():producer { 5 }:each("w", contexts.options(context, { dead_letter = "letters" }), function()
        error { code = 9, list = { 1, 2 } }
      end):consumer("letters", { await = true }, function(letter) got[#got + 1] = letter end):run()
      assert.equal(1, #got)
      assert.same({ code = 9, list = { 1, 2 } }, got[1].failure.error)
    end
  end)
end)

describe("R72 a to-be-closed variable of a handler", function()
  it("is given what was raised, not something of the library's", function()
    for _, context in ipairs(contexts.kinds) do
      local result = new():producer { 1, 2 }:processor("w", context.options, function(n, _, ctx)
        local _ <close> = setmetatable({}, { __close = function(_, err) -- luacheck: ignore
          ctx:collect("seen", { n, type(err) == "table" and err.code or err })
        end })
        error(n == 1 and { code = 17 } or "text", 0)
      end):run { failures = "collect" }
      assert.equal(2, #result.failures)
      for _, failure in ipairs(result.failures) do -- what a failed attempt collects is forgotten
        assert.matches("raised_spec%.lua", failure.traceback)
      end
    end
    local seen = {}
    new():producer { 1, 2 }:each(function(n)
      local _ <close> = setmetatable({}, { __close = function(_, err) seen[n] = err end })
      error(n == 1 and { code = 17 } or "text", 0)
    end):run { failures = "collect" }
    assert.same({ { code = 17 }, "text" }, seen)
  end)
end)

-- --- lines ---------------------------------------------------------------------------------------------------------

local function line() return debug.getinfo(2, "l").currentline end

describe("R49 what cannot be sent is blamed on the user's line, or on the definition's:", function()
  local remote = { processes = 1 }
  local FORMS <const> = {
    map = function(p) return p:map(remote, function() return print end), line() end,
    flat_map = function(p) return p:flat_map(remote, function() return { print } end), line() end,
    filter = function(p)
      return p:map({ inline = true }, function() return print end):filter(remote, function() return true end), line()
    end,
    array = function(_) return new():producer { print }:each(remote, function() end), line() end,
    iterator = function(_)
      local n = 0
      return new():producer(function()
        n = n + 1
        return n == 1 and print or nil
      end):each(remote, function() end), line() - 3
    end,
    processor = function(p)
      return p:processor(remote, function(_, emit)
        emit(print)
      end), line() - 1
    end,
    collect = function(p)
      return p:consumer(remote, function(_, _, ctx)
        ctx:collect("x", print)
      end), line() - 1
    end,
    ["emit in a function of the handler's"] = function(p)
      local function help(emit)
        emit { print }
      end
      local at = line() - 2
      return p:processor(remote, function(_, emit) help(emit) end), at
    end,
    ["a producer of the coordinator"] = function(_)
      local at = line() + 1
      return new():producer(function(emit) emit(print) end):each(remote, function() end), at
    end,
    ["a producer in a child"] = function(_)
      local at = line() + 1
      return new():producer(remote, function(emit) emit(print) end):each(remote, function() end), at
    end,
    ["a stage of a group"] = function(p)
      local at
      return p:processes(1, function()
        at = line() + 1
        p:map("inside", function() return { deep = print } end)
        p:map("after", function(item) return item end)
      end), at + 1
    end,
    ["a thread of a worker"] = function(p)
      local at = line() + 1
      return p:map({ processes = 1, threads = 2 }, function() return print end), at
    end,
    ["an inline stage before a pool"] = function(p)
      local at = line() + 1
      return p:processor(function(_, emit) emit(print) end):each(remote, function() end), at
    end,
  }
  local names = {}
  for name in pairs(FORMS) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    it(name, function()
      local p, at = FORMS[name](new():producer { 1 })
      local result = p:run { failures = "collect" }
      assert.equal(1, #result.failures)
      local failure = result.failures[1]
      assert.equal("unserialisable", failure.kind)
      local begin = ("spec/raised_spec.lua:%d: %s"):format(at, name == "collect" and "ctx:collect: " or "")
      assert.equal(begin, failure.message:sub(1, #begin), failure.message)
      assert.is_nil(failure.message:find("minigun/", 1, true))
    end)
  end
end)

describe("R45 what a flat_map's function returns and cannot be emitted", function()
  it("is blamed on the definition's line, in every context", function()
    for _, context in ipairs(contexts.kinds) do
      local p = new { failures = "collect" }:producer { 1 }
      local r = p:flat_map("w", context.options, function() return { 1, nil, 3 } end):run()
      local at = line() - 1
      assert.same({ 0, 1 }, { #r.items, #r.failures })
      assert.matches(("^spec/raised_spec.lua:%d: stage 'w': the array has a hole at %%[2%%] of 3"):format(at),
        r.failures[1].message)
    end
  end)
end)

describe("R72 a traceback", function()
  it("has no frame of the library, however long the path is to which it is installed", function()
    local root = os.tmpname()
    os.remove(root)
    local deep = root .. "/" .. ("a_long_directory_name/"):rep(6)
    assert(os.execute(("mkdir -p %s && ln -s \"$PWD/lua\" \"$PWD/build\" %s"):format(deep, deep)))
    local script = support.write_file(deep .. "user.lua", [[
      local minigun = require "minigun"
      for _, where in ipairs { { inline = true }, { processes = 1 }, { fork = 1 }, { threads = 1 } } do
        local p = minigun.pipeline "deep":producer { 1 }:map(where, function() error "here" end)
        local f = p:run { failures = "collect" }.failures[1]
        print((f.traceback:gsub("%s+", " ")))
      end
      local q = minigun.pipeline "deep":producer { 1 }:map({ processes = 1 }, function() return print end)
      print(q:run { failures = "collect" }.failures[1].message)
    ]])
    local done = support.run("lua5.4 " .. support.quote(script), { env = {
      LUA_PATH = deep .. "lua/?.lua;" .. deep .. "lua/?/init.lua;;", LUA_CPATH = deep .. "build/?.so;;" } })
    support.remove_tree(root)
    assert.equal(0, done.code, done.stderr)
    local lines = 0
    for text in done.stdout:gmatch "[^\n]+" do
      lines = lines + 1
      local place = "%.%.%.[^ :]*user%.lua:%d+"
      local raised = "^stack traceback: %[C%]: in function 'error' "
      if lines <= 4 then
        assert.matches(raised .. place .. ": in function <" .. place .. ">$", text)
      else
        assert.matches("^" .. place .. ": item is a function$", text)
      end
    end
    assert.equal(5, lines)
  end)
end)

describe("R72 the traceback of what the library finds wrong in a handler's result", function()
  for _, context in ipairs(contexts.kinds) do
    it(("[%s] shows none of the calls by which it got there"):format(context.name), function()
      for _, handler in ipairs { function() end, function() return print end } do
        local p = minigun.pipeline "p":producer { 1 }:map(context.options, handler):map({ processes = 1 }, tostring)
        local failure = p:run { failures = "collect" }.failures[1]
        local shown = failure.traceback or ""
        assert.is_nil(shown:find("[C]: in ?", 1, true), shown)
        assert.is_nil(shown:find("in function 'xpcall'\n\tspec/", 1, true), shown)
      end
    end)
  end
end)

describe("an error that only the interpreter sees", function()
  local scripts <const> = {
    ["of a definition"] = { [[
      local minigun = require "minigun"
      local function define() local p = minigun.pipeline "x" p:map("a", 5) end
      define()
    ]], "stage 'a': the handler must be a function%(item%) %-> item, got 5\n" },
    ["of a list"] = { "local minigun = require 'minigun'\nminigun.map({ a = 1 }, print)",
      "a list expected, got a table without array elements\n" },
    ["of a run"] = { [[
      local p = require "minigun".pipeline "x":producer { 1 }:each({ processes = 1 }, function() error { code = 8 } end)
      p:run()
    ]], "^lua5%.4: {code = 8}\nin stage 'each 1'" },
  }
  for name, script in pairs(scripts) do
    it(name .. " shows no frame of the library; caught it is a string", function()
      local path = support.write_file(os.tmpname(), script[1])
      local done = support.run("lua5.4 " .. path, { env = support.lua_env() })
      assert.equal(1, done.code)
      assert.matches(script[2], done.stderr)
      assert.matches("stack traceback:\n.*: in main chunk", done.stderr)
      assert.is_nil(done.stderr:find("minigun/", 1, true), done.stderr)
      support.write_file(path, "local ok, e = pcall(function() " .. script[1] .. " end) print(type(e), e)")
      done = support.run("lua5.4 " .. path, { env = support.lua_env() })
      assert.matches("^string\t", done.stdout, done.stderr)
      os.remove(path)
    end)
  end

  it("at the prompt", function()
    local path = support.write_file(os.tmpname(), 'm = require "minigun"\nm.pipeline "x":producer(7)\n')
    local done = support.run("lua5.4 -i < " .. path, { env = support.lua_env() })
    os.remove(path)
    assert.matches("stage 'producer 1': the handler must be", done.stderr)
    assert.is_nil(done.stderr:find("minigun/", 1, true), done.stderr)
  end)
end)

describe("R39 an error of after_run", function()
  it("is told beside the failed items, and beside what has failed the run; several are told, too", function()
    for _, context in ipairs(contexts.kinds) do
      local p = new():producer { 1 }:each("w", context.options, function() error "the item" end)
      p:after_run(function() error "the first" end):after_run(function() error { second = true } end)
      local ok, message = pcall(p.run, p)
      assert.is_false(ok)
      local a = message:find("the item", 1, true)
      local b = message:find("the first\nin hook after_run", 1, true)
      local c = message:find("{second = true}\nin hook after_run", 1, true)
      assert.is_true(a and b and c and a < b and b < c, message)
      assert.is_false(p.last.ok)
    end
    local p = new():producer { 1 }:each(function() end):before_run(function() error "begin" end)
      :after_run(function() error "end" end)
    local ok, message = pcall(p.run, p)
    assert.is_false(ok)
    assert.matches("begin\nin hook before_run.*end\nin hook after_run", message)
    assert.equal(message, p.last.error)
  end)
end)

describe("a handler that yields", function()
  it("of an inline stage yields to the code that resumes the run; the run goes on with the next resume", function()
    local seen = {}
    local co = coroutine.wrap(function()
      return new():producer { 1, 2, 3, 4 }:map({ processes = 1 }, function(n) return n * 10 end)
        :each(function(n)
          coroutine.yield(n)
          seen[#seen + 1] = n
        end):run()
    end)
    local said = {}
    for i = 1, 4 do said[i] = co() end
    assert.same({ 10, 20, 30, 40 }, said)
    local result = co()
    assert.is_true(result.ok)
    assert.same({ 10, 20, 30, 40 }, seen)
  end)

  for n = 0, 6 do
    it(("or a producer that does, with %d values, goes on with its next turn"):format(n), function()
      local values = { "minigun", {}, "x", 4, print, "y" }
      for _, where in ipairs { "producer", "stage" } do
        local result = new():producer(function(emit)
            for i = 1, 3 do
              if where == "producer" then coroutine.yield(table.unpack(values, 1, n)) end
              emit(i)
            end
          end)
          :processor(function(i, emit)
            if where == "stage" then coroutine.yield(table.unpack(values, 1, n)) end
            emit(i)
          end):run()
        assert.same({ 1, 2, 3 }, result.items)
      end
    end)
  end
end)
