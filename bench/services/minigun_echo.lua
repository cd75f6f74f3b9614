-- SPDX-License-Identifier: MIT
-- A service that sends back what it gets, and its client: see bench/services.lua.
-- usage: minigun_echo.lua serve PATH | minigun_echo.lua WORKLOAD PATH ITEMS
local minigun = require "minigun"
local measure = require "bench.services.measure"

local what, path, n = arg[1], arg[2], tonumber(arg[3])
if what == "serve" then
  assert(minigun.service(path)):serve(function(request) return request end)
end
measure.run(what, n, {
  connect = function() return assert(minigun.connect(path, { wait = 5 })) end,
  ask = function(client, value) return client:call(value) end,
  send = function(client, value) assert(client:send(value)) end,
  close = function(client) client:close() end,
})
