/* pool.h - the slots of one run, the memory they borrow, and the one place where the coordinator waits.
 *
 * The pool is mechanism: it spawns what it is told, hands over what it is given, and reports what happened as events.
 * Which chunk goes where, what is tried again and when to stop is decided above it.
 *
 * Invariants (mg_pool_check)
 *  1. Every reference to a block is accounted for: by a slot's ledger, by an event not yet taken, or by the caller.
 *  2. A slot has a child exactly when its state is not EMPTY.
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
  uint32_t slots;
  int epoll, lifeline[2];
  mg_bell bell;    /* of the coordinator; its descriptor is that of all bells of the pool */
  mg_file kind;    /* what a descriptor of ours looks like, but for the life-line */
  int lost;
  int timer;    /* made by the first mg_pool_arm; -1: none */
  int watched;  /* somebody else's descriptor that ends a wait too; -1: none */
  int kept;     /* closed but for the epoll descriptor */
  int armed;    /* the workers have been told that the coordinator sleeps */
  int64_t look; /* nanoseconds to the next look at the commit words of an armed pool */
  mg_slot_event *queue; /* events not yet taken: a ring buffer */
  uint32_t queue_first, queued, queue_room;
  mg_relay relay; /* closed unless mg_pool_relay has been called */
  mg_spin spin;
  uint64_t nudged;   /* when workers that are not heard of were last looked after */
  uint32_t unlooked; /* waits since the descriptors were last looked at */
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
/* Fills slot i with a new child.  In the coordinator: its pid, or -errno.  In the child: 0 with *w ready; every
 * descriptor of other slots and pools is closed there. */
int mg_pool_spawn(mg_pool *p, uint32_t i, size_t held_most, mg_worker *w);
/* Reads all out-rings into the event queue.  0 or -ENOMEM. */
int mg_pool_collect(mg_pool *p);
/* Takes the oldest event: 1, or 0 when there is none.  The reference of a range in it passes to the caller. */
int mg_pool_event(mg_pool *p, mg_slot_event *out);
/* Waits for something to collect, a child's end, or ns nanoseconds (< 0: without end; 0: only looks).  Reaps.
 * With ns = 0 it looks at the commit words too.  0, -EINTR when a signal came, -errno. */
int mg_pool_wait(mg_pool *p, int64_t ns);
/* Makes the epoll descriptor tell somebody else's event loop when mg_pool_wait has something to do: it becomes readable
 * when a worker publishes or ends, after ns nanoseconds (< 0: no such limit), or at once when ns is 0 or something is
 * there already; and now and then while workers are busy, as finished items may show in their commit words only.  It
 * stays readable until the next mg_pool_wait, which must come before the next mg_pool_arm.
 * 1: it is readable now, 0: not yet, -errno. */
int mg_pool_arm(mg_pool *p, int64_t ns);
/* From now on a wait ends when fd is readable too, as long as it is.  fd stays the caller's, who closes it after the
 * pool; a child of the pool closes its copy.  0 or -errno. */
int mg_pool_watch(mg_pool *p, int fd);
/* 1 when there is something to collect. */
int mg_pool_anything(const mg_pool *p);
/* 1 when one of the slots first..last has a worker without work. */
int mg_pool_idle(const mg_pool *p, uint32_t first, uint32_t last);
/* Ends the wait of every open pool, or its next one.  May be called from a signal handler: what one does just before
 * the
 * coordinator goes to sleep would otherwise be noticed only at its next event. */
void mg_pool_wake(void);
/* Notes when a call's result says that a descriptor is not ours any more (`lost`).  Returns the result. */
int mg_pool_seen(mg_pool *p, int rc);
/* Kills and reaps all children of all open pools.  For a signal handler that ends the process. */
void mg_pool_kill_all(void);
/* Kills the child of slot i for a time-out if the item that began at `began` is still in hand. */
int mg_pool_time_out(mg_pool *p, uint32_t i, uint64_t began);
void mg_pool_check(const mg_pool *p);

#endif
