--- `minigun busted`: a suite of busted's, over all cores. Spec files run in processes of busted's own, one in each at a
-- time, with all the options that are given. The files that took longest last time are begun first. The processes
-- write down what busted tells in them (busted_workers.lua). This process tells it again, file by file in busted's
-- order, to the output handler that is asked for: there is one closing line, of the suite.
local library = require "minigun.command.busted_library"
local minigun = require "minigun"
local status = require "minigun.command.status"
local teller = require "minigun.command.busted_teller"
local template = require "minigun.command.template"
local terminate = require "minigun.system.terminate"

local LOOK <const> = 0.05 -- seconds between looks at what the processes have told
local SHORT <const> = 0.1 -- seconds of a suite that is not worth a second process

local busted = {
  name = "busted",
  stops = true,
  summary = "run the specs of a busted suite over all cores",
  about = [[
    Takes busted's own options and files, and -j N, --jobs N: how many files run at once (one for each
    processor). Counts, output handlers and the exit status are busted's. A process takes one file after the other;
    one that fails after others is run again in a new process, and that counts. A file whose process dies counts as
    an error that names it. After Ctrl-C no file is begun, and what is known is told. How long files took is kept in
    ~/.cache: the longest are begun first. With --list, --coverage, --repeat, --no-keep-going and --version, and where
    all files together took less than 0.1 s, busted itself is run, in one process. Where tests mostly wait, more
    files at once than processors pay: -j 6.]],
  raw = true,
  examples = {
    { "minigun busted", "the suite of this directory, as its .busted says" },
    { "minigun busted -j 4 --filter journal spec/unit", "some tests of a directory, four files at once" },
  },
}

-- Takes -j off the words: how many files at once.
local function take_jobs(words)
  for i, word in ipairs(words) do
    local text = word:match "^%-j(%d+)$" or word:match "^%-%-jobs=(.*)$"
    local separate = word == "-j" or word == "--jobs"
    if text or separate then
      local n = math.tointeger(tonumber(text or words[i + 1]))
      if not n or n < 1 then status.wrong_call(("busted: option %s needs a whole number from 1"):format(word)) end
      table.remove(words, i)
      if separate then table.remove(words, i) end
      return n
    end
  end
  return minigun.cpus()
end

-- The seconds that each file took when it was last run here, by its full path; an array of lines in a cache.
local function times_file()
  local cache = os.getenv "XDG_CACHE_HOME" or (os.getenv "HOME" or "") .. "/.cache"
  return cache .. "/minigun-busted-times"
end

local function read_times()
  local times, file = {}, io.open(times_file())
  for line in file and file:lines() or function() end do
    local seconds, path = line:match "^(%S+)\t(.+)$"
    if seconds then times[path] = tonumber(seconds) end
  end
  if file then file:close() end
  return times
end

local function write_times(times)
  local file = io.open(times_file(), "w") -- where there is no such directory, sizes have to serve
  if not file then return end
  for path, seconds in pairs(times) do file:write(("%.3f\t%s\n"):format(seconds, path)) end
  file:close()
end

-- The files in the order in which they are begun: the files that took longest come first. For a file that has not been
-- run here yet its size says how long it may take. Returns as well whether all files are known to be short.
local function dealt(files, times)
  local lfs = library "lfs"
  local seconds, bytes, known, weight, list = 0, 0, 0, {}, {}
  for i, file in ipairs(files) do
    weight[file], list[i] = lfs.attributes(file.path, "size") or 0, file
    local took = times[file.full]
    if took then seconds, bytes, known = seconds + took, bytes + weight[file], known + 1 end
  end
  for _, file in ipairs(files) do
    weight[file] = times[file.full] or weight[file] * (bytes > 0 and seconds / bytes or 1)
  end
  table.sort(list, function(a, b)
    if weight[a] ~= weight[b] then return weight[a] > weight[b] end
    return a.index < b.index
  end)
  for turn, file in ipairs(list) do file.turn = turn end
  return list, known == #files and known > 0 and seconds < SHORT
end

local function quoted(words)
  local list = {}
  for i, word in ipairs(words) do list[i] = template.quote(word) end
  return table.concat(list, " ")
end

-- Runs the whole suite in one busted, as its own command does. Returns the exit status, and whether it has come to the
-- suite's end; if not, its process may have died.
local function run_plain(command, cwd)
  local path <const> = os.tmpname()
  io.stdout:flush()
  local done = os.execute(("cd %s && MINIGUN_BUSTED=%s exec %s"):format(quoted { cwd }, path, quoted(command)))
  local whole = library "lfs".attributes(path, "size") > 0
  os.remove(path)
  return done and status.DONE or status.FAILED, whole
end

-- The same for a suite that was short when it was last run. Where it is not any more its files' times are forgotten.
local function run_short(command, cwd, files, times)
  local start = minigun.now()
  local code, whole = run_plain(command, cwd)
  if minigun.now() - start > 10 * SHORT then
    for _, file in ipairs(files) do times[file.full] = nil end
    write_times(times)
  end
  return whole and code or nil
end

-- Lets the workers run, and tells what they have told, file by file in busted's order. Returns how much was wrong.
local function run_suite(files, workers, jobs, new_teller)
  local p, at, telling = minigun.pipeline "busted", 1, nil
  local function tell(all)
    telling = telling or new_teller()
    workers:read()
    while files[at] and (all or files[at].finished) do
      if files[at].finished then telling:file(files[at]) end
      at = at + 1
    end
  end
  p:producer("workers", minigun.range(1, math.min(jobs, #files)))
  p:each("run", { threads = jobs }, function() workers:work() end)
  p:on_failure(function(failure) error(failure.message, 0) end)
  p:after_run(function() -- after this a signal may end the process
    workers:abandon()
    tell(true)
    telling:finish(workers)
    workers:close()
  end)
  local run <close> = p:start { progress = false }
  local pause = 0 -- the processes have been started: while they load busted this one does
  while run:step(pause) do
    if terminate.asked() then workers:halt() end
    tell()
    pause = LOOK
  end
  run:wait()
  return telling.wrong
end

-- What starts a process of busted's: the interpreter that the suite asks for, or this one.
local function program(given, cwd)
  local here = debug.getinfo(1, "S").source:match "^@(.*/)"
  if not here:find "^/" then here = cwd .. "/" .. here end
  local words = {}
  for word in (given.lua or arg[-1] or "lua5.4"):gmatch "%S+" do words[#words + 1] = word end
  table.move({ here .. "busted_child.lua", "--ignore-lua" }, 1, 2, #words + 1, words)
  return words
end

-- What is told of tests one after the other is busted's own matter.
local function needs_one_process(given)
  return given.list or given.coverage or given.version or given["repeat"] > 1 or not given["keep-going"]
end

-- busted's own idea of the words. It may run another interpreter, unless it is told not to.
local function parse(words)
  local default = library "term".isatty(io.stdout) and "utfTerminal" or "plainTerminal"
  local cli = library "busted.modules.cli" { output = default }
  cli:set_name "minigun busted"
  local given, fault = cli:parse { "--ignore-lua", table.unpack(words) }
  if not given then status.complain(fault, status.FAILED) end
  given.default_output = default
  return given
end

-- The suite's files in busted's order. Without loaders busted's loader only lists them, and says which are not there:
-- that is returned, too.
local function files_of(given, seed)
  local wrong = {}
  local lister = { publish = function(...) wrong[#wrong + 1] = table.pack(...) end }
  local directory = library "lfs".currentdir()
  for _, language in ipairs { "en", given.lang } do pcall(require, "busted.languages." .. language) end
  local paths = library "busted.modules.test_file_loader"(lister, {})(given.ROOT, given.pattern, {
    excludes = given["exclude-pattern"], recursive = given.recursive })
  if given["sort-files"] then table.sort(paths)
  elseif given["shuffle-files"] then library "busted.utils".shuffle(paths, seed)
  end
  for i, path in ipairs(paths) do
    paths[i] = { index = i, path = path, full = path:find "^/" and path or directory .. "/" .. path }
  end
  return paths, wrong
end

---@param words string[]
---@return integer status
function busted.run(words)
  local jobs = take_jobs(words)
  local given = parse(words)
  local lfs = library "lfs"
  local cwd = lfs.currentdir()
  local command = program(given, cwd)
  local function with(more) return table.move(more, 1, #more, #command + 1, { table.unpack(command) }) end
  if needs_one_process(given) then return (run_plain(with(words), cwd)) end
  assert(lfs.chdir(given.directory))
  local seed = tonumber(given.seed) or library "busted.utils".urandom() or os.time()
  local files, absent = files_of(given, seed)
  command = with { "--seed=" .. seed, table.unpack(words) }
  if #files == 0 then return (run_plain(command, cwd)) end -- it says so
  local times = read_times()
  local list, short = dealt(files, times)
  local code = short and run_short(command, cwd, files, times)
  if code then return code end
  local workers <close> = library "minigun.command.busted_workers".new(list, command, cwd)
  local wrong = run_suite(files, workers, jobs, function() return teller.new(given, seed, absent) end)
  for _, file in ipairs(files) do -- the machine may have been busy: what was long once is not believed at once
    local before = times[file.full]
    times[file.full] = file.seconds and before and math.min(file.seconds, 2 * before) or file.seconds or before
  end
  write_times(times)
  return wrong > 0 and status.FAILED or status.DONE
end

return busted
