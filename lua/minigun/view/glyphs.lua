--- The characters that pictures are made of: for terminals that show UTF-8, and for those that do not.
local glyphs = {}

-- Lines by the sides that they lead to: 1 up, 2 right, 4 down, 8 left. In each set the second list is thick.
local function lines(thin, thick)
  local sets = {}
  for i, text in ipairs { thin, thick } do
    local set = {}
    for char in text:gmatch(utf8.charpattern) do set[#set + 1] = char end
    sets[i] = set
  end
  return sets
end

glyphs.unicode = {
  frame = { "─", "│", "┌", "┐", "└", "┘" },
  lines = lines("╵╶└╷│┌├╴┘─┴┐┤┬┼", "╹╺┗╻┃┏┣╸┛━┻┓┫┳╋"), arrow = "▼", again = "↺",
  nest = { "┄", "┆", "╭", "╮", "╰", "╯" },
  dashed = { [5] = "┆", [10] = "┄" }, bar = "█", empty = "░", more = "↓", cut = "…",
  icons = { producer = "▶", processor = "◆", map = "◆", flat_map = "◆", filter = "◆", consumer = "◀", each = "◀",
    accumulator = "⊞", batch = "⊞", stage = "↻", reduce = "Σ", router = "◇", fork = "⑂", other = "●" },
  states = { working = "⚡", waiting = "⏸", blocked = "⏳", bottleneck = "⚠", failed = "✖", done = "✓" },
}

glyphs.ascii = {
  frame = { "-", "|", "+", "+", "+", "+" },
  lines = lines("||+||++---+++++", "##+##++===+++++"), arrow = "v", again = "r",
  nest = { ".", ":", ".", ".", ".", "." },
  dashed = { [5] = ":", [10] = "." }, bar = "#", empty = ".", more = "v", cut = "~",
  icons = { producer = ">", processor = "*", map = "*", flat_map = "*", filter = "*", consumer = "<", each = "<",
    accumulator = "#", batch = "#", stage = "@", reduce = "%", router = "?", fork = "Y", other = "o" },
  states = { working = "*", waiting = "-", blocked = "w", bottleneck = "!", failed = "x", done = "=" },
}

--- Those that a terminal can show, by the environment.
---@param get fun(name: string): string? as os.getenv
---@return table glyphs
function glyphs.of(get)
  for _, name in ipairs { "LC_ALL", "LC_CTYPE", "LANG" } do
    local value = get(name) or ""
    if value ~= "" then return value:upper():find "UTF%-?8" and glyphs.unicode or glyphs.ascii end
  end
  return glyphs.ascii
end

return glyphs
