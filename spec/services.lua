--- What specs of services share: a directory of mode 0700 for sockets, servers and clients in processes of their own.
local programs = require "spec.programs.build"
local servers = require "spec.servers"
local support = require "spec.support"

local M = {}

--- Why these specs cannot run here; nil: they can.
M.missing = not programs.unruly() and "there is no C compiler" or nil

local count = 0

--- A test of services, called inside of one: what it starts is closed after it. Pending where they cannot be tested.
-- @param pending function and finally, function: busted's
-- @param f function(place): `place.path` of a socket, and the methods below
function M.in_test(pending, finally, f)
  if M.missing then return pending(M.missing) end
  local directory = os.tmpname()
  os.remove(directory)
  assert(os.execute("mkdir -m 700 " .. directory))
  local started = {}
  finally(function()
    for _, each in ipairs(started) do each:close() end
    support.remove_tree(directory)
  end)
  count = count + 1
  local place = { directory = directory, path = directory .. "/s" }

  --- Starts a program in the background.
  function place.launch(_, command, options)
    local server = servers.launch(command, options)
    started[#started + 1] = server
    return server
  end

  --- Starts spec/programs/service_server.lua, and waits until it listens.
  function place.serve(self, text, options)
    local server = self:launch(("spec/programs/service_server.lua %s %s"):format(support.quote(self.path),
      support.quote(text or "{}")), options)
    server:prints "ready"
    return server
  end

  --- Connects from this process.
  function place.connect(self, options)
    options = options or {}
    options.wait = options.wait or 5
    local client = assert(require("minigun").connect(self.path, options))
    started[#started + 1] = client
    return client
  end

  --- Starts a piece of Lua that gets the path as `path` and has `minigun` and `support`.
  function place.client(self, source, options)
    local file = ("%s/client%d.lua"):format(directory, #started)
    support.write_file(file, ("local minigun, support = require 'minigun', require 'spec.support'\n" ..
      "local path = %q\n%s\n"):format(self.path, source))
    return self:launch(file, options)
  end
  f(place)
end

--- What a spec file defines its tests with: like busted's `it`, with a time limit, and `in_test` around each.
-- @param env table: the spec file's _ENV, where busted keeps what a test sees
-- @return function(name, f, deadline): f as in `in_test`, and seconds, 60 by default
function M.tests(env)
  return function(name, f, deadline)
    env.it(name, function()
      support.deadline(deadline or 60)
      M.in_test(env.pending, env.finally, f)
    end)
  end
end

--- The processor time that a process has used, in ticks of 10 ms.
function M.ticks(pid)
  local rest = support.read_file(("/proc/%d/stat"):format(pid)):match "^.*%) (.*)"
  local user, system = rest:match(("%S+ "):rep(11) .. "(%d+) (%d+)")
  return tonumber(user) + tonumber(system)
end

--- Waits for the end of a program, which is to be a good one.
function M.ends_well(server)
  local code, signal = server:wait()
  assert(code == 0, ("exit status %s, signal %s: %s"):format(code, signal, server:log()))
  return server:output()
end

return M
