/* pool.c - see pool.h. */
#include "pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "keeper.h"

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

int mg_pool_tell(mg_pool *p, uint32_t i, const mg_slot_event *ev) {
  sink_at at = {p, i};
  return enqueue(&at, ev);
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

void mg_pool_look_for_loss(mg_pool *p) {
  mg_file now;
  if (p->epoll < 0 || !p->kind.inode) return; /* or it has not been opened to its end */
  if (mg_sys.file_facts(p->epoll, &now) < 0 || now.device != p->kind.device || now.inode != p->kind.inode)
    p->lost = 1;
}

/* Of the slots, in a child: none of them is written to, which would copy their pages. */
static void leave_slots(const mg_pool *p) {
  mg_closing run = {-1, -1};
  for (const mg_slot *s = p->slot; s < p->slot + p->slots; s++)
    mg_close_with(&run, s->bell.epoll), mg_close_with(&run, s->proc.watch);
  mg_close_with(&run, -1);
}

static void close_descriptors(mg_pool *p, int in_child) {
  mg_pool_look_for_loss(p);
  if (!p->kept) shut_own(p, &p->epoll);
  shut_own(p, &p->bell.fd);
  shut_own(p, &p->timer);
  for (int i = 0; i < 2 && !p->lost; i++) mg_shut(&p->lifeline[i]);
  if (in_child && !p->lost) leave_slots(p);
  for (uint32_t i = 0; i < p->slots && (p->lost || !in_child); i++) {
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
  s->bell.fd = p->bell.fd;
  s->bell.tag = MG_TAG_BELL;
  return 0;
}

/* The coordinator's own bell. */
static int open_bell(mg_pool *p) {
  int rc = p->epoll = mg_sys.epoll_create();
  if (rc < 0) return rc;
  rc = p->bell.fd = mg_sys.eventfd();
  p->bell.epoll = p->epoll;
  p->bell.tag = MG_TAG_WAKE;
  if (rc >= 0) rc = mg_sys.bell_add(p->epoll, p->bell.fd, MG_TAG_WAKE);
  return rc < 0 ? rc : mg_sys.file_facts(p->epoll, &p->kind);
}

int mg_pool_open(mg_pool *p, uint32_t slots, size_t size, size_t keep, int cpus) {
  memset(p, 0, sizeof *p);
  p->epoll = p->bell.fd = p->timer = p->lifeline[0] = p->lifeline[1] = -1;
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
  while (p->watches > 0) mg_sys.epoll_del(p->epoll, p->watch[--p->watches]);
  close_descriptors(p, 0);
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
  free(p->watch);
  mg_shm_close(&p->shm);
  p->queue = NULL;
  p->watch = NULL;
  p->queued = p->queue_room = 0;
}

void mg_pool_close(mg_pool *p) {
  mg_pool_end(p);
  if (!p->kept) return;
  if (p->serial == mg_process_serial) {
    mg_pool_look_for_loss(p);
    shut_own(p, &p->epoll);
    forget(p);
  }
  memset(p, 0, sizeof *p);
}

/* --- spawning --------------------------------------------------------------------------------------------------- */

void mg_pool_child(void) {
  for (mg_pool *each = open_pools; each; each = each->next) {
    each->kept = 0;
    close_descriptors(each, 1);
    mg_relay_child(&each->relay);
    while (each->watches > 0) mg_shut(&each->watch[--each->watches]);
  }
  open_pools = NULL;
  mg_command_child();
  mg_keeper_child();
}

static int renews; /* see mg_pool_renew */
void mg_pool_renew(int on) { renews = on; }

static void child_side(mg_pool *p, uint32_t i, mg_worker *w) {
  mg_slot *s = &p->slot[i];
  memset(w, 0, sizeof *w);
  w->room = s->room;
  w->pending = w->few;
  if (s->threaded && mg_worker_make_threaded(w) < 0) mg_exit_now(1);
  w->shared = s->shared;
  w->base = p->shm.base;
  w->block = MG_NO_BLOCK;
  w->in = mg_ring_consumer(&s->shared->in);
  w->out = mg_ring_producer(&s->shared->out);
  w->epoll = s->bell.epoll;
  w->coordinator = p->bell;
  w->published_at = mg_now();
  w->serial = mg_process_serial;
  w->fences = mg_sys.barrier(1) < 0;
  atomic_store_explicit(&s->shared->ordering, w->fences ? MG_ORDERED_BY_FENCE : MG_ORDERED_BY_BARRIER,
                        memory_order_release);
  mg_proc_tell_end(&s->shared->last_word);
  s->bell.epoll = p->epoll = p->bell.fd = p->lifeline[0] = -1; /* kept open: they are the worker's now */
  mg_pool_child();
  const int own[] = {w->epoll, w->coordinator.epoll};
  if (renews && mg_sys.renew_epolls(own, 2) < 0) mg_exit_now(1);
}

int mg_pool_spawn(mg_pool *p, uint32_t i, size_t held_most, mg_worker *w) {
  mg_slot *s = &p->slot[i];
  MG_ASSERT(s->state == MG_SLOT_EMPTY && p->serial == mg_process_serial);
  int rc = mg_slot_open_bell(s, p->lifeline[0]);
  if (rc >= 0) rc = mg_relay_prepare(&p->relay, i);
  if (rc < 0) return rc;
  mg_pool_begin(p, i);
  s->held_most = held_most;
  int pid = mg_proc_spawn(&s->proc);
  if (pid == 0) {
    mg_relay_child(&p->relay);
    child_side(p, i, w);
    return 0;
  }
  mg_relay_forked(&p->relay);
  rc = pid < 0 ? pid : mg_sys.epoll_add(p->epoll, s->proc.watch, i);
  if (rc >= 0 && p->relay.which) rc = mg_sys.epoll_add(p->epoll, p->relay.from[i], MG_TAG_SAID + i);
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

int mg_pool_heard(mg_pool *p, uint32_t i, int last) {
  mg_slot_event ev = {.kind = MG_EVENT_SAID, .c = (uint32_t)last};
  if (last) mg_sys.epoll_del(p->epoll, p->relay.from[i]);
  return mg_pool_tell(p, i, &ev);
}

/* --- collecting ----------------------------------------------------------------------------------------------- */

static int corrupt(mg_pool *p, uint32_t i) {
  int reported = p->slot[i].damaged == 2;
  p->slot[i].damaged = 2;
  mg_slot_event ev = {.kind = MG_EVENT_CORRUPT, .pid = p->slot[i].proc.pid};
  mg_proc_kill(&p->slot[i].proc, SIGKILL);
  p->slot[i].out.mine = atomic_load(&p->slot[i].shared->out.head); /* not one descriptor more from this one */
  return reported ? 0 : mg_pool_tell(p, i, &ev);
}

int mg_pool_peek(mg_pool *p, uint32_t i, int nudges) {
  sink_at at = {p, i};
  int rc = mg_slot_peek(&p->slot[i], &p->shm, enqueue, &at);
  if (rc == 0 && nudges) rc = mg_slot_nudge(&p->slot[i]);
  return rc == -EPROTO ? corrupt(p, i) : rc;
}

int mg_pool_collect(mg_pool *p) {
  p->rounds++;
  for (uint32_t i = 0; i < p->used; i++) {
    if (p->slot[i].state == MG_SLOT_EMPTY) continue;
    sink_at at = {p, i};
    int rc = mg_slot_collect(&p->slot[i], &p->shm, enqueue, &at);
    if (rc == -EPROTO || p->slot[i].damaged == 1) rc = corrupt(p, i);
    if (rc == -ENOMEM) return rc;
  }
  if (MG_UNLIKELY(mg_checking)) mg_pool_check(p);
  return 0;
}

int mg_pool_reap(mg_pool *p, uint32_t i) {
  mg_slot *s = &p->slot[i];
  mg_exit how;
  sink_at at = {p, i};
  if (s->state == MG_SLOT_EMPTY || s->proc.watch < 0) return 0;
  /* Closing it would not be enough: epoll would go on where a sibling, just forked, still has a copy. */
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
  rc = p->relay.which ? mg_pool_heard(p, i, 1) : 0;
  if (rc == 0) rc = mg_slot_recover(s, &p->shm, enqueue, &at);
  return rc < 0 ? rc : enqueue(&at, &ev);
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

/* Counts a mention of a block. */
static void mention(const mg_pool *p, uint32_t *mentions, uint32_t block) {
  if (block == MG_NO_BLOCK) return;
  MG_ASSERT(mg_shm_held(&p->shm, block));
  mentions[block]++;
}

/* No block is mentioned, by slots and events, more often than it has references: the caller has the others. */
static void check_references(const mg_pool *p) {
  uint32_t *mentions = calloc(p->shm.bump ? p->shm.bump : 1, sizeof *mentions);
  if (!mentions) return;
  for (uint32_t i = 0; i < p->slots; i++) {
    const mg_slot *s = &p->slot[i];
    mention(p, mentions, s->home);
    for (uint32_t k = 0; k < s->chunks; k++)
      mention(p, mentions, s->chunk[(s->chunk_first + k) & (s->room - 1)].range.block);
    for (uint32_t k = 0; k < s->lents; k++) mention(p, mentions, s->lent[(s->lent_first + k) % MG_LENT]);
    for (uint32_t k = 0; k < s->helds; k++) mention(p, mentions, s->held[k].block);
  }
  for (uint32_t i = 0; i < p->queued; i++) {
    const mg_slot_event *ev = &p->queue[(p->queue_first + i) % p->queue_room];
    MG_ASSERT(ev->slot < p->slots);
    if (ev->kind == MG_EVENT_OUT || ev->kind == MG_EVENT_LEFT || ev->kind == MG_EVENT_REST)
      mention(p, mentions, ev->range.block);
  }
  for (uint32_t b = 0; b < p->shm.bump; b++) MG_ASSERT(mentions[b] <= p->shm.unit[b].refs);
  free(mentions);
}

void mg_pool_check(const mg_pool *p) {
  if (!p->slot || p->serial != mg_process_serial) return;
  mg_shm_check(&p->shm);
  for (uint32_t i = 0; i < p->slots; i++) {
    const mg_slot *s = &p->slot[i];
    mg_slot_check(s, &p->shm);
    MG_ASSERT(i < p->used || s->state == MG_SLOT_EMPTY);
    MG_ASSERT((s->state == MG_SLOT_EMPTY || s->played) == (s->proc.watch < 0)); /* 2 */
    if (s->state == MG_SLOT_EMPTY || s->damaged) continue;
    mg_ring_check(&s->in, 1);
    mg_ring_check(&s->out, 0);
  }
  MG_ASSERT(p->queued <= p->queue_room);
  check_references(p); /* 1 */
  const int ours[] = {p->epoll, p->bell.fd, p->lifeline[0], p->lifeline[1], p->timer};
  for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) MG_ASSERT(ours[i] < 0 || ours[i] > 2); /* 3 */
}
