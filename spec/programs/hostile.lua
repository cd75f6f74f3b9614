-- hostile.lua PORT N: N connections to a server of 127.0.0.1 that mean no good: half a request, a byte a second,
-- nothing at all, closed at once, closed for writing in the middle of a request. What the server closes is opened
-- again. Prints "N" when all have been there at the same time, and goes on until it is killed.
local core = require "minigun.core"
local socket = require "socket"

local port, n = tonumber(arg[1]), tonumber(arg[2])
local HALF <const>, SLOW <const> = "GET / HT", "GET /slow HTTP/1.1\r\nX: " .. ("x"):rep(10000)

local acts = {
  function(each)
    if each.turn == 1 then each.client:send(HALF) end
  end,
  function(each) each.client:send(SLOW, each.turn, each.turn) end,
  function() end,
  function(each) each.closes = true end,
  function(each)
    each.client:send(HALF)
    each.client:shutdown "send"
    each.closes = each.turn > 1
  end,
}

local function open(each)
  each.client, each.turn, each.closes = assert(socket.tcp()), 0, false
  each.client:settimeout(0)
  each.client:connect("127.0.0.1", port)
end

local function is_over(each)
  if each.closes then return true end
  local _, reason = each.client:receive(1)
  return reason == "closed"
end

local list, come = {}, 0
for i = 1, n do
  list[i] = { act = acts[i % #acts + 1] }
  open(list[i])
end
while true do
  local now = core.now()
  for _, each in ipairs(list) do
    if each.client:getpeername() then
      if each.turn == 0 and not each.came then
        each.came, come = true, come + 1
        if come == n then io.stdout:write(n, "\n"):flush() end
      end
      each.turn = each.turn + 1
      each.act(each)
    end
    if each.turn > 0 and is_over(each) then
      each.client:close()
      open(each)
    end
  end
  core.sleep(math.max(0.01, now + 1 - core.now()))
end
