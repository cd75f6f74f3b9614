-- SPDX-License-Identifier: MIT
-- The same over luasocket's Unix socket: lines, and what is no number as its length and bytes. See bench/services.lua.
-- usage: luasocket_echo.lua serve PATH | luasocket_echo.lua WORKLOAD PATH ITEMS
local measure = require "bench.services.measure"
local unix = require "socket.unix"

local what, path, n = arg[1], arg[2], tonumber(arg[3])

-- A message: a line "a" (asks) or "s" (sends) and a number, or the number of bytes that follow.
local function write(socket, kind, value)
  if type(value) == "string" then assert(socket:send(("%s%d$\n%s"):format(kind, #value, value)))
  else assert(socket:send(kind .. value .. "\n")) end
end

local function read(socket)
  local line = socket:receive "*l"
  if not line then return nil end
  local bytes = line:match "^.(%d+)%$$"
  return line:sub(1, 1), bytes and socket:receive(tonumber(bytes)) or math.tointeger(tonumber(line:sub(2)))
end

if what == "serve" then
  local server = assert(unix.stream())
  assert(server:bind(path))
  assert(server:listen(100))
  while true do
    local socket = assert(server:accept())
    for kind, value in read, socket do
      if kind == "a" then write(socket, "r", value) end
    end
    socket:close()
  end
end
measure.run(what, n, {
  connect = function()
    local socket = assert(unix.stream())
    assert(socket:connect(path))
    return socket
  end,
  ask = function(socket, value)
    write(socket, "a", value)
    local _, reply = read(socket)
    return reply
  end,
  send = function(socket, value) write(socket, "s", value) end,
  close = function(socket) socket:close() end,
})
