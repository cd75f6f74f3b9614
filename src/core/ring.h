/* ring.h - a single-producer single-consumer ring of descriptors in shared memory.
 *
 * Invariants (mg_ring_check)
 *  1. Only the producer writes `head`, only the consumer writes `tail`; both only grow (modulo 2^32).
 *  2. 0 <= head - tail <= MG_RING, compared by difference, so that wrapping is harmless.
 *  3. Entries [tail, head) are published: the producer does not touch them again until tail has passed them.
 *  4. Each end keeps its own copy of its own counter in private memory (mg_ring_end): what the other process writes
 *     into the shared page can starve an end or show it rubbish, but cannot make it run past the ring.
 *  5. The counters go on from one life of the ring to the next (mg_ring_clear), and the check of a descriptor covers
 *     its counter.  So neither a changed descriptor nor an old one, which a damaged head shows again, passes for a new
 *     one.
 *
 * The release store of head is the publication of an entry; the matching acquire load makes its contents visible.
 * The release store of tail hands the entry back.  No fence is needed beyond these two (event.h adds its own).
 */
#ifndef MG_RING_H
#define MG_RING_H

#include <stdatomic.h>
#include <string.h>

#include "mg.h"
#include "point.h"

/* One descriptor: 64 bytes, one cache line.  What each field means depends on `kind` (slot.h). */
typedef struct mg_desc {
  uint16_t kind;
  uint16_t check; /* the ring's own: mg_desc_check */
  uint32_t flags;
  uint32_t block;
  uint32_t offset;
  uint32_t length;
  uint32_t count;
  uint32_t stage;
  uint32_t only;
  uint64_t chunk;
  uint32_t done;
  uint32_t attempt;
  uint32_t sure_length;
  uint32_t sure_count;
  uint64_t nanos;
} mg_desc;

typedef struct mg_ring {
  _Alignas(MG_CACHE_LINE) _Atomic uint32_t head;
  _Alignas(MG_CACHE_LINE) _Atomic uint32_t tail;
  _Alignas(MG_CACHE_LINE) mg_desc entry[MG_RING];
} mg_ring;

typedef struct mg_ring_end { /* private to one end */
  mg_ring *ring;
  uint32_t mine; /* this end's counter */
  uint32_t seen; /* of a producer: how far it has seen the consumer */
} mg_ring_end;

/* Empties a ring for the next pair of ends, which mg_ring_producer and mg_ring_consumer make.  `last`: the producer's
 * counter, or the consumer's, in the life before. */
static inline void mg_ring_clear(mg_ring *r, uint32_t last) {
  atomic_store_explicit(&r->head, last + MG_RING, memory_order_relaxed);
  atomic_store_explicit(&r->tail, last + MG_RING, memory_order_relaxed);
}

/* The end of a producer, which begins at the head of an empty ring. */
static inline mg_ring_end mg_ring_producer(mg_ring *r) {
  uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
  return (mg_ring_end){.ring = r, .mine = head, .seen = head};
}

/* The end of a consumer, which begins at the tail. */
static inline mg_ring_end mg_ring_consumer(mg_ring *r) {
  return (mg_ring_end){.ring = r, .mine = atomic_load_explicit(&r->tail, memory_order_relaxed)};
}

/* 16 bits of a descriptor's words (with `check` 0) and of its counter.  The multiplier is 2^64 divided by the golden
 * ratio, as in Knuth's multiplicative hashing. */
static inline uint16_t mg_desc_check(const mg_desc *d, uint32_t counter) {
  uint64_t word[sizeof *d / 8], h = counter + 1;
  memcpy(word, d, sizeof word);
  for (size_t i = 0; i < sizeof word / sizeof *word; i++) h = ((h ^ word[i]) * 0x9e3779b97f4a7c15u) ^ h >> 31;
  return (uint16_t)(h >> 48);
}

/* Free entries as the producer sees them; 0 also when the other side wrote rubbish. */
static inline uint32_t mg_ring_room(const mg_ring_end *p) {
  uint32_t used = p->mine - atomic_load_explicit(&p->ring->tail, memory_order_acquire);
  return used <= MG_RING ? MG_RING - used : 0;
}

/* 0 when the other side wrote rubbish into the counter that is its own: that goes neither back nor past what there is.
 * One that seemed to go back would look like a ring that stays full. */
static inline int mg_ring_sound(mg_ring_end *p) {
  uint32_t tail = atomic_load_explicit(&p->ring->tail, memory_order_relaxed);
  if (tail - p->seen > p->mine - p->seen) return 0;
  p->seen = tail;
  return 1;
}

/* Publishes a copy of *d.  The caller has seen mg_ring_room() > 0. */
static inline void mg_ring_push(mg_ring_end *p, const mg_desc *d) {
  mg_desc copy = *d;
  copy.check = 0;
  copy.check = mg_desc_check(&copy, p->mine);
  p->ring->entry[p->mine % MG_RING] = copy;
  MG_POINT(ring_filled);
  p->mine++;
  atomic_store_explicit(&p->ring->head, p->mine, memory_order_release);
}

/* Entries waiting for the consumer; more than MG_RING means that the producer wrote rubbish. */
static inline uint32_t mg_ring_waiting(const mg_ring_end *c) {
  return atomic_load_explicit(&c->ring->head, memory_order_acquire) - c->mine;
}

/* Copies the oldest entry out and hands its place back.  The caller has seen 0 < mg_ring_waiting() <= MG_RING.
 * The copy is what is checked and used afterwards: the producer may be hostile and write again.  0, or -1 where the
 * entry is not the one that the producer has published at this place in its order. */
static inline int mg_ring_pop(mg_ring_end *c, mg_desc *out) {
  *out = c->ring->entry[c->mine % MG_RING];
  uint16_t check = out->check;
  out->check = 0;
  int ok = check == mg_desc_check(out, c->mine);
  c->mine++;
  atomic_store_explicit(&c->ring->tail, c->mine, memory_order_release);
  return ok ? 0 : -1;
}

/* Asserts the invariants, as the end of a producer or of a consumer sees them; the other end may be moving. */
static inline void mg_ring_check(const mg_ring_end *e, int producer) {
  uint32_t head = atomic_load_explicit(&e->ring->head, memory_order_acquire);
  uint32_t tail = atomic_load_explicit(&e->ring->tail, memory_order_acquire);
  MG_ASSERT(e->mine == (producer ? head : tail));                     /* 1, 4 */
  MG_ASSERT((producer ? e->mine - tail : head - e->mine) <= MG_RING); /* 2 */
  for (uint32_t i = tail; producer && i != e->mine; i++) {            /* 3, 5 */
    mg_desc d = e->ring->entry[i % MG_RING];
    uint16_t check = d.check;
    d.check = 0;
    MG_ASSERT(check == mg_desc_check(&d, i));
  }
}

#endif
