--- What a service and a client of one take: the schemas of their options.
local schema = require "minigun.base.schema"
local types = require "minigun.base.types"

local options = { schemas = {} }

local RING_LEAST <const>, RING_MOST <const> = 1 << 12, 1 << 30 -- src/core/channel.h
local MESSAGE <const> = 512 << 20

local memory = types.bytes(RING_LEAST)

local ring = {
  text = ('bytes from 4K to 1G, or a string such as "4M"'), lua = "integer|string",
  check = function(value, ...)
    local ok, bytes = memory.check(value, ...)
    return ok and bytes <= RING_MOST, bytes
  end,
}

local mode = {
  text = 'the rights of the socket\'s file in octal, such as "600"', lua = "string",
  check = function(value)
    local number = type(value) == "string" and value:find "^0?[0-7][0-7][0-7]$" and tonumber(value, 8)
    return number ~= nil and number ~= false, number
  end,
}

local max_message = { "max_message", memory, default = MESSAGE,
  doc = "bytes of one message from the other side, as it is encoded; one that is larger ends the connection" }

options.schemas.service = schema.new("service", { {
  { "max_clients", types.integer(1, 1000000), default = 1000,
    doc = "clients at a time; further ones are told that the server is busy" },
  { "mode", mode, default_text = '`"600"`',
    doc = "rights of the socket's file: who may connect. An abstract name (`@name`) has no file, and is for this " ..
      "user and root unless `allow` says otherwise" },
  { "allow", types.callable, default_text = "all that `mode` lets in",
    doc = "called with each client, `{ pid =, uid =, gid = }`: whether it is let in; false and a text tell it why " ..
      "not" },
  { "ring", ring, default = 1 << 20,
    doc = "bytes of memory for each direction of a connection; a multiple of two is taken. It is used as far as it " ..
      "is written to" },
  max_message,
  { "max_requests", types.integer(1, 1 << 30), default = 1024,
    doc = "requests of one client that are taken and not answered; no more are taken from it until some are" },
} })

options.schemas.connect = schema.new("client", { {
  { "wait", types.seconds(true), default = 0, doc = "seconds to wait for the server where it is not there, or busy" },
  { "reconnect", types.boolean, default = false,
    doc = "looks for the server again when it has ended: the next request connects, and waits for `wait` seconds. " ..
      "Requests that have had no reply are lost all the same" },
  { "ring", ring, default_text = "the server's",
    doc = "bytes of memory for each direction, no more than the server's" },
  max_message,
} })

options.schemas.request = schema.new("request", { {
  { "wait", types.boolean, default = true, doc = "false: where there is no room for the request nothing is sent" },
} })

return options
