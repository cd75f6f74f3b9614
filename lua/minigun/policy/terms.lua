--- Terms: the numbers by which the ledger decides how much work a worker is given, when it is taken back, and what is
-- full (src/core/ledger_dispatch.c, ledger_limits.c, ledger_blocks.c say how).
return {
  -- Weight of the newest measurement in the running mean of the time per item. Much slower than before counts at once:
  -- slices must not grow too long.
  newest = 0.3,
  -- Seconds of work that one slice should be: long against the cost of handing it over (some us, and where no processor
  -- is free a worker is interrupted for it), short against a run; and what a slice may be where so much waits that no
  -- worker will be without. The long one outlasts the time after which a busy machine lets the coordinator run again;
  -- what a worker has not begun of it can be taken back.
  slice = 0.0005, long_slice = 0.016,
  -- The same where workers fold what they make: a slice is a part there, which is sent, decoded and combined, and whose
  -- tables grow from nothing. When a worker dies its slice is run again.
  fold = 0.008, long_fold = 0.064,
  -- A slice takes this share of what waits for each worker, where that is more.
  share = 4,
  most_items = 1 << 20,
  -- Seconds of an item up to which a worker has a second slice in store: that hides the hand-over, but after a slow
  -- item it would wait.
  stored = 0.002,
  -- Seconds that a worker may be at a slice before it is overdue: twice as long as a slice should take; at most so many
  -- between two tries.
  overdue = 0.001, overdue_most = 0.064,
  -- Items that may wait for a place before a limited stage, where it has no limit of its own: these, and so many for
  -- each worker.
  some = 16, each = 4,
  -- Items that may wait for n workers or threads each of which takes one at a time.
  most_of = function(n) return 64 + 4 * n end,
  -- Pieces of work that may wait for the coordinator's own stages before what sends to them waits too.
  own_most = 1024,
  -- Empty blocks that a worker has in store; ranges in a row that would have fitted a quarter of a block, before blocks
  -- become smaller.
  blocks = 2, small = 64,
}
