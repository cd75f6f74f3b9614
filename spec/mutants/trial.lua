--- Tries one mutant: runs tests that execute its line in a copy of the tree with that line changed, those that are
-- most about its file and quickest first, until one fails. Each failure is tried again there and in a copy without the
-- change, so that a test which a busy machine makes late kills nothing.

local coverage = require "spec.mutants.coverage"
local draw = require "spec.mutants.draw"
local shell = require "spec.mutants.shell"

local M = {}

local DEADLINE, PATIENCE = 8, 4                   -- a test has so many seconds, and its own time so many times
local ROUNDS = {                                  -- at most; of a file
  { files = 5, tests = 8, seconds = 5 }, { files = 20, tests = 25, seconds = 30 },
  { files = math.huge, tests = math.huge, seconds = math.huge },
}
local MOST = 150                                  -- names that are given to one run; else the whole file is run

local function pattern(name) return "^" .. name:gsub("%W", "%%%0") .. "$" end

-- What is to be run of one spec file: `names` nil for all.
local function command(dir, job)
  local words = {}
  for i, name in ipairs(job.names and #job.names <= MOST and job.names or {}) do
    words[i] = shell.quote("--filter=" .. pattern(name))
  end
  return shell.contained(("cd %s && MINIGUN_TEST_DEADLINE=%d bash spec/run %s --no-keep-going %s -- lua5.4 "
    .. "/usr/bin/busted --ignore-lua"):format(dir, math.ceil(DEADLINE + PATIENCE * job.longest), job.spec,
    table.concat(words, " ")), 3 * DEADLINE + PATIENCE * job.seconds)
end

-- The first failure of jobs in one copy: what spec/run has said; nil where all tests have passed.
local function run(self, dir, jobs, beside)
  local commands = {}
  for i, job in ipairs(jobs) do commands[i] = command(dir, job) end
  local results = shell.beside(self.dir .. "/jobs", commands, beside)
  for i = 1, #jobs do
    local result = results[i]
    if result and result.code ~= 0 then
      local output = result.output
      local hung = result.code == 124 or result.code == 137 or output:find("did not end in time", 1, true)
      return { job = jobs[i], name = output:match("\nFAIL ([^\n]*)") or output:match("^FAIL ([^\n]*)"),
        hung = hung and true, output = output, text = output:match("FAIL [^\n]*\n%s*([^\n]*)") }
    end
  end
  return nil
end

-- Whether a failure is the mutant's.
local function confirmed(self, failure)
  local name = failure.name and failure.name:match("^after '(.*)'$") or failure.name
  local job = { spec = failure.job.spec, names = self.known[name] and { name } or failure.job.names,
    seconds = failure.job.seconds, longest = failure.job.longest }
  if run(self, self.plain, { job }, 1) then
    self.fails_anyway[job.spec .. ": " .. tostring(failure.name)] = true
    return false
  end
  return failure.hung or run(self, self.copy, { job }, 1) ~= nil
end

local function words_of(text)
  local set = {}
  for word in text:gmatch "[%a_][%w_]*" do set[word] = #word > 3 or nil end
  return set
end

-- How much a spec file speaks of what a mutant's line speaks of: the rarer a word is in the specs, the more it counts.
local function nearness(self, mutant)
  local near = {}
  for word in pairs(words_of(mutant.old)) do
    local files = {}
    for spec, words in pairs(self.words) do
      if words[word] then files[#files + 1] = spec end
    end
    for _, spec in ipairs(files) do near[spec] = (near[spec] or 0) + math.log(self.specs / #files) end
  end
  return near
end

-- By the share of a test's blocks that are of the mutant's file, by what its file speaks of, and by its time.
local function ranked(self, mutant, tests)
  local list, near = { table.unpack(tests) }, nearness(self, mutant)
  local score = {}
  for i, test in ipairs(list) do
    local share = (test.counts[mutant.group] or 0) / test.total
    score[test] = share * (1 + 2 * (near[test.spec] or 0)) / (0.2 + test.seconds) + i * 1e-9
  end
  table.sort(list, function(a, b) return score[a] > score[b] end)
  return list
end

-- Jobs, one a spec file, of tests.
local function jobs_of(tests)
  local jobs, by_spec = {}, {}
  for _, test in ipairs(tests) do
    local job = by_spec[test.spec]
    if not job then
      job = { spec = test.spec, names = {}, seconds = 0, longest = 0 }
      by_spec[test.spec] = job
      jobs[#jobs + 1] = job
    end
    job.names[#job.names + 1] = test.name
    job.seconds, job.longest = job.seconds + test.seconds, math.max(job.longest, test.seconds)
  end
  return jobs
end

-- The jobs of each round: the best tests, those after them, all others.
local function rounds(self, mutant, tests)
  local left, list = ranked(self, mutant, tests), {}
  for i, most in ipairs(ROUNDS) do
    local taken, later, of_file, files, seconds = {}, {}, {}, 0, 0
    for _, test in ipairs(left) do
      local n = of_file[test.spec] or 0
      if (n > 0 or files < most.files) and n < most.tests and seconds + test.seconds <= most.seconds then
        files = files + (n == 0 and 1 or 0)
        of_file[test.spec], seconds = n + 1, seconds + test.seconds
        taken[#taken + 1] = test
      else
        later[#later + 1] = test
      end
    end
    list[i], left = jobs_of(taken), later
  end
  table.sort(list[3], function(a, b) return a.seconds < b.seconds end)
  return list
end

-- Makes the mutant in the copy; false where the core cannot be built with it.
local function make(self, mutant)
  shell.run("rm -rf %s && cp -a %s %s", self.copy, self.plain, self.copy)
  local path = self.copy .. "/" .. mutant.path
  shell.write(path, draw.with_line(shell.read(path), mutant.line, mutant.new))
  self.faults = mutant.path:find("%.lua$") ~= nil -- the build for them is up to date
  return self.faults or coverage.build(self.copy)
end

-- The build in which calls fail takes as long as a few tests: it is made for those that use it.
local function make_faults(self, jobs)
  for _, job in ipairs(jobs) do
    if not self.faults and shell.read(job.spec):find "faults" then
      shell.run("make -s -C %s faults >/dev/null 2>&1", self.copy)
      self.faults = true
    end
  end
end

--- @param dir string, a directory for copies of the tree, with one in `plain` that is built
-- @param jobs integer, how many spec files at once
-- @param tests array, all tests, from coverage.lua
-- @return table, for `try`
function M.new(dir, jobs, tests)
  local known, words, specs = {}, {}, 0
  for _, test in ipairs(tests) do
    known[test.name] = true
    if not words[test.spec] then
      words[test.spec], specs = words_of(shell.read(test.spec)), specs + 1
    end
  end
  return { dir = dir, plain = dir .. "/plain", copy = dir .. "/copy", jobs = jobs, known = known, words = words,
    specs = specs, fails_anyway = {} }
end

--- @param self table, from `new`
-- @param mutant table, from draw.lua
-- @param tests array of those tests that execute its line
-- @param last integer: 1: a few of them, 2: more, 3: all, 4: all specs after them
-- @return table: result = "killed" | "SURVIVED" | "invalid", round =, by = (the spec), name =, hung =
function M.try(self, mutant, tests, last)
  if not make(self, mutant) then return { result = "invalid" } end
  local list = rounds(self, mutant, tests)
  if last == 4 then
    list[4] = {}
    for _, spec in ipairs(shell.lines "find spec -name '*_spec.lua' | LC_ALL=C sort") do
      table.insert(list[4], { spec = spec, seconds = 60, longest = 15 })
    end
  end
  for round = 1, last do
    local jobs = list[round]
    while #jobs > 0 do
      make_faults(self, jobs)
      local failure = run(self, self.copy, jobs, round == 1 and 1 or self.jobs)
      if not failure then break end
      if confirmed(self, failure) then
        return { result = "killed", round = round, by = failure.job.spec, name = failure.name, hung = failure.hung,
          text = failure.text }
      end
      for i, job in ipairs(jobs) do                   -- on with those after it, and with the rest of its own
        if job == failure.job then
          table.remove(jobs, i)
          break
        end
      end
    end
  end
  return { result = "SURVIVED" }
end

return M
