---@meta minigun
-- Types for editors, made by `make docs`, never loaded. Name this file's directory in the setting
-- workspace.library of the Lua language server.

--- Options of `minigun.pipeline(name, options)`: of its runs, and defaults for its stages.
---@class minigun.PipelineOptions
---@field memory? integer|string limit of shared memory
---@field failures? "raise"|"collect"|"stop" raise an error that names them at the end, only collect them in the result, or stop at the first
---@field keep_failures? integer how many failures the result keeps, the first ones; all are counted, and `on_failure` and dead letters hear of each
---@field max_restarts? integer deaths of workers in `restart_window` that a run bears
---@field restart_window? number seconds over which deaths are counted
---@field progress? boolean|"plain" false: no progress line; "plain": a line every five seconds, for logs. A run of more than half a second has one where standard error is a terminal, and erases it at its end; the environment variable MINIGUN_PROGRESS=0 does the same as false
---@field observe? boolean true: the run keeps its figures in a file that `minigun top` reads in another terminal, see docs/observe.md. Runs of `minigun run`, or with MINIGUN_TOP=1 in the environment, do so unless this is false
---@field report? string a file for the report of the run: one HTML page with its flow, charts over time, stages and failures. It needs no network, and is written at the end, whatever ends the run
---@field trace? string a file for a trace of the run in the format of Chrome's tracing, for Perfetto and speedscope
---@field metrics? string a file for the run's figures in the text format of Prometheus, replaced once in a second and at the end
---@field hud? boolean|"leave" true: the live view in place of the progress line, which stays at the end until a key closes it; "leave": it goes with the run; false: none. MINIGUN_HUD=1 or MINIGUN_HUD=leave in the environment is for runs that do not say it, see docs/observe.md
---@field output? "lines"|"tag"|"direct" how what workers print gets to a terminal that has a progress line: through the coordinator, line by line; with the stage and the worker's number before each; or directly, for programs that use the whole screen
---@field deadline? number seconds after which the run is ended, with an error that says so and warnings of what was inside
---@field halt? minigun.HaltOptions ends the run when too many items have failed: `{ failures = 10 }` more than that many, `{ failures = "5%" }` more than that share of the sources' finished items, after the first hundred; `when = "now"`, at once, or "soon", when what is inside is finished
---@field grace? number seconds that workers get for their hooks after the last item, and the run after SIGTERM, before all ends
---@field workers? integer workers of each context of processes, and most children of each `process_per_batch`, whatever they say
---@field seed? integer `math.random` gives the handlers of each item the same numbers in every run, whichever worker takes it; equal items of a stage get equal numbers
---@field journal? string|minigun.JournalOptions a file that tells which of the producers' items are finished: a run of the same pipeline with the same journal goes on where one was killed
---@field job? string the name of the run's jobs in clusters, see docs/cluster.md: a run with the name of one that was killed goes on with what that has left there. Its journal is NAME.journal, unless `journal` says another file
---@field dead_letter? string|minigun.Spool|false for all stages that do not say it themselves, but for the dead letters' own stage and those after it
---@field retries? integer further attempts after an item's first failed one; for the stages inside
---@field backoff? number|minigun.BackoffOptions seconds to wait before an attempt is repeated: always the same, or growing, see below; for the stages inside
---@field timeout? number|false seconds that one item may take; false: no limit; for the stages inside
---@field queue? integer most items that may wait for this stage; items that its workers process do not count. 0 or `math.huge`: only memory limits it; for the stages inside
---@field inline? boolean run in the coordinator itself
---@field threads? minigun.ThreadOptions|integer|boolean run in that many coroutines over an event loop, for handlers that wait; also together with `processes`, then in each worker
---@field processes? minigun.PoolOptions|integer|boolean run in that many workers, forked once per run (a producer: in one child of its own)
---@field process_per_batch? minigun.ForkOptions|integer|boolean run each item in a fresh child, at most `max` at once
---@field cluster? string|minigun.ClusterOptions run on other hosts, over a Redis server: its URL, see docs/cluster.md
---@field fork? minigun.ForkOptions|integer|boolean the same as `process_per_batch`
---@field context? string run in the context of that name, see `pipeline:context`
---@field ordered? boolean what comes out is in the order of what has come in, whichever item is finished first; stands beside the option that says where it runs

--- Options of `p:run(options)`, over those of the pipeline.
---@class minigun.RunOptions
---@field memory? integer|string limit of shared memory
---@field failures? "raise"|"collect"|"stop" raise an error that names them at the end, only collect them in the result, or stop at the first
---@field keep_failures? integer how many failures the result keeps, the first ones; all are counted, and `on_failure` and dead letters hear of each
---@field max_restarts? integer deaths of workers in `restart_window` that a run bears
---@field restart_window? number seconds over which deaths are counted
---@field progress? boolean|"plain" false: no progress line; "plain": a line every five seconds, for logs. A run of more than half a second has one where standard error is a terminal, and erases it at its end; the environment variable MINIGUN_PROGRESS=0 does the same as false
---@field observe? boolean true: the run keeps its figures in a file that `minigun top` reads in another terminal, see docs/observe.md. Runs of `minigun run`, or with MINIGUN_TOP=1 in the environment, do so unless this is false
---@field report? string a file for the report of the run: one HTML page with its flow, charts over time, stages and failures. It needs no network, and is written at the end, whatever ends the run
---@field trace? string a file for a trace of the run in the format of Chrome's tracing, for Perfetto and speedscope
---@field metrics? string a file for the run's figures in the text format of Prometheus, replaced once in a second and at the end
---@field hud? boolean|"leave" true: the live view in place of the progress line, which stays at the end until a key closes it; "leave": it goes with the run; false: none. MINIGUN_HUD=1 or MINIGUN_HUD=leave in the environment is for runs that do not say it, see docs/observe.md
---@field output? "lines"|"tag"|"direct" how what workers print gets to a terminal that has a progress line: through the coordinator, line by line; with the stage and the worker's number before each; or directly, for programs that use the whole screen
---@field deadline? number seconds after which the run is ended, with an error that says so and warnings of what was inside
---@field halt? minigun.HaltOptions ends the run when too many items have failed: `{ failures = 10 }` more than that many, `{ failures = "5%" }` more than that share of the sources' finished items, after the first hundred; `when = "now"`, at once, or "soon", when what is inside is finished
---@field grace? number seconds that workers get for their hooks after the last item, and the run after SIGTERM, before all ends
---@field workers? integer workers of each context of processes, and most children of each `process_per_batch`, whatever they say
---@field seed? integer `math.random` gives the handlers of each item the same numbers in every run, whichever worker takes it; equal items of a stage get equal numbers
---@field journal? string|minigun.JournalOptions a file that tells which of the producers' items are finished: a run of the same pipeline with the same journal goes on where one was killed
---@field job? string the name of the run's jobs in clusters, see docs/cluster.md: a run with the name of one that was killed goes on with what that has left there. Its journal is NAME.journal, unless `journal` says another file
---@field dead_letter? string|minigun.Spool|false for all stages that do not say it themselves, but for the dead letters' own stage and those after it
---@field retries? integer further attempts after an item's first failed one; for the stages inside
---@field backoff? number|minigun.BackoffOptions seconds to wait before an attempt is repeated: always the same, or growing, see below; for the stages inside
---@field timeout? number|false seconds that one item may take; false: no limit; for the stages inside
---@field queue? integer most items that may wait for this stage; items that its workers process do not count. 0 or `math.huge`: only memory limits it; for the stages inside
---@field inline? boolean true: the whole pipeline in the coordinator, whatever the stages say, to debug it

--- Options of a producer.
---@class minigun.ProducerOptions
---@field to? string|string[] stages that receive what this one emits; each receives every item; `{}` makes the stage terminal
---@field route? "broadcast"|"round_robin"|fun(item: any): string|string[] which targets get an item: all targets; one target, each in its turn; or the targets whose names `function(item) -> name or names` returns
---@field dead_letter? string|minigun.Spool|false where an item goes that has failed for good, as `{ item =, failure = }`: to that stage, which says `await = true`, or into that spool; `run` does not raise for it then. false: nowhere
---@field inline? boolean run in the coordinator itself
---@field threads? minigun.ThreadOptions|integer|boolean run in that many coroutines over an event loop, for handlers that wait; also together with `processes`, then in each worker
---@field processes? minigun.PoolOptions|integer|boolean run in that many workers, forked once per run (a producer: in one child of its own)
---@field process_per_batch? minigun.ForkOptions|integer|boolean run each item in a fresh child, at most `max` at once
---@field cluster? string|minigun.ClusterOptions run on other hosts, over a Redis server: its URL, see docs/cluster.md
---@field fork? minigun.ForkOptions|integer|boolean the same as `process_per_batch`
---@field context? string run in the context of that name, see `pipeline:context`
---@field before? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] where the stage runs, once per worker, before its items
---@field after? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] where the stage runs, once per worker, after its items
---@field before_fork? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] in the coordinator, before each fork for this stage
---@field after_fork? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] first thing in each child of this stage, or once
---@field before_exit? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] last thing in each child that ends in good order

--- Options of a processor, consumer, `map`, `flat_map`, `filter`, `each`.
---@class minigun.ProcessorOptions
---@field to? string|string[] stages that receive what this one emits; each receives every item; `{}` makes the stage terminal
---@field from? string|string[] stages whose emissions this one receives
---@field route? "broadcast"|"round_robin"|fun(item: any): string|string[] which targets get an item: all targets; one target, each in its turn; or the targets whose names `function(item) -> name or names` returns
---@field await? boolean|number true: only `emit:to` sends to the stage, and it ends when all other stages have ended; false: no stage sends to it
---@field dead_letter? string|minigun.Spool|false where an item goes that has failed for good, as `{ item =, failure = }`: to that stage, which says `await = true`, or into that spool; `run` does not raise for it then. false: nowhere
---@field inline? boolean run in the coordinator itself
---@field threads? minigun.ThreadOptions|integer|boolean run in that many coroutines over an event loop, for handlers that wait; also together with `processes`, then in each worker
---@field processes? minigun.PoolOptions|integer|boolean run in that many workers, forked once per run (a producer: in one child of its own)
---@field process_per_batch? minigun.ForkOptions|integer|boolean run each item in a fresh child, at most `max` at once
---@field cluster? string|minigun.ClusterOptions run on other hosts, over a Redis server: its URL, see docs/cluster.md
---@field fork? minigun.ForkOptions|integer|boolean the same as `process_per_batch`
---@field context? string run in the context of that name, see `pipeline:context`
---@field ordered? boolean what comes out is in the order of what has come in, whichever item is finished first; stands beside the option that says where it runs
---@field retries? integer further attempts after an item's first failed one
---@field backoff? number|minigun.BackoffOptions seconds to wait before an attempt is repeated: always the same, or growing, see below
---@field timeout? number|false seconds that one item may take; false: no limit
---@field queue? integer most items that may wait for this stage; items that its workers process do not count. 0 or `math.huge`: only memory limits it
---@field partition? fun(item: any): any `function(item) -> key`: in a pool, items with equal keys go to the same worker, in their order
---@field rate? number|{ [1]: integer, per: number? } no more than 100 items begin in any second: `rate = 100`, or `{ 100, per = 1 }`; all its workers together
---@field delay? number seconds that each item waits there before it may begin
---@field before? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] where the stage runs, once per worker, before its items
---@field after? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] where the stage runs, once per worker, after its items
---@field before_fork? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] in the coordinator, before each fork for this stage
---@field after_fork? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] first thing in each child of this stage, or once
---@field before_exit? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] last thing in each child that ends in good order

--- Options of an accumulator and of `batch`.
---@class minigun.AccumulatorOptions
---@field max_size? integer items in a full batch
---@field max_wait? number seconds after a batch's first item at which it is passed on although it is not full
---@field by? fun(item: any): any `function(item) -> key`: one batch per key
---@field to? string|string[] stages that receive what this one emits; each receives every item; `{}` makes the stage terminal
---@field from? string|string[] stages whose emissions this one receives
---@field route? "broadcast"|"round_robin"|fun(item: any): string|string[] which targets get an item: all targets; one target, each in its turn; or the targets whose names `function(item) -> name or names` returns
---@field await? boolean|number true: only `emit:to` sends to the stage, and it ends when all other stages have ended; false: no stage sends to it
---@field dead_letter? string|minigun.Spool|false where an item goes that has failed for good, as `{ item =, failure = }`: to that stage, which says `await = true`, or into that spool; `run` does not raise for it then. false: nowhere
---@field inline? boolean run in the coordinator itself
---@field threads? minigun.ThreadOptions|integer|boolean run in that many coroutines over an event loop, for handlers that wait; also together with `processes`, then in each worker
---@field processes? minigun.PoolOptions|integer|boolean run in that many workers, forked once per run (a producer: in one child of its own)
---@field process_per_batch? minigun.ForkOptions|integer|boolean run each item in a fresh child, at most `max` at once
---@field cluster? string|minigun.ClusterOptions run on other hosts, over a Redis server: its URL, see docs/cluster.md
---@field fork? minigun.ForkOptions|integer|boolean the same as `process_per_batch`
---@field context? string run in the context of that name, see `pipeline:context`
---@field ordered? boolean what comes out is in the order of what has come in, whichever item is finished first; stands beside the option that says where it runs
---@field retries? integer further attempts after an item's first failed one
---@field backoff? number|minigun.BackoffOptions seconds to wait before an attempt is repeated: always the same, or growing, see below
---@field timeout? number|false seconds that one item may take; false: no limit
---@field queue? integer most items that may wait for this stage; items that its workers process do not count. 0 or `math.huge`: only memory limits it
---@field before? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] where the stage runs, once per worker, before its items
---@field after? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] where the stage runs, once per worker, after its items
---@field before_fork? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] in the coordinator, before each fork for this stage
---@field after_fork? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] first thing in each child of this stage, or once
---@field before_exit? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] last thing in each child that ends in good order

--- Options of a nested pipeline.
---@class minigun.NestedOptions
---@field to? string|string[] stages that receive what this one emits; each receives every item; `{}` makes the stage terminal
---@field from? string|string[] stages whose emissions this one receives
---@field route? "broadcast"|"round_robin"|fun(item: any): string|string[] which targets get an item: all targets; one target, each in its turn; or the targets whose names `function(item) -> name or names` returns
---@field await? boolean|number true: only `emit:to` sends to the stage, and it ends when all other stages have ended; false: no stage sends to it
---@field inline? boolean run in the coordinator itself
---@field threads? minigun.ThreadOptions|integer|boolean run in that many coroutines over an event loop, for handlers that wait; also together with `processes`, then in each worker
---@field processes? minigun.PoolOptions|integer|boolean run in that many workers, forked once per run (a producer: in one child of its own)
---@field process_per_batch? minigun.ForkOptions|integer|boolean run each item in a fresh child, at most `max` at once
---@field cluster? string|minigun.ClusterOptions run on other hosts, over a Redis server: its URL, see docs/cluster.md
---@field fork? minigun.ForkOptions|integer|boolean the same as `process_per_batch`
---@field context? string run in the context of that name, see `pipeline:context`
---@field ordered? boolean what comes out is in the order of what has come in, whichever item is finished first; stands beside the option that says where it runs
---@field retries? integer further attempts after an item's first failed one; for the stages inside
---@field backoff? number|minigun.BackoffOptions seconds to wait before an attempt is repeated: always the same, or growing, see below; for the stages inside
---@field timeout? number|false seconds that one item may take; false: no limit; for the stages inside
---@field queue? integer most items that may wait for this stage; items that its workers process do not count. 0 or `math.huge`: only memory limits it; for the stages inside
---@field before? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] where the stage runs, once per worker, before its items
---@field after? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] where the stage runs, once per worker, after its items
---@field before_fork? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] in the coordinator, before each fork for this stage
---@field after_fork? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] first thing in each child of this stage, or once
---@field before_exit? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] last thing in each child that ends in good order

--- Options of `reduce`.
---@class minigun.ReduceOptions
---@field combine? fun(a: any, b: any): any `function(value, value) -> value`: combines what workers have made of their parts of the items; each part then begins with the initial value, not with its first item
---@field to? string|string[] stages that receive what this one emits; each receives every item; `{}` makes the stage terminal
---@field from? string|string[] stages whose emissions this one receives
---@field route? "broadcast"|"round_robin"|fun(item: any): string|string[] which targets get an item: all targets; one target, each in its turn; or the targets whose names `function(item) -> name or names` returns
---@field await? boolean|number true: only `emit:to` sends to the stage, and it ends when all other stages have ended; false: no stage sends to it
---@field dead_letter? string|minigun.Spool|false where an item goes that has failed for good, as `{ item =, failure = }`: to that stage, which says `await = true`, or into that spool; `run` does not raise for it then. false: nowhere
---@field inline? boolean run in the coordinator itself
---@field threads? minigun.ThreadOptions|integer|boolean run in that many coroutines over an event loop, for handlers that wait; also together with `processes`, then in each worker
---@field processes? minigun.PoolOptions|integer|boolean run in that many workers, forked once per run (a producer: in one child of its own)
---@field process_per_batch? minigun.ForkOptions|integer|boolean run each item in a fresh child, at most `max` at once
---@field cluster? string|minigun.ClusterOptions run on other hosts, over a Redis server: its URL, see docs/cluster.md
---@field fork? minigun.ForkOptions|integer|boolean the same as `process_per_batch`
---@field context? string run in the context of that name, see `pipeline:context`
---@field ordered? boolean what comes out is in the order of what has come in, whichever item is finished first; stands beside the option that says where it runs
---@field retries? integer further attempts after an item's first failed one
---@field backoff? number|minigun.BackoffOptions seconds to wait before an attempt is repeated: always the same, or growing, see below
---@field timeout? number|false seconds that one item may take; false: no limit
---@field queue? integer most items that may wait for this stage; items that its workers process do not count. 0 or `math.huge`: only memory limits it
---@field before? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] where the stage runs, once per worker, before its items
---@field after? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] where the stage runs, once per worker, after its items
---@field before_fork? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] in the coordinator, before each fork for this stage
---@field after_fork? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] first thing in each child of this stage, or once
---@field before_exit? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] last thing in each child that ends in good order

--- Options of a named context.
---@class minigun.ContextOptions
---@field inline? boolean run in the coordinator itself
---@field threads? minigun.ThreadOptions|integer|boolean run in that many coroutines over an event loop, for handlers that wait; also together with `processes`, then in each worker
---@field processes? minigun.PoolOptions|integer|boolean run in that many workers, forked once per run (a producer: in one child of its own)
---@field process_per_batch? minigun.ForkOptions|integer|boolean run each item in a fresh child, at most `max` at once
---@field cluster? string|minigun.ClusterOptions run on other hosts, over a Redis server: its URL, see docs/cluster.md
---@field fork? minigun.ForkOptions|integer|boolean the same as `process_per_batch`
---@field ordered? boolean what comes out is in the order of what has come in, whichever item is finished first; stands beside the option that says where it runs
---@field retries? integer further attempts after an item's first failed one; for the stages inside
---@field backoff? number|minigun.BackoffOptions seconds to wait before an attempt is repeated: always the same, or growing, see below; for the stages inside
---@field timeout? number|false seconds that one item may take; false: no limit; for the stages inside
---@field queue? integer most items that may wait for this stage; items that its workers process do not count. 0 or `math.huge`: only memory limits it; for the stages inside

--- Options inside `threads`.
---@class minigun.ThreadOptions
---@field n? integer most items in work at once
---@field ordered? boolean what comes out is in the order of what has come in, whichever item is finished first; stands beside the option that says where it runs

--- Options inside `processes`.
---@class minigun.PoolOptions
---@field n? integer workers
---@field ordered? boolean what comes out is in the order of what has come in, whichever item is finished first; stands beside the option that says where it runs
---@field max_items? integer a worker ends after so many items, batches or further attempts, and a fresh one takes its place: for handlers whose memory grows. 1: a process for each item, as with `process_per_batch`
---@field max_age? number seconds after which a worker is replaced: one at a time, and the next one is ready before it ends
---@field max_memory? integer|string resident memory with which a worker is replaced in the same way; it is looked at once a second
---@field idle_timeout? number a worker that has had nothing to do for so many seconds ends; one is forked when there is work again
---@field lazy? boolean workers are forked when there is work for them, not at the begin
---@field memory_limit? integer|string most memory of its own that a worker may have: an allocation beyond it fails, and with it the item
---@field nice? integer how much a worker steps back for other processes, beside what this one does
---@field affinity? boolean worker i runs on the i-th of the processors that this process may use, unless there are more workers

--- Options inside `process_per_batch`.
---@class minigun.ForkOptions
---@field max? integer most children alive at once
---@field ordered? boolean what comes out is in the order of what has come in, whichever item is finished first; stands beside the option that says where it runs
---@field memory_limit? integer|string most memory of its own that a worker may have: an allocation beyond it fails, and with it the item
---@field nice? integer how much a worker steps back for other processes, beside what this one does
---@field affinity? boolean worker i runs on the i-th of the processors that this process may use, unless there are more workers

--- Options inside `cluster`.
---@class minigun.ClusterOptions
---@field url? string of the Redis server, see docs/cluster.md
---@field lease? number seconds after which the items of a host that is silent go to another one
---@field tries? integer how often a chunk of items is given to a host at most
---@field limit? integer most chunks that may lie on the server, of 1,000 items or fewer
---@field ordered? boolean what comes out is in the order of what has come in, whichever item is finished first; stands beside the option that says where it runs

--- Options of `p:cluster(url, options, f)`.
---@class minigun.ClusterGroupOptions
---@field lease? number seconds after which the items of a host that is silent go to another one
---@field tries? integer how often a chunk of items is given to a host at most
---@field limit? integer most chunks that may lie on the server, of 1,000 items or fewer
---@field ordered? boolean what comes out is in the order of what has come in, whichever item is finished first; stands beside the option that says where it runs
---@field retries? integer further attempts after an item's first failed one; for the stages inside
---@field backoff? number|minigun.BackoffOptions seconds to wait before an attempt is repeated: always the same, or growing, see below; for the stages inside
---@field timeout? number|false seconds that one item may take; false: no limit; for the stages inside
---@field queue? integer most items that may wait for this stage; items that its workers process do not count. 0 or `math.huge`: only memory limits it; for the stages inside

--- Options of `p:processes(options, f)`.
---@class minigun.PoolGroupOptions
---@field n? integer workers
---@field ordered? boolean what comes out is in the order of what has come in, whichever item is finished first; stands beside the option that says where it runs
---@field max_items? integer a worker ends after so many items, batches or further attempts, and a fresh one takes its place: for handlers whose memory grows. 1: a process for each item, as with `process_per_batch`
---@field max_age? number seconds after which a worker is replaced: one at a time, and the next one is ready before it ends
---@field max_memory? integer|string resident memory with which a worker is replaced in the same way; it is looked at once a second
---@field idle_timeout? number a worker that has had nothing to do for so many seconds ends; one is forked when there is work again
---@field lazy? boolean workers are forked when there is work for them, not at the begin
---@field memory_limit? integer|string most memory of its own that a worker may have: an allocation beyond it fails, and with it the item
---@field nice? integer how much a worker steps back for other processes, beside what this one does
---@field affinity? boolean worker i runs on the i-th of the processors that this process may use, unless there are more workers
---@field retries? integer further attempts after an item's first failed one; for the stages inside
---@field backoff? number|minigun.BackoffOptions seconds to wait before an attempt is repeated: always the same, or growing, see below; for the stages inside
---@field timeout? number|false seconds that one item may take; false: no limit; for the stages inside
---@field queue? integer most items that may wait for this stage; items that its workers process do not count. 0 or `math.huge`: only memory limits it; for the stages inside

--- Options of `p:process_per_batch(options, f)`.
---@class minigun.ForkGroupOptions
---@field max? integer most children alive at once
---@field ordered? boolean what comes out is in the order of what has come in, whichever item is finished first; stands beside the option that says where it runs
---@field memory_limit? integer|string most memory of its own that a worker may have: an allocation beyond it fails, and with it the item
---@field nice? integer how much a worker steps back for other processes, beside what this one does
---@field affinity? boolean worker i runs on the i-th of the processors that this process may use, unless there are more workers
---@field retries? integer further attempts after an item's first failed one; for the stages inside
---@field backoff? number|minigun.BackoffOptions seconds to wait before an attempt is repeated: always the same, or growing, see below; for the stages inside
---@field timeout? number|false seconds that one item may take; false: no limit; for the stages inside
---@field queue? integer most items that may wait for this stage; items that its workers process do not count. 0 or `math.huge`: only memory limits it; for the stages inside

--- Options of `p:threads(options, f)`.
---@class minigun.ThreadGroupOptions
---@field n? integer most items in work at once
---@field ordered? boolean what comes out is in the order of what has come in, whichever item is finished first; stands beside the option that says where it runs
---@field retries? integer further attempts after an item's first failed one; for the stages inside
---@field backoff? number|minigun.BackoffOptions seconds to wait before an attempt is repeated: always the same, or growing, see below; for the stages inside
---@field timeout? number|false seconds that one item may take; false: no limit; for the stages inside
---@field queue? integer most items that may wait for this stage; items that its workers process do not count. 0 or `math.huge`: only memory limits it; for the stages inside

--- Options of `p:inline(options, f)`.
---@class minigun.GroupOptions
---@field retries? integer further attempts after an item's first failed one; for the stages inside
---@field backoff? number|minigun.BackoffOptions seconds to wait before an attempt is repeated: always the same, or growing, see below; for the stages inside
---@field timeout? number|false seconds that one item may take; false: no limit; for the stages inside
---@field queue? integer most items that may wait for this stage; items that its workers process do not count. 0 or `math.huge`: only memory limits it; for the stages inside

--- Options of `minigun.executor` and of `p:open`, beside those of a run.
---@class minigun.StandingOptions
---@field backlog? integer most items that may wait to be begun; with more `submit` waits, or says "full"

--- Options of `executor:submit`.
---@class minigun.SubmitOptions
---@field wait? boolean false: `nil, "full"` where the backlog is full
---@field priority? number of what waits to be begun, items of a higher one are begun first

--- Options inside `halt`.
---@class minigun.HaltOptions
---@field failures? integer|string how many are borne: a number, or a share such as "5%"
---@field when? "soon"|"now" whether what is inside is finished before

--- Options inside `backoff`.
---@class minigun.BackoffOptions
---@field first? number seconds before the second attempt
---@field factor? number how many times longer each further wait is
---@field max? number the longest wait in seconds
---@field jitter? number the part of each wait that is left to chance: with 0.5 it is between half of it and all of it

--- Options inside `journal`.
---@class minigun.JournalOptions
---@field path? string the file; it is made where there is none
---@field sync? "none"|"end"|"always"|number when the run waits until the disk has what is written: never, at its end, every so many seconds, or for each record. Only a crash of the machine makes a difference, the death of the program does not

--- Options of `minigun.spool`.
---@class minigun.SpoolOptions
---@field read_only? boolean the file must be there, and only `records` and `damage` work
---@field sync? boolean each `write` waits until the record is on the disk

--- Options of `minigun.lines`.
---@class minigun.LinesOptions
---@field numbered? boolean each item is a table `{ path =, number =, text = }`, so that a failure shows where it comes from

--- Options of `minigun.records`.
---@class minigun.RecordsOptions
---@field separator? string what stands between two records, at most 16 bytes; the last one may do without
---@field fixed? integer bytes of each record
---@field length? string each record has its length before it, in this format of `string.pack`: `"I4"` has four bytes, in this machine's order, `"<I4"` the lowest one first, `">I4"` the highest
---@field numbered? boolean each item is a table `{ path =, number =, text = }`, so that a failure shows where it comes from

--- Options of `minigun.csv`.
---@class minigun.CsvOptions
---@field header? boolean|string[] true: the first record of each file has the names of the columns, and an item is a table with these keys; an array: these are the names; false: there are none, and an item is an array
---@field separator? string what stands between two fields, one byte

--- Options of `minigun.command`.
---@class minigun.CommandOptions
---@field timeout? number seconds after which the program gets SIGTERM, and one second later SIGKILL
---@field stdin? string what it reads from its standard input; without it `/dev/null`
---@field env? table<string, string|number|false> variables that its environment has besides, or has otherwise; false: it has none of that name
---@field cwd? string the directory in which it runs
---@field stdout? string|true the file that its standard output goes to, made or emptied; true: to where this process's goes
---@field stderr? string|true the same for its standard error output
---@field limit? integer|string most bytes that are kept of each of its outputs; one that writes more is killed

--- Options of `minigun.logging`.
---@class minigun.LogOptions
---@field level? "debug"|"info"|"warning"|"error" the least important messages that are written; at `debug` each run tells of its begin and end, too
---@field to? string|fun(record: table) where they go: `"stderr"`, the path of a file, to which they are appended, or a function that gets each as a table; it is called in the process that has called `logging`, also for what workers log
---@field json? boolean true: each line is a JSON object

--- Options of `minigun.supervisor`.
---@class minigun.SupervisorOptions
---@field name? string how it is called in messages
---@field listen? string|integer|(string|integer)[] where it listens: opened once, before the forks. `*` as host is every IPv4 address, `[::]` every IPv6 one; `unix:@name` is a socket without a file. Sockets that the program has inherited (`LISTEN_FDS` of systemd) are used for the addresses that they have; other inherited sockets come after these
---@field backlog? integer connections that may wait to be accepted, per socket
---@field workers? integer|"auto" worker processes; "auto": one per CPU
---@field loop? "epoll"|"select"|"copas"|"cqueues"|"luv"|"event" the event loop of a worker, see `minigun.loop`; without one it may block in `w:accept()`
---@field worker? fun(item: any): any `function(w)`: what a worker does
---@field start_timeout? number seconds until a worker must be ready; then it is killed
---@field stop_timeout? number seconds that a worker has to finish what is in hand; then it is killed
---@field heartbeat_timeout? number|false seconds without a beat after which a worker that does not wait counts as stuck: its traceback goes to standard error, and it is killed and replaced. false: never
---@field back_off? minigun.BackOffOptions how long a worker that has died waits for its successor, see below
---@field healthy_after? number seconds for which a worker must have been ready for its next restart to be at once again
---@field max_restarts? integer deaths of workers in `restart_window` that the server bears; one more, and it gives up
---@field restart_window? number seconds over which deaths are counted
---@field max_requests? integer requests (`w:done()`) after which a worker is replaced
---@field max_age? number seconds after which a worker is replaced
---@field max_memory? integer|string resident memory at which a worker is replaced, looked at once a second
---@field recycle_jitter? number the part of these three that is left to chance, so that workers are not all replaced at once
---@field user? string the user that workers become, after the sockets are open
---@field group? string the group that workers become
---@field pid_file? string a file that holds the number of the master while it serves
---@field log? fun(item: any): any `function(text)`: gets each message of the supervisor, without a newline
---@field before_fork? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] in the master, before each fork: `f(number)`
---@field after_fork? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] in a worker, before anything else: `f(w)`
---@field on_ready? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] in the master, when a worker is ready: `f(worker)`, a `minigun.WorkerStatus`
---@field on_exit? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] in the master, when a worker has ended: `f(worker, cause)`; `cause` has `code` or `signal`, `expected`, `text`, `stderr` (its last lines)
---@field on_giving_up? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] in the master, when it gives up: `f(reason)`
---@field reopen? fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[] in the master and in each worker after SIGUSR1, to open log files anew; `f(w)` in a worker, `f()` in the master

--- Options of `minigun.service`.
---@class minigun.ServiceOptions
---@field max_clients? integer clients at a time; further ones are told that the server is busy
---@field mode? string rights of the socket's file: who may connect. An abstract name (`@name`) has no file, and is for this user and root unless `allow` says otherwise
---@field allow? fun(item: any): any called with each client, `{ pid =, uid =, gid = }`: whether it is let in; false and a text tell it why not
---@field ring? integer|string bytes of memory for each direction of a connection; a multiple of two is taken. It is used as far as it is written to
---@field max_message? integer|string bytes of one message from the other side, as it is encoded; one that is larger ends the connection
---@field max_requests? integer requests of one client that are taken and not answered; no more are taken from it until some are

--- Options of `minigun.connect`.
---@class minigun.ConnectOptions
---@field wait? number seconds to wait for the server where it is not there, or busy
---@field reconnect? boolean looks for the server again when it has ended: the next request connects, and waits for `wait` seconds. Requests that have had no reply are lost all the same
---@field ring? integer|string bytes of memory for each direction, no more than the server's
---@field max_message? integer|string bytes of one message from the other side, as it is encoded; one that is larger ends the connection

--- Options of `client:submit`.
---@class minigun.RequestOptions
---@field wait? boolean false: where there is no room for the request nothing is sent

--- Options inside `back_off`.
---@class minigun.BackOffOptions
---@field first? number seconds before the first restart
---@field factor? number how many times longer each further wait is
---@field max? number the longest wait in seconds
---@field jitter? number the part of each wait that is left to chance: with 0.5 it is between half of it and all of it

---@class minigun
---@field version string the version of the library
local minigun = {}

--- Makes a pipeline, empty or from a table.
---@param name string|minigun.Definition? shown in messages, "pipeline" by default; or the whole pipeline as a table
---@param options minigun.PipelineOptions? of its runs (those given to `run` override them), and defaults for its stages: the nearest wins, of what a stage says, the context that it names, the groups around it, its pipeline, and the pipelines around that
---@return minigun.Pipeline pipeline
function minigun.pipeline(name, options) end

--- Calls f for every element of a list, over all cores; the results in the order of the list.
---@generic T, R
---@param list T[]
---@param f fun(element: T): R? nil leaves a hole
---@param options minigun.ListOptions? of a stage (`processes = 4`, `retries = 2`) and of a run (`memory = "64M"`)
---@return R[] results
---@return minigun.Failure[]? failures with `failures = "collect"`: each shows the element, the results have holes there
function minigun.map(list, f, options) end

--- Calls f for every element of a list, over all cores, for what it does.
---@generic T
---@param list T[]
---@param f fun(element: T)
---@param options minigun.ListOptions? as for `map`
---@return minigun.Failure[]? failures with `failures = "collect"`
function minigun.each(list, f, options) end

--- Folds a list into one value, over all cores.
---@generic T, R
---@param list T[]
---@param init R what comes out for an empty list; a function makes it
---@param f fun(value: R, element: T): R associative, or given with `combine`, see `p:reduce`
---@param options minigun.ListOptions? as for `map`, and `combine`
---@return R value
---@return minigun.Failure[]? failures with `failures = "collect"`
function minigun.reduce(list, init, f, options) end

--- Makes an executor of a function: workers that stay, which call it for items that are submitted one by one, each
--- with a future: `local pool <close> = minigun.executor(parse, { processes = 4 })`, `pool:submit(item):result()`. See
--- docs/executor.md; `p:open` does the same with a whole pipeline.
---@param f fun(item: any): any what it returns is the future's result, nil too
---@param options minigun.ExecutorOptions? of a stage (`processes = 4`, `retries = 2`), of a run, and `backlog`
---@return minigun.Executor executor
function minigun.executor(f, options) end

--- Opens a spool: a file of values that any number of processes append to, and that is read back later. Made with mode
--- 0600 where there is none; a symbolic link or anything but a regular file is refused.
---@param path string
---@param options minigun.SpoolOptions?
---@return minigun.Spool? spool nil: it cannot be opened
---@return string? message
---@return integer? errno
function minigun.spool(path, options) end

--- Runs a program and waits for its end. A list is executed as it is, its first word found in PATH; a text goes to
--- `/bin/sh -c`. In a handler of a context `threads` the other threads go on meanwhile. The program is a process group
--- of its own, which ends with this call, whatever ends that: `timeout`, the item's time-out, an error, the worker's
--- death (kill -9 too), the end of the run, Ctrl-C, the death of the program that runs the pipeline. When its first
--- process has ended, what that has left running in its group is killed. Only a process that makes itself a group or
--- session of its own escapes. `local list = assert(minigun.command({ "ls", "-a" }, { cwd = "/", timeout = 10 }))`
---@param program string[]|string
---@param options minigun.CommandOptions?
---@return minigun.Command? result also of a program that has failed; nil: it could not be started
---@return string? message
---@return integer? errno
function minigun.command(program, options) end

--- Makes a source of lines: of files, one after the other, or of what is open already. Lines come without their
--- newline (a carriage return before it stays), as from `io.lines`; the last one needs none. A pipe, socket or
--- terminal that has no line yet holds nothing up: neither other producers nor what has been emitted. It is also an
--- iterator: `for line in minigun.lines "access.log" do`. A line may have 1 GiB; a longer one, and whatever cannot be
--- read, ends the producer as its failure, with the file's name. A path may be a pattern (`*`, `?`, `[a-z]`); what it
--- matches is looked up by each run, and sorted. A file whose name ends in `.gz`, `.xz`, `.bz2` or `.zst` is unpacked
--- on the way, by the system's `gzip`, `xz`, `bzip2` or `zstd`. Files are opened by each run anew, one after the
--- other; a file is read to the end that it has then. A file, a descriptor and standard input are read by this object
--- alone from now on, as it reads ahead; they are not closed. In a worker files and pipes are read as in the
--- coordinator, but standard input is the coordinator's.
---@param source string|string[]|integer|file* a path or pattern, several, an open file (also of `io.popen`), a descriptor, or "-" for standard input
---@param options minigun.LinesOptions?
---@return minigun.Source lines raises where a file is not there, or may not be read, or a pattern matches none
function minigun.lines(source, options) end

--- Makes a source of other records. One of the options says how they are told apart: `separator`, `fixed` or `length`.
--- What a file ends with must be a whole record; of `separator` the last one may do without it. All else is as for
--- `minigun.lines`.
---@param source string|string[]|integer|file* as for `minigun.lines`
---@param options minigun.RecordsOptions
---@return minigun.Source records
function minigun.records(source, options) end

--- Makes a source of the rows of CSV (RFC 4180): each item is a table of texts. A field in quotes may have commas,
--- newlines and, written twice, quotes in it. Empty lines are passed over, also a byte order mark at the begin. A row
--- that has not as many fields as there are names, or something after a field's last quote, is a failure of its own,
--- of kind `malformed`, which shows it; the others go on. All else is as for `minigun.lines`.
---@param source string|string[]|integer|file* as for `minigun.lines`
---@param options minigun.CsvOptions?
---@return minigun.Source rows
function minigun.csv(source, options) end

--- Makes a source of integers, as `for i = first, last, step` has them; however many these are, it takes no memory.
---@param first integer
---@param last integer
---@param step integer? 1 by default
---@return minigun.Source numbers
function minigun.range(first, last, step) end

--- Makes a source of the paths that match patterns (`*`, `?`, `[a-z]`), sorted, without directories. Each run looks
--- them up anew. What matches nothing gives nothing.
---@param patterns string|string[]
---@return minigun.Source paths
function minigun.files(patterns) end

--- Lets time go by. In a handler of a context `threads`, and in a producer, everything else goes on meanwhile; in an
--- inline stage workers and threads do, but not the other inline stages; in a worker its process sleeps, and in a hook
--- the coordinator does. A coroutine that the handler has made itself counts as a worker, unless it is the producer's
--- source (`coroutine.wrap`).
---@param seconds number
function minigun.sleep(seconds) end

--- Waits until a descriptor is ready, be it that of a socket, a pipe or a child process from `io.popen`. Like `sleep`
--- it lets other threads go on. What an open file has in its buffer already it does not see.
---@param object integer|userdata|table a descriptor, an open file, or an object with a method `getfd` or `pollfd`
---@param mode ("r"|"w")? "r", the default: there is something to read, or the end; "w": there is room to write
---@param timeout number? seconds; nil: no limit
---@return true? ready nil: the time is over first ("timeout"), or it cannot be waited for
---@return string? message
---@return integer? errno
function minigun.wait(object, mode, timeout) end

--- Makes a server of forked workers that share listening sockets: `local server = minigun.supervisor { listen = 8080,
--- worker = function(w) for connection in w:accept() do ... w:done() end end }`, then `os.exit(server:run())`. See
--- docs/server.md.
---@param options minigun.SupervisorOptions
---@return minigun.Supervisor server
function minigun.supervisor(options) end

--- Writes a message to the log, from any process: one line, `[info] (pid 7): text`, which no other process's line
--- tears. In handlers `ctx:log` says besides where it comes from. See `minigun.logging`.
---@param level "debug"|"info"|"warning"|"error"
---@param text any
---@param fields table<string, any>? further values, shown as JSON
function minigun.log(level, text, fields) end

--- Says what is logged and where it goes; what is not given stays as it is. Before the run: workers have it from their
--- fork. `MINIGUN_LOG=debug` in the environment gives the level, `MINIGUN_LOG="info json"` JSON too.
---@param options minigun.LogOptions
---@return true? ok nil: the file cannot be opened
---@return string? message
---@return integer? errno
function minigun.logging(options) end

--- Goes through futures in the order in which they are settled, for a generic for.
---@param futures minigun.Future[] of any pools and clients
---@param timeout number? seconds, after which the loop ends; nil: no limit
---@return fun(): minigun.Future?
function minigun.as_completed(futures, timeout) end

--- Waits until all of the futures are settled. A failure is not raised does that.
---@param futures minigun.Future[]
---@param options minigun.WaitOptions?
---@return minigun.Future[] settled in the order in which they were
---@return minigun.Future[] others that are not
function minigun.wait_all(futures, options) end

--- Opens a service: processes that have nothing to do with this one attach to it by its path, through shared memory,
--- and ask. `service:serve(f)` answers with what f returns. See docs/service.md.
---@param path string of a Unix socket, best in a directory of mode 0700; "@name": one without a file
---@param options minigun.ServiceOptions?
---@return minigun.Service? service nil: it cannot listen there
---@return string? message
---@return integer? errno
function minigun.service(path, options) end

--- Connects to a service of another process.
---@param path string
---@param options minigun.ConnectOptions?
---@return minigun.Client? client nil: it is not there, or does not let this process in
---@return string? message
---@return integer? errno
function minigun.connect(path, options) end

--- Processors that this process may use: affinity and cgroup quota counted.
---@return integer
function minigun.cpus() end

--- Seconds of the monotonic clock.
---@return number
function minigun.now() end

--- Encodes a value as a string of bytes (MessagePack, see docs/wire-format.md); raises for what cannot be serialised.
---@param value any
---@return string bytes
function minigun.encode(value) end

--- Decodes such a string.
---@param bytes string
---@return any value nil: it is no such string
---@return string? message
function minigun.decode(bytes) end

--- Registers a type whose objects may travel between processes. Without `dump` and `load` the table's own contents are
--- sent, and the metatable is put back. Register in the coordinator, before the run.
---@param name string of 1 to 255 bytes, which stands for the type
---@param metatable table of the objects
---@param dump (fun(object: any): any)? gives a value that can be sent
---@param load (fun(value: any): any)? gives the object again
function minigun.register(name, metatable, dump, load) end

--- Every method returns the pipeline, except `run`, `iterate`, `start` and `extend`. The fields are to be read only.
---@class minigun.Pipeline
---@field name string
---@field options minigun.PipelineOptions as checked
---@field last minigun.Result? of the last run
---@field stages table definitions, in order
---@field hooks table in order
---@field contexts table the named ones
---@field object any what `bind` was given
---@field at string? where it was made, "file:line"
---@field own_context table? the context among its options
local Pipeline = {}

--- Adds a producer.
---@param name string
---@param options minigun.ProducerOptions
---@param source any[]|string|fun(emit: minigun.Emit, ctx: minigun.Ctx)|fun(): any|minigun.Service a handler; an array, whose elements are the items; lines (`minigun.lines(path)`); or what stands after `in` in a generic for (`pairs(t)`, `coroutine.wrap(f)`, a function without parameters), whose first values are the items. An iterator is used up by the first run. A source that waits holds nothing up: `minigun.sleep`, `minigun.wait`, `minigun.lines` and files read line by line let the rest of the run go on. One that waits in another way makes the coordinator stand still, and the run's warnings say so: give it `processes = 1`. A service (`minigun.service(path)`), as the only producer: what comes of a request is its reply, until `service:stop()`.
---@param ... any the further values of a generic for
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, options: minigun.ProducerOptions, source: any[]|string|fun(emit: minigun.Emit, ctx: minigun.Ctx)|fun(): any|minigun.Service, ...: any): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, name: string, source: any[]|string|fun(emit: minigun.Emit, ctx: minigun.Ctx)|fun(): any|minigun.Service, ...: any): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, source: any[]|string|fun(emit: minigun.Emit, ctx: minigun.Ctx)|fun(): any|minigun.Service, ...: any): minigun.Pipeline
function Pipeline:producer(name, options, source, ...) end

--- Adds a processor.
---@param name string
---@param options minigun.ProcessorOptions
---@param handler fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx)|string calls `emit` any number of times. This and every other handler may also be the name of a method of the object that `bind` is given; the stage then needs a name of its own or options.
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, options: minigun.ProcessorOptions, handler: fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx)|string): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, name: string, handler: fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx)|string): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, handler: fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx)|string): minigun.Pipeline
function Pipeline:processor(name, options, handler) end

--- Adds a consumer, a processor by another name.
---@param name string
---@param options minigun.ProcessorOptions
---@param handler fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx)|string what it emits goes on as with a processor
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, options: minigun.ProcessorOptions, handler: fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx)|string): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, name: string, handler: fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx)|string): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, handler: fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx)|string): minigun.Pipeline
function Pipeline:consumer(name, options, handler) end

--- Adds a stage that collects items into arrays.
---@param name string
---@param options minigun.AccumulatorOptions
---@param handler (fun(batch: any[], emit: minigun.Emit, ctx: minigun.Ctx)|string)? without one the arrays themselves go downstream
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, options: minigun.AccumulatorOptions, handler: (fun(batch: any[], emit: minigun.Emit, ctx: minigun.Ctx)|string)?): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, name: string, handler: (fun(batch: any[], emit: minigun.Emit, ctx: minigun.Ctx)|string)?): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, handler: (fun(batch: any[], emit: minigun.Emit, ctx: minigun.Ctx)|string)?): minigun.Pipeline
function Pipeline:accumulator(name, options, handler) end

--- Adds a stage that emits arrays of n items.
---@param name string
---@param n integer most items of a batch, 100 by default
---@param options minigun.AccumulatorOptions?
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, n: integer, options: minigun.AccumulatorOptions?): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, name: string, options: minigun.AccumulatorOptions?): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, options: minigun.AccumulatorOptions?): minigun.Pipeline
function Pipeline:batch(name, n, options) end

--- Adds a processor that emits what f returns.
---@param name string
---@param options minigun.ProcessorOptions
---@param f string|fun(item: any): any its first result is emitted; nil is an error of that item
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, options: minigun.ProcessorOptions, f: string|fun(item: any): any): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, name: string, f: string|fun(item: any): any): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, f: string|fun(item: any): any): minigun.Pipeline
function Pipeline:map(name, options, f) end

--- Adds a processor that emits every element of the array f returns.
---@param name string
---@param options minigun.ProcessorOptions
---@param f string|fun(item: any): any[]
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, options: minigun.ProcessorOptions, f: string|fun(item: any): any[]): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, name: string, f: string|fun(item: any): any[]): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, f: string|fun(item: any): any[]): minigun.Pipeline
function Pipeline:flat_map(name, options, f) end

--- Adds a processor that passes on the items for which f returns true.
---@param name string
---@param options minigun.ProcessorOptions
---@param f string|fun(item: any): any anything but nil and false counts as true
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, options: minigun.ProcessorOptions, f: string|fun(item: any): any): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, name: string, f: string|fun(item: any): any): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, f: string|fun(item: any): any): minigun.Pipeline
function Pipeline:filter(name, options, f) end

--- Adds a consumer that calls f and emits nothing.
---@param name string
---@param options minigun.ProcessorOptions
---@param f fun(item: any)|string
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, options: minigun.ProcessorOptions, f: fun(item: any)|string): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, name: string, f: fun(item: any)|string): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, f: fun(item: any)|string): minigun.Pipeline
function Pipeline:each(name, options, f) end

--- Adds a stage with a loop of its own.
---@param name string
---@param options minigun.ProcessorOptions
---@param handler fun(input: minigun.Input, emit: minigun.Emit, ctx: minigun.Ctx)|string `for item in input do ... end`, once in each worker or thread. `input()` waits for the next item; the one before is finished then, and what was emitted by then belongs to it. At the end of the stream it gives nil; what the handler emits after that (totals, the rest) arrives too. A handler that returns earlier, or raises, is called again for the next item. Its local variables die with its worker: a warning names each worker that died in the middle of a loop. In `process_per_batch` the stream is one item.
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, options: minigun.ProcessorOptions, handler: fun(input: minigun.Input, emit: minigun.Emit, ctx: minigun.Ctx)|string): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, name: string, handler: fun(input: minigun.Input, emit: minigun.Emit, ctx: minigun.Ctx)|string): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, handler: fun(input: minigun.Input, emit: minigun.Emit, ctx: minigun.Ctx)|string): minigun.Pipeline
function Pipeline:stage(name, options, handler) end

--- Adds a whole pipeline as one stage. Items go to its entry stages (those without an input in their own pipeline) and
--- come from its exit stages (those without an output there); producers inside produce. Stages inside are called
--- "name.stage" from outside, and run in the context that the nested pipeline stands in, unless they have one of their
--- own. See "Pipelines in pipelines" in docs/how-it-works.md.
---@param name string by default that of the pipeline that is given
---@param options minigun.NestedOptions
---@param function_or_pipeline minigun.Pipeline|fun(inner: minigun.Pipeline) a function that defines the stages of a new pipeline, called at once; or a pipeline, which may be nested more than once, and run by itself; its own run options are for that only
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, options: minigun.NestedOptions, function_or_pipeline: minigun.Pipeline|fun(inner: minigun.Pipeline)): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, name: string, function_or_pipeline: minigun.Pipeline|fun(inner: minigun.Pipeline)): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, function_or_pipeline: minigun.Pipeline|fun(inner: minigun.Pipeline)): minigun.Pipeline
function Pipeline:pipeline(name, options, function_or_pipeline) end

--- Adds a stage that folds all items into one value and emits that at the end. Workers fold parts of the items; their
--- values are combined in the order of the items, and `f` must be associative. Where its values and the items are of
--- different kinds, `combine` says how two values become one. In a group of processes items of the group's other
--- stages are folded by the worker that has made them, which is cheap. If a worker dies then, what its handlers have
--- done in the last tenth of a second is done once more.
---@param name string must be there where `init` is a word, which would be taken for the name
---@param init any the value to begin with, and what is emitted where there is no item; a table is copied; a function is called and makes it. With `combine` each worker begins with it, perhaps many times: it must change nothing, as 0 does in a sum
---@param f fun(value: any, item: any): any gives the next value, never nil; it may change `value` and return it
---@param options minigun.ReduceOptions?
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, init: any, f: fun(value: any, item: any): any, options: minigun.ReduceOptions?): minigun.Pipeline
function Pipeline:reduce(name, init, f, options) end

--- Runs the pipeline to its end; one whose producer is a service, until that is stopped. Raises for failed items that
--- no hook, dead letter or option handles, see `failures`.
---@param options minigun.RunOptions? of this run; they override the pipeline's
---@return minigun.Result result
function Pipeline:run(options) end

--- Starts the pipeline in the background: workers are forked, producers made ready, and the call returns.
---@param options minigun.RunOptions? of this run
---@return minigun.Run run
function Pipeline:start(options) end

--- Opens the pipeline as a run that stands. It has no producers of its own: items are submitted one by one, and each
--- has a future, whose `result` is the list of all that has come of it out of the terminal stages.
---@param options minigun.OpenOptions? of `run`, and `backlog`
---@return minigun.Executor executor
function Pipeline:open(options) end

--- Runs the pipeline and streams the items of its terminal stages, for a generic for.
---@param options minigun.RunOptions? of this run
---@return fun(): any iterator and the further values of a generic for; leaving the loop stops the run
function Pipeline:iterate(options) end

--- A group whose stages run in n threads, coroutines over an event loop; f defines them. While a handler is in
--- `minigun.sleep`, in `minigun.wait` or waits by means of cqueues, others run. They run in the coordinator; in a
--- group of `processes` or `process_per_batch` in each of its workers.
---@param n minigun.ThreadGroupOptions|integer|boolean how many items are in work at once; true or left out: 16; false: as if there were no group; `{ n = 4, ordered = true, retries = 2 }`: in order, and defaults for the stages inside, as for `processes`
---@param f fun(p: minigun.Pipeline) defines the stages: called at once, with the pipeline
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, f: fun(p: minigun.Pipeline)): minigun.Pipeline
function Pipeline:threads(n, f) end

--- A group whose stages run in n worker processes; f defines them.
---@param n minigun.PoolGroupOptions|integer|boolean workers; true or left out: one per CPU; false: as if there were no group; `{ n = 4, ordered = true }`: what comes out of the group is in the order of what has come in; `{ n = 4, retries = 2 }`: defaults for the stages inside
---@param f fun(p: minigun.Pipeline) defines the stages: called at once, with the pipeline
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, f: fun(p: minigun.Pipeline)): minigun.Pipeline
function Pipeline:processes(n, f) end

--- A group in which each item is run by a fresh child process; f defines the stages.
---@param size minigun.ForkGroupOptions|integer|boolean `{ max = n }` or n: most children alive at once; true or left out: one per CPU; false: as if there were no group; `{ max = n, ordered = true, retries = 2 }`: in order, and defaults for the stages inside, as for `processes`
---@param f fun(p: minigun.Pipeline) defines the stages: called at once, with the pipeline
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, f: fun(p: minigun.Pipeline)): minigun.Pipeline
function Pipeline:process_per_batch(size, f) end

--- A group each of whose stages runs on other hosts, over a Redis server (docs/cluster.md); f defines them. Each is a
--- job of its own there: `minigun worker FILE --stage NAME`.
---@param url string of the server, "redis://host"
---@param given minigun.ClusterGroupOptions? `lease`, `tries`, `limit`, `ordered`; and defaults for the stages inside, as for `processes`
---@param f fun(p: minigun.Pipeline) defines the stages: called at once, with the pipeline
---@return minigun.Pipeline self
function Pipeline:cluster(url, given, f) end

--- A group whose stages run in the coordinator itself, also inside another group; f defines them.
---@param options minigun.GroupOptions? defaults for the stages inside
---@param f fun(p: minigun.Pipeline) defines the stages: called at once, with the pipeline
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, f: fun(p: minigun.Pipeline)): minigun.Pipeline
function Pipeline:inline(options, f) end

--- Defines a context by name. All stages that say `context = name` share its workers.
---@param name string
---@param options minigun.ContextOptions one of inline, threads, processes, process_per_batch, fork; `ordered`; and defaults for the stages that run in it
---@return minigun.Pipeline self
function Pipeline:context(name, options) end

--- Hook in the coordinator, before any producer or fork.
---@param f fun(ctx: minigun.Ctx)
---@return minigun.Pipeline self
function Pipeline:before_run(f) end

--- Hook in the coordinator, last of all, also after a run that failed.
---@param f fun(result: minigun.Result)
---@return minigun.Pipeline self
function Pipeline:after_run(f) end

--- Hook in the coordinator, when the last producer has ended.
---@param f fun(ctx: minigun.Ctx)
---@return minigun.Pipeline self
function Pipeline:after_producer(f) end

--- Hook in the coordinator, when an item has failed for good.
---@param f fun(failure: minigun.Failure, ctx: minigun.Ctx): "stop"? "stop" ends the run
---@return minigun.Pipeline self
function Pipeline:on_failure(f) end

--- Hook in the coordinator, when nothing of a source's item is in flight any more: all that came of it is finished, or
--- has failed. For queues and tables that are told which items are done. A failure that it hears of is handled. For
--- producers that run in the coordinator.
---@param producer string
---@param f fun(item: any, failure: minigun.Failure?) the item as it was emitted; the first failure of what came of it
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, f: fun(item: any, failure: minigun.Failure?)): minigun.Pipeline
function Pipeline:on_acknowledged(producer, f) end

--- Hook in the coordinator, when a child has ended.
---@param f fun(exit: minigun.Exit)
---@return minigun.Pipeline self
function Pipeline:on_worker_exit(f) end

--- Hook where the stage runs, once per worker, before its first item.
---@param stage string
---@param f fun(ctx: minigun.Ctx)
---@return minigun.Pipeline self
function Pipeline:before(stage, f) end

--- Hook where the stage runs, once per worker, after its last item.
---@param stage string
---@param f fun(ctx: minigun.Ctx)
---@return minigun.Pipeline self
function Pipeline:after(stage, f) end

--- Hook in the coordinator, immediately before each fork. This and the next two are for a stage's workers; where all
--- the stages that such a hook is for run in the coordinator, that is their worker: it is called there, once, so a
--- handler that needs what `after_fork` opens may run anywhere.
---@param stage string
---@param f fun(ctx: minigun.Ctx)
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, f: fun(ctx: minigun.Ctx)): minigun.Pipeline
function Pipeline:before_fork(stage, f) end

--- Hook in the child, first of all. Of a stage in the coordinator: once, see `before_fork`.
---@param stage string
---@param f fun(ctx: minigun.Ctx)
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, f: fun(ctx: minigun.Ctx)): minigun.Pipeline
function Pipeline:after_fork(stage, f) end

--- Hook in the child, after the last item of one that ends in good order.
---@param stage string
---@param f fun(ctx: minigun.Ctx)
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, f: fun(ctx: minigun.Ctx)): minigun.Pipeline
function Pipeline:before_exit(stage, f) end

--- Makes a pipeline that begins as a copy of this one. A change of the copy does not change the base, and a change of
--- the base does not change the copy. Hooks of the base run before the hooks that the copy adds. A context that the
--- base has named may be defined anew in the copy. An iterator that is the source of a producer is shared, and used up
--- by the first run of either.
---@param name string the copy's, by default the base's
---@param options minigun.PipelineOptions over those of the base
---@param f (fun(p: minigun.Pipeline))? called at once, with the copy
---@return minigun.Pipeline copy
---@overload fun(self: minigun.Pipeline, options: minigun.PipelineOptions, f: (fun(p: minigun.Pipeline))?): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, name: string, f: (fun(p: minigun.Pipeline))?): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, f: (fun(p: minigun.Pipeline))?): minigun.Pipeline
function Pipeline:extend(name, options, f) end

--- Puts another handler into a stage's place. Its edges stay, unless `to` or `from` say otherwise.
---@param name string the stage; of one in a nested pipeline "outer.inner", here and in the methods below
---@param options minigun.ProcessorOptions|minigun.ProducerOptions|minigun.AccumulatorOptions|integer an option that is not given keeps its value; a context replaces the old one; hooks are added and run after the old ones; of a batch also its size
---@param handler any of the form that the stage's method takes (of a `map`: `function(item) -> item`; of a producer: a source; of a nested pipeline: a pipeline or a function that fills one); without one the old handler stays
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, name: string, handler: any): minigun.Pipeline
function Pipeline:replace(name, options, handler) end

--- Takes a stage out, with its hooks; the stages before it then send to the stages after it.
---@param name string
---@return minigun.Pipeline self
function Pipeline:remove(name) end

--- Draws the edges out of a stage anew. A stage that receives nothing any more is refused when the pipeline runs:
--- remove it, or send it something. A `route` function stays, and has to name the new targets.
---@param from string the stage
---@param to string|string[] the stages that receive its items from now on, no others; `{}`: terminal
---@return minigun.Pipeline self
function Pipeline:reroute(from, to) end

--- Binds the object whose methods are the handlers that are given by name. A stage defined with a string in place of
--- its handler, `p:processor("parse", "parse_line")`, calls that method: `object:parse_line(item, emit, ctx)`, of a
--- producer `object:lines(emit, ctx)`, of `map` and the like `object:parse_line(item)`. Methods are looked up when the
--- pipeline runs. What a method in a worker changes in the object is changed in that worker's copy. The last object
--- bound counts; `extend` hands it on to the copy.
---@param object table|userdata
---@return minigun.Pipeline self
function Pipeline:bind(object) end

--- Puts stages after another.
---@param name string the stage that sends to the new one; the new one sends where that stage sent, and takes over its `route`
---@param new_name string
---@param options minigun.ProcessorOptions
---@param handler fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx)|string of a processor. Or, instead of the last three, a function that defines any stages: they are put there in order. Without a context of their own they run in the group that the stage `name` was defined in. After a stage of a nested pipeline they are stages of that pipeline, which the function then gets.
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, name: string, f: fun(p: minigun.Pipeline)): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, name: string, new_name: string, handler: fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx)|string): minigun.Pipeline
function Pipeline:insert_after(name, new_name, options, handler) end

--- Puts stages before another.
---@param name string the stage that receives from the new one; the stages that sent to it send to the new one
---@param new_name string
---@param options minigun.ProcessorOptions
---@param handler fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx)|string of a processor; or a function that defines stages instead of the last three, as for `insert_after`
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, name: string, f: fun(p: minigun.Pipeline)): minigun.Pipeline
---@overload fun(self: minigun.Pipeline, name: string, new_name: string, handler: fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx)|string): minigun.Pipeline
function Pipeline:insert_before(name, new_name, options, handler) end

--- A whole pipeline as a table.
---@class minigun.Definition: minigun.PipelineOptions
---@field [integer] minigun.Row
---@field name string?
---@field source any as the source of `p:producer`

--- A stage: `{ "parse", map = parse, processes = 4 }`, with one of `map`, `filter`, `flat_map`, `each`, `reduce`,
--- `run`, `loop`, `source` and `pipeline`, or, of a batch, `max_size`, `max_wait` or `by`. A row without a context
--- runs with the row before it.
---@class minigun.Row: minigun.ProcessorOptions
---@field [1] string? name
---@field map (fun(item: any): any)?
---@field filter (fun(item: any): any)?
---@field flat_map (fun(item: any): any[])?
---@field each (fun(item: any))?
---@field reduce (fun(value: any, item: any): any)?
---@field init any the initial value of `reduce`
---@field combine (fun(value: any, other: any): any)?
---@field run (fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx))?
---@field loop (fun(input: minigun.Input, emit: minigun.Emit, ctx: minigun.Ctx))?
---@field source any
---@field pipeline (minigun.Pipeline|minigun.Definition|fun(inner: minigun.Pipeline))?
---@field max_size integer?
---@field max_wait number?
---@field by (fun(item: any): any)?

--- Options of `minigun.map`, `minigun.each` and `minigun.reduce`.
---@class minigun.ListOptions: minigun.ProcessorOptions, minigun.RunOptions
---@field combine (fun(value: any, other: any): any)? of `minigun.reduce`

--- Sends an item to every stage downstream, `emit(item)`: any value but nil. An object that can be called. What is
--- emitted is given away: receivers do not see what is done to a table afterwards. It takes one item: a further value
--- is an error (which is looked for in the first calls of a handler only), so `emit((s:gsub("a", "b")))`.
---@class minigun.Emit
---@field to fun(self: minigun.Emit, stage: string, item: any) sends it to that one stage, whatever the graph says
---@overload fun(item: any)

--- A loop stage's input, `for item in input do`: waits for the next item; nil at the end of the stream.
---@class minigun.Input
---@overload fun(): any

---@class minigun.Ctx
---@field pipeline string its name
---@field stage string? its name; in the hooks of a run nil
---@field pid integer of the process
---@field worker integer? number of the worker, from 1; nil in the coordinator
---@field attempt integer at this item, from 1
---@field client minigun.ServiceClient? who has asked, in the first stages of a pipeline whose producer is a service
---@field state table the stage's own in this worker: handlers and hooks keep there what they need
local Ctx = {}

--- Appends a value to `result.collected[name]`, from any process. From a handler it arrives once, when the item is
--- done.
---@param name string
---@param value any any value but nil
function Ctx:collect(name, value) end

--- Adds to `result.counters[name]`, from any process. From a handler it counts once, when the item is done.
---@param name string
---@param n number? 1 by default
function Ctx:count(name, n) end

--- Writes a message to the log, with pipeline, stage, worker and pid: see `minigun.log`.
---@param level "debug"|"info"|"warning"|"error"
---@param text any
---@param fields table<string, any>? further values, shown as JSON
function Ctx:log(level, text, fields) end

---@class minigun.Result
---@field pipeline string its name
---@field id string of the run: when it began, process, and which of its runs
---@field pid integer of the process that it ran in
---@field started number when it began, in seconds since 1970
---@field ok boolean nothing has failed
---@field items any[] what the terminal stages have emitted, in order of arrival
---@field collected table<string, any[]> what `ctx:collect` was given
---@field counters table<string, number> what `ctx:count` has added up
---@field failures minigun.Failure[] the first that have failed: as many as the run's option `keep_failures`
---@field failed integer how many items have failed for good, those in `failures` and all others
---@field stats minigun.Stats
---@field elapsed number seconds
---@field error string? what has ended the run before its end
---@field resumed integer? in a run with a journal: items that were acknowledged before and not passed on
---@field stopped boolean? `run:stop()` was called
---@field killed boolean? `run:kill()` was called
local Result = {}

--- The items that a terminal stage emitted.
---@param stage string its name; of a stage in a nested pipeline "outer.inner", or the end of that where no other terminal stage has it; or the name of a nested pipeline: of all terminal stages in it, one after the other
---@return any[] items in order of arrival
function Result:of(stage) end

--- The run in numbers: plain data, as `run:status()` gives it while the run goes on.
---@return minigun.Status summary
function Result:summary() end

--- An item that could not be processed; `tostring` gives its text.
---@class minigun.Failure
---@field kind "error"|"crash"|"timeout"|"malformed"|"unserialisable"|"cancelled"|"lost"
---@field stage string? name
---@field item any
---@field number integer? which of the items that have come to the stage it was, from 1; not inside a group
---@field message string with the handler's "file:line: " in front; of a crash and a time-out that of the stage's definition
---@field error any? what was raised, whatever it is, where it can be sent from its process
---@field traceback string? nil: no line of the handler's was at work, as where what it has returned is refused
---@field pid integer?
---@field worker integer? number of the worker
---@field workers integer? how many there are
---@field attempts integer
---@field signal integer? of a death
---@field code integer? of a death
---@field in_flight integer? items that the dead worker held
---@field went_to integer[]? numbers of the workers that have got the others; the message says so too, by and by
---@field partial boolean? some of what the item emitted had already been let through
---@field at_end boolean? it happened at the end of a loop stage's input: what that emitted there is lost
---@field batch boolean? of a `reduce`: `item` is an array of items, or of values, that have failed together
---@field dead_letter boolean? the item went to the dead letters
---@field asked_at string? of a future's: "file:line" that has asked for the result

--- A child that has ended.
---@class minigun.Exit
---@field pid integer
---@field stage string the stages that it ran: "parse+check"
---@field worker integer number of its slot
---@field code integer? nil, and no signal either: it is not known how, see docs/failures.md
---@field signal integer?
---@field expected boolean it ended in good order

--- Plain data: `minigun.encode(result.stats)` works.
---@class minigun.Stats
---@field stages table<string, minigun.StageStats> by name
---@field order string[] names of the stages, in topological order
---@field edges minigun.Edge[] which stage sends to which
---@field workers minigun.WorkerStats[] one for each worker's slot, however many processes have filled it
---@field warnings string[] what was odd, and cost no item; the first hundred, and how many more there were
---@field memory_most integer most bytes of shared memory that were in use
---@field memory_limit integer bytes of shared memory that the run may use

---@class minigun.Edge
---@field from string
---@field to string
---@field kind "value"|"bytes"|"dead_letter"|"sent" values inside one process, bytes between processes, failed items, or what `emit:to` in the coordinator has sent

---@class minigun.StageStats
---@field name string
---@field kind string the method that has defined it: "map", "batch" ...
---@field context string where its handler runs: "processes(4)"
---@field workers integer how many items of it can be at work at once; 1 in the coordinator
---@field at string where it is defined, "file:line"
---@field source boolean? true: a producer
---@field terminal boolean? true: no stage is after it
---@field gathers boolean? true: it is a batch without a handler
---@field route "round_robin"|"choice"|nil how it chooses among the stages after it, where not all get each item
---@field queue integer? most items that may wait for it, where that was said
---@field retries integer? further attempts that were asked for
---@field timeout number? seconds that one item may take
---@field ordered boolean? true: what comes out is in the order of what has come in
---@field max_size integer? of a batch
---@field max_wait number? of a batch
---@field hooks string[]? names of the hooks that it has: "before" ...
---@field items_in integer
---@field items_out integer
---@field failed integer items, for good
---@field retried integer further attempts
---@field busy number seconds in the handler, of all workers together
---@field waiting_in number seconds without an item
---@field waiting_out number seconds in which the stages after it had no room
---@field queue_most integer most items that waited for it
---@field observed integer items whose time was measured
---@field p50 number? seconds per item: half of them took less; nil: no time was measured
---@field p90 number?
---@field p95 number?
---@field p99 number?
---@field resumed integer? of a producer, in a run with a journal: items that were acknowledged before and not passed on
---@field blocked number seconds in which its handlers, in threads of the coordinator, let nothing else of it go on
---@field blocked_most number the most of these seconds at one time

--- The processes that have filled one slot; times and counts are those of all of them together.
---@class minigun.WorkerStats
---@field pid integer of the last
---@field segment string the stages that it ran: "parse+check"
---@field worker integer number of its slot
---@field items integer done
---@field restarts integer how many processes followed the first: replacements, or of a fork per batch the further forks
---@field died integer how many have ended otherwise than in good order
---@field busy number seconds in handlers
---@field lived number seconds
---@field code integer exit code of the last
---@field signal integer? that ended the last

--- A run in numbers: plain data, which `minigun.encode` takes.
---@class minigun.Status
---@field id string of the run: when it began, process, and which of its runs
---@field pipeline string
---@field pid integer
---@field state "running"|"paused"|"stopping"|"done"|"failed"
---@field started number seconds since 1970
---@field elapsed number seconds
---@field stages minigun.StageStatus[] in topological order
---@field edges minigun.Edge[]
---@field workers minigun.RunWorker[]|minigun.WorkerStats[] processes; of a run that goes on with what they are at
---@field alive integer workers that live
---@field items integer of the terminal stages, so far
---@field failed integer items, for good, so far
---@field failures minigun.FailureText[] the last hundred failures that the run keeps
---@field warnings string[]
---@field counters table<string, number> what `ctx:count` has added up
---@field collected table<string, integer> how many values each name of `ctx:collect` has
---@field produced integer items of all sources
---@field consumed integer items that the terminal stages have finished
---@field rate number items of the sources in a second, now; 0 in a run that is over
---@field mean number the same of the whole run
---@field bottleneck string? the stage whose handler keeps its workers busiest, and more than half of their time
---@field memory integer bytes of shared memory in use
---@field memory_most integer
---@field memory_limit integer
---@field total integer? items of all sources, where that is known
---@field part number? of the work that is done, from 0 to 1
---@field left number? seconds that it will still take, if it goes on as in the mean
---@field error string? what has ended the run before its end

---@class minigun.StageStatus: minigun.StageStats
---@field pending integer items that are queued, in a worker's hands, in an open batch, or wait for their next attempt
---@field oldest number? seconds that the oldest of these has been here, as far as was looked; nil: none, or it is over
---@field state "waiting"|"working"|"blocked"|"done" waiting: for items; blocked: for room after it
---@field rate number items finished in a second, now; of a source those emitted; 0 in a run that is over
---@field mean number the same of the whole run
---@field busy_share number part of its workers' time, from 0 to 1: in the last seconds, or in a run that is over
---@field in_share number the same of its waiting for items
---@field out_share number the same of its waiting for room

--- A worker of a run that goes on.
---@class minigun.RunWorker
---@field segment string the stages that it runs: "parse+check"
---@field worker integer number of its slot
---@field pid integer? nil: there is no process now
---@field state "working"|"idle"|"ending"|"none"
---@field stage string? of the item in hand
---@field item integer? which of the items that have come to it that is, from 1
---@field held number? seconds that it has been at that item, as far as was looked
---@field in_hand integer items that it has been given and not finished
---@field items integer done, by all processes of the slot
---@field restarts integer
---@field died integer
---@field busy number seconds in handlers, of this process
---@field age number? seconds
---@field cpu number? share of a processor that it has had in the last seconds
---@field memory integer? bytes that are resident

--- A failure in words.
---@class minigun.FailureText
---@field kind string
---@field stage string?
---@field message string
---@field item string? as in messages
---@field attempts integer?
---@field worker integer?
---@field pid integer?

--- A background run, moved by `step` and `wait`.
---@class minigun.Run
local Run = {}

--- Moves what can be moved, and goes on with that for so many seconds. Takes items from producers, hands them to
--- workers and takes what these have done. `run:step()` does that once and does not wait: a few milliseconds, or as
--- long as one call of a handler in this process takes. With seconds it waits where there is nothing to do, and comes
--- back early only at the end of the run.
---@param seconds number? 0 by default
---@return boolean more false: the run is over; `wait` then gives the result, or raises its error
function Run:step(seconds) end

--- Lets the run go on to its end. Raises what `p:run` would raise; may be called again.
---@param timeout number? seconds; nil: no limit
---@return minigun.Result? result nil when the time is over before the run
---@return "timeout"? message
function Run:wait(timeout) end

--- All that is known of the run, in numbers; only looks.
---@return minigun.Status status
function Run:status() end

--- Opens the live view on the run, and lets the run go on while it is open. `q` closes the view only; it may be opened
--- again. At the end it stays until it is closed. Where there is no terminal that can show it, the run goes to its end
--- with a line each second.
---@return minigun.Run self
function Run:hud() end

--- A descriptor for an event loop: readable when `step` has something to do. Workers, retries, batches that fall due,
--- time-outs and producers that are ready to emit all make it readable; no other timer is needed. Call `step` whenever
--- it is. When `step` has returned false, stop watching it, and then call `wait` or `close`, which close it. It is the
--- run's own (an epoll descriptor): watch it, do nothing else with it.
---@return integer? fd always the same; nil when the run is over
---@return string? message
---@return integer? errno
function Run:fd() end

--- Ends the producers; what they have emitted is processed, and then the run ends in good order. Takes effect with the
--- next step. `result.stopped` is then true, and that is no error. A producer in a child process ends at its next
--- emit, and is killed when there is none within a second. Work that feeds itself through `emit:to` is inside: it goes
--- on as long as it emits.
---@return minigun.Run self
function Run:stop() end

--- Ends the run at once: workers are killed, and what was inside is lost. `result.stats.warnings` says how many items
--- were inside which stage, `result.ok` is false and `result.killed` true. The hook after_run runs. Called from a hook
--- or handler of the run itself it takes effect when that has returned.
---@return minigun.Result? result nil: when it takes effect later
function Run:kill() end

--- Kills the run if it is not over; nothing of it is left. The same happens at the end of a to-be-closed variable, and
--- when a forgotten run is collected (then without the hook after_run).
function Run:close() end

--- Options of `minigun.executor`.
---@class minigun.ExecutorOptions: minigun.ProcessorOptions, minigun.RunOptions, minigun.StandingOptions

--- Options of `p:open`.
---@class minigun.OpenOptions: minigun.RunOptions, minigun.StandingOptions

--- A run that stands: items are submitted one by one, and each has a future. It is moved by what waits for one of its
--- futures, by `step`, and by `submit` where that has to wait; between these calls workers go on with what they have.
---@class minigun.Executor
local Executor = {}

--- Submits an item. Where the backlog is full it waits until there is room: back-pressure. In a thread of `threads(n)`
--- the other threads go on meanwhile.
---@param item any but nil
---@param given minigun.SubmitOptions?
---@return minigun.Future? future nil: the backlog is full, with `wait = false`
---@return "full"? message
function Executor:submit(item, given) end

--- Submits an item and waits for what comes of it: `submit(item):result(timeout)`.
---@param item any but nil
---@param timeout number? seconds; nil: no limit
---@return any value raises its failure; nil where the time is over before
---@return "timeout"? message
function Executor:call(item, timeout) end

--- Submits all items of a list and waits for what comes of them.
---@param list any[]
---@return any[] results in the order of the list, with holes where nothing came; raises the first failure, and cancels what has not begun
function Executor:map(list) end

--- Moves what can be moved, and goes on with that for so many seconds. Futures whose time has come are settled, and
--- their functions called.
---@param seconds number? 0 by default: it does not wait
---@return boolean more false: the executor is closed
function Executor:step(seconds) end

--- A descriptor for an event loop: readable when `step` has something to do. It is the executor's own (an epoll
--- descriptor): watch it, do nothing else with it.
---@return integer? fd always the same; nil when the executor is closed
---@return string? message
---@return integer? errno
function Executor:fd() end

---@class minigun.ExecutorStatus: minigun.Status
---@field state "open"|"closing"|"closed"
---@field waiting integer items that are not begun
---@field begun integer items that are begun and not finished

--- All that is known of it, in numbers: what `run:status` says of a run, and how many items wait; only looks.
---@return minigun.ExecutorStatus status
function Executor:status() end

--- Changes how many workers or threads there are. A worker that leaves finishes its items first; a new worker is
--- forked when there is work for it.
---@param n integer
---@param stage string? a stage that runs there; must be given where there are several contexts
function Executor:resize(n, stage) end

--- Finishes what is inside, in the backlog too, and ends the workers. Futures are settled all. May be called again.
---@return minigun.Result result of the run: statistics, what `ctx` has collected and counted; raises what has ended it
function Executor:close() end

--- Ends it at once: workers are killed, and what is not finished fails with a failure of kind "lost". Called by a
--- handler, hook or function that the executor itself calls it takes effect when that has returned.
---@return minigun.Result? result nil: when it takes effect later
function Executor:kill() end

--- What a producer, `minigun.map`, `each` and `reduce` read from: made by `minigun.lines`, `range`, `files`, `records`
--- and `csv`. It is described by a few values, and opens what it reads when it is read. It is an iterator, too: `for
--- line in minigun.lines "access.log" do`.
---@class minigun.Source
---@field paths string[]? of the files that are read, one after the other, as they were when it was made
local Source = {}

--- Closes what a loop that was left early has open. The end of a loop, and of a run, needs none.
function Source:close() end

--- A file of values. At the end of a to-be-closed variable it is closed.
---@class minigun.Spool
---@field path string
local Spool = {}

--- Writes a value after the last, whole or not at all. Waits while another process writes.
---@param value any any value but nil that can be serialised; for another an error with its path at the caller's line
---@return boolean? written nil: the file is as long as before; where only the waiting of `sync` has failed the value is there, for as long as the machine goes on
---@return string? message
---@return integer? errno
function Spool:write(value) end

--- Waits until everything that this process has written is on the disk.
---@return boolean? done
---@return string? message
---@return integer? errno
function Spool:sync() end

--- Reads the values: `for value in spool:records() do`, also a producer's source. It begins at the first record and
--- ends where the file ends when the first value is taken. What is damaged is skipped, see `damage`. A record that
--- cannot be decoded (its `load` hook has raised or given nil, or its type is not registered here) costs no other: of
--- a producer's source it is a failure of kind `unserialisable`; otherwise an error at the caller's line tells of all
--- of them when the others have been given. A fault of the disk is an error at once.
---@return fun(): any iterator and the further values of a generic for
function Spool:records() end

--- The first 1000 damaged ranges of a spool, and how much there is in all.
---@class minigun.Damage
---@field [integer] { offset: integer, bytes: integer, message: string? } message: of a record that cannot be decoded
---@field records integer how many were skipped, as far as they can be distinguished
---@field bytes integer
---@field places integer how many ranges

--- What of the file cannot be read: torn by a writer that was killed, changed on the disk, or a record that cannot be
--- decoded. It reports what the last `records` of this spool has met so far; without one the file is read for it.
---@return minigun.Damage? damage
---@return string? message
---@return integer? errno
function Spool:damage() end

--- Closes the file; a second time does nothing. What `records` has begun to read can be read on.
---@return boolean? closed
---@return string? message
---@return integer? errno
function Spool:close() end

--- What has become of a program; `tostring` gives one line. It can be emitted.
---@class minigun.Command
---@field ok boolean it has exited with code 0, in time, and nothing of its output is missing
---@field code integer? its exit code; nil: a signal has ended it, or it is not known
---@field signal integer? the signal that has ended it
---@field unknown boolean? how is lost: before Linux 6.15, in a program that ignores SIGCHLD or waits for all children
---@field out string what it has written to its standard output; empty where that went elsewhere
---@field err string the same of its standard error output
---@field seconds number it took
---@field timed_out boolean? it was ended by its own `timeout`
---@field exceeded ("stdout"|"stderr")? it was killed because it wrote more than `limit` bytes there
---@field command string what was run, for messages

---@class minigun.loop
local loop = {}

--- Makes a loop.
---@param name ("epoll"|"select"|"copas"|"cqueues"|"luv"|"event")? "epoll", the default: the library's own; any other: inside the loop of that library, which must be installed
---@return minigun.Loop? loop
---@return string? message
---@return integer? errno
function loop.new(name) end

--- Makes a loop inside one that the program has already: a controller of cqueues, an event base of luaevent, or one of
--- the modules luv, copas and socket.
---@param object any
---@return minigun.Loop? loop
---@return string? message
---@return integer? errno
function loop.adopt(object) end

--- What `watch_io`, `after`, `every`, `watch_signal` and `watch_process` return.
---@class minigun.Watch
local Watch = {}

--- An event loop: it calls functions when descriptors are ready, times have come, signals have arrived and processes
--- have ended. The same for each adapter.
---@class minigun.Loop
---@field name string "epoll", "select", "copas", "cqueues", "luv" or "event"
local Loop = {}

--- Ends the watch: its function is not called any more. May be called twice. A descriptor's is to end before the
--- descriptor is closed. Of the last watch of a signal: what the signal did before it does again. A process whose
--- watch ends before it stays to be waited for.
function Watch:stop() end

--- Calls a function when a descriptor is ready, as long as it is; also as long as a connection of `w:accept`, or a
--- socket of luasocket, still holds something that it has read already (its method `dirty`): when the watch begins,
--- and after each call.
---@param object integer|userdata|table a descriptor, an open file, or an object with a method `getfd` or `pollfd`
---@param mode "r"|"w"|"rw" there is something to read, or the end; there is room to write; any of both
---@param f fun(object: any, ready: "r"|"w"|"rw") with the object; where there is an error or an end, both are ready
---@return minigun.Watch? watch nil: it cannot be waited for (a regular file is always ready)
---@return string? message
---@return integer? errno
function Loop:watch_io(object, mode, f) end

--- Calls a function once, after so many seconds of the monotonic clock.
---@param seconds number
---@param f fun(timer: minigun.Watch)
---@return minigun.Watch? timer nil: there is no descriptor left, which a foreign loop needs for it
---@return string? message
---@return integer? errno
function Loop:after(seconds, f) end

--- Calls a function again and again, every so many seconds. Times that have passed while the process was busy or
--- stopped are left out.
---@param seconds number more than 0
---@param f fun(timer: minigun.Watch)
---@return minigun.Watch? timer nil: there is no descriptor left, which a foreign loop needs for it
---@return string? message
---@return integer? errno
function Loop:every(seconds, f) end

--- Calls a function when this process gets a signal. Several watches of one signal are all called. While there is one
--- the signal does nothing else; what it did before it does again when the last has ended.
---@param name string "TERM", "HUP", "USR1" …, with or without "SIG"
---@param f fun(name: string) with the name, without "SIG"; once for each time that the signal has come
---@return minigun.Watch? watch
---@return string? message
---@return integer? errno
function Loop:watch_signal(name, f) end

--- How a process has ended; of one that is no child of this process that is known since Linux 6.15.
---@class minigun.Ended
---@field pid integer
---@field code integer? its exit code
---@field signal integer? the signal that has ended it
---@field unknown boolean? it is not known how: another part of the program has waited for it
---@field core boolean? it has left a core dump
---@field max_rss integer? bytes of memory, at most, of it and of the children that it has waited for
---@field cpu number? seconds of processor time, of it and of these

--- Calls a function when a process has ended. A child of this process is waited for then. Neither SIGCHLD nor other
--- children are touched. Several watches of one process are all called.
---@param pid integer of a child, or of any other process
---@param f fun(ended: minigun.Ended)
---@return minigun.Watch? watch nil: there is no such process
---@return string? message
---@return integer? errno
function Loop:watch_process(pid, f) end

---@class minigun.ForkOptions
---@field on_exit fun(ended: minigun.Ended)? called when the child has ended

--- Forks. The child calls f with a loop of its own, of the same kind, and ends with what f returns: an exit code, nil
--- or true for 0, false for 1; an error is printed, and the code is 1. It has this process's memory and descriptors,
--- but nothing of its loops: their watches, timers and signals are the parent's alone, handled signals are at their
--- defaults, and none is blocked. It leaves without running exit handlers or finalizers.
---@param f fun(loop: minigun.Loop): integer|boolean?
---@param options minigun.ForkOptions?
---@return integer? pid
---@return string? message
---@return integer? errno
function Loop:fork(f, options) end

--- Waits and calls, until `stop` is called or nothing is left to wait for. An error in a callback ends it, and all
--- watches with it; it comes out here. In a foreign loop that loop runs, with all else that it has. In a thread of
--- `threads(n)` the other threads go on while it waits; there it ends when nothing of its own is left.
function Loop:run() end

--- Ends `run` or `step` after the callback that calls it.
function Loop:stop() end

--- Calls what is ready, once.
---@param timeout number? seconds to wait where nothing is; 0 by default
---@return boolean more false: nothing is left to wait for
function Loop:step(timeout) end

--- A descriptor for another event loop: readable when `step` has something to do. Timers and signals make it readable
--- too. Watch it, do nothing else with it.
---@return integer? fd always the same
---@return string? message
---@return integer? errno
function Loop:fd() end

--- Ends all watches and gives the descriptors back. May be called twice. So does the end of a to-be-closed variable.
function Loop:close() end

--- What will come of one request or item.
---@class minigun.Future
local Future = {}

--- What came of it; waits for that. Meanwhile the pool or client that it is of goes on; in a thread of `threads(n)`
--- the other threads do. Raises the failure, an object that shows as text (`pcall` gives it: `err.kind`,
--- `err.message`).
---@param timeout number? seconds; nil: no limit
---@return any value nil where the time is over before
---@return "timeout"? message
function Future:result(timeout) end

--- Whether it is settled: done, failed or cancelled. Only looks.
---@return boolean
function Future:done() end

--- The failure, where it has failed or was cancelled. Only looks.
---@return minigun.Failure? failure
function Future:failure() end

--- Takes it back, where that can still be done: its `result` raises a failure of kind "cancelled" then.
---@param options table? of the pool or client that it is of
---@return boolean cancelled false: it is settled, or has begun
function Future:cancel(options) end

--- Calls a function with the future when it is settled, once; at once where it is. It is called by what moves the pool
--- or client (`step`, `result`, `call`), which raises an error of it.
---@param f fun(future: minigun.Future)
---@return minigun.Future self
function Future:on_done(f) end

---@class minigun.WaitOptions
---@field timeout number? seconds
---@field first "done"|"failure"? wait until one is settled, or until one has failed, only

--- A client of a service, as handlers see it.
---@class minigun.ServiceClient
---@field number integer counted by the server, from 1
---@field pid integer of the process that has connected
---@field uid integer
---@field gid integer

--- What `minigun.service` returns.
---@class minigun.Service
---@field path string
local Service = {}

--- Says what answers requests, for `step`: f(request, client) returns the reply, or a future whose result it will be.
--- An error in it is the failure of that request.
---@param f fun(request: any, client: minigun.ServiceClient): any
---@return minigun.Service self
function Service:on_request(f) end

--- Answers requests until `stop`: with what f(request, client) returns, one after the other. Where f returns a future,
--- of a pool or of another service's client, the next request is taken at once, and the reply follows.
---@param f fun(request: any, client: minigun.ServiceClient): any
function Service:serve(f) end

--- Answers what is there, by the function that `on_request` was given, and does not wait: for an event loop that
--- watches `fd`.
---@param seconds number? to wait at most where nothing is there; 0 by default
function Service:step(seconds) end

--- A descriptor for an event loop: readable when `step` has something to do.
---@return integer fd
function Service:fd() end

--- Ends `serve` after the request that is at work. Clients stay attached.
function Service:stop() end

--- How many clients are attached.
---@return integer
function Service:clients() end

--- Ends the service: clients are told, and their open requests fail as lost. The socket's file is removed. May be
--- called twice; `local service <close>` works.
function Service:close() end

--- A connection to a service, as `minigun.connect` returns it.
---@class minigun.Client
---@field path string
---@field number integer this client's, as the server counts them
local Client = {}

--- Sends a request, and gives a future of its reply. Waits while the server has no room for more.
---@param item any
---@param given minigun.RequestOptions?
---@return minigun.Future? future nil: there is no room now
---@return "full"? message
function Client:submit(item, given) end

--- Sends a request and waits for its reply. In a thread of `threads(n)` the others go on meanwhile. Raises the
--- failure, an object as from `future:result`.
---@param item any
---@param timeout number? seconds; nil: no limit
---@return any reply nil where the time is over before; the request goes on
---@return "timeout"? message
function Client:call(item, timeout) end

--- Sends a message to which there is no reply. Waits while the server has no room for it. What was sent before the
--- server's end may be lost with it.
---@param item any raises where it cannot be sent
---@return true? sent nil: the server is gone
---@return string? message
function Client:send(item) end

--- A descriptor for an event loop: readable when `step` has something to do.
---@return integer? fd always the same
---@return string? message
---@return integer? errno
function Client:fd() end

--- Takes what has come, and settles futures, without waiting.
function Client:step() end

--- Ends the connection. Requests without a reply fail as lost. May be called twice; `local client <close>` works.
function Client:close() end

--- What is known of a worker.
---@class minigun.WorkerStatus
---@field number integer
---@field pid integer
---@field state "starting"|"ready"|"draining"|"gone"
---@field generation integer
---@field requests integer that it has answered
---@field accepted integer connections that it has taken
---@field in_hand integer connections that it has now, or had at its end
---@field restarts integer how often a worker of this number has died
---@field beat number? seconds since its last beat
---@field doing string? what it is at, as it has said
---@field memory integer? bytes that are resident
---@field age number? seconds since it was forked

--- What is known of a server.
---@class minigun.ServerStatus
---@field name string
---@field pid integer of the master
---@field state "starting"|"serving"|"stopping"|"ended"
---@field generation integer one more after each rolling restart
---@field wanted integer workers
---@field workers minigun.WorkerStatus[] by number; old and new ones while they change
---@field listen string[] addresses
---@field status integer? the exit status, where it has ended

--- What `minigun.supervisor` returns: a server that can be run.
---@class minigun.Supervisor
local Supervisor = {}

--- A server that was started, as `server:start()` returns it.
---@class minigun.Server
local Server = {}

--- Runs the server until it ends, with the signals' meanings of docs/server.md. What keeps it from starting is written
--- to standard error.
---@return integer status for os.exit: 0 ended in good order; 1 gave up, or could not start; 124 workers had to be killed after `stop_timeout`; 128 and the signal's number: ended at once
function Supervisor:run() end

--- Starts the server in the background: its workers serve, and it is looked after by `step`. No signal is touched.
---@return minigun.Server? running nil: it cannot listen, or has not what it needs
---@return string? message
---@return integer? errno
function Supervisor:start() end

--- What is known of the server and its workers.
---@return minigun.ServerStatus
function Supervisor:status() end

--- Does what a signal does.
---@param name string "TERM", "HUP", "USR1" …, with or without "SIG"
function Supervisor:signal(name) end

--- The same for a server that was started.
---@return minigun.ServerStatus
function Server:status() end

--- Does what a signal does.
---@param name string
function Server:signal(name) end

--- Looks after the workers: to be called when `fd` is readable, or now and then.
---@param timeout number? seconds to wait where there is nothing to do; 0 by default
---@return integer? status nil: it goes on; then as `run` returns it
function Server:step(timeout) end

--- A descriptor for an event loop: readable when `step` has something to do.
---@return integer fd
function Server:fd() end

--- Ends the server in good order, and waits for that.
---@return integer status as `run` returns it
function Server:stop() end

--- Ends the server at once, where it still runs, and gives everything back. So does the end of a to-be-closed
--- variable.
function Server:close() end

--- A connection of a worker without an event loop (and under epoll and event, where nothing waits: its time-out is 0
--- there). Its methods have luasocket's names and results, so that code written for that works.
---@class minigun.Connection
---@field receive fun(self, pattern?: "*l"|"*a"|integer, prefix?: string): string?, string?, string? a line (the default), all until the end, or so many bytes; nil, the reason ("closed", "timeout", "line too long" at 1 MiB, or the system's) and what has come
---@field send fun(self, bytes: string, from?: integer, to?: integer): integer?, string?, integer? the number of the last byte that was sent; nil, the reason and that number
---@field settimeout fun(self, seconds?: number, mode?: "b"|"t") how long one wait ("b", the default) or one call ("t") may take; nil: no limit, as at the beginning
---@field shutdown fun(self, how?: "receive"|"send"|"both")
---@field close fun(self)
---@field getfd fun(self): integer
---@field dirty fun(self): boolean whether `receive` has bytes already, which no event loop sees
---@field getpeername fun(self): string, integer, string host, port, family
---@field getsockname fun(self): string, integer, string

--- A worker of a supervisor, as its function gets it.
---@class minigun.Worker
---@field number integer from 1; its successor has the same
---@field generation integer 1, and one more after each rolling restart
---@field name string the supervisor's
---@field loop table? the event loop (`minigun.loop`), where the option `loop` names one
---@field native any what that loop is in: a controller of cqueues, or the module luv, copas or socket; nil for others
local Worker = {}

--- Says that this worker serves from now on. A replacement's predecessor drains now.
function Worker:ready() end

--- Counts a request that was answered, which is a beat, too.
function Worker:done() end

--- Says that this worker is alive: in long work between two waits. Costs no system call.
---@param text string? what it is at, for the message where it gets stuck; at most 63 bytes are kept
function Worker:beat(text) end

--- Whether this worker is to stop: it takes nothing new and leaves when what is in hand is done.
---@return boolean
function Worker:stopping() end

--- Calls a function when this worker is to stop; at once where it is already. For what a library's own accept is to
--- end.
---@param f fun()
function Worker:on_stop(f) end

--- One of the sockets that the server listens at, as the loop's own kind of socket: cqueues', luv's (a `uv_tcp_t` or
--- `uv_pipe_t`), luasocket's for select and copas; without a loop, and for epoll and event, its descriptor.
---@param i integer? 1 by default, in the order of `listen`
---@return any socket
function Worker:socket(i) end

--- The sockets that the server listens at.
---@return string[] addresses
function Worker:addresses() end

--- Takes connections. Without a function: an iterator, `for connection in w:accept() do`, which ends when the worker
--- is asked to stop, and closes each connection when the next is taken; an error in the loop ends the worker. With a
--- function: it is called for each connection, which is closed when it returns; its error is written to standard error
--- and ends this connection only. In a worker with an event loop `accept` returns at once, and the function runs as a
--- coroutine of the loop under cqueues and copas; elsewhere it is a callback, and the connection is in hand until
--- `w:close(connection)`, or until it is found closed.
---@param f fun(connection: any, w: minigun.Worker)?
---@return fun(): minigun.Connection? next without a function and loop
function Worker:accept(f) end

--- With an event loop: a connection of `w:accept(f)` is not in hand any more; it is closed.
---@param connection any
function Worker:close(connection) end

return minigun
