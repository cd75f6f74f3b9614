--- The painter: from one canvas to the next in as few bytes as may be. Only cells that have changed are written; each
-- run of them begins with the place where it stands, so a character whose width the terminal sees otherwise does no
-- harm beyond its own place.
local painter = {}

local GAP <const> = 5 -- cells that have not changed and are written all the same, as moving costs as much

local Painter = {}
Painter.__index = Painter

--- Makes a painter; the screen is empty.
---@param codes string[] what is written to get a style, by its number
---@return table painter
function painter.new(codes) return setmetatable({ codes = codes, shown = false }, Painter) end

--- What is on the screen is not known any more: the next canvas is painted whole.
function Painter:forget() self.shown = false end

-- Whether the width of a character is the same at every terminal: ASCII, letters, lines, blocks and arrows.
local function is_sure(char)
  if #char == 1 then return true end
  local code = utf8.codepoint(char)
  return code < 0x2300 or code >= 0x2500 and code < 0x25A0
end

-- Writes cells from `from` to `to` of a row, one after the other.
local function run(self, parts, canvas, y, from, to)
  local text, styles, base, codes = canvas.text, canvas.styles, (y - 1) * canvas.width, self.codes
  local place = true
  for x = from, to do
    local char, look = text[base + x], styles[base + x]
    if char ~= "" then
      if place then parts[#parts + 1] = ("\27[%d;%dH"):format(y, x) end
      if look ~= self.look then parts[#parts + 1], self.look = codes[look], look end
      parts[#parts + 1] = char
      place = not is_sure(char)
    end
  end
end

local function paint_row(self, parts, canvas, old, y)
  local text, styles, width = canvas.text, canvas.styles, canvas.width
  local base, from, to = (y - 1) * width, nil, nil
  local old_text, old_styles = old and old.text, old and old.styles
  for x = 1, width do
    local at = base + x
    if not old or text[at] ~= old_text[at] or styles[at] ~= old_styles[at] then
      if from and x - to > GAP then
        run(self, parts, canvas, y, from, to)
        from = nil
      end
      from, to = from or (text[at] == "" and x - 1 or x), x
    end
  end
  if from then run(self, parts, canvas, y, math.max(1, from), to) end
end

--- Paints a canvas, which is kept and must not be changed after that.
---@param canvas table
---@return string bytes for the terminal; "": nothing has changed
function Painter:paint(canvas)
  local old, parts = self.shown, {}
  if old and (old.width ~= canvas.width or old.height ~= canvas.height) then old = false end
  self.look = nil
  if not old then parts[1] = "\27[0m\27[2J" end
  for y = 1, canvas.height do paint_row(self, parts, canvas, old, y) end
  self.shown = canvas
  if #parts == 0 then return "" end
  parts[#parts + 1] = "\27[0m"
  return table.concat(parts)
end

return painter
