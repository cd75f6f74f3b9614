-- Names and nested pipelines. Inside, a name is looked up in the own pipeline first, then in the one around it; from
-- outside, a stage in a nested pipeline is called "pipeline.stage". That goes for `to`, `from`, `route`, `emit:to`,
-- hooks and results.
--
-- Expected output:
--   letters: 2 in letters.local, 1 in letters.abroad
--   parcels: 1 weighed, 1 too heavy
--   refused: letter without an address, parcel of 40 kg

local minigun = require "minigun"

local post = {
  { kind = "letter", country = "here" }, { kind = "letter", country = "there" }, { kind = "letter" },
  { kind = "parcel", weight = 2 }, { kind = "parcel", weight = 40 }, { kind = "letter", country = "here" },
}

local p = minigun.pipeline "post"

p:producer("post", post)

p:processor("sort", { to = { "letters", "parcels.weigh" }, route = function(item)
  return item.kind == "letter" and "letters" or "parcels.weigh"     -- a pipeline, or one stage inside it
end }, function(item, emit) emit(item) end)

p:pipeline("letters", { to = {}, processes = 2 }, function(letters)
  letters:processor("stamp", function(letter, emit)
    if not letter.country then
      emit:to("refuse", "letter without an address")                -- outward: there is no "refuse" in here
    else
      emit:to(letter.country == "here" and "local" or "abroad", letter)   -- beside it
    end
  end)
  letters:consumer("local", { await = true, to = {} }, function(letter, emit) emit(letter) end)
  letters:consumer("abroad", { await = true, to = {} }, function(letter, emit) emit(letter) end)
end)

p:pipeline("parcels", { await = true, to = {} }, function(parcels)
  parcels:processor("weigh", { processes = 1, to = "refuse" }, function(parcel, emit, ctx)
    ctx:count "weighed"
    if parcel.weight > 30 then
      ctx:count "heavy"
      emit(("parcel of %d kg"):format(parcel.weight))
    end
  end)
end)

local refused = {}
p:each("refuse", { await = true, inline = true }, function(text) refused[#refused + 1] = text end)

local result = p:run()

print(("letters: %d in letters.local, %d in letters.abroad"):format(#result:of "letters.local",
  #result:of "letters.abroad"))
print(("parcels: %d weighed, %d too heavy"):format(result.counters.weighed - result.counters.heavy,
  result.counters.heavy))
table.sort(refused)
print("refused: " .. table.concat(refused, ", "))
