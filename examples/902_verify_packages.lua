-- Are the files of this machine's packages still as they were installed? Debian keeps the MD5 sum of each file that a
-- package has brought; this computes them anew, in plain Lua, over all cores; then a sample of them in one process,
-- which tells how long that would have taken for all. A job where workers pay: much work for each byte, and little to
-- send: a path goes to a worker, one word comes back.
--
--   minigun run examples/902_verify_packages.lua [--workers N] [--megabytes N] [--no-time] [--root DIR]
--
-- --workers N     worker processes (default: one per CPU)
-- --megabytes N   verifies files until so many megabytes are reached (default 48; 0: all of them)
-- --no-time       no times, and no sample for the comparison
-- --root DIR      of the system to verify (default /)
--
-- One line for each file that is not as it was, or may not be read, and the exit status is 1. Files that are not there
-- are only counted: small systems leave out manuals and translations.
--
-- Expected output:
--   ...
--   ~ %d+ files of %d+ packages?, %d+%.%d MB: .*
--   ~ %d+ workers? +%d+%.%d+ s +%d+%.%d MB/s
--   ~ 1 process +%d+%.%d+ s +%d+%.%d MB/s, by a sample of %d+ files; speed%-up %d+%.%d+
--   ...

local minigun = require "minigun"

local INFO <const> = "/var/lib/dpkg/info"
local ENOENT <const> = 2                         -- no such file

-- --- MD5 (RFC 1321) ----------------------------------------------------------------------------------------------

-- One block's 64 steps as straight code: a loop with tables would take three times as long.
local function make_step()
  local shifts <const> = { { 7, 12, 17, 22 }, { 5, 9, 14, 20 }, { 4, 11, 16, 23 }, { 6, 10, 15, 21 } }
  local mixes <const> = { "(b & c | ~b & d)", "(d & b | ~d & c)", "(b ~ c ~ d)", "(c ~ (b | ~d))" }
  local words, lines = {}, {}
  for i = 0, 15 do words[i + 1] = "w" .. i end
  for i = 0, 63 do
    local round <const> = i // 16 + 1
    local word <const> = ({ i, 5 * i + 1, 3 * i + 5, 7 * i })[round] % 16
    local mix = mixes[round]:gsub("[bcd]", { b = "x" .. (i + 3) % 4, c = "x" .. (i + 2) % 4, d = "x" .. (i + 1) % 4 })
    local into, shift = "x" .. i % 4, shifts[round][i % 4 + 1]
    lines[#lines + 1] = ("t = (%s + %s + %d + w%d) & 0xffffffff; %s = (t << %d | t >> %d) + x%d"):format(
      into, mix, math.floor(math.abs(math.sin(i + 1)) * 2 ^ 32), word, into, shift, 32 - shift, (i + 3) % 4)
  end
  -- x0, x3, x2, x1 take turns as the register that a step changes: a, d, c, b.
  local code = ([[
    local unpack = string.unpack
    return function(text, at, a, b, c, d)
      local %s = unpack("<I4I4I4I4I4I4I4I4I4I4I4I4I4I4I4I4", text, at)
      local x0, x3, x2, x1, t = a, b, c, d, nil
      %s
      return (a + x0) & 0xffffffff, (b + x3) & 0xffffffff, (c + x2) & 0xffffffff, (d + x1) & 0xffffffff
    end]]):format(table.concat(words, ", "), table.concat(lines, "\n"))
  return assert(load(code, "=md5"))()
end

local step <const> = make_step()

-- The sum of a file's contents as 32 hexadecimal digits, or nil and a message.
local function md5_of(path)
  local file <close>, message = io.open(path, "rb")
  if not file then return nil, message end
  local a, b, c, d, length, rest = 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0, ""
  repeat
    local text = file:read(65536)
    length = length + #(text or "")
    local whole = rest .. (text or "\x80" .. ("\0"):rep((55 - length) % 64) .. ("<I8"):pack(length * 8))
    for at = 1, #whole - 63, 64 do a, b, c, d = step(whole, at, a, b, c, d) end
    rest = whole:sub(#whole - #whole % 64 + 1)
  until not text
  return (("<I4I4I4I4"):pack(a, b, c, d):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

-- --- the pipeline ------------------------------------------------------------------------------------------------

-- What is to be verified, about so many bytes: { { path =, sum =, bytes = }, ... }, and how many packages, and how many
-- files that are not there.
local function files_to_verify(root, most)
  local list <close> = assert(io.popen(("ls %s 2>/dev/null"):format("'" .. (root .. INFO):gsub("'", "'\\''") .. "'")))
  local files, packages, missing, total = {}, 0, 0, 0
  for name in list:lines() do
    if name:find "%.md5sums$" and total < most then
      packages = packages + 1
      for line in io.lines(root .. INFO .. "/" .. name) do
        local sum, path = line:match "^(%x+)%s+(.+)$"
        local file <close>, _, errno = io.open(root .. "/" .. (path or ""), "rb")
        local bytes = file and file:seek "end" or 0
        if errno == ENOENT then missing = missing + 1
        elseif sum and total < most then
          files[#files + 1] = { path = root .. "/" .. path, sum = sum, bytes = bytes }
        end
        total = total + bytes
      end
    end
  end
  return files, packages, missing
end

-- Verifies the files with so many workers, none: inline. Returns what is wrong with them, in order, and the seconds.
local function verify(files, workers)
  local p = minigun.pipeline "verify_packages"
  p:producer("files", files)
  p:map("verify", { processes = workers and { n = workers, ordered = true } or false }, function(file)
    local sum, message = md5_of(file.path)
    return sum == file.sum and true or message or file.path .. ": is not as it was installed"
  end)
  local faults = {}
  p:each("report", function(outcome) faults[#faults + 1] = outcome ~= true and outcome or nil end)
  return faults, p:run().elapsed
end

-- --- the program -------------------------------------------------------------------------------------------------

local function arguments(words)
  local given, i = { workers = minigun.cpus(), megabytes = 48, root = "", times = true }, 1
  while words[i] do
    local word, value = words[i], words[i + 1]
    if word == "--no-time" then given.times, i = false, i - 1
    elseif word == "--root" and value then given.root = value
    elseif (word == "--workers" or word == "--megabytes") and math.tointeger(tonumber(value)) then
      given[word:sub(3)] = math.tointeger(tonumber(value))
    else
      io.stderr:write("usage: verify_packages.lua [--workers N] [--megabytes N] [--no-time] [--root DIR]\n")
      os.exit(2, true)
    end
    i = i + 2
  end
  return given
end

-- Files spread over the whole list that hold about a twentieth of its bytes, beginning with the from-th.
local function sample_of(files, from)
  local sample, bytes, passed = {}, 0, 0
  for i = from, #files do
    passed = passed + files[i].bytes
    if bytes * 20 <= passed then
      sample[#sample + 1] = files[i]
      bytes = bytes + files[i].bytes
    end
  end
  return { files = sample, bytes = bytes }
end

-- Seconds that one process takes for a megabyte of such a sample, and how much of a processor it gets.
local function pace(sample)
  local cpu = os.clock()
  local _, seconds = verify(sample.files)
  return seconds / math.max(sample.bytes, 1) * 1e6, (os.clock() - cpu) / math.max(seconds, 1e-6)
end

local given = arguments(arg)
local files, packages, missing = files_to_verify(given.root, given.megabytes > 0 and given.megabytes * 1e6 or math.huge)
-- The machine may do other things, now more and now less: one process is looked at before and after the others.
local sample, after = sample_of(files, 1), sample_of(files, 2)
local before, got = 0, 1
if given.times then before, got = pace(sample) end
local faults, seconds = verify(files, given.workers)
local bytes = 0
for _, file in ipairs(files) do bytes = bytes + file.bytes end
for _, fault in ipairs(faults) do print(fault) end
print(("%d files of %d package%s, %.1f MB: %s%s"):format(#files, packages, packages == 1 and "" or "s", bytes / 1e6,
  #faults == 0 and "all as they were installed" or #faults .. " not as they were installed",
  missing > 0 and (", %d not there"):format(missing) or ""))
if given.times then
  print(("%d worker%s  %10.2f s %7.1f MB/s"):format(given.workers, given.workers == 1 and " " or "s", seconds,
    bytes / 1e6 / seconds))
  local later, got_then = pace(after)
  local inline = (before + later) / 2 * bytes / 1e6
  print(("1 process  %10.2f s %7.1f MB/s, by a sample of %d files; speed-up %.2f"):format(inline, bytes / 1e6 / inline,
    #sample.files + #after.files, inline / seconds))
  local share = (got + got_then) / 2
  if share < 0.8 then
    print(("The machine is busy: one process got %.0f %% of a processor. When it is free, this takes less time.")
      :format(share * 100))
  end
end
if #faults > 0 then os.exit(1, true) end
