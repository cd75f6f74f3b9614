--- `minigun worker FILE`: a worker host of a cluster, for a stage of a program.
local dry_run = require "minigun.command.dry_run"
local minigun = require "minigun"
local plan = require "minigun.plan.plan"
local status = require "minigun.command.status"

local REFUSED <const> = 78  -- of sysexits.h: configuration
local DEATHS <const> = 1000 -- of its processes in five seconds, until it gives up

local worker = {
  name = "worker",
  stops = true,
  summary = "run a stage of a program on this host, for runs on others",
  about = [[
    Runs FILE until it would run its first pipeline, and does the work of one of its stages for runs of the same
    program that say { cluster = URL } there. It may be started before or after them, on any host, any number of
    times; it ends by Ctrl-C or SIGTERM, when what it has in hand is finished. Status 78: a run is of another version
    of the program.]],
  options = {
    { "--stage", "NAME", "the stage; by default the only one that says cluster" },
    { "--engine", "URL", "the Redis server; by default what the stage says" },
    { "--processes", "N", "worker processes; one for each processor by default", convert = "count" },
    { "--once", nil, "end when there is no job, instead of waiting for one" },
  },
  arguments = { { "FILE", "the program" } },
  rest = true,
  options_after = true,
  examples = { { "minigun worker etl.lua --stage parse --engine redis://queue --processes 16", "on each host" } },
}

-- The stage of a plan that is meant.
local function stage_of(built, name)
  local found
  for _, segment in ipairs(built.segments) do
    local stage = segment.kind == "cluster" and built.stages[segment.stages[1]]
    if stage and name == stage.name then return stage end
    if stage and found and not name then
      status.wrong_call "worker: several stages say cluster; name one with --stage"
    end
    found = stage or found
  end
  if name then
    if not built.by_name[name] then status.wrong_call(("worker: there is no stage '%s'"):format(name)) end
    return built.by_name[name]
  end
  if not found then status.wrong_call "worker: no stage says cluster; name one with --stage" end
  return found
end

local function address_of(built, stage, given)
  local text = given.engine
  for _, segment in ipairs(built.segments) do
    if not text and segment.id == stage.segment and segment.kind == "cluster" then text = segment.worker.url end
  end
  if not text then status.wrong_call "worker: --engine is missing: the URL of the Redis server" end
  local address, message = require("minigun.base.redis_url").parse(text)
  if not address then status.wrong_call(("worker: --engine: %s"):format(message)) end
  return address
end

---@param given table
---@return integer status
function worker.run(given)
  local path = given.rest[1]
  local found = dry_run.load(given.rest)
  if found.mistakes[1] then status.complain(found.mistakes[1], status.REFUSED) end
  local p = found.run or found.pipelines[1]
  if not p then status.complain(("worker: %s defines no pipeline"):format(path), status.FAILED) end
  local built = plan.build(p, found.options, found.standing)
  local stage = stage_of(built, given.stage)
  local address = address_of(built, stage, given)
  local redis, missing = require("minigun.cluster.connection").library()
  if not redis then status.complain("worker: " .. missing, status.FAILED) end
  local processes = given.processes or minigun.cpus()
  local function tell(text) io.stderr:write("minigun: worker: ", text, "\n") end
  local own = require("minigun.cluster.host").new {
    address = address, stages = built.stages, addresses = built.addresses[stage.id], pipeline = p.name,
    stage = stage.name, once = given.once,
    retries = stage.retries,
    code = require("minigun.cluster.code").sum(path, stage.name, redis.sha256),
    processes = processes, tell = tell,
  }
  tell(("stage '%s' of '%s' for the runs at %s, %d processes; Ctrl-C ends it"):format(
    stage.name, p.name, address.text, processes))
  local fault
  local host_run = own:define(minigun.pipeline(p.name .. " worker"), stage)
  host_run:on_failure(function(record)
    if record.stage ~= "run" then fault = fault or record.message end
  end)
  local ok, err = pcall(host_run.run, host_run, { progress = false, failures = "collect", max_restarts = DEATHS })
  fault = fault or not ok and tostring(err)
  if not fault then return status.DONE end
  status.complain(fault:match "[^\n]*", fault:find("of another program", 1, true) and REFUSED or status.FAILED)
end

return worker
