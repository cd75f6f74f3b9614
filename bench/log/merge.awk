# SPDX-License-Identifier: MIT
# Adds up counts of paths and times; prints the ten paths with most requests, and their 99th percentiles.
$1 == "bad" { bad += $2; next }
{
  counts[$1, $2] += $3
  total[$1] += $3
  if ($2 > most) most = $2
}
END {
  for (i = 1; i <= 10; i++) {
    best = ""
    for (path in total)
      if (best == "" || total[path] > total[best] || (total[path] == total[best] && path < best)) best = path
    wanted = 0.99 * total[best]
    for (ms = 0; seen < wanted && ms <= most; ms++) seen += counts[best, ms]
    print total[best], ms - 1, best
    seen = 0
    delete total[best]
  }
  print "bad", bad
}
