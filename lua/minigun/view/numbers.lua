--- Numbers as people read them: rates, times, sizes, shares, each in few columns.
local numbers = {}

--- With K, M, G from a thousand on: "7", "950", "1.2K", "34K", "3.4M".
---@param n number
---@return string
function numbers.count(n)
  if n >= 1000 then
    local size, unit = 1e3, "K"
    if n >= 1e9 then size, unit = 1e9, "G" elseif n >= 1e6 then size, unit = 1e6, "M" end
    return ((n < 10 * size and "%.1f" or "%.0f"):format(n / size)) .. unit
  end
  return math.type(n) == "integer" and ("%d"):format(n) or n < 10 and n > 0 and ("%.1f"):format(n) or ("%.0f"):format(n)
end

--- Items in a second: "10.5/s", "1.2K/s".
---@param n number
---@return string
function numbers.rate(n)
  if n > 0 and n < 100 then return ("%.1f/s"):format(n) end
  return numbers.count(n) .. "/s"
end

--- Seconds, in the unit that fits: "850us", "12ms", "1.5s".
---@param seconds number? nil: "-"
---@return string
function numbers.time(seconds)
  if not seconds then return "-" end
  local value, unit = seconds * 1e6, "us"
  if seconds >= 1 then value, unit = seconds, "s" elseif seconds >= 1e-3 then value, unit = seconds * 1e3, "ms" end
  return ((value < 10 and "%.1f" or "%.0f"):format(value)) .. unit
end

--- A stretch of time: "7.25 s", "3:07 min", "2:05 h".
---@param seconds number
---@return string
function numbers.duration(seconds)
  if seconds < 60 then return ("%.2f s"):format(seconds) end
  if seconds < 3600 then return ("%d:%02d min"):format(seconds // 60, seconds % 60 // 1) end
  return ("%d:%02d h"):format(seconds // 3600, seconds % 3600 // 60)
end

--- Bytes: "64 KiB", "1.5 GiB".
---@param bytes number? nil: "-"
---@return string
function numbers.bytes(bytes)
  if not bytes then return "-" end
  if bytes < 1024 then return ("%d B"):format(bytes) end
  local n, unit = bytes / 1024, "KiB"
  if n >= 1 << 20 then n, unit = n / (1 << 20), "GiB" elseif n >= 1024 then n, unit = n / 1024, "MiB" end
  return ((n < 10 and "%.1f %s" or "%.0f %s"):format(n, unit))
end

--- A share from 0 to 1: "45%".
---@param share number? nil: "-"
---@return string
function numbers.percent(share) return share and ("%.0f%%"):format(100 * share) or "-" end

--- A bar of so many columns.
---@param share number from 0 to 1
---@param width integer
---@param glyphs table
---@return string
function numbers.bar(share, width, glyphs)
  local full = math.min(width, math.max(0, math.floor(share * width + 0.5)))
  return glyphs.bar:rep(full) .. glyphs.empty:rep(width - full)
end

return numbers
