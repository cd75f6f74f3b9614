#!/bin/sh
# count_archive.sh FILE...: what examples/903_debian_archive.lua --no-time prints for these plain Packages files, counted
# with the text tools of the system alone.
set -eu
LC_ALL=C
export LC_ALL
facts=$(mktemp)
trap 'rm -f "$facts"' EXIT

# One line for each fact: "P KiB", "S KiB section", "D name" (once for each record), "M maintainer".
awk '
  BEGIN { RS = ""; FS = "\n" }
  function trimmed(text) { sub(/^[ \t]+/, "", text); return text }
  {
    split("", field); split("", named); name = ""
    for (i = 1; i <= NF; i++) {
      if ($i ~ /^[ \t]/) { field[name] = field[name] "\n" $i; continue }
      colon = index($i, ":")
      name = substr($i, 1, colon - 1)
      field[name] = trimmed(substr($i, colon + 1))
    }
    if (!("Package" in field)) next
    if ("Status" in field && field["Status"] !~ / installed$/) next
    size = field["Installed-Size"] + 0
    print "P\t" size
    print "S\t" size "\t" (("Section" in field) ? field["Section"] : "(none)")
    print "M\t" (("Maintainer" in field) ? field["Maintainer"] : "(none)")
    list = field["Depends"] "," field["Pre-Depends"]
    gsub(/[ \t\n]+/, " ", list)
    n = split(list, parts, /[,|]/)
    for (i = 1; i <= n; i++) {
      part = trimmed(parts[i])
      sub(/[ (:].*$/, "", part)
      if (part != "" && !(part in named)) { named[part] = 1; print "D\t" part }
    }
  }' "$@" > "$facts"

files=files
[ $# -eq 1 ] && files=file
awk -F '\t' -v files="$# $files" '$1 == "P" { n++; kib += $2 }
  END { printf "%s, %d package%s, %.1f MiB installed\n", files, n, n == 1 ? "" : "s", kib / 1024 }' "$facts"

printf '\npackages    size/MiB  section\n'
awk -F '\t' '$1 == "S" { n[$3]++; kib[$3] += $2 }
  END { for (s in n) printf "%8d  %10.1f  %s\n", n[s], kib[s] / 1024, s }' "$facts" | sort -k1,1nr -k3,3

# ranking LETTER: the 20 most frequent facts of a kind.
ranking() {
  sed -n "s/^$1	//p" "$facts" | sort | uniq -c | sort -k1,1nr -k2 | head -n 20 |
    sed 's/^ *\([0-9]*\) /\1	/' | awk -F '\t' '{ printf "%8d  %s\n", $1, $2 }'
}
printf '\npackages  depend on\n'
ranking D
printf '\npackages  maintained by\n'
ranking M
