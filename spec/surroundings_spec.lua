-- The surroundings in which a program may run: how a child ended is known in all of them or said not to be, in each
-- kind of context; and what a container leaves of the machine.
local machine = require "minigun.system.machine"
local programs = require "spec.programs.build"
local support = require "spec.support"

local confined, unruly = programs.confined(), programs.unruly()

-- What ends.lua prints. `only_here`: what only the kernel says; where that is not to be had either, it is
-- not known, and never taken for good.
local EXPECTED <const> = {
  { "well", "5 items, no failure" },
  { "kill", "4 items, crash by signal 9 of item 3", only_here = true },
  { "fault", "4 items, crash by signal 11 of item 3", only_here = true },
  { "os.exit", "4 items, crash with code 7 of item 3" },
  { "os.exit 0", "4 items, crash with code 0 of item 3" },
  { "saved exit", "4 items, crash with code 8 of item 3" },
  { "saved exit, closing", "4 items, crash with code 1 of item 3" },
  { "exit of C", "4 items, crash with code 9 of item 3" },
  { "_exit past us", "4 items, crash with code 10 of item 3", only_here = true },
  { "too slow", "4 items, timeout by signal 9 of item 3", only_here = true },
  { "kill in a hook", "5 items, crash by signal 9", only_here = true },
  { "saved exit in a hook", "5 items, crash with code 11" },
  { "saved exit 0 in a hook", "5 items, no failure" },
}

local NEW_CALLS <const> = "pidfd_send_signal,waitid:3,madvise,getrandom,prctl,timer_create,close_range,memfd_create," ..
  "sched_getaffinity"

-- Words for confined.c; `unknown`: what only the kernel could say, and does not.
local SURROUNDINGS <const> = {
  { "the usual ones", "" },
  { "a program that waits for all children", "", reaper = true },
  { "a program that ignores SIGCHLD", "chld=ignore" },
  { "the same, on a kernel that knows nothing of a child that was waited for", "chld=ignore deny=1:ioctl,waitid:3",
    unknown = true },
  { "the same without pidfds", "chld=ignore deny=1:pidfd_open", unknown = true },
  { "no pidfds and no waitid", "deny=1:pidfd_open,waitid" },
  { "a filter that answers ENOSYS to all that is new", "deny=38:" .. NEW_CALLS },
  { "one that answers EPERM", "deny=1:" .. NEW_CALLS },
  { "no /proc", "proc=none" },
  { "process 1 of a namespace", "pid=1" },
}

local function run(words, command, options)
  options = options or {}
  options.env = programs.env()
  local result = support.run(("%s %s -- %s"):format(confined, words, command), options)
  return result.code ~= 77 and result or nil, result.stderr
end

describe("R79 how a child ended", function()
  for number, row in ipairs(SURROUNDINGS) do
    for first = 0, support.short_or_long(0, 2) do
      it(("is known, or said not to be, in %s (%d)"):format(row[1], first), function()
        if not confined or not unruly then return pending "there is no C compiler" end
        if support.under then return pending "a sanitizer has surroundings of its own" end
        support.deadline(90)
        local result, message = run(row[2], ("lua5.4 spec/programs/ends.lua %d %s"):format((number + first) % 3,
          row.reaper and "reaper" or ""), { timeout = 80 })
        if not result then return pending(message) end
        local lines = {}
        for line in result.stdout:gmatch "[^\n]+" do lines[#lines + 1] = line:gsub(" %l+:", ":", 1) end
        local expected = {}
        for i, way in ipairs(EXPECTED) do
          local text = way[2]
          if row.unknown and way.only_here then
            text = text:gsub("timeout by signal 9", "timeout"):gsub("crash %l+ %l+ %d+", "crash, not known how")
          end
          expected[i] = way[1] .. ": " .. text
        end
        assert.same(expected, lines, result.stderr)
        assert.equal("", result.stderr)
      end)
    end
  end

  it("a call without which nothing goes, refused by a filter: an error that names it", function()
    if not confined or not unruly then return pending "there is no C compiler" end
    for _, call in ipairs { "epoll_ctl", "eventfd2" } do
      local result, message = run("deny=1:" .. call, "lua5.4 spec/programs/ends.lua 0")
      if not result then return pending(message) end
      local name = call:gsub("%d", "")
      local lines, named = 0, 0
      for line in result.stdout:gmatch "[^\n]+" do
        lines = lines + 1
        if line:find(name, 1, true) and line:find("Operation not permitted", 1, true) then named = named + 1 end
      end
      assert.same({ #EXPECTED, #EXPECTED }, { lines, named }, result.stdout)
    end
  end)
end)

-- A directory with a /proc and a /sys of its own: array of path and contents.
local function in_tree(files, check)
  local root = os.tmpname()
  os.remove(root)
  for _, file in ipairs(files) do
    local path = root .. file[1]
    os.execute("mkdir -p " .. support.quote(path:match "^(.*)/"))
    support.write_file(path, file[2])
  end
  machine.forget()
  local ok, err = pcall(check, root)
  support.remove_tree(root)
  if not ok then error(err, 0) end -- a test that is left out says so by an error
end

local MIB <const> = 1 << 20
local HOST <const> = { "/proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n" }
local NONE <const> = "9223372036854771712\n" -- no limit, in version 1
local MOUNT <const> = "30 23 0:26 %s %s rw,nosuid - %s none rw,%s\n"

local function mountinfo(...)
  local lines = {}
  for i, mount in ipairs { ... } do lines[i] = MOUNT:format(table.unpack(mount)) end
  return { "/proc/self/mountinfo", table.concat(lines) }
end

-- Name, memory in MiB, processors as a share of one (nil: all), files.
local CONTAINERS <const> = {
  { "none", 16384, nil, { { "/proc/self/cgroup", "0::/user\n" } } },
  { "no /proc/self/cgroup", 16384, nil, {} },
  { "version 2, limits of its own", 150, 1, { { "/proc/self/cgroup", "0::/a/b\n" },
    { "/sys/fs/cgroup/a/b/cpu.max", "100000 100000\n" }, { "/sys/fs/cgroup/a/b/memory.max", 150 * MIB .. "\n" } } },
  { "version 2, the tighter limit in a group above", 200, 1, { { "/proc/self/cgroup", "0::/pod/one/two\n" },
    { "/sys/fs/cgroup/pod/one/two/cpu.max", "max 100000\n" }, { "/sys/fs/cgroup/pod/one/cpu.max", "200000 100000\n" },
    { "/sys/fs/cgroup/pod/cpu.max", "30000 50000\n" }, { "/sys/fs/cgroup/pod/one/two/memory.max", "max\n" },
    { "/sys/fs/cgroup/pod/one/memory.max", 200 * MIB .. "\n" }, { "/sys/fs/cgroup/pod/memory.max", "943718400" } } },
  { "version 2, memory.high", 64, nil, { { "/proc/self/cgroup", "0::/a\n" },
    { "/sys/fs/cgroup/a/memory.max", "max\n" }, { "/sys/fs/cgroup/a/memory.high", 64 * MIB .. "\n" } } },
  { "a namespace, whose top is the group", 100, 1, { { "/proc/self/cgroup", "0::/\n" },
    { "/sys/fs/cgroup/cpu.max", "100000 100000\n" }, { "/sys/fs/cgroup/memory.max", 100 * MIB .. "\n" } } },
  { "the host's path, and only the group is mounted", 100, 1, { { "/proc/self/cgroup", "0::/docker/abc\n" },
    mountinfo { "/docker/abc", "/sys/fs/cgroup", "cgroup2", "nsdelegate" },
    { "/sys/fs/cgroup/cpu.max", "50000 100000\n" }, { "/sys/fs/cgroup/memory.max", 100 * MIB .. "\n" } } },
  { "a path that is not there", 100, 1, { { "/proc/self/cgroup", "0::/kubepods/x\n" },
    { "/sys/fs/cgroup/cpu.max", "100000 100000\n" }, { "/sys/fs/cgroup/memory.max", 100 * MIB .. "\n" } } },
  { "a path outside of the namespace", 100, 1, { { "/proc/self/cgroup", "0::/../../other\n" },
    { "/sys/fs/cgroup/cpu.max", "100000 100000\n" }, { "/sys/fs/cgroup/memory.max", 100 * MIB .. "\n" } } },
  { "another place", 100, 1, { { "/proc/self/cgroup", "0::/job\n" },
    mountinfo { "/", "/cgroups", "cgroup2", "nsdelegate" },
    { "/cgroups/job/cpu.max", "100000 100000\n" }, { "/cgroups/job/memory.max", 100 * MIB .. "\n" } } },
  { "version 1", 80, 1, { { "/proc/self/cgroup", "9:memory:/x\n4:cpu,cpuacct:/x\n1:name=systemd:/x\n" },
    { "/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "100000\n" },
    { "/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n" },
    { "/sys/fs/cgroup/memory/x/memory.limit_in_bytes", 80 * MIB .. "\n" } } },
  { "version 1, no limits", 16384, nil, { { "/proc/self/cgroup", "9:memory:/x\n4:cpu,cpuacct:/x\n" },
    { "/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "-1\n" },
    { "/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n" },
    { "/sys/fs/cgroup/memory/x/memory.limit_in_bytes", NONE } } },
  { "version 1, groups above out of sight", 70, 1, { { "/proc/self/cgroup", "9:memory:/docker/y\n4:cpu:/docker/y\n" },
    mountinfo({ "/docker/y", "/sys/fs/cgroup/memory", "cgroup", "memory" },
      { "/docker/y", "/mnt/cpu", "cgroup", "cpu" }),
    { "/mnt/cpu/cpu.cfs_quota_us", "20000\n" }, { "/mnt/cpu/cpu.cfs_period_us", "100000\n" },
    { "/sys/fs/cgroup/memory/memory.limit_in_bytes", NONE },
    { "/sys/fs/cgroup/memory/memory.stat", ("cache 0\nhierarchical_memory_limit %d\n"):format(70 * MIB) } } },
  { "both versions", 90, 1, { { "/proc/self/cgroup", "9:memory:/z\n0::/z\n" },
    mountinfo({ "/", "/sys/fs/cgroup/unified", "cgroup2", "nsdelegate" },
      { "/", "/sys/fs/cgroup/memory", "cgroup", "memory" }),
    { "/sys/fs/cgroup/unified/z/cpu.max", "70000 100000\n" },
    { "/sys/fs/cgroup/memory/z/memory.limit_in_bytes", 90 * MIB .. "\n" } } },
  { "an empty file and rubbish", 16384, nil, { { "/proc/self/cgroup", "0::/q\nrubbish\n::\n" },
    { "/sys/fs/cgroup/q/cpu.max", "" }, { "/sys/fs/cgroup/q/memory.max", "much\n" } } },
}

describe("what a container leaves of the machine:", function()
  for _, row in ipairs(CONTAINERS) do
    it(row[1], function()
      local files = { HOST, table.unpack(row[4]) }
      in_tree(files, function(root)
        assert.equal(row[2] * MIB, machine.memory(root))
        assert.equal(row[3] and 1 or machine.cpus(), machine.cpus(root))
      end)
    end)
  end

  it("half a dozen processors of many: rounded up, and never more than the program is bound to", function()
    in_tree({ HOST, { "/proc/self/cgroup", "0::/\n" }, { "/sys/fs/cgroup/cpu.max", "999900000 100000\n" } },
      function(root) assert.equal(require("minigun.core").cpus(), machine.cpus(root)) end)
  end)

  it("is looked up again when the program has been moved to another group", function()
    in_tree({ HOST, { "/proc/self/cgroup", "0::/a\n" }, { "/sys/fs/cgroup/a/memory.max", 10 * MIB .. "\n" },
      { "/sys/fs/cgroup/b/memory.max", 20 * MIB .. "\n" } }, function(root)
      assert.equal(10 * MIB, machine.memory(root))
      support.write_file(root .. "/proc/self/cgroup", "0::/b\n")
      assert.equal(20 * MIB, machine.memory(root))
    end)
  end)

  it("the default limit of memory is a quarter of it", function()
    if not confined then return pending "there is no C compiler" end
    in_tree({ { "/memory/memory.limit_in_bytes", 48 * MIB .. "\n" }, { "/proc/self/cgroup", "9:memory:/\n" } },
      function(root)
        local done = support.run(([[unshare -m sh -c 'mount --make-rprivate / && mount -t tmpfs none /sys/fs/cgroup &&
          cp -r %s/memory /sys/fs/cgroup/ && mount --bind %s/proc/self/cgroup /proc/$$/cgroup || exit 77
          exec lua5.4 -e "
            local minigun = require [=[minigun]=]
            local p = minigun.pipeline [=[x]=]
            p:producer { 1, 2 }
            p:map({ processes = 1 }, function(n) return n end)
            local run = require [=[minigun.run.run]=].new(p)
            print(run.shared.memory)"']]):format(root, root), { env = support.lua_env() })
        if done.code ~= 0 then return pending("the kernel does not let us: " .. done.stderr) end
        assert.equal(12 * MIB, tonumber(done.stdout), done.stderr)
      end)
  end)
end)
