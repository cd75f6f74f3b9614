--- What must come out of a pipeline: an interpreter of descriptions (generate.lua) that shares nothing with the library
-- but the acts of the handlers. It has one list of items to be handled, and takes a batch for so many batches of one.
--
-- Where a stage runs matters to it in four ways: what is in a worker's hand when it dies is lost together; a worker's
-- death is a crash, which elsewhere is an error; a value with a function in it stays in its process; and one that
-- cannot be loaded leaves it and arrives nowhere.
local acts = require "spec.property.acts"
local values = require "spec.property.values"

local model = {}

local Model = {}
Model.__index = Model

local CRASH <const>, HERE <const> = {}, "coordinator"

-- --- where stages run --------------------------------------------------------------------------------------------

local function find_homes(self)
  for i, s in ipairs(self.d.stages) do
    local context = s.context and self.d.contexts[s.context]
    local home = { key = HERE, per_item = s.fold and context and context.kind == "process_per_batch" }
    local forks = context and (context.kind == "processes" or context.kind == "process_per_batch" or
      context.kind == "cluster")
    if forks and s.kind ~= "batch" and not s.fold then -- what a fold does is done or not for each item, wherever it is
      local own = s.kind == "producer" or context.how == "own" or context.kind == "cluster"
      home = { key = own and "stage " .. i or "context " .. s.context, per_item = context.kind == "process_per_batch" }
      if s.kind == "producer" then home.per_item = false end
    end
    self.home[s.name] = home
  end
  for _, s in ipairs(self.d.stages) do
    local key = s.fold and s.context and "context " .. s.context or self.home[s.name].key
    self.members[key] = (self.members[key] or 0) + 1
  end
end

-- --- keeping account ---------------------------------------------------------------------------------------------

--- The name under which a stage's numbers are kept: those that take turns are counted together.
---@param s table
---@return string
function model.label(s) return s.twin or s.name end

local function put(bag, text)
  bag[text] = (bag[text] or 0) + 1
end

--- The text of an item in a failure or dead letter; functions may have become text there.
---@param d table
---@param item any
---@return string
function model.item_text(d, item)
  if d.functions then return "?" end
  return item == nil and "none" or values.text(item)
end

--- An empty account: what the model fills, and what build.lua fills from a result.
---@param d table
---@return table
function model.account(d)
  local account = { results = {}, failures = {}, collected = {}, counters = {}, stats = {} }
  for _, s in ipairs(d.stages) do
    account.stats[model.label(s)] = { items_in = 0, items_out = 0, failed = 0, retried = 0 }
    if #s.outputs == 0 then account.results[model.label(s)] = {} end
  end
  return account
end

function Model:stats(s) return self.account.stats[model.label(s)] end

local function batched(s) return s.batch or s.takes_batches end

--- Adds a failure to an account, for each of its items where they came in a batch.
---@param account table
---@param d table
---@param s table the stage
---@param kind string
---@param attempts integer
---@param item any
function model.add_failure(account, d, s, kind, attempts, item)
  for _, one in ipairs(batched(s) and item or { item == nil and "none" or item }) do
    put(account.failures, ("%s|%s|%s|%s"):format(model.label(s), kind, batched(s) and "" or attempts,
      item == nil and "none" or model.item_text(d, one)))
  end
end

--- What the dead letters' stage emits for a letter.
---@param d table
---@param letter table
---@return table array of texts
function model.letter_texts(d, letter)
  local s, texts = d.by_name[letter.failure.stage:match "[^.]+$"], {}
  for i, item in ipairs(batched(s) and letter.item or { letter.item }) do
    texts[i] = ("letter %s|%s|%s"):format(model.label(s), letter.failure.kind, model.item_text(d, item))
  end
  return texts
end

function Model:note_size(value)
  if not self.sizes then return end
  local size = #values.text(value) + values.bytes(value)
  self.largest = math.max(self.largest, size)
  return size
end

-- --- settling ----------------------------------------------------------------------------------------------------

function Model:settle(s, kind, item, attempt, no_retry, bytes)
  local stats = self:stats(s)
  if attempt <= (s.retries or 0) and not no_retry then
    stats.retried = stats.retried + 1
    self:later(s, item, attempt + 1, true, bytes)
    return
  end
  stats.failed = stats.failed + 1
  model.add_failure(self.account, self.d, s, kind, attempt, item)
  if s.dead_letter and item ~= nil then
    self:later(self.d.by_name.letters, { item = item, failure = { stage = s.name, kind = kind } }, 1)
  end
end

-- `again`: it goes to the handler at once, past batches and lanes. `bytes`: it comes from another process.
function Model:later(s, item, attempt, again, bytes)
  self.todo[#self.todo + 1] = { s = s, item = item, attempt = attempt, again = again, bytes = bytes }
end

-- --- sending -----------------------------------------------------------------------------------------------------

-- Where what is sent to a stage arrives first: batches are gathered, and items dealt to lanes, by the coordinator.
function Model:entry(s)
  local home = self.home[s.name]
  if s.batch or s.partition and home.key ~= HERE then return HERE, true end
  return home.key, home.per_item
end

-- Sends out of the coordinator, to the targets of one emission: what cannot go to a pool is a failure of the sender's.
function Model:send_here(s, item, targets, bytes)
  local refused = false
  for _, target in ipairs(targets) do
    local key, keeps = self:entry(target)
    if key ~= HERE and not keeps and values.holds_function(item) then refused = true
    else self:later(target, item, 1, false, bytes) end
  end
  if refused then self:settle(s, "unserialisable", item, 1, true) end
end

function Model:terminal(s, item)
  put(self.account.results[model.label(s)], values.text(item))
end

-- A result that comes from another process.
function Model:arrive(s, item)
  if values.is_lost(item) then return self:settle(s, "unserialisable", item, 1, true) end
  self:terminal(s, item)
end

-- The targets of what is emitted: array of arrays, one for each sending that the library counts.
local function targets_of(self, s, item)
  local d = self.d
  if s.route == "round_robin" then return { { d.by_name[s.outputs[1]] } } end
  local names, list = s.outputs, {}
  if s.route == "function" then
    names = acts.route(s, item)
    for i, name in ipairs(type(names) == "table" and names or { names }) do
      list[i] = { d.by_name[name] or error({ kind = "error" }) }
    end
    return list
  end
  list[1] = {}
  for i, name in ipairs(names) do list[1][i] = d.by_name[name] end
  return list
end

-- --- handling ----------------------------------------------------------------------------------------------------

-- Calls the handler: a list of what it does; raises { kind = } or CRASH.
local function call(self, s, item, attempt, in_worker)
  local log = {}
  self.calls = self.calls + 1
  item = values.copy(item) -- no other stage sees what the handler does to it
  local function add(kind, what, ...) log[#log + 1] = { kind, what, ... } end
  local alone = in_worker and self.members[self.home[s.name].key] == 1
  local function check(value) -- a stage that is alone in its worker emits straight into a block
    if alone and values.holds_function(value) then error({ kind = "unserialisable" }) end
  end
  local world = {
    attempt = attempt,
    emit = function(value)
      if #s.outputs == 0 then
        check(value)
        return add("emit", values.copy(value), {})
      end
      local known, lists = pcall(targets_of, self, s, value)
      if not known and s.kind == "producer" then return add("lost", values.copy(value)) end
      if not known then error(lists, 0) end
      if lists[1] then check(value) end
      for _, targets in ipairs(lists) do add("emit", values.copy(value), targets) end
    end,
    to = function(name, value)
      check(value)
      add("to", values.copy(value), { self.d.by_name[name] })
    end,
    collect = function(name, value)
      if in_worker and values.holds_function(value) then error({ kind = "unserialisable" }) end
      add("collect", name, values.copy(value))
    end,
    count = function(name, n) add("count", name, n) end,
    sleep = function() end,
    fail = function() error({ kind = "error" }) end,
    die = function() error(in_worker and CRASH or { kind = "error" }) end,
  }
  if s.letters then
    for _, text in ipairs(model.letter_texts(self.d, item)) do world.emit(text) end
  elseif s.batch or s.takes_batches then
    acts.handle_batch(s, item, world)
  else
    acts.handle(s, item, world)
  end
  if s.kind == "stage" and self.d.faults == 0 then world.count("after loops", 1) end
  if s.fold then self.folds[s.name] = self.folds[s.name] + values.chance(s.salt, item, 1000) end
  return log
end

function Model:effect(entry)
  local kind, name, value = entry[1], entry[2], entry[3]
  if kind == "count" then
    self.account.counters[name] = (self.account.counters[name] or 0) + value
  elseif kind == "collect" then
    self.account.collected[name] = self.account.collected[name] or {}
    put(self.account.collected[name], values.text(value))
  end
end

-- The same, of a handler in another process.
function Model:effect_away(s, entry)
  if entry[1] == "collect" and values.is_lost(entry[3]) then
    return self:settle(s, "unserialisable", entry[3], 1, true)
  end
  self:effect(entry)
end

-- What a handler has done, in the coordinator.
function Model:pass_on(s, log)
  local stats = self:stats(s)
  for _, entry in ipairs(log) do
    local kind, value, targets = entry[1], entry[2], entry[3]
    if kind == "emit" or kind == "to" then
      stats.items_out = stats.items_out + 1
      if #targets == 0 and kind == "emit" and #s.outputs == 0 then self:terminal(s, value)
      else self:send_here(s, value, targets) end
    else
      self:effect(entry)
    end
  end
end

function Model:handle_here(s, item, attempt)
  local ok, log = pcall(call, self, s, item, attempt, false)
  if ok then return self:pass_on(s, log) end
  if type(log) ~= "table" then error(log, 0) end
  self:settle(s, log.kind, item, attempt)
end

-- An item in a worker, with everything that it becomes before it leaves the worker: all of it or nothing.
function Model:handle_away(s, item, attempt, key)
  local commit, bytes = {}, 0
  local function run(stage, value, nth, inner)
    local ok, log = pcall(call, self, stage, value, nth, true)
    if not ok then
      if log == CRASH or not log.kind then error(log, 0) end
      commit[#commit + 1] = function()
        self:settle(stage, log.kind, value, nth, inner and values.holds_function(value), inner)
      end
      return
    end
    local refused = {}
    for i, entry in ipairs(log) do
      local inside = entry[1] == "emit" and self:inside(key, entry[3])
      local leaves = entry[1] == "to" or entry[1] == "emit" and (inside == 0 or inside < #entry[3])
      if leaves or entry[1] == "collect" then bytes = bytes + (self:note_size(entry[leaves and 2 or 3]) or 0) end
      if leaves and values.holds_function(entry[2]) then refused[i] = true end
    end
    for i, entry in ipairs(log) do
      local kind, emitted, targets = entry[1], entry[2], entry[3]
      if kind == "emit" or kind == "to" then
        local outside = {}
        for _, target in ipairs(targets) do
          if kind == "to" or self:entry(target) ~= key then outside[#outside + 1] = target end
        end
        commit[#commit + 1] = function()
          self:stats(stage).items_out = self:stats(stage).items_out + 1
          if refused[i] then return self:settle(stage, "unserialisable", emitted, 1, true) end
          if #stage.outputs == 0 and kind == "emit" then self:arrive(stage, emitted) end
          for _, target in ipairs(outside) do self:later(target, emitted, 1, false, true) end
        end
        for _, target in ipairs(targets) do
          if kind == "emit" and self:entry(target) == key then
            commit[#commit + 1] = function() self:stats(target).items_in = self:stats(target).items_in + 1 end
            run(target, emitted, 1, true)
          end
        end
      else
        commit[#commit + 1] = function() self:effect_away(stage, entry) end
      end
    end
  end
  local ok, err = pcall(run, s, item, attempt, false)
  self.most_bytes = math.max(self.most_bytes, bytes)
  if not ok then
    if err ~= CRASH then error(err, 0) end
    self.deaths = self.deaths + 1
    return self:settle(s, "crash", item, attempt)
  end
  for _, f in ipairs(commit) do f() end
end

-- How many of the targets are in the same worker.
function Model:inside(key, targets)
  local n = 0
  for _, target in ipairs(targets) do
    if self:entry(target) == key then n = n + 1 end
  end
  return n
end

function Model:step(entry)
  local s, item = entry.s, entry.item
  local home = self.home[s.name]
  self:note_size(item)
  local loaded = entry.bytes or home.key ~= HERE and not home.per_item
  if loaded and values.is_lost(item) then
    if not entry.again then self:stats(s).items_in = self:stats(s).items_in + 1 end
    return self:settle(s, "unserialisable", item, entry.attempt, true)
  end
  if home.per_item then self.forks = self.forks + 1 end
  if entry.again then
    if home.key == HERE then return self:handle_here(s, item, entry.attempt) end
    return self:handle_away(s, item, entry.attempt, home.key)
  end
  self:stats(s).items_in = self:stats(s).items_in + 1
  if s.batch then
    item = { item }
    if not s.handler then
      if #s.outputs == 0 then return self:terminal(s, item[1]) end
      for _, targets in ipairs(targets_of(self, s, item)) do self:send_here(s, item, targets) end
      return
    end
  end
  if home.key == HERE then return self:handle_here(s, item, entry.attempt) end
  if self:entry(s) == HERE and not home.per_item and values.holds_function(item) then
    return self:settle(s, "unserialisable", item, 1, true)
  end
  self:handle_away(s, item, entry.attempt, home.key)
end

-- --- producers ---------------------------------------------------------------------------------------------------

-- What a producer has done is done; an item that cannot be sent is a failure of its own.
function Model:produce(s)
  local home = self.home[s.name]
  local away = home.key ~= HERE
  local function send(log)
    for _, entry in ipairs(log) do
      local kind, value, targets = entry[1], entry[2], entry[3]
      if kind == "lost" then
        self:settle(s, "error", value, 1, true)
      elseif kind ~= "emit" and kind ~= "to" then
        if away then self:effect_away(s, entry) else self:effect(entry) end
      elseif home.key ~= HERE and values.holds_function(value) then
        self:settle(s, "unserialisable", value, 1, true)
      else
        self:stats(s).items_out = self:stats(s).items_out + 1
        if kind == "emit" and #s.outputs == 0 then
          if away then self:arrive(s, value) else self:terminal(s, value) end
        else
          self:send_here(s, value, targets, away)
        end
      end
    end
  end
  for i, item in ipairs(s.items) do
    if s.ends and i > s.ends.after then break end
    send(call(self, s, item, 1, false))
  end
  if not s.ends then return end
  local crash = s.ends.how ~= "fail" and home.key ~= HERE
  self:settle(s, crash and "crash" or "error", nil, 1, true)
end

--- Interprets a description.
---@param d table
---@param most integer? handlers' calls after which it gives up
---@param sizes boolean? whether to measure items
---@return table? account what must come out; nil: it is too much
---@return table model
--- `calls`, `forks`, `deaths`, `largest` and `most_bytes` (of what one item becomes in a worker), `home` and `members`:
--- how many stages there are where each stage runs
function model.run(d, most, sizes)
  local self = setmetatable({
    d = d, account = model.account(d), home = {}, members = {}, todo = {}, folds = {}, calls = 0, forks = 0, deaths = 0,
    largest = 0, most_bytes = 0, sizes = sizes,
  }, Model)
  find_homes(self)
  for _, s in ipairs(d.stages) do
    if s.kind == "producer" then self:produce(s) end
  end
  local at, folds = 1, {}
  for _, s in ipairs(d.stages) do
    if s.fold then folds[#folds + 1], self.folds[s.name] = s, 0 end
  end
  while self.todo[at] or folds[1] do
    if self.todo[at] then
      self:step(self.todo[at])
      self.todo[at] = false
      at = at + 1
    else
      local s, targets = table.remove(folds, 1), {}
      for i, name in ipairs(s.outputs) do targets[i] = d.by_name[name] end
      self:pass_on(s, { { "emit", self.folds[s.name], targets } })
    end
    if most and self.calls > most then return nil, self end
  end
  return self.account, self
end

return model
