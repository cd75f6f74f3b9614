/* relay.h - what workers print, on its way through the coordinator: a pipe for each slot, in place of the worker's
 * standard output, standard error output, or both.
 *
 * Only the worker, and what it starts, hold the write end.  What a worker has written is in the pipe when it dies, and
 * is read after its death.
 */
#ifndef MG_RELAY_H
#define MG_RELAY_H

#include "sys.h"

/* LOG: the worker has the write end besides, to send messages of the log. */
enum { MG_RELAY_OUT = 1, MG_RELAY_ERR = 2, MG_RELAY_LOG = 4 };

typedef struct mg_relay {
  unsigned which;          /* descriptors that go through it, as bits; 0: it is closed, and all below does nothing */
  uint32_t slots;
  int *from;               /* by slot: the read end of its pipe; -1: none */
  int to;                  /* the write end of the one that is about to be forked; -1: none */
} mg_relay;

/* Opens it for so many slots; 0 or -ENOMEM. */
int mg_relay_open(mg_relay *r, uint32_t slots, unsigned which);
/* Before a slot's worker is forked: makes its pipe, and gives up that of the one before.  0 or -errno. */
int mg_relay_prepare(mg_relay *r, uint32_t i);
/* In the coordinator, after the fork: only the worker can write any more. */
void mg_relay_forked(mg_relay *r);
/* In the child: from now on it writes into the pipe.  Gives up the rest. */
void mg_relay_child(mg_relay *r);
/* A worker's descriptor for messages of the log, which is its own to the end; -1: it has none. */
int mg_relay_log(void);
/* Reads what there is: bytes, 0 at the end, when no process can write any more, -EAGAIN where there is nothing, -errno.
 * */
ssize_t mg_relay_read(mg_relay *r, uint32_t i, void *to, size_t n);
/* Writes what is still unread to where it belongs, and closes.  The workers are gone. */
void mg_relay_close(mg_relay *r);

#endif
