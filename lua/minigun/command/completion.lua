--- `minigun completion SHELL`: prints what makes a shell complete the command's words.
local parser = require "minigun.command.parser"
local verbs = require "minigun.command.verbs"

local METHOD <const> = { bash = "get_bash_complete", zsh = "get_zsh_complete", fish = "get_fish_complete" }

return {
  name = "completion",
  summary = "print the completion of a shell: bash, zsh or fish",
  arguments = { { "SHELL", "bash, zsh or fish", choices = { "bash", "zsh", "fish" } } },
  examples = {
    { "minigun completion bash > ~/.local/share/bash-completion/completions/minigun", "for every new bash" },
    { "minigun completion zsh > ~/.zfunc/_minigun", "for zsh, where ~/.zfunc is in $fpath" },
    { "minigun completion fish > ~/.config/fish/completions/minigun.fish", "for fish" },
  },
  run = function(given)
    local all = parser.of_all(verbs)
    io.stdout:write(all[METHOD[given.shell]](all))
    return 0
  end,
}
