--- How wide a text is at a terminal, as far as programs can know without asking it.
--
-- East Asian wide characters and most emoji take two columns, marks that are put onto the character before take none.
-- Where terminals differ the larger width is taken: a line that is too short by a column does no harm.
local columns = {}

-- Ranges of code points, in order: those of no width, those of two columns.
local NONE <const> = {
  0x300, 0x36F, 0x483, 0x489, 0x591, 0x5BD, 0x5BF, 0x5BF, 0x5C1, 0x5C2, 0x5C4, 0x5C5, 0x5C7, 0x5C7, 0x610, 0x61A,
  0x64B, 0x65F, 0x670, 0x670, 0x6D6, 0x6DC, 0x6DF, 0x6E4, 0x6E7, 0x6E8, 0x6EA, 0x6ED, 0x711, 0x711, 0x730, 0x74A,
  0x900, 0x902, 0x93A, 0x93A, 0x93C, 0x93C, 0x941, 0x948, 0x94D, 0x94D, 0x951, 0x957, 0xE31, 0xE31, 0xE34, 0xE3A,
  0xE47, 0xE4E, 0x1AB0, 0x1AFF, 0x1DC0, 0x1DFF, 0x200B, 0x200F, 0x202A, 0x202E, 0x2060, 0x2064, 0x20D0, 0x20FF,
  0x302A, 0x302D, 0x3099, 0x309A, 0xFE00, 0xFE0F, 0xFE20, 0xFE2F, 0xFEFF, 0xFEFF, 0xE0100, 0xE01EF,
}
local TWO <const> = {
  0x1100, 0x115F, 0x231A, 0x231B, 0x2329, 0x232A, 0x23E9, 0x23F3, 0x25FD, 0x25FE, 0x2614, 0x2615, 0x2648, 0x2653,
  0x267F, 0x267F, 0x2693, 0x2693, 0x26A1, 0x26A1, 0x26AA, 0x26AB, 0x26BD, 0x26BE, 0x26C4, 0x26C5, 0x26CE, 0x26CE,
  0x26D4, 0x26D4, 0x26EA, 0x26EA, 0x26F2, 0x26F5, 0x26FA, 0x26FD, 0x2705, 0x2705, 0x270A, 0x270B, 0x2728, 0x2728,
  0x274C, 0x274E, 0x2753, 0x2757, 0x2795, 0x2797, 0x27B0, 0x27BF, 0x2B1B, 0x2B1C, 0x2B50, 0x2B55, 0x2E80, 0xA4CF,
  0xA960, 0xA97C, 0xAC00, 0xD7A3, 0xF900, 0xFAFF, 0xFE10, 0xFE19, 0xFE30, 0xFE6F, 0xFF01, 0xFF60, 0xFFE0, 0xFFE6,
  0x16FE0, 0x1B2FF, 0x1F004, 0x1F004, 0x1F0CF, 0x1F0CF, 0x1F18E, 0x1F19A, 0x1F200, 0x1F64F, 0x1F680, 0x1F6FF,
  0x1F7E0, 0x1F7EB, 0x1F900, 0x1FAFF, 0x20000, 0x3FFFD,
}

local function is_in(list, code)
  for i = 1, #list, 2 do
    if code < list[i] then return false end
    if code <= list[i + 1] then return true end
  end
  return false
end

local function width_of(code)
  if code < 0x300 then return 1 end
  return is_in(NONE, code) and 0 or is_in(TWO, code) and 2 or 1
end

-- A byte that is no text, or a character that would do something at a terminal.
local function is_dangerous(code)
  return not code or code < 32 or code >= 127 and code < 160 or code >= 0x202A and code <= 0x202E
end

-- The character that begins at a byte: its text, "?" where a terminal would obey it; its width; the byte after it.
local function char_at(text, at)
  local byte = text:byte(at)
  if byte >= 32 and byte < 127 then return text:sub(at, at), 1, at + 1 end
  local code = byte >= 0xC2 and utf8.len(text, at, at) and utf8.codepoint(text, at)
  if is_dangerous(code) then return "?", 1, (code and utf8.offset(text, 2, at) or at + 1) end
  local after = utf8.offset(text, 2, at)
  return text:sub(at, after - 1), width_of(code), after
end

--- Goes through the characters of a text: for char, width in columns.each(text).
---@param text string any bytes
---@return fun(): string?, integer?
function columns.each(text)
  local at, last = 1, #text
  return function()
    if at > last then return nil end
    local char, width
    char, width, at = char_at(text, at)
    return char, width
  end
end

-- Text of one column for each byte, as most is.
local function is_plain(text) return not text:find "[^ -~]" end

--- As much of a text as fits, without anything that a terminal would obey; "?" stands for that.
---@param text string any bytes
---@param most integer columns
---@return string text
---@return integer width of it
function columns.cut(text, most)
  if is_plain(text) then
    if #text > most then text = text:sub(1, most) end
    return text, #text
  end
  local parts, width = {}, 0
  for char, own in columns.each(text) do
    if width + own > most then break end
    parts[#parts + 1], width = char, width + own
  end
  return table.concat(parts), width
end

--- How many columns a text takes.
---@param text string
---@return integer
function columns.width(text) return is_plain(text) and #text or select(2, columns.cut(text, math.huge)) end

--- A text of exactly so many columns: cut, with a mark where it was, or filled up with blanks.
---@param text string
---@param width integer
---@param mark string? of one column
---@param right boolean? blanks come first
---@return string
function columns.fit(text, width, mark, right)
  local own, n = columns.cut(text, width)
  if own ~= text and width > 0 and columns.width(text) > width then
    own, n = columns.cut(text, width - 1)
    own, n = own .. (mark or "~"), n + 1
  end
  local blanks = (" "):rep(width - n)
  return right and blanks .. own or own .. blanks
end

return columns
