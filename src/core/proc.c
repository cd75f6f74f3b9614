/* proc.c - see proc.h. */
#include "proc.h"

#include <errno.h>
#include <stdio.h>

unsigned *mg_process_page;

volatile sig_atomic_t mg_proc_ignored;

static unsigned serial_most; /* of this process and those above it */

int mg_proc_open(void) {
  if (mg_process_page) return 0;
  mg_process_page = mg_sys.wiped_page();
  if (!mg_process_page) return -ENOMEM;
  mg_process_own();
  return 0;
}

unsigned mg_process_own(void) {
  if (MG_UNLIKELY(mg_process_serial == 0)) mg_process_serial = ++serial_most;
  return mg_process_serial;
}

/* --- the child ------------------------------------------------------------------------------------------------- */

enum { SAID = 0x100 }; /* in the last word, beside the code */

static _Atomic uint32_t *last_word;
static unsigned last_word_of; /* the process that may write it */

void mg_proc_tell_end(_Atomic uint32_t *word) {
  last_word = word;
  last_word_of = mg_process_serial;
}

_Noreturn void mg_proc_leave(int code) {
  if (last_word && mg_process_serial == last_word_of)
    atomic_store(last_word, (uint32_t)(SAID | (code & 0xff)));
  mg_exit_now(code);
}

void mg_proc_ask_end(uint32_t word, mg_exit *out) {
  if (out->known || (word & ~0xffu) != SAID) return;
  out->known = 1;
  out->code = (int)(word & 0xff);
}

/* exit, called past us: by os.exit of before the run, or by a C library. */
static void leave_at_exit(int code) {
  mg_sys.flush(1);
  mg_proc_leave(code);
}

static void ignore_signal(int sig) {
  (void)sig;
  mg_proc_ignored++;
}

/* By a handler, so that programs which are started from here have the usual disposition. */
static void leave_to_coordinator(int sig) {
  if (!mg_is_handled_by(sig, SIG_IGN)) mg_sys.handle_signal(sig, ignore_signal);
}

/* Forgets a stop of the old group (Ctrl-Z) that has come since the fork: in its new one nothing would end it. */
static void drop_stop(void) {
  struct sigaction usual;
  if (mg_sys.signal_action(SIGTSTP, NULL, &usual) < 0) return;
  mg_sys.handle_signal(SIGTSTP, SIG_IGN);
  mg_sys.signal_action(SIGTSTP, &usual, NULL);
}

static void begin_child(void) {
  mg_process_serial = ++serial_most;
  last_word = NULL;
}

static void become_plain(void) {
  begin_child();
  if (mg_sys.at_exit(leave_at_exit) < 0) mg_exit_now(1);
  mg_sys.default_signals();
}

static void become_worker(pid_t parent, const sigset_t *mask) {
  begin_child();
  mg_sys.parent_death_signal(SIGKILL);
  if (mg_parent_pid() != parent) mg_exit_now(1); /* it died before the signal was set */
  if (mg_sys.at_exit(leave_at_exit) < 0) mg_exit_now(1);
  leave_to_coordinator(SIGINT);
  leave_to_coordinator(SIGTERM);
  mg_sys.handle_signal(SIGTTIN, SIG_IGN); /* in the background of a terminal: an error, not a stop without end */
  mg_sys.handle_signal(SIGTTOU, SIG_IGN);
  mg_sys.new_group(); /* of which all are that it starts, see mg_proc_reap */
  drop_stop();
  mg_sys.null_stdin();
  mg_sys.line_buffer();
  mg_sys.set_signals(mask);
}

/* --- descriptors ------------------------------------------------------------------------------------------------- */

void mg_close_with(mg_closing *run, int fd) {
  if (fd >= 0 && fd == run->last + 1 && run->first >= 0) {
    run->last = fd;
    return;
  }
  if (run->first >= 0) mg_sys.close_run(run->first, run->last);
  *run = (mg_closing){fd, fd};
}

/* --- the coordinator ------------------------------------------------------------------------------------------- */

static int pidfds_missing; /* found out once: a refusal never turns into anything else */

/* The pipe that stands for a pidfd: ends[0] for the coordinator, ends[1] for the child. */
static int open_pipe(int ends[2]) {
  ends[0] = ends[1] = -1;
  if (!pidfds_missing) {
    int fd = mg_sys.pidfd_open(mg_pid());
    if (fd >= 0) mg_sys.close(fd);
    pidfds_missing = mg_is_refused(fd);
  }
  return pidfds_missing ? mg_sys.lifeline(ends) : 0;
}

/* Whether there is no `watch`, or the program has closed it; it may have opened another file under its number. */
static int is_watch_gone(const mg_proc *p) {
  mg_file now;
  int rc = p->watch < 0 ? -EBADF : mg_sys.file_facts(p->watch, &now);
  return rc == -EBADF || (rc == 0 && (now.device != p->kind.device || now.inode != p->kind.inode));
}

static void close_watch(mg_proc *p) {
  if (!is_watch_gone(p)) mg_sys.close(p->watch);
  p->watch = -1;
}

/* A child that has ended already, and that need not be waited for: where the program ignores SIGCHLD. */
static int watch_ended(mg_proc *p) {
  int ends[2], rc = mg_sys.lifeline(ends);
  if (rc < 0) return rc;
  mg_sys.close(ends[1]);
  p->is_pipe = p->is_ended = 1;
  p->watch = ends[0];
  return 0;
}

/* In the coordinator, after the fork: how the child will be watched. */
static int watch(mg_proc *p, pid_t pid, int ends[2]) {
  mg_shut(&ends[1]);
  p->pid = pid;
  p->is_pipe = ends[0] >= 0;
  p->watch = p->is_pipe ? ends[0] : mg_sys.pidfd_open(pid);
  int rc = p->watch == -ESRCH ? watch_ended(p) : p->watch;
  if (rc >= 0) rc = mg_sys.file_facts(p->watch, &p->kind);
  if (rc >= 0) return pid;
  mg_shut(&p->watch);
  /* out of descriptors: the child must not go on alone */
  mg_sys.kill_wait(pid);
  return rc;
}

static int spawn(mg_proc *p, int plain) {
  sigset_t old;
  pid_t parent = mg_pid();
  int ends[2], rc = open_pipe(ends);
  p->pid = 0;
  p->watch = -1;
  p->plain = plain;
  p->is_ended = 0;
  if (rc < 0) return rc;
  mg_sys.flush(1);
  rc = mg_sys.block_signals(&old);
  pid_t pid = rc < 0 ? rc : mg_sys.fork();
  if (pid == 0) {
    mg_shut(&ends[0]);
    if (plain) become_plain();
    else become_worker(parent, &old);
    return 0;
  }
  if (pid > 0) {
    pid = watch(p, pid, ends);
  } else {
    mg_shut(&ends[0]);
    mg_shut(&ends[1]);
  }
  if (rc == 0) mg_sys.set_signals(&old);
  return pid;
}

int mg_proc_spawn(mg_proc *p) { return spawn(p, 0); }

int mg_proc_fork(mg_proc *p) { return spawn(p, 1); }

int mg_proc_watch(mg_proc *p, pid_t pid) {
  *p = (mg_proc){.pid = pid, .plain = 1};
  int rc = p->watch = mg_sys.pidfd_open(pid);
  if (mg_is_refused(rc)) rc = mg_sys.kill_other(pid, 0) == -ESRCH ? -ESRCH : 0;
  else if (rc >= 0) rc = mg_sys.file_facts(p->watch, &p->kind);
  if (rc < 0) mg_shut(&p->watch);
  else if (p->watch < 0) p->watch = -1;
  return rc;
}

void mg_proc_forget(mg_proc *p) { close_watch(p); }

/* A process that has no pidfd and cannot be waited for is no child of this one: it is there or it is not. */
static int reap_plain(mg_proc *p, mg_exit *out) {
  struct pollfd fd = {.fd = p->watch, .events = POLLIN};
  int has_pidfd = !p->is_pipe && !is_watch_gone(p);
  if (has_pidfd && mg_sys.poll(&fd, 1, 0) == 0) return 0;
  int rc = mg_sys.reap(p->pid, has_pidfd ? p->watch : -1, out);
  if (rc > 0 && !out->known && !has_pidfd && !p->is_ended && mg_sys.kill_other(p->pid, 0) != -ESRCH) return 0;
  return rc;
}

/* What the child has started is of its group, and ends now.  As long as the child has not been waited for its number is
 * that of no other group. */
int mg_proc_reap(mg_proc *p, mg_exit *out) {
  if (p->plain) return reap_plain(p, out);
  int ended = mg_sys.has_ended(p->pid);
  if (ended == 0) return 0;
  if (ended > 0) mg_sys.kill(-p->pid, -1, SIGKILL);
  int rc = mg_sys.reap(p->pid, p->is_pipe ? -1 : p->watch, out);
  if (rc > 0) close_watch(p);
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
  close_watch(p);
}
