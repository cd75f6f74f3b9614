--- Counts the tests of a run for the closing line and for spec/run.
-- busted says "success" before the after_each hooks have run; a test whose after_each fails is moved to the failed ones
-- here. Any other error outside a test (a file that does not load, a failed setup) counts as one failed.

local busted = require "busted"

local M = { passed = 0, failed = 0, skipped = 0 }

local last_status

busted.subscribe({ "test", "end" }, function(_, _, status)
  last_status = status
  if status == "success" then
    M.passed = M.passed + 1
  elseif status == "pending" then
    M.skipped = M.skipped + 1
  else
    M.failed = M.failed + 1
  end
  return nil, true
end, { priority = 1 })

local function outside_a_test(element)
  if element.descriptor == "it" then
    return nil, true                            -- its "test end" follows
  end
  if element.descriptor ~= "after_each" then
    M.failed = M.failed + 1
  elseif last_status == "success" then
    M.passed, M.failed = M.passed - 1, M.failed + 1
    last_status = "error"
  elseif last_status == "pending" then
    M.skipped, M.failed = M.skipped - 1, M.failed + 1
    last_status = "error"
  end
  return nil, true
end

busted.subscribe({ "error" }, outside_a_test, { priority = 1 })
busted.subscribe({ "failure" }, outside_a_test, { priority = 1 })

--- The closing line: "N passed, N failed", with ", N skipped" where some are.
-- @return string
function M.line()
  local line = ("%d passed, %d failed"):format(M.passed, M.failed)
  if M.skipped > 0 then
    line = line .. (", %d skipped"):format(M.skipped)
  end
  return line
end

return M
