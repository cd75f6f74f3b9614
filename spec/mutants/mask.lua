--- Blanks what is not code, so that patterns find operators and words of the program alone. Every character keeps its
-- place: a position in the mask is one in the text.

local M = {}

-- What begins at i and is not code: its end, exclusive, and what it is.
local finders = {}

function finders.lua(text, i)
  local level = text:match("^%-%-%[(=*)%[", i)
  if level then
    local _, last = text:find("]" .. level .. "]", i, true)
    return (last or #text) + 1, "comment"
  elseif text:find("^%-%-", i) then
    return text:find("\n", i, true) or #text + 1, "comment"
  end
  level = text:match("^%[(=*)%[", i)
  if level then
    local _, last = text:find("]" .. level .. "]", i, true)
    return (last or #text) + 1, "string"
  end
  return nil
end

function finders.c(text, i)
  if text:find("^/%*", i) then
    local _, last = text:find("*/", i + 2, true)
    return (last or #text) + 1, "comment"
  elseif text:find("^//", i) then
    return text:find("\n", i, true) or #text + 1, "comment"
  elseif text:find("^#", i) and (i == 1 or text:sub(1, i - 1):find("\n[ \t]*$")) then
    local last = i - 1
    repeat                                        -- a directive goes on after a backslash
      last = text:find("\n", last + 1, true) or #text + 1
    until text:sub(last - 1, last - 1) ~= "\\"
    return last, "comment"
  end
  return nil
end

local function quoted(text, i)
  local quote = text:sub(i, i)
  local at = i + 1
  while true do
    local c = text:sub(at, at)
    if c == quote or c == "" then return at + 1, "string" end
    at = at + (c == "\\" and 2 or 1)
  end
end

--- @param text string, a whole source file
-- @param language string, "lua" or "c"
-- @return string of the same length; comments, and the preprocessor's lines, are blanks, strings are bytes 1
function M.mask(text, language)
  local find = finders[language]
  local starts = language == "c" and "[\"'/#]" or "[\"'%-%[]"
  local parts, from, at = {}, 1, 1
  while true do
    local i = text:find(starts, at)
    if not i then break end
    local stop, kind
    if text:find("^[\"']", i) then stop, kind = quoted(text, i) else stop, kind = find(text, i) end
    if stop then
      parts[#parts + 1] = text:sub(from, i - 1)
      parts[#parts + 1] = text:sub(i, stop - 1):gsub("[^\n]", kind == "comment" and " " or "\1")
      from, at = stop, stop
    else
      at = i + 1
    end
  end
  parts[#parts + 1] = text:sub(from)
  return table.concat(parts)
end

--- The lines of a text, without their ends.
-- @param text string
-- @return array of strings
function M.lines(text)
  local list = {}
  for line in (text:gsub("\n$", "") .. "\n"):gmatch("(.-)\n") do list[#list + 1] = line end
  return list
end

return M
