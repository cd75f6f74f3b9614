--- The kinds of contexts: where stages can run. Options, their types and schemas, messages, and the places of a run are
-- made from this list. A further kind needs a line here, and the file of its place (contexts/contract.lua):
--     name      of the option that chooses it: `processes = 4`
--     module    of its place; none: the coordinator itself
--     size      the name of the size in the table form, `{ n = 4 }`; `n`: the size where none is given, by default one
--               for each CPU; `of`: what it counts
--     class     its options' type for editors: minigun.<class>Options, and minigun.<class>GroupOptions of its group
--     group     the schema of its group, `p:processes({ n = 4 }, f)`, where it has one
--     options   the name of the schema of its table form, where that is not made from the size
--     also      the name of the kind that it is another name of
--     doc       what it does, for the reference
return {
  { name = "inline", doc = "run in the coordinator itself" },
  { name = "threads", module = "minigun.contexts.threads", size = "n", n = 16, of = "most items in work at once",
    class = "Thread", group = "thread_group",
    doc = "run in that many coroutines over an event loop, for handlers that wait; also together with `processes`, " ..
      "then in each worker" },
  { name = "processes", module = "minigun.contexts.workers", size = "n", of = "workers", class = "Pool",
    group = "process_group",
    doc = "run in that many workers, forked once per run (a producer: in one child of its own)" },
  { name = "process_per_batch", module = "minigun.contexts.workers", size = "max", of = "most children alive at once",
    class = "Fork", group = "fork_group", doc = "run each item in a fresh child, at most `max` at once" },
  { name = "cluster", module = "minigun.cluster.place", class = "Cluster", options = "cluster",
    doc = "run on other hosts, over a Redis server: its URL, see docs/cluster.md" },
  { name = "fork", also = "process_per_batch", doc = "the same as `process_per_batch`" },
}
