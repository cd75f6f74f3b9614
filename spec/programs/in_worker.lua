-- in_worker.lua SPEC...: runs spec files in the worker of a server, and leaves with busted's exit code.
local core = require "minigun.core"
local minigun = require "minigun"

local files = { table.unpack(arg) }
local code
local server = minigun.supervisor {
  workers = 1, max_restarts = 0, start_timeout = 600, log = function() end,
  on_exit = function(_, cause) code = cause.code end,
  worker = function()
    print("worker of", core.parent())
    rawset(_G, "arg", { [0] = "busted", "--ignore-lua", table.unpack(files) })
    dofile(os.getenv "BUSTED" or "/usr/bin/busted")
  end,
}
server:run()
os.exit(code or 70)
