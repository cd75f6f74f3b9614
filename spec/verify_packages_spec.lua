-- examples/902_verify_packages.lua against md5sum.

local support = require "spec.support"

local root

local function write(path, text) support.write_file(root .. "/" .. path, text) end

setup(function()
  root = os.tmpname()
  os.remove(root)
  assert(os.execute(("mkdir -p %s/var/lib/dpkg/info %s/usr"):format(root, root)))
end)

teardown(function() support.remove_tree(root) end)

local function verify(words)
  return support.run(("%s run examples/902_verify_packages.lua --no-time --root %s %s"):format(support.command(), root,
    words), { timeout = 60 })
end

describe("verify_packages", function()
  it("finds the sums that md5sum finds, for each length around a block's and a read's", function()
    local names = {}
    for _, n in ipairs { 0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 65535, 65536, 65537, 131072 + 60 } do
      names[#names + 1] = "usr/f" .. n
      write("usr/f" .. n, ("abc\0\255"):rep(n // 5 + 1):sub(1, n))
    end
    assert(os.execute(("cd %s && md5sum %s > var/lib/dpkg/info/all.md5sums"):format(root, table.concat(names, " "))))
    for _, workers in ipairs { 1, 3 } do
      local result = verify("--workers " .. workers)
      assert.same({ 0, "" }, { result.code, result.stderr })
      assert.matches("^16 files of 1 package, 0%.3 MB: all as they were installed\n$", result.stdout)
    end
  end)

  it("names what is not as it was, in order, and counts what is gone", function()
    write("usr/f64", "changed")
    write("usr/f0", "no longer empty")
    os.remove(root .. "/usr/f1")
    local result = verify ""
    assert.equal(1, result.code)
    assert.equal(("%s/usr/f0: is not as it was installed\n%s/usr/f64: is not as it was installed\n"):format(root, root),
      result.stdout:match "^(.-\n.-\n)")
    assert.matches("\n15 files of 1 package, 0%.3 MB: 2 not as they were installed, 1 not there\n$", result.stdout)
  end)

  it("refuses a wrong call", function()
    for _, words in ipairs { "--worker 2", "--workers", "--workers x", "--megabytes 1.5", "file" } do
      assert.equal(2, verify(words).code, words)
    end
  end)
end)
