--- A canvas: cells of one column, each with a character and a style. What lies outside is cut off.
--
-- A character of two columns has its text in the first cell, and "" in the second.
local columns = require "minigun.view.columns"
local style = require "minigun.view.style"

local canvas = {}

local PLAIN <const> = style.plain

local Canvas = {}
Canvas.__index = Canvas

--- Makes a canvas of blanks.
---@param width integer
---@param height integer
---@return table canvas `text`, `styles`: arrays of width * height cells, row by row
function canvas.new(width, height)
  local self = setmetatable({ width = width, height = height, text = {}, styles = {}, left = 1, top = 1, right = width,
    bottom = height }, Canvas)
  for i = 1, width * height do self.text[i], self.styles[i] = " ", PLAIN end
  return self
end

--- Another canvas with the same cells.
---@return table
function Canvas:copy()
  local n = self.width * self.height
  return setmetatable({ width = self.width, height = self.height, text = table.move(self.text, 1, n, 1, {}),
    styles = table.move(self.styles, 1, n, 1, {}), left = 1, top = 1, right = self.width, bottom = self.height },
    Canvas)
end

--- From now on only this part is drawn on; positions stay those of the whole.
---@param left integer column, from 1
---@param top integer row
---@param width integer
---@param height integer
function Canvas:clip(left, top, width, height)
  self.left, self.top = math.max(1, left), math.max(1, top)
  self.right, self.bottom = math.min(self.width, left + width - 1), math.min(self.height, top + height - 1)
end

--- The whole is drawn on again.
function Canvas:unclip() self.left, self.top, self.right, self.bottom = 1, 1, self.width, self.height end

--- Draws one character of one column.
---@param x integer column
---@param y integer row
---@param char string
---@param look integer a style
function Canvas:put(x, y, char, look)
  if x < self.left or x > self.right or y < self.top or y > self.bottom then return end
  local at = (y - 1) * self.width + x
  self.text[at], self.styles[at] = char, look
end

--- Draws a text in one row. What a terminal would obey is shown as "?".
---@param x integer
---@param y integer
---@param text string
---@param look integer
---@param most integer? columns
---@return integer x after it
function Canvas:write(x, y, text, look, most)
  local limit = math.min(self.right, most and x + most - 1 or math.huge)
  if y < self.top or y > self.bottom then return x end
  local cells, looks, base = self.text, self.styles, (y - 1) * self.width
  if not text:find "[^ -~]" then -- as most is
    for i = math.max(1, self.left - x + 1), math.min(#text, limit - x + 1) do
      local at = base + x + i - 1
      cells[at], looks[at] = text:sub(i, i), look
    end
    return x + math.max(0, math.min(#text, limit - x + 1))
  end
  for char, width in columns.each(text) do
    if x + width - 1 > limit then break end
    if width == 0 then -- a mark on the character before it
      local at = base + x - 1
      if x > self.left and cells[at] ~= "" then cells[at] = cells[at] .. char end
    else
      if x >= self.left then
        cells[base + x], looks[base + x] = char, look
        if width == 2 then cells[base + x + 1], looks[base + x + 1] = "", look end
      end
      x = x + width
    end
  end
  return x
end

--- Fills a part of a row.
---@param x integer
---@param y integer
---@param width integer
---@param char string of one column
---@param look integer
function Canvas:fill(x, y, width, char, look)
  for i = x, x + width - 1 do self:put(i, y, char, look) end
end

--- Draws a frame, with a title in its upper side.
---@param x integer
---@param y integer
---@param width integer
---@param height integer
---@param glyphs table of glyphs.lua: `frame`, six characters: ─ │ ┌ ┐ └ ┘
---@param look integer
---@param title string?
---@param title_look integer?
function Canvas:frame(x, y, width, height, glyphs, look, title, title_look)
  local frame = glyphs.frame
  local right, bottom = x + width - 1, y + height - 1
  self:fill(x + 1, y, width - 2, frame[1], look)
  self:fill(x + 1, bottom, width - 2, frame[1], look)
  for row = y + 1, bottom - 1 do
    self:put(x, row, frame[2], look)
    self:put(right, row, frame[2], look)
  end
  self:put(x, y, frame[3], look)
  self:put(right, y, frame[4], look)
  self:put(x, bottom, frame[5], look)
  self:put(right, bottom, frame[6], look)
  if title and width > 6 then self:write(x + 2, y, " " .. title .. " ", title_look or look, width - 4) end
end

--- Blanks a rectangle.
---@param x integer
---@param y integer
---@param width integer
---@param height integer
function Canvas:erase(x, y, width, height)
  for row = y, y + height - 1 do self:fill(x, row, width, " ", PLAIN) end
end

--- The rows as text, for files and specs.
---@return string[] lines without blanks at their ends
function Canvas:lines()
  local lines = {}
  for y = 1, self.height do
    lines[y] = table.concat(self.text, "", (y - 1) * self.width + 1, y * self.width):gsub("%s+$", "")
  end
  return lines
end

return canvas
