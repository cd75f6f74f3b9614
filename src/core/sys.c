/* sys.c - the calls to the operating system behind mg_sys; nothing else in the core makes one. */
#define _GNU_SOURCE
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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

const char *mg_sys_refused;

/* What a call has returned, or -errno.  One that the kernel does not have, or that a filter keeps from us, is noted. */
static int checked(const char *function, long result) {
  if (result >= 0) return (int)result;
  if (mg_is_refused(-errno)) mg_sys_refused = function + sizeof "sys_" - 1;
  return -errno;
}
#define check(result) checked(__func__, result)

/* A descriptor of ours is never 0, 1 or 2: in a program that was started without them its prints would go there. */
static int above_standard(int fd) {
  if (fd < 0 || fd > STDERR_FILENO) return fd;
  int higher = check(fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  close(fd);
  return higher;
}

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
  return above_standard(check(syscall(SYS_pidfd_open, pid, 0))); /* close-on-exec by itself */
}

/* Whether a call that takes a pidfd must be made with the child's number instead: the kernel, or a filter, does not let
 * us, or the descriptor is not ours any more. */
static int by_number(int rc) { return mg_is_refused(rc) || rc == -EINVAL || rc == -EBADF; }

/* By the pidfd where there is one: it names this child for ever, its number only until somebody has waited for it. */
static int sys_kill(pid_t pid, int pidfd, int sig) {
  siginfo_t info;
  int rc = pidfd >= 0 ? check(syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0)) : -ENOSYS;
  if (!by_number(rc)) return rc;
  if (pid > 0 && check(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT)) == -ECHILD) return -ESRCH;
  return check(kill(pid, sig));
}

/* Of a process that may be no child of this one. */
static int sys_kill_other(pid_t pid, int sig) { return check(kill(pid, sig)); }

/* Ends a child that has no pidfd, and waits for it; not whoever has its number, where somebody else has waited. */
static int sys_kill_wait(pid_t pid) {
  sys_kill(pid, -1, SIGKILL);
  int rc;
  do rc = check(waitpid(pid, NULL, 0));
  while (rc == -EINTR);
  return rc;
}

static int wait_by(int kind, int which, siginfo_t *info) {
  int rc;
  memset(info, 0, sizeof *info);
  do rc = check(waitid((idtype_t)kind, (id_t)which, info, WEXITED | WNOHANG));
  while (rc == -EINTR);
  return rc;
}

static void from_status(int status, mg_exit *out) {
  out->known = 1;
  if (WIFSIGNALED(status)) out->signal = WTERMSIG(status);
  else out->code = WEXITSTATUS(status);
}

/* What Linux 6.15 and later still knows of a child that somebody else has waited for. */
static void ask_pidfd(int pidfd, mg_exit *out) {
  struct { uint64_t mask, cgroup; uint32_t ids[11]; int32_t status; } info = {.mask = 8 /* PIDFD_INFO_EXIT */};
  if (pidfd >= 0 && ioctl(pidfd, _IOWR(0xff, 11, info) /* PIDFD_GET_INFO */, &info) == 0 && (info.mask & 8))
    from_status(info.status, out);
}

/* 1 with *out filled when the child has ended, 0 while it lives.  Only this child is asked for, never any other. */
static int sys_reap(pid_t pid, int pidfd, mg_exit *out) {
  enum { BY_PIDFD = 3 };
  siginfo_t info;
  int status = 0, rc = pidfd >= 0 ? wait_by(BY_PIDFD, pidfd, &info) : -ENOSYS;
  memset(out, 0, sizeof *out);
  if (by_number(rc)) rc = wait_by(P_PID, pid, &info);
  if (mg_is_refused(rc)) {
    do rc = check(waitpid(pid, &status, WNOHANG));
    while (rc == -EINTR);
    if (rc > 0) from_status(status, out);
  } else if (rc == 0 && info.si_pid != 0) {
    rc = out->known = 1;
    if (info.si_code == CLD_EXITED) out->code = info.si_status;
    else out->signal = info.si_status;
  }
  if (rc != -ECHILD) return rc > 0 ? 1 : rc;
  ask_pidfd(pidfd, out); /* somebody else waited for all children, or the program ignores SIGCHLD */
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
/* From now on standard output, standard error output or both go there, whole lines at a time. */
static int sys_print_into(int fd, int out, int err) {
  if (out && dup2(fd, 1) < 0) return -errno;
  if (err && dup2(fd, 2) < 0) return -errno;
  if (out) setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
  return 0;
}

static int sys_new_group(void) { return check(setpgid(0, 0)); }

static ssize_t sys_read_link(const char *path, char *to, size_t n) {
  ssize_t r = readlink(path, to, n);
  return r < 0 ? -errno : r;
}

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000 /* kernels before 5.2 take no notice of it */
#endif

/* The child between clone and execve runs in its parent's memory on a stack of its own, of which AddressSanitizer knows
 * nothing: so it looks at nothing there. */
#define ON_ANOTHER_STACK __attribute__((no_sanitize_address))

static _Noreturn ON_ANOTHER_STACK void fail_launch(const mg_launch *p, int step) {
  mg_failed_launch failed = {step, errno};
  ssize_t n = write(p->status, &failed, sizeof failed);
  _exit(n == sizeof failed ? 127 : 126);
}

/* In the child, which shares the parent's memory until it is through: nothing here changes any of it. */
static ON_ANOTHER_STACK int become_program(void *launch) {
  const mg_launch *p = launch;
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

/* The caller has all signals blocked: the child's handlers would run in the parent's memory, which goes on when the
 * program has begun; a copy of the tables of a large heap would take longer than most programs.  Its pidfd comes with
 * it: where SIGCHLD is ignored a quick one is gone before anybody can ask for that. */
static pid_t sys_launch(mg_launch *p) {
  enum { SHARED = CLONE_VM | CLONE_VFORK | SIGCHLD, STACK = 1 << 16 };
  size_t words = 2;
  while (p->argv[words - 2]) words++; /* execvpe makes a second list for a script without #! */
  size_t size = (STACK + words * sizeof *p->argv + 15) & ~(size_t)15;
  char *stack = sys_map_private(size);
  p->watch = -1;
  if (!stack) return -ENOMEM;
  pid_t pid = clone(become_program, stack + size, SHARED | CLONE_PIDFD, p, &p->watch);
  if (pid < 0 && errno == EINVAL) pid = clone(become_program, stack + size, SHARED, p);
  pid = check(pid);
  munmap(stack, size);
  p->watch = above_standard(p->watch);
  return pid;
}

static int sys_eventfd(void) { return above_standard(check(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))); }
static int sys_timerfd(void) {
  return above_standard(check(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)));
}

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

static int sys_lifeline(int fds[2]) {
  int rc = check(pipe2(fds, O_CLOEXEC));
  if (rc < 0) return rc;
  fds[0] = above_standard(fds[0]);
  fds[1] = above_standard(fds[1]);
  if (fds[0] >= 0 && fds[1] >= 0) return 0;
  rc = fds[0] < 0 ? fds[0] : fds[1];
  close(fds[0]);
  close(fds[1]);
  fds[0] = fds[1] = -1;
  return rc;
}

static int sys_epoll_create(void) { return above_standard(check(epoll_create1(EPOLL_CLOEXEC))); }

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

/* A bell: a descriptor that can always be written to, and that ep does not look at until somebody rings, once. */
static int sys_bell_add(int ep, int fd, uint64_t tag) {
  struct epoll_event ev = {.events = 0, .data.u64 = tag};
  return checked("sys_epoll_ctl", epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
}

static int sys_bell_ring(int ep, int fd, uint64_t tag) {
  struct epoll_event ev = {.events = EPOLLOUT | EPOLLONESHOT, .data.u64 = tag};
  return checked("sys_epoll_ctl", epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev));
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
  return above_standard(check(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666)));
}

static int sys_close(int fd) { return check(close(fd)); }

static int sys_open_file(const char *path, int how) {
  int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  flags |= how & MG_OPEN_APPEND ? O_WRONLY | O_APPEND : O_RDONLY;
  if (how & MG_OPEN_CREATE) flags |= O_CREAT;
  if (!(how & MG_OPEN_FOLLOW)) flags |= O_NOFOLLOW;
  return above_standard(check(open(path, flags, 0600)));
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

/* filled < 0: opens what of 0, 1 and 2 is closed, and returns which, as bits; else closes these again. */
static int sys_fill_standard(int filled) {
  if (filled < 0) {
    filled = 0;
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
      if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR | O_CLOEXEC) == fd) filled |= 1 << fd;
    return filled;
  }
  for (int fd = 0; fd <= STDERR_FILENO; fd++)
    if (filled & 1 << fd) close(fd);
  return 0;
}

static int sys_null_stdin(void) {
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  int rc = fd == 0 ? check(fcntl(fd, F_SETFD, 0)) : check(dup2(fd, 0));
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
  sa.sa_flags = SA_RESTART;
  sigemptyset(&sa.sa_mask);
  return check(sigaction(sig, &sa, NULL));
}

static int sys_signal_action(int sig, const struct sigaction *to, struct sigaction *old) {
  return check(sigaction(sig, to, old));
}

/* Stops this process by a signal that does so by default, in whose handler this is called. */
static int sys_stop_self(int sig) {
  sigset_t only, old;
  sigemptyset(&only);
  sigaddset(&only, sig);
  if (raise(sig) != 0) return -EINVAL;
  sigprocmask(SIG_UNBLOCK, &only, &old);
  return check(sigprocmask(SIG_SETMASK, &old, NULL));
}

static int sys_random(void *to, size_t n) { return check(getrandom(to, n, 0)); }

static int sys_cpus(void) {
  cpu_set_t set;
  int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
  return n < 1 ? 1 : n;
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

static unsigned *wiped; /* by hand, where the kernel does not */

static void wipe(void) { *wiped = 0; }

/* A page that reads as zeros in every child that is forked, by whomever.  Where the kernel (before Linux 4.14) or a
 * filter refuses that, libc's fork does it; then only a child of a bare system call goes unnoticed. */
static void *sys_wiped_page(void) {
  size_t size = (size_t)sysconf(_SC_PAGESIZE);
  void *at = sys_map_private(size);
  if (!at || check(madvise(at, size, MADV_WIPEONFORK)) == 0) return at;
  wiped = at;
  if (pthread_atfork(NULL, NULL, wipe) == 0) return at;
  munmap(at, size);
  return NULL;
}

/* The one ticker of a process: a timer that sends it a signal every so many milliseconds. */
static int ticker = -1; /* the kernel's number; glibc's own calls need a library before 2.34 */

static int sys_ticker_open(int sig) {
  struct sigevent event;
  memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = sig;
  int rc = check(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &ticker));
  if (rc < 0) ticker = -1;
  return rc;
}

static int sys_ticker_set(int ms) {
  struct itimerspec at = {.it_interval = {ms / 1000, ms % 1000 * 1000000L}};
  at.it_value = at.it_interval;
  return ticker < 0 ? -EBADF : check(syscall(SYS_timer_settime, ticker, 0, &at, NULL));
}

static int sys_ticker_close(void) {
  int old = ticker;
  ticker = -1;
  return old < 0 ? 0 : check(syscall(SYS_timer_delete, old));
}

/* Whoever calls exit leaves by this function. */
static void (*leave_by)(int code);

#ifdef __GLIBC__
static void leaving(int code, void *unused) {
  (void)unused;
  leave_by(code);
}
#define on_leaving() on_exit(leaving, NULL)
#else
static void leaving(void) { leave_by(EXIT_FAILURE); } /* with which code is not told */
#define on_leaving() atexit(leaving)
#endif

static int sys_at_exit(void (*leave)(int code)) {
  int known = leave_by != NULL;
  leave_by = leave;
  return known || on_leaving() == 0 ? 0 : -ENOMEM;
}

/* Standard output by whole lines, up to 64 KiB long, also where it is not a terminal. */
static int sys_line_buffer(void) {
  static char buffer[1 << 16];
  return setvbuf(stdout, buffer, _IOLBF, sizeof buffer) == 0 ? 0 : -EINVAL;
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
