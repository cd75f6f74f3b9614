/* sys.c - the calls to the operating system behind mg_sys; nothing else in the core makes one. */
#define _GNU_SOURCE
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

static int check(long result) { return result < 0 ? -errno : (int)result; }

static void *sys_map_shared(size_t size) {
  void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

static void *sys_map_private(size_t size) {
  void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

static int sys_unmap(void *at, size_t size) { return check(munmap(at, size)); }
static int sys_advise(void *at, size_t size, int advice) { return check(madvise(at, size, advice)); }
static pid_t sys_fork(void) { return check(fork()); }

static int sys_pidfd_open(pid_t pid) {
  return check(syscall(SYS_pidfd_open, pid, 0)); /* close-on-exec by itself */
}

/* By the pidfd where there is one: it names this child for ever, its number only until somebody has waited for it. */
static int sys_kill(pid_t pid, int pidfd, int sig) {
  return check(pidfd >= 0 ? syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) : kill(pid, sig));
}

/* Ends a child that has no pidfd, and waits for it. */
static int sys_kill_wait(pid_t pid) {
  kill(pid, SIGKILL);
  int rc;
  do rc = check(waitpid(pid, NULL, 0));
  while (rc == -EINTR);
  return rc;
}

/* 1 with *out filled when the child has ended, 0 while it lives.  Only this child is asked for, never any other. */
static int sys_reap(pid_t pid, int pidfd, mg_exit *out) {
  siginfo_t info = {0};
  int rc;
  idtype_t by = pidfd >= 0 ? (idtype_t)3 /* P_PIDFD */ : P_PID;
  do rc = check(waitid(by, (id_t)(pidfd >= 0 ? pidfd : pid), &info, WEXITED | WNOHANG));
  while (rc == -EINTR);
  memset(out, 0, sizeof *out);
  if (rc == -ECHILD) return 1; /* somebody else waited for all children */
  if (rc < 0) return rc;
  if (info.si_pid == 0) return 0;
  out->known = 1;
  if (info.si_code == CLD_EXITED) out->code = info.si_status;
  else out->signal = info.si_status;
  return 1;
}

/* 1 when the child has ended, or there is none of that number any more: somebody else has waited for it.  0 while it
 * lives.  It stays to be waited for. */
static int sys_has_ended(pid_t pid) {
  siginfo_t info = {0};
  int rc;
  do rc = check(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT));
  while (rc == -EINTR);
  if (rc == -ECHILD) return 1;
  return rc < 0 ? rc : info.si_pid != 0;
}

/* From `first` on every descriptor is closed when a program is executed, or at once. */
static int leave_descriptors(unsigned first, unsigned last, int at_exec) {
  if (first > last) return 0;
  int rc = check(syscall(SYS_close_range, first, last, at_exec ? 4u /* CLOSE_RANGE_CLOEXEC */ : 0u));
  if (rc == 0) return 0;
  struct rlimit most = {.rlim_cur = 1024};
  getrlimit(RLIMIT_NOFILE, &most);
  if (last > 1u << 20) last = most.rlim_cur < 1u << 20 ? (unsigned)most.rlim_cur : 1u << 20;
  for (unsigned fd = first; fd <= last; fd++) {
    if (at_exec) fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    else close((int)fd);
  }
  return 0;
}

static int sys_close_others(int keep) {
  if (keep > 0) leave_descriptors(0, (unsigned)keep - 1, 0);
  return leave_descriptors((unsigned)keep + 1, ~0u, 0);
}

static int sys_new_session(void) { return check(setsid()); }
static int sys_new_group(void) { return check(setpgid(0, 0)); }

static ssize_t sys_read_link(const char *path, char *to, size_t n) {
  ssize_t r = readlink(path, to, n);
  return r < 0 ? -errno : r;
}

static _Noreturn void fail_launch(const mg_launch *p, int step) {
  mg_failed_launch failed = {step, errno};
  ssize_t n = write(p->status, &failed, sizeof failed);
  _exit(n == sizeof failed ? 127 : 126);
}

/* In the child, which shares the parent's memory until it is through: nothing here changes any of it. */
static _Noreturn void become_program(const mg_launch *p) {
  struct sigaction usual = {.sa_handler = SIG_DFL};
  sigset_t none;
  int fds[3];
  setpgid(0, 0);
  int32_t own = getpid();
  if (write(p->keeper, &own, sizeof own) != sizeof own) fail_launch(p, MG_LAUNCH_KEEP);
  for (int sig = 1; sig < NSIG; sig++) {
    usual.sa_handler = sig == SIGTTIN || sig == SIGTTOU ? SIG_IGN : SIG_DFL;
    sigaction(sig, &usual, NULL); /* not those of the kernel and of libc */
  }
  for (int i = 0; i < 3; i++)
    if ((fds[i] = fcntl(p->fds[i], F_DUPFD_CLOEXEC, 3)) < 0) fail_launch(p, MG_LAUNCH_START);
  for (int i = 0; i < 3; i++)
    if (dup2(fds[i], i) < 0) fail_launch(p, MG_LAUNCH_START);
  leave_descriptors(3, ~0u, 1);
  if (p->cwd && chdir(p->cwd) < 0) fail_launch(p, MG_LAUNCH_CWD);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execvpe(p->argv[0], p->argv, p->envp);
  fail_launch(p, MG_LAUNCH_EXEC);
}

/* The caller has all signals blocked: the child's handlers would run in the parent's memory. vfork, because a copy of
 * the tables of a large heap takes longer than most programs. */
static pid_t sys_launch(const mg_launch *p) {
  pid_t pid = vfork(); /* NOLINT: see above */
  if (pid == 0) become_program(p);
  return check(pid);
}

static int sys_eventfd(void) { return check(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }
static int sys_timerfd(void) { return check(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)); }

/* Once, in ns nanoseconds; ns < 0: never. */
static int sys_timer_set(int fd, int64_t ns) {
  struct itimerspec at = {0};
  if (ns == 0) ns = 1; /* zero would switch it off */
  if (ns > 0) {
    at.it_value.tv_sec = (time_t)(ns / 1000000000);
    at.it_value.tv_nsec = (long)(ns % 1000000000);
  }
  return check(timerfd_settime(fd, 0, &at, NULL));
}

static int sys_lifeline(int fds[2]) { return check(pipe2(fds, O_CLOEXEC)); }
static int sys_epoll_create(void) { return check(epoll_create1(EPOLL_CLOEXEC)); }

static int sys_epoll_add(int ep, int fd, uint64_t tag) {
  struct epoll_event ev = {.events = EPOLLIN, .data.u64 = tag};
  return check(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
}

static int sys_epoll_del(int ep, int fd) { return check(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL)); }

/* From now on it watches fd, which is also the tag, for these events; 0: not any more. */
static int sys_epoll_set(int ep, int fd, uint32_t events) {
  struct epoll_event ev = {.events = events, .data.u64 = (uint64_t)fd};
  if (events == 0) return sys_epoll_del(ep, fd);
  int rc = check(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev));
  return rc == -ENOENT ? check(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev)) : rc;
}

/* ns < 0 waits without end; otherwise rounded up to a millisecond, the unit that every kernel's epoll knows. */
static int sys_epoll_wait(int ep, struct epoll_event *ev, int max, int64_t ns) {
  int ms = ns < 0 ? -1 : ns > (int64_t)86400000 * 1000000 ? 86400000 : (int)((ns + 999999) / 1000000);
  return check(epoll_wait(ep, ev, max, ms));
}

static int sys_poll(struct pollfd *fds, unsigned n, int ms) { return check(poll(fds, n, ms)); }

static ssize_t sys_read(int fd, void *to, size_t n) {
  ssize_t r = read(fd, to, n);
  return r < 0 ? -errno : r;
}

static ssize_t sys_write(int fd, const void *from, size_t n) {
  ssize_t r = write(fd, from, n);
  return r < 0 ? -errno : r;
}

/* Without SIGPIPE, whatever the program does with that. */
static ssize_t sys_write_pipe(int fd, const void *from, size_t n) {
  static const struct timespec at_once = {0, 0};
  sigset_t pipe_only, old, pending;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  sigpending(&pending);
  sigprocmask(SIG_BLOCK, &pipe_only, &old);
  ssize_t r = write(fd, from, n);
  if (r < 0) r = -errno;
  if (r == -EPIPE && !sigismember(&pending, SIGPIPE)) sigtimedwait(&pipe_only, NULL, &at_once);
  sigprocmask(SIG_SETMASK, &old, NULL);
  return r;
}

static int sys_do_not_block(int fd) { return check(fcntl(fd, F_SETFL, O_NONBLOCK)); } /* of a pipe: no other flag */

/* A file for what a program writes, made or emptied. */
static int sys_open_output(const char *path) {
  return check(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666));
}

static int sys_close(int fd) { return check(close(fd)); }

static int sys_open_file(const char *path, int how) {
  int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  flags |= how & MG_OPEN_APPEND ? O_WRONLY | O_APPEND : O_RDONLY;
  if (how & MG_OPEN_CREATE) flags |= O_CREAT;
  if (!(how & MG_OPEN_FOLLOW)) flags |= O_NOFOLLOW;
  return check(open(path, flags, 0600));
}

static int facts_of(const struct stat *st, mg_file *out) {
  *out = (mg_file){.size = (uint64_t)st->st_size, .device = st->st_dev, .inode = st->st_ino,
                   .regular = S_ISREG(st->st_mode), .directory = S_ISDIR(st->st_mode)};
  return 0;
}

static int sys_file_facts(int fd, mg_file *out) {
  struct stat st;
  int rc = check(fstat(fd, &st));
  return rc < 0 ? rc : facts_of(&st, out);
}

/* Without opening it: the other end of a FIFO would notice. */
static int sys_path_facts(const char *path, mg_file *out) {
  struct stat st;
  int rc = check(stat(path, &st));
  if (rc == 0) rc = check(faccessat(AT_FDCWD, path, R_OK, AT_EACCESS));
  return rc < 0 ? rc : facts_of(&st, out);
}

static int sys_lock_file(int fd, int how) {
  return check(flock(fd, how == MG_LOCK_NONE ? LOCK_UN : how == MG_LOCK_READ ? LOCK_SH : LOCK_EX));
}

static int sys_own_file(int fd, int owned) {
  struct flock whole = {.l_type = owned ? F_WRLCK : F_UNLCK, .l_whence = SEEK_SET};
  return check(fcntl(fd, F_OFD_SETLK, &whole));
}

static int sys_truncate_file(int fd, uint64_t size) { return check(ftruncate(fd, (off_t)size)); }
static int sys_sync_file(int fd) { return check(fdatasync(fd)); }

static ssize_t sys_read_at(int fd, void *to, size_t n, uint64_t at) {
  ssize_t r = pread(fd, to, n, (off_t)at);
  return r < 0 ? -errno : r;
}

static int sys_null_stdin(void) {
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  int rc = check(dup2(fd, 0));
  if (fd != 0) close(fd);
  __fpurge(stdin); /* what the coordinator has read ahead is the coordinator's */
  clearerr(stdin);
  return rc;
}

static int sys_parent_death_signal(int sig) { return check(prctl(PR_SET_PDEATHSIG, sig)); }

static int sys_block_signals(sigset_t *old) {
  sigset_t all;
  sigfillset(&all);
  return check(sigprocmask(SIG_SETMASK, &all, old));
}

static int sys_set_signals(const sigset_t *mask) { return check(sigprocmask(SIG_SETMASK, mask, NULL)); }

static int sys_handle_signal(int sig, void (*handler)(int)) {
  struct sigaction sa;
  memset(&sa, 0, sizeof sa);
  sa.sa_handler = handler;
  sigemptyset(&sa.sa_mask);
  return check(sigaction(sig, &sa, NULL));
}

static int sys_signal_action(int sig, const struct sigaction *to, struct sigaction *old) {
  return check(sigaction(sig, to, old));
}

static int sys_random(void *to, size_t n) { return check(getrandom(to, n, 0)); }

/* The quota of this process's cgroup (version 2) in whole processors, or `most` where there is none. */
static int cgroup_cpus(int most) {
  char line[512], path[600];
  double quota, period;
  FILE *f = fopen("/proc/self/cgroup", "re");
  if (!f) return most;
  int found = 0;
  while (!found && fgets(line, sizeof line, f)) found = strncmp(line, "0::", 3) == 0;
  fclose(f);
  if (!found) return most;
  line[strcspn(line, "\n")] = 0;
  snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", line + 3);
  f = fopen(path, "re");
  if (!f) return most;
  int n = fscanf(f, "%lf %lf", &quota, &period); /* "max 100000" where there is no limit: nothing is read */
  fclose(f);
  if (n != 2 || period <= 0 || quota <= 0) return most;
  int cpus = (int)((quota + period - 1) / period);
  return cpus < 1 ? 1 : cpus < most ? cpus : most;
}

static int sys_cpus(void) {
  cpu_set_t set;
  int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
  return cgroup_cpus(n < 1 ? 1 : n);
}

/* The columns of the terminal behind fd, 0 where it does not know them; -ENOTTY where it is none. */
static int sys_terminal(int fd) {
  struct winsize size;
  int rc = check(ioctl(fd, TIOCGWINSZ, &size));
  return rc < 0 ? rc : size.ws_col;
}

/* 1 when this process may use the terminal behind fd: it is in its foreground, or that is not the one it belongs to. */
static int sys_foreground(int fd) {
  pid_t group = tcgetpgrp(fd);
  return group < 0 || group == getpgrp();
}

/* A page that reads as zeros in every child that is forked, by whomever. */
static void *sys_wiped_page(void) {
  size_t size = (size_t)sysconf(_SC_PAGESIZE);
  void *at = sys_map_private(size);
  if (at) madvise(at, size, MADV_WIPEONFORK); /* not known before Linux 4.14: then a stray copy goes unnoticed */
  return at;
}

/* A full memory barrier in every process that has joined, without its help; join: this one joins, for good.  Not known
 * before Linux 4.16, and some filters of system calls refuse it. */
static int sys_barrier(int join) {
  enum { GLOBAL_EXPEDITED = 1 << 1, REGISTER = 1 << 2 }; /* of linux/membarrier.h, which may be older */
  return check(syscall(SYS_membarrier, join ? REGISTER : GLOBAL_EXPEDITED, 0, 0));
}

mg_sys_table mg_sys = {
#define X(name, type, params, args) .name = sys_##name,
    MG_SYS_CALLS(X)
#undef X
};

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

size_t mg_file_ahead(FILE *f, const char **at) {
#ifdef __GLIBC__
  if (at) *at = f->_IO_read_ptr;
  return (size_t)(f->_IO_read_end - f->_IO_read_ptr);
#else /* musl has calls for it; elsewhere nobody knows */
  size_t n = 0;
  const char *from = __freadptr(f, &n);
  if (at) *at = from;
  return from ? n : 0;
#endif
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
