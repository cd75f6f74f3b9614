-- A batch that does not fill up is passed on when `max_wait` seconds have gone by since its first item: what comes now
-- and then need not wait for a hundred others.
--
-- Expected output:
--   the first message is out while the source goes on
--   3 messages, where 100 would have made a full batch

local minigun = require "minigun"

local p = minigun.pipeline "batch_by_time"
p:producer("messages", { processes = 1 }, function(emit)
  for n = 1, 3 do
    emit(n)
    os.execute "sleep 0.1"
  end
end)
p:batch { max_size = 100, max_wait = 0.02 }

local ended, count = false, 0
p:after_producer(function() ended = true end)
p:each("show", function(batch)
  if batch[1] == 1 and not ended then print "the first message is out while the source goes on" end
  count = count + #batch
end)
p:run()
print(count .. " messages, where 100 would have made a full batch")
