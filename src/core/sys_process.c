/* sys_process.c - the calls of mg_sys that make processes, end them and wait for them. */
#define _GNU_SOURCE
#include "sys_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

pid_t mg_sys_fork(void) { return check(fork()); }

int mg_sys_pidfd_open(pid_t pid) {
  return mg_above_standard(check(syscall(SYS_pidfd_open, pid, 0))); /* close-on-exec by itself */
}

/* Whether a call that takes a pidfd must be made with the child's number instead: the kernel, or a filter, does not let
 * us, or the descriptor is not ours any more. */
static int by_number(int rc) { return mg_is_refused(rc) || rc == -EINVAL || rc == -EBADF; }

/* By the pidfd where there is one: it names this child for ever, its number only until it was waited for. */
int mg_sys_kill(pid_t pid, int pidfd, int sig) {
  siginfo_t info;
  int rc = pidfd >= 0 ? check(syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0)) : -ENOSYS;
  if (!by_number(rc)) return rc;
  if (pid > 0 && check(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT)) == -ECHILD) return -ESRCH;
  return check(kill(pid, sig));
}

/* Of a process that may be no child of this one. */
int mg_sys_kill_other(pid_t pid, int sig) { return check(kill(pid, sig)); }

/* Ends a child that has no pidfd, and waits for it; not another that has its number, where it was waited for already.
 * */
int mg_sys_kill_wait(pid_t pid) {
  mg_sys_kill(pid, -1, SIGKILL);
  int rc;
  do rc = check(waitpid(pid, NULL, 0));
  while (rc == -EINTR);
  return rc;
}

static void used_by(const struct rusage *r, mg_exit *out) {
  out->max_rss = (uint64_t)r->ru_maxrss * 1024;
  out->cpu = ((uint64_t)r->ru_utime.tv_sec + (uint64_t)r->ru_stime.tv_sec) * 1000000000u +
             ((uint64_t)r->ru_utime.tv_usec + (uint64_t)r->ru_stime.tv_usec) * 1000u;
}

/* The kernel's own call: libc's does not tell what the child has used. */
static int wait_by(int kind, int which, siginfo_t *info, mg_exit *out) {
  struct rusage used = {0};
  int rc;
  memset(info, 0, sizeof *info);
  do rc = check(syscall(SYS_waitid, kind, which, info, WEXITED | WNOHANG, &used));
  while (rc == -EINTR);
  if (rc == 0 && info->si_pid != 0) used_by(&used, out);
  return rc;
}

static void from_status(int status, mg_exit *out) {
  out->known = 1;
  out->core = WIFSIGNALED(status) && WCOREDUMP(status);
  if (WIFSIGNALED(status)) out->signal = WTERMSIG(status);
  else out->code = WEXITSTATUS(status);
}

/* What Linux 6.15 and later still knows of a child that another part of the program has waited for. */
static void ask_pidfd(int pidfd, mg_exit *out) {
  struct { uint64_t mask, cgroup; uint32_t ids[11]; int32_t status; } info = {.mask = 8 /* PIDFD_INFO_EXIT */};
  if (pidfd >= 0 && ioctl(pidfd, _IOWR(0xff, 11, info) /* PIDFD_GET_INFO */, &info) == 0 && (info.mask & 8))
    from_status(info.status, out);
}

/* 1 with *out filled when the child has ended, 0 while it lives.  Only this child is asked for, never any other. */
int mg_sys_reap(pid_t pid, int pidfd, mg_exit *out) {
  enum { BY_PIDFD = 3 };
  struct rusage used = {0};
  siginfo_t info;
  memset(out, 0, sizeof *out);
  int status = 0, rc = pidfd >= 0 ? wait_by(BY_PIDFD, pidfd, &info, out) : -ENOSYS;
  if (by_number(rc)) rc = wait_by(P_PID, pid, &info, out);
  if (mg_is_refused(rc)) {
    do rc = check(wait4(pid, &status, WNOHANG, &used));
    while (rc == -EINTR);
    if (rc > 0) from_status(status, out), used_by(&used, out);
  } else if (rc == 0 && info.si_pid != 0) {
    rc = out->known = 1;
    out->core = info.si_code == CLD_DUMPED;
    if (info.si_code == CLD_EXITED) out->code = info.si_status;
    else out->signal = info.si_status;
  }
  if (rc != -ECHILD) return rc > 0 ? 1 : rc;
  ask_pidfd(pidfd, out); /* the program waited for all children, or ignores SIGCHLD */
  return 1;
}

/* 1 when the child has ended, or there is none of that number any more: the program has waited for it.  0 while it
 * lives.  It stays to be waited for. */
int mg_sys_has_ended(pid_t pid) {
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

/* All from the first to the last, whichever of them are open. */
int mg_sys_close_run(int first, int last) { return leave_descriptors((unsigned)first, (unsigned)last, 0); }

int mg_sys_close_others(int keep) {
  if (keep > 0) leave_descriptors(0, (unsigned)keep - 1, 0);
  return leave_descriptors((unsigned)keep + 1, ~0u, 0);
}

int mg_sys_new_session(void) { return check(setsid()); }
int mg_sys_new_group(void) { return check(setpgid(0, 0)); }

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
 * it: where SIGCHLD is ignored a quick one is gone before that can be asked for. */
pid_t mg_sys_launch(mg_launch *p) {
  enum { SHARED = CLONE_VM | CLONE_VFORK | SIGCHLD, STACK = 1 << 16 };
  size_t words = 2;
  while (p->argv[words - 2]) words++; /* execvpe makes a second list for a script without #! */
  size_t size = (STACK + words * sizeof *p->argv + 15) & ~(size_t)15;
  char *stack = mg_sys_map_private(size);
  p->watch = -1;
  if (!stack) return -ENOMEM;
  pid_t pid = clone(become_program, stack + size, SHARED | CLONE_PIDFD, p, &p->watch);
  if (pid < 0 && errno == EINVAL) pid = clone(become_program, stack + size, SHARED, p);
  pid = check(pid);
  munmap(stack, size);
  p->watch = mg_above_standard(p->watch);
  return pid;
}

int mg_sys_parent_death_signal(int sig) { return check(prctl(PR_SET_PDEATHSIG, sig)); }

/* So much more than there is now of what is private to the process and may be written: a mapping that is shared, as
 * the pool's, does not count. */
int mg_sys_limit_memory(uint64_t bytes) {
  char text[128] = "";
  unsigned long long pages = 0;
  int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  int rc = n < 0 ? -errno : 0;
  if (fd >= 0) close(fd);
  if (rc < 0) return rc;
  if (sscanf(text, "%*s %*s %*s %*s %*s %llu", &pages) != 1) return -EIO;
  bytes += pages * (uint64_t)sysconf(_SC_PAGESIZE);
  const struct rlimit limit = {.rlim_cur = bytes, .rlim_max = bytes};
  return check(setrlimit(RLIMIT_DATA, &limit));
}

int mg_sys_be_nice(int more) {
  errno = 0;
  int now = getpriority(PRIO_PROCESS, 0);
  if (now == -1 && errno) return -errno;
  return check(setpriority(PRIO_PROCESS, 0, now + more));
}

/* On the nth, from 0, of the processors that it may use now. */
int mg_sys_bind_cpu(unsigned nth) {
  cpu_set_t all, one;
  CPU_ZERO(&one);
  if (sched_getaffinity(0, sizeof all, &all) < 0) return -errno;
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET(cpu, &all) && nth-- == 0) {
      CPU_SET(cpu, &one);
      return check(sched_setaffinity(0, sizeof one, &one));
    }
  return -EINVAL;
}
