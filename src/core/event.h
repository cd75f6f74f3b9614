/* event.h - sleeping and waking between the coordinator and one worker.
 *
 * Each direction has one shared word, `asleep`, and one bell: an epoll descriptor in which the sleeper waits, and in
 * it a descriptor that can always be written to but is not watched.  To ring is to have it watched once
 * (EPOLL_CTL_MOD with EPOLLONESHOT): the sleeper's epoll_wait tells of it, and it is not watched any more.  So nothing
 * is written to a descriptor and nothing read from one.  A handler or program that has closed our descriptors and
 * opened files of its own under their numbers gets no byte of ours in them: the kernel refuses (EBADF, EINVAL, ENOENT,
 * EPERM) what is no epoll descriptor with that bell in it.
 *
 *   sleeper                                    waker
 *   S1  asleep := 1                            W1  publish work (ring head, release)
 *   S2  full fence                             W2  full fence
 *   S3  look for work once more                W3  asleep == 0: done, no system call
 *   S4  found: asleep := 0, go on              W4  exchange(asleep, 0) was 1: ring
 *   S5  none: epoll_wait,
 *       asleep := 0, look for work
 *
 * The fences make it impossible that S3 misses the work AND W3 misses the flag.  The flag is cleared before the
 * bell is rung, so a sleeper that goes to sleep again at once loses nothing: the bell still tells of it.
 * A worker killed between W4's two halves loses its wake-up; the coordinator hears of the death itself by pidfd, and
 * a worker hears of the coordinator's by its life-line.
 */
#ifndef MG_EVENT_H
#define MG_EVENT_H

#include <stdatomic.h>

#include "mg.h"

typedef struct mg_bell {
  int epoll, fd;
  uint64_t tag; /* what epoll_wait says when it has been rung */
} mg_bell;

typedef struct mg_spin { /* private to a sleeper: how long it pays to spin before sleeping */
  uint32_t budget;       /* nanoseconds */
  uint32_t skipped;      /* sleeps since the budget fell to zero */
} mg_spin;

static inline void mg_event_prepare(_Atomic uint32_t *asleep) {
  atomic_store_explicit(asleep, 1, memory_order_relaxed);
  atomic_thread_fence(memory_order_seq_cst);
}

static inline void mg_event_awake(_Atomic uint32_t *asleep) {
  atomic_store_explicit(asleep, 0, memory_order_relaxed);
}

/* Wakes the other side if it has said that it sleeps.  0 or -errno: the bell is gone. */
int mg_event_signal(_Atomic uint32_t *asleep, const mg_bell *bell);
/* Rings whether the other side sleeps or not.  Safe in a signal handler.  0 or -errno. */
int mg_event_ring(const mg_bell *bell);

/* How long to spin now; 0 when `allowed` is 0 or spinning has not paid lately (it is tried again now and then). */
uint32_t mg_spin_budget(mg_spin *s, int allowed);
/* Tells whether the spin ended with work. */
void mg_spin_learn(mg_spin *s, int found);
void mg_pause(void);

#endif
