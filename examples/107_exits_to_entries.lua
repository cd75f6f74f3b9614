-- Several exits to several entrances. A nested pipeline's entry stages receive nothing inside it, each
-- gets every item; its exit stages send nothing on inside it. Two pipelines side by side are linked only when
-- one says so, with `from` or `to`; then each exit stage of the first sends to each entry stage of the second.
--
-- Expected output:
--   pipeline 'measure', 6 stages
--     words          producer  inline        -> text.upper, text.lower
--     text.upper     map       processes(2)  -> count.letters, count.vowels
--     text.lower     map       processes(2)  -> count.letters, count.vowels
--     count.letters  map       inline        -> join
--     count.vowels   map       inline        -> join
--     join           each      inline        -> (result)
--   LUA: 2 vowels
--   LUA: 3 letters
--   lua: 2 vowels
--   lua: 3 letters

local minigun = require "minigun"

local p = minigun.pipeline "measure"

p:producer("words", { "Lua" })

p:pipeline("text", { processes = 2 }, function(text)
  text:map("upper", { to = {} }, string.upper)            -- an entry and an exit
  text:map("lower", string.lower)                         -- the other one: nothing sends to it in here
end)

p:pipeline("count", { from = "text" }, function(count)
  count:map("letters", { to = {} }, function(word) return ("%s: %d letters"):format(word, #word) end)
  count:map("vowels", function(word)
    local _, n = word:gsub("[aeiouAEIOU]", "")
    return ("%s: %d vowels"):format(word, n)
  end)
end)

local lines = {}
p:each("join", function(line) lines[#lines + 1] = line end)

print(p)
p:run()
table.sort(lines)
print(table.concat(lines, "\n"))
