-- The commands about jobs of clusters, `minigun jobs` and `minigun abort`, and groups of stages in a cluster.

local clusters = require "spec.clusters"
local support = require "spec.support"

local cluster
local it = clusters.tests(_ENV, function(started) cluster = started end)

local function minigun(words) return support.run(support.command() .. " " .. words, { env = support.lua_env() }) end

local function program(body)
  return cluster:program(([[
    local minigun = require "minigun"
    local p = minigun.pipeline "numbers"
    p:producer("source", function(emit) for i = 1, 95 do emit(i) end end)
    p:processor("work", { cluster = %q }, function(x, emit) %s end)
    p:each("take", function() end)
    p:run { progress = false }
  ]]):format(cluster.url, body))
end

describe("minigun jobs and minigun abort", function()
  it("list what is open with its chunks and hosts, and end it: the submitter hears of it, hosts go on", function()
    local path = program "minigun.sleep(60) emit(x)"
    local result = minigun(("jobs %s numbers/work numbers/other"):format(cluster.url))
    assert.equal("numbers/work: 0 hosts, 0 jobs\nnumbers/other: 0 hosts, 0 jobs\n", result.stdout, result.stderr)
    local submitter = cluster:spawn("lua5.4 " .. path, "submitter")
    local job, waiting, before
    assert(support.wait_until(function()
      local said = minigun(("jobs %s numbers/work"):format(cluster.url)).stdout
      before = waiting
      job, waiting = said:match "^numbers/work: 0 hosts, 1 job\n(%S+)  age %d+ s  waiting (%d+)  in work 0  results 0\n"
      return waiting and tonumber(waiting) >= 3 and waiting == before
    end, 10))
    local host = cluster:worker(path, "--processes 1")
    assert(support.wait_until(function()
      local said = minigun(("jobs %s numbers/work"):format(cluster.url)).stdout
      local left, inside = said:match("1 host, 1 job\n" .. job:gsub("%-", "%%-") ..
        "  age %d+ s  waiting (%d+)  in work (%d+)  results 0\n")
      return inside == "2" and left + inside == tonumber(waiting)
    end, 10))
    assert.equal(1, minigun(("abort %s numbers/work nothing"):format(cluster.url)).code)
    result = minigun(("abort %s numbers/work %s"):format(cluster.url, job))
    assert.equal(0, result.code, result.stderr)
    assert(support.wait_until(function() return not support.alive(submitter) end, 10))
    assert.matches("stage 'work': the cluster at [^\n]*the job was ended: aborted", cluster:said "submitter.err")
    assert.equal("", cluster:redis "KEYS 'mg:{*'")
    assert.matches("0 jobs\n", minigun(("jobs %s numbers/work"):format(cluster.url)).stdout)
    assert.is_true(support.alive(host))
  end)

  it("say what is wrong with a call in one line", function()
    for words, what in pairs {
      ["jobs http://x a/b"] = "begins with redis://", ["jobs redis://127.0.0.1:1 a/b"] = "Connection refused",
      ["jobs redis://127.0.0.1:1 a"] = "'a' is no stage", ["abort redis://127.0.0.1:1 a b"] = "'a' is no stage",
    } do
      local result = minigun(words)
      assert.is_true(result.code ~= 0)
      assert.matches("^minigun: [^\n]*" .. what:gsub("%-", "%%-") .. "[^\n]*\n$", result.stderr)
    end
  end)
end)

describe("a group of stages in a cluster", function()
  it("runs each stage there, with what the group says for all; an inline group inside stays here", function()
    local path = cluster:program(([[
      local minigun = require "minigun"
      local p = minigun.pipeline "group"
      p:producer("source", minigun.range(1, 50))
      p:cluster(%q, { ordered = true, retries = 2, lease = 5 }, function(q)
        q:processor("double", function(x, emit, ctx) if ctx.attempt == 1 then error "again" end emit(2 * x) end)
        q:inline(function(r) r:map("same", function(x) return x end) end)
        q:map("text", { retries = 0 }, function(x) return x .. "!" end)
      end)
      local list = {}
      p:each("take", function(x) list[#list + 1] = x end)
      p:run { progress = false }
      print(#list, list[1], list[50])
    ]]):format(cluster.url))
    for _, stage in ipairs { "double", "text" } do
      cluster:worker(path, "--processes 1 --stage " .. stage)
    end
    local result = cluster:run(path)
    assert.equal("50\t2!\t100!\n", result.stdout, result.stderr)
    local unnamed = support.run(support.command() .. " worker " .. path, { env = support.lua_env() })
    assert.equal(2, unnamed.code) -- which stage?
    local refused = cluster:run(cluster:program([[
      require "minigun".pipeline "x":cluster("redis://x", { leese = 1 }, function() end)]], "refused"))
    assert.matches("did you mean 'lease'", refused.stderr, 1, true)
  end)
end)

describe("docs/cluster.md", function()
  it("begins with commands that work as they stand there", function()
    local page = support.read_file "docs/cluster.md"
    local port = clusters.free_port()
    local text = page:match "```lua\n(.-)```":gsub("redis://127.0.0.1", "%0:" .. port)
    support.write_file(cluster.directory .. "/etl.lua", text)
    local commands = page:match "## The first cluster\n\n(.-)\n\n":match "    redis%-server.*":gsub("6379", port)
    local script = ("cd %s\nPATH=%s/bin:$PATH\n%s\nredis-cli -p %s SHUTDOWN NOSAVE\n"):format(cluster.directory,
      require "lfs".currentdir(), commands, port)
    local env = support.lua_env()
    for name, value in pairs(env) do env[name] = value:gsub("%f[^;%z]%./", require "lfs".currentdir() .. "/") end
    local result = support.run("sh " .. support.write_file(cluster.directory .. "/script", script),
      { env = env, timeout = 30 })
    local lines = {}
    for line in result.stdout:gmatch "[^\n]+" do
      if #line == 1 then lines[#lines + 1] = line end
    end
    table.sort(lines)
    assert.equal("A B C", table.concat(lines, " "), result.stdout .. result.stderr)
  end)
end)
