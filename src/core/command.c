/* command.c - see command.h. */
#include "command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "keeper.h"
#include "proc.h"

enum { FIRST_ROOM = 4096, MOST_ROUNDS = 32, LEAVE_MS = 2000 };

static mg_command *commands; /* of this process */

static void unlink_command(mg_command *c) {
  for (mg_command **at = &commands; *at; at = &(*at)->next)
    if (*at == c) {
      *at = c->next;
      return;
    }
}

static void close_descriptors(mg_command *c) {
  for (int i = 0; i < 3; i++) mg_shut(&c->own[i]);
  mg_shut(&c->watch);
  mg_shut(&c->epoll);
}

/* --- starting --------------------------------------------------------------------------------------------------- */

/* What descriptor i of the program is; fds[i] < 0 afterwards: it could not be had. */
static int open_stream(mg_command *c, int fds[3], const mg_streams *s, int i) {
  int ends[2], rc;
  if (i == 0 && !s->input) return fds[0] = mg_sys.open_file("/dev/null", MG_OPEN_READ | MG_OPEN_FOLLOW);
  if (s->path[i]) return fds[i] = mg_sys.open_output(s->path[i]);
  if (s->inherit[i]) return fds[i] = i;
  if ((rc = mg_sys.lifeline(ends)) < 0) return fds[i] = rc;
  fds[i] = ends[i != 0];
  c->own[i] = ends[i == 0];
  rc = mg_sys.do_not_block(c->own[i]);
  return rc < 0 ? rc : mg_sys.epoll_set(c->epoll, c->own[i], i == 0 ? EPOLLOUT : EPOLLIN);
}

/* Starts the program, once its streams are there and all signals are blocked.  Returns its number or -errno. */
static pid_t launch_once(mg_launch *l) {
  mg_failed_launch failed = {0, 0};
  int status[2];
  int rc = l->keeper = mg_keeper_fd();
  l->failed = MG_LAUNCH_KEEP;
  if (rc < 0) return rc;
  l->failed = MG_LAUNCH_START;
  if ((rc = mg_sys.lifeline(status)) < 0) return rc;
  l->status = status[1];
  pid_t pid = mg_sys.launch(l);
  mg_shut(&status[1]);
  ssize_t n = -EINTR;
  while (pid > 0 && (n == -EINTR || n == -EAGAIN)) n = mg_sys.read(status[0], &failed, sizeof failed);
  mg_shut(&status[0]);
  if (pid <= 0 || n == 0) return pid; /* end-of-file: its program has begun */
  mg_shut(&l->watch);
  if (n == sizeof failed) l->failed = failed.step;
  if (l->failed > MG_LAUNCH_KEEP) mg_keeper_added(), mg_keeper_drop(pid);
  mg_sys.kill_wait(pid);
  return n == sizeof failed ? -failed.error : n < 0 ? (pid_t)n : -EIO;
}

static pid_t start_program(mg_launch *l) {
  pid_t pid = launch_once(l);
  if (pid != -EPIPE || l->failed != MG_LAUNCH_KEEP) return pid;
  mg_keeper_lost();
  return launch_once(l);
}

/* The program runs: from now on it is watched. */
static void begin(mg_command *c, pid_t pid, int watch) {
  mg_keeper_added();
  c->pid = pid;
  c->watch = watch >= 0 ? watch : mg_sys.pidfd_open(pid); /* whatever is wrong with it: then it is looked for */
  if (c->watch >= 0 && mg_sys.epoll_set(c->epoll, c->watch, EPOLLIN) < 0) mg_shut(&c->watch);
  c->next = commands;
  commands = c;
}

int mg_command_start(mg_command *c, mg_launch *l, const mg_streams *s, size_t limit, int *failed_stream) {
  int rc = 0, blocked = -1;
  sigset_t old;
  memset(c, 0, sizeof *c);
  c->own[0] = c->own[1] = c->own[2] = c->watch = -1;
  c->serial = mg_process_serial;
  c->limit = limit;
  c->input = s->input;
  c->input_left = s->length;
  c->epoll = rc = mg_sys.epoll_create();
  l->failed = MG_LAUNCH_START;
  *failed_stream = -1;
  for (int i = 0; i < 3; i++) l->fds[i] = -1;
  for (int i = 0; i < 3 && rc >= 0; i++)
    if ((rc = open_stream(c, l->fds, s, i)) < 0) *failed_stream = i;
  if (rc >= 0) rc = blocked = mg_sys.block_signals(&old); /* so that mg_command_signal reaches what has begun */
  pid_t pid = rc < 0 ? rc : start_program(l);
  for (int i = 0; i < 3; i++)
    if (!s->inherit[i]) mg_shut(&l->fds[i]);
  if (pid < 0) close_descriptors(c);
  else begin(c, pid, l->watch);
  if (blocked == 0) mg_sys.set_signals(&old);
  return pid < 0 ? pid : 0;
}

/* --- moving ----------------------------------------------------------------------------------------------------- */

static void feed(mg_command *c) {
  for (int i = 0; i < MOST_ROUNDS && c->own[0] >= 0; i++) {
    ssize_t n = c->input_left > 0 ? mg_sys.write_pipe(c->own[0], c->input, c->input_left) : 0;
    if (n == -EAGAIN || n == -EINTR) return;
    if (n < 0 || (size_t)n == c->input_left) { /* it does not want the rest, or has all */
      mg_shut(&c->own[0]);
      return;
    }
    c->input += n;
    c->input_left -= (size_t)n;
  }
}

static int keep_bytes(mg_command *c, mg_text *t, int i, const char *from, size_t n) {
  if (n > c->limit - t->length) {
    n = c->limit - t->length;
    if (c->exceeded == 0) c->exceeded = i, mg_command_kill(c, SIGKILL);
  }
  if (t->length + n > t->room) {
    size_t room = t->room ? t->room * 2 : FIRST_ROOM;
    while (room < t->length + n) room *= 2;
    char *more = realloc(t->at, room);
    if (!more) return -ENOMEM;
    t->at = more;
    t->room = room;
  }
  if (n > 0) memcpy(t->at + t->length, from, n);
  t->length += n;
  return 0;
}

/* Reads what is there, and of one that never stops writing as much as the largest pipe holds. */
static int drain(mg_command *c, int i) {
  char part[32768];
  for (int round = 0; round < MOST_ROUNDS && c->own[i] >= 0; round++) {
    ssize_t n = mg_sys.read(c->own[i], part, sizeof part);
    if (n == -EINTR) continue;
    if (n == -EAGAIN) return 0;
    if (n <= 0) {
      mg_shut(&c->own[i]);
      return 0;
    }
    int rc = keep_bytes(c, &c->kept[i], i, part, (size_t)n);
    if (rc < 0) return rc;
  }
  return 0;
}

/* Whether it has ended.  Where asking is forbidden (a filter of system calls) its pidfd tells, or a number that is
 * free. */
static int has_ended(const mg_command *c) {
  int rc = mg_sys.has_ended(c->pid);
  if (rc >= 0) return rc;
  struct pollfd fd = {.fd = c->watch, .events = POLLIN};
  if (c->watch >= 0) return mg_sys.poll(&fd, 1, 0) > 0;
  return mg_sys.kill(c->pid, -1, 0) == -ESRCH;
}

/* Its end has been seen: nothing of its group goes on, and its number is given back last. */
static void settle(mg_command *c) {
  mg_sys.kill(-c->pid, -1, SIGKILL);
  mg_keeper_drop(c->pid);
  if (mg_sys.reap(c->pid, c->watch, &c->how) <= 0) mg_sys.reap(c->pid, -1, &c->how);
  c->pid = 0;
}

int mg_command_step(mg_command *c) {
  if (c->pid == 0) return 1;
  int ended = has_ended(c), rc = 0;
  if (ended) settle(c);
  else feed(c);
  for (int i = 1; i < 3 && rc == 0; i++) rc = drain(c, i);
  if (rc < 0 || !ended) return rc;
  unlink_command(c);
  close_descriptors(c);
  return 1;
}

int mg_command_kill(mg_command *c, int sig) {
  if (c->pid == 0 || c->serial != mg_process_serial) return 0;
  int rc = mg_sys.kill(-c->pid, -1, sig);
  return rc == -ESRCH ? 0 : rc;
}

void mg_command_close(mg_command *c) {
  if (c->pid > 0 && c->serial == mg_process_serial) {
    mg_command_kill(c, SIGKILL);
    uint64_t until = mg_now() + (uint64_t)LEAVE_MS * 1000000;
    while (!has_ended(c) && mg_now() < until) {
      struct pollfd fd = {.fd = c->watch, .events = POLLIN};
      mg_sys.poll(&fd, c->watch >= 0, c->watch >= 0 ? 100 : 1);
    }
    if (has_ended(c)) settle(c); /* else it is stuck in the kernel: the keeper still knows it */
  }
  c->pid = 0;
  unlink_command(c);
  close_descriptors(c);
  for (int i = 1; i < 3; i++) {
    free(c->kept[i].at);
    c->kept[i] = (mg_text){0};
  }
}

void mg_command_signal(int sig) {
  for (mg_command *c = commands; c; c = c->next) mg_command_kill(c, sig);
}

void mg_command_child(void) {
  for (; commands; commands = commands->next) close_descriptors(commands);
}
