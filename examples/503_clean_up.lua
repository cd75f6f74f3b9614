-- What opens something closes it: each worker makes a scratch file in `after_fork` and removes it in `before_exit`. A
-- worker that is killed cannot; the coordinator does it in `on_worker_exit`, which is called at every child's end.
--
-- Expected output:
--   a killed worker has left its file, which is removed
--   passed: 1 2 4 5, failed: 3
--   files left: 0

local minigun = require "minigun"

local directory = os.tmpname()                  -- a file of that name is there
os.remove(directory)
assert(os.execute("mkdir " .. directory))

local function path_of(pid)
  return ("%s/%d"):format(directory, pid)
end

local p = minigun.pipeline "clean_up"
p:producer("numbers", { 1, 2, 3, 4, 5 })

local scratch
p:after_fork("work", function(ctx) scratch = assert(io.open(path_of(ctx.pid), "w")) end)
p:before_exit("work", function(ctx)
  scratch:close()
  os.remove(path_of(ctx.pid))
end)
p:processor("work", { processes = 2 }, function(n, emit, ctx)
  if n == 3 then os.execute("kill -KILL " .. ctx.pid) end
  scratch:write(n, "\n")
  emit(n)
end)
p:on_worker_exit(function(exit)
  if os.remove(path_of(exit.pid)) then print "a killed worker has left its file, which is removed" end
end)
local failed = {}
p:on_failure(function(failure) failed[#failed + 1] = failure.item end)

local result = p:run()
table.sort(result.items)
print("passed: " .. table.concat(result.items, " ") .. ", failed: " .. table.concat(failed, " "))
local list <close> = assert(io.popen("ls " .. directory))
print("files left: " .. select(2, list:read("a"):gsub("\n", "")))
os.remove(directory)
