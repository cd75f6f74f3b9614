--- Nested pipelines in descriptions: neighbouring stages that say the same `nest`, a number. What is nested must be
-- such that edges of the whole mean the same: it has one entry, and its exits all send to the same stages.
local nests = {}

--- What a nested pipeline is called.
---@param number integer
---@return string
function nests.name(number) return "nest " .. number end

--- The nested pipeline that begins with a stage of a description, if it can be one.
---@param d table
---@param first integer number of its first stage
---@return integer? last number of its last stage; nil: its stages are to be defined as they are
---@return table? outputs names of the stages after it
function nests.at(d, first)
  local number, last = d.stages[first].nest, first
  if not number or first > 1 and d.stages[first - 1].nest == number then return nil end
  while d.stages[last + 1] and d.stages[last + 1].nest == number do last = last + 1 end
  local inside, entered, exits = {}, {}, nil
  for i = first, last do
    local s = d.stages[i]
    inside[s.name] = true
    if s.kind == "producer" or s.letters or s.await or s.twin and (i == first or s.nest == nil) then return nil end
  end
  for i, s in ipairs(d.stages) do
    local within = i >= first and i <= last
    if not within and s.nest == number then return nil end
    local inner = 0
    for _, name in ipairs(s.outputs) do
      if inside[name] then
        inner = inner + 1
        entered[name] = true
        if within == (name == d.stages[first].name) or not within and s.route then return nil end
      end
    end
    if within and inner < #s.outputs or within and #s.outputs == 0 then
      local list = table.concat(s.outputs, " ")
      if inner > 0 or s.route or exits and exits ~= list then return nil end
      exits = list
    end
    local group = s.context and d.contexts[s.context].how == "group"
    for k = first, last do
      if group and not within and d.stages[k].context == s.context then return nil end
    end
  end
  for name in pairs(inside) do
    if not entered[name] then return nil end
  end
  local outputs = {}
  for name in (exits or ""):gmatch "%S+" do outputs[#outputs + 1] = name end
  return last, outputs
end

--- Nests some of the stages.
---@param d table a description, changed
---@param draw function
function nests.choose(d, draw)
  for _, s in ipairs(d.stages) do s.nest = nil end
  for number = 1, draw(3) - 1 do
    for _ = 1, 6 do
      local first = draw(#d.stages)
      local last, free = math.min(first + draw(4) - 1, #d.stages), true
      for i = first, last do free = free and not d.stages[i].nest end
      for i = free and first or last + 1, last do d.stages[i].nest = number end
      if free and nests.at(d, first) then break end
      for i = free and first or last + 1, last do d.stages[i].nest = nil end
    end
  end
end

--- The names that stages have in the pipeline that is made: those of nested ones say where they are.
---@param d table
---@return table from name in the description to name, by which emit:to finds them too
function nests.names(d)
  local names, at = {}, 1
  while at <= #d.stages do
    local last = nests.at(d, at)
    for i = at, last or at do
      names[d.stages[i].name] = d.stages[i].name
      if last then names[d.stages[i].name] = nests.name(d.stages[at].nest) .. "." .. d.stages[i].name end
    end
    at = (last or at) + 1
  end
  return names
end

return nests
