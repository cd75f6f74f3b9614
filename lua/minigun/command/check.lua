--- `minigun check FILE`: builds the pipelines of a program and lists their mistakes; nothing is forked.
local dry_run = require "minigun.command.dry_run"
local failure = require "minigun.base.failure"
local graph = require "minigun.language.graph"
local plan = require "minigun.plan.plan"
local status = require "minigun.command.status"

local check = {
  name = "check",
  summary = "list the mistakes in a file's pipelines, without running them",
  about = [[
    Runs FILE until it would run its first pipeline, or to its end; no process is forked. Each mistake of a
    definition is printed with its file and line: wrong options, unknown names, cycles, stages that nothing
    reaches. Exit status: 0 no mistake; 3 mistakes; 2 a FILE that cannot be loaded.]],
  arguments = { { "FILE", "the program" } },
  rest = true,
  examples = { { "minigun check job.lua", "prints mistakes: job.lua:7: stage 'parse': unknown option 'procesess'" } },
}

local function look_at(found, p, options)
  local problems = found.standing and {} or graph.build(p.stages, p).problems -- plan.build raises the first one
  for _, problem in ipairs(problems) do
    found:mistake(("%spipeline '%s': %s"):format(problem.at and problem.at .. ": " or "", p.name, problem.message))
  end
  if problems[1] or found.mistakes[1] then return end
  local ok, fault = pcall(plan.build, p, options, found.standing)
  if not ok then found:mistake(fault) end
end

local function summary(found, path)
  local texts = {}
  for i, p in ipairs(found.pipelines) do
    texts[i] = ("pipeline '%s' (%s)"):format(p.name, failure.count(#p.stages, "stage"))
  end
  return ("%s: no mistakes: %s"):format(path, texts[1] and table.concat(texts, ", ") or "it defines no pipeline")
end

---@param given table
---@return integer status
function check.run(given)
  local path = given.rest[1]
  local found = dry_run.load(given.rest)
  if not found.broken then
    for _, p in ipairs(found.run and { found.run } or found.pipelines) do look_at(found, p, found.options) end
  end
  for _, text in ipairs(found.mistakes) do print(text) end
  local n = #found.mistakes
  if n == 0 then
    print(found.server and path .. ": no mistakes: a server" or summary(found, path))
    return status.DONE
  end
  io.stdout:flush()
  io.stderr:write(("minigun: %s: %s\n"):format(path, failure.count(n, "mistake")))
  return status.REFUSED
end

return check
