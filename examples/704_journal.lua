-- Resume from a journal: the program is killed in the middle, with kill -9, and its next run goes on where it was.
--
-- The journal is a file that says which of the producer's items are finished, with all that came of them. What an item
-- has brought about just before the program died may not be in it yet: such an item is done once more. All others are
-- done once.
--
-- Expected output:
--   the first run was killed by signal 9
--   ~ it has sent invoices, up to number %d+
--   the second run is done: it has skipped what was finished
--   sent: invoices 1 to 100, none is missing
--   the third run finds nothing to do

local minigun = require "minigun"

-- Sends the invoices 1 to 100; each that is sent is a line of a file.
local function send_invoices(journal, sent, may_die)
  local p = minigun.pipeline "invoices"
  p:producer("numbers", minigun.range(1, 100)) -- the same in each run: the journal knows items by their place in it
  p:consumer("send", { processes = 2 }, function(number)
    local file <close> = io.open(sent, "a")
    file:write(number, "\n")
    file:close()
    minigun.sleep(0.002)
    if may_die and number == 60 then os.execute("kill -9 " .. may_die) end
  end)
  return p:run { journal = journal }
end

local journal, sent = os.tmpname(), os.tmpname()

-- The first run is that of a process of its own, so that one process is left to tell of it.
local first = minigun.pipeline "first run"
first:producer { "go" }
first:consumer({ process_per_batch = 1 }, function(_, _, ctx) send_invoices(journal, sent, ctx.pid) end)
local died = first:run { failures = "collect" }
print(("the first run was killed by signal %d"):format(died.failures[1].signal))

local function numbers()
  local seen, last = {}, 0
  for line in minigun.lines(sent) do seen[tonumber(line)], last = true, math.max(last, tonumber(line)) end
  return seen, last
end
print(("it has sent invoices, up to number %d"):format(select(2, numbers())))

local result = send_invoices(journal, sent)
print(("the second run is done: it has skipped %s"):format(result.resumed > 0 and "what was finished" or "nothing"))
local seen, last = numbers()
print(("sent: invoices 1 to %d, %s is missing"):format(last, #seen == last and "none" or "something"))

result = send_invoices(journal, sent)
print(("the third run finds %s to do"):format(result.resumed == 100 and "nothing" or "something"))

os.remove(journal)
os.remove(sent)
