std = "lua54"
max_line_length = 120
cache = false
self = false                                    -- a method that does not use its self is still a method
exclude_files = { "build*", "library" }     -- library: made by docs/generate.lua, bodies are empty

files["spec"] = { std = "+busted" }
files["*.rockspec"] = { std = "+rockspec" }
files[".luacheckrc"] = { std = "+luacheckrc" }
