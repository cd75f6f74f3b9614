-- A batch that does not fill up is passed on when `max_wait` seconds have gone by since its first item: what comes now
-- and then need not wait for a hundred others.
--
-- Expected output:
--   one message, while the source goes on
--   another message

local minigun = require "minigun"

local p = minigun.pipeline "batch_by_time"
p:producer("messages", { processes = 1 }, function(emit)
  emit "one message"
  os.execute "sleep 0.3"
  emit "another message"
end)
p:batch { max_size = 100, max_wait = 0.02 }

local ended, batches = false, 0
p:after_producer(function() ended = true end)
p:each("show", function(batch)
  batches = batches + 1
  print(batch[1] .. (batches == 1 and not ended and ", while the source goes on" or ""))
end)
p:run()
