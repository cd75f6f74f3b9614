-- One call over all cores: minigun.map gives the results in the order of the list, minigun.each only does something.
--
-- Expected output:
--   9 1 4
--   primes below 30: 2 3 5 7 11 13 17 19 23 29
--   every child has written its line

local minigun = require "minigun"

print(table.concat(minigun.map({ 3, 1, 2 }, function(n) return n * n end), " "))

local is_prime = minigun.map(minigun.range(2, 29), function(n)
  for d = 2, n // 2 do
    if n % d == 0 then
      return false
    end
  end
  return true
end, { processes = 2 })

local primes = {}
for i, prime in ipairs(is_prime) do
  if prime then
    primes[#primes + 1] = i + 1                 -- the first element of the list was 2
  end
end
print("primes below 30: " .. table.concat(primes, " "))

local path = os.tmpname()
minigun.each({ "a", "b", "c" }, function(name)
  local file <close> = assert(io.open(path, "a"))
  file:write(name, "\n")
end, { fork = 2 })
local count = 0
for _ in minigun.lines(path) do
  count = count + 1
end
os.remove(path)
print(count == 3 and "every child has written its line" or "lines are missing")
