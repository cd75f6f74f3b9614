--- A pipeline whose producer is a service: each request is an item of a run that stands, and what comes of it is the
-- reply: the one value that has reached a terminal stage; a list, where several have; nil, where none has.
--
-- The service takes the producer's place, and its requests are submitted. So a request has a future as any other item
-- of an executor: it is cancelled with its client, and nothing is acknowledged twice.
local core = require "minigun.core"
local ends = require "minigun.language.ends"
local graph = require "minigun.language.graph"
local opening = require "minigun.executor.opening"
local terminate = require "minigun.system.terminate"

local serving = {}

-- A request on its way to the first stages, where they get its client.
local Request <const> = { __name = "minigun.request" }
core.register("minigun.request", Request)

local function with_client(handler)
  return function(request, emit, ctx)
    ctx.client = request.client
    return handler(request.item, emit, ctx)
  end
end

-- What failures say of an item.
local function shows(request, message)
  if getmetatable(request) == Request then return request.item, message end
  return request, message
end

-- Lets the stages that requests come to see the client, where all take items one by one and are the pipeline's own.
-- Returns whether they do.
local function unwrap(pipeline)
  local first = ends.entries(graph.draw(pipeline.stages).root)
  for _, node in ipairs(first) do
    local own = pipeline.by_name[node.name]
    if not own or own.kind ~= "processor" or not own.handler then return false end
  end
  for _, node in ipairs(first) do
    local own = pipeline.by_name[node.name]
    own.handler, own.shows = with_client(own.handler), shows
  end
  return true
end

local function reply_of(values)
  if values == nil or values[2] ~= nil then return values end
  return values[1]
end

--- Runs a pipeline until its service is stopped.
---@param pipeline table
---@param producer table the definition whose source is the service
---@param service minigun.Service
---@param given table? options of the run
---@return minigun.Result result
function serving.run(pipeline, producer, service, given)
  local own = pipeline:extend()
  own:remove(producer.name)
  local singly = unwrap(own)
  local executor <close> = opening.pipeline(own, given, true)
  local _ <close> = terminate.drive()
  service:serve_by(function(item, client)
    if item == nil then error("a request that is nil cannot be an item", 0) end
    return executor:submit(singly and setmetatable({ item = item, client = client }, Request) or item)
  end, reply_of, core.terminated)
  if core.terminated() then service:leave() end -- the end of the run will be that of this process
  return executor:close()
end

return serving
