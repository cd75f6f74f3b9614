-- SPDX-License-Identifier: MIT
--- On what the figures were measured: the machine, its load, and the versions of everything that takes part.
local M = {}

--- The first line that a command prints, or "unknown".
--- @param command string
--- @return string
function M.first_line(command)
  local pipe = io.popen(command .. " 2>/dev/null")
  local line = pipe:read "l"
  pipe:close()
  return line or "unknown"
end

local function of_lua(module, field)
  return ("lua5.4 -e 'print((require \"%s\").%s)'"):format(module, field)
end

local VERSIONS = {
  Lua = "lua5.4 -v | grep -o '[0-9][0-9.]*' | head -1",
  C = "cc --version",
  libc = "ldd --version",
  luv = "lua5.4 -e 'print((require \"luv\").version_string())'",
  cqueues = of_lua("cqueues", "VERSION"),
  cjson = of_lua("cjson", "_VERSION"),
  cmsgpack = of_lua("cmsgpack", "_VERSION"),
  MessagePack = of_lua("MessagePack", "_VERSION"),
  Python = "(test -x /usr/bin/python3 && /usr/bin/python3 --version || python3 --version) | cut -d' ' -f2",
  Perl = "perl -e 'print $^V'",
  MCE = "perl -MMCE -e 'print MCE->VERSION'",
  Ruby = "/usr/bin/ruby -e 'print RUBY_VERSION'",
  parallel = "/usr/bin/ruby -rparallel -e 'print Parallel::VERSION'",
}

--- The three figures of the load average.
--- @return string
function M.load()
  return M.first_line "cut -d' ' -f1-3 /proc/loadavg"
end

--- @return table  kernel, cpu, cores, memory_mb, load, versions, commit, date
function M.describe()
  local versions = {}
  for name, command in pairs(VERSIONS) do
    local version = M.first_line(command)
    if version ~= "unknown" then versions[name] = version end
  end
  return {
    kernel = M.first_line "uname -srm",
    cpu = M.first_line "sed -n 's/^model name[^:]*: //p' /proc/cpuinfo",
    cores = tonumber(M.first_line "nproc"),
    memory_mb = (tonumber(M.first_line "sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo") or 0) // 1024,
    load = M.load(),
    versions = versions,
    commit = M.first_line "git describe --always --dirty --exclude '*'",
    date = os.date "!%Y-%m-%dT%H:%M:%SZ",
  }
end

return M
