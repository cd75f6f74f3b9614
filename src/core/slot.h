/* slot.h - a worker's place: what both sides share, and the coordinator's side of it.
 *
 * A slot outlives the workers that fill it.  Its shared part lies in a block of its own; the coordinator's part, which
 * is the truth about what the worker has been given, is in private memory.
 *
 *            mg_slot_begin                 mg_slot_finish              (worker exits)
 *   EMPTY ------------------> LIVE ---------------------> ENDING ---------------------> EMPTY
 *                               |                                     mg_slot_recover     ^
 *                               +------------------ (worker dies) ------------------------+
 *
 * The ledger
 *  - chunks: input handed to the worker, oldest first; the worker takes them in order.  Each is CLAIMED by the
 *    side that first changes its claim word from OFFERED: the worker, to begin it, or the coordinator, to take it back.
 *  - lent: empty blocks, oldest first; the worker fills them in order, one at a time (lent[0] is its open block).
 *  - held: output of the item in hand that did not fit in one block; not delivered before the item is done.
 *
 * The commit.  A worker makes an item's end and its output known by ONE store into `commit`:
 *     bits 52-63 generation   number of descriptors it has published, modulo 2^12
 *     bits 30-51 done         items finished of the oldest chunk
 *     bits  0-29 offset / 8   end of valid output in the open block
 * When the worker dies, the word counts if its generation equals the number of descriptors received: then exactly
 * `done` items are finished and the open block is valid up to `offset`.  With another generation nothing has been
 * finished since the last descriptor.  Output that belongs to no item (hooks, producers) moves the offset alone.
 * So a worker may be killed at any instruction: each item of its chunks is finished, with all of its output, or not
 * finished, with none of it.  Exactly one item, the first unfinished one of a claimed chunk, was in hand.
 *
 * Taking back.  What a worker has not begun can be given to another one.  A chunk that is not claimed is taken back by
 * its claim.  In the chunk in hand, the items after the one in hand are taken back by two plain words and a
 * barrier, so that an item costs the worker a load and no more:
 *
 *   worker, before it begins item i                  coordinator (mg_slot_shorten)
 *   W1  commit := i done                             C1  i := done of the commit word
 *   W2  barrier                                      C2  limit := i + 1 of this chunk
 *   W3  limit <= i: ends the chunk here, else        C3  barrier
 *       begins item i                                C4  the commit word still says i: all after item i is taken back
 *
 * Had the worker begun item i + 1 with an older limit (W3), then C4 would see the end of item i (W1).  Where C4 sees
 * something else, nothing is taken: the worker finds the limit at its next item and ends the chunk itself, and its
 * descriptor says how much it has left.  A chunk's limit is set once: C1, C3 and C4 may be tried again with it, as all
 * that can be begun yet is item i.  C3 is a barrier in the worker too (mg_sys.barrier), so that W2 needs
 * only be one for the compiler; where the system has none, W2 is a full fence (`ordering`).
 *
 * A threaded slot is for a worker with threads, which has several items in hand and finishes them in any order.  Its
 * chunks are of one item each, and progress is a set: the descriptor with MG_OUT_END is the commit of the chunk that it
 * names, which the coordinator brings to the front of the ledger first.  The worker writes an item's output without a
 * break, and takes chunks in the order in which they were offered: when it has taken a chunk, it has taken all that
 * were offered earlier.  The commit word's `done` stays 0.  At a death every claimed chunk was in hand.
 *
 * Several items at once.  A worker that folds what its items emit commits some of them together, with the value that
 * they have made.  It then stores, before W2, which item of the chunk it is at: MG_STEP_ITEM | i + 1 in `step`.  Where
 * C4 finds an item after the first unfinished one there, nothing is taken: the worker heeds the limit at its next item.
 * At its death that item was in hand, and those before it are run again like those after it.  With MG_STEP_ASIDE it was
 * in the fold, which is another stage's: then no item has failed.  What such a chunk leaves is offered with
 * MG_CHUNK_SINGLY, so the next death tells more.  An older number than `done` says that the first unfinished item is in
 * hand, as ever.
 *
 * The word may also be read while the worker lives (mg_slot_peek): what is finished need not wait until a worker that
 * is busy with the next item says so.  The descriptor that comes later covers the same range; `ahead` is left out of
 * it.
 *
 * Invariants (mg_slot_check)
 *  1. 0 <= done <= count of the oldest chunk; only the oldest chunk has done > 0.
 *  2. published <= size of lent[0]; output is committed in order of offsets, without gaps.
 *  3. Every block in lent and chunks is held in shm, one reference for each mention (mg_pool_check counts them); so is
 *     every held range, and held_bytes is their sum.
 *  4. EMPTY: no chunk, no lent block, nothing held.
 */
#ifndef MG_SLOT_H
#define MG_SLOT_H

#include "event.h"
#include "proc.h"
#include "record.h"
#include "ring.h"
#include "shm.h"

enum { /* kinds of descriptors, coordinator to worker */
  MG_IN_CHUNK = 1, /* flags (below), block (may be none), offset, length, count, stage (entry), only (edge filter),
                      chunk, attempt */
  MG_IN_BLOCK = 2, /* block, length = size */
  MG_IN_END = 3,   /* no more chunks */
  /* worker to coordinator */
  MG_OUT_DATA = 16 /* block, offset, length, count, stage (edge or MG_EDGE_ANY), done, nanos; flags below */
};
enum { /* flags of MG_IN_CHUNK */
  MG_CHUNK_TIMED = 1, /* the worker notes when each item began */
  MG_CHUNK_PRODUCER = 2, /* a producer's one item: what it emits is valid at once, whatever becomes of it */
  MG_CHUNK_SET = 4,   /* one item of a threaded slot */
  MG_CHUNK_SINGLY = 8 /* of a producer: each record has a block of its own, so that it waits for the next one; else:
                         each item is committed by itself, see "Several items at once" */
};
enum { /* flags of MG_OUT_DATA */
  MG_OUT_RETURN = 1, /* the block is finished: not written again */
  MG_OUT_END = 2,    /* the chunk is finished: done == count, or less, where a limit was set (mg_slot_shorten) */
  MG_OUT_DROP = 4,   /* forget what is held: the item in hand failed */
  MG_OUT_NEED = 8,   /* wants a block; `attempt` = least size in units */
  MG_OUT_NO_CHUNK = 16  /* output that belongs to no chunk (hooks): valid as it is */
};
/* Bits of `step`. */
#define MG_STEP_ITEM 0x80000000u  /* the rest is the number, from 1, of the item of the chunk that is in work */
#define MG_STEP_ASIDE 0x40000000u
#define MG_STEP_NUMBER(step) ((step) & 0x3fffffffu)

enum { /* bits of `c` of MG_EVENT_LEFT */
  MG_LEFT_STREAMED = 1, /* some of the output of the item in hand has been let through */
  MG_LEFT_TIMED_OUT = 2, /* its time-out has ended it */
  MG_LEFT_LOADING = 4   /* the worker was in a load hook, maybe this item's */
};
/* sure_length and sure_count of MG_OUT_DATA say how much of the range belongs to finished items: the rest is held. */

enum {
  MG_CLAIM_OFFERED = 0,
  MG_CLAIM_TAKEN = 1,
  MG_CLAIM_REVOKED = 2,
  MG_CLAIM_LEFT = 3 /* the worker has taken it, and leaves between two of its items: none is in hand */
};

enum { /* how the worker keeps W1 before W3; 0: it has not begun */
  MG_ORDERED_BY_BARRIER = 1, /* the coordinator's barrier does */
  MG_ORDERED_BY_FENCE = 2
};

/* The limit of a chunk with this sequence number; with that of no chunk: no limit. */
#define MG_LIMIT_WORD(sequence, items) ((uint64_t)(sequence) << 32 | (items))
#define MG_NO_LIMIT UINT64_MAX

typedef struct mg_slot_shared {
  mg_ring in, out;
  _Alignas(MG_CACHE_LINE) _Atomic uint64_t commit; /* written by the worker, read by the coordinator */
  _Atomic uint64_t began;                          /* when the item in hand began; only where there is a time-out */
  _Atomic uint64_t running;                        /* of a threaded slot: the number of the chunk whose item that is */
  _Atomic uint32_t worker_asleep;
  _Atomic uint32_t step;                           /* the part of the item in hand that is in work; 0: none */
  _Atomic uint32_t ordering;                       /* MG_ORDERED_...; written once, at its begin */
  _Atomic uint32_t last_word;                      /* see mg_proc_tell_end */
  _Atomic uint32_t loading;                        /* not 0: the worker is in a load hook */
  _Alignas(MG_CACHE_LINE) _Atomic uint32_t coordinator_asleep; /* written by the coordinator */
  _Atomic uint32_t spin_allowed;
  _Atomic uint32_t stop; /* producers end: they are told at their next emit */
  _Atomic uint64_t limit; /* items of the chunk in hand that the worker may begin: MG_LIMIT_WORD */
  _Alignas(MG_CACHE_LINE) _Atomic uint32_t claim[MG_THREADED_CHUNKS]; /* by chunk sequence modulo `room` */
} mg_slot_shared;

#define MG_COMMIT_GENERATION(w) ((uint32_t)((w) >> 52))
#define MG_COMMIT_DONE(w) ((uint32_t)((w) >> 30) & 0x3fffffu)
#define MG_COMMIT_OFFSET(w) ((uint32_t)((w) & 0x3fffffffu) << 3)
#define MG_COMMIT_WORD(gen, done, offset) \
  ((uint64_t)((gen) & 0xfffu) << 52 | (uint64_t)(done) << 30 | (uint64_t)((offset) >> 3))

typedef struct mg_range { /* records in a block */
  uint32_t block, offset, length, count, edge;
} mg_range;

/* Cuts a range after its first n items, which are fewer than all: *rest is what comes after them, without a reference
 * of its own.  0, or -EPROTO when its block is damaged. */
static inline int mg_range_cut(const uint8_t *base, mg_range *r, uint32_t n, mg_range *rest) {
  uint32_t end = r->offset + r->length, passed, only = r->edge;
  uint32_t at = mg_item_walk(base, r->offset, end, &only, n, &passed);
  if (at == 0 || passed != n) return -EPROTO;
  *rest = *r;
  rest->count -= n;
  rest->edge = only;
  r->count = n;
  if (only & MG_EDGE_PIECE) return 0;
  rest->offset = at;
  rest->length = end - at;
  r->length = at - r->offset;
  return 0;
}

typedef struct mg_chunk { /* input handed to a worker */
  mg_range range;         /* edge: the filter */
  uint64_t number;        /* the run's own name for it */
  uint32_t stage, attempt, flags;
} mg_chunk;

enum { MG_SLOT_EMPTY, MG_SLOT_LIVE, MG_SLOT_ENDING };

typedef struct mg_slot {
  mg_slot_shared *shared;
  uint32_t home; /* the block that holds `shared` */
  int state;
  mg_bell bell; /* wakes the worker */
  mg_proc proc;
  mg_ring_end in, out;
  mg_chunk few[MG_CHUNKS];
  mg_chunk *chunk; /* a queue with room for `room`: `few`, or memory of its own */
  uint32_t room, chunk_first, chunks, chunk_sequence;
  int threaded;
  int played;              /* a test plays its worker: there is no process */
  uint32_t lent[MG_LENT]; /* a queue */
  uint32_t lent_first, lents;
  uint32_t done;       /* of the oldest chunk */
  uint32_t limit;      /* of the oldest chunk, as the worker has been told: it may end there; 0: none */
  uint32_t published;  /* of the open block */
  uint32_t ahead, ahead_count; /* bytes and records after it that were delivered by the commit word alone */
  uint32_t generation; /* descriptors received */
  int needs;           /* its worker waits for a block */
  int quiet;           /* looks in a row that have found it asleep with work in hand */
  int damaged;         /* 1: its worker wrote what no worker may write; 2: that has been reported */
  uint64_t timed_out;  /* `began` of the item for whose time-out the worker was killed; 0 when it was not */
  mg_range *held;
  uint32_t helds, held_room;
  size_t held_bytes;
  size_t held_most; /* above this many held bytes ... */
  int streaming;    /* ... they are let through as a stream: the item in hand cannot be undone any more */
} mg_slot;

/* What a descriptor, or a death, amounts to: handed to the pool one by one. */
enum {
  MG_EVENT_NONE,
  MG_EVENT_OUT,  /* range: committed output; its reference passes to the receiver.  number: of its chunk, when
                    threaded */
  MG_EVENT_DONE, /* chunk `number`: a = items newly finished, b = 1 at its end, c = 1 when one of them was streamed,
                    nanos = time spent since the last such event */
  MG_EVENT_NEED, /* a = least size in bytes of a block that the worker waits for */
  MG_EVENT_LEFT, /* after a death or a revocation: chunk with range cut to what is unfinished (reference passes),
                    a = items finished in it before, b = 1 when an item was in hand: its first one, or with
                    MG_STEP_ITEM the one of that number; c: MG_LEFT_... of that one; step: which part of it was in
                    work, or which it is */
  MG_EVENT_EXIT, /* the worker is gone: a = exit code, b = signal, c: bit 0 when expected, bit 1 when it
                    is not known how (a and b are 0 then), pid */
  MG_EVENT_SAID, /* the worker has printed something: mg_relay_read; c = 1: it is gone */
  MG_EVENT_CORRUPT, /* the worker wrote what no worker may write; it has been killed */
  MG_EVENT_REST, /* chunk `number` ends before `range` (the reference passes), which the worker has not begun, as it was
                    asked to */
  MG_EVENT_TAKEN_OVER, /* of the ledger (ledger.h): work `number`, whose worker has died, is in this one's hand now */
  MG_EVENT_RETIRE      /* of the ledger: this worker has been given all that it is for */
};
typedef struct mg_slot_event {
  int kind;
  uint32_t slot;
  mg_range range;
  uint64_t number, nanos;
  uint32_t stage, attempt, a, b, c, step;
  pid_t pid;
} mg_slot_event;

typedef int (*mg_sink)(void *to, const mg_slot_event *ev); /* 0, or -ENOMEM */

/* Makes an EMPTY slot threaded, for at least so many chunks; for good.  0 or -ENOMEM. */
int mg_slot_make_threaded(mg_slot *s, uint32_t chunks);
/* Frees what mg_slot_make_threaded has taken; the slot is EMPTY. */
void mg_slot_free(mg_slot *s);
/* Prepares an EMPTY slot for a new worker: clears rings and claims. */
void mg_slot_begin(mg_slot *s);
/* Hands a chunk over; takes over one reference to its block (none for MG_NO_BLOCK).  0, or -EAGAIN when full.  A
 * threaded slot takes chunks of one item with MG_CHUNK_SET, another one none of these. */
int mg_slot_offer(mg_slot *s, const mg_chunk *c);
/* Lends an empty block, taking over the caller's reference.  0, or -EAGAIN when full. */
int mg_slot_lend(mg_slot *s, const mg_shm *shm, uint32_t block);
/* Says that no more chunks come. */
int mg_slot_finish(mg_slot *s);
/* Tells the worker that its producer should end; it sees that when it emits next. */
void mg_slot_stop(mg_slot *s);
/* Reads all descriptors; each becomes events in `sink`.  0, -EPROTO when the worker wrote rubbish, or the sink's
 * error. */
int mg_slot_collect(mg_slot *s, mg_shm *shm, mg_sink sink, void *to);
/* Delivers what the worker has finished and not published, as far as the commit word tells.  0, -EPROTO when that tells
 * what cannot be, or the sink's error. */
int mg_slot_peek(mg_slot *s, mg_shm *shm, mg_sink sink, void *to);
/* Looks, about once a second, after a worker that is not heard of.  One that has not taken what is in its ring is
 * woken, whatever it has said: its word may be damaged.  One that sleeps, look after look, although it has work
 * in hand and waits for nothing, has lost something.  0, -EPROTO for that, or -errno of the wake-up. */
int mg_slot_nudge(mg_slot *s);
/* Takes back the newest chunk that there is still, if the worker has not begun it: 1 with *out filled (the reference
 * passes), or 0.  It stays in the ledger as an empty one until the worker has passed over it. */
int mg_slot_revoke(mg_slot *s, mg_chunk *out);
/* Takes back what the worker has not begun of the oldest chunk: 1 with *out filled, a reference with it, and the chunk
 * shortened; or 0: there is nothing, or the worker is about to tell how much it leaves (MG_EVENT_REST).  What the ring
 * holds must have been collected. */
int mg_slot_shorten(mg_slot *s, mg_shm *shm, mg_chunk *out);
/* After the worker's end: delivers what it had committed, takes everything else back, and empties the slot. */
int mg_slot_recover(mg_slot *s, mg_shm *shm, mg_sink sink, void *to);
/* When the item in hand began, by mg_now(); 0 when there is none or it is not timed. */
uint64_t mg_slot_began(const mg_slot *s);
/* Drops every reference the slot holds, without delivering anything. */
void mg_slot_drop(mg_slot *s, mg_shm *shm);
/* Asserts the invariants, as far as private memory tells: what a worker writes cannot break them. */
void mg_slot_check(const mg_slot *s, const mg_shm *shm);

enum { MG_TAG_BELL, MG_TAG_LIFELINE }; /* what a worker's epoll descriptor says */
/* What the slot's worker waits in, made for its first one, as there may be more slots than are ever filled: 0 or
 * -errno. */
int mg_slot_open_bell(mg_slot *s, int lifeline);

#endif
