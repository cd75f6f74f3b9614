/* worker.h - the worker's side of a slot (slot.h): take chunks, fill lent blocks, commit.
 *
 * A worker owns nothing that others need.  It borrows blocks to read (chunks) and blocks to fill (lent), and says what
 * it has finished by the commit word and by descriptors.  All of this struct is private memory of the child.
 *
 *   open block:   |  published  |   sure   |  the item in hand  |  free  |
 *                 0         published     mark                 end     size
 *
 * Invariants (mg_worker_check)
 *  1. published <= mark <= end <= size, all multiples of 8.
 *  2. [published, mark) belongs to finished items, [mark, end) to the item in hand.
 *  3. What the item in hand has published before its end is held by the coordinator: `item_held` is 1.
 *  4. After every descriptor the commit word is written again, so it is never older than the last descriptor but one.
 *  5. Where items are committed together (`together`), `ahead` of them are finished and not committed: their output is
 *     in [mark, end) too, or held.  Such output is not forgotten: mg_worker_rollback is for ahead == 0.
 *  6. In a threaded slot nothing is in hand (busy is 0) but while the output of one item is written.
 */
#ifndef MG_WORKER_H
#define MG_WORKER_H

#include "slot.h"

typedef struct mg_worker {
  mg_slot_shared *shared;
  uint8_t *base;                        /* of the mapping */
  int epoll;                            /* where it waits: for its bell and its life-line */
  mg_bell coordinator;
  unsigned serial;                      /* of its process: a stray copy of it must not commit */
  mg_ring_end in, out;
  mg_desc few[MG_CHUNKS];
  mg_desc *pending;                     /* chunks from the ring, not begun: a queue with room for `room` */
  mg_desc *taken;                       /* of a threaded slot: chunks that are begun, by index; count 0: no chunk */
  uint32_t room;
  uint32_t pending_first, pendings, sequence;
  mg_desc spare[MG_LENT];               /* empty blocks taken from the ring: a queue */
  uint32_t spare_first, spares;
  int ending;                           /* no more chunks come */

  mg_desc chunk;                        /* in hand, when busy */
  uint64_t tag;                         /* its sequence number, as in the limit's word */
  int fences;                           /* the system has no barrier for other processes: see slot.h, W2 */
  int busy, is_producer;
  uint32_t next, limit;                 /* offsets in the chunk's block: of the next record, of the end */
  uint32_t done;
  int together;                         /* items of this chunk are committed together; how many wait for that: */
  uint32_t ahead;
  uint64_t worked, waits;               /* then: of mg_worked, when published_at was set */

  uint32_t block;                       /* open block, MG_NO_BLOCK when there is none */
  size_t size;
  uint32_t published, mark, end;
  uint32_t count, mark_count;           /* records since `published`, up to end and up to mark */
  uint32_t edge, mark_edge;
  int item_held;
  int between;                          /* no item is in hand: it has just been committed */
  uint32_t generation;
  uint64_t published_at;                /* when the last descriptor was published */
  uint32_t check_every, check_in;       /* items between looks at the clock while the coordinator sleeps */
  mg_spin spin;
} mg_worker;

/* Waits for a chunk: 1 with w->chunk in hand, 0 when no more come.  Leaves the process when the coordinator is gone. */
int mg_worker_next(mg_worker *w);
/* The next record of the chunk in hand: 1, 0 when there is none, or the coordinator has taken back those that are left,
 * -EBADMSG when the block is damaged. */
int mg_worker_record(mg_worker *w, mg_record *r);
/* Leaves the open block for one with room for a record of so many bytes: may publish, and wait. */
void mg_worker_open(mg_worker *w, size_t need);
/* What was written belongs to no item: it is committed at once. */
void mg_worker_sure(mg_worker *w);
/* Room to write one value of at least `least` bytes: *to and *room.  May publish and wait for a block. */
static inline void mg_worker_reserve(mg_worker *w, size_t least, uint8_t **to, size_t *room) {
  size_t need = mg_record_space(least);
  if (MG_UNLIKELY(w->block == MG_NO_BLOCK || w->size - w->end < need)) mg_worker_open(w, need);
  *to = w->base + ((size_t)w->block << MG_UNIT_SHIFT) + w->end + MG_RECORD_HEAD;
  *room = (w->size - w->end - MG_RECORD_HEAD) & ~(size_t)7;
}
/* Makes the value written there a record of the item in hand. */
static inline void mg_worker_append(mg_worker *w, size_t length, unsigned edge, unsigned flags) {
  mg_record_head(w->base + ((size_t)w->block << MG_UNIT_SHIFT) + w->end, (uint32_t)length, edge, flags);
  w->edge = w->count == 0 || w->edge == edge ? edge : MG_EDGE_ANY;
  MG_POINT(appended);
  w->end += mg_record_space(length);
  w->count++;
  if (MG_UNLIKELY(!w->busy || w->is_producer)) mg_worker_sure(w);
}
/* The item in hand is finished: its output is committed.  This store is the commit. */
void mg_worker_commit(mg_worker *w);
/* The items of the chunk in hand are committed together: after each, mg_worker_pass instead of mg_worker_commit.  What
 * is told of their time is processor time, where the worker has not waited: on a busy machine slices would be small. */
static inline void mg_worker_together(mg_worker *w) {
  w->together = 1;
  w->ahead = 0;
  w->worked = mg_worked(&w->waits);
}
/* The time that the chunk in hand has taken since the last descriptor. */
static inline uint64_t mg_worker_spent(mg_worker *w, uint64_t now) {
  if (!w->together) return now - w->published_at;
  uint64_t worked = w->worked, waits = w->waits;
  w->worked = mg_worked(&w->waits);
  return w->waits == waits ? w->worked - worked : now - w->published_at;
}
/* The item in hand is finished, but not committed.  1 where all that are finished should be, by mg_worker_commit_all:
 * some of their output had to be published, or waits in the open block and the coordinator wants to hear of it. */
int mg_worker_pass(mg_worker *w);
/* All that are finished are committed; not in the middle of one. */
static inline void mg_worker_commit_all(mg_worker *w) {
  if (w->ahead == 0) return;
  w->done += w->ahead - 1;
  w->ahead = 0;
  mg_worker_commit(w);
}
/* The item in hand is made of parts, and goes on to this one, numbered from 1; 0: to none.  A time-out counts for each
 * part, and the report of the worker's death says which part it was at. */
void mg_worker_step(mg_worker *w, uint32_t step);
/* The item in hand is in another stage's fold from now on, or not any more: MG_STEP_ASIDE. */
static inline void mg_worker_aside(const mg_worker *w, int on) {
  uint32_t step = atomic_load_explicit(&w->shared->step, memory_order_relaxed);
  step = on && step & MG_STEP_ITEM ? step | MG_STEP_ASIDE : step & ~MG_STEP_ASIDE;
  atomic_store_explicit(&w->shared->step, step, memory_order_relaxed);
}
/* The item in hand has failed: its output is forgotten. */
void mg_worker_rollback(mg_worker *w);
/* Tells the coordinator of everything so far. */
void mg_worker_publish(mg_worker *w);
/* Ends the chunk in hand.  What was appended since the last commit is valid with it. */
void mg_worker_end_chunk(mg_worker *w);
/* A worker with threads, in a threaded slot, has these instead of mg_worker_next:
 * Makes room for its chunks, which lasts as long as the process.  0 or -ENOMEM. */
int mg_worker_make_threaded(mg_worker *w);
/* How many chunks have come that are not begun: 1 with *n, or 0 when there are none and no more come. */
int mg_worker_offered(mg_worker *w, uint32_t *n);
/* Begins the next chunk, without waiting: 1 with its index in *index and its item ready for mg_worker_record; 0 when
 * there is none at present; -1 when no more come. */
int mg_worker_take(mg_worker *w, uint32_t *index);
/* Makes a begun chunk the one in hand: its output is to be appended and the chunk ended, without anything else between.
 */
void mg_worker_hand(mg_worker *w, uint32_t index);
/* Says that a handler of this chunk runs, at this part of it (see mg_worker_step), and when it began: 0, it has no
 * time-out.  Or, with index MG_NO_BLOCK, that none runs any more. */
static inline void mg_worker_mark(const mg_worker *w, uint32_t index, uint32_t step, uint64_t began) {
  uint64_t number = index == MG_NO_BLOCK ? 0 : w->taken[index].chunk;
  atomic_store_explicit(&w->shared->running, number, memory_order_relaxed);
  atomic_store_explicit(&w->shared->step, step, memory_order_relaxed);
  atomic_store_explicit(&w->shared->began, began, memory_order_release);
}
/* Sleeps until fd is readable, ns have passed (< 0: no limit) or, if `want`, there is a chunk to take or no more come.
 * The caller wants as long as mg_worker_take has not said that no more come, and it has room for one. */
void mg_worker_rest(mg_worker *w, int fd, int want, int64_t ns);
/* Asserts the invariants, as they hold between two steps. */
void mg_worker_check(const mg_worker *w);

#endif
