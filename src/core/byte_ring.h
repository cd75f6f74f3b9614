/* byte_ring.h - a single-producer single-consumer ring of bytes in memory that two unrelated processes share.
 *
 * It carries frames: a head of 16 bytes, which says how long the contents are and what they are, then the contents,
 * then zeros up to a multiple of 8.  A frame is published whole, by one store of `head`.
 *
 * Invariants (mg_byte_check)
 *  1. Only the producer writes `head`, only the consumer writes `tail`.  Both count all bytes since the ring was made,
 *     in 64 bits and in steps of 8.  They only grow, and in memory they are never taken modulo: so a full ring,
 *     head - tail == size, does not look like an empty one.
 *  2. 0 <= head - tail <= size, a power of two.
 *  3. The bytes [tail, head) are whole frames.  The producer does not touch them until tail has passed them; the
 *     consumer moves tail after it has done with a frame, not before.
 *  4. Each end keeps its own cursor in private memory, and the other's as it was seen last and found sound.  What the
 *     other process can write is read once, into a register, and checked there.  A cursor that goes back, goes too far,
 *     or is no multiple of 8, and a frame that does not end by head, are -EPROTO: the connection is to be ended.
 *  5. An end never initialises what it is attached to: memory of zeros is an empty ring.
 *  6. The ring is mapped twice, one copy after the other, so any `size` bytes lie in a row wherever they begin.  That
 *     is a process's own matter: one that has it mapped once copies in two parts.
 *
 * The release store of head publishes, the release store of tail hands back; channel.h adds sleeping and waking.
 */
#ifndef MG_BYTE_RING_H
#define MG_BYTE_RING_H

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "mg.h"
#include "point.h"

typedef struct mg_byte_cursors { /* in shared memory: the layout is part of docs/service-protocol.md */
  _Alignas(MG_CACHE_LINE) _Atomic uint64_t head;
  _Alignas(MG_CACHE_LINE) _Atomic uint64_t tail;
} mg_byte_cursors;

typedef struct mg_byte_end { /* private to one end */
  mg_byte_cursors *at;
  uint8_t *bytes; /* twice `size` */
  uint64_t size;
  uint64_t mine; /* this end's cursor */
  uint64_t seen; /* the other's */
} mg_byte_end;

typedef struct mg_frame { /* the head; little-endian, as the machine's own order is on all that this runs on */
  uint32_t length;        /* of the contents */
  uint8_t kind, flags;
  uint16_t zero;
  uint64_t number;
} mg_frame;

/* Bytes of ring that a frame takes. */
static inline uint64_t mg_frame_space(uint64_t length) { return sizeof(mg_frame) + ((length + 7) & ~(uint64_t)7); }

/* Attaches an end, where the cursors stand.  0 or -EPROTO. */
int mg_byte_attach(mg_byte_end *e, mg_byte_cursors *at, uint8_t *bytes, uint64_t size, int producer);
/* Asserts of 1, 2 and 4 what holds whatever the other process writes. */
void mg_byte_check(const mg_byte_end *e, int producer);

/* Bytes that the producer may write: at least `wanted` of them, or all that there are.  -EPROTO. */
static inline int64_t mg_byte_room(mg_byte_end *p, uint64_t wanted) {
  uint64_t room = p->size - (p->mine - p->seen);
  if (MG_LIKELY(room >= wanted)) return (int64_t)room;
  uint64_t tail = atomic_load_explicit(&p->at->tail, memory_order_acquire);
  if (MG_UNLIKELY(tail - p->seen > p->mine - p->seen || tail % 8 != 0)) return -EPROTO;
  p->seen = tail;
  return (int64_t)(p->size - (p->mine - tail));
}

/* Where the contents of the next frame go: contiguous as far as there is room. */
static inline uint8_t *mg_byte_contents(const mg_byte_end *p) {
  return p->bytes + (p->mine & (p->size - 1)) + sizeof(mg_frame);
}

/* Publishes a frame whose contents are in their place.  The caller has seen room for it. */
static inline void mg_byte_publish(mg_byte_end *p, mg_frame head) {
  uint8_t *at = p->bytes + (p->mine & (p->size - 1));
  uint64_t space = mg_frame_space(head.length);
  if (head.length % 8) memset(at + sizeof head + head.length, 0, (size_t)(space - sizeof head - head.length));
  memcpy(at, &head, sizeof head);
  MG_POINT(frame_written);
  p->mine += space;
  atomic_store_explicit(&p->at->head, p->mine, memory_order_release);
  MG_POINT(frame_published);
}

/* Whether a frame waits for the consumer, as a look at the ring shows; what it is mg_byte_next says. */
static inline int mg_byte_waits(const mg_byte_end *c) {
  return atomic_load_explicit(&c->at->head, memory_order_relaxed) != c->mine;
}

/* The oldest frame: 1 with its head in *out and *at its contents, which the producer may be changing; 0: there is none;
 * -EPROTO.  It stays until mg_byte_release. */
static inline int mg_byte_next(mg_byte_end *c, mg_frame *out, const uint8_t **at) {
  if (c->seen == c->mine) {
    uint64_t head = atomic_load_explicit(&c->at->head, memory_order_acquire);
    if (head == c->mine) return 0;
    if (MG_UNLIKELY(head - c->mine > c->size || head % 8 != 0)) return -EPROTO;
    c->seen = head;
  }
  const uint8_t *from = c->bytes + (c->mine & (c->size - 1));
  memcpy(out, from, sizeof *out);
  __asm__ volatile("" : : "r"(out) : "memory"); /* read once: what is checked below is what is used */
  uint64_t waiting = c->seen - c->mine;
  if (MG_UNLIKELY(waiting < sizeof *out || mg_frame_space(out->length) > waiting)) return -EPROTO;
  *at = from + sizeof *out;
  return 1;
}

/* Hands back the oldest frame, of so many bytes of contents. */
static inline void mg_byte_release(mg_byte_end *c, uint32_t length) {
  c->mine += mg_frame_space(length);
  MG_POINT(frame_read);
  atomic_store_explicit(&c->at->tail, c->mine, memory_order_release);
  MG_POINT(frame_released);
}

#endif
