-- The event loops of the specs: for each adapter a loop, and what its library offers by itself.

local core = require "minigun.core"
local loop = require "minigun.loop"
local programs = require "spec.programs.build"
local support = require "spec.support"

local unruly = programs.unruly()

-- Debian has copas for older versions of Lua only; it runs on 5.4.
local function load(library)
  local path = package.path
  if library == "copas" then package.path = path .. ";/usr/share/lua/5.3/?.lua;/usr/share/lua/5.2/?.lua" end
  local found, loaded = pcall(require, library)
  package.path = path
  return found and loaded or nil
end

local loops = {}

-- `library`: that it needs. `own(loaded)` makes a loop of the library's kind: the object that loop.adopt takes,
-- `watch(fd, f)`, which returns a function that ends the watch, and `run(seconds)`; `after(seconds, f)` and
-- `signal(name, f)` where it has such.
loops.list = {
  { name = "epoll" },
  { name = "select", library = "socket" },
  { name = "copas", library = "copas", own = function(copas)
    return { object = copas,
      watch = function(fd, f)
        local asked, stopped = false, false
        local socket = { getfd = function() return stopped and -1 or fd end, close = function() end }
        function socket.receive()
          asked = not asked
          if asked then return nil, "timeout" end
          return 1
        end
        copas.addthread(function()
          while not stopped do
            copas.receive(socket, 1)
            if not stopped then f() end
          end
        end)
        return function() stopped = true end
      end,
      run = function(seconds)
        local due = core.now() + seconds
        repeat copas.step(0.01) until core.now() >= due
      end }
  end },
  { name = "cqueues", library = "cqueues", own = function(cqueues)
    local controller = cqueues.new()
    return { object = controller,
      watch = function(fd, f)
        local stopped = false
        controller:wrap(function()
          while not stopped do
            cqueues.poll { pollfd = fd, events = "r" }
            if not stopped then f() end
          end
        end)
        controller:step(0)
        return function()
          stopped = true
          controller:cancel(fd)
        end
      end,
      after = function(seconds, f)
        controller:wrap(function()
          cqueues.sleep(seconds)
          f()
        end)
      end,
      run = function(seconds) controller:loop(seconds) end }
  end },
  { name = "luv", library = "luv", own = function(uv)
    return { object = uv,
      watch = function(fd, f)
        local poll = uv.new_poll(fd)
        poll:start("r", f)
        return function()
          if not poll:is_closing() then poll:close() end
        end
      end,
      after = function(seconds, f)
        local timer = uv.new_timer()
        uv.update_time() -- it may not have run for long
        timer:start(math.ceil(seconds * 1000), 0, function()
          timer:close()
          f()
        end)
      end,
      signal = function(name, f)
        local handle = uv.new_signal()
        handle:start(name, f)
        return function() handle:close() end
      end,
      run = function(seconds)
        local timer = uv.new_timer()
        timer:start(math.ceil(seconds * 1000), 0, function() uv.stop() end)
        uv.run()
        timer:close()
      end }
  end },
  { name = "event", library = "luaevent.core", own = function(event)
    local base = event.new()
    return { object = base,
      watch = function(fd, f)
        local watched = base:addevent(fd, event.EV_READ, function()
          f()
          return event.EV_READ
        end)
        return function() watched:close() end
      end,
      after = function(seconds, f)
        base:addevent(nil, event.EV_TIMEOUT, function()
          f()
          return event.LEAVE
        end, seconds)
      end,
      run = function(seconds)
        base:addevent(nil, event.EV_TIMEOUT, function() return event.LEAVE end, seconds)
        base:loopexit(seconds)
        base:loop()
      end }
  end },
}

loops.by_name = {}

for _, each in ipairs(loops.list) do
  loops.by_name[each.name] = each
  each.loaded = each.library and load(each.library)
  each.missing = each.library and not each.loaded and each.library .. " is not installed" or nil
end

--- Those whose library is installed.
---@return table[]
function loops.installed()
  local list = {}
  for _, each in ipairs(loops.list) do
    if not each.missing then list[#list + 1] = each end
  end
  return list
end

--- A test of a loop, called inside of one: it gets a new loop, which is closed after it. Pending where the library or
--- the compiler is missing.
---@param adapter table of the list
---@param pending function busted's, which only the test itself sees
---@param f function (loop) -> the loop to close, or nil
function loops.in_test(adapter, pending, f)
  local reason = adapter.missing or not unruly and "there is no C compiler"
  if reason then return pending(reason) end
  local left = f(assert(loop.new(adapter.name)))
  if left then left:close() end
end

--- Runs a loop until the condition holds; an error when it does not within the time.
---@param l table
---@param condition function
---@param seconds number? 20 by default
function loops.run_until(l, condition, seconds)
  local late
  local guard = l:after((seconds or 20) * support.patience, function()
    late = true
    l:stop()
  end)
  local look = l:every(0.001, function() if condition() then l:stop() end end)
  l:run()
  if guard.loop then guard:stop() end
  if look.loop then look:stop() end
  assert(not late, "not within the time")
end

--- Sends a signal.
---@param name string "TERM"
---@param pid integer? this process by default
function loops.send(name, pid) assert(unruly.kill(pid or core.pid(), core.signal_numbers[name])) end

return loops
