--- `minigun top`: looks at runs and servers of other terminals.
local looking = require "minigun.control.looking"
local status = require "minigun.command.status"

local top = {
  name = "top",
  summary = "look at runs and servers that go on in other terminals",
  about = [[
    Without PID: shows the one run or server that there is, or a list where there are several, or with --list.
    With PID: that process's. Runs of the commands run, map, each, busted and worker, and all servers, can be
    looked at, and runs with observe = true or MINIGUN_TOP=1. Keys: h shows them, q closes the view; nothing
    that is looked at is touched. Exit status: 0; 1 there is nothing to look at.]],
  options = {
    { "--list", nil, "only list them" },
    { "--json", nil, "print the figures as JSON, once" },
  },
  arguments = { { "PID", "the number of a process", args = "?" } },
  examples = {
    { "minigun top", "what goes on now" },
    { "minigun top 4711 --json", "the figures of one process, for other programs" },
  },
}

-- Those of a process, or all.
local function chosen(pid)
  local list = {}
  local entries, message = looking.list()
  if message then status.complain("top: " .. message, status.FAILED) end
  for _, entry in ipairs(entries) do
    if not pid or entry.pid == pid then list[#list + 1] = entry end
  end
  return list
end

---@param given table what the words say
---@return integer status
function top.run(given)
  local pid = given.pid and math.tointeger(tonumber(given.pid))
  if given.pid and not pid then status.wrong_call(("top: PID is a number, got '%s'"):format(given.pid)) end
  local list = chosen(pid)
  if not list[1] then
    io.stderr:write(pid and ("minigun: top: process %d has no run or server to look at; 'minigun top' lists all\n")
      :format(pid) or "minigun: top: there is no run or server to look at; minigun run, or MINIGUN_TOP=1, makes one\n")
    return status.FAILED
  end
  if given.json then
    local json = require "minigun.base.json"
    for _, entry in ipairs(list) do print(json.encode(entry.status)) end
  elseif given.list or list[2] and not pid then
    io.write(looking.text(list))
  else
    looking.show(list[#list]) -- its last run
  end
  return status.DONE
end

return top
