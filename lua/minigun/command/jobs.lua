--- `minigun jobs URL PIPELINE/STAGE`: the open jobs of a stage in a cluster.
local engines = require "minigun.command.engines"
local failure = require "minigun.base.failure"
local status = require "minigun.command.status"

local BEATS <const> = 10 -- seconds in which a host that is there says so

local jobs = {
  name = "jobs",
  summary = "list the open jobs of a stage in a cluster",
  about = [[
    Asks the Redis server at URL for the jobs of stages in clusters: a run has one for each such stage. Prints the hosts
    that are there for the stage, and a line for each job: its name, the seconds since it began, the chunks that wait,
    that hosts work on, and whose results wait for the submitter; "dead" where that has said nothing for a minute.]],
  arguments = { { "URL", "the Redis server" }, { "STAGE", "PIPELINE/STAGE, several are possible", args = "+" } },
  examples = { { "minigun jobs redis://queue etl/parse", "what is done for the stage parse of etl.lua's pipeline" } },
}

local function print_stage(connection, url, stage)
  local own = engines.of(connection, stage, "")
  local hosts = engines.sure("jobs", url, own:workers(BEATS))
  local open = engines.sure("jobs", url, own:open_jobs())
  print(("%s: %s, %s"):format(stage, failure.count(hosts, "host"), failure.count(#open, "job")))
  for _, job in ipairs(open) do
    local each = engines.of(connection, stage, job)
    local facts, fault = each:facts()
    engines.sure("jobs", url, facts, fault)
    if facts then
      local waiting, inside, results = each:progress()
      engines.sure("jobs", url, waiting, not waiting and inside or nil)
      print(("%s  age %d s  waiting %d  in work %d  results %d%s"):format(job, facts.age, waiting, inside, results,
        facts.dead and "  dead" or ""))
    end
  end
end

---@param given table
---@return integer status
function jobs.run(given)
  for _, stage in ipairs(given.stage) do engines.check_stage("jobs", stage) end
  local connection = engines.connect("jobs", given.url)
  for _, stage in ipairs(given.stage) do print_stage(connection, given.url, stage) end
  connection:close()
  return status.DONE
end

return jobs
