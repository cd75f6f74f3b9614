-- examples/903_debian_archive.lua against spec/programs/count_archive.sh, which counts the same with sort, uniq, awk.

local lfs = require "lfs"
local support = require "spec.support"

local RECORDS <const> = support.short_or_long(150, 500)
local seed = tonumber(os.getenv "SEED") or os.time()

-- A random Packages file with everything that the format allows and the example says it handles.
local function write_index(path, records)
  math.randomseed(seed)
  local function one_of(list) return list[math.random(#list)] end
  local function dependency()
    local name = ("lib%s%d%s"):format(one_of { "a", "b+", "c-d", "e.f" }, math.random(40), one_of { "", "", "-dev" })
    return name .. one_of { "", "", " (>= 1:2.0~rc1-3+b1)", ":any", ":any (<< 4)", "(= 3)" }
  end
  local function list()
    local parts = {}
    for i = 1, math.random(12) do
      parts[i] = dependency() .. (math.random(5) == 1 and one_of { " | ", "|" } .. dependency() or "")
    end
    return table.concat(parts, one_of { ", ", ",", ",\n " })
  end
  local out = {}
  for i = 1, records do
    local fields = { "Package: package-" .. i }
    local function field(often, name, value)
      if math.random(100) <= often then
        fields[#fields + 1] = name .. ":" .. one_of { " ", " ", "  " } .. value
      end
    end
    field(15, "Status", one_of { "install ok installed", "hold ok installed", "deinstall ok config-files",
      "install ok half-installed" })
    field(95, "Installed-Size", math.random(0, 2000000))
    field(95, "Maintainer", ("Zoë %s <m%d@example.org>"):format(one_of { "A. B", "Team", "d'Or" }, math.random(30)))
    field(90, "Depends", list())
    field(20, "Pre-Depends", list())
    field(60, "Suggests", list())
    field(80, "Description", "some text, Depends: none\n Section: not this one\n .\n Package: nor this")
    field(93, "Section", one_of { "libs", "devel", "non-free/libs", "games", "x11" })
    fields[#fields + 1] = "SHA256: " .. ("%064x"):format(i)
    out[#out + 1] = table.concat(fields, "\n") .. "\n\n" .. (math.random(30) == 1 and "\n\n" or "")
  end
  return support.write_file(path, table.concat(out))
end

local directory, index, expected

local function path_of(name)
  return directory .. "/" .. name
end

local function file(name, text)
  return support.write_file(path_of(name), text)
end

local function archive(words)
  return support.run(support.command() .. " run examples/903_debian_archive.lua --no-time " .. words, { timeout = 60 })
end

local function assert_counts(wanted, words)
  local result = archive(words)
  local about = ("SEED=%d %s"):format(seed, words)
  assert.equal("", result.stderr, about)
  assert.equal(0, result.code, about)
  assert.equal(wanted, result.stdout, about)
end

local function count(words)
  local result = support.run("sh spec/programs/count_archive.sh " .. words, { timeout = 60 })
  assert.same({ 0, "" }, { result.code, result.stderr })
  return result.stdout
end

setup(function()
  directory = os.tmpname()
  os.remove(directory)
  assert(lfs.mkdir(directory))
  index = write_index(path_of "index_Packages", RECORDS)
  expected = count(index)
end)

teardown(function()
  support.remove_tree(directory)
end)

describe("debian_archive counts what the text tools count", function()
  for _, context in ipairs { "--inline", "--workers 1", "--workers 2", "--workers 4" } do
    for _, chunk in ipairs { "", "--chunk 1", "--chunk 1000", "--chunk 65536" } do
      it(("with %s %s"):format(context, chunk), function()
        assert_counts(expected, table.concat({ context, chunk, index }, " "))
      end)
    end
  end

  it("in several files", function()
    local second = write_index(path_of "second_Packages", 50)
    local both = index .. " " .. second
    assert_counts(count(both), both)
  end)

  for ending, command in pairs { gz = "gzip -c", xz = "xz -c", lz4 = "lz4 -c" } do
    local found = support.run("command -v " .. command:match("%w+")).code == 0
    (found and it or pending)("in a compressed file, ." .. ending, function()
      local packed = path_of("it's packed." .. ending)
      assert.equal(0, support.run(("%s %s > %s"):format(command, index, support.quote(packed))).code)
      assert_counts(expected, support.quote(packed))
    end)
  end

  local helper = lfs.attributes("/usr/lib/apt/apt-helper", "mode")
  ;(helper and it or pending)("through apt-helper where the format's own tool is not there", function()
    local packed = path_of "helped.gz"
    support.run(("gzip -c %s > %s"):format(index, packed))
    local result = support.run('PATH=/none "$(command -v lua5.4)" examples/903_debian_archive.lua --no-time ' .. packed,
      { env = support.lua_env() })
    assert.same({ "", 0, expected }, { result.stderr, result.code, result.stdout })
  end)

  it("in dpkg's list of this machine", function()
    assert_counts(count "/var/lib/dpkg/status", "/var/lib/dpkg/status")
  end)

  local machine = helper and support.run("ls /var/lib/apt/lists/*_Packages* 2>/dev/null").stdout ~= ""
  ;(machine and it or pending)("in apt's index of this machine", function()
    support.deadline(240)
    local plain, names = {}, {}
    for name in support.run("ls -Sr /var/lib/apt/lists/*_Packages*").stdout:gmatch("[^\n]+") do
      names[#names + 1] = name
    end
    if not support.long and #names > 1 then names[#names] = nil end -- the largest has 50 MB
    for _, name in ipairs(names) do
      local path = path_of(("machine%d_Packages"):format(#plain + 1))
      assert.equal(0, support.run(("/usr/lib/apt/apt-helper cat-file %s > %s"):format(name, path)).code)
      plain[#plain + 1] = path
    end
    local wanted = count(table.concat(plain, " "))
    for _, context in ipairs(support.short_or_long({ table.concat(names, " ") }, { "", "--inline", "--workers 2" })) do
      assert_counts(wanted, context)
    end
  end)
end)

-- A fault is one line on the error output and status 1.
local function assert_fault(pattern, words, printed)
  local result = archive(words)
  assert.equal(1, result.code)
  assert.matches("^debian_archive: [^\n]*\n$", result.stderr)
  assert.matches(pattern, result.stderr)
  assert.equal(printed or "", result.stdout)
end

describe("debian_archive says in one line that a file", function()
  it("is not there, and counts the others", function()
    assert_fault("/none: No such file", path_of "none")
    assert_fault("/none: No such file", ("%s %s --inline"):format(path_of "none", index),
      (expected:gsub("^1 file", "2 files", 1)))
  end)

  it("cannot be read", function()
    assert_fault("^debian_archive: " .. directory .. ": Is a directory", directory)
  end)

  it("is empty, also when unpacked", function()
    assert_fault("empty_Packages: is empty", file("empty_Packages", ""))
    support.run(("gzip -c %s > %s"):format(path_of "empty_Packages", path_of "empty.gz"))
    assert_fault("empty.gz: is empty", path_of "empty.gz")
  end)

  it("is not a Packages file", function()
    for name, text in pairs { prose = "Dear reader,\n\nthis is prose.\n\n", word = "hello",
      binary = "\0\127ELF\n\n\1\2", deb822 = "Source: hello\nBuild-Depends: gcc\n\nPackage: hello\n\n" } do
      assert_fault(name .. ": is not a Packages file: ", file(name, text))
    end
  end)

  it("is cut, at every byte of the last record; the others count", function()
    local one = "Package: a\nSection: x\nInstalled-Size: 10\n\n"
    local two = "Package: b\nSection: y\n\n"
    local whole = archive("--inline " .. file("one", one)).stdout
    assert.matches("^1 file, 1 package, 0%.0 MiB", whole)
    for length = 1, #two - 1, support.short_or_long(3, 1) do
      local path = file("cut", one .. two:sub(1, length))
      local result = archive("--inline " .. path)
      assert.equal(1, result.code)
      assert.equal(whole, result.stdout, "length " .. length)
      assert.equal(("debian_archive: %s: is cut: the last record, of %s, begins at byte %d and does not end; "):format(
        path, length >= 11 and "package 'b'" or "a package without a name", #one + 1) ..
        "it is left out, those before it count\n", result.stderr, "length " .. length)
    end
    assert_fault("begins at byte 1 and does not end; it is left out, and there is no other",
      file("cut", one:sub(1, 30)))
  end)

  it("is compressed and cut", function()
    support.run(("gzip -c %s | head -c 4000 > %s"):format(index, path_of "cut.gz"))
    local result = archive(path_of "cut.gz")
    assert.equal(1, result.code)
    assert.matches("^debian_archive: [^\n]*cut%.gz: is damaged or cut: [^\n]*\n$", result.stderr)
    assert.matches("^1 file, [1-9]%d* packages", result.stdout)
  end)

  it("has records without a name", function()
    local path = file("nameless", "Package: a\n\nFoo: b\n\nPackage: c\n\nBar: d\n\n")
    for _, chunk in ipairs { 1, 20, 1000 } do
      local result = archive(("--workers 2 --chunk %d %s"):format(chunk, path))
      assert.equal(1, result.code)
      assert.equal(("debian_archive: %s: 2 records without the field 'Package', the first at byte 13; left out\n")
        :format(path), result.stderr)
      assert.matches("^1 file, 2 packages", result.stdout)
    end
  end)
end)

describe("debian_archive", function()
  it("refuses a wrong call with one line and status 2", function()
    for words, pattern in pairs { ["--worker 2"] = "unknown option '%-%-worker'", ["--workers"] = "got nothing",
      ["--workers 0"] = "from 1 to 256 expected, got 0", ["--chunk x"] = "got x" } do
      local result = archive(words)
      assert.equal(2, result.code)
      assert.equal("", result.stdout)
      assert.matches("^debian_archive: [^\n]*" .. pattern .. "[^\n]*\n$", result.stderr)
    end
  end)
end)
