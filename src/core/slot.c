/* slot.c - the coordinator's side of a slot: what it hands over and takes back (slot.h). */
#include "slot_ledger.h"

#include <errno.h>
#include <stdlib.h>

int mg_slot_make_threaded(mg_slot *s, uint32_t chunks) {
  uint32_t room = MG_CHUNKS;
  MG_ASSERT(s->state == MG_SLOT_EMPTY && !s->threaded && chunks <= MG_THREADED_CHUNKS);
  while (room < chunks) room *= 2;
  mg_chunk *many = calloc(room, sizeof *many);
  if (!many) return -ENOMEM;
  s->chunk = many;
  s->room = room;
  s->threaded = 1;
  return 0;
}

void mg_slot_free(mg_slot *s) {
  if (s->threaded) free(s->chunk);
  s->chunk = NULL;
  s->threaded = 0;
}

void mg_slot_begin(mg_slot *s) {
  mg_slot_shared *sh = s->shared;
  if (!s->threaded) {
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
  atomic_store(&sh->loading, 0);
  atomic_store(&sh->running, 0);
  atomic_store(&sh->worker_asleep, 0);
  atomic_store(&sh->coordinator_asleep, 0);
  atomic_store(&sh->stop, 0);
  atomic_store(&sh->limit, MG_NO_LIMIT);
  atomic_store(&sh->ordering, 0);
  s->chunk_first = s->chunk_sequence = s->lent_first = 0;
  s->done = s->limit = s->published = s->generation = s->ahead = s->ahead_count = 0;
  s->held_bytes = 0;
  s->streaming = s->needs = s->quiet = s->damaged = s->played = 0;
  s->timed_out = 0;
  s->state = MG_SLOT_LIVE;
}

/* Room in the in-ring; none where the worker has damaged its counter, which is noted. */
static uint32_t room_in(mg_slot *s) {
  if (MG_UNLIKELY(!mg_ring_sound(&s->in)) && !s->damaged) s->damaged = 1;
  return mg_ring_room(&s->in);
}

int mg_slot_offer(mg_slot *s, const mg_chunk *c) {
  MG_ASSERT(!s->threaded == !(c->flags & MG_CHUNK_SET));
  /* Without threads the ledger leaves room in the ring for blocks and the end; here it must be kept free. */
  if (s->chunks == s->room || room_in(s) <= (s->threaded ? MG_LENT + 1 : 0)) return -EAGAIN;
  *mg_chunk_at(s, s->chunks++) = *c;
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

int mg_slot_nudge(mg_slot *s) {
  enum { QUIET_MOST = 3 };
  if (s->state == MG_SLOT_EMPTY) return 0;
  /* What only this side writes has changed: the worker waits for what will not come. */
  if (atomic_load_explicit(&s->out.ring->tail, memory_order_relaxed) != s->out.mine ||
      atomic_load_explicit(&s->in.ring->head, memory_order_relaxed) != s->in.mine || !mg_ring_sound(&s->in))
    return -EPROTO;
  int unread = mg_ring_room(&s->in) < MG_RING;
  int sleeps = !s->threaded && s->chunks > 0 && !s->needs && !unread && mg_ring_waiting(&s->out) == 0 &&
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
  while (i > 0 && mg_chunk_at(s, i)->range.count == 0) i--; /* taken back before */
  mg_chunk *c = mg_chunk_at(s, i);
  if (c->range.count == 0 || (i == 0 && (s->done > 0 || s->limit > 0))) return 0; /* begun, whatever the claim says */
  if (!atomic_compare_exchange_strong(mg_claim_at(s, i), &expected, MG_CLAIM_REVOKED)) return 0;
  *out = *c;
  c->range.block = MG_NO_BLOCK;
  c->range.count = 0;
  return 1;
}

int mg_slot_cut(mg_slot *s, mg_shm *shm, uint32_t n, mg_range *rest) {
  mg_range *r = &mg_chunk_at(s, 0)->range;
  int rc = mg_range_cut(mg_shm_at(shm, r->block), r, n, rest);
  if (rc == 0) mg_shm_retain(shm, r->block);
  return rc;
}

/* Items of the oldest chunk that are finished, as far as the commit word tells; UINT32_MAX: it is not the newest that
 * the worker has said. */
static uint32_t word_done(const mg_slot *s) {
  uint64_t word = atomic_load_explicit(&s->shared->commit, memory_order_acquire);
  if (mg_ring_waiting(&s->out) > 0 || MG_COMMIT_GENERATION(word) != (s->generation & 0xfff)) return UINT32_MAX;
  return MG_COMMIT_DONE(word);
}

int mg_slot_shorten(mg_slot *s, mg_shm *shm, mg_chunk *out) {
  if (s->threaded || s->chunks == 0 || s->state == MG_SLOT_EMPTY) return 0;
  mg_chunk *c = mg_chunk_at(s, 0);
  uint32_t ordering = atomic_load_explicit(&s->shared->ordering, memory_order_relaxed), done = word_done(s);
  if (ordering == 0 || c->range.block == MG_NO_BLOCK || atomic_load(mg_claim_at(s, 0)) != MG_CLAIM_TAKEN) return 0;
  if (done < s->done || done >= c->range.count - 1 || c->range.count == 0) return 0;
  if (s->limit == 0) {
    s->limit = done + 1;
    uint64_t word = MG_LIMIT_WORD(s->chunk_sequence - s->chunks, s->limit);
    atomic_store_explicit(&s->shared->limit, word, memory_order_relaxed);
  }
  atomic_thread_fence(memory_order_seq_cst);
  if (ordering != MG_ORDERED_BY_FENCE && mg_sys.barrier(0) < 0) return 0;
  uint32_t step = atomic_load_explicit(&s->shared->step, memory_order_relaxed);
  if (word_done(s) != done || (step & MG_STEP_ITEM && MG_STEP_NUMBER(step) > done + 1)) return 0;
  if (done + 1 != s->limit) return 0; /* the word is damaged */
  mg_range rest;
  if (mg_slot_cut(s, shm, done + 1, &rest) < 0) return 0; /* its reader finds it too */
  *out = *c;
  out->range = rest;
  return 1;
}

uint64_t mg_slot_began(const mg_slot *s) { return atomic_load_explicit(&s->shared->began, memory_order_relaxed); }

void mg_slot_drop(mg_slot *s, mg_shm *shm) {
  mg_drop_held(s, shm);
  for (; s->chunks > 0; s->chunks--, s->chunk_first = (s->chunk_first + 1) & (s->room - 1))
    if (mg_chunk_at(s, 0)->range.block != MG_NO_BLOCK) mg_shm_release(shm, mg_chunk_at(s, 0)->range.block);
  for (; s->lents > 0; s->lents--, s->lent_first = (s->lent_first + 1) % MG_LENT) mg_shm_release(shm, mg_open_block(s));
  s->done = s->limit = s->published = s->ahead = s->ahead_count = 0;
  s->state = MG_SLOT_EMPTY;
}

void mg_slot_check(const mg_slot *s, const mg_shm *shm) {
  size_t held = 0;
  MG_ASSERT(s->chunks <= s->room && s->lents <= MG_LENT && s->helds <= s->held_room);
  for (uint32_t i = 0; i < s->chunks; i++) {
    const mg_range *r = &s->chunk[(s->chunk_first + i) & (s->room - 1)].range;
    if (i == 0) MG_ASSERT(s->done <= r->count && s->limit <= r->count); /* 1 */
    MG_ASSERT(r->block == MG_NO_BLOCK || mg_shm_held(shm, r->block));   /* 3 */
    MG_ASSERT(r->block == MG_NO_BLOCK || (size_t)r->offset + r->length <= mg_shm_block_size(shm, r->block));
  }
  MG_ASSERT(s->chunks > 0 || (s->done == 0 && s->limit == 0));
  for (uint32_t i = 0; i < s->lents; i++) MG_ASSERT(mg_shm_held(shm, s->lent[(s->lent_first + i) % MG_LENT]));
  for (uint32_t i = 0; i < s->helds; i++) {
    MG_ASSERT(mg_shm_held(shm, s->held[i].block));
    held += s->held[i].length;
  }
  MG_ASSERT(held == s->held_bytes);
  MG_ASSERT((size_t)s->published + s->ahead <= (s->lents ? mg_shm_block_size(shm, mg_open_block(s)) : 0)); /* 2 */
  MG_ASSERT(s->state != MG_SLOT_EMPTY || (s->chunks == 0 && s->lents == 0 && s->helds == 0));              /* 4 */
}

int mg_slot_open_bell(mg_slot *s, int lifeline) {
  if (s->bell.epoll >= 0) return 0;
  int rc = s->bell.epoll = mg_sys.epoll_create();
  if (rc >= 0) rc = mg_sys.bell_add(s->bell.epoll, s->bell.fd, MG_TAG_BELL);
  if (rc >= 0) rc = mg_sys.epoll_add(s->bell.epoll, lifeline, MG_TAG_LIFELINE);
  if (rc < 0) mg_shut(&s->bell.epoll);
  return rc;
}
