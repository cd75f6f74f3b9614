--- The mutations of one line: each changes one operator, constant, condition, call or argument.
--
--   relation     < <=, > >=, == ~=            condition    if c -> if not c (also while, elseif)
--   arithmetic   + -, * //, & |, << >>        call         a call that is a statement is left out
--   logic        and or                       return       an early return, a break is left out
--   negation     not x -> x                   argument     two neighbouring arguments change places
--   constant     true false                   number       one more, or one less
--
-- Arguments of functions for which their order says nothing (math.max) stay where they are.

local M = {}

local RELATIONS = { ["<"] = "<=", ["<="] = "<", [">"] = ">=", [">="] = ">" }
local ARITHMETIC = { ["+"] = "-", ["-"] = "+", ["*"] = "//", ["/"] = "*", ["//"] = "*", ["%"] = "+", ["&"] = "|",
  ["|"] = "&", ["<<"] = ">>", [">>"] = "<<" }
local WORDS = { ["and"] = "or", ["or"] = "and", ["true"] = "false", ["false"] = "true" }
local KINDS = { ["and"] = "logic", ["or"] = "logic", ["true"] = "constant", ["false"] = "constant" }

local function spliced(line, first, last, new) return line:sub(1, first - 1) .. new .. line:sub(last + 1) end

-- The bracket that closes the one at i, or nil where it is on a later line.
local function closing(mask, i)
  local depth = 0
  for at = i, #mask do
    local c = mask:sub(at, at)
    if c:find("[%(%[{]") then
      depth = depth + 1
    elseif c:find("[%)%]}]") then
      depth = depth - 1
      if depth == 0 then return at end
    end
  end
  return nil
end

local finders = {}

function finders.relations(line, mask, add, c)
  for first, symbol, last in mask:gmatch("()([<>=~!]+)()") do
    local typed = symbol:find("^[<>]$") and not mask:sub(first - 1, last):find("^ [<>] $")
    if symbol == "==" then
      add("relation", spliced(line, first, last - 1, c and "!=" or "~="))
    elseif symbol == "~=" or symbol == "!=" then
      add("relation", spliced(line, first, last - 1, "=="))
    elseif RELATIONS[symbol] and not typed and mask:sub(first - 1, first - 1) ~= "-" then
      add("relation", spliced(line, first, last - 1, RELATIONS[symbol]))
    end
  end
end

function finders.arithmetic(line, mask, add, c)
  for first, symbol, last in mask:gmatch("%f[%S]()([%+%-%*/%%&|<>]+)()%f[%s]") do
    local other = ARITHMETIC[symbol]
    local left = mask:sub(1, first - 1):find("[%w_%)%]\1]%s+$")
    if other and left and last <= #mask then
      add("arithmetic", spliced(line, first, last - 1, c and other == "//" and "/" or other))
    end
  end
end

-- Words of Lua.
function finders.words(line, mask, add, c)
  for first, word, last in mask:gmatch("%f[%w_]()(%l+)()%f[^%w_]") do
    if WORDS[word] and not (c and KINDS[word] == "logic") then
      add(KINDS[word], spliced(line, first, last - 1, WORDS[word]))
    elseif word == "not" and not c and mask:sub(last, last) == " " then
      add("negation", spliced(line, first, last, ""))
    end
  end
end

-- Operators that C alone has.
function finders.of_c(line, mask, add, c)
  if not c then return end
  local swapped = { { "&&", "||", "logic" }, { "||", "&&", "logic" }, { "++", "--", "arithmetic" },
    { "--", "++", "arithmetic" }, { " += ", " -= ", "arithmetic" }, { " -= ", " += ", "arithmetic" },
    { " |= ", " &= ", "arithmetic" } }
  for _, pair in ipairs(swapped) do
    local at = 1
    while true do
      local first, last = mask:find(pair[1], at, true)
      if not first then break end
      add(pair[3], spliced(line, first, last, pair[2]))
      at = last + 1
    end
  end
  for first in mask:gmatch("()![%w_%(]") do add("negation", spliced(line, first, first, "")) end
end

function finders.numbers(line, mask, add)
  for first, digits, last in mask:gmatch("%f[%w_%.]()(%d+)()%f[^%d]") do
    local suffix = mask:match("^[uUlL]*", last)
    if not mask:find("^[%w_%.]", last + #suffix) then
      local value = math.tointeger(tonumber(digits))
      if value then
        add("number", spliced(line, first, last - 1, tostring(value + 1)))
        if value > 0 then add("number", spliced(line, first, last - 1, tostring(value - 1))) end
      end
    end
  end
end

local NO_CALLS = { ["if"] = true, ["while"] = true, ["for"] = true, ["switch"] = true, ["return"] = true,
  ["sizeof"] = true, ["function"] = true }

function finders.calls(_, mask, add, c)
  local indent, body = mask:match("^(%s*)(.-)%s*$")
  if c then
    body = body:match("^(.*);$")
    if not body then return end
  end
  local name, bracket = body:match("^([%w_%.:%->]+)()%(")
  if name and not NO_CALLS[name] and closing(body, bracket) == #body then
    add("call", indent .. (c and ";" or ""))
  end
end

function finders.conditions(line, mask, add, c)
  if c then
    for _, word in ipairs { "if", "while" } do
      local first, bracket = mask:match("%f[%w_]()" .. word .. " ()%(")
      local last = first and closing(mask, bracket)
      if last then
        add("condition", line:sub(1, bracket) .. "!(" .. line:sub(bracket + 1, last - 1) .. ")" .. line:sub(last))
      end
    end
    return
  end
  for _, word in ipairs { "if", "elseif", "while" } do
    local first, last = mask:match("^%s*" .. word .. " ().-() then%f[%W]")
    if not first then first, last = mask:match("^%s*" .. word .. " ().-() do%f[%W]") end
    if first then
      add("condition", spliced(line, first, last - 1, "not (" .. line:sub(first, last - 1) .. ")"))
    end
  end
end

function finders.returns(_, mask, add, c)
  local indent, body = mask:match("^(%s*)(.-)%s*$")
  local found
  if c then
    found = body:find("^if %(.*%) return%f[%W].*;$") or body == "break;" or body == "continue;" or body == "return;"
  else
    found = body:find("^if .* then return%f[%W].* end$") or body:find("^if .* then return end$")
      or ({ ["break"] = true, ["return"] = true, ["return nil"] = true, ["return false"] = true })[body]
  end
  if found then add("return", indent .. (c and ";" or "")) end
end

-- The places of the arguments between two brackets: { first, last } each.
local function arguments(mask, open, close)
  local list, from, depth = {}, open + 1, 0
  for at = open + 1, close - 1 do
    local c = mask:sub(at, at)
    if c:find("[%(%[{]") then
      depth = depth + 1
    elseif c:find("[%)%]}]") then
      depth = depth - 1
    elseif c == "," and depth == 0 then
      list[#list + 1] = { from, at - 1 }
      from = at + 1
    end
  end
  list[#list + 1] = { from, close - 1 }
  return list
end

local SYMMETRIC = { max = true, min = true, rawequal = true }

function finders.arguments(line, mask, add)
  for open in mask:gmatch("[%w_%]%)]()%(") do
    local close = closing(mask, open)
    local defined = mask:sub(1, open - 1):find("function%s*[%w_%.:]*$")
    local symmetric = SYMMETRIC[mask:sub(1, open - 1):match "%a+$"]
    if close and not defined and not symmetric and not mask:sub(open, close):find("%f[%w]function%f[%W]") then
      local list = arguments(mask, open, close)
      for k = 1, #list - 1 do
        local left, right = list[k], list[k + 1]
        local a = line:sub(left[1], left[2]):match("^%s*(.-)%s*$")
        local b = line:sub(right[1], right[2]):match("^%s*(.-)%s*$")
        if a ~= b and a ~= "..." and b ~= "..." then
          local lead = line:sub(left[1], left[2]):match("^%s*")
          add("argument", line:sub(1, left[1] - 1) .. lead .. b .. ", " .. a .. line:sub(right[2] + 1))
        end
      end
    end
  end
end

local ORDER = { "relations", "arithmetic", "words", "of_c", "numbers", "calls", "conditions", "returns", "arguments" }

--- All mutations of a line.
-- @param line string
-- @param mask string: the same line, blanked (see mask.lua)
-- @param language string, "lua" or "c"
-- @return array of { kind =, text = }, always in the same order
function M.mutations(line, mask, language)
  local list = {}
  local function add(kind, text)
    text = text:gsub("%s+$", "")
    if text ~= line and #text <= 120 then list[#list + 1] = { kind = kind, text = text } end
  end
  for _, name in ipairs(ORDER) do finders[name](line, mask, add, language == "c") end
  return list
end

return M
