--- What handlers of the property test may do: one row for each. A stage has a list of acts `{ row, salt, one_in }`; an
--- act is done for the items that chance picks, which depends on the item alone. So a handler does the same in every
--- context and in every attempt, and the model (model.lua) interprets the same rows.
--
-- A row has a `weight` and `act(world, item, act)`. `world` is the library's side as a handler sees it, or the model's:
-- emit(v), to(name, v), collect(name, v), count(name, n), sleep(seconds), fail(error), die(how), and `attempt`.
local values = require "spec.property.values"

local acts = {}

-- How far an item may still go back: what is emitted for one that went back says how often that was.
local function again(item)
  return type(item) == "table" and rawget(item, "back") or 0
end

local function marked(item, value)
  local back = again(item)
  if back == 0 then return value end
  return { back = back, value }
end

--- What is emitted.
acts.emissions = {
  same = { weight = 6, act = function(w, item) w.emit(item) end },
  wrapped = { weight = 2, act = function(w, item) w.emit { back = again(item), w = item } end },
  text = { weight = 2, act = function(w, item, act)
    w.emit(marked(item, "t" .. values.chance(act.salt, item, 1000)))
  end },
  number = { weight = 1, act = function(w, item, act) w.emit(marked(item, values.chance(act.salt, item, 100))) end },
  falsehood = { weight = 1, act = function(w, item) w.emit(marked(item, false)) end },
  large = { weight = 1, act = function(w, item, act)
    w.emit(marked(item, ("L"):rep(values.chance(act.salt, item, act.limit))))
  end },
  doubled = { weight = 1, own = true, act = function(w, item)
    w.emit(item)
    w.emit(item)
  end },
  changed = { weight = 2, own = true, act = function(w, item, act)
    -- One that went back may be the first table of its stage, after hundreds of calls: see how-it-works, what differs.
    if type(item) == "table" and again(item) == 0 then item.changed = (item.changed or 0) + act.salt % 7 end
    w.emit(item)
  end },
  refilled = { weight = 2, own = true, act = function(w, item)
    local record = { back = again(item), deep = {} }
    for i = 1, 2 do
      record.n, record.deep.n = i, -i
      w.emit(record)
    end
    record.deep.n = "later"
  end },
  shared = { weight = 1, own = true, act = function(w, item)
    local deep = { item }
    w.emit { back = again(item), deep = deep }
    deep[2] = "later"
    w.emit { back = again(item), deep = deep }
  end },
  many = { weight = 1, act = function(w, item, act)
    for i = 1, values.chance(act.salt, item, 5) do w.emit(marked(item, i)) end
  end },
}

--- What else is done, before anything is emitted or after it.
acts.others = {
  collect = { weight = 3, act = function(w, item, act) w.collect("seen " .. act.salt % 2, item) end },
  count = { weight = 3, act = function(w, item, act)
    w.count("n" .. act.salt % 2, values.chance(act.salt, item, 10))
  end },
  sleep = { weight = 1, act = function(w) w.sleep(0.002) end },
  to = { weight = 4, needs = "sends", act = function(w, item, act) w.to(act.target, item) end },
  back = { weight = 2, needs = "returns", act = function(w, item, act)
    if again(item) < 2 then w.to(act.target, { back = again(item) + 1, item }) end
  end },
}

-- What is raised: none of it is anything else than a failure of its item.
local objects = {
  function(item) return { code = 5, item } end,
  function() return setmetatable({}, { __index = function() error "strict" end, __name = 7, __metatable = 1 }) end,
  function() return setmetatable({}, { __tostring = function() error "again" end }) end,
  function() return setmetatable({}, { __index = function() return true end }) end,
  function() return "interrupted!" end,
  function() return print end,
  function() return nil end,
}

--- What is done to the item, and so to what was emitted, when all is emitted: no other stage may see it. `own`, here
--- and above:
-- not where a function returns what is to be emitted, as that is over then.
acts.spoils = {
  spoil = { weight = 1, own = true, act = function(w, item)
    if type(item) ~= "table" then return end
    for key, inner in next, item do
      if type(inner) == "table" and inner ~= item then inner.spoilt = true else item[key] = 0 end
    end
    item.spoilt = w.attempt
  end },
}

--- How it fails. `deaths`: attempts that die in a worker.
acts.faults = {
  error = { weight = 3, act = function(w) w.fail "always" end },
  object = { weight = 2, act = function(w, item, act)
    w.fail(objects[values.chance(act.salt + 1, item, #objects) + 1](item))
  end },
  once = { weight = 3, act = function(w) if w.attempt == 1 then w.fail "once" end end },
  twice = { weight = 1, act = function(w) if w.attempt <= 2 then w.fail "twice" end end },
  kill = { weight = 1, deaths = true, act = function(w) w.die "kill" end },
  kill_once = { weight = 1, deaths = true, act = function(w) if w.attempt == 1 then w.die "kill" end end },
  exit = { weight = 1, deaths = true, act = function(w) w.die "exit" end },
  exit_once = { weight = 1, deaths = true, act = function(w) if w.attempt == 1 then w.die "exit" end end },
  unserialisable = { weight = 1, functions = true, act = function(w, item)
    w.emit { f = print, back = again(item), item }
  end },
  unloadable = { weight = 1, functions = true, act = function(w, item)
    w.emit { f = values.unloadable, back = again(item), item }
  end },
}

acts.rows = {}
for _, group in ipairs { acts.emissions, acts.others, acts.spoils, acts.faults } do
  for name, row in pairs(group) do acts.rows[name] = row end
end

--- Does what a stage does with an item.
---@param stage table of a description
---@param item any
---@param world table
function acts.handle(stage, item, world)
  values.text(item) -- which chance goes by from now on, whatever becomes of the item
  for _, act in ipairs(stage.acts) do
    if act.one_in == 1 or values.chance(act.salt, item, act.one_in) == 0 then
      acts.rows[act.row].act(world, item, act)
    end
  end
  values.forget(item)
end

--- The same for a batch: its members one by one. A batch fails as a whole, so what makes it fail must not depend on
--- which items are in it: on its key, which all share, or on nothing.
---@param stage table
---@param batch table
---@param world table
function acts.handle_batch(stage, batch, world)
  if stage.batch_fault then
    local fault = stage.batch_fault
    if not fault.by or values.chance(fault.salt, acts.key(fault.by, batch[1]), fault.one_in) == 0 then
      acts.rows[fault.row].act(world, batch, fault)
    end
  end
  for _, item in ipairs(batch) do acts.handle(stage, item, world) end
end

--- The key of an item for `by` and `partition`.
---@param salt integer
---@param item any
---@return any
function acts.key(salt, item)
  local n = values.chance(salt, values.copy(item), 5) -- as it is now: a table that is filled again is another item
  return ({ [0] = false, "a", 2, 2.5, "bb" })[n]
end

--- The targets that a `route` function gives: a name, several, none, or one that is no target.
---@param stage table
---@param item any
---@return string|table
function acts.route(stage, item)
  local outputs = stage.outputs
  local n = values.chance(stage.salt + 1, values.copy(item), 8)
  if n == 0 then return outputs end
  if n == 1 then return {} end
  if n == 2 and stage.bad_route then return "nowhere" end
  return outputs[n % #outputs + 1]
end

return acts
