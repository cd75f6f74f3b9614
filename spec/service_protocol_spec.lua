-- The protocol of services as docs/service-protocol.md has it: two clients that share no code with the library, one in
-- C with libc alone, one in Python with its standard library alone, against a real server; and they say what is wrong.
local minigun = require "minigun"
local services = require "spec.services"
local support = require "spec.support"

local in_test = services.tests(_ENV)

-- What f gives the first time; f may give nothing.
local function once(f)
  local known, value
  return function()
    if not known then known, value = true, f() end
    return value
  end
end

-- The client in C; nil: there is no compiler.
local c_client = once(function()
  local path = support.build_dir() .. "/spec/service_client"
  local made = support.run(("mkdir -p %s/spec && ${CC:-cc} -O2 -Wall -Wextra -Werror -o %s examples/service_client.c")
    :format(support.build_dir(), path))
  if made.code == 0 then return path end
  return not os.execute "${CC:-cc} --version >/dev/null 2>&1" and nil or error(made.stderr)
end)

-- The words that start Python, by the path of the interpreter itself: what is found first may be a script that looks
-- for it, with more work than all that it is started for here.
local interpreter = once(function()
  local found = support.run "python3 -c 'import sys; print(sys.version_info >= (3, 9) and sys.executable or str())'"
  local path = found.stdout:match "%S+"
  return path and "PYTHONDONTWRITEBYTECODE=1 " .. path
end)

local function python() return interpreter() and interpreter() .. " examples/service_client.py" end

for language, find in pairs { C = c_client, Python = python } do
  describe("the client in " .. language, function()
    local function run(place, words)
      local client = find()
      if not client then return nil end
      return support.run(("%s %s %s"):format(client, support.quote(place.path), words))
    end

    in_test("calls, and gets its replies, also large ones, through small rings", function(place)
      local server = place:serve '{ ring = "4K" }'
      local text = ("0123456789abcde\n"):rep(support.short_or_long(1000, 8000))
      local done = run(place, ("hello 'to be' %s %s"):format(support.quote(text), "12"))
      if not done then return pending("there is no " .. language) end
      assert.equal("", done.stderr)
      assert.equal(0, done.code)
      local expected = language == "C" and "hello\nto be\n" .. text .. "\n12\n"
        or ('"hello"\n"to be"\n"%s"\n12\n'):format((text:gsub("\n", "\\n")))
      assert.is_true(expected == done.stdout, done.stdout:sub(1, 200))
      assert.equal("", server:log())
    end)

    in_test("hears why it is not let in, of failures, and of the server's end", function(place)
      local server = place:serve '{ allow = function(peer) return false, "not today" end }'
      local done = run(place, "hello")
      if not done then return pending("there is no " .. language) end
      assert.is_truthy(done.stderr:find "not today", done.stderr)
      assert.is_true(done.code ~= 0)
      server:signal "KILL"
      server:wait()
      server = place:launch(("-e %s"):format(support.quote(([[
        local service = assert(require("minigun").service(%q))
        print "ready"
        io.stdout:flush()
        service:serve(function(text)
          if text == "stop" then os.exit(0) end
          error("no " .. text)
        end)
      ]]):format(place.path))))
      server:prints "ready"
      done = run(place, "hello")
      assert.is_truthy(done.stderr:find "has failed", done.stderr)
      done = run(place, "stop")
      assert.is_truthy(done.stderr:find "the server has ended", done.stderr)
    end)
  end)
end

describe("the client in Python", function()
  in_test("sends values of every kind, and many at a time", function(place)
    if not interpreter() then return pending "there is no Python 3.9" end
    place:serve '{ ring = "16K" }'
    support.write_file(place.directory .. "/many.py", ([[
import random, sys
sys.path.insert(0, "examples")
import service_client
client = service_client.Client(%q)
random.seed(%d)
for i in range(300):
    value = {"n": i, "list": [random.random() for _ in range(i %% 20)], "s": "x" * random.randrange(9000),
             "numbers": [random.randrange(-2 ** i, 2 ** i) for i in range(60)], "t": [True, False]}
    got = client.call(value)
    got["list"], value["list"] = got["list"] or [], value["list"]
    assert got == value, (got, value)
for i in range(1, 501):
    client.send({"op": "next", 1: i})
assert client.call({"op": "count"}) == [500, 0]
print("well")
]]):format(place.path, os.time() % 1000))
    local done = support.run(interpreter() .. " " .. place.directory .. "/many.py")
    assert.equal("well\n", done.stdout, done.stderr)
  end)
end)

describe("the memory of a connection", function()
  in_test("can be neither cut nor grown by a client: its seals are set for ever", function(place)
    if not interpreter() then return pending "there is no Python 3.9" end
    place:serve()
    support.write_file(place.directory .. "/seals.py", ([[
import fcntl, os, sys
sys.path.insert(0, "examples")
import service_client
kept = []
os.close = kept.append
client = service_client.Client(%q)
memory = kept[0]
size = os.fstat(memory).st_size
for harm in (lambda: os.ftruncate(memory, 0), lambda: os.ftruncate(memory, 2 * size),
             lambda: fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)):
    try:
        harm()
        print("done")
    except PermissionError:
        print("refused")
print(os.fstat(memory).st_size == size, client.call("hello"))
]]):format(place.path))
    local done = support.run(interpreter() .. " " .. place.directory .. "/seals.py")
    assert.equal("refused\nrefused\nrefused\nTrue hello\n", done.stdout, done.stderr)
  end)
end)

describe("clients of three languages", function()
  in_test("use one server at the same time", function(place)
    local c = c_client()
    if not (c and python()) then return pending "there is no C compiler, or no Python 3.9" end
    place:serve()
    local words = ("word "):rep(200)
    local done = support.run(("for i in 1 2 3; do %s %s %s >/dev/null & %s %s %s >/dev/null & done; wait"):format(c,
      place.path, words, python(), place.path, words))
    assert.equal("", done.stderr)
    assert.equal(1, assert(minigun.connect(place.path)):call(1))
  end)
end)
