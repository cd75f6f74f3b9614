--- For the commands about jobs of a cluster: its server, and their answers.
local status = require "minigun.command.status"

local engines = {}

--- A connection to a server, which is there.
---@param verb string for messages
---@param text string URL
---@return table connection of cluster/connection.lua
function engines.connect(verb, text)
  local address, problem = require("minigun.base.redis_url").parse(text)
  if not address then status.wrong_call(("%s: %s: %s"):format(verb, text, problem)) end
  local connection = require("minigun.cluster.connection").new(address)
  engines.sure(verb, text, connection:dial())
  return connection
end

--- Ends the process where a word is no stage.
---@param verb string
---@param stage string
function engines.check_stage(verb, stage)
  if not stage:find "^.-/." then status.wrong_call(("%s: '%s' is no stage; say PIPELINE/STAGE"):format(verb, stage)) end
end

--- Returns an answer; ends the process where it is a fault.
---@param verb string
---@param text string URL
---@param value any
---@param fault table?
---@return any value
function engines.sure(verb, text, value, fault)
  if fault then status.complain(("%s: the cluster at %s: %s"):format(verb, text, fault.message), status.FAILED) end
  return value
end

--- The engine of a job of a stage.
---@param connection table
---@param stage string "PIPELINE/STAGE"; names may have a "/"
---@param job string
---@return table engine
function engines.of(connection, stage, job)
  local pipeline, name = stage:match "^(.-)/(.+)$"
  return require("minigun.cluster.engine").new(connection, pipeline, name, job)
end

return engines
