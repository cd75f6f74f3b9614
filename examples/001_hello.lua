-- A first pipeline: two worker processes greet, the coordinator prints.
--
-- Expected output, in any order:
--   Hello, world!
--   Hello, moon!
--   Hello, stars!

local minigun = require "minigun"

local p = minigun.pipeline "hello"
p:producer("names", { "world", "moon", "stars" })
p:map("greet", { processes = 2 }, function(name) return ("Hello, %s!"):format(name) end)
p:each("print", print)
p:run()
