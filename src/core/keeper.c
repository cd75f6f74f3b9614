/* keeper.c - see keeper.h. */
#include "keeper.h"

#include <errno.h>

#include "proc.h"

enum { MOST = 4096 }; /* groups at once */

static struct {
  pid_t pid;
  int fd;          /* the write end; -1: there is no keeper */
  unsigned noted;  /* groups */
  unsigned serial; /* of the process that it is for */
} keeper = {.fd = -1};

/* The keeper's whole life, in its own process. */
static _Noreturn void keep(int fd) {
  pid_t groups[MOST];
  int32_t id;
  unsigned n = 0;
  mg_sys.new_session();
  mg_sys.close_others(fd);
  for (;;) {
    ssize_t got = mg_sys.read(fd, &id, sizeof id);
    if (got == -EINTR || got == -EAGAIN) continue;
    if (got != sizeof id) break;
    if (id > 0 && n < MOST) groups[n++] = id;
    for (unsigned i = 0; id < 0 && i < n; i++)
      if (groups[i] == -id) groups[i] = groups[--n], id = 0;
  }
  for (unsigned i = 0; i < n; i++) mg_sys.kill(-groups[i], -1, SIGKILL);
  mg_exit_now(0);
}

int mg_keeper_fd(void) {
  sigset_t old;
  int ends[2];
  if (keeper.fd >= 0 && keeper.serial == mg_process_serial) return keeper.noted < MOST ? keeper.fd : -EAGAIN;
  mg_keeper_child();
  int rc = mg_sys.lifeline(ends);
  if (rc < 0) return rc;
  rc = mg_sys.block_signals(&old);
  pid_t pid = rc < 0 ? rc : mg_sys.fork();
  if (pid == 0) keep(ends[0]);
  if (rc == 0) mg_sys.set_signals(&old);
  mg_shut(&ends[0]);
  if (pid < 0) {
    mg_shut(&ends[1]);
    return pid;
  }
  keeper.pid = pid;
  keeper.noted = 0;
  keeper.serial = mg_process_serial;
  return keeper.fd = ends[1];
}

static int tell(int32_t id) {
  ssize_t n;
  do n = mg_sys.write_pipe(keeper.fd, &id, sizeof id);
  while (n == -EINTR);
  return n < 0 ? (int)n : 0;
}

int mg_keeper_add(pid_t group) {
  for (int try = 0;; try++) {
    int rc = mg_keeper_fd();
    if (rc >= 0) rc = tell(group);
    if (rc == 0) keeper.noted++;
    if (rc != -EPIPE || try > 0) return rc;
    mg_keeper_lost();
  }
}

void mg_keeper_added(void) {
  keeper.noted++;
  if (MG_UNLIKELY(mg_checking)) mg_keeper_check();
}

void mg_keeper_drop(pid_t group) {
  if (keeper.fd < 0 || keeper.serial != mg_process_serial) return;
  tell(-group);
  if (keeper.noted > 0) keeper.noted--;
  if (MG_UNLIKELY(mg_checking)) mg_keeper_check();
}

void mg_keeper_check(void) {
  if (keeper.serial != mg_process_serial) return;
  MG_ASSERT(keeper.fd < 0 || keeper.pid > 0);
  MG_ASSERT(keeper.noted <= MOST && (keeper.noted == 0 || keeper.fd >= 0)); /* 1: a group is noted with a keeper */
}

void mg_keeper_lost(void) {
  if (keeper.fd < 0) return;
  int own = keeper.serial == mg_process_serial;
  if (own) mg_sys.kill_wait(keeper.pid); /* while it is a child of ours that was not waited for */
  mg_shut(&keeper.fd);
  keeper.noted = 0;
}

void mg_keeper_rest(void) {
  if (keeper.noted == 0) mg_keeper_lost();
}

void mg_keeper_child(void) {
  if (keeper.serial == mg_process_serial) return;
  mg_shut(&keeper.fd);
  keeper.noted = 0;
}
