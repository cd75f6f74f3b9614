--- `minigun graph FILE`: draws the pipelines of a program, without running them.
local drawing = require "minigun.command.drawing"
local dry_run = require "minigun.command.dry_run"
local status = require "minigun.command.status"

local graph = {
  name = "graph",
  summary = "draw a file's pipelines, without running them",
  about = [[
    Runs FILE until it would run its first pipeline, or to its end, and prints a drawing of that pipeline, or of
    all that it has defined. Contexts and nested pipelines are frames. Mistakes go to standard error, as from
    check.]],
  options = {
    { "--format", "FORMAT", "text (the default), ascii, dot (Graphviz), mermaid, svg, json",
      choices = { "text", "ascii", "dot", "mermaid", "svg", "json" } },
  },
  arguments = { { "FILE", "the program" } },
  rest = true,
  examples = { { "minigun graph --format dot job.lua | dot -Tsvg > job.svg", "a picture" } },
}

---@param given table
---@return integer status
function graph.run(given)
  local found = dry_run.load(given.rest)
  for _, text in ipairs(found.mistakes) do io.stderr:write("minigun: ", text, "\n") end
  local list = found.run and { found.run } or found.pipelines
  if not list[1] then
    status.complain(("graph: %s defines no pipeline"):format(given.rest[1]), status.FAILED)
  end
  for _, p in ipairs(list) do
    local draw = drawing[given.format]
    print(draw and draw(drawing.describe(p)) or tostring(p))
  end
  return found.mistakes[1] and status.REFUSED or status.DONE
end

return graph
