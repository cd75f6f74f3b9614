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
  mg_sys.null_stdin();
  mg_sys.set_signals(mask);
}

int mg_proc_spawn(mg_proc *p) {
  sigset_t old;
  pid_t parent = mg_pid();
  unsigned serial = mg_process_serial;
  p->pid = 0;
  p->pidfd = -1;
  fflush(NULL);
  int rc = mg_sys.block_signals(&old);
  if (rc < 0) return rc;
  pid_t pid = mg_sys.fork();
  if (pid == 0) {
    become_child(parent, serial, &old);
    return 0;
  }
  if (pid > 0) {
    p->pid = pid;
    p->pidfd = mg_sys.pidfd_open(pid);
    if (p->pidfd < 0) { /* out of descriptors: the child must not go on alone */
      rc = p->pidfd;
      p->pidfd = -1;
      mg_sys.kill_wait(pid);
      pid = rc;
    }
  }
  mg_sys.set_signals(&old);
  return pid;
}

int mg_proc_reap(mg_proc *p, mg_exit *out) {
  int rc = mg_sys.reap(p->pidfd, out);
  if (rc > 0) {
    mg_sys.close(p->pidfd);
    p->pidfd = -1;
  }
  return rc;
}

int mg_proc_kill(mg_proc *p, int sig) {
  if (p->pidfd < 0) return 0;
  int rc = mg_sys.pidfd_kill(p->pidfd, sig);
  return rc == -ESRCH ? 0 : rc;
}

void mg_proc_end(mg_proc *p) {
  mg_exit how;
  if (p->pidfd < 0) return;
  mg_proc_kill(p, SIGKILL);
  for (;;) {
    struct pollfd fd = {.fd = p->pidfd, .events = POLLIN};
    mg_sys.poll(&fd, 1, 1000);
    int rc = mg_proc_reap(p, &how);
    if (rc > 0) return;
    if (rc < 0) break;
  }
  mg_sys.close(p->pidfd);
  p->pidfd = -1;
}
