--- make mutants: changes one thing at a time in lua/ and src/, and says which changes no test notices.
--
--   make mutants N=100 SEED=1      so many, drawn by that number
--   ONLY='3 17'                    of these only those with the numbers
--   FILES=journal                  drawn from files only whose paths match this pattern of Lua
--   JOBS=2                         spec files at once
--   ROUNDS=3                       1: a mutant meets a few tests of those that execute its line, 2: more, 3: all, if
--                                  the others let it pass; 4: all specs
--   LIST=1                         the mutants are only shown
--
-- All is done in copies of the tree in build-mutants; they are kept for the next run, and so is the map of what each
-- test executes. Known equivalents are named in equivalents.lua. Fails where less than GOAL of the mutants are killed.

package.path = "./?.lua;" .. package.path

local blocks = require "spec.mutants.blocks"
local coverage = require "spec.mutants.coverage"
local draw = require "spec.mutants.draw"
local equivalents = require "spec.mutants.equivalents"
local mask = require "spec.mutants.mask"
local shell = require "spec.mutants.shell"
local trial = require "spec.mutants.trial"

local DIR, GOAL = "build-mutants", 0.95

local function option(name, default) return tonumber(os.getenv(name) or "") or default end

local function say(format, ...) io.stdout:write(format:format(...), "\n"):flush() end

-- The marks that say whether a mutant's line is executed, and all of its file.
local function add_marks(mutants)
  local files = coverage.lua_blocks()
  local core_lines, core_files = coverage.core_marks()
  local wanted, groups = {}, {}
  for _, mutant in ipairs(mutants) do
    local file, name = files[mutant.path], mutant.path:match("[^/]+$")
    mutant.group, mutant.marks = mutant.path, {}
    local all = core_files[name] or {}
    if file then
      all = {}
      for id = file.first, file.last do all[id] = true end
      local before = table.concat(mask.lines(file.text), "\n", 1, mutant.line - 1)
      local id = blocks.at(file.list, #before + mutant.at + (mutant.line > 1 and 1 or 0))
      if id ~= file.first then mutant.marks[id] = true end -- else it is executed wherever the file is loaded
    else
      for _, mark in ipairs(core_lines[name .. " " .. mutant.line] or {}) do mutant.marks[mark] = true end
    end
    if not next(mutant.marks) then mutant.marks = all end -- a constant: any test of the file may use it
    for mark in pairs(mutant.marks) do wanted[mark] = true end
    for mark in pairs(all) do
      groups[mark] = groups[mark] or {}
      groups[mark][mutant.group] = true
    end
  end
  for mark, set in pairs(groups) do
    local list = {}
    for group in pairs(set) do list[#list + 1] = group end
    groups[mark] = list
  end
  return wanted, groups
end

local function executing(mutant, tests)
  local list = {}
  for _, test in ipairs(tests) do
    for mark in pairs(mutant.marks) do
      if test.marks[mark] then
        list[#list + 1] = test
        break
      end
    end
  end
  return list
end

local function trimmed(text) return text:match("^%s*(.-)%s*$") end

local function reason_of(mutant)
  for _, known in ipairs(equivalents) do
    if known.old == trimmed(mutant.old) and known.new == trimmed(mutant.new) and
      mutant.path:match("[^/]+$") == known.file and (known.after or mutant.after) == mutant.after then
      return known.why
    end
  end
  return nil
end

-- Says which known equivalents no file has any more: they are to be taken out of their list.
local function look_for_old()
  for _, known in ipairs(equivalents) do
    local found = false
    for _, path in ipairs(shell.lines(("find lua src -name %s"):format(known.file))) do
      for line in io.lines(path) do found = found or trimmed(line) == known.old end
    end
    if not found then say("no such line any more: %s: %s", known.file, known.old) end
  end
end

local function show(mutant)
  say("%4d %s:%d [%s] %s\n       - %s\n       + %s", mutant.number, mutant.path, mutant.line, mutant.kind,
    mutant.outcome or "", trimmed(mutant.old), trimmed(mutant.new))
end

local function try_all(mutants, tests, only, rounds, jobs)
  local trials = trial.new(DIR, jobs, tests)
  for _, mutant in ipairs(mutants) do
    if not only or only[mutant.number] then
      local began = os.time()
      local list = executing(mutant, tests)
      mutant.why = reason_of(mutant)
      if mutant.why then
        mutant.result, mutant.outcome = "equivalent", "equivalent: " .. mutant.why
      elseif #list == 0 and rounds < 4 then
        mutant.result, mutant.outcome = "SURVIVED", "SURVIVED: no test executes it"
      else
        local r = trial.try(trials, mutant, list, rounds)
        mutant.result = r.result
        mutant.outcome = r.result .. (r.result == "killed" and (" in round %d%s by %s: %s"):format(r.round,
          r.hung and ", which hung," or "", r.by, r.name) or (" (%d tests execute it)"):format(#list))
      end
      mutant.outcome = ("%s, %d s"):format(mutant.outcome, os.time() - began)
      show(mutant)
    end
  end
  for name in pairs(trials.fails_anyway) do say("fails without a mutant too: %s", name) end
end

local function sum_up(mutants, seed)
  local count = { killed = 0, SURVIVED = 0, equivalent = 0, invalid = 0 }
  local kinds = {}
  say("\nSurvivors:")
  for _, mutant in ipairs(mutants) do
    if mutant.result then
      count[mutant.result] = count[mutant.result] + 1
      kinds[mutant.kind] = kinds[mutant.kind] or { killed = 0, SURVIVED = 0, equivalent = 0, invalid = 0 }
      kinds[mutant.kind][mutant.result] = kinds[mutant.kind][mutant.result] + 1
      if mutant.result == "SURVIVED" then show(mutant) end
    end
  end
  say("\n%-12s %8s %8s %10s", "kind", "killed", "survived", "equivalent")
  for kind, n in pairs(kinds) do say("%-12s %8d %8d %10d", kind, n.killed, n.SURVIVED, n.equivalent) end
  local counted = count.killed + count.SURVIVED
  say("\nSEED=%d: %d killed, %d survived, %d equivalent, %d not built: %.1f %%", seed, count.killed, count.SURVIVED,
    count.equivalent, count.invalid, counted > 0 and 100 * count.killed / counted or 100)
  return count.killed >= GOAL * counted
end

local function main()
  local seed, jobs = option("SEED", os.time()), option("JOBS", 2)
  local only
  for number in (os.getenv "ONLY" or ""):gmatch("%d+") do
    only = only or {}
    only[tonumber(number)] = true
  end
  local pattern = os.getenv "FILES"
  say("SEED=%d", seed)
  look_for_old()
  shell.run("mkdir -p %s", DIR)
  coverage.record(jobs)
  coverage.copy_tree(DIR .. "/plain")
  assert(coverage.build(DIR .. "/plain"))
  shell.run("make -s -C %s/plain faults", DIR)
  local mutants, out = draw.draw(option("N", 100), seed, DIR .. "/plain", pattern ~= "" and pattern or nil)
  say("%d mutants; left out: %d that do not compile, %d with the same code", #mutants, out["does not compile"],
    out["same code"])
  local tests = coverage.tests(add_marks(mutants))
  say("%d tests", #tests)
  if os.getenv "LIST" == "1" then
    for _, mutant in ipairs(mutants) do
      mutant.outcome = ("%d tests"):format(#executing(mutant, tests))
      show(mutant)
    end
    return true
  end
  try_all(mutants, tests, only, option("ROUNDS", 3), jobs)
  return sum_up(mutants, seed)
end

os.exit(main(), true)
