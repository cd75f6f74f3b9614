--- Styles: what a cell of the screen may look like, for terminals of many colours, of eight, and of none.
local style = {}

-- By name: the codes for 256 colours and for eight ("select graphic rendition").
local LOOKS <const> = {
  { "plain", "", "" }, { "green", "38;5;77", "32" }, { "yellow", "38;5;220", "33" }, { "orange", "38;5;208", "33" },
  { "red", "38;5;203", "31" }, { "gray", "38;5;245", "90" }, { "cyan", "38;5;44", "36" }, { "blue", "38;5;75", "34" },
  { "bold", "1", "1" }, { "title", "1;38;5;44", "1;36" }, { "bar", "7", "7" }, { "selected", "1;7", "1;7" },
  { "moving", "1;38;5;82", "1;32" }, { "bar_green", "7;38;5;77", "7;32" }, { "bar_yellow", "7;38;5;220", "7;33" },
  { "bar_red", "7;38;5;203", "7;31" }, { "bar_blue", "7;38;5;75", "7;34" },
}

for i, look in ipairs(LOOKS) do style[look[1]] = i end

--- How many colours a terminal has, by the environment.
---@param get fun(name: string): string? as os.getenv
---@return 256|8|0 colours 0: none is wanted
function style.colours(get)
  local term = get "TERM" or ""
  if (get "NO_COLOR" or "") ~= "" then return 0 end
  return (term:find "256" or (get "COLORTERM" or "") ~= "" or term:find "^xterm") and 256 or 8
end

--- What is written to get a style.
---@param colours integer
---@return string[] by number of the style
function style.codes(colours)
  local codes = {}
  for i, look in ipairs(LOOKS) do
    local code = colours == 256 and look[2] or colours == 8 and look[3] or (look[1]:find "bar" and "7") or ""
    codes[i] = "\27[0" .. (code ~= "" and ";" .. code or "") .. "m"
  end
  return codes
end

return style
