-- A larger graph: one stage broadcasts, one chooses (also several targets for an item), arms of different lengths meet
-- again. `print(p)` draws it.
--
-- Expected output:
--   pipeline 'complex_routing', 7 stages
--     photos     producer   inline        -> thumbnail, sort
--     thumbnail  map        processes(2)  -> publish
--     sort       processor  inline        -> sharpen, portrait, publish
--     sharpen    map        processes(1)  -> publish
--     portrait   map        processes(1)  -> frame
--     frame      map        processes(1)  -> publish
--     publish    each       inline        -> (result)
--   cat: portrait frame, sharpen, thumbnail
--   dog: portrait frame, thumbnail
--   hill: plain, thumbnail
--   lake: sharpen, thumbnail

local minigun = require "minigun"

local photos = {
  { name = "cat", blurred = true, portrait = true }, { name = "dog", portrait = true },
  { name = "hill" }, { name = "lake", blurred = true },
}

-- A step that adds its name to what was done to the photo.
local function step(name)
  return function(photo) return { name = photo.name, done = (photo.done and photo.done .. " " or "") .. name } end
end

local p = minigun.pipeline "complex_routing"
p:producer("photos", { to = { "thumbnail", "sort" } }, photos)             -- every photo to both
p:map("thumbnail", { processes = 2, to = "publish" }, step "thumbnail")

p:processor("sort", {
  to = { "sharpen", "portrait", "publish" },
  route = function(photo)                       -- one name, or an array of them
    local targets = {}
    if photo.blurred then targets[#targets + 1] = "sharpen" end
    if photo.portrait then targets[#targets + 1] = "portrait" end
    return #targets > 0 and targets or "publish"
  end,
}, function(photo, emit) emit(photo) end)

p:map("sharpen", { processes = 1, to = "publish" }, step "sharpen")
p:processes(1, function()
  p:map("portrait", step "portrait")            -- goes on with the next stage, "frame"
  p:map("frame", { to = "publish" }, step "frame")
end)

local published = {}
p:each("publish", function(photo)
  local list = published[photo.name] or {}
  published[photo.name] = list
  list[#list + 1] = photo.done or "plain"
end)

print(p)
p:run()
for _, photo in ipairs(photos) do
  table.sort(published[photo.name])
  print(photo.name .. ": " .. table.concat(published[photo.name], ", "))
end
