/* ring.h - a single-producer single-consumer ring of descriptors in shared memory.
 *
 * Invariants
 *  1. Only the producer writes `head`, only the consumer writes `tail`; both only grow (modulo 2^32).
 *  2. 0 <= head - tail <= MG_RING, compared by difference, so that wrapping is harmless.
 *  3. Entries [tail, head) are published: the producer does not touch them again until tail has passed them.
 *  4. Each end keeps its own copy of its own counter in private memory (mg_ring_end): what the other process writes
 *     into the shared page can starve an end or show it rubbish, but cannot make it run past the ring.
 *
 * The release store of head is the publication of an entry; the matching acquire load makes its contents visible.
 * The release store of tail hands the entry back.  No fence is needed beyond these two (event.h adds its own).
 */
#ifndef MG_RING_H
#define MG_RING_H

#include <stdatomic.h>

#include "test/faults.h"

/* One descriptor: 64 bytes, one cache line.  What each field means depends on `kind` (slot.h). */
typedef struct mg_desc {
  uint32_t kind;
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
} mg_ring_end;

static inline void mg_ring_clear(mg_ring *r) {
  atomic_store_explicit(&r->head, 0, memory_order_relaxed);
  atomic_store_explicit(&r->tail, 0, memory_order_relaxed);
}

/* Free entries as the producer sees them; 0 also when the other side wrote rubbish. */
static inline uint32_t mg_ring_room(const mg_ring_end *p) {
  uint32_t used = p->mine - atomic_load_explicit(&p->ring->tail, memory_order_acquire);
  return used <= MG_RING ? MG_RING - used : 0;
}

/* 0 when the other side wrote rubbish into the counter that is its own. */
static inline int mg_ring_sound(const mg_ring_end *p) {
  return p->mine - atomic_load_explicit(&p->ring->tail, memory_order_relaxed) <= MG_RING;
}

/* Publishes a copy of *d.  The caller has seen mg_ring_room() > 0. */
static inline void mg_ring_push(mg_ring_end *p, const mg_desc *d) {
  p->ring->entry[p->mine % MG_RING] = *d;
  MG_POINT(ring_filled);
  p->mine++;
  atomic_store_explicit(&p->ring->head, p->mine, memory_order_release);
}

/* Entries waiting for the consumer; more than MG_RING means that the producer wrote rubbish. */
static inline uint32_t mg_ring_waiting(const mg_ring_end *c) {
  return atomic_load_explicit(&c->ring->head, memory_order_acquire) - c->mine;
}

/* Copies the oldest entry out and hands its place back.  The caller has seen 0 < mg_ring_waiting() <= MG_RING.
 * The copy is what is checked and used afterwards: the producer may be hostile and write again. */
static inline void mg_ring_pop(mg_ring_end *c, mg_desc *out) {
  *out = c->ring->entry[c->mine % MG_RING];
  c->mine++;
  atomic_store_explicit(&c->ring->tail, c->mine, memory_order_release);
}

#endif
