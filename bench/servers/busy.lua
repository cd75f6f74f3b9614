-- SPDX-License-Identifier: MIT
-- lua5.4 -l bench.servers.busy SERVER ...: the same servers, with about half a millisecond of computing for each
-- answer, so that what wrk takes of the processors is small beside it.
package.preload.http = function()
  local http = dofile "examples/servers/http.lua"
  local response = http.response
  function http.response(...)
    local sum = 0
    for i = 1, 80000 do sum = (sum + i * i) % 7919 end
    assert(sum > 0)
    return response(...)
  end
  return http
end
