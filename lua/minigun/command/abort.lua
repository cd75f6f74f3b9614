--- `minigun abort URL PIPELINE/STAGE JOB`: ends a job of a cluster.
local engines = require "minigun.command.engines"
local status = require "minigun.command.status"

local abort = {
  name = "abort",
  summary = "end a job of a stage in a cluster",
  about = [[
    Ends a job that minigun jobs lists. Hosts drop what they have of it; its submitter's run, where that lives, ends
    with an error; what is left of it on the Redis server is removed. Status 1: there is no such job.]],
  arguments = { { "URL", "the Redis server" }, { "STAGE", "PIPELINE/STAGE" }, { "JOB", "the job's name" } },
  examples = { { "minigun abort redis://queue etl/parse 1796032022-8102-f4365206", "a job whose submitter is dead" } },
}

---@param given table
---@return integer status
function abort.run(given)
  local url, stage, job = given.url, given.stage, given.job
  engines.check_stage("abort", stage)
  local connection = engines.connect("abort", url)
  local found = false
  for _, each in ipairs(engines.sure("abort", url, engines.of(connection, stage, ""):open_jobs())) do
    found = found or each == job
  end
  if not found then
    status.complain(("abort: %s has no job '%s' at %s; 'minigun jobs %s %s' lists them"):format(stage, job, url, url,
      stage), status.FAILED)
  end
  engines.sure("abort", url, engines.of(connection, stage, job):abort())
  connection:close()
  return status.DONE
end

return abort
