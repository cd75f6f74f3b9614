-- A pipeline for specs whose producer is a service: service_pipeline.lua PATH CONTEXT [OPTIONS]. CONTEXT is what the
-- stages stand in, as a Lua table. What a request is says what becomes of it.
local minigun = require "minigun"

local where = load("return " .. arg[2])()
local service <close> = assert(minigun.service(arg[1], load("return " .. (arg[3] or "{}"))()))
local p = minigun.pipeline "asked"
p:producer("requests", service)
p:processor("first", where, function(request, emit, ctx)
  if request == "who" then emit(ctx.client)
  elseif request == "fail" then error "boom"
  elseif request == "die once" and ctx.attempt == 1 then os.exit(3)
  elseif request == "two" then
    emit(1)
    emit(2)
  elseif type(request) == "table" and request.sleep then
    local file = assert(io.open(arg[1] .. ".begun", "a"))
    file:write "x"
    file:close()
    minigun.sleep(request.sleep)
    emit "slept"
  elseif request ~= "none" then
    emit(request)
  end
end)
p:map("second", where, function(value) return { value } end)
p:processor("third", function(value, emit)
  if value[1] == "stop" then service:stop() end
  emit(value)
end)
print "ready"
io.stdout:flush()
local result = p:run { failures = "collect" }
print(result.failed)
