-- A pipeline whose handlers are methods of an object: a string in place of a function names the method, `bind` gives
-- the object. A subclass overrides methods, and the pipeline stays the same.
--
-- Expected output:
--   3 words, longest first:
--   pipelines
--   minigun
--   runs
--   3 words, with the vowels masked:
--   m*n*g*n
--   p*p*l*n*s
--   r*ns

local minigun = require "minigun"

local Words = {}
Words.__index = Words

Words.pipeline = minigun.pipeline "words"
  :producer("lines", "lines")                                            -- self:lines(emit, ctx)
  :processor("split", { processes = 2 }, "split")                        -- self:split(line, emit, ctx)
  :map("show", { processes = 2 }, "show")                                -- self:show(word)
  :each("keep", { inline = true }, "keep")

function Words.new(class, text)
  return setmetatable({ text = text, found = {} }, class)
end

function Words:lines(emit)
  for line in self.text:gmatch "[^\n]+" do emit(line) end
end

function Words:split(line, emit)
  for word in line:gmatch "%a+" do emit(word) end
end

function Words:show(word) return word end

function Words:keep(word) self.found[#self.found + 1] = word end

function Words:before(a, b) return #a > #b end

function Words:run()
  self.pipeline:extend():bind(self):run()                                -- a copy, so that objects do not get mixed up
  table.sort(self.found, function(a, b) return self:before(a, b) end)
  return self.found
end

-- The subclass shows words in another way and sorts them by the alphabet.
local Masked = setmetatable({}, { __index = Words })
Masked.__index = Masked

function Masked:show(word)
  return (Words.show(self, word):gsub("[aeiou]", "*"))
end

function Masked:before(a, b) return a < b end

local text = "minigun runs\npipelines"
local found = Words.new(Words, text):run()
print(#found .. " words, longest first:")
print(table.concat(found, "\n"))
found = Masked.new(Masked, text):run()
print(#found .. " words, with the vowels masked:")
print(table.concat(found, "\n"))
