/* sys.c - calls of mg_sys for memory, signals and the process itself, and what all of sys*.c share.  Nothing else makes
 * a call to the operating system. */
#define _GNU_SOURCE
#include "sys_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *mg_sys_refused;
int mg_checking;

int mg_checked(const char *function, long result) {
  if (result >= 0) return (int)result;
  if (mg_is_refused(-errno)) mg_sys_refused = function + sizeof "mg_sys_" - 1;
  return -errno;
}

int mg_above_standard(int fd) {
  if (fd < 0 || fd > STDERR_FILENO) return fd;
  int higher = check(fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  close(fd);
  return higher;
}

/* --- memory ----------------------------------------------------------------------------------------------------- */

void *mg_sys_map_shared(size_t size) {
  void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

void *mg_sys_map_private(size_t size) {
  void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

int mg_sys_unmap(void *at, size_t size) { return check(munmap(at, size)); }
int mg_sys_advise(void *at, size_t size, int advice) { return check(madvise(at, size, advice)); }

static unsigned *wiped; /* by hand, where the kernel does not */

static void wipe(void) { *wiped = 0; }

/* A page that reads as zeros in every child that is forked, by whomever.  Where the kernel (before Linux 4.14) or a
 * filter refuses that, libc's fork does it; then only a child of a bare system call goes unnoticed. */
void *mg_sys_wiped_page(void) {
  size_t size = (size_t)sysconf(_SC_PAGESIZE);
  void *at = mg_sys_map_private(size);
  if (!at || check(madvise(at, size, MADV_WIPEONFORK)) == 0) return at;
  wiped = at;
  if (pthread_atfork(NULL, NULL, wipe) == 0) return at;
  munmap(at, size);
  return NULL;
}

/* A full memory barrier in every process that has joined, without its help; join: this one joins, for good.  Not known
 * before Linux 4.16, and some filters of system calls refuse it. */
int mg_sys_barrier(int join) {
  enum { GLOBAL_EXPEDITED = 1 << 1, REGISTER = 1 << 2 }; /* of linux/membarrier.h, which may be older */
  return check(syscall(SYS_membarrier, join ? REGISTER : GLOBAL_EXPEDITED, 0, 0));
}

/* --- signals ---------------------------------------------------------------------------------------------------- */

int mg_sys_block_signals(sigset_t *old) {
  sigset_t all;
  sigfillset(&all);
  return check(sigprocmask(SIG_SETMASK, &all, old));
}

int mg_sys_set_signals(const sigset_t *mask) { return check(sigprocmask(SIG_SETMASK, mask, NULL)); }

int mg_sys_handle_signal(int sig, void (*handler)(int)) {
  struct sigaction sa;
  memset(&sa, 0, sizeof sa);
  sa.sa_handler = handler;
  sa.sa_flags = SA_RESTART;
  sigemptyset(&sa.sa_mask);
  return check(sigaction(sig, &sa, NULL));
}

/* What exec does to them: those that are handled get their default action, those that are ignored stay so; and none is
 * blocked. */
int mg_sys_default_signals(void) {
  struct sigaction now, usual = {.sa_handler = SIG_DFL};
  sigset_t none;
  for (int sig = 1; sig < NSIG; sig++) {
    int handled = sigaction(sig, NULL, &now) == 0 && ((now.sa_flags & SA_SIGINFO) || now.sa_handler != SIG_IGN);
    if (handled) sigaction(sig, &usual, NULL);
  }
  sigemptyset(&none);
  return check(sigprocmask(SIG_SETMASK, &none, NULL));
}

int mg_sys_signal_action(int sig, const struct sigaction *to, struct sigaction *old) {
  return check(sigaction(sig, to, old));
}

/* Stops this process by a signal that does so by default, in whose handler this is called. */
int mg_sys_stop_self(int sig) {
  sigset_t only, old;
  sigemptyset(&only);
  sigaddset(&only, sig);
  if (raise(sig) != 0) return -EINVAL;
  sigprocmask(SIG_UNBLOCK, &only, &old);
  return check(sigprocmask(SIG_SETMASK, &old, NULL));
}

int mg_sys_raise(int sig) { return raise(sig) == 0 ? 0 : -EINVAL; }

/* The one ticker of a process: a timer that sends it a signal every so many milliseconds. */
static int ticker = -1; /* the kernel's number; glibc's own calls need a library before 2.34 */

int mg_sys_ticker_open(int sig) {
  struct sigevent event;
  memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = sig;
  int rc = check(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &ticker));
  if (rc < 0) ticker = -1;
  return rc;
}

int mg_sys_ticker_set(int ms) {
  struct itimerspec at = {.it_interval = {ms / 1000, ms % 1000 * 1000000L}};
  at.it_value = at.it_interval;
  return ticker < 0 ? -EBADF : check(syscall(SYS_timer_settime, ticker, 0, &at, NULL));
}

int mg_sys_ticker_close(void) {
  int old = ticker;
  ticker = -1;
  return old < 0 ? 0 : check(syscall(SYS_timer_delete, old));
}

/* --- the process itself ----------------------------------------------------------------------------------------- */

int mg_sys_random(void *to, size_t n) { return check(getrandom(to, n, 0)); }

int mg_sys_cpus(void) {
  cpu_set_t set;
  int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
  return n < 1 ? 1 : n;
}

/* A call of exit leaves by this function. */
static void (*leave_by)(int code);

#ifdef __GLIBC__
static void leaving(int code, void *unused) {
  (void)unused;
  leave_by(code);
}
#define on_leaving() on_exit(leaving, NULL)
#else
static void leaving(void) { leave_by(EXIT_FAILURE); } /* the code is not known here */
#define on_leaving() atexit(leaving)
#endif

int mg_sys_at_exit(void (*leave)(int code)) {
  int known = leave_by != NULL;
  leave_by = leave;
  return known || on_leaving() == 0 ? 0 : -ENOMEM;
}

static uint64_t clock_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t mg_now(void) { return clock_ns(CLOCK_MONOTONIC); }
uint64_t mg_now_coarse(void) { return clock_ns(CLOCK_MONOTONIC_COARSE); }

uint64_t mg_worked(uint64_t *waits) {
  struct rusage r = {0};
  getrusage(RUSAGE_THREAD, &r);
  *waits = (uint64_t)r.ru_nvcsw;
  return ((uint64_t)r.ru_utime.tv_sec + (uint64_t)r.ru_stime.tv_sec) * 1000000000u +
         ((uint64_t)r.ru_utime.tv_usec + (uint64_t)r.ru_stime.tv_usec) * 1000u;
}

pid_t mg_pid(void) { return getpid(); }
pid_t mg_parent_pid(void) { return getppid(); }

extern void __gcov_dump(void) __attribute__((weak)); /* NOLINT: the coverage runtime's own name */

_Noreturn void mg_exit_now(int code) {
  if (__gcov_dump) __gcov_dump();
  _exit(code);
}

_Noreturn void mg_assert_failed(const char *what, const char *file, int line) {
  fprintf(stderr, "minigun: broken invariant %s at %s:%d (a bug in minigun: please report it)\n", what, file, line);
  abort();
}
