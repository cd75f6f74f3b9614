/* pool.c - see pool.h. */
#include "pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "command.h"
#include "keeper.h"

enum { MAX_READY = 64, LOOK_NS = 100000000 };
enum { LOOK_EVERY = 16 }; /* waits that found something at once, for one look at the descriptors */
enum { NUDGE_EVERY = 1000000000 };
enum { PEEK_FIRST = 2000000, PEEK_MOST = 64000000 }; /* ns of sleep between looks at the commit words */
/* Beside the slots' numbers in epoll's tags. */
#define TAG_WAKE UINT32_MAX
#define TAG_TIMER (UINT32_MAX - 1)
#define TAG_WATCHED (UINT32_MAX - 2)
#define TAG_SAID ((uint64_t)1 << 32) /* added to the slot's number */

static mg_pool *open_pools; /* of this process: a child must close the descriptors of all of them */

typedef struct sink_at {
  mg_pool *pool;
  uint32_t slot;
} sink_at;

static int enqueue(void *to, const mg_slot_event *ev) {
  sink_at *at = to;
  mg_pool *p = at->pool;
  if (p->queued == p->queue_room) {
    uint32_t room = p->queue_room ? p->queue_room * 2 : 64;
    mg_slot_event *more = malloc(room * sizeof *more);
    if (!more) return -ENOMEM;
    for (uint32_t i = 0; i < p->queued; i++) more[i] = p->queue[(p->queue_first + i) % p->queue_room];
    free(p->queue);
    p->queue = more;
    p->queue_first = 0;
    p->queue_room = room;
  }
  mg_slot_event *e = &p->queue[(p->queue_first + p->queued++) % p->queue_room];
  *e = *ev;
  e->slot = at->slot;
  return 0;
}

int mg_pool_event(mg_pool *p, mg_slot_event *out) {
  if (p->queued == 0) return 0;
  *out = p->queue[p->queue_first];
  p->queue_first = (p->queue_first + 1) % p->queue_room;
  p->queued--;
  return 1;
}

/* --- opening and closing ---------------------------------------------------------------------------------------- */

/* The number may be that of a file which the program has opened after it had closed ours. */
static void shut_own(const mg_pool *p, int *fd) {
  mg_file now;
  if (p->lost && (*fd < 0 || mg_sys.file_facts(*fd, &now) < 0 || now.device != p->kind.device ||
                  now.inode != p->kind.inode))
    *fd = -1;
  mg_shut(fd);
}

/* Whatever has failed first: who has lost its epoll descriptor closes no number that is not seen to be its own. */
static void look_for_loss(mg_pool *p) {
  mg_file now;
  if (p->epoll < 0 || !p->kind.inode) return; /* or it has not been opened to its end */
  if (mg_sys.file_facts(p->epoll, &now) < 0 || now.device != p->kind.device || now.inode != p->kind.inode)
    p->lost = 1;
}

static void close_descriptors(mg_pool *p) {
  look_for_loss(p);
  if (!p->kept) shut_own(p, &p->epoll);
  shut_own(p, &p->bell.fd);
  shut_own(p, &p->timer);
  for (int i = 0; i < 2 && !p->lost; i++) mg_shut(&p->lifeline[i]);
  for (uint32_t i = 0; i < p->slots; i++) {
    shut_own(p, &p->slot[i].bell.epoll);
    if (!p->lost) mg_shut(&p->slot[i].proc.watch);
  }
}

int mg_pool_seen(mg_pool *p, int rc) {
  if (rc == -EBADF || rc == -EINVAL || rc == -ENOENT || rc == -EPERM) p->lost = 1;
  return rc;
}

static int open_slot(mg_pool *p, uint32_t i) {
  mg_slot *s = &p->slot[i];
  s->home = mg_shm_alloc(&p->shm, sizeof(mg_slot_shared));
  if (s->home == MG_NO_BLOCK) return -ENOMEM;
  s->shared = (mg_slot_shared *)(void *)mg_shm_at(&p->shm, s->home);
  int ep = s->bell.epoll = mg_sys.epoll_create();
  s->bell.fd = p->bell.fd;
  s->bell.tag = MG_TAG_BELL;
  int rc = ep < 0 ? ep : mg_sys.bell_add(ep, s->bell.fd, MG_TAG_BELL);
  return rc < 0 ? rc : mg_sys.epoll_add(ep, p->lifeline[0], MG_TAG_LIFELINE);
}

/* The coordinator's own bell. */
static int open_bell(mg_pool *p) {
  int rc = p->epoll = mg_sys.epoll_create();
  if (rc < 0) return rc;
  rc = p->bell.fd = mg_sys.eventfd();
  p->bell.epoll = p->epoll;
  p->bell.tag = TAG_WAKE;
  if (rc >= 0) rc = mg_sys.bell_add(p->epoll, p->bell.fd, TAG_WAKE);
  return rc < 0 ? rc : mg_sys.file_facts(p->epoll, &p->kind);
}

int mg_pool_open(mg_pool *p, uint32_t slots, size_t size, size_t keep, int cpus) {
  memset(p, 0, sizeof *p);
  p->epoll = p->bell.fd = p->timer = p->watched = p->lifeline[0] = p->lifeline[1] = -1;
  p->serial = mg_process_own();
  p->cpus = cpus > 0 ? cpus : mg_sys.cpus();
  int rc = mg_shm_open(&p->shm, size, (slots + 16) * MG_UNIT, keep);
  if (rc < 0) return rc;
  p->slot = calloc(slots ? slots : 1, sizeof *p->slot);
  if (!p->slot) {
    mg_shm_close(&p->shm);
    return -ENOMEM;
  }
  p->slots = slots;
  for (uint32_t i = 0; i < slots; i++) p->slot[i].bell.epoll = p->slot[i].proc.watch = -1;
  p->next = open_pools;
  open_pools = p;
  if ((rc = open_bell(p)) < 0) goto fail;
  if ((rc = mg_sys.lifeline(p->lifeline)) < 0) goto fail;
  for (uint32_t i = 0; i < slots; i++)
    if ((rc = open_slot(p, i)) < 0) goto fail;
  return 0;
fail:
  mg_pool_close(p);
  return rc;
}

static void forget(mg_pool *p) {
  for (mg_pool **at = &open_pools; *at; at = &(*at)->next)
    if (*at == p) {
      *at = p->next;
      break;
    }
}

void mg_pool_end(mg_pool *p) {
  if (!p->slot) return;
  if (p->serial != mg_process_serial) { /* its worker still uses the mapping, and has no say over its siblings */
    memset(p, 0, sizeof *p);
    return;
  }
  for (uint32_t i = 0; i < p->slots; i++) mg_proc_kill(&p->slot[i].proc, SIGKILL); /* all at once, then wait */
  for (uint32_t i = 0; i < p->slots; i++) mg_proc_end(&p->slot[i].proc);
  mg_relay_close(&p->relay);
  p->kept = 1;
  if (p->watched >= 0) mg_sys.epoll_del(p->epoll, p->watched);
  p->watched = -1;
  close_descriptors(p);
  uint32_t slots = p->slots;
  p->slots = 0;
  atomic_signal_fence(memory_order_seq_cst); /* mg_pool_kill_all may come now */
  for (uint32_t i = 0; i < slots; i++) {
    free(p->slot[i].held);
    mg_slot_free(&p->slot[i]);
  }
  mg_slot *gone = p->slot;
  p->slots = 0;
  p->slot = NULL;
  atomic_signal_fence(memory_order_seq_cst); /* mg_pool_signal */
  free(gone);
  free(p->queue);
  mg_shm_close(&p->shm);
  p->queue = NULL;
  p->queued = p->queue_room = 0;
}

void mg_pool_close(mg_pool *p) {
  mg_pool_end(p);
  if (!p->kept) return;
  if (p->serial == mg_process_serial) {
    look_for_loss(p);
    shut_own(p, &p->epoll);
    forget(p);
  }
  memset(p, 0, sizeof *p);
}

/* --- spawning --------------------------------------------------------------------------------------------------- */

static void child_side(mg_pool *p, uint32_t i, mg_worker *w) {
  mg_slot *s = &p->slot[i];
  memset(w, 0, sizeof *w);
  w->room = s->room;
  w->pending = w->few;
  if (s->wide && mg_worker_widen(w) < 0) mg_exit_now(1);
  w->shared = s->shared;
  w->base = p->shm.base;
  w->block = MG_NO_BLOCK;
  w->in = (mg_ring_end){.ring = &s->shared->in};
  w->out = (mg_ring_end){.ring = &s->shared->out};
  w->epoll = s->bell.epoll;
  w->coordinator = p->bell;
  w->told = mg_now();
  w->serial = mg_process_serial;
  w->fences = mg_sys.barrier(1) < 0;
  atomic_store_explicit(&s->shared->ordering, w->fences ? MG_ORDERED_BY_FENCE : MG_ORDERED_BY_BARRIER,
                        memory_order_release);
  mg_proc_tell_end(&s->shared->last_word);
  s->bell.epoll = p->epoll = p->bell.fd = p->lifeline[0] = -1; /* kept open: they are the worker's now */
  for (mg_pool *each = open_pools; each; each = each->next) {
    each->kept = 0;
    close_descriptors(each);
    mg_relay_child(&each->relay);
    mg_shut(&each->watched);
  }
  open_pools = NULL;
  mg_command_child();
  mg_keeper_child();
}

int mg_pool_spawn(mg_pool *p, uint32_t i, size_t held_most, mg_worker *w) {
  mg_slot *s = &p->slot[i];
  MG_ASSERT(s->state == MG_SLOT_EMPTY && p->serial == mg_process_serial);
  int rc = mg_relay_prepare(&p->relay, i);
  if (rc < 0) return rc;
  mg_slot_begin(s);
  s->held_most = held_most;
  int pid = mg_proc_spawn(&s->proc);
  if (pid == 0) {
    mg_relay_child(&p->relay);
    child_side(p, i, w);
    return 0;
  }
  mg_relay_forked(&p->relay);
  rc = pid < 0 ? pid : mg_sys.epoll_add(p->epoll, s->proc.watch, i);
  if (rc >= 0 && p->relay.which) rc = mg_sys.epoll_add(p->epoll, p->relay.from[i], TAG_SAID + i);
  if (rc < 0) {
    mg_proc_end(&s->proc);
    mg_slot_drop(s, &p->shm);
    return rc;
  }
  return pid;
}

int mg_pool_relay(mg_pool *p, unsigned which) { return mg_relay_open(&p->relay, p->slots, which); }

size_t mg_pool_said(mg_pool *p, uint32_t i, void *to, size_t n) {
  ssize_t got = mg_relay_read(&p->relay, i, to, n);
  /* A worker that has closed its outputs: epoll would tell of that for ever. */
  if (got == 0 && p->relay.which) mg_sys.epoll_del(p->epoll, p->relay.from[i]);
  return got > 0 ? (size_t)got : 0;
}

/* What a slot's worker has said is there to be read; the last of it, where it has ended. */
static int said(mg_pool *p, uint32_t i, int last) {
  sink_at at = {p, i};
  mg_slot_event ev = {.kind = MG_EVENT_SAID, .c = (uint32_t)last};
  if (last) mg_sys.epoll_del(p->epoll, p->relay.from[i]);
  return enqueue(&at, &ev);
}

/* --- collecting and waiting ------------------------------------------------------------------------------------- */

static int corrupt(mg_pool *p, uint32_t i) {
  sink_at at = {p, i};
  int told = p->slot[i].damaged == 2;
  p->slot[i].damaged = 2;
  mg_slot_event ev = {.kind = MG_EVENT_CORRUPT, .pid = p->slot[i].proc.pid};
  mg_proc_kill(&p->slot[i].proc, SIGKILL);
  p->slot[i].out.mine = atomic_load(&p->slot[i].shared->out.head); /* not one descriptor more from this one */
  return told ? 0 : enqueue(&at, &ev);
}

int mg_pool_collect(mg_pool *p) {
  for (uint32_t i = 0; i < p->slots; i++) {
    if (p->slot[i].state == MG_SLOT_EMPTY) continue;
    sink_at at = {p, i};
    int rc = mg_slot_collect(&p->slot[i], &p->shm, enqueue, &at);
    if (rc == -EPROTO || p->slot[i].damaged == 1) rc = corrupt(p, i);
    if (rc == -ENOMEM) return rc;
  }
  return 0;
}

static int reap(mg_pool *p, uint32_t i) {
  mg_slot *s = &p->slot[i];
  mg_exit how;
  sink_at at = {p, i};
  if (s->state == MG_SLOT_EMPTY || s->proc.watch < 0) return 0;
  /* Closing it would not be enough: a sibling that has just been forked may still have a copy, and epoll would go on
   * telling of it. */
  mg_sys.epoll_del(p->epoll, s->proc.watch);
  int rc = mg_proc_reap(&s->proc, &how);
  if (rc <= 0) {
    int back = mg_sys.epoll_add(p->epoll, s->proc.watch, i);
    return rc < 0 ? rc : back;
  }
  mg_proc_ask_end(atomic_load(&s->shared->last_word), &how);
  int expected = s->state == MG_SLOT_ENDING && how.known && how.signal == 0 && how.code == 0;
  mg_slot_event ev = {.kind = MG_EVENT_EXIT, .a = (uint32_t)how.code, .b = (uint32_t)how.signal, .pid = s->proc.pid,
                      .c = (uint32_t)(expected | !how.known << 1)};
  rc = p->relay.which ? said(p, i, 1) : 0;
  if (rc == 0) rc = mg_slot_recover(s, &p->shm, enqueue, &at);
  return rc < 0 ? rc : enqueue(&at, &ev);
}

int mg_pool_anything(const mg_pool *p) {
  if (p->queued > 0) return 1;
  for (uint32_t i = 0; i < p->slots; i++)
    if (p->slot[i].state != MG_SLOT_EMPTY && (mg_ring_waiting(&p->slot[i].out) > 0 || p->slot[i].damaged == 1))
      return 1;
  return 0;
}

int mg_pool_idle(const mg_pool *p, uint32_t first, uint32_t last) {
  for (uint32_t i = first; i <= last && i < p->slots; i++)
    if (p->slot[i].state == MG_SLOT_LIVE && p->slot[i].chunks == 0) return 1;
  return 0;
}

/* Tells the workers whether there is a core to spin on; returns it for the coordinator itself. */
static int allow_spin(mg_pool *p) {
  int awake = 1;
  for (uint32_t i = 0; i < p->slots; i++)
    awake += p->slot[i].state != MG_SLOT_EMPTY && p->slot[i].shared->worker_asleep == 0;
  uint32_t allowed = awake <= p->cpus;
  for (uint32_t i = 0; i < p->slots; i++) {
    mg_slot *s = &p->slot[i];
    if (s->state != MG_SLOT_EMPTY && s->shared->spin_allowed != allowed) s->shared->spin_allowed = allowed;
  }
  return (int)allowed && awake > 1;
}

static int spin_for(mg_pool *p, int64_t ns) {
  uint32_t budget = mg_spin_budget(&p->spin, allow_spin(p));
  if (budget == 0 || (ns >= 0 && ns < budget)) return 0;
  uint64_t until = mg_now() + budget;
  do {
    for (int i = 0; i < 16; i++) {
      if (mg_pool_anything(p)) {
        mg_spin_learn(&p->spin, 1);
        return 1;
      }
      mg_pause();
    }
  } while (mg_now() < until);
  mg_spin_learn(&p->spin, 0);
  return 0;
}

static void set_asleep(mg_pool *p, uint32_t asleep) {
  for (uint32_t i = 0; i < p->slots; i++)
    if (p->slot[i].state != MG_SLOT_EMPTY)
      atomic_store_explicit(&p->slot[i].shared->coordinator_asleep, asleep, memory_order_relaxed);
  if (asleep) atomic_thread_fence(memory_order_seq_cst);
}

/* Children that are watched by a pipe may have ended while somebody keeps the pipe open. */
static int look_after_pipes(mg_pool *p) {
  int rc = 0;
  for (uint32_t i = 0; i < p->slots && rc >= 0; i++)
    if (p->slot[i].proc.watch >= 0 && p->slot[i].proc.is_pipe) rc = reap(p, i);
  return rc;
}

static int has_pipes(const mg_pool *p) {
  for (uint32_t i = 0; i < p->slots; i++)
    if (p->slot[i].proc.watch >= 0) return p->slot[i].proc.is_pipe; /* all or none */
  return 0;
}

/* Looks at what busy workers have finished since their last descriptor and, once in a while, after those that are not
 * heard of.  0 or -errno. */
static int peek(mg_pool *p) {
  uint64_t now = mg_now();
  int nudges = now - p->nudged > NUDGE_EVERY;
  if (nudges) p->nudged = now;
  for (uint32_t i = 0; i < p->slots; i++) {
    sink_at at = {p, i};
    int rc = mg_slot_peek(&p->slot[i], &p->shm, enqueue, &at);
    if (rc == 0 && nudges) rc = mg_slot_nudge(&p->slot[i]);
    if (rc == -EPROTO) rc = corrupt(p, i);
    if (rc < 0) return rc;
  }
  return 0;
}

static int any_busy(const mg_pool *p) {
  for (uint32_t i = 0; i < p->slots; i++)
    if (p->slot[i].state == MG_SLOT_ENDING || p->slot[i].chunks > 0) return 1;
  return 0;
}

/* epoll_wait, and a look at the commit words now and then; it is over as soon as they tell something, or the rings do:
 * a worker need not have woken us. */
static int wait_and_peek(mg_pool *p, struct epoll_event *ready, int64_t ns) {
  for (int64_t step = PEEK_FIRST;; step = step < PEEK_MOST ? 2 * step : step) {
    int part = (ns < 0 || ns > step) && any_busy(p);
    int64_t asked = part ? step : ns;
    uint64_t began = asked > 0 ? mg_clock_look() : 0;
    int n = mg_sys.epoll_wait(p->epoll, ready, MAX_READY, asked);
    if (asked > 0) mg_clock_slept(began, (uint64_t)asked);
    if (n != 0 || !part) return n;
    int rc = peek(p);
    if (rc < 0 || p->queued > 0 || mg_pool_anything(p)) return rc;
    if (ns > 0) ns -= step;
  }
}

static void disarm(mg_pool *p) {
  if (!p->armed) return;
  p->armed = 0;
  set_asleep(p, 0);
}

static int wait_for(mg_pool *p, int64_t ns) {
  struct epoll_event ready[MAX_READY];
  disarm(p);
  if (ns == 0 && !mg_pool_anything(p)) {
    int looked = peek(p);
    if (looked < 0) return looked;
  }
  if (has_pipes(p) && (ns < 0 || ns > LOOK_NS)) ns = LOOK_NS;
  int found = ns != 0 && (mg_pool_anything(p) || spin_for(p, ns));
  if (found && ++p->unlooked % LOOK_EVERY != 0) return 0; /* a look at the descriptors costs a system call */
  int sleeps = ns != 0 && !found;
  if (sleeps) {
    set_asleep(p, 1);
    if (mg_pool_anything(p)) ns = 0;
  } else {
    ns = 0;
  }
  int n = mg_pool_seen(p, wait_and_peek(p, ready, ns)), rc = n < 0 ? n : 0;
  if (sleeps) set_asleep(p, 0);
  if (n == 0 && sleeps && (rc = look_after_pipes(p)) < 0) return rc;
  for (int i = 0; i < n; i++) {
    if (ready[i].data.u64 >= TAG_SAID) {
      if ((rc = said(p, (uint32_t)(ready[i].data.u64 - TAG_SAID), 0)) < 0) break;
    } else if (ready[i].data.u64 == TAG_TIMER) mg_sys.timer_set(p->timer, -1);
    else if (ready[i].data.u64 < p->slots && (rc = reap(p, (uint32_t)ready[i].data.u64)) < 0) break;
  }
  return rc;
}

int mg_pool_wait(mg_pool *p, int64_t ns) {
  int rc = wait_for(p, ns);
  if (rc < 0) look_for_loss(p);
  return rc;
}

static int ring_bell(mg_pool *p) {
  int rc = mg_pool_seen(p, mg_event_ring(&p->bell));
  return rc < 0 ? rc : 1;
}

static int open_timer(mg_pool *p) {
  if (p->timer >= 0) return 0;
  int fd = mg_sys.timerfd();
  int rc = fd < 0 ? fd : mg_sys.epoll_add(p->epoll, fd, TAG_TIMER);
  if (rc < 0) {
    if (fd >= 0) mg_sys.close(fd);
    return rc;
  }
  p->timer = fd;
  return 0;
}

int mg_pool_arm(mg_pool *p, int64_t ns) {
  if (ns == 0) return ring_bell(p);
  int rc = open_timer(p), busy = any_busy(p);
  if (rc < 0) return rc;
  p->armed = 1;
  set_asleep(p, 1);
  if (busy && (rc = peek(p)) < 0) return rc;
  if (mg_pool_anything(p)) {
    p->look = PEEK_FIRST;
    return ring_bell(p);
  }
  if (busy) {
    if (p->look < PEEK_FIRST) p->look = PEEK_FIRST;
    if (ns < 0 || ns > p->look) ns = p->look;
    if (p->look < PEEK_MOST) p->look *= 2;
  }
  if (has_pipes(p) && (ns < 0 || ns > LOOK_NS)) ns = LOOK_NS;
  rc = mg_sys.timer_set(p->timer, ns);
  return rc < 0 ? rc : 0;
}

int mg_pool_watch(mg_pool *p, int fd) {
  int rc = mg_sys.epoll_add(p->epoll, fd, TAG_WATCHED);
  if (rc == 0) p->watched = fd;
  return rc;
}

void mg_pool_wake(void) {
  for (mg_pool *p = open_pools; p; p = p->next)
    if (p->bell.fd >= 0) mg_event_ring(&p->bell);
}

void mg_pool_kill_all(void) {
  for (mg_pool *p = open_pools; p; p = p->next)
    for (uint32_t i = 0; p->serial == mg_process_serial && i < p->slots; i++)
      mg_proc_kill(&p->slot[i].proc, SIGKILL);
  for (mg_pool *p = open_pools; p; p = p->next)
    for (uint32_t i = 0; p->serial == mg_process_serial && i < p->slots; i++) mg_proc_end(&p->slot[i].proc);
}

void mg_pool_signal(int sig) {
  for (mg_pool *p = open_pools; p; p = p->next)
    for (uint32_t i = 0; p->serial == mg_process_serial && i < p->slots; i++) {
      const mg_proc *each = &p->slot[i].proc;
      if (each->watch >= 0 && mg_sys.kill(-each->pid, -1, sig) < 0) mg_sys.kill(each->pid, -1, sig);
    }
}

int mg_pool_time_out(mg_pool *p, uint32_t i, uint64_t began) {
  mg_slot *s = &p->slot[i];
  if (s->state == MG_SLOT_EMPTY || s->timed_out) return 0;
  s->timed_out = began;
  return mg_proc_kill(&s->proc, SIGKILL);
}

void mg_pool_check(const mg_pool *p) {
  mg_shm_check(&p->shm);
  for (uint32_t i = 0; i < p->slots; i++) {
    mg_slot_check(&p->slot[i], &p->shm);
    MG_ASSERT((p->slot[i].state == MG_SLOT_EMPTY) == (p->slot[i].proc.watch < 0));
  }
}
