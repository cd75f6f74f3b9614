-- Makes the pictures of the pages, from runs on this machine: `lua5.4 docs/generate_pictures.lua`, from the top of the
-- tree. docs/hud.svg is the live view as a terminal shows it; docs/report.png the report, by chromium where that is
-- installed; docs/graph.svg what `minigun graph --format svg` draws of examples/105_complex_routing.lua.
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = "./build/?.so;" .. package.cpath
local minigun = require "minigun"
local glyphs = require "minigun.view.glyphs"
local hud = require "minigun.view.hud"
local scene = require "minigun.view.scene"
local style = require "minigun.view.style"

local WIDTH <const>, HEIGHT <const> = 132, 33 -- of the terminal
local CELL <const>, LINE <const> = 7.8, 16    -- pixels of a character
local SECONDS <const> = 3                     -- of the run, until the picture is taken

local function define(n)
  local p = minigun.pipeline "orders"
  p:producer("read", function(emit) for i = 1, n do emit { id = i, price = i % 97 } end end)
  p:processes(4, function()
    p:map("parse", function(order)
      local until_then = os.clock() + 0.0004
      while os.clock() < until_then do end
      if order.id % 900 == 0 then error("order " .. order.id .. " has no price") end
      return order
    end)
  end)
  p:map("price", { from = "parse" }, function(order) return order.price end)
  p:filter("dear", { from = "parse" }, function(order) return order.price > 50 end)
  p:batch("pack", { from = "dear", max_size = 100 })
  p:each("store", { processes = 1, from = "pack" }, function() minigun.sleep(0.001) end)
  p:reduce("sum", 0, function(a, b) return a + b end, { from = "price" })
  p:on_failure(function() end)
  return p
end

-- --- the live view as SVG ------------------------------------------------------------------------------------------

local COLOURS <const> = { green = "#5faf5f", yellow = "#ffd700", orange = "#ff8700", red = "#ff5f5f", gray = "#8a8a8a",
  cyan = "#00d7d7", blue = "#5fafff", moving = "#5fff00", title = "#00d7d7" }

local function look_of(number)
  for name, value in pairs(style) do
    if value == number then return name end
  end
end

local function escape(text) return (text:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" })) end

-- One piece of a row, all in one style: an array of cells, the first at column x. Each word is put where it belongs.
local function piece(cells, x, y, look)
  local bar, parts, i = look:match "^bar_?(%l*)$", {}, 1
  if bar then
    parts[1] = ('<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>'):format(x * CELL, y * LINE - 12,
      #cells * CELL, LINE, COLOURS[bar] or "#d0d0d0")
  end
  local bold = (look == "bold" or look == "title" or look == "moving") and ' font-weight="bold"' or ""
  while i <= #cells do
    local first = i
    while cells[i] and cells[i] ~= " " do i = i + 1 end
    if i > first then
      parts[#parts + 1] = ('<text x="%.1f" y="%d" fill="%s"%s textLength="%.1f">%s</text>'):format(
        (x + first - 1) * CELL, y * LINE, bar and "#101010" or COLOURS[look] or "#e0e0e0", bold, (i - first) * CELL,
        escape(table.concat(cells, "", first, i - 1)))
    end
    i = i + 1
  end
  return table.concat(parts)
end

local function svg_of(canvas)
  local parts = { ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" font-family="monospace" ' ..
    'font-size="13"><rect width="100%%" height="100%%" rx="6" fill="#14171c"/>'):format(
    WIDTH * CELL + 16, HEIGHT * LINE + 16), '<g transform="translate(8,8)">' }
  for y = 1, HEIGHT do
    local x = 1
    while x <= WIDTH do
      local first, at = x, (y - 1) * WIDTH
      local look, cells = canvas.styles[at + x], {}
      while x <= WIDTH and canvas.styles[at + x] == look do
        cells[#cells + 1] = canvas.text[at + x]
        x = x + 1
      end
      parts[#parts + 1] = piece(cells, first - 1, y, look_of(look) or "plain")
    end
  end
  parts[#parts + 1] = "</g></svg>\n"
  return table.concat(parts)
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

local run <close> = define(400000):start()
run:status() -- what it is at now is told from the second look on
local start = minigun.now()
while minigun.now() - start < SECONDS do
  run:wait(0.25)
  run:status()
end
local status = run:status()
local view = hud.new({ now = minigun.now, glyphs = glyphs.unicode, colours = 256 }, nil)
view.status = status
write("docs/hud.svg", svg_of(scene.draw(status, view, WIDTH, HEIGHT, 3)))
run:kill()
define(15000):run { report = "docs/report.html", failures = "collect" }
if os.execute "command -v chromium >/dev/null 2>&1" then
  os.execute("chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1100,1600 " ..
    "--screenshot=docs/report.png \"file://$PWD/docs/report.html\" 2>/dev/null")
end
os.remove "docs/report.html"
os.execute "./bin/minigun graph --format svg examples/105_complex_routing.lua > docs/graph.svg 2>/dev/null"
