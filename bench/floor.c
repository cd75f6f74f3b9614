/* SPDX-License-Identifier: MIT
 * The raw C floor of the benchmarks: what the machine gives to two processes that share memory, without
 * Lua, without a codec, without recovery. Nothing in Minigun can be faster than this.
 *
 * usage: floor WORKLOAD [VARIANT] [ITEMS]     one line of key=value pairs on stdout
 *   W1        integers there, (x*x) % 7919 back         W2   64-byte records there and back
 *   W3a W3b   1 MiB blobs there, length or blob back    W7   round trips, both sides spinning
 *   W4 W4tail tasks of 1 ms, or of 0.1 to 10 ms: two processes take one after the other, against one that does all
 *   W6        two workers: fork, one item each, reap
 *   S1_SIZE   strings of SIZE bytes there, all different, their lengths back
 *   W5_20 W5_500  a fork for each batch of 100 integers, at most 2 alive, 20 or 500 MB in the parent
 *
 * W1 to W3 and W7 use one worker and two single-producer single-consumer rings of slots, one each way.
 * A slot is 64 bytes of header (item count) and slot_bytes of payload; `head` is written only by the
 * producer of a ring, `tail` only by its consumer, each on a cache line of its own.
 */
#define _GNU_SOURCE
#include "measure.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE 64u
#define END UINT32_MAX /* a slot with this count ends the stream */
#define BLOB ((size_t)1 << 20)

typedef struct {
  _Alignas(LINE) _Atomic uint32_t head;
  _Alignas(LINE) _Atomic uint32_t tail;
} ring_control;

typedef struct {
  ring_control *control;
  unsigned char *memory;
  size_t slot_bytes; /* payload bytes of a slot */
  uint32_t slots;    /* a power of two */
} ring;

typedef struct {
  uint64_t id, ok;
  double score;
  char name[16], tags[24];
} record;

static void relax(unsigned *spins) {
  if (++*spins < 2000) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
  } else {
    sched_yield();
  }
}

static ring ring_new(uint32_t slots, size_t slot_bytes) {
  size_t bytes = sizeof(ring_control) + slots * (LINE + slot_bytes);
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) die("mmap");
  return (ring){.control = p, .memory = (unsigned char *)p + sizeof(ring_control), .slot_bytes = slot_bytes,
                .slots = slots};
}

static void ring_free(const ring *r) {
  munmap(r->control, sizeof(ring_control) + r->slots * (LINE + r->slot_bytes));
}

static unsigned char *slot_at(const ring *r, uint32_t i) {
  return r->memory + (size_t)(i & (r->slots - 1)) * (LINE + r->slot_bytes);
}

/* The payload of the next free slot, or NULL when the ring is full. */
static void *ring_reserve(const ring *r) {
  uint32_t head = atomic_load_explicit(&r->control->head, memory_order_relaxed);
  if (head - atomic_load_explicit(&r->control->tail, memory_order_acquire) == r->slots) return NULL;
  return slot_at(r, head) + LINE;
}

static void ring_publish(const ring *r, uint32_t count) {
  uint32_t head = atomic_load_explicit(&r->control->head, memory_order_relaxed);
  memcpy(slot_at(r, head), &count, sizeof count);
  atomic_store_explicit(&r->control->head, head + 1, memory_order_release);
}

/* The payload of the oldest filled slot with its item count, or NULL when the ring is empty. */
static void *ring_peek(const ring *r, uint32_t *count) {
  uint32_t tail = atomic_load_explicit(&r->control->tail, memory_order_relaxed);
  if (atomic_load_explicit(&r->control->head, memory_order_acquire) == tail) return NULL;
  memcpy(count, slot_at(r, tail), sizeof *count);
  return slot_at(r, tail) + LINE;
}

static void ring_release(const ring *r) {
  uint32_t tail = atomic_load_explicit(&r->control->tail, memory_order_relaxed);
  atomic_store_explicit(&r->control->tail, tail + 1, memory_order_release);
}

static void *ring_reserve_wait(const ring *r) {
  unsigned spins = 0;
  void *p;
  while (!(p = ring_reserve(r))) relax(&spins);
  return p;
}

static void *ring_peek_wait(const ring *r, uint32_t *count) {
  unsigned spins = 0;
  void *p;
  while (!(p = ring_peek(r, count))) relax(&spins);
  return p;
}

/* One step of a worker: reads `count` items at `in`, writes as many results at `out`. */
typedef void work_fn(const void *in, void *out, uint32_t count);

static void work_integers(const void *in, void *out, uint32_t count) {
  const uint64_t *x = in;
  uint64_t *y = out;
  for (uint32_t i = 0; i < count; i++) y[i] = (x[i] * x[i]) % 7919;
}

static void work_records(const void *in, void *out, uint32_t count) {
  const record *x = in;
  record *y = out;
  for (uint32_t i = 0; i < count; i++) {
    y[i] = x[i];
    y[i].ok = 1;
  }
}

static unsigned char blob[1 << 20]; /* the private copy, one in each process */

static void work_blob_length(const void *in, void *out, uint32_t count) {
  uint64_t length = sizeof blob;
  (void)count;
  memcpy(blob, in, sizeof blob);
  memcpy(out, &length, sizeof length);
}

static void work_blob(const void *in, void *out, uint32_t count) {
  (void)count;
  memcpy(blob, in, sizeof blob);
  memcpy(out, blob, sizeof blob);
}

static pid_t spawn_worker(const ring *in, const ring *out, work_fn *work) {
  pid_t pid = fork();
  if (pid < 0) die("fork");
  if (pid > 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) {
    uint32_t count;
    const void *from = ring_peek_wait(in, &count);
    if (count == END) _exit(0);
    work(from, ring_reserve_wait(out), count);
    ring_publish(out, count);
    ring_release(in);
  }
}

static void end_worker(const ring *in, pid_t pid) {
  ring_reserve_wait(in);
  ring_publish(in, END);
  waitpid(pid, NULL, 0);
}

typedef struct {
  work_fn *work;
  void (*fill)(void *slot, uint64_t first, uint32_t count);
  uint64_t (*take)(const void *slot, uint32_t count); /* returns a checksum */
  size_t in_bytes, out_bytes;                         /* of one item */
  uint32_t per_slot, slots;
} stream;

static void fill_integers(void *slot, uint64_t first, uint32_t count) {
  uint64_t *x = slot;
  for (uint32_t i = 0; i < count; i++) x[i] = first + i;
}

static uint64_t take_integers(const void *slot, uint32_t count) {
  const uint64_t *y = slot;
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; i++) sum += y[i];
  return sum;
}

static void fill_records(void *slot, uint64_t first, uint32_t count) {
  record *x = slot;
  static const char name[16] = "user1234567", tags[24] = "a\0b\0c";
  for (uint32_t i = 0; i < count; i++) {
    x[i].id = first + i;
    x[i].ok = 0;
    x[i].score = (double)(first + i) * 0.5;
    memcpy(x[i].name, name, sizeof name);
    memcpy(x[i].tags, tags, sizeof tags);
  }
}

static uint64_t take_records(const void *slot, uint32_t count) {
  const record *y = slot;
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; i++) sum += y[i].ok;
  return sum;
}

static void fill_blob(void *slot, uint64_t first, uint32_t count) {
  (void)first;
  (void)count;
  memcpy(slot, blob, sizeof blob);
}

static uint64_t take_length(const void *slot, uint32_t count) {
  uint64_t length;
  (void)count;
  memcpy(&length, slot, sizeof length);
  return length == sizeof blob;
}

static uint64_t take_blob(const void *slot, uint32_t count) {
  (void)count;
  memcpy(blob, slot, sizeof blob);
  return 1;
}

static void run_stream(const stream *s, uint64_t items, uint64_t expected) {
  ring in = ring_new(s->slots, s->in_bytes * s->per_slot), out = ring_new(s->slots, s->out_bytes * s->per_slot);
  uint64_t sent = 0, taken = 0, sum = 0;
  unsigned spins = 0;
  pid_t pid = spawn_worker(&in, &out, s->work);
  double before = cpu(), start = now();
  while (taken < items) {
    uint32_t count;
    void *slot = sent < items ? ring_reserve(&in) : NULL;
    const void *result;
    if (slot) {
      count = items - sent < s->per_slot ? (uint32_t)(items - sent) : s->per_slot;
      s->fill(slot, sent + 1, count);
      ring_publish(&in, count);
      sent += count;
    }
    if ((result = ring_peek(&out, &count))) {
      sum += s->take(result, count);
      ring_release(&out);
      taken += count;
      spins = 0;
    } else if (!slot) {
      relax(&spins);
    }
  }
  double seconds = now() - start;
  end_worker(&in, pid);
  printf("items=%llu seconds=%.6f rate=%.1f cpu_before=%.3f ok=%d\n", (unsigned long long)items, seconds,
         (double)items / seconds, before, sum == expected);
}

static void run_integers(uint64_t items) {
  uint64_t expected = 0;
  for (uint64_t i = 1; i <= items; i++) expected += (i * i) % 7919;
  run_stream(&(stream){work_integers, fill_integers, take_integers, 8, 8, 4096, 16}, items, expected);
}

/* S1: strings of one size, taken in turn from 64 MiB of them. */
static size_t string_size;
static unsigned char *strings;

static void fill_strings(void *slot, uint64_t first, uint32_t count) {
  uint64_t all = ((uint64_t)64 << 20) / string_size;
  for (uint32_t i = 0; i < count; i++)
    memcpy((unsigned char *)slot + i * string_size, strings + (first + i) % all * string_size, string_size);
}

static void work_strings(const void *in, void *out, uint32_t count) {
  uint64_t *lengths = out;
  for (uint32_t i = 0; i < count; i++) {
    memcpy(blob, (const unsigned char *)in + i * string_size, string_size);
    lengths[i] = string_size;
  }
}

static void run_strings(size_t size, uint64_t items) {
  if (size < 1 || size > sizeof blob) die("S1: size");
  string_size = size;
  strings = malloc((size_t)64 << 20);
  if (!strings) die("malloc");
  memset(strings, 'x', (size_t)64 << 20);
  uint32_t per_slot = size < 65536 ? (uint32_t)(65536 / size) : 1;
  run_stream(&(stream){work_strings, fill_strings, take_integers, size, 8, per_slot, 16}, items, items * size);
}

static void run_ping_spinning(void) {
  ring in = ring_new(8, 8), out = ring_new(8, 8);
  static double times[PINGS];
  pid_t pid = spawn_worker(&in, &out, work_integers);
  double before = cpu();
  for (uint32_t i = 0; i < PINGS; i++) {
    uint32_t count;
    double start = now();
    *(uint64_t *)ring_reserve_wait(&in) = i;
    ring_publish(&in, 1);
    (void)ring_peek_wait(&out, &count);
    ring_release(&out);
    times[i] = now() - start;
  }
  end_worker(&in, pid);
  print_percentiles(times, PINGS, before);
}

/* Pieces below malloc's mmap threshold, so that the heap is one ordinary, touched, small-page heap. */
static void grow_heap(size_t megabytes) {
  enum { piece = 64 * 1024 };
  for (size_t done = 0; done < megabytes << 20; done += piece) {
    char *p = malloc(piece);
    if (!p) die("malloc");
    memset(p, 1, piece);
  }
}

typedef struct {
  pid_t pid;
  uint64_t sum;
} batch_result;

static uint64_t collect_one(int fd) {
  batch_result result;
  if (read(fd, &result, sizeof result) != (ssize_t)sizeof result) die("read");
  waitpid(result.pid, NULL, 0);
  return result.sum;
}

static void run_fork_per_batch(size_t megabytes, uint64_t batches) {
  int fds[2], alive = 0;
  uint64_t batch[100], sum = 0;
  if (pipe(fds) < 0) die("pipe");
  grow_heap(megabytes);
  double before = cpu(), start = now();
  for (uint64_t b = 0; b < batches; b++) {
    for (uint64_t i = 0; i < 100; i++) batch[i] = b * 100 + i + 1;
    if (alive == 2) {
      sum += collect_one(fds[0]);
      alive--;
    }
    pid_t pid = fork();
    if (pid < 0) die("fork");
    if (pid == 0) {
      batch_result result = {.pid = getpid()};
      for (int i = 0; i < 100; i++) result.sum += batch[i];
      _exit(write(fds[1], &result, sizeof result) == (ssize_t)sizeof result ? 0 : 1);
    }
    alive++;
  }
  for (; alive > 0; alive--) sum += collect_one(fds[0]);
  double seconds = now() - start;
  uint64_t n = batches * 100;
  printf("items=%llu seconds=%.6f rate=%.1f cpu_before=%.3f ok=%d\n", (unsigned long long)batches, seconds,
         (double)batches / seconds, before, sum == n * (n + 1) / 2);
}

static double start_two(void) {
  ring in[2], out[2];
  pid_t pid[2];
  double start = now();
  for (int w = 0; w < 2; w++) {
    in[w] = ring_new(8, 8);
    out[w] = ring_new(8, 8);
    pid[w] = spawn_worker(&in[w], &out[w], work_integers);
  }
  for (int w = 0; w < 2; w++) {
    *(uint64_t *)ring_reserve_wait(&in[w]) = 1;
    ring_publish(&in[w], 1);
  }
  for (int w = 0; w < 2; w++) {
    uint32_t count;
    (void)ring_peek_wait(&out[w], &count);
    end_worker(&in[w], pid[w]);
    ring_free(&in[w]);
    ring_free(&out[w]);
  }
  return now() - start;
}

static void run_start(void) {
  enum { repeats = 20 };
  double times[repeats], before = cpu();
  for (int i = 0; i < repeats; i++) times[i] = start_two();
  qsort(times, repeats, sizeof *times, by_value);
  printf("items=%d ms=%.4f cpu_before=%.3f ok=1\n", repeats, times[repeats / 2] * 1e3, before);
}

static uint32_t burn(uint64_t loops) {
  uint32_t a = 1;
  for (; loops > 0; loops--) {
    a = (a * 1103515245u + 12345u) & 0x7fffffffu;
    __asm__ volatile("" : "+r"(a));
  }
  return a;
}

/* Loops of a millisecond, by processor time: the fastest of some tries, since noise only slows. */
static double loops_per_ms(void) {
  enum { loops = 2000000, tries = 7 };
  double best = 1e9;
  for (int i = 0; i < tries; i++) {
    double start = cpu();
    (void)burn(loops);
    if (cpu() - start < best) best = cpu() - start;
  }
  return loops / (best * 1e3);
}

/* The tasks of bench/workload.lua, taken from a shared counter. */
static void run_tasks(uint64_t items, int uneven) {
  double per_ms = loops_per_ms(), before = cpu();
  uint64_t *tasks = calloc(items, sizeof *tasks);
  _Atomic uint64_t *next = mmap(NULL, LINE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (!tasks || next == MAP_FAILED) die("memory");
  uint32_t seed = 42;
  for (uint64_t i = 0; i < items; i++) {
    double ms = 1;
    if (uneven) {
      seed = (seed * 1103515245u + 12345u) & 0x7fffffffu;
      ms = 0.1 * 2147483648.0 / (seed + 1.0);
      if (ms > 10) ms = 10;
    }
    tasks[i] = (uint64_t)(ms * per_ms) + 1;
  }
  double start = now();
  for (uint64_t i = 0; i < items; i++) (void)burn(tasks[i]);
  double serial = now() - start;
  start = now();
  pid_t pids[2];
  for (int w = 0; w < 2; w++) {
    if ((pids[w] = fork()) < 0) die("fork");
    if (pids[w] == 0) {
      for (uint64_t i; (i = atomic_fetch_add(next, 1)) < items;) (void)burn(tasks[i]);
      _exit(0);
    }
  }
  for (int w = 0; w < 2; w++) waitpid(pids[w], NULL, 0);
  double seconds = now() - start;
  printf("items=%llu seconds=%.6f rate=%.1f speedup=%.4f cpu_before=%.3f ok=%d\n", (unsigned long long)items, seconds,
         (double)items / seconds, serial / seconds, before + serial, *next == items + 2);
}

int main(int argc, char **argv) {
  const char *w = argc > 1 ? argv[1] : "";
  uint64_t items = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
  if (!strcmp(w, "W1")) {
    run_integers(items ? items : 20000000);
  } else if (!strcmp(w, "W2")) {
    items = items ? items : 2000000;
    run_stream(&(stream){work_records, fill_records, take_records, 64, 64, 512, 16}, items, items);
  } else if (!strcmp(w, "W3a")) {
    items = items ? items : 1000;
    memset(blob, 'x', sizeof blob);
    run_stream(&(stream){work_blob_length, fill_blob, take_length, BLOB, 8, 1, 4}, items, items);
  } else if (!strcmp(w, "W3b")) {
    items = items ? items : 1000;
    memset(blob, 'x', sizeof blob);
    run_stream(&(stream){work_blob, fill_blob, take_blob, BLOB, BLOB, 1, 4}, items, items);
  } else if (!strcmp(w, "W4") || !strcmp(w, "W4tail")) {
    run_tasks(items ? items : 2000, w[2] != '\0');
  } else if (!strcmp(w, "W5_20")) {
    run_fork_per_batch(20, items ? items : 500);
  } else if (!strcmp(w, "W5_500")) {
    run_fork_per_batch(500, items ? items : 500);
  } else if (!strcmp(w, "W6")) {
    run_start();
  } else if (!strcmp(w, "W7")) {
    run_ping_spinning();
  } else if (!strncmp(w, "S1_", 3)) {
    run_strings(strtoul(w + 3, NULL, 10), items ? items : 1000);
  } else {
    fprintf(stderr, "floor: unknown workload '%s': use W1 W2 W3a W3b W4 W4tail W5_20 W5_500 W6 W7 S1_SIZE\n", w);
    return 2;
  }
  return 0;
}
