/* slot_events.c - what a worker has said, by descriptors or by the commit word, and what its end leaves, as events
 * (slot.h has the ledger and the commit). */
#include <errno.h>
#include <stdlib.h>

#include "slot_ledger.h"

static int give_out(mg_slot *s, mg_shm *shm, mg_sink sink, void *to, mg_range r) {
  if (r.count == 0) return 0;
  mg_slot_event ev = {.kind = MG_EVENT_OUT, .range = r};
  if (s->threaded && s->chunks) ev.number = mg_chunk_at(s, 0)->number;
  mg_shm_retain(shm, r.block);
  int rc = sink(to, &ev);
  if (rc < 0) mg_shm_release(shm, r.block);
  return rc;
}

static int give_held(mg_slot *s, mg_shm *shm, mg_sink sink, void *to) {
  int rc = 0;
  for (uint32_t i = 0; i < s->helds && rc == 0; i++) rc = give_out(s, shm, sink, to, s->held[i]);
  mg_drop_held(s, shm);
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
  mg_chunk *c = mg_chunk_at(s, 0);
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

/* The worker has ended the oldest chunk after `done` items, as it was asked to. */
static int give_rest(mg_slot *s, mg_shm *shm, mg_sink sink, void *to, uint32_t done) {
  mg_slot_event ev = {.kind = MG_EVENT_REST, .number = mg_chunk_at(s, 0)->number};
  int rc = mg_slot_cut(s, shm, done, &ev.range);
  if (rc == 0 && (rc = sink(to, &ev)) < 0) mg_shm_release(shm, ev.range.block);
  return rc;
}

static int sane(mg_slot *s, const mg_shm *shm, const mg_desc *d) {
  uint32_t known = MG_OUT_RETURN | MG_OUT_END | MG_OUT_DROP | MG_OUT_NEED | MG_OUT_NO_CHUNK;
  if (d->kind != MG_OUT_DATA || (d->flags & ~known)) return 0;
  if (d->length > 0 || (d->flags & MG_OUT_RETURN)) {
    if (s->lents == 0 || d->block != mg_open_block(s) || d->offset != s->published) return 0;
    if (d->length > mg_shm_block_size(shm, d->block) - d->offset || d->sure_length > d->length) return 0;
    if ((d->length | d->sure_length) % 8 || d->sure_count > d->count) return 0;
    if (d->sure_length < s->ahead || d->sure_count < s->ahead_count) return 0;
  } else if (d->count || d->sure_count || d->sure_length || s->ahead) {
    return 0;
  }
  if (d->flags & MG_OUT_NO_CHUNK) return d->sure_length == d->length && !(d->flags & MG_OUT_END);
  if (s->chunks == 0) return d->length == 0 && d->done == 0 && !(d->flags & MG_OUT_END);
  if (d->done < s->done || d->done > mg_chunk_at(s, 0)->range.count) return 0;
  if (d->sure_length > s->ahead && d->done == s->done && !(d->flags & MG_OUT_END)) return 0;
  if (!(d->flags & MG_OUT_END) || d->done == mg_chunk_at(s, 0)->range.count) return 1;
  return s->limit > 0 && d->done >= s->limit;
}

/* Brings the chunk that a threaded slot's descriptor names to the front: 1, or 0 where the worker has not claimed it,
 * or is in the middle of another one's output. */
static int to_front(mg_slot *s, uint64_t number) {
  uint32_t i = 0;
  while (i < s->chunks && mg_chunk_at(s, i)->number != number) i++;
  if (i == s->chunks || atomic_load_explicit(mg_claim_at(s, i), memory_order_relaxed) == MG_CLAIM_OFFERED) return 0;
  if (i == 0) return 1;
  if (s->helds > 0 || s->streaming || s->done > 0) return 0;
  mg_chunk c = *mg_chunk_at(s, i);
  *mg_chunk_at(s, i) = *mg_chunk_at(s, 0);
  *mg_chunk_at(s, 0) = c;
  /* The worker is past both claims. */
  uint32_t front = atomic_load_explicit(mg_claim_at(s, 0), memory_order_relaxed);
  atomic_store_explicit(mg_claim_at(s, 0), atomic_load_explicit(mg_claim_at(s, i), memory_order_relaxed),
                        memory_order_relaxed);
  atomic_store_explicit(mg_claim_at(s, i), front, memory_order_relaxed);
  return 1;
}

static int take(mg_slot *s, mg_shm *shm, mg_sink sink, void *to, const mg_desc *d) {
  int rc = 0, no_chunk = d->flags & MG_OUT_NO_CHUNK, ended = (d->flags & MG_OUT_END) != 0;
  if (s->threaded && !no_chunk && !to_front(s, d->chunk)) return -EPROTO;
  if (!sane(s, shm, d)) return -EPROTO;
  if (ended && d->done < mg_chunk_at(s, 0)->range.count) rc = give_rest(s, shm, sink, to, d->done);
  if (rc < 0) return rc;
  s->generation++;
  if (d->flags & MG_OUT_DROP) mg_drop_held(s, shm);
  mg_range sure = {d->block, d->offset + s->ahead, d->sure_length - s->ahead, d->sure_count - s->ahead_count, d->stage};
  mg_range rest = {d->block, d->offset + d->sure_length, d->length - d->sure_length, d->count - d->sure_count,
                   d->stage};
  if (!no_chunk && s->chunks > 0 && (d->done > s->done || ended)) rc = give_held(s, shm, sink, to);
  if (rc == 0) rc = give_out(s, shm, sink, to, sure);
  if (rc == 0 && !no_chunk && s->chunks > 0 && (d->done > s->done || ended || d->nanos))
    rc = advance(s, shm, sink, to, d->done, ended, d->nanos);
  if (rc == 0) rc = hold(s, shm, sink, to, rest);
  if (d->flags & MG_OUT_RETURN) {
    mg_shm_release(shm, mg_open_block(s));
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

/* --- the commit word, and a worker's end -------------------------------------------------------------------------- */

/* What the commit word says beyond the last descriptor: output without an item finished is a hook's or a producer's. */
static int take_commit(mg_slot *s, mg_shm *shm, mg_sink sink, void *to, int dead) {
  uint64_t word = atomic_load_explicit(&s->shared->commit, memory_order_acquire);
  uint32_t done = MG_COMMIT_DONE(word), offset = MG_COMMIT_OFFSET(word);
  uint32_t most = s->chunks ? mg_chunk_at(s, 0)->range.count : 0;
  if (MG_COMMIT_GENERATION(word) != (s->generation & 0xfff) || done < s->done || done > most) return 0;
  uint32_t from = s->published + s->ahead;
  int more = s->lents > 0 && offset > from && offset <= mg_shm_block_size(shm, mg_open_block(s));
  mg_range r = {more ? mg_open_block(s) : MG_NO_BLOCK, from, more ? offset - from : 0, 0, MG_EDGE_ANY};
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
  if (s->chunks == 0 || s->done == 0 || s->done < mg_chunk_at(s, 0)->range.count) return 0;
  return advance(s, shm, sink, to, s->done, 1, 0);
}

static int give_left(mg_slot *s, mg_shm *shm, mg_sink sink, void *to, uint32_t i) {
  mg_chunk c = *mg_chunk_at(s, i);
  mg_slot_event ev = {.kind = MG_EVENT_LEFT, .number = c.number, .stage = c.stage, .attempt = c.attempt};
  int set = (c.flags & MG_CHUNK_SET) != 0;
  if (c.range.count == 0) return 0; /* taken back before */
  if (i == 0 && s->done > 0 && c.range.block != MG_NO_BLOCK) {
    mg_range done = c.range;
    if (mg_range_cut(mg_shm_at(shm, done.block), &done, s->done, &c.range) < 0) {
      c.range.length = 0; /* damaged by some worker; the next reader finds nothing, and says so */
      c.range.count -= s->done;
    }
  }
  ev.range = c.range;
  ev.a = i == 0 ? s->done : 0;
  ev.b = (i == 0 || set) && atomic_load(mg_claim_at(s, i)) == MG_CLAIM_TAKEN;
  ev.c = ev.b && i == 0 && s->streaming ? MG_LEFT_STREAMED : 0;
  ev.step = ev.b ? atomic_load(&s->shared->step) : 0;
  if (ev.step & MG_STEP_ITEM) {
    uint32_t n = MG_STEP_NUMBER(ev.step), before = i == 0 ? s->done : 0;
    n = n > before && n - before <= c.range.count ? n - before : 1;
    ev.step = (ev.step & (MG_STEP_ITEM | MG_STEP_ASIDE)) | n;
  }
  int late = s->timed_out && s->timed_out == atomic_load(&s->shared->began);
  if (set && atomic_load(&s->shared->running) != c.number) late = (int)(ev.step = 0);
  if (ev.b && late) ev.c |= MG_LEFT_TIMED_OUT;
  else if (ev.b && s->timed_out && !ev.c) ev.b = 0; /* the kill was meant for the item before it, or beside it */
  if (ev.b && atomic_load(&s->shared->loading)) ev.c |= MG_LEFT_LOADING;
  return sink(to, &ev);
}

int mg_slot_recover(mg_slot *s, mg_shm *shm, mg_sink sink, void *to) {
  int rc = mg_slot_collect(s, shm, sink, to);
  if (rc == 0) rc = take_commit(s, shm, sink, to, 1);
  if (rc != -ENOMEM && end_finished(s, shm, sink, to) < 0) rc = -ENOMEM; /* -EPROTO: what came before counts */
  mg_drop_held(s, shm);
  uint32_t i = 0;
  for (; i < s->chunks && rc != -ENOMEM; i++) {
    rc = give_left(s, shm, sink, to, i);
    if (rc == 0) mg_chunk_at(s, i)->range.block = MG_NO_BLOCK; /* the reference went with the event */
  }
  mg_slot_drop(s, shm);
  return rc == -EPROTO ? 0 : rc;
}
