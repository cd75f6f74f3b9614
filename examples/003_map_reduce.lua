-- Many values into one: minigun.reduce folds a list over all cores, p:reduce what comes out of other stages.
--
-- Workers fold parts of the items, and the parts are combined in the order of the items. So the function must be
-- associative, like + or .. or math.max; where its values are of another kind than the items, `combine` puts two of
-- them together. One value comes out, the initial one where there was no item.
--
-- Expected output:
--   sum of squares 338350
--   longest word: straightforward
--   the quick brown fox jumps over the lazy dog
--   letters: e 3, h 2, o 4, r 2, t 2, u 2

local minigun = require "minigun"

local function add(a, b) return a + b end

local numbers = {}
for n = 1, 100 do numbers[n] = n end

local squares = minigun.map(numbers, function(n) return n * n end)
print("sum of squares " .. minigun.reduce(squares, 0, add))

local words = { "a", "plain", "straightforward", "example" }
print("longest word: " .. minigun.reduce(words, "", function(a, b) return #b > #a and b or a end))

local sentence = { "the", " quick", " brown", " fox", " jumps", " over", " the", " lazy", " dog" }
print(minigun.reduce(sentence, "", function(a, b) return a .. b end, { processes = 4 }))

-- Counts are tables, items are strings: one function adds an item to a table, the other puts two tables together. Each
-- part of the items begins with a table of its own.
local p = minigun.pipeline "letters"
p:producer("words", sentence)
p:processes(2, function()
  p:flat_map("letters", function(word)
    local letters = {}
    for letter in word:gmatch "%a" do letters[#letters + 1] = letter end
    return letters
  end)
  p:reduce("count", {}, function(counts, letter)
    counts[letter] = (counts[letter] or 0) + 1
    return counts
  end, {
    combine = function(a, b)
      for letter, n in pairs(b) do a[letter] = (a[letter] or 0) + n end
      return a
    end,
  })
end)

local often = {}
for letter, n in pairs(p:run().items[1]) do
  if n > 1 then often[#often + 1] = letter .. " " .. n end
end
table.sort(often)
print("letters: " .. table.concat(often, ", "))
