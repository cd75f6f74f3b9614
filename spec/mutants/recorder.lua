--- Loaded by busted in the copy of the tree that tells which blocks each test enters: after each test it adds one
-- entry to $MINIGUN_MARKS.tests: the test's full name, its seconds, and its marks (see marks.c), each with its length.

local busted = require "busted"

local take = minigun_marks -- luacheck: ignore
local file = assert(io.open(os.getenv "MINIGUN_MARKS" .. ".tests", "ab"))
local began, loading
take()

-- As busted's --filter sees it: without the file's name.
local function full_name(element)
  local names = {}
  while element and element.descriptor ~= "file" and element.descriptor ~= "suite" do
    table.insert(names, 1, tostring(element.name or element.descriptor))
    element = busted.parent(element)
  end
  return table.concat(names, " ")
end

local function add(name, seconds)
  file:write(string.pack("s4ns4", name, seconds, take()))
  file:flush()
end

busted.subscribe({ "test", "start" }, function()
  if not loading then add("", 0) end -- what loading the spec has entered
  loading = true
  began = busted.monotime()
  return nil, true
end, { priority = 1 })

busted.subscribe({ "test", "end" }, function(element)
  add(full_name(element), busted.monotime() - began)
  return nil, true
end)
