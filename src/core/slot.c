/* slot.c - the coordinator's side of a slot; see slot.h for the ledger and the commit. */
#include "slot.h"

#include <errno.h>
#include <stdlib.h>

static mg_chunk *chunk_at(mg_slot *s, uint32_t i) { return &s->chunk[(s->chunk_first + i) & (s->room - 1)]; }
static _Atomic uint32_t *claim_at(mg_slot *s, uint32_t i) {
  return &s->shared->claim[(s->chunk_sequence - s->chunks + i) & (s->room - 1)];
}
static uint32_t open_block(const mg_slot *s) { return s->lent[s->lent_first]; }

int mg_slot_widen(mg_slot *s, uint32_t chunks) {
  uint32_t room = MG_CHUNKS;
  MG_ASSERT(s->state == MG_SLOT_EMPTY && !s->wide && chunks <= MG_WIDE_CHUNKS);
  while (room < chunks) room *= 2;
  mg_chunk *many = calloc(room, sizeof *many);
  if (!many) return -ENOMEM;
  s->chunk = many;
  s->room = room;
  s->wide = 1;
  return 0;
}

void mg_slot_free(mg_slot *s) {
  if (s->wide) free(s->chunk);
  s->chunk = NULL;
  s->wide = 0;
}

void mg_slot_begin(mg_slot *s) {
  mg_slot_shared *sh = s->shared;
  if (!s->wide) {
    s->chunk = s->few;
    s->room = MG_CHUNKS;
  }
  MG_ASSERT(s->state == MG_SLOT_EMPTY && s->chunks == 0 && s->lents == 0 && s->helds == 0);
  mg_ring_clear(&sh->in, s->in.mine);
  mg_ring_clear(&sh->out, s->out.mine);
  s->in = mg_ring_producer(&sh->in);
  s->out = mg_ring_consumer(&sh->out);
  atomic_store(&sh->commit, 0);
  atomic_store(&sh->began, 0);
  atomic_store(&sh->step, 0);
  atomic_store(&sh->last_word, 0);
  atomic_store(&sh->running, 0);
  atomic_store(&sh->worker_asleep, 0);
  atomic_store(&sh->coordinator_asleep, 0);
  atomic_store(&sh->stop, 0);
  atomic_store(&sh->limit, MG_NO_LIMIT);
  atomic_store(&sh->ordering, 0);
  s->chunk_first = s->chunk_sequence = s->lent_first = 0;
  s->done = s->limit = s->published = s->generation = s->ahead = s->ahead_count = 0;
  s->held_bytes = 0;
  s->streaming = s->needs = s->quiet = s->damaged = 0;
  s->timed_out = 0;
  s->state = MG_SLOT_LIVE;
}

/* Room in the in-ring; none where the worker has damaged its counter, which is noted. */
static uint32_t room_in(mg_slot *s) {
  if (MG_UNLIKELY(!mg_ring_sound(&s->in)) && !s->damaged) s->damaged = 1;
  return mg_ring_room(&s->in);
}

int mg_slot_offer(mg_slot *s, const mg_chunk *c) {
  MG_ASSERT(!s->wide == !(c->flags & MG_CHUNK_SET));
  /* A narrow slot's ledger leaves room in the ring for blocks and the end; here it must be left. */
  if (s->chunks == s->room || room_in(s) <= (s->wide ? MG_LENT + 1 : 0)) return -EAGAIN;
  *chunk_at(s, s->chunks++) = *c;
  atomic_store_explicit(&s->shared->claim[s->chunk_sequence++ & (s->room - 1)], MG_CLAIM_OFFERED, memory_order_relaxed);
  mg_desc d = {.kind = MG_IN_CHUNK, .flags = c->flags,
               .block = c->range.block, .offset = c->range.offset, .length = c->range.length,
               .count = c->range.count, .only = c->range.edge, .stage = c->stage, .attempt = c->attempt,
               .chunk = c->number};
  mg_ring_push(&s->in, &d);
  return mg_event_signal(&s->shared->worker_asleep, &s->bell);
}

int mg_slot_lend(mg_slot *s, const mg_shm *shm, uint32_t block) {
  if (s->lents == MG_LENT || room_in(s) == 0) return -EAGAIN;
  s->needs = 0;
  s->lent[(s->lent_first + s->lents++) % MG_LENT] = block;
  mg_desc d = {.kind = MG_IN_BLOCK, .block = block, .length = (uint32_t)(mg_shm_block_size(shm, block) - 1)};
  mg_ring_push(&s->in, &d);
  return mg_event_signal(&s->shared->worker_asleep, &s->bell);
}

void mg_slot_stop(mg_slot *s) {
  if (s->state != MG_SLOT_EMPTY) atomic_store_explicit(&s->shared->stop, 1, memory_order_relaxed);
}

int mg_slot_finish(mg_slot *s) {
  if (s->state != MG_SLOT_LIVE) return 0;
  if (room_in(s) == 0) return -EAGAIN;
  mg_desc d = {.kind = MG_IN_END};
  mg_ring_push(&s->in, &d);
  s->state = MG_SLOT_ENDING;
  return mg_event_signal(&s->shared->worker_asleep, &s->bell);
}

/* --- turning descriptors into events ------------------------------------------------------------------------- */

static int give_out(mg_slot *s, mg_shm *shm, mg_sink sink, void *to, mg_range r) {
  if (r.count == 0) return 0;
  mg_slot_event ev = {.kind = MG_EVENT_OUT, .range = r, .number = s->wide && s->chunks ? chunk_at(s, 0)->number : 0};
  mg_shm_retain(shm, r.block);
  int rc = sink(to, &ev);
  if (rc < 0) mg_shm_release(shm, r.block);
  return rc;
}

static void drop_held(mg_slot *s, mg_shm *shm) {
  while (s->helds > 0) mg_shm_release(shm, s->held[--s->helds].block);
  s->held_bytes = 0;
}

static int give_held(mg_slot *s, mg_shm *shm, mg_sink sink, void *to) {
  int rc = 0;
  for (uint32_t i = 0; i < s->helds && rc == 0; i++) rc = give_out(s, shm, sink, to, s->held[i]);
  drop_held(s, shm);
  return rc;
}

static int hold(mg_slot *s, mg_shm *shm, mg_sink sink, void *to, mg_range r) {
  if (r.count == 0) return 0;
  if (s->helds == s->held_room) {
    uint32_t room = s->held_room ? s->held_room * 2 : 8;
    mg_range *more = realloc(s->held, room * sizeof *more);
    if (!more) return -ENOMEM;
    s->held = more;
    s->held_room = room;
  }
  mg_shm_retain(shm, r.block);
  s->held[s->helds++] = r;
  s->held_bytes += r.length;
  if (s->held_bytes <= s->held_most && !s->streaming) return 0;
  s->streaming = 1;
  return give_held(s, shm, sink, to);
}

/* The items up to `done` of the oldest chunk are finished, and with them everything held. */
static int advance(mg_slot *s, mg_shm *shm, mg_sink sink, void *to, uint32_t done, int ended, uint64_t nanos) {
  mg_chunk *c = chunk_at(s, 0);
  mg_slot_event ev = {.kind = MG_EVENT_DONE, .number = c->number, .stage = c->stage, .a = done - s->done,
                      .b = (uint32_t)ended, .nanos = nanos, .c = (uint32_t)s->streaming};
  if (done > s->done) s->streaming = 0;
  s->done = done;
  if (ended) {
    if (c->range.block != MG_NO_BLOCK) mg_shm_release(shm, c->range.block);
    s->chunk_first = (s->chunk_first + 1) & (s->room - 1);
    s->chunks--;
    s->done = s->limit = 0;
  }
  return sink(to, &ev);
}

/* Cuts the oldest chunk behind its first n items: *rest is what is behind them, with a reference of its own.  0, or
 * -EPROTO when its block is damaged. */
static int cut(mg_slot *s, mg_shm *shm, uint32_t n, mg_range *rest) {
  mg_range *r = &chunk_at(s, 0)->range;
  uint32_t end = r->offset + r->length, passed;
  uint32_t at = mg_record_walk(mg_shm_at(shm, r->block), r->offset, end, r->edge, n, &passed);
  if (at == 0 || passed != n) return -EPROTO;
  *rest = (mg_range){r->block, at, end - at, r->count - n, r->edge};
  r->length = at - r->offset;
  r->count = n;
  mg_shm_retain(shm, r->block);
  return 0;
}

/* The worker has ended the oldest chunk behind `done` items, as it was asked to. */
static int give_rest(mg_slot *s, mg_shm *shm, mg_sink sink, void *to, uint32_t done) {
  mg_slot_event ev = {.kind = MG_EVENT_REST, .number = chunk_at(s, 0)->number};
  int rc = cut(s, shm, done, &ev.range);
  if (rc == 0 && (rc = sink(to, &ev)) < 0) mg_shm_release(shm, ev.range.block);
  return rc;
}

static int sane(mg_slot *s, const mg_shm *shm, const mg_desc *d) {
  uint32_t known = MG_OUT_RETURN | MG_OUT_END | MG_OUT_DROP | MG_OUT_NEED | MG_OUT_LOOSE;
  if (d->kind != MG_OUT_DATA || (d->flags & ~known)) return 0;
  if (d->length > 0 || (d->flags & MG_OUT_RETURN)) {
    if (s->lents == 0 || d->block != open_block(s) || d->offset != s->published) return 0;
    if (d->length > mg_shm_block_size(shm, d->block) - d->offset || d->sure_length > d->length) return 0;
    if ((d->length | d->sure_length) % 8 || d->sure_count > d->count) return 0;
    if (d->sure_length < s->ahead || d->sure_count < s->ahead_count) return 0;
  } else if (d->count || d->sure_count || d->sure_length || s->ahead) {
    return 0;
  }
  if (d->flags & MG_OUT_LOOSE) return d->sure_length == d->length && !(d->flags & MG_OUT_END);
  if (s->chunks == 0) return d->length == 0 && d->done == 0 && !(d->flags & MG_OUT_END);
  if (d->done < s->done || d->done > chunk_at(s, 0)->range.count) return 0;
  if (d->sure_length > s->ahead && d->done == s->done && !(d->flags & MG_OUT_END)) return 0;
  if (!(d->flags & MG_OUT_END) || d->done == chunk_at(s, 0)->range.count) return 1;
  return s->limit > 0 && d->done >= s->limit;
}

/* Brings the chunk that a wide slot's descriptor names to the front: 1, or 0 where the worker has not claimed it, or is
 * in the middle of another one's output. */
static int to_front(mg_slot *s, uint64_t number) {
  uint32_t i = 0;
  while (i < s->chunks && chunk_at(s, i)->number != number) i++;
  if (i == s->chunks || atomic_load_explicit(claim_at(s, i), memory_order_relaxed) == MG_CLAIM_OFFERED) return 0;
  if (i == 0) return 1;
  if (s->helds > 0 || s->streaming || s->done > 0) return 0;
  mg_chunk c = *chunk_at(s, i);
  *chunk_at(s, i) = *chunk_at(s, 0);
  *chunk_at(s, 0) = c;
  /* The worker is past both claims. */
  uint32_t front = atomic_load_explicit(claim_at(s, 0), memory_order_relaxed);
  atomic_store_explicit(claim_at(s, 0), atomic_load_explicit(claim_at(s, i), memory_order_relaxed),
                        memory_order_relaxed);
  atomic_store_explicit(claim_at(s, i), front, memory_order_relaxed);
  return 1;
}

static int take(mg_slot *s, mg_shm *shm, mg_sink sink, void *to, const mg_desc *d) {
  int rc = 0, loose = d->flags & MG_OUT_LOOSE, ended = (d->flags & MG_OUT_END) != 0;
  if (s->wide && !loose && !to_front(s, d->chunk)) return -EPROTO;
  if (!sane(s, shm, d)) return -EPROTO;
  if (ended && d->done < chunk_at(s, 0)->range.count) rc = give_rest(s, shm, sink, to, d->done);
  if (rc < 0) return rc;
  s->generation++;
  if (d->flags & MG_OUT_DROP) drop_held(s, shm);
  mg_range sure = {d->block, d->offset + s->ahead, d->sure_length - s->ahead, d->sure_count - s->ahead_count, d->stage};
  mg_range rest = {d->block, d->offset + d->sure_length, d->length - d->sure_length, d->count - d->sure_count,
                   d->stage};
  if (!loose && s->chunks > 0 && (d->done > s->done || ended)) rc = give_held(s, shm, sink, to);
  if (rc == 0) rc = give_out(s, shm, sink, to, sure);
  if (rc == 0 && !loose && s->chunks > 0 && (d->done > s->done || ended || d->nanos))
    rc = advance(s, shm, sink, to, d->done, ended, d->nanos);
  if (rc == 0) rc = hold(s, shm, sink, to, rest);
  if (d->flags & MG_OUT_RETURN) {
    mg_shm_release(shm, open_block(s));
    s->lent_first = (s->lent_first + 1) % MG_LENT;
    s->lents--;
    s->published = 0;
  } else if (d->length) {
    s->published = d->offset + d->length;
  }
  s->ahead = s->ahead_count = 0;
  if (rc == 0 && (d->flags & MG_OUT_NEED)) {
    s->needs = 1;
    mg_slot_event ev = {.kind = MG_EVENT_NEED, .a = d->attempt};
    rc = sink(to, &ev);
  }
  return rc;
}

int mg_slot_collect(mg_slot *s, mg_shm *shm, mg_sink sink, void *to) {
  uint32_t n = mg_ring_waiting(&s->out);
  if (n == 0) return 0;
  if (n > MG_RING) return -EPROTO;
  int full = n > MG_RING / 2;
  while (n-- > 0) {
    mg_desc d;
    if (mg_ring_pop(&s->out, &d) < 0) return -EPROTO;
    int rc = take(s, shm, sink, to, &d);
    if (rc < 0) return rc;
  }
  return full ? mg_event_signal(&s->shared->worker_asleep, &s->bell) : 0; /* it may wait for room in the ring */
}

int mg_slot_nudge(mg_slot *s) {
  enum { QUIET_MOST = 3 };
  if (s->state == MG_SLOT_EMPTY) return 0;
  /* What only this side writes, somebody else has: the worker waits for what will not come. */
  if (atomic_load_explicit(&s->out.ring->tail, memory_order_relaxed) != s->out.mine ||
      atomic_load_explicit(&s->in.ring->head, memory_order_relaxed) != s->in.mine || !mg_ring_sound(&s->in))
    return -EPROTO;
  int unread = mg_ring_room(&s->in) < MG_RING;
  int sleeps = !s->wide && s->chunks > 0 && !s->needs && !unread && mg_ring_waiting(&s->out) == 0 &&
               atomic_load_explicit(&s->shared->worker_asleep, memory_order_relaxed) != 0;
  s->quiet = sleeps ? s->quiet + 1 : 0;
  if (s->quiet > QUIET_MOST) return -EPROTO;
  if (!unread && !sleeps) return 0;
  atomic_store_explicit(&s->shared->worker_asleep, 1, memory_order_relaxed);
  return mg_event_signal(&s->shared->worker_asleep, &s->bell);
}

int mg_slot_revoke(mg_slot *s, mg_chunk *out) {
  if (s->chunks == 0 || s->state == MG_SLOT_EMPTY) return 0;
  uint32_t i = s->chunks - 1, expected = MG_CLAIM_OFFERED;
  while (i > 0 && chunk_at(s, i)->range.count == 0) i--; /* taken back before */
  mg_chunk *c = chunk_at(s, i);
  if (c->range.count == 0 || (i == 0 && s->done > 0)) return 0; /* begun, whatever the claim may say */
  if (!atomic_compare_exchange_strong(claim_at(s, i), &expected, MG_CLAIM_REVOKED)) return 0;
  *out = *c;
  c->range.block = MG_NO_BLOCK;
  c->range.count = 0;
  return 1;
}

/* Items of the oldest chunk that are finished, as far as the commit word tells; UINT32_MAX: it is not the newest that
 * the worker has said. */
static uint32_t word_done(const mg_slot *s) {
  uint64_t word = atomic_load_explicit(&s->shared->commit, memory_order_acquire);
  if (mg_ring_waiting(&s->out) > 0 || MG_COMMIT_GENERATION(word) != (s->generation & 0xfff)) return UINT32_MAX;
  return MG_COMMIT_DONE(word);
}

int mg_slot_shorten(mg_slot *s, mg_shm *shm, mg_chunk *out) {
  if (s->wide || s->chunks == 0 || s->state == MG_SLOT_EMPTY) return 0;
  mg_chunk *c = chunk_at(s, 0);
  uint32_t ordering = atomic_load_explicit(&s->shared->ordering, memory_order_relaxed), done = word_done(s);
  if (ordering == 0 || c->range.block == MG_NO_BLOCK || atomic_load(claim_at(s, 0)) != MG_CLAIM_TAKEN) return 0;
  if (done < s->done || done >= c->range.count - 1 || c->range.count == 0) return 0;
  if (s->limit == 0) {
    s->limit = done + 1;
    uint64_t word = MG_LIMIT_WORD(s->chunk_sequence - s->chunks, s->limit);
    atomic_store_explicit(&s->shared->limit, word, memory_order_relaxed);
  }
  atomic_thread_fence(memory_order_seq_cst);
  if (ordering != MG_ORDERED_BY_FENCE && mg_sys.barrier(0) < 0) return 0;
  if (word_done(s) != done) return 0;
  mg_range rest;
  if (cut(s, shm, done + 1, &rest) < 0) return 0; /* whoever reads it finds it too */
  *out = *c;
  out->range = rest;
  return 1;
}

/* --- after a worker's end -------------------------------------------------------------------------------------- */

/* What the commit word says beyond the last descriptor: output without an item finished is a hook's or a producer's. */
static int take_commit(mg_slot *s, mg_shm *shm, mg_sink sink, void *to, int dead) {
  uint64_t word = atomic_load_explicit(&s->shared->commit, memory_order_acquire);
  uint32_t done = MG_COMMIT_DONE(word), offset = MG_COMMIT_OFFSET(word);
  uint32_t most = s->chunks ? chunk_at(s, 0)->range.count : 0;
  if (MG_COMMIT_GENERATION(word) != (s->generation & 0xfff) || done < s->done || done > most) return 0;
  uint32_t from = s->published + s->ahead;
  int more = s->lents > 0 && offset > from && offset <= mg_shm_block_size(shm, open_block(s));
  mg_range r = {more ? open_block(s) : MG_NO_BLOCK, from, more ? offset - from : 0, 0, MG_EDGE_ANY};
  if (more && mg_record_walk(mg_shm_at(shm, r.block), from, offset, MG_EDGE_ANY, UINT32_MAX, &r.count) != offset)
    return -EPROTO; /* whole records are committed */
  int advanced = done > s->done, rc = advanced ? give_held(s, shm, sink, to) : 0;
  if (rc == 0) rc = give_out(s, shm, sink, to, r);
  s->ahead += r.length;
  s->ahead_count += r.count;
  return rc || !advanced ? rc : advance(s, shm, sink, to, done, dead && done == most, 0);
}

int mg_slot_peek(mg_slot *s, mg_shm *shm, mg_sink sink, void *to) {
  if (s->state == MG_SLOT_EMPTY || mg_ring_waiting(&s->out) > 0) return 0;
  return take_commit(s, shm, sink, to, 0);
}

/* All items of the oldest chunk are finished, and the worker died before it said that the chunk is. */
static int end_finished(mg_slot *s, mg_shm *shm, mg_sink sink, void *to) {
  if (s->chunks == 0 || s->done == 0 || s->done < chunk_at(s, 0)->range.count) return 0;
  return advance(s, shm, sink, to, s->done, 1, 0);
}

static int give_left(mg_slot *s, mg_shm *shm, mg_sink sink, void *to, uint32_t i) {
  mg_chunk c = *chunk_at(s, i);
  mg_slot_event ev = {.kind = MG_EVENT_LEFT, .number = c.number, .stage = c.stage, .attempt = c.attempt};
  uint32_t passed;
  int set = (c.flags & MG_CHUNK_SET) != 0;
  if (c.range.count == 0) return 0; /* taken back before */
  if (i == 0 && s->done > 0 && c.range.block != MG_NO_BLOCK) {
    uint32_t end = c.range.offset + c.range.length;
    uint32_t at = mg_record_walk(mg_shm_at(shm, c.range.block), c.range.offset, end, c.range.edge, s->done, &passed);
    int damaged = at == 0 || passed != s->done; /* by some worker; whoever reads it next finds nothing, and says so */
    c.range.offset = damaged ? end : at;
    c.range.length = end - c.range.offset;
    c.range.count -= s->done;
  }
  ev.range = c.range;
  ev.a = i == 0 ? s->done : 0;
  ev.b = (i == 0 || set) && atomic_load(claim_at(s, i)) == MG_CLAIM_TAKEN;
  ev.c = ev.b && i == 0 && s->streaming;
  ev.step = ev.b ? atomic_load(&s->shared->step) : 0;
  int late = s->timed_out && s->timed_out == atomic_load(&s->shared->began);
  if (set && atomic_load(&s->shared->running) != c.number) late = (int)(ev.step = 0);
  if (ev.b && late) ev.c |= 2;
  else if (ev.b && s->timed_out && !ev.c) ev.b = 0; /* the kill was meant for the item before it, or beside it */
  return sink(to, &ev);
}

int mg_slot_recover(mg_slot *s, mg_shm *shm, mg_sink sink, void *to) {
  int rc = mg_slot_collect(s, shm, sink, to);
  if (rc == 0) rc = take_commit(s, shm, sink, to, 1);
  if (rc != -ENOMEM && end_finished(s, shm, sink, to) < 0) rc = -ENOMEM; /* -EPROTO: what came before counts */
  drop_held(s, shm);
  uint32_t i = 0;
  for (; i < s->chunks && rc != -ENOMEM; i++) {
    rc = give_left(s, shm, sink, to, i);
    if (rc == 0) chunk_at(s, i)->range.block = MG_NO_BLOCK; /* the reference went with the event */
  }
  mg_slot_drop(s, shm);
  return rc == -EPROTO ? 0 : rc;
}

uint64_t mg_slot_began(const mg_slot *s) { return atomic_load_explicit(&s->shared->began, memory_order_relaxed); }

void mg_slot_drop(mg_slot *s, mg_shm *shm) {
  drop_held(s, shm);
  for (; s->chunks > 0; s->chunks--, s->chunk_first = (s->chunk_first + 1) & (s->room - 1))
    if (chunk_at(s, 0)->range.block != MG_NO_BLOCK) mg_shm_release(shm, chunk_at(s, 0)->range.block);
  for (; s->lents > 0; s->lents--, s->lent_first = (s->lent_first + 1) % MG_LENT) mg_shm_release(shm, open_block(s));
  s->done = s->published = s->ahead = s->ahead_count = 0;
  s->state = MG_SLOT_EMPTY;
}

void mg_slot_check(const mg_slot *s, const mg_shm *shm) {
  MG_ASSERT(s->chunks <= s->room && s->lents <= MG_LENT);
  MG_ASSERT(s->chunks == 0 ? s->done == 0 : s->done <= s->chunk[s->chunk_first].range.count);
  for (uint32_t i = 0; i < s->chunks; i++) {
    uint32_t block = s->chunk[(s->chunk_first + i) & (s->room - 1)].range.block;
    MG_ASSERT(block == MG_NO_BLOCK || mg_shm_held(shm, block));
  }
  for (uint32_t i = 0; i < s->lents; i++) MG_ASSERT(mg_shm_held(shm, s->lent[(s->lent_first + i) % MG_LENT]));
  for (uint32_t i = 0; i < s->helds; i++) MG_ASSERT(mg_shm_held(shm, s->held[i].block));
  MG_ASSERT(s->lents == 0 || s->published + s->ahead <= mg_shm_block_size(shm, open_block(s)));
  MG_ASSERT(s->state != MG_SLOT_EMPTY || (s->chunks == 0 && s->lents == 0 && s->helds == 0));
}
