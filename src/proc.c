/* proc.c - see proc.h. */
#include "proc.h"

#include <errno.h>
#include <stdio.h>

unsigned *mg_process_page;

int mg_proc_open(void) {
  if (mg_process_page) return 0;
  mg_process_page = mg_sys.wiped_page();
  if (!mg_process_page) return -ENOMEM;
  mg_process_serial = 1;
  return 0;
}

static void ignore_signal(int sig) { (void)sig; }

static void become_child(pid_t parent, unsigned serial, const sigset_t *mask) {
  mg_process_serial = serial + 1;
  mg_sys.parent_death_signal(SIGKILL);
  if (mg_parent_pid() != parent) mg_exit_now(1); /* it died before the signal was set */
  mg_sys.handle_signal(SIGINT, ignore_signal);   /* Ctrl-C reaches the whole group; the coordinator decides */
  mg_sys.handle_signal(SIGTERM, SIG_DFL);
  mg_sys.handle_signal(SIGTTIN, SIG_IGN); /* in the background of a terminal: an error, not a stop that nobody ends */
  mg_sys.handle_signal(SIGTTOU, SIG_IGN);
  mg_sys.new_group(); /* of which all are that it starts, see mg_proc_reap */
  mg_sys.null_stdin();
  mg_sys.set_signals(mask);
}

static int pidfds_missing; /* found out once: -ENOSYS never turns into anything else */

/* The pipe that stands for a pidfd: ends[0] for the coordinator, ends[1] for the child. */
static int open_pipe(int ends[2]) {
  ends[0] = ends[1] = -1;
  if (!pidfds_missing) {
    int fd = mg_sys.pidfd_open(mg_pid());
    if (fd >= 0) mg_sys.close(fd);
    pidfds_missing = fd == -ENOSYS;
  }
  return pidfds_missing ? mg_sys.lifeline(ends) : 0;
}

static void close_end(int *fd) {
  if (*fd >= 0) mg_sys.close(*fd);
  *fd = -1;
}

/* In the coordinator, after the fork: how the child will be watched. */
static int watch(mg_proc *p, pid_t pid, int ends[2]) {
  close_end(&ends[1]);
  p->pid = pid;
  p->is_pipe = ends[0] >= 0;
  p->watch = p->is_pipe ? ends[0] : mg_sys.pidfd_open(pid);
  if (p->watch >= 0) return pid;
  int rc = p->watch; /* out of descriptors: the child must not go on alone */
  p->watch = -1;
  mg_sys.kill_wait(pid);
  return rc;
}

int mg_proc_spawn(mg_proc *p) {
  sigset_t old;
  pid_t parent = mg_pid();
  unsigned serial = mg_process_serial;
  int ends[2], rc = open_pipe(ends);
  p->pid = 0;
  p->watch = -1;
  if (rc < 0) return rc;
  fflush(NULL);
  rc = mg_sys.block_signals(&old);
  pid_t pid = rc < 0 ? rc : mg_sys.fork();
  if (pid == 0) {
    close_end(&ends[0]);
    become_child(parent, serial, &old);
    return 0;
  }
  if (pid > 0) {
    pid = watch(p, pid, ends);
  } else {
    close_end(&ends[0]);
    close_end(&ends[1]);
  }
  if (rc == 0) mg_sys.set_signals(&old);
  return pid;
}

/* What the child has started is of its group, and ends now.  As long as nobody has waited for the child its number is
 * that of no other group. */
int mg_proc_reap(mg_proc *p, mg_exit *out) {
  int ended = mg_sys.has_ended(p->pid);
  if (ended == 0) return 0;
  if (ended > 0) mg_sys.kill(-p->pid, -1, SIGKILL);
  int rc = mg_sys.reap(p->pid, p->is_pipe ? -1 : p->watch, out);
  if (rc > 0) close_end(&p->watch);
  return rc;
}

int mg_proc_kill(mg_proc *p, int sig) {
  if (p->watch < 0) return 0;
  int rc = mg_sys.kill(p->pid, p->is_pipe ? -1 : p->watch, sig);
  return rc == -ESRCH ? 0 : rc;
}

void mg_proc_end(mg_proc *p) {
  mg_exit how;
  if (p->watch < 0) return;
  mg_proc_kill(p, SIGKILL);
  for (;;) {
    struct pollfd fd = {.fd = p->watch, .events = POLLIN};
    mg_sys.poll(&fd, 1, p->is_pipe ? 1 : 1000);
    int rc = mg_proc_reap(p, &how);
    if (rc > 0) return;
    if (rc < 0) break;
  }
  close_end(&p->watch);
}
