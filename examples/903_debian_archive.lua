-- The Debian archive in figures, computed over all cores from the package index of this machine: packages and
-- installed size by section, the 20 packages that most others depend on, the 20 busiest maintainers; then the same job
-- in one process, for comparison.
--
--   minigun run examples/903_debian_archive.lua [--workers N] [--inline] [--no-time] [--chunk BYTES] [FILE...]
--
-- FILE           a Packages file or dpkg's status file, also compressed (.lz4 .gz .xz). Without one: what
--                `apt-get update` left in /var/lib/apt/lists; where nothing is there, /var/lib/dpkg/status.
-- --workers N    worker processes of the parsing pool (default: one per CPU)
-- --inline       only the run in one process
-- --no-time      no times, and no second run for the comparison: the output depends on the input alone
-- --chunk BYTES  how much is read at once (default 1048576)
--
-- How it counts
--   * Every record counts, also where a package stands in several indexes (main and security, say). A record of dpkg's
--     status file counts where the package is installed.
--   * Dependencies are the names in Depends and Pre-Depends. Each alternative of "a | b" is one; versions, "(>= 1)",
--     and architectures, ":any", are left out. A name counts once for each record that names it.
--   * Installed-Size is in KiB; a record without one counts 0, one without Section or Maintainer counts for "(none)".
--   * A maintainer is the whole field: name and address. Equal counts stand in order of name (by bytes).
--
-- What is wrong with a file is one line on the error output, and the exit status is 1: a file that is not there, cannot
-- be read, is empty or is no Packages file is left out, the others count. Every tool that writes these files ends each
-- record, the last too, with an empty line; a file that ends otherwise was cut: its complete records count, the last
-- one does not. Exit status 2: a wrong call.
--
-- Expected output:
--   ~ %d+ files?, %d+ packages?, %d+%.%d MiB installed
--
--   packages    size/MiB  section
--   ~  +%d+ +%d+%.%d  %S+
--   ...
--
--   packages  depend on
--   ~  +%d+  %S+
--   ...
--
--   packages  maintained by
--   ~  +%d+  .+
--   ...
--
--   ~ %d+ workers? +%d+%.%d+ s
--   ~ inline +%d+%.%d+ s, the same table; speed%-up %d+%.%d+

local minigun = require "minigun"

local TOP <const> = 20
local BATCH <const> = tonumber(os.getenv "BATCH" or 16)                      -- summaries that one child adds up
local LONGEST_RECORD <const> = 16 << 20         -- bytes after which a file without empty lines is given up
local LISTS <const> = "/var/lib/apt/lists"
local STATUS <const> = "/var/lib/dpkg/status"
local APT_HELPER <const> = "/usr/lib/apt/apt-helper"

-- --- reading -----------------------------------------------------------------------------------------------------

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

-- The command that writes a compressed file's contents; nil for a plain one. The format's own tool comes first:
-- apt-helper, which is there where apt is, takes a .gz that was cut for a whole one.
local function unpacker(path)
  local tool = ({ lz4 = "lz4", gz = "gzip", xz = "xz" })[path:match("%.(%w+)$")]
  local script <const> = "exec 2>/dev/null; if command -v %s >&2; then exec %s -dc -- %s; else exec %s cat-file %s; fi"
  return tool and script:format(tool, tool, quote(path), APT_HELPER, quote(path))
end

-- Opens a file, through its unpacker where it is packed. Returns the file and whether it is, or nil and a message.
local function open(path)
  local file, message = io.open(path, "rb")
  if not file then
    return nil, message
  end
  file:setvbuf("full", 65536)                   -- before anything is read: later the C library may mix its buffers up
  local readable, fault = file:read(0)          -- a directory can be opened, but not read
  if not readable then
    file:close()
    return nil, ("%s: %s"):format(path, fault or "is empty")
  end
  local command = unpacker(path)
  if command then
    file:close()
    file = assert(io.popen(command, "r"))
    file:setvbuf("full", 65536)
  end
  return file, command ~= nil
end

-- Reads about `size` bytes and on to the next empty line. Returns the text with one line end before it, so that each
-- field stands after one, and whether it ends with an empty line; nil at the end of the file.
local function read_records(file, size)
  local text = file:read(size)
  if not text then
    return nil
  end
  local parts, length = { "\n", text }, #text
  local line = text:sub(-1) ~= "\n" and file:read("L") or ""   -- the rest of the line that was begun
  repeat
    parts[#parts + 1], length = line, length + #line
    line = file:read("L")
  until not line or line == "\n" or length > size + LONGEST_RECORD
  parts[#parts + 1] = line
  text = table.concat(parts)
  return text, text:sub(-2) == "\n\n"
end

-- Why the text with which a file begins is not that of a Packages file; nil where it may be.
local function not_packages(text)
  local record = text:match("^\n+(.-\n)\n")    -- nil: the file ends within its first record
  if not text:find("^\n+%a[%w-]*:") then
    return "is not a Packages file: it does not begin with a field such as 'Package: name'"
  elseif record and not ("\n" .. record):find("\nPackage:", 1, true) then
    return "is not a Packages file: its first record has no field 'Package'"
  end
end

-- The complete records of a text that does not end with an empty line, and a message about the rest.
local function before_cut(text, offset)
  local rest = text:match("^.*\n\n()") or 2     -- where the record begins that does not end
  local package = text:match("\nPackage:[ \t]*(%S+)[ \t]*\n", rest - 1)
  local byte = offset + rest - 1
  local name = package and ("package '%s'"):format(package) or "a package without a name"
  return text:sub(1, rest - 1),
    ("is cut: the last record, of %s, begins at byte %d and does not end; it is left out, %s"):format(name, byte,
      byte > 1 and "those before it count" or "and there is no other")
end

-- Emits the records of an open file, many in one string. Returns what is wrong with the file, or nil.
local function emit_records(file, path, chunk, emit)
  local offset = 0                              -- bytes before the text
  while true do
    local text, whole = read_records(file, chunk)
    local fault = text and offset == 0 and not_packages(text)
    if fault or not text then
      return fault or offset == 0 and "is empty" or nil
    end
    if not whole and #text > chunk + LONGEST_RECORD then
      return ("has no empty line in %d bytes from byte %d on: it is damaged, what follows is left out"):format(#text,
        offset + 1)
    elseif not whole then
      text, fault = before_cut(text, offset)
    end
    emit { path = path, offset = offset, text = text }
    if fault then
      return fault
    end
    offset = offset + #text - 1
  end
end

-- Emits the records of a file; returns a message where something is wrong with it.
local function read_file(path, chunk, emit)
  local file, packed = open(path)
  if not file then
    return packed
  end
  local fault = emit_records(file, path, chunk, emit)
  local ok, _, code = file:close()
  if packed and not ok and not (fault and fault:find("is not a", 1, true)) then
    fault = code == 127 and "is not read: what unpacks it is not installed, nor is apt"
      or ("is damaged or cut: what unpacks it ended with status %d; the complete records count"):format(code)
  end
  return fault and ("%s: %s"):format(path, fault)
end

-- --- counting ----------------------------------------------------------------------------------------------------

-- Returns a function (first, last) -> the value of the field in the record that these positions of the text span, nil
-- where it has none. The records must be asked for in order: so the text is searched only once for each field, with
-- `find` for plain text, which is far quicker than a match for each record.
local function field_reader(text, name)
  local head <const> = "\n" .. name .. ":"
  local at = text:find(head, 1, true)
  return function(first, last)
    while at and at < first do
      at = text:find(head, at + 1, true)
    end
    if not at or at >= last then
      return nil
    end
    local start = at + #head
    local stop = text:find("\n", start, true)
    while text:find("^[ \t]", stop + 1) do      -- a line that begins with a blank goes on with the field
      stop = text:find("\n", stop + 1, true)
    end
    return text:sub(text:find("[^ \t]", start), stop - 1)
  end
end

local function new_summary()
  return { packages = 0, kib = 0, sections = {}, section_kib = {}, dependents = {}, maintainers = {} }
end

local function add(counts, key, n)
  counts[key] = (counts[key] or 0) + n
end

-- Adds one summary to another.
local function merge(into, summary)
  into.packages, into.kib = into.packages + summary.packages, into.kib + summary.kib
  for _, field in ipairs { "sections", "section_kib", "dependents", "maintainers" } do
    local counts = into[field]
    for key, n in pairs(summary[field]) do
      counts[key] = (counts[key] or 0) + n
    end
  end
  return into
end

-- Counts the records of a text. Returns their summary, and the positions of records without the field Package.
local function count_records(text)
  local summary, nameless = new_summary(), {}
  local sections, section_kib, maintainers = summary.sections, summary.section_kib, summary.maintainers
  local dependents, named_in = summary.dependents, {}
  local package, status = field_reader(text, "Package"), field_reader(text, "Status")
  local section_of, size_of = field_reader(text, "Section"), field_reader(text, "Installed-Size")
  local maintainer_of = field_reader(text, "Maintainer")
  local depends, pre_depends = field_reader(text, "Depends"), field_reader(text, "Pre-Depends")

  local function count_names(list, record)
    for name in list:gmatch("([%w+.-]+)[^,|]*") do
      if named_in[name] ~= record then
        named_in[name] = record
        dependents[name] = (dependents[name] or 0) + 1
      end
    end
  end

  local first, last = 1, text:find("\n\n", 2, true)
  while last do
    local state = status(first, last)
    if not package(first, last) then
      if (text:find("[^\n]", first) or last) < last then     -- more than empty lines
        nameless[#nameless + 1] = first
      end
    elseif not state or state:find(" installed$") then
      local section = section_of(first, last) or "(none)"
      local kib = math.tointeger(tonumber(size_of(first, last))) or 0
      summary.packages, summary.kib = summary.packages + 1, summary.kib + kib
      add(sections, section, 1)
      add(section_kib, section, kib)
      add(maintainers, maintainer_of(first, last) or "(none)", 1)
      count_names(depends(first, last) or "", first)
      count_names(pre_depends(first, last) or "", first)
    end
    first = last + 1
    last = text:find("\n\n", first + 1, true)
  end
  return summary, nameless
end

-- --- the pipeline ------------------------------------------------------------------------------------------------

-- Counts the files with so many worker processes, none: inline. Returns the summary and the result of the run.
local function count_files(files, workers, chunk)
  local total = new_summary()
  local p = minigun.pipeline "debian_archive"

  p:producer("read", function(emit, ctx)
    for _, path in ipairs(files) do
      local fault = read_file(path, chunk, emit)
      if fault then
        ctx:collect("faults", fault)
      end
    end
  end)

  -- What travels on is the summary of a text, which is small; and it travels encoded, as one string, because batches
  -- are gathered in the coordinator, which would have to build each table again only to pass it on.
  p:processor("parse", { processes = workers or false }, function(item, emit, ctx)
    local summary, nameless = count_records(item.text)
    for _, position in ipairs(nameless) do
      ctx:collect("nameless", { path = item.path, byte = item.offset + position })
    end
    emit((minigun.encode(summary)))
  end)

  p:batch("group", BATCH)

  p:processor("aggregate", { process_per_batch = workers or false }, function(summaries, emit)
    local sum = new_summary()
    for _, summary in ipairs(summaries) do
      merge(sum, assert(minigun.decode(summary)))
    end
    emit(sum)
  end)

  p:each("merge", { inline = true }, function(summary)
    merge(total, summary)
  end)

  return total, p:run()
end

-- --- the table ---------------------------------------------------------------------------------------------------

-- The names of the greatest counts, at most n, equal ones in order of name.
local function greatest(counts, n)
  local names = {}
  for name in pairs(counts) do
    names[#names + 1] = name
  end
  table.sort(names, function(a, b)
    if counts[a] ~= counts[b] then
      return counts[a] > counts[b]
    end
    return a < b
  end)
  return table.move(names, 1, math.min(n, #names), 1, {})
end

local function counted(n, word)
  return ("%d %s%s"):format(n, word, n == 1 and "" or "s")
end

local function mebibytes(kib)
  return ("%.1f"):format(kib / 1024)
end

-- The summary as the lines that are printed.
local function table_of(summary, file_count)
  local lines = { ("%s, %s, %s MiB installed"):format(counted(file_count, "file"), counted(summary.packages, "package"),
    mebibytes(summary.kib)) }
  local function title(text)
    lines[#lines + 1] = "\n" .. text
  end
  title "packages    size/MiB  section"
  for _, name in ipairs(greatest(summary.sections, math.huge)) do
    lines[#lines + 1] = ("%8d  %10s  %s"):format(summary.sections[name], mebibytes(summary.section_kib[name]), name)
  end
  title "packages  depend on"
  for _, name in ipairs(greatest(summary.dependents, TOP)) do
    lines[#lines + 1] = ("%8d  %s"):format(summary.dependents[name], name)
  end
  title "packages  maintained by"
  for _, name in ipairs(greatest(summary.maintainers, TOP)) do
    lines[#lines + 1] = ("%8d  %s"):format(summary.maintainers[name], name)
  end
  return table.concat(lines, "\n") .. "\n"
end

-- --- the program -------------------------------------------------------------------------------------------------

-- Ends with one line on the error output. Closing the state ends what is still open.
local function fail(code, text)
  io.stderr:write("debian_archive: ", text, "\n")
  os.exit(code, true)
end

local function wrong_call(text)
  fail(2, text .. "; the options are --workers N, --inline, --no-time, --chunk BYTES, then FILE...")
end

local function positive(option, text, most)
  local n = math.tointeger(tonumber(text))
  if not n or n < 1 or n > most then
    wrong_call(("%s: a whole number from 1 to %d expected, got %s"):format(option, most, text or "nothing"))
  end
  return n
end

local function parse_arguments(words)
  local given = { workers = minigun.cpus(), chunk = 1 << 20, times = true, files = {} }
  local i = 1
  while i <= #words do
    local word = words[i]
    if word == "--workers" or word == "--chunk" then
      i = i + 1
      given[word:sub(3)] = positive(word, words[i], word == "--chunk" and 1 << 28 or 256)
    elseif word == "--inline" then
      given.inline = true
    elseif word == "--no-time" then
      given.times = false
    elseif word:find("^%-.") then
      wrong_call(("unknown option '%s'"):format(word))
    else
      given.files[#given.files + 1] = word
    end
    i = i + 1
  end
  return given
end

-- The index that apt keeps of its sources, or what dpkg has installed.
local function files_of_machine()
  local files = {}
  local list = assert(io.popen(
    ("cd %s && ls -d *_Packages *_Packages.lz4 *_Packages.gz *_Packages.xz 2>/dev/null"):format(LISTS)))
  for name in list:lines() do
    files[#files + 1] = LISTS .. "/" .. name
  end
  list:close()
  return #files > 0 and files or { STATUS }
end

-- One line for each fault: files first, in order of their names, then records.
local function report_faults(collected)
  local faults, byte, count = {}, {}, {}
  for _, fault in ipairs(collected.faults or {}) do
    faults[#faults + 1] = fault
  end
  for _, record in ipairs(collected.nameless or {}) do
    count[record.path] = (count[record.path] or 0) + 1
    byte[record.path] = math.min(byte[record.path] or math.huge, record.byte)
  end
  for path, n in pairs(count) do
    faults[#faults + 1] = ("%s: %s without the field 'Package', the first at byte %d; left out"):format(path,
      counted(n, "record"), byte[path])
  end
  table.sort(faults)
  for _, fault in ipairs(faults) do
    io.stderr:write("debian_archive: ", fault, "\n")
  end
  return #faults
end

local function main(words)
  local given = parse_arguments(words)
  local files = #given.files > 0 and given.files or files_of_machine()
  local workers = not given.inline and given.workers or nil
  local summary, result = count_files(files, workers, given.chunk)
  if summary.packages > 0 then
    io.write(table_of(summary, #files))
  end
  local faults = report_faults(result.collected)
  if summary.packages == 0 and faults == 0 then
    faults = 1
    io.stderr:write("debian_archive: no record of an installed or available package is in what was read\n")
  end
  if given.times then
    local name = workers and counted(workers, "worker") or "inline"
    io.write(("\n%-12s %7.3f s\n"):format(name, result.elapsed))
    if workers then
      local again, inline = count_files(files, nil, given.chunk)
      assert(table_of(again, #files) == table_of(summary, #files), "the inline run has counted otherwise")
      io.write(("%-12s %7.3f s, the same table; speed-up %.2f\n"):format("inline", inline.elapsed,
        inline.elapsed / result.elapsed))
    end
  end
  return faults > 0 and 1 or 0
end

local code = main(arg)
if code ~= 0 then
  os.exit(code, true)
end
