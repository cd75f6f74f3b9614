rockspec_format = "3.0"
package = "minigun"
version = "scm-1"
source = {
  url = "git+file://.",
}
description = {
  summary = "Data pipelines for Lua over every core of a machine",
  detailed = "Producers, processors, consumers and batches that run inline, in coroutines, in worker processes or in a "
    .. "fork per batch; items cross processes through shared memory, and a killed worker loses none.",
  license = "MIT",
}
supported_platforms = { "linux" }
dependencies = { "lua ~> 5.4" }
build = {
  type = "builtin",
  modules = {
    ["minigun.core"] = {
      sources = {
        "src/codec.c",
        "src/codec_decode.c",
        "src/codec_encode.c",
        "src/crc.c",
        "src/event.c",
        "src/faults.c",
        "src/heap.c",
        "src/lua_codec.c",
        "src/lua_core.c",
        "src/lua_faults.c",
        "src/lua_pool.c",
        "src/lua_reader.c",
        "src/lua_signal.c",
        "src/lua_spool.c",
        "src/lua_worker.c",
        "src/lua_writer.c",
        "src/pool.c",
        "src/proc.c",
        "src/shm.c",
        "src/slot.c",
        "src/spool.c",
        "src/sys.c",
        "src/worker.c",
      },
    },
    ["minigun.background"] = "lua/minigun/background.lua",
    ["minigun.batcher"] = "lua/minigun/batcher.lua",
    ["minigun.chain"] = "lua/minigun/chain.lua",
    ["minigun.context"] = "lua/minigun/context.lua",
    ["minigun.ends"] = "lua/minigun/ends.lua",
    ["minigun.failure"] = "lua/minigun/failure.lua",
    ["minigun.forked"] = "lua/minigun/forked.lua",
    ["minigun.graph"] = "lua/minigun/graph.lua",
    ["minigun.handle"] = "lua/minigun/handle.lua",
    ["minigun.inbox"] = "lua/minigun/inbox.lua",
    ["minigun.inheritance"] = "lua/minigun/inheritance.lua",
    minigun = "lua/minigun/init.lua",
    ["minigun.options"] = "lua/minigun/options.lua",
    ["minigun.order"] = "lua/minigun/order.lua",
    ["minigun.pipeline"] = "lua/minigun/pipeline.lua",
    ["minigun.plan"] = "lua/minigun/plan.lua",
    ["minigun.producers"] = "lua/minigun/producers.lua",
    ["minigun.progress"] = "lua/minigun/progress.lua",
    ["minigun.queue"] = "lua/minigun/queue.lua",
    ["minigun.report"] = "lua/minigun/report.lua",
    ["minigun.result"] = "lua/minigun/result.lua",
    ["minigun.retries"] = "lua/minigun/retries.lua",
    ["minigun.router"] = "lua/minigun/router.lua",
    ["minigun.routes"] = "lua/minigun/routes.lua",
    ["minigun.run"] = "lua/minigun/run.lua",
    ["minigun.runner"] = "lua/minigun/runner.lua",
    ["minigun.shorthand"] = "lua/minigun/shorthand.lua",
    ["minigun.signals"] = "lua/minigun/signals.lua",
    ["minigun.spool"] = "lua/minigun/spool.lua",
    ["minigun.stage"] = "lua/minigun/stage.lua",
    ["minigun.stats"] = "lua/minigun/stats.lua",
    ["minigun.worker"] = "lua/minigun/worker.lua",
  },
  install = { bin = { minigun = "bin/minigun" } },
}
