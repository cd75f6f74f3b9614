--- Mutants that change nothing a test could tell, each with the reason: file (its name alone, files move), the line
-- before and after. Whatever is here was looked at one by one; it is counted apart from those that survive.

return {
}
