/* wait.c - see wait.h. */
#include "wait.h"

#include <errno.h>
#include <stdlib.h>

#include "clock.h"

enum { MAX_READY = 64, LOOK_NS = 100000000 };
enum { LOOK_EVERY = 16 }; /* waits that found something at once, for one look at the descriptors */
enum { NUDGE_EVERY = 1000000000 };
enum { PEEK_FIRST = 2000000, PEEK_MOST = 64000000 }; /* ns of sleep between looks at the commit words */

int mg_pool_anything(const mg_pool *p) {
  if (p->queued > 0) return 1;
  for (uint32_t i = 0; i < p->used; i++)
    if (p->slot[i].state != MG_SLOT_EMPTY && (mg_ring_waiting(&p->slot[i].out) > 0 || p->slot[i].damaged == 1))
      return 1;
  return 0;
}

int mg_pool_idle(const mg_pool *p, uint32_t first, uint32_t last) {
  for (uint32_t i = first; i <= last && i < p->used; i++)
    if (p->slot[i].state == MG_SLOT_LIVE && p->slot[i].chunks == 0) return 1;
  return 0;
}

/* Tells the workers whether there is a core to spin on; returns it for the coordinator itself. */
static int allow_spin(mg_pool *p) {
  int awake = 1;
  for (uint32_t i = 0; i < p->used; i++)
    awake += p->slot[i].state != MG_SLOT_EMPTY && p->slot[i].shared->worker_asleep == 0;
  uint32_t allowed = awake <= p->cpus;
  for (uint32_t i = 0; i < p->used; i++) {
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

int mg_pool_spin(mg_pool *p) { return mg_pool_anything(p) || spin_for(p, -1); }

static void set_asleep(mg_pool *p, uint32_t asleep) {
  for (uint32_t i = 0; i < p->used; i++)
    if (p->slot[i].state != MG_SLOT_EMPTY)
      atomic_store_explicit(&p->slot[i].shared->coordinator_asleep, asleep, memory_order_relaxed);
  if (asleep) atomic_thread_fence(memory_order_seq_cst);
}

/* Children that are watched by a pipe may have ended while another process keeps the pipe open. */
static int look_after_pipes(mg_pool *p) {
  int rc = 0;
  for (uint32_t i = 0; i < p->used && rc >= 0; i++)
    if (p->slot[i].proc.watch >= 0 && p->slot[i].proc.is_pipe) rc = mg_pool_reap(p, i);
  return rc;
}

static int has_pipes(const mg_pool *p) {
  for (uint32_t i = 0; i < p->used; i++)
    if (p->slot[i].proc.watch >= 0) return p->slot[i].proc.is_pipe; /* all or none */
  return 0;
}

/* mg_pool_peek at each slot; once in a while, after those that are not heard of too.  0 or -errno. */
static int peek(mg_pool *p) {
  uint64_t now = mg_now();
  int nudges = now - p->nudged > NUDGE_EVERY, rc = 0;
  if (nudges) p->nudged = now;
  for (uint32_t i = 0; i < p->used && rc >= 0; i++) rc = mg_pool_peek(p, i, nudges);
  return rc < 0 ? rc : 0;
}

static int any_busy(const mg_pool *p) {
  for (uint32_t i = 0; i < p->used; i++)
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

/* What epoll has reported.  0 or -errno. */
static int handle(mg_pool *p, const struct epoll_event *ready, int n) {
  int rc = 0;
  for (int i = 0; i < n && rc >= 0; i++) {
    uint64_t tag = ready[i].data.u64;
    if (tag >= MG_TAG_SAID) rc = mg_pool_heard(p, (uint32_t)(tag - MG_TAG_SAID), 0);
    else if (tag == MG_TAG_TIMER) mg_sys.timer_set(p->timer, -1);
    else if (tag < p->slots) rc = mg_pool_reap(p, (uint32_t)tag);
  }
  return rc;
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
  return n > 0 ? handle(p, ready, n) : rc;
}

int mg_pool_wait(mg_pool *p, int64_t ns) {
  int rc = wait_for(p, ns);
  if (rc < 0) mg_pool_look_for_loss(p);
  if (MG_UNLIKELY(mg_checking)) mg_pool_check(p);
  return rc;
}

static int ring_bell(mg_pool *p) {
  int rc = mg_pool_seen(p, mg_event_ring(&p->bell));
  return rc < 0 ? rc : 1;
}

static int open_timer(mg_pool *p) {
  if (p->timer >= 0) return 0;
  int fd = mg_sys.timerfd();
  int rc = fd < 0 ? fd : mg_sys.epoll_add(p->epoll, fd, MG_TAG_TIMER);
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
  if (p->watches == p->watch_room) {
    uint32_t room = p->watch_room ? 2 * p->watch_room : 4;
    int *more = realloc(p->watch, room * sizeof *more);
    if (!more) return -ENOMEM;
    p->watch = more;
    p->watch_room = room;
  }
  int rc = mg_sys.epoll_add(p->epoll, fd, MG_TAG_WATCHED);
  if (rc == 0) p->watch[p->watches++] = fd;
  return rc;
}
