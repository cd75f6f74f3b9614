# SPDX-License-Identifier: MIT
# A part of the log: counts of each path and time, for merge.awk.
$6 ~ /^"[A-Z]+$/ && $NF ~ /^[0-9]+$/ { counts[$7 " " $NF]++; next }
{ bad++ }
END {
  for (key in counts) print key, counts[key]
  print "bad", bad + 0
}
