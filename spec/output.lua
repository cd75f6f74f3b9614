--- The busted output handler: one line for each spec file, failures as they happen, and the closing line
-- "N passed, N failed" alone on its line. Under spec/run that line is left to it: it knows of the other files.
-- With MINIGUN_TIMES set, the seconds of each test, and those of processor time that it and its children took, are
-- added to a file that spec/run reads.

local busted = require "busted"
local support = require "spec.support"
local tally = require "spec.tally"

local function write(...)
  io.stdout:write(...)
  io.stdout:flush()
end

local heartbeat_path = os.getenv("MINIGUN_HEARTBEAT")
local times = heartbeat_path and os.getenv("MINIGUN_TIMES") and assert(io.open(heartbeat_path .. ".times", "a"))

-- The processor time of this process and of the children that it has waited for.
local function cpu()
  local ticks = 0
  local numbers = support.read_file("/proc/self/stat"):match("^.*%)" .. (" %S+"):rep(11) .. "( %d+ %d+ %d+ %d+)")
  for n in numbers:gmatch("%d+") do
    ticks = ticks + n                           -- utime, stime, cutime, cstime
  end
  return ticks / 100
end

local function indent(text)
  return (tostring(text):gsub("\n", "\n    "))
end

return function(options)
  local handler = require "busted.outputHandlers.base"()
  local before                                  -- the counts when the current file began
  local last_test = ""
  local cpu_before

  local function fault(element, _, message, trace)
    local name = handler.getFullName(element)
    if element.descriptor == "after_each" then
      name = ("after '%s'"):format(last_test)
    elseif element.descriptor ~= "it" then
      name = element.name or name
    end
    write("FAIL ", name, "\n    ", indent(message or "nil error"), "\n")
    if options.verbose and trace and trace.traceback then
      write("    ", indent(trace.traceback), "\n")
    end
    return nil, true
  end

  local function file_start()
    before = { passed = tally.passed, failed = tally.failed, skipped = tally.skipped }
    return nil, true
  end

  local function file_end(file)
    local passed, failed = tally.passed - before.passed, tally.failed - before.failed
    local skipped = tally.skipped - before.skipped
    write(failed > 0 and "not ok  " or "ok      ", file.name, ("  %d passed"):format(passed),
      failed > 0 and (", %d failed"):format(failed) or "", skipped > 0 and (", %d skipped"):format(skipped) or "",
      ("  (%.1f s)\n"):format(file.duration or 0))
    return nil, true
  end

  local function skipped(element, _, message)
    write("skip    ", handler.getFullName(element), type(message) == "string" and ": " .. message or "", "\n")
    return nil, true
  end

  busted.subscribe({ "test", "start" }, function(element)
    last_test = handler.getFullName(element)
    cpu_before = times and cpu()
    return nil, true
  end)
  busted.subscribe({ "file", "start" }, file_start)
  busted.subscribe({ "file", "end" }, file_end)
  busted.subscribe({ "pending" }, skipped)
  busted.subscribe({ "error" }, fault)
  busted.subscribe({ "failure" }, fault)
  busted.subscribe({ "test", "end" }, function(element)
    if times then
      times:write(("%6.2f s  %6.2f s of processor time  %s: %s\n"):format(element.duration or 0, cpu() - cpu_before,
        element.trace.short_src, handler.getFullName(element)))
      times:flush()
    end
    return nil, true
  end)
  busted.subscribe({ "exit" }, function()
    if not heartbeat_path then
      write("\n", tally.line(), "\n")
    end
    return nil, true
  end)
  return handler
end
