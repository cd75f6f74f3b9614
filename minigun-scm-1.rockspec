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
      },
    },
  },
  install = { bin = { minigun = "bin/minigun" } },
}
