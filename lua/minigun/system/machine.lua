--- What this program may use of the machine: processors and memory, as its container really has them.
--
-- A container's limits are those of its control groups (cgroups): of its own group and of every group above it, the
-- tightest counts. There are two versions of their files, which may stand beside each other, and what this process sees
-- of the tree may begin anywhere: /proc/self/cgroup gives the path of its group as the host or its namespace sees it,
-- /proc/self/mountinfo which part of the tree is mounted where. A path that is not there is looked for from the top of
-- what is mounted: a container mostly sees its own group as the top.
local core = require "minigun.core"

local machine = {}

local function read(path)
  local file = io.open(path)
  local text = file and file:read "a"
  if file then file:close() end
  return text
end

-- Where trees of control groups are mounted: array of { kind = "cgroup" | "cgroup2", top =, at =, options = }, with the
-- usual places after them.
local function mounts(root)
  local list = {}
  for line in (read(root .. "/proc/self/mountinfo") or ""):gmatch "[^\n]+" do
    local top, at, kind, options = line:match "^%S+ %S+ %S+ (%S+) (%S+) .- %- (cgroup2?) %S+ (%S+)"
    if top then list[#list + 1] = { kind = kind, top = top, at = at, options = options } end
  end
  for _, at in ipairs { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" } do
    list[#list + 1] = { kind = "cgroup2", top = "/", at = at, options = "" }
  end
  for _, name in ipairs { "cpu", "cpu,cpuacct", "cpuacct,cpu", "memory" } do
    list[#list + 1] = { kind = "cgroup", top = "/", at = "/sys/fs/cgroup/" .. name, options = name }
  end
  return list
end

-- The path of a group below where its tree is mounted; "" is the top of it.
local function below(mount, path)
  local top = mount.top == "/" and "" or mount.top
  if path:sub(1, #top) == top and path:sub(#top + 1):find "^/" then path = path:sub(#top + 1)
  elseif path == top then path = "" end
  if path:find("/../", 1, true) or path:find "/%.%.$" then path = "" end -- outside of what its namespace shows
  return (path:gsub("/+$", ""))
end

local function has_controller(list, name)
  return ("," .. list .. ","):find("," .. name .. ",", 1, true) ~= nil
end

-- Calls f with each directory, from the group itself up, that may hold a limit of a controller: once with each.
-- `own`: of `known`.
local function each_group(root, own, controller, f)
  local seen = {}
  for id, controllers, path in own.groups:gmatch "([^:\n]+):([^:\n]*):([^\n]*)" do
    local kind = id == "0" and controllers == "" and "cgroup2" or "cgroup"
    if kind == "cgroup2" or has_controller(controllers, controller) then
      for _, mount in ipairs(own.mounts) do
        if mount.kind == kind and (kind == "cgroup2" or has_controller(mount.options, controller)) then
          local group = below(mount, path)
          while group do
            local directory = root .. mount.at .. group
            if not seen[directory] then
              seen[directory] = true
              f(directory, kind)
            end
            group = group:match "^(.*)/[^/]*$"
          end
        end
      end
    end
  end
end

local KEPT <const> = 1 -- seconds
local MOST_MEMORY <const> = 1 << 60 -- what version 1 has for "no limit" is above this

local function cpu_limit(directory, kind)
  local quota, period
  if kind == "cgroup2" then
    quota, period = (read(directory .. "/cpu.max") or ""):match "^(%d+) (%d+)"
  else
    quota = (read(directory .. "/cpu.cfs_quota_us") or ""):match "^%d+"
    period = (read(directory .. "/cpu.cfs_period_us") or ""):match "^%d+"
  end
  quota, period = tonumber(quota), tonumber(period)
  return quota and period and quota > 0 and period > 0 and quota / period or nil
end

local function memory_limit(directory, kind)
  local least
  local function take(text)
    local bytes = math.tointeger(tonumber(text)) -- more than 2^63 becomes a float: no limit
    if bytes and bytes > 0 and bytes < MOST_MEMORY then least = math.min(least or bytes, bytes) end
  end
  if kind == "cgroup2" then
    take((read(directory .. "/memory.max") or ""):match "^%d+")
    take((read(directory .. "/memory.high") or ""):match "^%d+")
  else
    take((read(directory .. "/memory.limit_in_bytes") or ""):match "^%d+")
    take((read(directory .. "/memory.stat") or ""):match "hierarchical_memory_limit (%d+)") -- with groups out of sight
  end
  return least
end

local function least(root, of, controller, limit)
  local value
  each_group(root, of, controller, function(directory, kind)
    local own = limit(directory, kind)
    if own then value = math.min(value or own, own) end
  end)
  return value
end

local known = {}  -- by root: `groups`, `mounts`, for which `cpu` and `memory` were found; false: there is no limit
local recent = {} -- by name: what was found on this machine, and until when that is taken for true

-- The limit of a controller in the container. Looked up again when the process has been moved to other groups.
local function limit_of(controller, find, root)
  local groups = read(root .. "/proc/self/cgroup") or "0::/\n"
  local own = known[root]
  if not own or own.groups ~= groups then
    own = { groups = groups, mounts = mounts(root) }
    known[root] = own
  end
  if own[controller] == nil then own[controller] = least(root, own, controller, find) or false end
  return own[controller] or nil
end

-- What `find` finds: of this machine, where no root is given, once in KEPT seconds, as it takes some system calls.
local function recently(name, root, find)
  if root then return find(root) end
  local now, own = core.now(), recent[name]
  if not own or now >= own.till then
    own = { value = find "", till = now + KEPT }
    recent[name] = own
  end
  return own.value
end

local function find_quota(root) return limit_of("cpu", cpu_limit, root) end

local function find_memory(root)
  local kib = tonumber((read(root .. "/proc/meminfo") or ""):match "MemTotal:%s*(%d+)")
  local limit = limit_of("memory", memory_limit, root)
  if not kib then return limit end
  return math.min(limit or kib << 10, kib << 10)
end

--- Processors that this process may use: affinity and cgroup quota counted.
---@param root string? where /proc and /sys are; for specs
---@return integer
function machine.cpus(root)
  local quota, bound = recently("cpu", root, find_quota), core.cpus()
  return quota and math.max(1, math.min(bound, math.ceil(quota))) or bound
end

--- Bytes of memory that this process may use: the machine's, or what the container has of it.
---@param root string? where /proc and /sys are; for specs
---@return integer? bytes nil: it is not known
function machine.memory(root) return recently("memory", root, find_memory) end

local TICKS <const> = 100 -- of processor time in a second: the same in all of Linux that programs see

--- What a process uses.
---@param pid integer
---@return number? cpu seconds of processor time so far; nil: there is no such process, or it cannot be seen
---@return integer? memory bytes that are resident
function machine.usage(pid)
  local text = read(("/proc/%d/stat"):format(pid))
  local fields, n = {}, 2 -- after the name, which may have blanks and brackets
  for field in (text and text:match "^.*%)(.*)$" or ""):gmatch "%S+" do
    n = n + 1
    fields[n] = field
  end
  local user, system = tonumber(fields[14]), tonumber(fields[15])
  if not (user and system) then return nil end
  return (user + system) / TICKS, core.memory(pid)
end

--- Forgets what was found, so that it is looked up again.
function machine.forget() known, recent = {}, {} end

return machine
