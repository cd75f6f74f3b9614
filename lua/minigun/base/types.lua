--- The types of options. Each is a value or a constructor of one: see schema.lua.
local schema = require "minigun.base.schema"

local is_callable <const> = schema.is_callable

local types = {}

--- Schemas by name, which language/schemas.lua fills in.
types.schemas = {}
--- The metatable of spools, which store/spool.lua fills in.
types.Spool = nil
--- The metatable of services, which service/server.lua fills in.
types.Service = nil
--- Most workers that one context may have.
types.MAX_WORKERS = 1024
--- Most threads that one worker may have, of all stages that run in it.
types.MAX_THREADS = 2048
--- Most workers of a run: the slots of its pool (MG_MAX_SLOTS in src/core/mg.h).
types.MAX_PROCESSES = 4096
--- Most stages of a run: one chain has room for 21,838 (src/lua/lua_chain.c); a word with a stage's number has a flag
--- and two reserved values beside 32,765 numbers (protocol.lua).
types.MAX_STAGES = 20000

--- A whole number in a range; a float with an integer value counts.
---@param min integer? nil: any
---@param max integer?
---@return table type
function types.integer(min, max)
  return { lua = "integer",
    text = max and ("an integer from %d to %d"):format(min, max) or min and ("an integer of at least %d"):format(min)
      or "an integer",
    check = function(value)
      local number = type(value) == "number" and math.tointeger(value)
      if not number or min and number < min or max and number > max then return false end
      return true, number
    end,
  }
end

--- A finite number of seconds.
---@param zero boolean whether 0 is allowed
---@return table type
function types.seconds(zero)
  return { lua = "number",
    text = zero and "a number of seconds, 0 or more" or "a number of seconds above 0",
    check = function(value)
      local good = type(value) == "number" and value < math.huge and (value > 0 or (zero and value == 0))
      return good, value
    end,
  }
end

types.callable = {
  text = "a function", lua = "fun(item: any): any",
  check = function(value) return is_callable(value), value end,
}

--- One function or an array of them; normalised to an array.
types.callables = {
  text = "a function or an array of functions", lua = "fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[]",
  check = function(value)
    if is_callable(value) then return true, { value } end
    if type(value) ~= "table" or (rawlen(value) == 0 and next(value) ~= nil) then return false end
    local list = {}
    for i = 1, rawlen(value) do
      list[i] = rawget(value, i)
      if not is_callable(list[i]) then return false end
    end
    return true, list
  end,
}

--- One stage's name or an array of them; normalised to an array without duplicates.
---@param empty boolean whether the array may be empty
---@return table type
function types.names(empty)
  return { lua = "string|string[]",
    text = "a stage's name or " .. (empty and "an array of names" or "an array of one name or more"),
    check = function(value)
      if type(value) == "string" then return true, { value } end
      if type(value) ~= "table" or (rawlen(value) == 0 and (not empty or next(value) ~= nil)) then return false end
      local names, seen = {}, {}
      for i = 1, rawlen(value) do
        local name = rawget(value, i)
        if type(name) ~= "string" then return false end
        if not seen[name] then names[#names + 1] = name end
        seen[name] = true
      end
      return true, names
    end,
  }
end

--- One of a few strings.
---@param choices table array of strings
---@return table type
function types.choice(choices)
  return {
    text = ('"' .. table.concat(choices, '", "') .. '"'):gsub(', ("[^"]*")$', " or %1"),
    lua = '"' .. table.concat(choices, '"|"') .. '"',
    check = function(value)
      for _, choice in ipairs(choices) do
        if value == choice then return true, value end
      end
      return false
    end,
  }
end

types.name = {
  text = "a name (a string that is not empty)", lua = "string",
  check = function(value) return type(value) == "string" and value ~= "", value end,
}

local units = { [""] = 1, K = 2 ^ 10, M = 2 ^ 20, G = 2 ^ 30, T = 2 ^ 40 }

--- An amount of memory: bytes, or a string with a unit of 1024; normalised to bytes.
---@param min integer bytes
---@return table type
function types.bytes(min)
  return { lua = "integer|string",
    text = ('bytes, or a string such as "64M" (units K, M, G, T of 1024), at least %d'):format(min),
    check = function(value)
      local amount = value
      if type(value) == "string" then
        local digits, unit = value:match("^%s*(%d+%.?%d*)%s*([KMGTkmgt]?)[iI]?[bB]?%s*$")
        amount = digits and math.floor(tonumber(digits) * units[unit:upper()])
      end
      local bytes = type(amount) == "number" and math.tointeger(amount)
      return bytes and bytes >= min or false, bytes
    end,
  }
end

--- How many workers or threads a context has.
types.worker_count = types.integer(1, types.MAX_WORKERS)

--- Seconds that an item may take; false: no limit, whatever the defaults say.
types.timeout = {
  text = "a number of seconds above 0, or false", lua = "number|false",
  check = function(value)
    if value == false then return true, false end
    return types.seconds(false).check(value)
  end,
}

--- Items that may wait; 0 and math.huge are no limit, normalised to false.
types.queue = {
  text = "an integer of at least 1; or 0 or math.huge: no limit of its own", lua = "integer",
  check = function(value)
    if value == 0 or value == math.huge then return true, false end
    return types.integer(1).check(value)
  end,
}

types.route = {
  text = '"broadcast", "round_robin" or a function',
  lua = '"broadcast"|"round_robin"|fun(item: any): string|string[]',
  check = function(value)
    return value == "broadcast" or value == "round_robin" or is_callable(value), value
  end,
}

types.await = {
  text = "true, false or a number of seconds above 0", lua = "boolean|number",
  check = function(value)
    return type(value) == "boolean" or (type(value) == "number" and value > 0 and value < math.huge), value
  end,
}

--- A number in a range.
---@param min number
---@param max number?
---@return table type
function types.number(min, max)
  return { lua = "number",
    text = max and ("a number from %g to %g"):format(min, max) or ("a number of at least %g"):format(min),
    check = function(value)
      return type(value) == "number" and value >= min and value <= (max or math.huge) and value < math.huge, value
    end,
  }
end

--- Seconds to wait for a further attempt: a larger number is milliseconds, or a mistake.
types.wait = types.number(0, 7 * 86400)
types.wait.text = "a number of seconds from 0 to 604800 (a week)"

-- A number of seconds stays one; a table is filled in.
types.backoff = {
  text = types.wait.text .. ", or { first =, factor =, max =, jitter = }",
  lua = "number|minigun.BackoffOptions",
  check = function(value, subject, name)
    if type(value) ~= "table" then return types.wait.check(value) end
    local own = types.schemas.backoff
    return true, schema.fill(own, schema.check(own, value, ("%s: %s"):format(subject, name)))
  end,
}

-- Normalised to { n =, per = }.
types.rate = {
  text = "a number of items a second above 0, or { n, per = seconds }", lua = "number|{ [1]: integer, per: number? }",
  check = function(value)
    local n, per = value, 1
    if type(value) == "table" then
      n, per = value[1], value.per == nil and 1 or value.per
      for key in next, value do
        if key ~= 1 and key ~= "per" then return false end
      end
      if not math.tointeger(n) then return false end
    end
    if type(n) ~= "number" or not (n > 0 and n <= 1e9) or type(per) ~= "number" or not (per > 0 and per <= 1e9) then
      return false
    end
    local whole = math.tointeger(n)
    return true, whole and { n = whole, per = per } or { n = 1, per = per / n }
  end,
}

--- How many failures, or which share; normalised to a number, or to { share = }.
types.failures = {
  text = 'an integer of at least 0, or a share such as "5%"', lua = "integer|string",
  check = function(value)
    if type(value) == "string" then
      local percent = tonumber(value:match "^%s*(%d+%.?%d*)%s*%%%s*$")
      return percent ~= nil and percent <= 100, percent and { share = percent / 100 }
    end
    if type(value) == "table" then return type(value.share) == "number", value end -- checked before
    return types.integer(0).check(value)
  end,
}

-- Normalised to a filled table.
types.halt = {
  text = '{ failures = 10 or "5%", when = "soon" or "now" }', lua = "minigun.HaltOptions",
  check = function(value, subject, name)
    if type(value) ~= "table" or value.failures == nil then return false end
    local own = types.schemas.halt
    return true, schema.fill(own, schema.check(own, value, ("%s: %s"):format(subject, name)))
  end,
}

types.dead_letter = {
  text = "a stage's name, a spool that is open for writing, or false", lua = "string|minigun.Spool|false",
  check = function(value)
    if value == false or (type(value) == "string" and value ~= "") then return true, value end
    local is_spool = type(value) == "table" and rawequal(debug.getmetatable(value), types.Spool)
    return is_spool and not value.options.read_only and not value.file:closed(), value
  end,
}

-- Normalised to a filled table.
types.journal = {
  text = "a path, or { path =, sync = }", lua = "string|minigun.JournalOptions",
  check = function(value, subject, name)
    local own = types.schemas.journal
    local given = type(value) == "string" and { path = value } or value
    if type(given) ~= "table" or type(given.path) ~= "string" then return false end
    return true, schema.fill(own, schema.check(own, given, ("%s: %s"):format(subject, name)))
  end,
}

types.path = {
  text = "a path (a string that is not empty, without zero bytes)", lua = "string",
  check = function(value) return type(value) == "string" and value ~= "" and not value:find "\0", value end,
}

types.job = {
  text = "a name of letters, digits, '-', '_' and '.' (not at its beginning)", lua = "string",
  check = function(value) return type(value) == "string" and value:find "^[%w_-][%w_.-]*$" ~= nil, value end,
}

types.text = { text = "a string", lua = "string",
  check = function(value) return type(value) == "string", value end }

--- A text of so many bytes, at most, and not of none.
---@param most integer
---@return table type
function types.bytes_text(most)
  return { text = most == 1 and "a text of one byte" or ("a text of 1 to %d bytes"):format(most), lua = "string",
    check = function(value) return type(value) == "string" and #value >= 1 and #value <= most, value end }
end

types.length = { text = "a format of string.pack for one unsigned integer, \">I4\" say", lua = "string",
  check = function(value) return type(value) == "string" and value:find "^[<>=]?I[1-8]$" ~= nil, value end }

--- Names of columns.
types.header = { text = "a boolean or an array of texts", lua = "boolean|string[]",
  check = function(value)
    if type(value) == "boolean" then return true, value end
    if type(value) ~= "table" or value[1] == nil then return false end
    for _, name in ipairs(value) do
      if type(name) ~= "string" then return false end
    end
    return true, table.move(value, 1, #value, 1, {})
  end,
}

types.output = {
  text = "a file's path, or true", lua = "string|true",
  check = function(value) return value == true or types.path.check(value), value end,
}

types.hud = {
  text = 'true, "leave" or false', lua = 'boolean|"leave"',
  check = function(value) return type(value) == "boolean" or value == "leave", value end,
}

types.progress = {
  text = 'true, "plain" or false', lua = 'boolean|"plain"',
  check = function(value) return type(value) == "boolean" or value == "plain", value end,
}

types.log_target = {
  text = '"stderr", a file\'s path, or a function', lua = 'string|fun(record: table)',
  check = function(value) return types.callable.check(value) or types.path.check(value), value end,
}

-- Normalised to a table of strings and false.
types.environment = {
  text = "a table from names to texts, numbers or false", lua = "table<string, string|number|false>",
  check = function(value)
    local env = {}
    if type(value) ~= "table" then return false end
    for name, text in next, value do
      if type(name) ~= "string" or name == "" or name:find "[=%z]" then return false end
      if type(text) == "number" then text = tostring(text) end
      if text ~= false and (type(text) ~= "string" or text:find "%z") then return false end
      env[name] = text
    end
    return true, env
  end,
}

types.sync = {
  text = '"none", "end", "always" or a number of seconds above 0', lua = '"none"|"end"|"always"|number',
  check = function(value)
    return value == "none" or value == "end" or value == "always" or types.seconds(false).check(value), value
  end,
}

types.boolean = { text = "true or false", lua = "boolean",
  check = function(value) return type(value) == "boolean", value end }

return types
