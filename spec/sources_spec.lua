-- Sources that are described by a few values: minigun.lines, records, csv, range and files.

local lfs = require "lfs"
local minigun = require "minigun"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local support = require "spec.support"
local values = require "spec.values"

local SEED <const> = math.tointeger(os.getenv "SEED") or os.time()

-- Calls f with the paths of files with these contents.
local function with_files(texts, f)
  local paths = {}
  for i, text in ipairs(texts) do paths[i] = support.write_file(os.tmpname(), text) end
  local ok, err = pcall(f, table.unpack(paths))
  for _, path in ipairs(paths) do os.remove(path) end
  assert(ok, err)
end

local function with_directory(names, f)
  local directory = os.tmpname()
  os.remove(directory)
  assert(lfs.mkdir(directory))
  for _, name in ipairs(names) do support.write_file(directory .. "/" .. name, name .. "\n") end
  local ok, err = pcall(f, directory)
  support.remove_tree(directory)
  assert(ok, err)
end

local function all(source)
  local list = {}
  for item in source do list[#list + 1] = item end
  return list
end

-- The error that a call raises, which must be of the line of this function's caller.
local function refusal(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return tostring(err)
end

local function blamed(f, text)
  local line = debug.getinfo(2, "l").currentline
  local err = refusal(f)
  assert.is_truthy(err:find(("spec/sources_spec.lua:%d: "):format(line), 1, true), err)
  assert.is_truthy(err:find(text, 1, true), err)
end

-- Through a producer of the coordinator to a stage in this context, in the order in which they arrive.
local function through(source, context, more)
  return minigun.pipeline "through":producer("source", source)
    :map("stage", contexts.options(context, more), function(item) return item end):run().items
end

describe("minigun.range", function()
  it("gives the numbers of a numeric for", function()
    local draw = math.random
    math.randomseed(SEED)
    for _ = 1, 200 do
      local first, last, step = draw(-50, 50), draw(-50, 50), draw(1, 9) * (draw(2) == 1 and 1 or -1)
      local expected = {}
      for i = first, last, step do expected[#expected + 1] = i end
      assert.same(expected, all(minigun.range(first, last, step)), ("SEED=%d: %d, %d"):format(SEED, first, last))
    end
    local most = math.maxinteger
    assert.same({ most - 1, most }, all(minigun.range(most - 1, most)))
    assert.same({ math.mininteger + 1, math.mininteger }, all(minigun.range(math.mininteger + 1, math.mininteger, -1)))
    assert.same({ 1, 2 }, all(minigun.range(1, 2.0)))
  end)

  it("begins at once and takes no memory, whatever its length", function()
    local before = collectgarbage "count"
    local source, got = minigun.range(1, 10 ^ 12), {}
    local p = minigun.pipeline "long":producer(source)
      :map({ processes = 2, ordered = true }, function(i) return i end)
    for item in p:iterate() do
      got[#got + 1] = item
      if item == 1000 then break end
    end
    assert.same(contexts.range(1, 1000), got)
    assert.is_true(collectgarbage "count" < before + 20000)
  end)

  it("says how far a run is", function()
    local p = minigun.pipeline "length":producer("numbers", minigun.range(1, 1000)):each(function() end)
    local sources = require "minigun.sources.sources"
    assert.equal(1000, sources.length_of(p.stages[1].handler))
  end)

  it("refuses what is no range, at the caller's line", function()
    blamed(function() minigun.range(1.5, 2) end, "first must be an integer, got 1.5")
    blamed(function() minigun.range(1) end, "last must be an integer, got nil")
    blamed(function() minigun.range(1, 2, 0) end, "step must not be 0")
    blamed(function() minigun.range(1, 2, "x") end, "step must be an integer")
    blamed(function() minigun.range(math.mininteger, math.maxinteger) end, "make it two ranges")
  end)
end)

describe("minigun.files", function()
  it("gives the paths that match when it is read, sorted, without directories", function()
    with_directory({ "b.txt", "a.txt", "c.csv", "[x].txt" }, function(directory)
      assert(os.execute(("mkdir %s/d.txt"):format(directory)))
      local function named(...)
        local list = {}
        for i, name in ipairs { ... } do list[i] = directory .. "/" .. name end
        return list
      end
      local source = minigun.files(directory .. "/*.txt")
      assert.same(named("[x].txt", "a.txt", "b.txt"), all(source))
      support.write_file(directory .. "/ab.txt", "")
      assert.same(named("[x].txt", "a.txt", "ab.txt", "b.txt"), all(source))
      assert.same(named("[x].txt", "a.txt", "ab.txt", "b.txt"), minigun.pipeline "run":producer(source):run().items)
      assert.same(named("c.csv", "a.txt"), all(minigun.files { directory .. "/c.csv", directory .. "/[a]*t.txt",
        directory .. "/a.*", directory .. "/missing" }))
      assert.same(named "[x].txt", all(minigun.files(directory .. "/[x].txt")))
      assert.same({}, all(minigun.files(directory .. "/*.none")))
      assert.same({ 1, 1, 1, 1 }, minigun.map(source, function() return 1 end))
    end)
  end)

  it("refuses what is no pattern, at the caller's line", function()
    blamed(function() minigun.files() end, "a pattern of paths, or an array of patterns, expected, got nil")
    blamed(function() minigun.files {} end, "expected, got {}")
    blamed(function() minigun.files { "a", 1 } end, "expected, got 1")
    blamed(function() minigun.files "**/*.lua" end, "** is not known")
  end)
end)

describe("minigun.lines", function()
  it("reads what a pattern matches, in each run anew", function()
    with_directory({ "b.log", "a.log", "c" }, function(directory)
      local source = minigun.lines(directory .. "/*.log")
      assert.same({ "a.log", "b.log" }, all(source))
      assert.same({ directory .. "/a.log", directory .. "/b.log" }, source.paths)
      support.write_file(directory .. "/ab.log", "new\n")
      assert.same({ "a.log", "new", "b.log" }, minigun.pipeline "run":producer(source):run().items)
      support.write_file(directory .. "/[x", "bracket")
      assert.same({ "bracket", "c" }, all(minigun.lines { directory .. "/[x", directory .. "/c" }))
      blamed(function() minigun.lines(directory .. "/*.none") end, "no file matches that pattern")
      os.execute(("rm %s/*.log"):format(directory))
      local result = minigun.pipeline "run":producer(source):run { failures = "collect" }
      assert.is_truthy(result.failures[1].message:find("there is no such file any more", 1, true))
    end)
  end)

  it("says which program is missing, where a packed file needs one", function()
    with_directory({ "a.xz" }, function(directory)
      local result = support.run_lua([[
        local minigun = require "minigun"
        local result = minigun.pipeline "x":producer(minigun.lines(arg[1])):run { failures = "collect" }
        io.write(result.failures[1].message)
      ]], { args = { directory .. "/a.xz" }, env = { PATH = directory } })
      assert.matches("a.xz': xz is not installed", result.stdout, 1, true)
    end)
  end)

  for ending, program in pairs { gz = "gzip", xz = "xz", bz2 = "bzip2", zst = "zstd -q" } do
    it("unpacks files that end in ." .. ending, function()
      if not support.has(program:match "%S+") then return pending "it is not installed" end
      with_directory({ "it's" }, function(directory)
        local path, lines = directory .. "/it's." .. ending, {}
        for i = 1, 10000 do lines[i] = "line " .. i end
        support.write_file(directory .. "/it's", table.concat(lines, "\n"))
        assert(os.execute(('%s < "%s/it\'s" > "%s"'):format(program .. " -c", directory, path)))
        assert.same(lines, all(minigun.lines(path)))
        assert.same(lines, minigun.pipeline "x":producer({ processes = 1 }, minigun.lines(path)):run().items)
        local source <close> = minigun.lines(path)
        assert.equal("line 1", source()) -- and no program is left of it
        support.write_file(path, support.read_file(path):sub(1, -20))
        local result = support.run_lua([[
          local minigun = require "minigun"
          local result = minigun.pipeline "x":producer(minigun.lines(arg[1])):each(print):run { failures = "collect" }
          io.write(result.failures[1].message)
        ]], { args = { path } })
        assert.is_truthy(result.stdout:find(program:match "%S+" .. " has failed with status", 1, true), result.stdout)
      end)
    end)
  end

  it("is stopped in the middle of a packed file, though a worker that was forked meanwhile has its pipe", function()
    with_directory({ "x" }, function(directory)
      local path = directory .. "/x.gz"
      assert(os.execute(("seq 200000 | gzip -1 > '%s'"):format(path)))
      local result = support.run_lua([[
        local minigun = require "minigun"
        local run
        local p = minigun.pipeline "x":producer(minigun.lines(arg[1]))
        p:processor("work", { processes = 1 }, function(line, emit)
          if line == "100" then os.exit(3) end -- another worker takes its place
          emit(line)
        end)
        p:each(function(line) if line == "20000" then run:stop() end end)
        run = p:start { failures = "collect" }
        io.write(#run:wait().failures)
      ]], { args = { path }, timeout = 30 })
      assert.equal("1", result.stdout, result.stderr)
    end)
  end)

  it("may be forgotten in the middle of a packed file, though a worker has inherited its pipe", function()
    with_directory({ "x" }, function(directory)
      local path = directory .. "/x.gz"
      assert(os.execute(("seq 200000 | gzip -1 > '%s'"):format(path)))
      local result = support.run_lua([[
        local minigun = require "minigun"
        local source, kept = minigun.lines(arg[1]), minigun.lines(arg[1])
        io.write(source(), kept())
        local p = minigun.pipeline "x":producer(function(emit)
          emit(1)
          minigun.sleep(0.05) -- the worker is there
          source = nil
          collectgarbage()
          emit(2)
        end):map({ processes = 1 }, function(n)
          kept = nil -- the coordinator's, which goes on
          collectgarbage()
          return n
        end)
        io.write(#p:run().items, kept())
      ]], { args = { path }, timeout = 30 })
      assert.equal("1122", result.stdout, result.stderr) -- and the program that is left at the end does not keep it
    end)
  end)

  it("shows where each line comes from, where that is asked for", function()
    with_files({ "a\nb", "", "c\n" }, function(first, second, third)
      local expected = { { path = first, number = 1, text = "a" }, { path = first, number = 2, text = "b" },
        { path = third, number = 1, text = "c" } }
      local source = minigun.lines({ first, second, third }, { numbered = true })
      assert.same(expected, all(source))
      for _, context in ipairs(contexts.kinds) do
        assert.same(expected, through(source, context, { ordered = not context.inline or nil }))
      end
      local result = minigun.pipeline "fails":producer(source):each({ processes = 1 }, function(line)
        if line.text == "b" then error "bad line" end
      end):run { failures = "collect" }
      assert.same({ expected[2] }, { result.failures[1].item })
    end)
  end)

  it("gives what is there when it is read: of files that grow, shrink and vanish", function()
    with_files({ "1\n2\n3\n4\n" }, function(path)
      local seen = {}
      for line in minigun.lines(path) do
        seen[#seen + 1] = line
        if line == "1" then -- it has been read to its end, which is looked for once more
          local file <close> = assert(io.open(path, "a"))
          file:write "5\n6"
        end
      end
      assert.same({ "1", "2", "3", "4", "5", "6" }, seen)
      seen = {}
      local long = ("x"):rep(1 << 20) .. "\n"
      support.write_file(path, long .. long)
      for line in minigun.lines(path) do
        seen[#seen + 1] = #line
        support.write_file(path, "")
      end
      assert.same(1 << 20, seen[1])
      assert.is_true(#seen <= 2)
    end)
  end)
end)

-- --- records -------------------------------------------------------------------------------------------------------

local function random_records(count, most, bytes)
  local list = {}
  for i = 1, count do
    local n = math.random(0, most) * (math.random(20) == 1 and 40 or 1)
    list[i] = ("x"):rep(n):gsub("x", function()
      local at = math.random(#bytes)
      return bytes:sub(at, at)
    end)
  end
  return list
end

describe("minigun.records", function()
  it("cuts at separators, by length, and in pieces of one size, wherever the reads end", function()
    math.randomseed(SEED)
    local list = random_records(300, 200, "ab\n\0;")
    local cases = { { text = "", options = { separator = "::" } } }
    for _, separator in ipairs { "|", "::", ";;;" } do
      cases[#cases + 1] = { options = { separator = separator }, own = random_records(300, 200, "ab\n:"),
        text = function(own) return table.concat(own, separator) .. (math.random(2) == 1 and separator or "") end }
    end
    for _, format in ipairs { ">I4", "<I2", "I8", ">I2" } do
      cases[#cases + 1] = { options = { length = format }, own = list, text = function(own)
        local parts = {}
        for i, record in ipairs(own) do parts[i] = string.pack("s" .. 4, record):sub(5) end
        for i, record in ipairs(own) do parts[i] = string.pack(format, #record) .. record end
        return table.concat(parts)
      end }
    end
    cases[#cases + 1] = { options = { fixed = 7 }, own = { "1234567", "\0\n34567" }, text = table.concat }
    for _, case in ipairs(cases) do
      local own = case.own or {}
      for i, record in ipairs(own) do -- a separator is in none of them, nor begun at their ends
        if case.options.separator then own[i] = record:gsub("[:;]", "") end
      end
      if case.options.separator and own[#own] == "" then own[#own] = "end" end
      with_files({ type(case.text) == "string" and case.text or case.text(own) }, function(path)
        assert.same(own, all(minigun.records(path, case.options)), "SEED=" .. SEED)
        local pipe <close> = assert(io.popen("env -u LD_PRELOAD dd bs=999 status=none <" .. path))
        assert.same(own, all(minigun.records(pipe, case.options)), "SEED=" .. SEED)
      end)
    end
  end)

  it("fails where the last record is cut short, after all others", function()
    for text, options in pairs { ["abcd12"] = { fixed = 4 }, ["\0\1a\0\5abc"] = { length = ">I2" },
      ["\0\1a\0"] = { length = ">I2" } } do
      with_files({ text }, function(path)
        for _, context in ipairs(contexts.kinds) do
          local result = minigun.pipeline "short":producer("source", minigun.records(path, options))
            :map(contexts.options(context), function(item) return item end):run { failures = "collect" }
          assert.equal(1, #result.items)
          assert.is_truthy(result.failures[1].message:find(path .. "': record 2 is cut short by the end", 1, true))
        end
      end)
    end
  end)

  it("keeps nothing of a table of values when it is closed", function()
    if support.under then return pending "a sanitizer keeps what was freed" end
    local function resident() return support.read_file "/proc/self/statm":match "^%d+ (%d+)" * 4 end
    with_files({ ("x,"):rep(20000) .. "\n" .. ("x,"):rep(20000) .. "\n" }, function(path)
      local function read(n)
        for _ = 1, n do
          local reader = assert(core.reader(path, { comma = "," }))
          assert(reader:next())
          reader:close()
        end
        collectgarbage()
      end
      read(10)
      local before = resident()
      read(40)
      assert.is_true(resident() - before < 8000, resident() - before) -- KiB; 20 MB of fields were there
    end)
  end)

  it("takes a record that is as long as it may be, wherever the reads end in its separator", function()
    for _, text in ipairs { "abcd\0::;abcd\0::;", "abcd\0::;" } do
      local path = support.write_file(os.tmpname(), text)
      local pipe <close> = assert(io.popen("env -u LD_PRELOAD dd bs=1 status=none <" .. path))
      local reader = assert(core.reader(pipe, { separator = "\0::;", longest = 4 }))
      local list = {}
      repeat
        local item, message = reader:next()
        assert.is_nil(message)
        if item then list[#list + 1] = item elseif item == false then minigun.wait(reader:fd()) end
      until item == nil
      assert.equal(#text // 8, #list)
      for _, item in ipairs(list) do assert.equal("abcd", item) end
      os.remove(path)
    end
  end)

  it("refuses a length that cannot be, before it takes memory for it", function()
    with_files({ "\xff\xff\xff\xff\xff\xff\xff\xff" }, function(path)
      local before = collectgarbage "count"
      local source = minigun.records(path, { length = "I8" })
      assert.is_truthy(refusal(source):find("record 1 is too long", 1, true))
      assert.is_true(collectgarbage "count" < before + 1000)
    end)
  end)

  it("refuses options that do not say how to cut, at the caller's line", function()
    blamed(function() minigun.records("README.md") end, "separator, fixed and length expected, got 0")
    blamed(function() minigun.records("README.md", { fixed = 1, length = "I4" }) end, "got 2 of them")
    blamed(function() minigun.records("README.md", { length = "i4" }) end, "option 'length' must be a format")
    blamed(function() minigun.records("README.md", { separator = "" }) end, "option 'separator' must be")
    blamed(function() minigun.records("README.md", { fixd = 3 }) end, "did you mean 'fixed'?")
  end)
end)

-- --- rows ----------------------------------------------------------------------------------------------------------

local function csv_field(value, comma)
  if not value:find('["\r\n' .. comma .. "]") and math.random(3) > 1 then return value end
  return '"' .. value:gsub('"', '""') .. '"'
end

describe("minigun.csv", function()
  it("gives any fields back, wherever the reads end", function()
    math.randomseed(SEED)
    for _, comma in ipairs { ",", ";", "\t" } do
      local rows, text = {}, {}
      for i = 1, support.short_or_long(60, 400) do -- each is a fork in one of the contexts
        rows[i] = random_records(3, 30, 'ab,;\t"\n\r')
        rows[i][1] = "r" .. rows[i][1]
        local fields = {}
        for k, value in ipairs(rows[i]) do fields[k] = csv_field(value, comma) end
        text[i] = table.concat(fields, comma) .. (math.random(2) == 1 and "\r\n" or "\n")
        if i % 50 == 0 then text[i] = text[i] .. "\r\n" end
      end
      local function same(got) assert.is_true(values.same(rows, got), "SEED=" .. SEED) end
      with_files({ table.concat(text):gsub("\r?\n$", "") }, function(path)
        local source = minigun.csv(path, { separator = comma, header = false })
        same(all(source))
        local pipe <close> = assert(io.popen("env -u LD_PRELOAD dd bs=997 status=none <" .. path))
        same(all(minigun.csv(pipe, { separator = comma, header = false })))
        for _, context in ipairs(contexts.kinds) do
          if comma == "," or not context.per_item then
            same(through(source, context, { ordered = not context.inline or nil }))
          end
        end
      end)
    end
  end)

  it("names the fields by the first record of each file, or as it is told", function()
    with_files({ "\u{feff}a,b\r\n1,2\r\n", 'b,"a ""x"""\n3,4', "" }, function(first, second, empty)
      local expected = { { a = "1", b = "2" }, { b = "3", ['a "x"'] = "4" } }
      assert.same(expected, all(minigun.csv { first, second, empty }))
      assert.same(expected, through(minigun.csv { first, second, empty }, contexts.kinds[2], { ordered = true }))
      local pipe <close> = assert(io.popen("sleep 0.05; cat " .. first))
      local source = minigun.csv(pipe)
      assert.same({ a = "1", b = "2" }, source())
      assert.is_nil(source())
      assert.same({ { x = "a", y = "b" }, { x = "1", y = "2" } }, all(minigun.csv(first, { header = { "x", "y" } })))
      assert.same({ { "a", "b" }, { "1", "2" } }, all(minigun.csv(first, { header = false })))
    end)
    with_files({ "a,a\n1,2\n" }, function(path)
      assert.is_truthy(refusal(minigun.csv(path)):find('two columns are named "a"', 1, true))
    end)
  end)

  it("has a failure for each row that is none, which shows it, and goes on", function()
    with_files({ 'a,b\n1\n2,3\n"x"y,4\n5,6,7\n8,9\n' }, function(path)
      local contexts_of_source = { {}, { processes = 1 }, { threads = 1 } }
      for _, own in ipairs(contexts_of_source) do
        for _, context in ipairs(contexts.kinds) do
          local result = minigun.pipeline "rows":producer("rows", own, minigun.csv(path))
            :map(contexts.options(context), function(row) return row.a .. row.b end):run { failures = "collect" }
          assert.same({ "23", "89" }, contexts.sorted(result.items))
          local shown = {}
          for i, failure in ipairs(result.failures) do
            assert.same({ "malformed", "rows" }, { failure.kind, failure.stage })
            shown[i] = failure.item
          end
          assert.same({ '"x"y,4', "1", "5,6,7" }, contexts.sorted(shown))
          assert.is_truthy(tostring(result.failures[1]):find(path .. "': record 2: 1 field(s), and", 1, true))
        end
      end
      assert.is_truthy(refusal(minigun.csv(path)):find("record 2: 1 field(s)", 1, true))
    end)
  end)

  it("fails where a field in quotes has no end", function()
    with_files({ 'a,b\n1,2\n3,"4\n5,6\n' }, function(path)
      local result = minigun.pipeline "open":producer(minigun.csv(path)):run { failures = "collect" }
      assert.equal(1, #result.items)
      assert.is_truthy(result.failures[1].message:find("record 3 is cut short by the end: a field in quotes", 1, true))
    end)
  end)

  it("refuses options that make no sense, at the caller's line", function()
    blamed(function() minigun.csv("README.md", { separator = ";;" }) end, "'separator' must be a text of one byte")
    blamed(function() minigun.csv("README.md", { header = 3 }) end, "option 'header' must be a boolean or an array")
    blamed(function() minigun.csv("README.md", { headers = true }) end, "did you mean 'header'?")
    blamed(function() minigun.csv "missing.csv" end, "minigun.csv: 'missing.csv': cannot read: No such file")
  end)
end)

-- --- where their items go --------------------------------------------------------------------------------------------

describe("items of a source", function()
  local numbers, text = {}, {}
  for i = 1, 500 do numbers[i], text[i] = tostring(i), i .. "\n" end
  text = table.concat(text)

  for _, context in ipairs(contexts.all) do
    local n = context.per_item and 8 or 500

    it("arrive once each, in order where that is asked for [" .. context.name .. "]", function()
      with_files({ text }, function(path)
        local source = context.per_item and minigun.range(1, n) or minigun.lines(path)
        local expected = context.per_item and contexts.range(1, n) or numbers
        assert.same(expected, through(source, context, { ordered = not context.inline or nil }))
      end)
    end)

    it("survive retries and deaths of workers; failures show them [" .. context.name .. "]", function()
      with_files({ text }, function(path)
        local source = context.per_item and minigun.range(1, n) or minigun.lines(path)
        local result = minigun.pipeline "dies":producer("source", source)
          :processor("stage", contexts.options(context, { retries = 1 }), function(item, emit, ctx)
            local i = tonumber(item)
            if i % 7 == 0 and ctx.attempt == 1 then error "once more" end
            if i % 100 == 13 and not context.inline and ctx.attempt == 1 then core.kill(core.pid(), 9) end
            if i % 50 == 9 then error "never" end
            emit(item)
          end):run { failures = "collect" }
        local failed = {}
        for i, failure in ipairs(result.failures) do failed[i] = tonumber(failure.item) end
        table.sort(failed)
        local expected, arrived, bad = {}, {}, {}
        for i = 1, n do table.insert(i % 50 == 9 and bad or expected, i) end
        for i, item in ipairs(result.items) do arrived[i] = tonumber(item) end
        table.sort(arrived)
        assert.same(expected, arrived)
        assert.same(bad, failed)
        assert.equal(n, result.stats.stages.stage.items_in)
      end)
    end)

    it("may come from a producer with a process of its own, to batches, and to several stages [" .. context.name .. "]",
      function()
        with_files({ text }, function(path)
          local source = context.per_item and minigun.range(1, n) or minigun.lines(path)
          for _, own in ipairs { {}, { processes = 1 } } do
            local result = minigun.pipeline "batches":producer("source", own, source)
              :batch("tens", 10):map("sum", contexts.options(context), function(list)
                local sum = 0
                for _, item in ipairs(list) do sum = sum + item end
                return sum | 0
              end)
              :map("other", contexts.options(context, { from = "source" }), function(item) return tonumber(item) end)
              :run()
            local sums, others = 0, 0
            for _, sum in ipairs(result:of "sum") do sums = sums + sum end
            for _, item in ipairs(result:of "other") do others = others + item end
            assert.same({ n * (n + 1) // 2, n * (n + 1) // 2 }, { sums, others })
          end
        end)
      end)
  end

  it("are resumed by a journal where they were", function()
    with_files({ text }, function(path)
      local journal = os.tmpname()
      os.remove(journal)
      local function program(dies)
        return ([[
          local minigun, core, seen = require "minigun", require "minigun.core", 0
          local result = minigun.pipeline "resumed":producer("source", minigun.lines(%q))
            :map("stage", { processes = 2 }, function(item) return item end)
            :each("count", { inline = true }, function()
              seen = seen + 1
              if %s and seen == 400 then core.kill(core.pid(), 9) end
              minigun.sleep(0.0002) -- between two items the journal is written
            end):run { journal = %q }
          print(result.resumed, result.stats.stages.stage.items_in)
        ]]):format(path, tostring(dies), journal)
      end
      assert.equal("", support.run_lua(program(true)).stdout)
      local last
      support.wait_until(function() -- its workers have the journal open as long as they live
        last = support.run_lua(program(false))
        return last.stderr == ""
      end, 2)
      local skipped, done = last.stdout:match "(%d+)%s+(%d+)"
      assert.is_true(tonumber(skipped) > 50 and tonumber(skipped) <= 400, skipped)
      assert.equal(500, skipped + done)
      os.remove(journal)
    end)
  end)

  it("wait for receivers that are slow, at any limit of memory", function()
    local seen = 0
    local result = minigun.pipeline "slow":producer("source", minigun.range(1, 300))
      :map("stage", { processes = 2, queue = 5 }, function(i) return i end)
      :each("count", { inline = true }, function() seen = seen + 1 end):run()
    local most = result.stats.stages.stage.queue_most
    assert.equal(300, seen)
    assert.is_true(most <= 12, most)
  end)
end)
