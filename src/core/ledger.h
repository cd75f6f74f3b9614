/* ledger.h - the ledger of a run: every item that a stage has accepted and not finished, and the place where it is.
 *
 * Work is a piece of what a stage has accepted: records in a block, one value of the program above, or the end of a
 * loop's input.  It has a number, by which the program above knows it too, and lies in exactly one list: in the queue
 * of a place, in a hand (of a worker, of a thread, of the coordinator), or among what waits for its next attempt.
 *
 *   accept --> queue --take--> hand --finish--> gone        a worker takes back what it has not begun: hand --> queue
 *                                 \--(failed)--> waiting --wake--> queue
 *
 * A place is what runs stages (contexts/contract.lua).  Its work comes by mg_ledger_push; one of workers gets it by
 * mg_ledger_dispatch, others take it (mg_ledger_take).  A seat is a slot of the pool as the ledger sees it: what its
 * worker has in hand, and what it waits for.
 *
 * What workers have committed is taken by mg_ledger_collect: it goes on to the next stages, and what was in hand is
 * finished.  What needs the program above (a report, a failure, a death, a place that is `told`) is handed to it as the
 * event that it is.  How much, how long and how many is not decided here: those numbers are mg_terms.
 *
 * Invariants (mg_ledger_check)
 *  1. Work is in exactly one list, or free.  A list's `items` are those of its work that are not finished.
 *  2. pending[stage] is the sum of its items in queues, in hands, and among what waits.
 *  3. A place's `queued`, `bytes` and `works` are those of its queues; its `pending` that of its stages; `lacking` says
 *     how many of its seats are.
 *  4. Each piece of work holds one reference to its block; a slot has one of its own for what it was handed.
 *  5. A worker's slices are in its seat's hand, the oldest first, and their chunk's number says which work it is.
 *  6. `torn` is 1 while an update goes on.  One that an error of the program above has cut in two leaves it so.
 */
#ifndef MG_LEDGER_H
#define MG_LEDGER_H

#include "pool.h"

#define MG_PLENTY (INT64_MAX / 4) /* as a number of items: no limit */
enum { MG_NO_WORK = 0 };
#define MG_NO_SEAT UINT32_MAX
#define MG_SEVERAL UINT32_MAX

typedef struct mg_terms { /* the numbers that decide; lua/minigun/policy/terms.lua has them, and the reasons */
  double newest;                    /* weight of the newest measurement in the running mean of the time per item */
  double slice, long_slice, fold, long_fold, stored; /* seconds */
  uint32_t share, most_items;
  double overdue, overdue_most; /* seconds */
  uint32_t some, each;          /* items that may wait before a limited stage */
  uint32_t own_most;            /* pieces of work that may wait for the coordinator's own stages */
  uint32_t blocks, small;       /* empty blocks in store; small ranges in a row after which blocks become smaller */
} mg_terms;

enum { MG_IN_NO_LIST, MG_IN_QUEUE, MG_IN_HAND, MG_IN_WAITING }; /* what a list is */
typedef struct mg_list {
  uint32_t first, last, n; /* numbers of work */
  uint8_t kind;
  uint64_t items;
} mg_list;

enum { /* flags of work */
  MG_WORK_RETURNED = 1, /* taken back from a worker that was overdue */
  MG_WORK_AGAIN = 2,    /* a further attempt at the item `first`, or at a part of it */
  MG_WORK_KEPT = 4,     /* the program above keeps something under its number: see mg_ledger_hooks */
  MG_WORK_TAKEN_OVER = 8, /* its worker died: MG_EVENT_TAKEN_OVER tells to which it goes */
  MG_WORK_SINGLY = 16 /* each of its items is to be committed by itself: MG_CHUNK_SINGLY */
};
typedef struct mg_work {
  mg_range range; /* block MG_NO_BLOCK: a value, `length` is what it may take in memory */
  uint32_t stage, attempt, lane; /* attempt 0: the end of a loop's input; lane: the one worker for it, or 0 */
  uint32_t flags, finished, next, before;
  mg_list *in;
  uint64_t first;        /* ordinal of its first item, in the order of arrival at its place; 0: it has none yet */
  uint64_t number, busy; /* of its chunk, nanoseconds in handlers; in the coordinator's queue: its turn */
} mg_work;

typedef struct mg_limit { /* one of the things that fill up after a stage: a place, or (stage != 0) a stage's queue */
  uint32_t place, stage;
  int64_t most;
} mg_limit;
typedef struct mg_limits {
  mg_limit *at;
  uint32_t n, room;
} mg_limits;

#define MG_SERVICE_CLASSES 256 /* of a factor 2^(1/4), from 0.1 us on: lua/minigun/base/stats.lua */
typedef struct mg_counts { /* since they were last taken */
  uint64_t items_in, items_out, busy, waiting_out, queue_most;
  uint64_t service[MG_SERVICE_CLASSES];
  int served;
} mg_counts;

typedef struct mg_stage {
  uint32_t place;
  uint64_t senders;        /* bits of places, the first 64, that have sent to it whatever the graph says */
  uint64_t pending, hands; /* items; pieces of work in hands */
  int drained, no_more;
  int producing, continues, terminal, recipe; /* what the plan says */
  int plain;                 /* of the coordinator's own: all that waits for it may be run at once, as it is */
  uint32_t chunk_flags;
  uint32_t *target, targets; /* stages that its items go to, besides those of its own process */
  mg_limits reach, waits;    /* what fills up after it; of that, what it waits for itself */
  int64_t per;               /* items that make one for these */
  mg_list queue;             /* of the coordinator's own */
  double rate;               /* the same: seconds per item, < 0: not known */
  mg_counts counts;
} mg_stage;

typedef struct mg_place {
  int here, fresh, ordered, told;
  int folds;              /* what its workers make is folded there */
  uint32_t threaded;      /* items that a worker may have in hand, each by itself; 0: it has no threads */
  int loops;              /* loops are to end before a worker does: the program above sees to that */
  uint32_t ended_loops;   /* loop stages whose workers know that nothing more comes */
  uint32_t n, first_seat, seats; /* workers or threads; seats: as many as there may be, 0: they are no processes */
  uint32_t used;          /* seats, the first ones, that have had a worker or are to have one */
  uint32_t stages, front;        /* how many it runs; the first of them */
  uint64_t per_worker;
  uint32_t most;          /* items that may be queued; 0: bytes alone count */
  mg_list queue, hand;    /* hand: of a place without seats */
  mg_list *lane;          /* one for each worker, or NULL */
  uint32_t lanes;
  uint64_t queued, bytes, works, pending;
  uint64_t arrived;       /* items, in their order */
  uint32_t only_way_in;   /* the stage that all of them have come to; 0: none yet; MG_SEVERAL */
  uint64_t order_head, order_limit; /* ordinals that may be begun: up to, or below */
  int partitioned, finishing, blocked, limited;
  double rate;            /* seconds per item; < 0: not known */
  uint64_t look_at;       /* ns: when to look again for workers that are overdue; 0: never */
  int64_t per;
  mg_limits targets;
  size_t block_bytes;     /* of the next block that is lent */
  uint32_t small, lacking, counted; /* counted: the stage whose output is counted when it arrives, or 0 */
  uint64_t chunks;
} mg_place;

typedef struct mg_seat {
  uint32_t place;
  mg_list hand;
  int live, vacant, retired, ends;
  int leaving; /* its loops are to end before it: the program above hears of the end of each slice */
  int told; /* the program above wants to know of what is finished, before it is */
  uint64_t given, items, busy; /* items that its process has been given, has done; nanoseconds */
  int lacking;                 /* it may lack a block */
  size_t wanted;               /* bytes of the block that it waits for; 0: none */
  uint64_t wanted_since, overdue_number, overdue_wait, overdue_at; /* ns */
} mg_seat;

typedef struct mg_ledger_hooks { /* of the program above; each may leave by longjmp, see invariant 6 */
  void *to;
  void (*cut)(void *to, uint32_t whole, uint32_t part, uint32_t n, int at_end); /* a part of n items has been cut off */
  void (*finished)(void *to, uint32_t work, uint32_t n);
  void (*gone)(void *to, uint32_t work); /* nothing may be kept under its number any more */
} mg_ledger_hooks;

typedef struct mg_ledger {
  mg_pool *pool; /* NULL: there is none, the coordinator runs all stages */
  mg_terms terms;
  mg_ledger_hooks hooks;
  mg_work *work;
  uint32_t works, unused; /* numbers that there are; first of those that are free */
  mg_stage *stage;        /* from 1 */
  mg_place *place;
  mg_seat *seat;
  uint32_t stages, places, place_room, seats, own; /* own: the coordinator's place */
  mg_list waiting, held;  /* held: on its way between two places, counted as in hand */
  uint64_t turn, moved, chunks;
  size_t memory, queue_bytes;
  uint32_t overdraft;     /* the seat of the one worker that may pass the limit of memory, or MG_NO_SEAT */
  uint32_t spawn_seat, spawn_work; /* see mg_ledger_dispatch */
  uint32_t damaged;       /* the stage in whose block something is wrong */
  uint32_t *edges;        /* counters, for mg_ledger_collect */
  int changed, closing, torn;
  int paused;             /* producers wait, whatever there is room for */
} mg_ledger;

/* --- making one ------------------------------------------------------------------------------------------------- */

/* A ledger of so many stages and at most so many places; 0 or -ENOMEM.  Belongs to the caller until mg_ledger_close. */
int mg_ledger_open(mg_ledger *l, uint32_t stages, uint32_t places);
void mg_ledger_close(mg_ledger *l);
/* From now on it hands out work to the pool's slots (NULL: there are none), and may use so much memory.  0 or -ENOMEM.
 * */
int mg_ledger_attach(mg_ledger *l, mg_pool *pool, size_t memory, size_t queue_bytes);
/* Adds a place, whose fields are set by the caller: its number, or -ENOMEM. */
int mg_ledger_add_place(mg_ledger *l);
/* Adds to what fills up.  0 or -ENOMEM. */
int mg_limits_add(mg_limits *limits, mg_limit one);

/* Room for so many stages that a stage's items go to, to be filled by the caller.  0 or -ENOMEM. */
int mg_stage_targets(mg_stage *s, uint32_t n);

/* --- work: ledger.c, ledger_queue.c ------------------------------------------------------------------------------ */

static inline mg_place *mg_place_of(const mg_ledger *l, uint32_t stage) { return &l->place[l->stage[stage].place]; }

/* New work in no list, whose fields are set by the caller; MG_NO_WORK when there is no memory. */
uint32_t mg_work_new(mg_ledger *l);
/* It is gone: takes it out of its list, and gives its reference up. */
void mg_work_free(mg_ledger *l, uint32_t w);
void mg_list_add(mg_ledger *l, mg_list *list, uint32_t w, int in_front);
void mg_list_remove(mg_ledger *l, uint32_t w);
/* A stage has accepted work, which lies in no list yet: it is pending, and in the queue of its place. */
void mg_ledger_accept(mg_ledger *l, uint32_t w);
/* Accepts a range and its reference for a stage.  0 or -ENOMEM. */
int mg_ledger_accept_range(mg_ledger *l, uint32_t stage, const mg_range *range, uint32_t lane, uint32_t *w);
/* Puts work that is pending into the queue of its place: last, in front, or, in an ordered place, where it belongs. */
void mg_ledger_push(mg_ledger *l, uint32_t w, int in_front);
/* Work that is in no list is pending from now on, and waits for its next attempt; or is in the coordinator's hand. */
void mg_ledger_wait(mg_ledger *l, uint32_t w);
void mg_ledger_take_up(mg_ledger *l, uint32_t w);
/* Work that has waited goes into the queue of its place. */
void mg_ledger_wake(mg_ledger *l, uint32_t w);
/* n items of work in a hand are finished, well or not. */
void mg_ledger_finish(mg_ledger *l, uint32_t w, uint32_t n);
/* The queue from which a worker or thread (from 1) of a place takes next, with something in it that may be begun; or
 * NULL. */
mg_list *mg_ledger_queue_for(mg_ledger *l, mg_place *p, uint32_t worker);
/* Takes at most n items of the oldest work of a queue; they are held.  0, -ENOMEM, or -EPROTO: `damaged`. */
int mg_ledger_take(mg_ledger *l, mg_list *from, uint32_t n, uint32_t *w);
/* Takes work out of its queue, wherever it is in that; it is held. */
void mg_ledger_take_out(mg_ledger *l, uint32_t w);
/* Cuts off the first n items, fewer than all: *part is held.  0, -ENOMEM, or -EPROTO. */
int mg_ledger_cut(mg_ledger *l, uint32_t w, uint32_t n, uint32_t *part);
/* Cuts off the last items, which lie at offset and length of the same block and come with a reference: *rest is held.
 * */
int mg_ledger_cut_end(mg_ledger *l, uint32_t w, const mg_range *range, uint32_t *rest);
/* The end of a loop's input, for one worker, which comes after all items before it: accepted, and held. */
int mg_ledger_end_of(mg_ledger *l, uint32_t stage, uint32_t lane, uint32_t *w);
/* Lanes for the workers of a place.  0 or -ENOMEM. */
int mg_ledger_open_lanes(mg_place *p);
/* The oldest work of the coordinator's own stages of which none has to wait; or MG_NO_WORK. */
uint32_t mg_ledger_oldest_own(mg_ledger *l);
/* Takes n items of it, 0: all of them; it is in the coordinator's hand. */
int mg_ledger_take_own(mg_ledger *l, uint32_t stage, uint32_t n, uint32_t *w);
/* Work of the coordinator's own hand, whose items are all finished. */
void mg_ledger_done_own(mg_ledger *l, uint32_t w);
/* Items of work that are not finished. */
static inline uint32_t mg_work_left(const mg_work *w) { return w->range.count - w->finished; }
/* Asserts the invariants. */
void mg_ledger_check(const mg_ledger *l);

/* --- limits: ledger_limits.c ------------------------------------------------------------------------------------- */

/* Whether the stages that send to a place should wait. */
int mg_ledger_full(mg_ledger *l, const mg_place *p);
/* Whether one of them is full. */
int mg_ledger_any_full(mg_ledger *l, const mg_limits *limits);
/* How many items may be begun whose output goes there, of which `per` make one; below 1: none. */
int64_t mg_ledger_room(mg_ledger *l, const mg_limits *limits, int64_t per);
/* How many items that have come to a stage are in work: one of each worker, or of each thread. */
uint64_t mg_ledger_in_work(const mg_ledger *l, uint32_t stage);
/* Whether a place that a stage reaches has anything to do. */
int mg_ledger_any_at_work(const mg_ledger *l, uint32_t stage);
/* Whether a producer of the coordinator should stop emitting for now. */
int mg_ledger_must_wait(mg_ledger *l, uint32_t stage);
/* How many items make a slice at a rate, and how many slices a worker may hold. */
uint32_t mg_rate_slice(const mg_terms *t, double rate, uint64_t share, int folds);
uint32_t mg_rate_depth(const mg_terms *t, double rate);
/* Takes seconds spent on n items into the running mean. */
void mg_rate_learn(const mg_terms *t, double *rate, double seconds, uint64_t n);

/* --- workers: ledger_seats.c, ledger_dispatch.c, ledger_blocks.c ------------------------------------------------ */

enum { MG_DISPATCHED = 1, MG_SPAWN = 2 }; /* bits of what mg_ledger_dispatch returns */
/* Hands work to the workers of a place that have room for it, and takes back what they have not begun.  Bits, or
 * -ENOMEM, -EPROTO (`damaged`), -errno of a wake-up.  MG_SPAWN: a process is to be forked for `spawn_seat`, which gets
 * `spawn_work`: to be offered to it, or pushed again; then this is to be called once more. */
int mg_ledger_dispatch(mg_ledger *l, mg_place *p);
/* Offers held work to a worker: 1, 0: there is no room, it is in the queue again; or -errno. */
int mg_ledger_offer(mg_ledger *l, uint32_t seat, uint32_t w);
/* A worker ends a slice earlier: what it has not begun, with a reference, goes back to the queue.  0 or -ENOMEM. */
int mg_ledger_rest(mg_ledger *l, uint32_t seat, uint64_t number, const mg_range *rest);
/* The slice that a worker has in store goes back to the queue: 1, or 0: it has none, or has begun it. */
int mg_ledger_revoke(mg_ledger *l, uint32_t seat);
/* A dead worker's slice is held, cut to what is unfinished, with the event's reference.  Its work, or MG_NO_WORK. */
uint32_t mg_ledger_left(mg_ledger *l, uint32_t seat, uint64_t number, const mg_range *range);
/* The slice of a seat with this number, or the one that it is at; or MG_NO_WORK. */
uint32_t mg_ledger_hand(const mg_ledger *l, uint32_t seat, uint64_t number);
/* The seat with the oldest unfinished item of a place, or MG_NO_SEAT. */
uint32_t mg_ledger_oldest_seat(const mg_ledger *l, const mg_place *p);
/* No more work is for a worker: it ends when it has finished what it has. */
void mg_ledger_retire(mg_ledger *l, uint32_t seat);
/* Whether it could do more at once. */
static inline int mg_seat_idle(const mg_seat *s) {
  return s->vacant || (s->live && s->hand.n == 0 && !s->ends);
}
/* How many single items it could begin at once, beside those in its queue. */
int64_t mg_ledger_free(const mg_ledger *l, const mg_place *p);
/* Whether the place could do more and finds nothing in its queue; whether something will end a sleep of the
 * coordinator; whether it has something in hand; live workers. */
int mg_ledger_idles(const mg_ledger *l, const mg_place *p);
int mg_ledger_wakes(const mg_ledger *l, const mg_place *p);
int mg_ledger_working(const mg_ledger *l, const mg_place *p);
uint32_t mg_ledger_alive(const mg_ledger *l, const mg_place *p);
/* A process has taken a seat, and is lent its first block: 0 or -errno of a wake-up.  It has left it: nothing is in
 * hand any more.  vacant: one is to be forked when there is work for it. */
int mg_ledger_seat_taken(mg_ledger *l, uint32_t seat);
void mg_ledger_seat_used(mg_ledger *l, uint32_t seat);
void mg_ledger_seat_left(mg_ledger *l, uint32_t seat, int vacant);

/* Gives the workers of a place blocks to fill, unless those that receive their output should first catch up: 1: one
 * still lacks something, 0, or -errno of a wake-up. */
int mg_ledger_supply(mg_ledger *l, mg_place *p);
/* A worker may lack a block; waits for one of so many bytes. */
void mg_ledger_may_lack(mg_ledger *l, uint32_t seat);
void mg_ledger_need(mg_ledger *l, uint32_t seat, size_t bytes);
/* A worker has committed a range of so many bytes. */
void mg_ledger_range_used(mg_ledger *l, mg_place *p, size_t bytes);
/* How large a block one of the workers waits for; 0: none. */
size_t mg_ledger_wanted(const mg_ledger *l, const mg_place *p);
/* The worker that has passed the limit of memory has committed its output, or is gone. */
static inline void mg_ledger_end_overdraft(mg_ledger *l, uint32_t seat) {
  if (l->overdraft == seat) l->overdraft = MG_NO_SEAT;
}

/* --- what workers say: ledger_events.c -------------------------------------------------------------------------- */

/* Takes events of the pool, up to one that is for the program above: 1 with *out filled, 0: there is none, -ENOMEM.
 * *busy is set where there was any. */
int mg_ledger_collect(mg_ledger *l, mg_slot_event *out, int *busy);
/* Items of a slice are finished: what MG_EVENT_DONE says.  The program above calls it for those that it was told. */
int mg_ledger_done(mg_ledger *l, const mg_slot_event *ev);
/* Accepts a range and its reference for the stages that a stage sends to.  0 or -ENOMEM. */
int mg_ledger_route(mg_ledger *l, uint32_t stage, const mg_range *range);

#endif
