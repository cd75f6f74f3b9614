# SPDX-License-Identifier: MIT
"""The log job in processes of multiprocessing: each takes parts of the file, cut at ends of lines."""
import collections
import math
import multiprocessing
import os
import re
import sys

PIECE = 4 << 20
FIELDS = re.compile(rb'"[A-Z]+ (\S+) [^"]*" .* (\d+)$')


def count(first):
    by, bad = collections.defaultdict(list), 0
    with open(sys.argv[1], "rb") as log:
        if first > 0:  # the line that began in the piece before is that one's
            log.seek(first - 1)
            log.readline()
        while log.tell() < first + PIECE:
            lines = log.readlines(min(1 << 16, first + PIECE - log.tell()))
            if not lines:
                break
            for line in lines:
                found = FIELDS.search(line.rstrip(b"\n"))
                if found:
                    by[found[1]].append(int(found[2]))
                else:
                    bad += 1
    return by, bad


def main():
    by, bad = collections.defaultdict(list), 0
    with multiprocessing.Pool(2) as pool:
        for part, wrong in pool.imap(count, range(0, os.path.getsize(sys.argv[1]), PIECE)):
            bad += wrong
            for path, times in part.items():
                by[path].extend(times)
    for path in sorted(by, key=lambda path: (-len(by[path]), path))[:10]:
        times = sorted(by[path])
        print(len(times), times[math.ceil(0.99 * len(times)) - 1], path.decode())
    print("bad", bad)


if __name__ == "__main__":
    main()
