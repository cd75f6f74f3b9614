-- What the servers of this directory share: HTTP/1.1 as far as they need it. It knows nothing of sockets.
local http = {}

-- The head of a request: what `line` gives, one line at a time. nil: the client has gone, or does not speak HTTP.
function http.request(line)
  local first = line()
  local method, path, version = (first or ""):match "^(%u+) (%S+) HTTP/1%.(%d)"
  if not method then return nil end
  local request = { method = method, path = path, headers = {} }
  for _ = 1, 100 do
    local text = line()
    if not text then return nil end
    text = text:gsub("\r$", "")
    if text == "" then
      local wish = (request.headers.connection or ""):lower()
      request.keep = version == "1" and wish ~= "close" or wish == "keep-alive"
      return request
    end
    local name, value = text:match "^([^:]+):%s*(.-)%s*$"
    if not name then return nil end
    request.headers[name:lower()] = value
  end
end

-- The bytes of an answer. keep: the connection stays open for another request.
function http.response(status, body, keep)
  return ("HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n%s"):format(status,
    #body, keep and "keep-alive" or "close", body)
end

return http
