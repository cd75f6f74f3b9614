--- Where the engine is: the URL of a Redis server, taken apart.
--
--     redis://[user@]host[:port][/database]        rediss://...  with TLS
--     redis+unix:///path                            redis+sentinel://host1[:port],host2,host3/master[/database]
-- After a "?": ca=FILE, cert=FILE, key=FILE for TLS. A password never stands in it: it comes from the environment
-- variable MINIGUN_REDIS_PASSWORD, or from the file that MINIGUN_REDIS_PASSWORD_FILE names.
local url = {}

local PORT <const>, SENTINEL_PORT <const> = "6379", "26379"
local SCHEMES <const> = { redis = true, rediss = true, ["redis+unix"] = true, ["redis+sentinel"] = true }
local QUERY <const> = { ca = "ca", cert = "certificate", key = "key" }

local function parse_query(text, own)
  for name, value in text:gmatch "([^=&]+)=([^&]*)" do
    if not QUERY[name] then return nil, ("'%s' is no part of it after '?': ca, cert or key"):format(name) end
    own[QUERY[name]] = value
  end
  return true
end

-- "host:port", "[::1]:port", "host".
local function host_of(text, port)
  local host, given = text:match "^%[([%x:%.]+)%]:?(%d*)$"
  if not host then host, given = text:match "^([^:/%s]+):?(%d*)$" end
  if not host then return nil end
  return { host = host, port = given ~= "" and given or port }
end

local function parse_hosts(text, own)
  for each in (text .. ","):gmatch "([^,]*)," do
    local one = host_of(each, own.scheme == "redis+sentinel" and SENTINEL_PORT or PORT)
    if not one then return nil, ("'%s' is no host"):format(each) end
    table.insert(own.hosts, one)
  end
  if #own.hosts > 1 and own.scheme ~= "redis+sentinel" then return nil, "several hosts are for redis+sentinel://" end
  return true
end

local function parse_path(text, own)
  if own.scheme == "redis+unix" then
    own.path = text
    return text ~= "" and text ~= "/" or nil, "the path of the socket is missing"
  end
  if own.scheme == "redis+sentinel" then
    own.master, text = text:match "^/([^/]+)(.*)$"
    if not own.master then return nil, "the name of the master is missing: redis+sentinel://host/name" end
  end
  local database = text:match "^/?(%d*)$"
  if not database then return nil, ("'%s' is no number of a database"):format(text) end
  own.database = database ~= "" and database or "0"
  return true
end

--- Takes a URL apart.
---@param text string
---@return table? parts `scheme`, `secure`, `user`, `hosts`: array of { host =, port = }, `path`, `master`, `database`,
--- `ca`, `certificate`, `key`, `text`: without what is secret
---@return string? message
function url.parse(text)
  local scheme, rest = text:match "^([%a+]+)://(.*)$"
  if not scheme or not SCHEMES[scheme] then
    return nil, "a URL of Redis begins with redis://, rediss://, redis+unix:// or redis+sentinel://"
  end
  local own = { scheme = scheme, secure = scheme == "rediss", hosts = {}, text = text }
  local query = rest:match "%?(.*)$"
  rest = rest:gsub("%?.*$", "")
  local authority, path = rest:match "^([^/]*)(.*)$"
  local user, hosts = authority:match "^(.*)@([^@]*)$"
  if user and user:find ":" then
    return nil, "a password does not belong there: put it into MINIGUN_REDIS_PASSWORD, or a file that " ..
      "MINIGUN_REDIS_PASSWORD_FILE names"
  end
  own.user = user
  local ok, message = parse_query(query or "", own)
  if ok and scheme ~= "redis+unix" then ok, message = parse_hosts(hosts or authority, own) end
  if ok then ok, message = parse_path(path, own) end
  if not ok then return nil, message end
  return own
end

--- The password, from the environment.
---@param get fun(name: string): string? as os.getenv
---@return string? password
---@return string? message where its file cannot be read
function url.password(get)
  local path = get "MINIGUN_REDIS_PASSWORD_FILE"
  if not path then return get "MINIGUN_REDIS_PASSWORD" end
  local file, message = io.open(path)
  if not file then return nil, "MINIGUN_REDIS_PASSWORD_FILE: " .. message end
  local line = file:read "l"
  file:close()
  return line
end

return url
