/* SPDX-License-Identifier: MIT
 * The round trip of the operating system, for W7: two processes that sleep while they wait, and the crowd that
 * makes processors short.
 *
 * usage: ping WORKLOAD pipe|futex [ITEMS]   W7 round after round; W7cold with a pause of 1 ms before each; W7short
 *        ping crowd COMMAND ...             runs a command while one process spins for each processor
 */
#define _GNU_SOURCE
#include "measure.h"

#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Two ways to hand over one word and sleep until the answer is there; `side` 0 asks and 1 answers. */
typedef struct {
  int to[2][2];            /* pipes towards each side */
  _Atomic uint32_t *words; /* one for each direction, a cache line apart */
} channel;

static void send_pipe(channel *c, int side, uint32_t value) {
  if (write(c->to[!side][1], &value, sizeof value) != (ssize_t)sizeof value) die("write");
}

static void receive_pipe(channel *c, int side, uint32_t value) {
  uint32_t seen;
  if (read(c->to[side][0], &seen, sizeof seen) != (ssize_t)sizeof seen || seen != value) die("read");
}

static void send_futex(channel *c, int side, uint32_t value) {
  _Atomic uint32_t *word = c->words + (side ? 16 : 0);
  atomic_store(word, value);
  syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void receive_futex(channel *c, int side, uint32_t value) {
  _Atomic uint32_t *word = c->words + (side ? 0 : 16);
  uint32_t seen;
  while ((seen = atomic_load(word)) != value) syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
}

typedef void step_fn(channel *c, int side, uint32_t value);

static void run_ping(step_fn *give, step_fn *take, uint32_t items, int pause_first) {
  channel c;
  double *times = calloc(items, sizeof *times);
  c.words = mmap(NULL, 128, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (!times || c.words == MAP_FAILED || pipe(c.to[0]) < 0 || pipe(c.to[1]) < 0) die("ping");
  pid_t pid = fork();
  if (pid < 0) die("fork");
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (uint32_t i = 1; i <= items; i++) {
      take(&c, 1, i);
      give(&c, 1, i);
    }
    _exit(0);
  }
  double before = cpu();
  for (uint32_t i = 1; i <= items; i++) {
    if (pause_first) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    double start = now();
    give(&c, 0, i);
    take(&c, 0, i);
    times[i - 1] = now() - start;
  }
  waitpid(pid, NULL, 0);
  print_percentiles(times, items, before);
}

/* The spinning processes are killed and not waited for: what is waited for is counted as processor time of this
 * program by those who time it. They die with it in any case. */
static int run_crowd(char **command) {
  long processors = sysconf(_SC_NPROCESSORS_ONLN);
  pid_t *crowd = calloc((size_t)processors, sizeof *crowd);
  if (!crowd) die("calloc");
  pid_t parent = getpid();
  for (long i = 0; i < processors; i++) {
    crowd[i] = fork();
    if (crowd[i] < 0) die("fork");
    if (crowd[i] == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(1);
      for (;;) atomic_signal_fence(memory_order_seq_cst);
    }
  }
  pid_t pid = fork();
  if (pid < 0) die("fork");
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    execvp(command[0], command);
    die(command[0]);
  }
  int status = 0;
  if (waitpid(pid, &status, 0) < 0) die("waitpid");
  for (long i = 0; i < processors; i++) kill(crowd[i], SIGKILL);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv) {
  if (argc > 2 && !strcmp(argv[1], "crowd")) return run_crowd(argv + 2);
  if (argc < 3 || strncmp(argv[1], "W7", 2) != 0) {
    fprintf(stderr, "usage: ping W7|W7cold|W7short pipe|futex [ITEMS]   or   ping crowd COMMAND ...\n");
    return 2;
  }
  uint32_t items = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : PINGS;
  int cold = !strcmp(argv[1], "W7cold");
  if (!strcmp(argv[2], "futex")) {
    run_ping(send_futex, receive_futex, items, cold);
  } else {
    run_ping(send_pipe, receive_pipe, items, cold);
  }
  return 0;
}
