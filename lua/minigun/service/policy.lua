--- Decisions of a service: values in, values out. No socket, no clock.
local failure = require "minigun.base.failure"

local policy = {}

-- --- who is let in -----------------------------------------------------------------------------------------------

--- What is said to a client that would like to attach.
---@param peer table `pid`, `uid`, `gid`
---@param server table `uid` of its own; `clients` attached, `most`; `allow`, or nil; `own_user_only`
---@return "busy"|"refused"|nil status nil: it is welcome
---@return string? text for the client
function policy.turns_away(peer, server)
  if server.clients >= server.most then
    return "busy", ("the server has %s already, and takes no more (max_clients)"):format(
      failure.count(server.clients, "client"))
  end
  if server.allow then
    local allowed, why = server.allow(peer)
    if allowed then return nil end
    return "refused", type(why) == "string" and why or
      ("the server does not let in user %d (process %d)"):format(peer.uid, peer.pid)
  end
  if server.own_user_only and peer.uid ~= server.uid and peer.uid ~= 0 then
    return "refused", ("the server is of user %d, and lets in no other; this is user %d"):format(server.uid, peer.uid)
  end
end

-- --- failures on their way ---------------------------------------------------------------------------------------

local SENT <const> = { "kind", "message", "stage", "traceback", "attempts", "worker", "pid", "signal", "code",
  "partial" }
local TEXTS <const> = { message = true, stage = true, traceback = true }

--- What a client hears of a failure.
---@param record table
---@return table fields that can be sent
function policy.sent(record)
  local fields = {}
  for _, name in ipairs(SENT) do fields[name] = record[name] end
  return fields
end

--- A failure that a server has sent, whatever it has sent.
---@param fields any
---@return minigun.Failure record
function policy.received(fields)
  local known = { kind = "error", message = "the server says that the request has failed" }
  if type(fields) == "table" then
    for _, name in ipairs(SENT) do
      local value = fields[name]
      if TEXTS[name] and type(value) == "string" or not TEXTS[name] and math.type(value) == "integer" then
        known[name] = value
      end
    end
    if failure.kinds[fields.kind] then known.kind = fields.kind end
    if fields.partial == true then known.partial = true end
  end
  return failure.new(known)
end

-- --- waiting -----------------------------------------------------------------------------------------------------

local SPIN_MOST <const>, SPIN_LEAST <const> = 50e-6, 2e-6 -- seconds
local AGAIN <const> = 16                                  -- rests without a spin before it is tried again

--- How long to look at several connections before a rest: as long as that pays (src/core/event.h has the same for one).
---@param own table `budget`, seconds; `skipped`
---@return number seconds 0: not now
function policy.spin(own)
  if own.budget >= SPIN_LEAST then return own.budget end
  own.skipped = own.skipped + 1
  if own.skipped < AGAIN then return 0 end
  own.skipped, own.budget = 0, SPIN_MOST
  return own.budget
end

--- Learns from a spin.
---@param own table
---@param found boolean
function policy.spun(own, found)
  own.budget = found and math.min(SPIN_MOST, own.budget * 2) or own.budget / 2
end

--- The state of a new spinner.
---@return table own
function policy.new_spin() return { budget = SPIN_MOST, skipped = 0 } end

return policy
