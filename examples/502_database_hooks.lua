-- A database connection must not cross a fork: parent and child would share its locks and its place in the file. So it
-- is closed in `before_fork`, each child opens its own in `after_fork`, and the coordinator opens again at the end.
-- Needs SQLite for Lua (Debian: lua-sql-sqlite3); without it the example says so and is skipped.
--
-- Expected output:
--   400 rows from 4 processes, none of them the coordinator's, sum 80200
-- Or:
--   ~ skipped: .*lua%-sql%-sqlite3.*

local found, driver = pcall(require, "luasql.sqlite3")
if not found then
  print "skipped: the module luasql.sqlite3 is not installed (Debian: apt-get install lua-sql-sqlite3)"
  return
end

local minigun = require "minigun"

local path = os.tmpname()                       -- an empty file is an empty database
local environment, connection

local function open()
  environment = driver.sqlite3()
  connection = assert(environment:connect(path))
  local cursor = assert(connection:execute("PRAGMA busy_timeout = 20000"))   -- ms: only one process writes at a time
  cursor:close()
end

local function close()
  if connection then
    connection:close()
    environment:close()
    connection = nil
  end
end

local function execute(sql)
  return assert(connection:execute(sql))
end

open()
execute "CREATE TABLE squares (n INTEGER, pid INTEGER)"

local p = minigun.pipeline "database_hooks"
p:producer("numbers", minigun.range(1, 400))
p:batch(10)
p:before_fork("store", close)
p:after_fork("store", open)
p:before_exit("store", close)
p:consumer("store", { processes = 4, queue = 4 }, function(batch, _, ctx)
  execute "BEGIN IMMEDIATE"
  for _, n in ipairs(batch) do
    execute(("INSERT INTO squares VALUES (%d, %d)"):format(n, ctx.pid))
  end
  execute "COMMIT"
  os.execute "sleep 0.01"                       -- the work that keeps one worker from taking every batch
end)
p:run()

open()
local cursor = execute "SELECT count(*), count(DISTINCT pid), sum(n) FROM squares"
local rows, pids, sum = cursor:fetch()
cursor:close()
local stat <close> = assert(io.open "/proc/self/stat")
cursor = execute("SELECT count(*) FROM squares WHERE pid = " .. math.tointeger(stat:read("n")))
local own = cursor:fetch()
cursor:close()
close()
os.remove(path)
assert(own == 0)
print(("%d rows from %d processes, none of them the coordinator's, sum %d"):format(rows, pids, sum))
