--- Programs with a live view at a terminal, for the specs of the view and for its storm: what is run, and whether the
-- terminal is as before after it.
local support = require "spec.support"
local terminal = require "spec.terminal"

local live = {}

--- Before each program: `pipeline(seconds, f)`, 100 items in so many seconds through f in two workers.
live.PRELUDE = [[
  local minigun, core = require "minigun", require "minigun.core"
  local function pipeline(seconds, f)
    local p = minigun.pipeline("seen", { progress = false })
    p:producer("numbers", function(emit) for i = 1, 100 do emit(i) core.sleep(seconds / 100) end end)
    p:map("work", { processes = 2 }, f or function(n) return n end)
    p:map("last", { inline = true }, function(n) return n end)
    return p
  end
]]

--- Runs a program at a terminal of 100 columns. It prints "(status N)" at its end.
---@param source string after the prelude
---@param script string what is typed, see programs/pty.c
---@param env table? further environment
---@param after string? a command of the shell after it
---@param redirect string? the shell's words for where its output goes
---@return table result of terminal.play
---@return boolean same whether the terminal's mode is as before
function live.play(source, script, env, after, redirect)
  local path, before, later = support.write_file(os.tmpname(), live.PRELUDE .. source), os.tmpname(), os.tmpname()
  local shell = support.write_file(os.tmpname(), ([[
    set -m
    trap : INT
    stty -a > %s
    lua5.4 %s %s
    status=$?
    %s
    trap '' INT
    stty -a > %s
    echo "(status $status)"
  ]]):format(before, path, redirect or "", after or ":", later))
  local all = { TERM = "xterm-256color", LANG = "C.UTF-8", MINIGUN_HUD = "", NO_COLOR = "" }
  for name, value in pairs(env or {}) do all[name] = value end
  local result = terminal.play("sh " .. shell, "= 100 30\n" .. script, all)
  local same = support.read_file(before):gsub("rows %d+; columns %d+", "")
    == support.read_file(later):gsub("rows %d+; columns %d+", "")
  for _, name in ipairs { path, before, later, shell } do os.remove(name) end
  return result, same
end

--- What is wrong with the terminal after it: its mode, the usual screen, a cursor, wrapping.
---@param result table
---@param same boolean
---@return string? message nil: it is as before
function live.damage(result, same)
  local output = result.stderr
  if not same then return "stty -a says otherwise: " .. output:sub(-300) end
  for on, off in pairs { ["\27[?1049h"] = "\27[?1049l", ["\27[?25l"] = "\27[?25h", ["\27[?7l"] = "\27[?7h" } do
    local last_on, last_off = 0, 0
    for at in output:gmatch("()" .. on:gsub("%p", "%%%0")) do last_on = at end
    for at in output:gmatch("()" .. off:gsub("%p", "%%%0")) do last_off = at end
    if last_off <= last_on then
      return ("%s is missing at the end of %d bytes: %s"):format(off:sub(2), #output,
        output:sub(-200):gsub("\27", "ESC"))
    end
  end
end

--- What was written after the live view.
---@param result table
---@return string
function live.tail(result) return (result.stderr:gsub("\r", ""):match "^.*\27%[%?1049l(.*)$") or result.stderr end

-- --- the storm -------------------------------------------------------------------------------------------------------

local KEYS <const> = { "1", "2", "3", "4", "5", "w", "a", "s", "d", "+", "-", "0", "h", "h", " ", " ", "\27[A", "\27[B",
  "o", "O", "v", "e", "l", "W", "r", "c", "/ab\r", "\27", "\t", "n", "\27[5~", "\r", "?", "\27[Z", "\12", "\27[<0;3;4M",
  "\255", "é" }

-- Workers die, items fail, something is printed; the items that arrive, and those that fail, are a hundred, each once,
-- or fewer where the run was ended.
local PROGRAM <const> = [[
  local p = pipeline(1, function(n)
    if n %% 33 == 0 then core.kill(core.pid(), 9) end
    if n %% 25 == 0 then error "no" end
    if n %% 10 == 0 then print("item " .. n) end
    return n
  end)
  p:after_run(function() if %s then error "late" end end)
  local seen, twice = {}, 0
  local ok, r = pcall(p.run, p, { hud = "leave", failures = "collect", keep_failures = 10 })
  r = ok and r or p.last
  if not r then error "interrupted!" end
  for _, n in ipairs(r.items) do twice, seen[n] = twice + (seen[n] and 1 or 0), true end
  local whole = not (r.stopped or r.killed or (r.error or ""):find "^interrupted!")
  print(("result %%d, %%d twice, whole %%s"):format(#r.items + r.failed, twice, whole))
]]

-- How a run may be ended before its end, and the exit statuses then; the keys may have been lost to a stop.
local ENDS <const> = {
  { "", "0" }, { "! Q\n! y\n", "0" }, { "! q\n! y\n", "0" }, { "! x\n. 0.1\n! y\n", "0" }, { "! K\n! y\n", "0" },
  { "^C\n", "0 1 130" }, { "^C\n. 0.1\n^C\n", "0 1 130" }, { "$ 15\n", "0 1 143" }, { "$ 1\n", "0 1 129" },
}

local function random_of(list) return list[math.random(#list)] end

--- One round of the storm: a run, random keys, sizes and stops, an end. Draws from math.random.
---@return string? message what is wrong
---@return string what was done, or how it has ended
function live.storm()
  local script = { "? RUNNING" }
  for i = 1, math.random(5, 40) do
    local what = math.random(20)
    script[#script + 1] = what == 1 and ("= %d %d"):format(math.random(1, 200), math.random(1, 60))
      or what == 2 and "^Z" or what == 3 and ". 0.1" or "! " .. random_of(KEYS)
    if i % 5 == 0 then script[#script + 1] = ". 0.05" end
  end
  local how, late = random_of(ENDS), math.random(8) == 1
  if how[1] ~= "" then script[#script + 1] = "! \27\n. 0.1" end -- no question, no search, no help
  local text = table.concat(script, "\n") .. "\n" .. how[1] .. "? (status\n"
  local result, same = live.play(PROGRAM:format(late), text, {},
    "while [ $status = 148 ]; do fg; status=$?; done")
  local status = result.stderr:match "%(status (%d+)%)"
  local damage = live.damage(result, same)
  if damage then return damage, text end
  if not status or not (" " .. how[2] .. " "):find(" " .. status .. " ", 1, true) then
    return ("status %s, %s expected: %s"):format(status, how[2], live.tail(result)), text
  end
  local n, twice, whole = result.stderr:match "result (%d+), (%d+) twice, whole (%a+)"
  if status == "0" and (not n or twice ~= "0" or tonumber(n) > 100 or whole == "true" and n ~= "100") then
    return "the result is not right: " .. live.tail(result), text
  end
  return nil, how[1]:gsub("\n", " ") .. "-> " .. status
end

return live
