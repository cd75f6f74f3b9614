--- `minigun version`.
return {
  name = "version",
  summary = "print the version",
  run = function()
    print("minigun " .. require("minigun").version)
    return 0
  end,
}
