/* board.h - what the workers of a server say of themselves: one line of shared memory for each, made before the forks.
 *
 * 1. A worker writes its own line only, and its master `asked` in it; a beat is two stores and no system call.
 * 2. The master trusts none of it: what is there may be anything, as workers run the user's code.
 * 3. A line is given to a worker before its fork, wiped, and is its own until it has been waited for.  What it says at
 *    its death is read before it is given away again: connections that it had in hand, what it was at.
 * 4. What one worker reads in the line of another decides only which of them takes the next connection.
 */
#ifndef MG_BOARD_H
#define MG_BOARD_H

#include <stdatomic.h>
#include <string.h>

#include "mg.h"

enum { MG_WORKER_STARTING, MG_WORKER_READY, MG_WORKER_DRAINING };
/* What its master wants: that it takes nothing new; and, where no other worker will, what has connected already. */
enum { MG_ASKED_NOTHING, MG_ASKED_DRAIN, MG_ASKED_STOP };

enum { MG_DOING = 64 };

typedef struct mg_line {
  _Atomic uint32_t state, asked;
  _Atomic uint32_t waiting;  /* it waits for others: it owes no beat */
  _Atomic uint32_t in_hand;  /* connections */
  _Atomic uint32_t reopen;   /* how often its master has asked for its log files to be opened anew */
  _Atomic uint32_t unused;
  _Atomic uint64_t beat;     /* when it beat last, or began or ended to wait */
  _Atomic uint64_t requests, accepted;
  char spare[MG_CACHE_LINE - 48];
  char doing[MG_DOING];      /* what it is at, as it has said; ends with a zero */
} mg_line;

_Static_assert(sizeof(mg_line) == 2 * MG_CACHE_LINE, "a line is two lines of the cache");

/* Asserts what a worker has written into its own line; no one else may count on it (2). */
static inline void mg_line_check(const mg_line *l) {
  MG_ASSERT(atomic_load(&l->state) <= MG_WORKER_DRAINING && atomic_load(&l->asked) <= MG_ASKED_STOP);
  MG_ASSERT(atomic_load(&l->waiting) <= 1 && atomic_load(&l->in_hand) <= INT32_MAX);
  MG_ASSERT(l->doing[MG_DOING - 1] == 0);
}

typedef struct mg_board {
  _Atomic uint32_t used; /* no line after so many was ever given to a worker */
  char spare[MG_CACHE_LINE - 4];
  mg_line lines[];
} mg_board;

enum { MG_BOARD_LOOKS = 128 }; /* lines that are looked at for the fewest connections: it is done for each connection */

/* The fewest connections that another worker which serves has in hand; UINT32_MAX: no other does. */
static inline uint32_t mg_board_least(const mg_board *b, const mg_line *own) {
  uint32_t least = UINT32_MAX, used = atomic_load_explicit(&b->used, memory_order_relaxed);
  for (uint32_t i = 0; i < used && i < MG_BOARD_LOOKS; i++) {
    const mg_line *l = &b->lines[i];
    if (l == own || atomic_load_explicit(&l->state, memory_order_relaxed) != MG_WORKER_READY) continue;
    uint32_t has = atomic_load_explicit(&l->in_hand, memory_order_relaxed);
    if (has < least) least = has;
  }
  return least;
}

static inline void mg_line_beat(mg_line *l, uint64_t now) {
  atomic_store_explicit(&l->beat, now, memory_order_relaxed);
}

static inline void mg_line_wait(mg_line *l, int waits) {
  atomic_store_explicit(&l->waiting, (uint32_t)waits, memory_order_relaxed);
}

static inline unsigned mg_line_asked(const mg_line *l) { return atomic_load_explicit(&l->asked, memory_order_acquire); }

/* At most MG_DOING - 1 bytes are kept. */
static inline void mg_line_do(mg_line *l, const char *what, size_t n) {
  if (n > MG_DOING - 1) n = MG_DOING - 1;
  memcpy(l->doing, what, n);
  l->doing[n] = 0;
}

#endif
