-- Runs busted with the words of the command line: what `minigun busted` starts for each spec file.
require "busted.runner" { standalone = false }
