-- minigun.lines: whole lines of anything that can be read, without standing still.

local minigun = require "minigun"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local support = require "spec.support"

local function with_file(text, f)
  local path = support.write_file(os.tmpname(), text)
  local ok, err = pcall(f, path)
  os.remove(path)
  assert(ok, err)
end

local function all(source)
  local list = {}
  for line in source do list[#list + 1] = line end
  return list
end

local function here() return ("spec/lines_spec.lua:%d: "):format(debug.getinfo(2, "l").currentline) end

local texts = {
  [""] = {}, ["\n"] = { "" }, ["a"] = { "a" }, ["a\n"] = { "a" }, ["a\n\nb"] = { "a", "", "b" },
  ["a\r\nb\r\n"] = { "a\r", "b\r" }, ["\0\n\0x"] = { "\0", "\0x" },
  [("x"):rep(200000) .. "\n" .. ("y"):rep(65535) .. "\nz"] = { ("x"):rep(200000), ("y"):rep(65535), "z" },
}

describe("minigun.lines", function()
  it("gives what io.lines gives: of a path, a file, a descriptor, a pipe", function()
    for text, expected in pairs(texts) do
      with_file(text, function(path)
        assert.same(expected, all(io.lines(path)))
        assert.same(expected, all(minigun.lines(path)))
        local file = assert(io.open(path))
        assert.same(expected, all(minigun.lines(file)))
        file:seek "set"
        assert.same(expected, all(minigun.lines(core.fileno(file))))
        file:close()
        local pipe <close> = assert(io.popen("cat " .. path))
        assert.same(expected, all(minigun.lines(pipe)))
      end)
    end
  end)

  it("goes on where a file was read before, however much of it is in the file's buffer", function()
    with_file("one\ntwo\nthree\n", function(path)
      local file <close> = assert(io.open(path))
      assert.equal("one", file:read())
      assert.same({ "two", "three" }, all(minigun.lines(file)))
      local pipe <close> = assert(io.popen("cat " .. path))
      assert.equal("one", pipe:read())
      assert.same({ "two", "three" }, all(minigun.lines(pipe)))
    end)
  end)

  it("reads several files, one after the other, and each run begins anew", function()
    with_file("a\nb", function(first)
      with_file("c\n", function(second)
        local source = minigun.lines { first, second, first }
        assert.same({ first, second, first }, source.paths)
        local p = minigun.pipeline "twice":producer("lines", source)
        for _ = 1, 2 do assert.same({ "a", "b", "c", "a", "b" }, p:run().items) end
        assert.same({ "a", "b", "c", "a", "b" }, all(source))
        assert.same({ "a", "b", "c", "a", "b" }, all(source))
        assert.equal("a", source())
        source:close()
        assert.equal("a", source())
        source:close()
      end)
    end)
  end)

  it("waits for the writer of a FIFO, and for lines that come in parts", function()
    local path = os.tmpname()
    os.remove(path)
    assert(os.execute("mkfifo " .. path))
    os.execute(("(sleep 0.1; printf on; sleep 0.1; printf 'e\\ntw'; sleep 0.1; printf o) >%s &"):format(path))
    assert.same({ "one", "two" }, all(minigun.lines(path)))
    os.remove(path)
  end)

  it("changes nothing of a descriptor that others have too", function()
    local pipe <close> = assert(io.popen "echo a; sleep 0.1; echo b")
    local fd = core.fileno(pipe)
    local function flags() return support.read_file("/proc/self/fdinfo/" .. fd):match "flags:%s*(%d+)" end
    local before = flags()
    local source = minigun.lines(pipe)
    assert.equal("a", source())
    assert.equal(before, flags())
    assert.same({ "b" }, all(source))
  end)

  for _, context in ipairs(contexts.all) do
    if not context.per_item then
      it("is a producer's source in every context [" .. context.name .. "]", function()
        with_file("1\n2\n3\n", function(path)
          local source = minigun.lines(path)
          local p = minigun.pipeline "where":producer("lines", contexts.options(context), source)
          assert.same({ "1", "2", "3" }, p:run().items)
          assert.same({ "1", "2", "3" }, p:run().items)
        end)
      end)
    end
  end

  it("is a list for map, each and reduce", function()
    with_file("3\n1\n2\n", function(path)
      assert.same({ 9, 1, 4 }, minigun.map(minigun.lines(path), function(s) return tonumber(s) ^ 2 // 1 | 0 end))
      assert.equal(6, minigun.reduce(minigun.lines(path), 0, function(a, b) return a + b end))
      local seen = {}
      minigun.each(minigun.lines(path), function(s) seen[#seen + 1] = s end, { inline = true })
      assert.same({ "3", "1", "2" }, seen)
    end)
  end)

  it("reads standard input, also what io.read has left", function()
    local result = support.run_lua([[
      local minigun = require "minigun"
      io.write(io.read(), ";")
      for line in minigun.pipeline "in":producer(minigun.lines "-"):map({ processes = 2 }, string.upper):iterate() do
        io.write(line, ";")
      end]], { stdin = "a\nb\nc" })
    assert.equal("", result.stderr)
    assert.is_truthy(result.stdout == "a;B;C;" or result.stdout == "a;C;B;", result.stdout)
  end)

  it("says what is wrong, where it was called", function()
    local missing = os.tmpname()
    os.remove(missing)
    local at
    local function try(...)
      local ok, err = pcall(minigun.lines, ...)
      assert.is_false(ok)
      return err
    end
    local function call(source)
      at = here(); local lines = minigun.lines(source); return lines -- luacheck: ignore 211
    end
    local ok, err = pcall(call, missing)
    assert.is_false(ok)
    assert.equal(("%sminigun.lines: '%s': cannot read: No such file or directory"):format(at, missing), err)
    ok, err = pcall(call, "/tmp")
    assert.is_false(ok)
    assert.equal(at .. "minigun.lines: '/tmp': cannot read: Is a directory", err)
    for _, wrong in ipairs { 1.5, true, -1, { 1 }, function() end } do
      assert.is_truthy(try(wrong):find("minigun.lines: ", 1, true))
    end
    local closed = assert(io.open "/dev/null")
    closed:close()
    assert.is_truthy(try(closed):find("a closed file", 1, true))
  end)

  it("ends its producer as a failure where a file is gone, or cannot be read any more", function()
    with_file("a\n", function(path)
      local source = minigun.lines { path, path }
      local p = minigun.pipeline "gone":producer("lines", source):each(function() os.remove(path) end)
      local result = p:run { failures = "collect" }
      assert.equal(1, #result.failures)
      assert.is_truthy(result.failures[1].message:find(path, 1, true), result.failures[1].message)
      support.write_file(path, "")
    end)
    local p = minigun.pipeline "closed":producer("lines", minigun.lines(1000))
    local result = p:run { failures = "collect" }
    assert.is_truthy(result.failures[1].message:find("descriptor 1000: cannot read: Bad file descriptor", 1, true))
  end)

  it("refuses a line that is longer than its limit", function()
    with_file(("x"):rep(100) .. "\n" .. ("y"):rep(200000), function(path)
      local reader = assert(core.reader(path, { longest = 100 }))
      assert.equal(("x"):rep(100), reader:next())
      local line, message = reader:next()
      assert.is_nil(line)
      assert.is_truthy(message:find("too long", 1, true))
      reader:close()
    end)
  end)

  it("says in a worker that standard input is the coordinator's", function()
    local result = minigun.pipeline "in":producer({ processes = 1 }, minigun.lines "-")
      :run { failures = "collect" }
    assert.is_truthy(result.failures[1].message:find("belongs to the coordinator", 1, true))
  end)
end)

describe("files that a producer of the coordinator reads", function()
  it("give what they give elsewhere, and errors at the same line", function()
    local function body(emit)
      for line in io.popen("printf '1\\n2\\n3'"):lines() do emit(line) end
      local pipe <close> = io.popen("printf '4\\n5 6'")
      emit(pipe:read())
      emit((pipe:read("n", "n")))
      emit(tostring(pipe:read()))
      for a, b in io.popen("printf 'ab\\ncd\\n'"):lines(1, "L") do emit(a .. b) end
      local _, err = pcall(io.lines, "/nowhere/file")
      emit(err)
      _, err = pcall(function() for _ in io.lines "/nowhere/file" do end end)
      emit(err)
      _, err = pcall(function()
        local file = io.tmpfile()
        file:close()
        for _ in file:lines() do end
      end)
      emit(err)
      emit(select("#", pcall(io.lines, "/dev/null")))
    end
    local plain = {}
    body(function(...) plain[#plain + 1] = (...) end)
    assert.same(plain, minigun.pipeline "files":producer(body):run().items)
    assert.same(plain, minigun.pipeline "files":producer({ threads = 1 }, body):run().items)
  end)

  it("hold nothing up while half a line has come, whatever reads it, and lose none of it", function()
    local command = "printf one; sleep 0.6; printf ' two\\nthree'; sleep 0.3; printf ' four'"
    local expected = { "one two", "three four" }
    local ways = {
      iterator = function() return io.popen(command):lines() end,
      ["in a handler"] = function()
        return function(emit)
          for line in io.popen(command):lines() do emit(line) end
        end
      end,
      read = function()
        return function(emit)
          local file <close> = io.popen(command)
          for line in function() return file:read() end do emit(line) end
        end
      end,
      ["after some of it was read"] = function()
        return function(emit)
          local file <close> = io.popen(command)
          emit(file:read(2) .. file:read())
          emit(file:read "a")
        end
      end,
    }
    for name, make in pairs(ways) do
      local began, last = minigun.now(), nil
      local p = minigun.pipeline "half":producer("half", { to = "lines" }, make())
        :producer("clock", { to = "ticks" }, function(emit)
          for i = 1, 5 do
            minigun.sleep(0.02)
            emit(i)
          end
        end)
        :map("lines", { from = "half" }, function(line) return line end)
        :each("ticks", { from = "clock" }, function() last = minigun.now() - began end)
      assert.same(expected, p:run():of "lines", name)
      assert.is_true(last < 0.5 * support.patience, name)
    end
    local long = ("x"):rep(300000) -- more than a pipe holds, and in parts
    with_file(long .. "\n" .. long, function(path)
      local pipe = io.popen("env -u LD_PRELOAD dd bs=1000 status=none <" .. path)
      assert.same({ long, long }, minigun.pipeline "long":producer(pipe:lines()):run().items)
    end)
  end)

  it("arrive whole and once, whatever reads them", function()
    local lines = {}
    for i = 1, 3000 do lines[i] = ("%d "):format(i):rep(1 + i * 7919 % 40) end
    local text = table.concat(lines, "\n") .. "\n"
    with_file(text, function(path)
      for _, open in ipairs { io.open, function() return io.popen("cat " .. path) end,
        function() return io.popen("env -u LD_PRELOAD dd bs=700 status=none < " .. path) end } do
        for _, first in ipairs { 0, 1, 3, 100, 5000 } do
          local got = {}
          minigun.pipeline "mixed":producer(function(emit)
            local file <close> = open(path)
            while true do
              local some = file:read(first)
              got[#got + 1] = some
              got[#got + 1] = some and file:read "L"
              if not some then break end
              emit(1)
            end
          end):run()
          assert.is_true(table.concat(got) == text, "with pieces of " .. first)
        end
      end
    end)
  end)

  it("and io is what it was, after the run and in other stages", function()
    local lines, read, method, seen = io.lines, io.read, io.stdout.lines, true
    minigun.pipeline "files":producer(function(emit)
      emit(1)
      minigun.sleep(0.001)
      emit(2)
    end):each({ threads = 1 }, function() seen = seen and io.lines == lines and io.read == read end):run()
    assert.is_true(seen)
    assert.equal(lines, io.lines)
    assert.equal(read, io.read)
    assert.equal(method, io.stdout.lines)
  end)
end)
