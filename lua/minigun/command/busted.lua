--- `minigun busted`: a suite of busted's, over all cores. Spec files run in processes of busted's own, with all the
-- options that are given: the longest alone and first, short ones some in a process, as its start would take longer
-- than they do. What they tell (busted_recorder.lua) is told again here, file by file in busted's order, to the output
-- handler that is asked for: there is one closing line, of the suite.
local minigun = require "minigun"
local status = require "minigun.command.status"

local MARK <const> = "\0minigun: the end of a file\0" -- of busted_recorder.lua
local LEAST <const>, MOST <const> = 0.2, 1 -- seconds of short files that come together

local busted = {
  name = "busted",
  summary = "run the specs of a busted suite over all cores",
  about = [[
    Takes busted's own options and files, and -j N, --jobs N: how many files run at once (one for each
    processor). Counts, output handlers and the exit status are busted's. Short files share a process; one that
    fails there is run again alone, and that counts. A file whose process dies counts as an error that names it.
    With --list, --coverage, --repeat, --no-keep-going and --version busted itself is run, in one process.]],
  raw = true,
  examples = {
    { "minigun busted", "the suite of this directory, as its .busted says" },
    { "minigun busted -j 4 --filter journal spec/unit", "some tests of a directory, four files at once" },
  },
}

-- busted and its parts; ends the command where it is not installed.
local function library(name)
  local found, module = pcall(require, name)
  if not found then
    status.complain(("busted: this needs busted (Debian: lua-busted): %s"):format(tostring(module):match "[^\n]*"),
      status.FAILED)
  end
  return module
end

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

-- The words without the files and directories, which come last.
local function without_roots(words, roots)
  local rest, n = { table.unpack(words) }, #roots
  for i = #rest, 1, -1 do
    if n > 0 and rest[i] == roots[n] then
      table.remove(rest, i)
      n = n - 1
    end
  end
  return rest
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

-- Shares the files out: a list of files for each process. The files that took longest, or are largest, come first. A
-- file that has not been run here yet may take long, so only a few such files share a process.
local function batches_of(files, full, times, jobs)
  local lfs = library "lfs"
  local list, weight, batches, total = {}, {}, {}, 0
  local unknown = LEAST / math.max(1, #files // (8 * jobs))
  for i, path in ipairs(files) do
    list[i] = { index = i, path = path, full = full(path) }
    weight[list[i]] = times[list[i].full] or unknown + (lfs.attributes(path, "size") or 0) * 1e-9
    total = total + weight[list[i]]
  end
  table.sort(list, function(a, b)
    if weight[a] ~= weight[b] then return weight[a] > weight[b] end
    return a.index < b.index
  end)
  local enough = math.max(LEAST, math.min(MOST, total / (3 * jobs)))
  local sum = enough
  for _, file in ipairs(list) do
    if sum >= enough then batches[#batches + 1], sum = {}, 0 end
    table.insert(batches[#batches], file)
    sum = sum + weight[file]
  end
  for _, batch in ipairs(batches) do table.sort(batch, function(a, b) return a.index < b.index end) end
  return batches
end

local function how_it_ended(result)
  return result.signal and "by signal " .. result.signal or result.code and "with code " .. result.code or
    "it is not known how"
end

-- Runs files in a busted of its own. Returns what it has told and how it ended.
local function run_process(files, words, cwd)
  local path = os.tmpname()
  local here = debug.getinfo(1, "S").source:match "^@(.*/)"
  if not here:find "^/" then here = cwd .. "/" .. here end
  local command = { arg[-1] or "lua5.4", here .. "busted_child.lua", table.unpack(words) }
  table.move({ "-o", here .. "busted_recorder.lua" }, 1, 2, #command + 1, command)
  for _, file in ipairs(files) do command[#command + 1] = file.path end
  local result, fault = minigun.command(command, { cwd = cwd, env = { MINIGUN_BUSTED = path }, limit = 1 << 30 })
  local told = io.open(path)
  local events = told and told:read "a" or ""
  if told then told:close() end
  os.remove(path)
  result = result or { out = "", err = fault .. "\n", seconds = 0, code = 127 }
  return { events = events, out = result.out, err = result.err, seconds = result.seconds, how = how_it_ended(result) }
end

-- What was printed before the recorder's mark after each file; the rest is that of the last one.
local function share_output(text, ended, last, field)
  local at = 1
  for _, file in ipairs(ended) do
    local mark = text:find(MARK, at, true)
    file[field] = text:sub(at, mark and mark - 1)
    at = mark and mark + #MARK or #text + 1
  end
  last[field] = last[field] .. text:sub(at)
end

-- Gives each file what a process has told of it. Returns the files that the process had not begun when it died.
local function share_out(files, told)
  local by_path, ended, current, whole = {}, {}, files[1], false
  for _, file in ipairs(files) do
    by_path[file.path], file.events, file.seconds = file, {}, told.seconds / #files
    file.out, file.err, file.died, file.wrong = "", "", nil, false
  end
  for line in told.events:gmatch "[^\n]+" do
    local event = load("return " .. line, "=event", "t", {})
    event = event and event()
    local kind, what = table.unpack(event and event.channel or {})
    if kind == "exit" then whole = true
    elseif event then
      if kind == "file" or what == "file" then current = by_path[event[1].name] or current end
      table.insert(current.events, event)
      current.wrong = current.wrong or kind == "error" or kind == "failure"
      if kind == "file" and what == "end" then
        ended[#ended + 1], current.seconds = current, event[1].duration
      end
    end
  end
  share_output(told.out, ended, current, "out")
  share_output(told.err, ended, current, "err")
  local rest = {}
  if whole then return rest end
  current.died, current.wrong = told.how, true
  for _, file in ipairs(files) do
    if not file.events[1] and not file.died then rest[#rest + 1] = file end
  end
  return rest
end

-- Runs the files of a batch, those after one that has killed its process in a further one. What goes wrong with a file
-- may come of those before it: it is run again in a process of its own, and what it says there counts.
local function run_batch(batch, words, cwd)
  local rest = batch
  while rest[1] do rest = share_out(rest, run_process(rest, words, cwd)) end
  for _, file in ipairs(batch) do
    if batch[2] and file.wrong then
      share_out({ file }, run_process({ file }, words, cwd))
      file.seconds = math.max(file.seconds, MOST) -- next time it is alone from the start
    end
  end
end

-- Tells the suite's output handler what a file has told. `elements`: by their names in that process, so that a test's
-- begin and its end are of one object.
local function tell(own, file)
  local elements = {}
  local function of(value)
    if type(value) ~= "table" or not value.__element then return value end
    local element = elements[value.__element] or {}
    elements[value.__element] = element
    for key, each in pairs(value) do element[key] = each end
    return element
  end
  io.stdout:write(file.out)
  io.stdout:flush()
  io.stderr:write(file.err)
  for _, event in ipairs(file.events) do
    for i = 1, event.n do event[i] = of(event[i]) end
    own.publish(event.channel, table.unpack(event, 1, event.n))
  end
  if file.died then
    local text = ("%s: its process ended before its tests: %s"):format(file.path, file.died)
    own.publish({ "error", "file" }, { name = file.path, descriptor = "file" }, nil, text,
      { short_src = file.path, currentline = 0, traceback = "", message = text })
  end
end

-- The suite's own busted, with the output handler that is asked for. Returns it and the counts of what goes wrong.
local function own_busted(given)
  local own = library "busted.core"()
  library "busted"(own)
  local wrong = { n = 0 }
  own.subscribe({ "error" }, function() wrong.n = wrong.n + 1 return nil, true end)
  own.subscribe({ "failure" }, function() wrong.n = wrong.n + 1 return nil, true end)
  library "busted.modules.output_handler_loader"()(own, given.output, {
    defaultOutput = given.default_output, enableSound = given["enable-sound"], verbose = given.verbose,
    suppressPending = given["suppress-pending"], language = given.lang, deferPrint = given["defer-print"],
    arguments = given.Xoutput,
  })
  return own, wrong
end

local function run_suite(own, files, words, jobs, cwd, times)
  local lfs = library "lfs"
  local directory, ready, at = lfs.currentdir(), {}, 1
  local function full(path) return path:find "^/" and path or directory .. "/" .. path end
  local p = minigun.pipeline "busted"
  p:producer("files", batches_of(files, full, times, jobs))
  p:processor("run", { threads = jobs }, function(batch, emit)
    run_batch(batch, words, cwd)
    emit(batch)
  end)
  p:each("tell", function(batch)
    for _, file in ipairs(batch) do ready[file.index] = file end
    while ready[at] do
      tell(own, ready[at])
      times[ready[at].full] = ready[at].seconds
      ready[at], at = nil, at + 1
    end
  end)
  local suite = { descriptor = "suite", starttick = own.monotime(), starttime = own.gettime() }
  own.publish({ "suite", "start" }, suite, 1, 1)
  p:run { progress = false }
  suite.endtick, suite.endtime = own.monotime(), own.gettime()
  suite.duration = suite.endtick - suite.starttick
  own.publish({ "suite", "end" }, suite, 1, 1)
  own.publish { "exit" }
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

---@param words string[]
---@return integer status
function busted.run(words)
  local jobs = take_jobs(words)
  local given = parse(words)
  if needs_one_process(given) then
    _G.arg = { [0] = "busted", table.unpack(words) }
    library "busted.runner" { standalone = false }
    return status.DONE
  end
  local lfs = library "lfs"
  local cwd = lfs.currentdir()
  assert(lfs.chdir(given.directory))
  local own, wrong = own_busted(given)
  local _, _, all_files = library "busted.modules.test_file_loader"(own, given.loaders)
  local files = all_files(given.ROOT, given.pattern, { excludes = given["exclude-pattern"],
    recursive = given.recursive })
  local times = read_times()
  run_suite(own, files, without_roots(words, given.ROOT), jobs, cwd, times)
  write_times(times)
  return wrong.n > 0 and status.FAILED or status.DONE
end

return busted
