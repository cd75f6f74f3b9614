-- Connections of blocking workers: the same results as luasocket's, for the same bytes and the same calls.
local core = require "minigun.core"
local found, socket = pcall(require, "socket")
local support = require "spec.support"

-- A connection of ours, and its client.
local function open()
  local fd = assert(core.listen("127.0.0.1", "0", 10))
  local _, port = core.socket_name(fd)
  local board = assert(core.board(1))
  board:wipe(1)
  local from, to = core.pipe()
  local acceptor = assert(core.acceptor(board:take(1), { fd }, from))
  assert(acceptor:listen(true))
  local client = socket.tcp()
  assert(client:connect("127.0.0.1", port))
  local connection = acceptor:accept()
  local function close()
    connection:close()
    client:close()
    acceptor:close()
    board:close()
    for _, each in ipairs { fd, from, to } do core.shut(each) end
  end
  return connection, client, close, board
end

-- A connection of luasocket's, and its client.
local function open_other()
  local server = assert(socket.bind("127.0.0.1", 0))
  local _, port = server:getsockname()
  local client = socket.tcp()
  assert(client:connect("127.0.0.1", port))
  local connection = server:accept()
  return connection, client, function()
    connection:close()
    client:close()
    server:close()
  end
end

local function random_bytes()
  local parts = {}
  for i = 1, math.random(0, 12) do
    local kind = math.random(5)
    parts[i] = kind == 1 and "\r\n" or kind == 2 and "\n" or kind == 3 and "\r" or
      ("x"):rep(math.random(0, kind == 4 and 9000 or 8))
  end
  return table.concat(parts)
end

local function random_calls()
  local calls = {}
  for i = 1, math.random(1, 12) do
    local kind = math.random(4)
    local pattern
    if kind == 1 then pattern = math.random(0, 20)
    elseif kind == 2 and i > 6 then pattern = "*a"
    else pattern = "*l" end
    calls[i] = { pattern, math.random(4) == 1 and "prefix" or nil }
  end
  return calls
end

local function results(opened, bytes, calls, closes)
  local connection, client, close = opened()
  connection:settimeout(0.02)
  client:send(bytes)
  if closes then client:close() end
  local list = {}
  for i, call in ipairs(calls) do
    local all, reason, part = connection:receive(table.unpack(call, 1, 2))
    list[i] = ("%s %s: %q %s %q"):format(call[1], call[2], all, reason, part)
  end
  close()
  return list
end

describe("a connection", function()
  it("receives what luasocket's would", function()
    if not found then return pending "lua-socket is not installed" end
    local seed = tonumber(os.getenv "SEED") or os.time()
    math.randomseed(seed)
    for round = 1, support.short_or_long(40, 1000) do
      local bytes, calls, closes = random_bytes(), random_calls(), math.random(3) > 1
      local ours, theirs = results(open, bytes, calls, closes), results(open_other, bytes, calls, closes)
      for i = 1, #calls do
        assert(theirs[i] == ours[i], ("SEED=%d, round %d, call %d:\n%s\nours\n%s"):format(seed, round, i,
          theirs[i]:sub(-300), ours[i]:sub(-300)))
      end
    end
  end)

  it("sends a part, all, and nothing to a client that is gone", function()
    if not found then return pending "lua-socket is not installed" end
    local connection, client, close = open()
    client:settimeout(5)
    assert.equal(6, connection:send "hello\n")
    assert.equal(4, connection:send("0123456", 3, 4))
    assert.equal(7, connection:send("012345\n", -3))
    assert.equal(0, connection:send "")
    assert.equal("hello", client:receive())
    assert.equal("2345", client:receive())
    connection:settimeout(0.05)
    local sent, reason, part = connection:send(("x"):rep(20 << 20))
    assert.is_nil(sent)
    assert.equal("timeout", reason)
    assert.is_true(part > 1000 and part < 20 << 20)
    client:close()
    support.wait_until(function()
      sent, reason = connection:send "x"
      return not sent and reason == "closed"
    end)
    assert.equal("closed", reason)
    close()
    assert.same({ nil, "closed", 0 }, { connection:send "x" })
    assert.same({ nil, "closed", "" }, { connection:receive() })
    assert.equal(-1, connection:getfd())
    assert.equal(1, connection:close())
  end)

  it("has names, ends, a limit of lines, and time-outs of a wait and of a call", function()
    if not found then return pending "lua-socket is not installed" end
    local connection, client, close, board = open()
    local host, port, family = connection:getpeername()
    assert.same({ "127.0.0.1", "inet" }, { host, family })
    assert.equal(tonumber((select(2, client:getsockname()))), port)
    assert.matches("descriptor %d+", tostring(connection))
    assert.equal(1, (select(3, board:read(1))))
    client:send "a\nb"
    assert.equal("a", connection:receive())
    assert.is_true(connection:dirty())
    local began = core.now()
    connection:settimeout(0.05, "t")
    assert.same({ nil, "timeout", "b" }, { connection:receive() })
    assert.is_true(core.now() - began >= 0.045)
    connection:settimeout(0) -- the shorter of the two holds
    connection:settimeout(5, "t")
    began = core.now()
    assert.same({ nil, "timeout", "" }, { connection:receive() })
    assert.is_true(core.now() - began < 4)
    connection:settimeout(nil)
    connection:settimeout(nil, "t")
    client:settimeout(0)
    local sent = select(3, client:send(("x"):rep(8 << 20))) -- as much as the kernel takes: some megabytes
    assert.is_true(sent > 1 << 20)
    connection:settimeout(5)
    local line, reason, part = connection:receive()
    assert.same({ nil, "line too long" }, { line, reason })
    assert.is_true(#part >= 1 << 20)
    connection:shutdown "send"
    connection:close()
    assert.equal(0, (select(3, board:read(1))))
    assert.has_error(function() connection.receive(1) end)
    close()
  end)
end)

describe("the board of a server's workers", function()
  it("has the lines that were asked for, and no others", function()
    local board = assert(core.board(2))
    for line = 1, 2 do board:wipe(line) end
    for _, line in ipairs { -1, 0, 3 } do
      local ok, message = pcall(board.wipe, board, line)
      assert.same({ false, "bad argument #2 to '?' (no such line)" }, { ok, message })
    end
    board:close()
    assert.has_error(function() board:wipe(1) end)
  end)
end)
