--- Keys: from the bytes of a terminal to names. Values in, values out.
local keys = {}

local NAMED <const> = {
  ["\27[A"] = "up", ["\27[B"] = "down", ["\27[C"] = "right", ["\27[D"] = "left", ["\27OA"] = "up", ["\27OB"] = "down",
  ["\27OC"] = "right", ["\27OD"] = "left", ["\27[5~"] = "page up", ["\27[6~"] = "page down", ["\27[H"] = "home",
  ["\27[F"] = "end", ["\27[1~"] = "home", ["\27[4~"] = "end", ["\27[Z"] = "back tab", ["\r"] = "enter",
  ["\n"] = "enter",
  ["\t"] = "tab", [" "] = "space", ["\127"] = "backspace", ["\b"] = "backspace", ["\3"] = "ctrl-c", ["\12"] = "ctrl-l",
}

--- The keys in what was typed; an unknown sequence of the terminal is nothing.
---@param bytes string
---@return string[] names, or the character itself
function keys.of(bytes)
  local list, at = {}, 1
  while at <= #bytes do
    local sequence = bytes:match("^\27[%[O][%d;<?]*[%a~]", at)
    local char = sequence or bytes:match("^" .. utf8.charpattern, at) or bytes:sub(at, at)
    if char == "\27" then list[#list + 1] = "escape"
    elseif NAMED[char] then list[#list + 1] = NAMED[char]
    elseif not sequence and char:find "^[^%c]" then list[#list + 1] = char end
    at = at + #char
  end
  return list
end

return keys
