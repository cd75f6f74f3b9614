-- The most frequent words of the files given as arguments; without any, of this machine's C headers and licences.
-- Each worker counts whole files and emits one table for each, so that little travels between the processes.
--
--   minigun run examples/004_word_count.lua [FILE...]
--
-- Expected output:
--   ~ [1-9]%d* words in [1-9]%d* files?, [1-9]%d* different
--   ~  +[1-9]%d* %a+
--   ...

local minigun = require "minigun"

local function count_words(path, emit)
  local file <close> = assert(io.open(path, "rb"))
  local text = assert(file:read("a"))
  local counts = {}
  for word in text:lower():gmatch("%a+") do
    counts[word] = (counts[word] or 0) + 1
  end
  emit(counts)
end

local total, words, files = {}, 0, 0

local p = minigun.pipeline "word_count"
p:producer("files", #arg > 0 and arg or minigun.files { "/usr/include/*.h", "/usr/share/common-licenses/*" })
p:processor("count", { processes = true }, count_words)
p:each("merge", { inline = true }, function(counts)
  files = files + 1
  for word, n in pairs(counts) do
    total[word], words = (total[word] or 0) + n, words + n
  end
end)
p:on_failure(function(failure)                  -- without this hook `run` would raise at its end
  io.stderr:write("word_count: left out: ", failure.message, "\n")
end)
local result = p:run()

local ranking = {}
for word in pairs(total) do
  ranking[#ranking + 1] = word
end
table.sort(ranking, function(a, b)
  if total[a] ~= total[b] then
    return total[a] > total[b]
  end
  return a < b
end)
print(("%d words in %d file%s, %d different"):format(words, files, files == 1 and "" or "s", #ranking))
for i = 1, math.min(10, #ranking) do
  print(("%8d %s"):format(total[ranking[i]], ranking[i]))
end
if #result.failures > 0 then
  os.exit(1, true)
end
