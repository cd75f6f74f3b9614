# SPDX-License-Identifier: MIT
"""What bench/executors.lua measures, by concurrent.futures.

usage: futures.py processes|threads hot|cold|futures|map ITEMS WORKERS"""
import concurrent.futures
import sys
import time

kind, what, n, workers = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


def work(x):
    return x


def main():
    make = concurrent.futures.ProcessPoolExecutor if kind == "processes" else concurrent.futures.ThreadPoolExecutor
    with make(workers) as pool:
        for i in range(100):
            pool.submit(work, i).result()
        if what in ("hot", "cold"):
            times = []
            for i in range(n):
                if what == "cold":
                    time.sleep(0.001)
                start = time.perf_counter()
                pool.submit(work, i).result()
                times.append(time.perf_counter() - start)
            times.sort()
            print("p50_us=%.3f p99_us=%.3f" % (times[n // 2] * 1e6, times[n * 99 // 100] * 1e6))
            return
        start = time.perf_counter()
        if what == "futures":
            for i, future in enumerate([pool.submit(work, i) for i in range(n)]):
                assert future.result() == i
        else:
            assert len(list(pool.map(work, range(n)))) == n
        print("rate=%.0f" % (n / (time.perf_counter() - start)))


if __name__ == "__main__":
    main()
