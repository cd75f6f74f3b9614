-- A stop of all processes of a run (Ctrl-Z, a frozen container) counts against no deadline, whatever the
-- coordinator was doing when it came: spec/programs/stopped.lua has the cases. They run side by side, as they sleep.
local support = require "spec.support"

-- Shorter than what the coordinator would sleep at a time, and longer.
local CASES = {}
for _, seconds in ipairs { 1.6, 4 } do
  for _, case in ipairs { "pool", "fork", "threads", "hosted", "hosted_computes", "background", "busy", "late", "grace",
    "stop", "restarts", "backoff", "max_wait" } do
    CASES[#CASES + 1] = ("%s %g"):format(case, seconds)
  end
end
-- A freezer sends no SIGCONT: only the length of sleeps tells.
for _, case in ipairs { "pool", "grace", "max_wait" } do CASES[#CASES + 1] = case .. " 4 frozen" end

local function run_all()
  local lines = {}
  for _, case in ipairs(CASES) do
    lines[#lines + 1] = ("(echo '%s:' $(%s setsid -w sh -c " ..
      "'timeout 60 lua5.4 spec/programs/stopped.lua %s; true' 2>&1)) &"):format(case,
      case:find "frozen" and "env --ignore-signal=CONT" or "", case)
  end
  lines[#lines + 1] = "wait"
  local done = support.run(table.concat(lines, "\n"), { timeout = 90, env = support.lua_env() })
  local said = {}
  for case, text in done.stdout:gmatch "([^:\n]+): ([^\n]*)" do said[case] = text end
  return said
end

describe("a run whose processes are all stopped for a while", function()
  local said
  for _, case in ipairs(CASES) do
    it("R48 is not late by that: " .. case, function()
      support.deadline(100)
      said = said or run_all()
      assert.equal("ok", said[case])
    end)
  end
end)
