-- A pipeline as one table: data that can be pasted at the prompt, built by a program, or stored. A row without a
-- context runs in the workers of the row before it.
--
-- Expected output:
--   /cart 500
--   /login 503
--   2 errors in 6 lines

local minigun = require "minigun"

local log = {
  "GET /index 200", "GET /login 503", "GET /about 200", "GET /cart 500", "GET /index 304", "GET /news 200",
}

local lines = 0

local p = minigun.pipeline {
  name = "errors",
  source = log,
  { "count", inline = true, map = function(line)
    lines = lines + 1
    return line
  end },
  { "parse", processes = 2, map = function(line)
    local path, code = line:match "^%u+ (%S+) (%d+)$"
    return { path = path, code = tonumber(code) }
  end },
  { "server_errors", filter = function(request) return request.code >= 500 end },
  { "batch", max_size = 10 },
  { "sort", process_per_batch = 1, map = function(batch)
    table.sort(batch, function(a, b) return a.path < b.path end)
    return batch
  end },
}

local errors = p:run().items[1]
for _, request in ipairs(errors) do
  print(request.path .. " " .. request.code)
end
print(("%d errors in %d lines"):format(#errors, lines))
