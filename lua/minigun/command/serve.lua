--- `minigun serve FILE`: runs the server that a file describes.
local program = require "minigun.command.program"
local status = require "minigun.command.status"

local function address(text) return tonumber(text) or text end

local serve = {
  name = "serve",
  summary = "run the server that a file describes",
  about = [[
    FILE returns the table for minigun.supervisor, or a supervisor; see docs/server.md, which also has the exit
    statuses. The options hold for every server of FILE, whatever that says.]],
  options = {
    { "--listen", "ADDRESS", "host:port, [::1]:port, unix:/path, or a port; may be given several times", many = true,
      convert = address },
    { "--workers", "N", "N worker processes", convert = "count" },
    { "--pid-file", "F", "a file that holds the number of the master while it serves" },
  },
  arguments = { { "FILE", "the program" } },
  rest = true,
  options_after = true,
  examples = { { "minigun serve app.lua --listen 8080 --workers 4", "serves on port 8080 with four workers" } },
}

-- Runs the server that the program returns, or that its table describes; it may have run it itself. Returns the exit
-- status.
local function serve_program(chunk, words)
  local value = chunk(table.unpack(words))
  local class, served = program.class_of(value), program.loaded "supervisor.server".last
  if class == "minigun.supervisor" then return program.field(value, "last") or value:run() end
  if served then return served end
  if class == "minigun.pipeline" then
    status.complain(("%s returns a pipeline: use minigun run %s"):format(arg[0], arg[0]), status.USAGE)
  elseif class ~= "table" then
    status.complain(("%s returns no table for minigun.supervisor, but a %s; return { worker = function(w) ... end }")
      :format(arg[0], class), status.USAGE)
  end
  local ok, server = pcall(require("minigun").supervisor, value)
  if not ok then
    status.complain(("%s: %s"):format(arg[0], (tostring(server):gsub("^[^\n]-: supervisor", "supervisor"))),
      status.USAGE)
  end
  return server:run()
end

---@param given table what the words say
---@return integer status
function serve.run(given)
  local forced = { listen = given.listen and given.listen[1] and given.listen or nil, workers = given.workers,
    pid_file = given.pid_file }
  program.force("serve", forced, function(options) require("minigun.supervisor.server").force(options) end)
  return program.run(given.rest, serve_program)
end

return serve
