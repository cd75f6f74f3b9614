/* pool.h - the slots of one run, the memory they borrow, and what is reported of them.  How it waits: wait.h.
 *
 * The pool is mechanism: it spawns what it is told, hands over what it is given, and reports what happened as events.
 * Which chunk goes where, what is tried again and when to stop is decided above it.
 *
 * Invariants (mg_pool_check)
 *  1. Every reference to a block is accounted for: by a slot's ledger, by an event not yet taken, or by the caller.
 *  2. A slot has a child exactly when its state is not EMPTY, unless a test plays its worker.
 *  3. All descriptors are close-on-exec and none is 0, 1 or 2; a child keeps what it waits in, both bells and the
 *     life-line, no other.
 *  4. Nothing is written to a descriptor.  When one of ours turns out to be another's (`lost`: the program has closed
 *     it), no number is closed any more that is not seen to be ours.
 */
#ifndef MG_POOL_H
#define MG_POOL_H

#include "relay.h"
#include "worker.h"

typedef struct mg_pool {
  mg_shm shm;
  mg_slot *slot;
  uint32_t slots, used; /* used: the first ones, of which each has had a worker, or may have had one */
  int epoll, lifeline[2];
  mg_bell bell;    /* of the coordinator; its descriptor is that of all bells of the pool */
  mg_file kind;    /* what a descriptor of ours looks like, but for the life-line */
  int lost;
  int timer;    /* made by the first mg_pool_arm; -1: none */
  int kept;     /* closed but for the epoll descriptor */
  int *watch;   /* the caller's descriptors that end a wait too */
  uint32_t watches, watch_room;
  int armed;    /* the workers have been told that the coordinator sleeps */
  int64_t look; /* nanoseconds to the next look at the commit words of an armed pool */
  mg_slot_event *queue; /* events not yet taken: a ring buffer */
  uint32_t queue_first, queued, queue_room;
  mg_relay relay; /* closed unless mg_pool_relay has been called */
  mg_spin spin;
  uint64_t nudged;   /* when workers that are not heard of were last looked after */
  uint32_t unlooked; /* waits since the descriptors were last looked at */
  uint32_t rounds;   /* of collecting: before the next one no worker is found idle that was not */
  int cpus;
  unsigned serial; /* process that opened it: elsewhere it is dead */
  struct mg_pool *next;
} mg_pool;

/* Opens a pool of `slots` empty slots over a mapping of up to `size` bytes (see mg_shm_open), for a program that
 * may use so many processors (0: all that it is bound to).  0 or -errno; on failure
 * nothing is left open.  Belongs to the caller until mg_pool_close. */
int mg_pool_open(mg_pool *p, uint32_t slots, size_t size, size_t keep, int cpus);
/* Kills and reaps every child, closes every descriptor, unmaps.  May be called twice.  In a forked child it only
 * forgets. */
void mg_pool_close(mg_pool *p);
/* The same, but the epoll descriptor stays open (and silent) until mg_pool_close: an event loop that has it can take it
 * out before its number is used again. */
void mg_pool_end(mg_pool *p);

/* Sends a signal to all workers of this process, and to what they have started.  May be called by a signal handler. */
void mg_pool_signal(int sig);
/* From now on what children print goes through pipes of the coordinator's, see relay.h: MG_EVENT_SAID tells of it.
 * 0 or -ENOMEM. */
int mg_pool_relay(mg_pool *p, unsigned which);
/* Reads some of what slot i's worker has printed: bytes, or 0: nothing more, for now. */
size_t mg_pool_said(mg_pool *p, uint32_t i, void *to, size_t n);
/* Slot i has a worker from now on, or may have had one. */
static inline void mg_pool_begin(mg_pool *p, uint32_t i) {
  mg_slot_begin(&p->slot[i]);
  if (i >= p->used) p->used = i + 1;
}
/* Fills slot i with a new child.  In the coordinator: its pid, or -errno.  In the child: 0 with *w ready; every
 * descriptor of other slots and pools is closed there. */
int mg_pool_spawn(mg_pool *p, uint32_t i, size_t held_most, mg_worker *w);
/* on: the epoll descriptors that workers inherit, but those of their pool, are new and empty there from now on; the
 * program has loops of other libraries, whose finalizers would take out of them what the parent waits for. */
void mg_pool_renew(int on);
/* In any child: closes the descriptors of its parent's pools, programs and keeper. */
void mg_pool_child(void);
/* Reads all out-rings into the event queue.  0 or -ENOMEM. */
int mg_pool_collect(mg_pool *p);
/* Takes the oldest event: 1, or 0 when there is none.  The reference of a range in it passes to the caller. */
int mg_pool_event(mg_pool *p, mg_slot_event *out);
/* Adds an event about slot i, which says nothing of blocks.  0 or -ENOMEM. */
int mg_pool_tell(mg_pool *p, uint32_t i, const mg_slot_event *ev);
/* Ends the wait of every open pool, or its next one.  May be called from a signal handler: what one does just before
 * the coordinator goes to sleep would otherwise be noticed only at its next event. */
void mg_pool_wake(void);
/* Notes when a call's result says that a descriptor is not ours any more (`lost`).  Returns the result. */
int mg_pool_seen(mg_pool *p, int rc);
/* Kills and reaps all children of all open pools.  For a signal handler that ends the process. */
void mg_pool_kill_all(void);
/* Kills the child of slot i for a time-out if the item that began at `began` is still in hand. */
int mg_pool_time_out(mg_pool *p, uint32_t i, uint64_t began);
/* Asserts the invariants of the pool, its memory, its slots and their rings; a walk over all blocks. */
void mg_pool_check(const mg_pool *p);

/* For wait.c: what the tags of the epoll descriptor say beside the numbers of slots, and what is done then. */
#define MG_TAG_WAKE UINT32_MAX
#define MG_TAG_TIMER (UINT32_MAX - 1)
#define MG_TAG_WATCHED (UINT32_MAX - 2)
#define MG_TAG_SAID ((uint64_t)1 << 32) /* added to the slot's number */
/* Slot i's child may have ended: reaps it, and takes back what it had.  0 or -errno. */
int mg_pool_reap(mg_pool *p, uint32_t i);
/* What slot i's worker has printed is there to be read; `last`: it has ended, nothing more will come.  0 or -ENOMEM. */
int mg_pool_heard(mg_pool *p, uint32_t i, int last);
/* Looks at what slot i's worker has finished since its last descriptor and, with `nudges`, after a worker that is not
 * heard of.  0 or -errno. */
int mg_pool_peek(mg_pool *p, uint32_t i, int nudges);
/* Whatever has failed first: a pool that has lost its epoll descriptor closes no number that is not seen to be its own.
 */
void mg_pool_look_for_loss(mg_pool *p);

#endif
