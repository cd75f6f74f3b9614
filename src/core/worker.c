/* worker.c - see worker.h. */
#include "worker.h"

#include <errno.h>
#include <stdlib.h>

#include "clock.h"

enum { CHECK_MOST = 64 }; /* items */
/* How long to sleep at most for what an item in hand needs: the side that should wake this worker may have been misled
 * by damage. A worker without work is looked after by the coordinator (mg_slot_nudge), and sleeps without end. */
#define LOOK_NS 2000000000
/* Nanoseconds. Where no processor is to spare, telling costs another worker its own. */
enum { TELL_AFTER = 1000000, TELL_LATE = 4000000 };

/* --- the in-ring ------------------------------------------------------------------------------------------------ */

static void take_in(mg_worker *w) {
  mg_desc d;
  for (uint32_t n; (n = mg_ring_waiting(&w->in)) > 0;) {
    if (MG_UNLIKELY(n > MG_RING || mg_ring_pop(&w->in, &d) < 0)) mg_exit_now(71); /* some worker has written there */
    if (d.kind == MG_IN_CHUNK) w->pending[(w->pending_first + w->pendings++) & (w->room - 1)] = d;
    else if (d.kind == MG_IN_BLOCK) w->spare[(w->spare_first + w->spares++) % MG_LENT] = d;
    else if (d.kind == MG_IN_END) w->ending = 1;
  }
}

/* Leaves because its descriptors are gone; what it has committed stays. */
static _Noreturn void leave(mg_worker *w) {
  if (w->between) atomic_store(&w->shared->claim[(w->sequence - 1) & (w->room - 1)], MG_CLAIM_LEFT);
  mg_proc_leave(1);
}

static int have_work(mg_worker *w) { return w->pendings > 0 || w->ending; }
static int have_block(mg_worker *w) { return w->spares > 0; }
static int have_room(mg_worker *w) { return mg_ring_room(&w->out) > 0; }

static int spin_for(mg_worker *w, int (*ready)(mg_worker *)) {
  uint32_t budget = mg_spin_budget(&w->spin, (int)atomic_load_explicit(&w->shared->spin_allowed, memory_order_relaxed));
  if (budget == 0) return 0;
  uint64_t until = mg_now() + budget;
  do {
    for (int i = 0; i < 16; i++) {
      take_in(w);
      if (ready(w)) {
        mg_spin_learn(&w->spin, 1);
        return 1;
      }
      mg_pause();
    }
  } while (mg_now() < until);
  mg_spin_learn(&w->spin, 0);
  return 0;
}

/* Waits for its bell, the end of the coordinator and, where it is none below 0, fd. */
static void wait_once(mg_worker *w, int fd, int64_t ns) {
  struct epoll_event said[2];
  struct pollfd fds[2] = {{.fd = w->epoll, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
  if (fd >= 0) {
    int ms = ns < 0 ? -1 : ns > (int64_t)3600 * 1000000000 ? 3600000 : (int)((ns + 999999) / 1000000);
    mg_sys.poll(fds, 2, ms);
    if ((fds[0].revents | fds[1].revents) & POLLNVAL) leave(w); /* the handler has closed our descriptors */
    ns = 0;
  }
  int n = mg_sys.epoll_wait(w->epoll, said, 2, ns);
  if (n < 0 && n != -EINTR) leave(w);
  for (int i = 0; i < n; i++)
    if (said[i].data.u64 == MG_TAG_LIFELINE) mg_proc_leave(1); /* the coordinator is gone */
  MG_POINT(woken);
}

/* Sleeps until `ready`.  The protocol is that of event.h. */
static void sleep_until(mg_worker *w, int (*ready)(mg_worker *)) {
  _Atomic uint32_t *asleep = &w->shared->worker_asleep;
  while (!ready(w)) {
    if (spin_for(w, ready)) return;
    mg_event_prepare(asleep);
    take_in(w);
    if (ready(w)) {
      mg_event_awake(asleep);
      return;
    }
    wait_once(w, -1, ready == have_work ? -1 : LOOK_NS);
    mg_event_awake(asleep);
    take_in(w);
  }
}

/* Waiting is not the time of the item in hand: its clock stands meanwhile. */
static void wait_for(mg_worker *w, int (*ready)(mg_worker *)) {
  take_in(w);
  if (ready(w)) return;
  uint64_t began = atomic_load_explicit(&w->shared->began, memory_order_relaxed), since = began ? mg_now() : 0;
  if (began) atomic_store_explicit(&w->shared->began, 0, memory_order_relaxed);
  sleep_until(w, ready);
  if (began) atomic_store_explicit(&w->shared->began, began + (mg_now() - since), memory_order_relaxed);
}

/* --- the out-ring ----------------------------------------------------------------------------------------------- */

void mg_worker_check(const mg_worker *w) {
  uint64_t word = atomic_load_explicit(&w->shared->commit, memory_order_relaxed);
  MG_ASSERT(w->published <= w->mark && w->mark <= w->end && w->end <= w->size); /* 1 */
  MG_ASSERT((w->published | w->mark | w->end) % 8 == 0);
  MG_ASSERT((w->count > 0) == (w->end > w->published) && (w->mark_count > 0) == (w->mark > w->published)); /* 2 */
  MG_ASSERT(w->mark_count <= w->count);
  MG_ASSERT(!w->item_held || w->busy);                                                     /* 3 */
  MG_ASSERT(word == MG_COMMIT_WORD(w->generation, w->done, w->mark));                      /* 4 */
  MG_ASSERT(!w->busy || w->done + w->ahead <= w->chunk.count); /* 5 */
  MG_ASSERT(w->pendings <= w->room && w->spares <= MG_LENT);
  mg_ring_check(&w->in, 0);
  mg_ring_check(&w->out, 1);
}

static uint32_t no_chunk(const mg_worker *w) { return w->busy && !w->is_producer ? 0 : MG_OUT_NO_CHUNK; }

static void store_commit(mg_worker *w) {
  if (MG_UNLIKELY(mg_process_serial != w->serial)) mg_exit_now(1); /* a copy that the handler forked has come here */
  MG_POINT(before_commit);
  atomic_store_explicit(&w->shared->commit, MG_COMMIT_WORD(w->generation, w->done, w->mark), memory_order_release);
  MG_POINT(after_commit);
  if (MG_UNLIKELY(mg_checking)) mg_worker_check(w);
}

static void tell(mg_worker *w, uint32_t flags, uint32_t need) {
  uint64_t now = mg_now();
  mg_desc d = {.kind = MG_OUT_DATA, .flags = flags, .block = w->block, .offset = w->published,
               .length = w->end - w->published, .count = w->count, .stage = w->edge,
               .chunk = w->busy ? w->chunk.chunk : 0, .done = w->done, .attempt = need,
               .sure_length = w->mark - w->published, .sure_count = w->mark_count,
               .nanos = w->busy ? mg_worker_spent(w, now) : 0};
  if (mg_process_serial != w->serial) mg_exit_now(1);
  wait_for(w, have_room);
  w->published_at = now;
  if (w->end > w->mark) w->item_held = 1;
  if (flags & MG_OUT_RETURN) {
    w->block = MG_NO_BLOCK;
    w->size = w->published = w->end = 0;
  } else {
    w->published = w->end;
  }
  w->mark = w->published;
  w->count = w->mark_count = 0;
  w->generation++;
  if (flags & MG_OUT_END) {
    w->busy = w->is_producer = w->item_held = 0;
    w->done = 0;
    atomic_store_explicit(&w->shared->began, 0, memory_order_relaxed);
  }
  MG_POINT(before_push);
  mg_ring_push(&w->out, &d);
  MG_POINT(after_push);
  store_commit(w);
  if (mg_event_signal(&w->shared->coordinator_asleep, &w->coordinator) < 0) leave(w);
  MG_POINT(after_wake);
}

/* 1 when the coordinator sleeps and would like to know; but not of each of many quick items. */
static int wanted(mg_worker *w) {
  if (atomic_load_explicit(&w->shared->coordinator_asleep, memory_order_relaxed) == 0 || --w->check_in > 0) return 0;
  int spare = (int)atomic_load_explicit(&w->shared->spin_allowed, memory_order_relaxed);
  int slow = mg_now() - w->published_at > (spare ? TELL_AFTER : TELL_LATE);
  w->check_every = slow ? 1 : w->check_every < CHECK_MOST ? w->check_every * 2 : CHECK_MOST;
  w->check_in = w->check_every;
  return slow;
}

void mg_worker_publish(mg_worker *w) { tell(w, no_chunk(w), 0); }

void mg_worker_end_chunk(mg_worker *w) {
  if (w->is_producer && w->end > w->published) mg_worker_publish(w);
  w->done = w->chunk.count, w->ahead = 0;
  w->mark = w->end; /* what was sent after the last item is valid with it */
  w->mark_count = w->count;
  tell(w, MG_OUT_END, 0);
  w->together = 0;
}

int mg_worker_pass(mg_worker *w) {
  w->ahead++;
  return w->item_held || (w->end > w->mark && wanted(w) && w->done + w->ahead < w->chunk.count);
}

void mg_worker_commit(mg_worker *w) {
  w->mark = w->end;
  w->mark_count = w->count;
  w->mark_edge = w->edge;
  w->item_held = 0;
  w->done++;
  uint32_t timed = w->chunk.flags & MG_CHUNK_TIMED;
  if (timed) atomic_store_explicit(&w->shared->began, 0, memory_order_relaxed); /* not to blame the next one */
  store_commit(w);
  if (timed) atomic_store_explicit(&w->shared->began, mg_now(), memory_order_relaxed);
  if (!wanted(w) || w->done == w->chunk.count) return;
  w->between = 1;
  mg_worker_publish(w);
  w->between = 0;
}

void mg_worker_step(mg_worker *w, uint32_t step) {
  atomic_store_explicit(&w->shared->step, step, memory_order_relaxed);
  int timed = w->busy && (w->chunk.flags & MG_CHUNK_TIMED);
  MG_POINT(stepped);
  if (timed) atomic_store_explicit(&w->shared->began, mg_now(), memory_order_relaxed);
}

void mg_worker_rollback(mg_worker *w) {
  MG_ASSERT(w->ahead == 0); /* 5 */
  MG_POINT(rollback);
  w->end = w->mark;
  w->count = w->mark_count;
  w->edge = w->mark_edge;
  if (w->item_held) {
    w->item_held = 0;
    tell(w, MG_OUT_DROP, 0);
  } else if (MG_UNLIKELY(mg_checking)) {
    mg_worker_check(w);
  }
}

/* --- chunks and blocks ------------------------------------------------------------------------------------------ */

/* The next chunk of those that have come: 1 when it is this worker's, 0 when it was taken back. */
static int claim(mg_worker *w, mg_desc *chunk) {
  uint32_t expected = MG_CLAIM_OFFERED, room = w->room - 1;
  *chunk = w->pending[w->pending_first];
  w->pending_first = (w->pending_first + 1) & room;
  w->pendings--;
  w->tag = MG_LIMIT_WORD(w->sequence, 0);
  int mine = atomic_compare_exchange_strong(&w->shared->claim[w->sequence++ & room], &expected, MG_CLAIM_TAKEN);
  MG_POINT(claimed);
  return mine;
}

int mg_worker_next(mg_worker *w) {
  for (;;) {
    if (MG_UNLIKELY(mg_checking)) mg_worker_check(w);
    if (w->end > w->published) mg_worker_publish(w); /* what the hooks have said */
    wait_for(w, have_work);
    if (w->pendings == 0) return 0;
    atomic_store_explicit(&w->shared->step, 0, memory_order_relaxed); /* not before the last chunk's end is known */
    int mine = claim(w, &w->chunk);
    w->busy = 1;
    w->is_producer = (w->chunk.flags & MG_CHUNK_PRODUCER) != 0;
    w->done = 0;
    w->published_at = mg_now();
    w->check_every = w->check_in = 1;
    w->next = w->chunk.offset;
    w->limit = w->chunk.offset + w->chunk.length;
    if (mine) {
      if (w->chunk.flags & MG_CHUNK_TIMED) atomic_store(&w->shared->began, w->published_at);
      return 1;
    }
    w->chunk.count = 0; /* taken back: say that it has been passed over */
    mg_worker_end_chunk(w);
  }
}

/* Whether the coordinator has limited the chunk in hand to what is done.  The commit before and this look are in this
 * order for it too: slot.h, W1 to W3.  Another chunk's limit is a huge number here. */
static int limited(const mg_worker *w) {
  if (MG_UNLIKELY(w->fences)) atomic_thread_fence(memory_order_seq_cst);
  else atomic_signal_fence(memory_order_seq_cst);
  return atomic_load_explicit(&w->shared->limit, memory_order_relaxed) - w->tag <= w->done + w->ahead;
}

int mg_worker_record(mg_worker *w, mg_record *r) {
  uint32_t begun = w->done + w->ahead;
  if (w->together) mg_worker_step(w, MG_STEP_ITEM | (begun + 1));
  if (MG_UNLIKELY(limited(w))) {
    w->chunk.count = begun;
    MG_POINT(limited);
    return 0;
  }
  const uint8_t *base = w->base + ((size_t)w->chunk.block << MG_UNIT_SHIFT);
  if (w->chunk.only & MG_EDGE_PIECE)
    return begun < w->chunk.count && mg_piece_record(base + w->next, w->limit - w->next, w->chunk.only, begun, r);
  while (w->next < w->limit && begun < w->chunk.count) {
    uint32_t space = mg_record_read(base + w->next, w->limit - w->next, r);
    if (space == 0) return -EBADMSG;
    w->next += space;
    MG_POINT(record_taken);
    if (w->chunk.only == MG_EDGE_ANY || r->edge == w->chunk.only) return 1;
  }
  if (begun < w->chunk.count) return -EBADMSG;
  uint32_t more = 0; /* than was announced */
  uint32_t end = mg_record_walk(base, w->next, w->limit, w->chunk.only, 1, &more);
  return end != w->limit || more > 0 ? -EBADMSG : 0;
}

/* --- threads ---------------------------------------------------------------------------------------------------- */

int mg_worker_make_threaded(mg_worker *w) {
  mg_desc *all = calloc((size_t)w->room * 2, sizeof *all);
  if (!all) return -ENOMEM;
  w->pending = all;
  w->taken = all + w->room;
  return 0;
}

int mg_worker_offered(mg_worker *w, uint32_t *n) {
  take_in(w);
  *n = w->pendings;
  return w->pendings > 0 || !w->ending;
}

int mg_worker_take(mg_worker *w, uint32_t *index) {
  MG_ASSERT(!w->busy); /* 6 */
  take_in(w);
  while (w->pendings > 0) {
    uint32_t i = 0;
    while (w->taken[i].count > 0) i++; /* there is one: the ledger has no more chunks than this has places */
    int mine = claim(w, &w->taken[i]);
    w->taken[i].nanos = mg_now();
    if (mine) {
      w->chunk = w->taken[i];
      w->next = w->chunk.offset;
      w->limit = w->chunk.offset + w->chunk.length;
      *index = i;
      return 1;
    }
    w->taken[i].count = 0;
    mg_worker_hand(w, i); /* taken back: say that it has been passed over */
    mg_worker_end_chunk(w);
  }
  return w->ending ? -1 : 0;
}

void mg_worker_hand(mg_worker *w, uint32_t index) {
  if (w->end > w->published) mg_worker_publish(w); /* what belongs to no item */
  w->chunk = w->taken[index];
  w->taken[index].count = 0;
  w->published_at = w->chunk.nanos;
  w->busy = 1;
  w->is_producer = 0;
  w->done = 0;
  MG_POINT(handed);
}

void mg_worker_rest(mg_worker *w, int fd, int want, int64_t ns) {
  _Atomic uint32_t *asleep = &w->shared->worker_asleep;
  if (w->end > w->published) mg_worker_publish(w);
  mg_event_prepare(asleep);
  take_in(w);
  uint64_t began = mg_clock_look();
  if (!want || !have_work(w)) wait_once(w, fd, ns); /* work may have come while it published */
  if (ns > 0) mg_clock_slept(began, (uint64_t)ns);
  mg_event_awake(asleep);
}

static void open_block(mg_worker *w, size_t least) {
  int asked = 0;
  for (;;) {
    take_in(w);
    if (!have_block(w)) {
      uint32_t units = (uint32_t)((least + MG_UNIT - 1) >> MG_UNIT_SHIFT);
      if (!asked) tell(w, MG_OUT_NEED | no_chunk(w), units);
      asked = 1;
      wait_for(w, have_block);
    }
    mg_desc *d = &w->spare[w->spare_first];
    w->spare_first = (w->spare_first + 1) % MG_LENT;
    w->spares--;
    MG_POINT(block_taken);
    w->block = d->block;
    w->size = (size_t)d->length + 1;
    w->published = w->mark = w->end = 0;
    w->count = w->mark_count = 0;
    store_commit(w);
    if (w->size >= least) return;
    tell(w, MG_OUT_RETURN | no_chunk(w), 0); /* too small for what comes next */
  }
}

void mg_worker_open(mg_worker *w, size_t need) {
  if (w->block != MG_NO_BLOCK) tell(w, MG_OUT_RETURN | no_chunk(w), 0);
  open_block(w, need);
}

void mg_worker_sure(mg_worker *w) {
  w->mark = w->end;
  w->mark_count = w->count;
  w->mark_edge = w->edge;
  store_commit(w);
  if (w->busy && (w->chunk.flags & MG_CHUNK_SINGLY)) tell(w, MG_OUT_RETURN | no_chunk(w), 0);
  else if (w->busy && wanted(w)) mg_worker_publish(w);
}
