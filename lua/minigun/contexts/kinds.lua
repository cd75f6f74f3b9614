--- The kinds of places, by the name that a segment of the plan says. A further kind needs a file of its own, and a line
-- here.
-- `new(port, segment, first)` makes a place. With `slots` it has as many slots of the pool as the segment has workers,
-- from the first-th on.
return {
  processes = require "minigun.contexts.workers",
  process_per_batch = require "minigun.contexts.workers",
  threads = require "minigun.contexts.threads",
}
