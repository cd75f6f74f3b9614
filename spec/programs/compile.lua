-- compile.lua DIRECTORY: writes the library there, compiled. The programs of the specs load it a thousand times, and
-- parsing is most of what that takes. Lines and names in messages are those of the sources.
local lfs = require "lfs"

local function compile(from, to)
  assert(lfs.mkdir(to))
  for name in lfs.dir(from) do
    local source, target = from .. "/" .. name, to .. "/" .. name
    if name:find "%.lua$" then
      local file <close> = assert(io.open(target, "wb"))
      file:write(string.dump(assert(loadfile(source))))
    elseif not name:find "^%." and lfs.attributes(source, "mode") == "directory" then
      compile(source, target)
    end
  end
end

compile("./lua", arg[1])
