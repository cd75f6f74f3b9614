-- Methods that are misspelt: of each class that a user meets, an error at the line says which was meant.
local loop = require "minigun.loop"
local methods = require "minigun.base.methods"
local minigun = require "minigun"

local function line_of(f, level) return debug.getinfo(f, "S").linedefined + level end

-- The error of f, which must be at its first line.
local function said(f)
  local ok, message = pcall(f)
  assert.is_false(ok)
  local place = ("spec/methods_spec.lua:%d: "):format(line_of(f, 0))
  assert.equal(place, message:sub(1, #place))
  return message:sub(#place + 1)
end

describe("a misspelt method", function()
  it("of a pipeline, a run, an executor", function()
    local p = minigun.pipeline "p":producer { 1 }
    assert.equal("a pipeline has no method 'proceses' (did you mean 'processes'?)",
      said(function() p:proceses(2, print) end))
    local run <close> = p:start()
    assert.equal("a run has no method 'stpe' (did you mean 'step'?)", said(function() run:stpe() end))
    local executor <close> = minigun.executor(tostring, { inline = true })
    assert.matches("^an executor has no method 'submitt'", said(function() executor:submitt(1) end))
    local future = executor:submit(1)
    assert.matches("^a future has no method 'resutl'.*'result'", said(function() future:resutl() end))
    assert.equal("1", future:result())
  end)

  it("of a loop and its watches, a server, a spool", function()
    local l <close> = loop.new()
    assert.equal("a loop has no method 'watchio' (did you mean 'watch_io'?)",
      said(function() l:watchio(0, "r", print) end))
    local timer = l:after(1, print)
    assert.matches("^a watch has no method 'stopp'", said(function() timer:stopp() end))
    local server = minigun.supervisor { listen = "127.0.0.1:0", worker = print }
    assert.matches("^a server has no method 'rnu'.*'run'", said(function() server:rnu() end))
    local path = os.tmpname()
    local spool <close> = minigun.spool(path)
    assert.matches("^a spool has no method 'wirte'.*'write'", said(function() spool:wirte(1) end))
    os.remove(path)
  end)

  it("is none where nothing is like it, where it is a field, or where the library itself looks", function()
    local Class = {}
    function Class.close() end
    Class.__index = Class
    methods.suggest(Class, "a thing", { "closer" })
    local object = setmetatable({}, Class)
    assert.is_nil(object.something)
    assert.is_nil(object.closer)
    assert.is_nil(object[1])
    assert.matches("a thing has no method 'closed'", said(function() return object.closed end))
    assert.equal(Class.close, object.close)
    local p = minigun.pipeline "p"
    assert.is_nil(p.last)
  end)
end)
