# SPDX-License-Identifier: MIT
"""Python's multiprocessing by its public interface.

usage: python3 bench/peers/python_mp.py WORKLOAD [VARIANT] [ITEMS]     S1_64 is point 64 of S1
Variants: imap (Pool.imap, one item at a time), map (Pool.map with its own chunks), pipe (two Processes and
Pipes with lists made by hand).
"""
import functools
import glob
import itertools
import multiprocessing as mp
import multiprocessing.connection
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor

DEPTH = 2  # chunks inside a hand-made worker
CHUNK = {"W1": 5000, "W2": 200}
now = time.monotonic


def square(x):
    return (x * x) % 7919


def record(i):
    return {"id": i, "name": "user%d" % i, "tags": ["a", "b", "c"], "score": i * 0.5}


def mark(r):
    r["ok"] = True
    return r


def length(blob):
    return len(blob)


def same(value):
    return value


def burn(loops):
    a = 1
    for _ in range(loops):
        a = (a * 1103515245 + 12345) % 2147483648
    return a


def square_then_die(pair):
    x, victim = pair
    if x == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    return (x * x) % 7919


def square_list(xs):
    return [(x * x) % 7919 for x in xs]


def mark_list(rs):
    for r in rs:
        r["ok"] = True
    return rs


def report(**figures):
    print(" ".join("%s=%s" % (k, ("%.6f" % v) if isinstance(v, float) else v) for k, v in sorted(figures.items())))


def rate(items, seconds, cpu, ok, **more):
    report(items=items, seconds=seconds, rate=items / seconds, cpu_before=cpu, ok=int(ok), **more)


def serve(connection, handler):
    """A hand-made worker: a list in, a list out, until None."""
    for chunk in iter(connection.recv, None):
        connection.send(handler(chunk))


def through_pipes(handler, chunks, take):
    """Two hand-made workers. A few chunks are in a worker at a time, fewer than fill the socket's buffer: with more
    both sides could block in send for ever."""
    workers = []
    for _ in range(2):
        ours, theirs = mp.Pipe()
        process = mp.Process(target=serve, args=(theirs, handler))
        process.start()
        workers.append((ours, process))
    inside = {ours: 0 for ours, _ in workers}
    chunks = iter(chunks)
    for ours in [ours for ours, _ in workers] * DEPTH:
        for chunk in chunks:
            ours.send(chunk)
            inside[ours] += 1
            break
    while any(inside.values()):
        for ours in mp.connection.wait([c for c, n in inside.items() if n]):
            result = ours.recv()
            inside[ours] -= 1
            for chunk in chunks:
                ours.send(chunk)
                inside[ours] += 1
                break
            take(result)
    for ours, process in workers:
        ours.send(None)
        process.join()


def pieces(iterator, size):
    chunk = []
    for x in iterator:
        chunk.append(x)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def pool_results(pool, variant, function, inputs):
    return pool.map(function, inputs) if variant == "map" else pool.imap(function, inputs)


def w1(items, variant):
    items = items or 1000000
    total = [0]
    expected = sum((x * x) % 7919 for x in range(1, items + 1))
    cpu, start = time.process_time(), now()
    if variant == "pipe":
        def add(ys):
            total[0] += sum(ys)
        through_pipes(square_list, pieces(range(1, items + 1), CHUNK["W1"]), add)
    else:
        with mp.Pool(2) as pool:
            total[0] = sum(pool_results(pool, variant, square, range(1, items + 1)))
            pool.close()
            pool.join()
    rate(items, now() - start, cpu, total[0] == expected)


def w2(items, variant):
    items = items or 100000
    count = [0]
    cpu, start = time.process_time(), now()
    records = (record(i) for i in range(1, items + 1))
    if variant == "pipe":
        def take(rs):
            count[0] += sum(1 for r in rs if r["ok"])
        through_pipes(mark_list, pieces(records, CHUNK["W2"]), take)
    else:
        with mp.Pool(2) as pool:
            count[0] = sum(1 for r in pool_results(pool, variant, mark, records) if r["ok"])
            pool.close()
            pool.join()
    rate(items, now() - start, cpu, count[0] == items)


def w3(items, function, good):
    items = items or 1000
    blob = b"x" * (1 << 20)
    cpu, start = time.process_time(), now()
    with mp.Pool(2) as pool:
        count = sum(1 for r in pool.imap(function, (blob for _ in range(items))) if good(r))
        pool.close()
        pool.join()
    rate(items, now() - start, cpu, count == items)


def loops_per_ms():
    """By processor time: the fastest of seven tries, since noise only slows."""
    def once():
        start = time.process_time()
        burn(200000)
        return time.process_time() - start
    return 200 / min(once() for _ in range(7))


def tasks(items, uneven):
    per_ms, seed, out = int(loops_per_ms()), 42, []
    for i in range(1, items + 1):
        ms = 1.0
        if uneven == "two":
            ms = 30.0 if i > items // 2 and i % 50 == 0 else 0.05
        elif uneven:
            seed = (seed * 1103515245 + 12345) % 2147483648
            ms = min(10.0, 0.1 * 2147483648 / (seed + 1))
        out.append(max(1, int(ms * per_ms)))
    return out


def timed(function, *arguments):
    start = now()
    function(*arguments)
    return now() - start


def w4(items, variant, uneven):
    items = items or 2000
    loops = tasks(items, uneven)
    serial = timed(lambda: [burn(n) for n in loops])
    cpu, start = time.process_time(), now()
    if variant == "futures":
        with ProcessPoolExecutor(2) as pool:
            done = sum(1 for _ in pool.map(burn, loops))
    else:
        with mp.Pool(2) as pool:
            done = sum(1 for _ in pool_results(pool, variant, burn, loops))
            pool.close()
            pool.join()
    seconds = now() - start
    rate(items, seconds, cpu, done == items, speedup=serial / seconds)


def resident_mb():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1048576


def make_heap(megabytes):
    heap = []
    while resident_mb() < megabytes:
        for _ in range(1000):
            n = len(heap)
            heap.append({"id": n, "name": "name of entry %d" % n})
    return heap


def w5(items, megabytes):
    """os.fork for each batch, one pipe for all results, at most two children alive."""
    items = items or 500
    heap = make_heap(megabytes)
    reader, writer = os.pipe()
    total, alive = 0, 0

    def collect():
        pid, value = map(int, os.read(reader, 32).split())
        os.waitpid(pid, 0)
        return value

    cpu, start = time.process_time(), now()
    for b in range(items):
        batch = list(range(b * 100 + 1, b * 100 + 101))
        if alive == 2:
            total += collect()
            alive -= 1
        if os.fork() == 0:
            os.write(writer, (b"%d %d" % (os.getpid(), sum(batch))).ljust(32))
            os._exit(0)
        alive += 1
    for _ in range(alive):
        total += collect()
    n = items * 100
    rate(items, now() - start, cpu, total == n * (n + 1) // 2 and len(heap) > 0)
    sys.stdout.flush()
    os._exit(0)


def w5_memory():
    heap = make_heap(500)
    cpu = time.process_time()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        value = sum(heap[i]["id"] + len(heap[i]["name"]) for i in range(0, len(heap), 100))
        os.write(writer, b"%.3f %d" % (sum_of_lines("/proc/self/smaps_rollup", "Private_") / 1024, value))
        os._exit(0)
    os.waitpid(pid, 0)
    report(items=1, private_mb=float(os.read(reader, 64).split()[0]), cpu_before=cpu, ok=1)
    sys.stdout.flush()
    os._exit(0)


def w6():
    cpu = time.process_time()
    times = sorted(timed(pool_once, 2) for _ in range(20))
    report(items=20, ms=times[10] * 1000, cpu_before=cpu, ok=1)


def w7(items, variant, cold=False):
    items = items or (500 if cold else 10000)
    times, cpu = [], time.process_time()
    if variant == "pipe":
        ours, theirs = mp.Pipe()
        process = mp.Process(target=serve, args=(theirs, square))
        process.start()
        for i in range(1, items + 1):
            if cold:
                time.sleep(0.001)
            start = now()
            ours.send(i)
            ours.recv()
            times.append(now() - start)
        ours.send(None)
        process.join()
    else:
        with mp.Pool(1) as pool:
            for i in range(1, items + 1):
                if cold:
                    time.sleep(0.001)
                times.append(timed(pool.apply, square, (i,)))
            pool.close()
            pool.join()
    times.sort()
    report(items=items, p50_us=times[items // 2] * 1e6, p99_us=times[items * 99 // 100] * 1e6, cpu_before=cpu, ok=1)


def sum_of_lines(path, *names):
    with open(path) as f:
        return sum(int(line.split()[1]) for line in f if line.startswith(names) and "Hugetlb" not in line)


def pool_once(workers):
    with mp.Pool(workers) as pool:
        assert pool.apply(square, (7,)) == 49
        pool.close()
        pool.join()


def w11(items, workers):
    """Start and end, memory of idle workers, and the tasks by Pool.map one at a time: its own chunks are too big."""
    items = items or 2000
    starts = sorted(timed(pool_once, workers) for _ in range(7 if workers < 64 else 3))
    with mp.Pool(workers) as pool:
        pool.apply(square, (7,))
        time.sleep(0.05)
        pids = [child.pid for child in mp.active_children()]
        private = sum(sum_of_lines("/proc/%d/smaps_rollup" % pid, "Private_") for pid in pids) / len(pids)
        tables = sum(sum_of_lines("/proc/%d/status" % pid, "VmPTE:") for pid in pids) / len(pids)
        pool.close()
        pool.join()
    loops = tasks(items, False)
    cpu, start = time.process_time(), now()
    with mp.Pool(workers) as pool:
        done = len(pool.map(burn, loops, 1))
        pool.close()
        pool.join()
    rate(items, now() - start, cpu, done == items and len(pids) == workers, start_ms=starts[len(starts) // 2] * 1000,
         private_kb=float(private), pte_kb=float(tables))


def w12(milliseconds):
    """Two idle workers: processor time of all threads of all processes."""
    def used(pids):
        total = 0
        for path in itertools.chain.from_iterable(glob.glob("/proc/%s/task/*/schedstat" % pid) for pid in pids):
            with open(path) as f:
                total += int(f.read().split()[0])
        return total / 1e9

    milliseconds = milliseconds or 2000
    cpu = time.process_time()
    with mp.Pool(2) as pool:
        pool.apply(square, (7,))
        time.sleep(0.1)
        pids = ["self"] + [child.pid for child in mp.active_children()]
        before, began = used(pids), now()
        time.sleep(milliseconds / 1000)
        percent = 100 * (used(pids) - before) / (now() - began)
        pool.close()
        pool.join()
    report(items=milliseconds, percent=percent, cpu_before=cpu, ok=1)


def lengths(blobs):
    return [len(b) for b in blobs]


def s1(items, variant, size):
    """64 MiB of different strings in turn: pickle writes an object once for each message."""
    items = items or 1000
    filler = b"x" * (size - 8)
    strings = [b"%08d" % i + filler for i in range(min(items, (64 << 20) // size))]
    inputs = itertools.islice(itertools.cycle(strings), items)
    total = [0]
    cpu, start = time.process_time(), now()
    if variant == "pipe":
        def add(results):
            total[0] += sum(results)
        through_pipes(lengths, pieces(inputs, max(1, min(2000, 131072 // size))), add)
    else:
        with mp.Pool(2) as pool:
            total[0] = sum(pool.map(length, inputs))
            pool.close()
            pool.join()
    rate(items, now() - start, cpu, total[0] == items * size)


def burn_and_square(loops, x):
    if loops:
        burn(loops)
    return (x * x) % 7919


def burn_list(loops, xs):
    return [burn_and_square(loops, x) for x in xs]


def s2(items, variant, cost):
    items = items or 1000
    loops = int(cost * loops_per_ms() / 1000)
    expected = sum((x * x) % 7919 for x in range(1, items + 1))
    total = [0]
    cpu, start = time.process_time(), now()
    if variant == "pipe":
        def add(results):
            total[0] += sum(results)
        chunk = max(1, min(2000, 2000 // cost if cost else 2000))
        through_pipes(functools.partial(burn_list, loops), pieces(range(1, items + 1), chunk), add)
    else:
        with mp.Pool(2) as pool:
            total[0] = sum(pool.map(functools.partial(burn_and_square, loops), range(1, items + 1)))
            pool.close()
            pool.join()
    rate(items, now() - start, cpu, total[0] == expected)


def w8(items):
    """A worker is killed at item items/2. Three seconds without a result are called a hang."""
    items = items or 100000
    arrived, outcome = 0, "completes"

    def hung(*_):
        report(items=items, arrived=arrived, failures=0, outcome="hangs")
        sys.stdout.flush()
        for child in mp.active_children():
            child.kill()
        os._exit(0)

    signal.signal(signal.SIGALRM, hung)
    signal.alarm(3)
    with mp.Pool(2) as pool:
        try:
            for n, _ in enumerate(pool.imap(square_then_die, ((x, items // 2) for x in range(1, items + 1)))):
                arrived = n + 1
                if arrived % 1000 == 0:
                    signal.alarm(3)
        except Exception as e:
            outcome = "raises_" + type(e).__name__
    report(items=items, arrived=arrived, failures=0, outcome=outcome)


def main():
    workload, variant = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "imap"
    items = int(sys.argv[3]) if len(sys.argv) > 3 else None
    point = None
    if workload.startswith(("W11_", "W12_", "S1_", "S2_")):
        workload, point = workload.split("_")
    run = {
        "W1": lambda: w1(items, variant),
        "W2": lambda: w2(items, variant),
        "W3a": lambda: w3(items, length, lambda r: r == 1 << 20),
        "W3b": lambda: w3(items, same, lambda r: len(r) == 1 << 20),
        "W4": lambda: w4(items, variant, False),
        "W4tail": lambda: w4(items, variant, True),
        "W4two": lambda: w4(items, variant, "two"),
        "W5_20": lambda: w5(items, 20),
        "W5_500": lambda: w5(items, 500),
        "W5mem": w5_memory,
        "W6": w6,
        "W7": lambda: w7(items, variant),
        "W7cold": lambda: w7(items, variant, cold=True),
        "W7short": lambda: w7(items, variant),
        "W8": lambda: w8(items),
        "W11": lambda: w11(items, int(point)),
        "W12": lambda: w12(items),
        "S1": lambda: s1(items, variant, int(point)),
        "S2": lambda: s2(items, variant, int(point)),
    }.get(workload)
    if run is None:
        sys.exit("no workload %s here" % workload)
    run()


if __name__ == "__main__":
    main()
