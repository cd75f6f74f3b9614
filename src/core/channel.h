/* channel.h - what two processes have in common once they have met: a connection of a service.
 *
 * It is a socket and a piece of memory.  The memory is a file without a name, sealed against shrinking and growing, so
 * that neither side can make the other fail when it reads: the cursors of two rings, a word for each side, then the
 * rings.  The socket is the life-line and the bell: its end is the other side's death; a packet of one byte on it wakes
 * the other side; a longer one says why the connection is ended.  (A descriptor that both have, such as an eventfd,
 * would not do for a bell: either side could make it block for the other.)
 *
 * A side sleeps in one poll, on its socket:
 *
 *   sleeper                                           waker
 *   S1  asleep := what it waits for                   W1  publish a frame, or hand back room (release)
 *   S2  full fence                                    W2  full fence
 *   S3  look for it once more                         W3  asleep does not ask for it: done, no system call
 *   S4  found: asleep := 0, go on                     W4  exchange(asleep, 0) was not 0: send a byte
 *   S5  none: poll; asleep := 0, take the bytes off
 *
 * Invariants (mg_channel_check)
 *  1. Messages of one direction arrive whole, in order, each once.  One that is larger than a quarter of the ring goes
 *     in parts, frames one after the other, all but the last with MG_FRAME_MORE.
 *  2. What does not fit waits in private memory (`waiting`), and nothing overtakes it.
 *  3. What the other side writes can end this connection (-EPROTO, -EMSGSIZE) and nothing else.
 *  4. It belongs to one process: the memory is not there in children, and a child closes the socket without a word.
 */
#ifndef MG_CHANNEL_H
#define MG_CHANNEL_H

#include "byte_ring.h"
#include "event.h"
#include "sys.h"

enum { MG_CLIENT, MG_SERVER };
enum { MG_FRAME_CALL = 1, MG_FRAME_SEND, MG_FRAME_REPLY, MG_FRAME_FAILURE, MG_FRAME_CANCEL };
enum { MG_FRAME_REFS = 1, MG_FRAME_MORE = 2 };             /* flags: the contents have references; go on in the next */
enum { MG_WANTS_FRAME = 1, MG_WANTS_ROOM = 2 };            /* what a sleeper waits for */
enum { MG_RING_LEAST = 1 << 12, MG_RING_MOST = 1 << 30 };  /* bytes of one ring; no less than a page */

typedef struct mg_channel_shared { /* at the begin of the memory */
  mg_byte_cursors ring[2];         /* from the client, from the server */
  struct {
    _Alignas(MG_CACHE_LINE) _Atomic uint32_t asleep;
  } side[2];
} mg_channel_shared;

typedef struct mg_waiting { /* a message that waits for room */
  struct mg_waiting *next;
  mg_frame head;
  size_t length, sent;
  uint8_t bytes[];
} mg_waiting;

typedef struct mg_channel {
  mg_byte_end out, in;
  _Atomic uint32_t *asleep, *peer_asleep;
  int side, socket; /* -1: closed */
  uint8_t *map;
  size_t map_size;
  mg_waiting *waiting, **last;
  uint8_t *part; /* of a message that comes in parts, malloc's */
  size_t length, room;
  mg_frame of_part;
  uint64_t most; /* bytes of one message from the other side */
  mg_spin spin;
} mg_channel;

typedef struct mg_message {
  mg_frame head;
  const uint8_t *bytes;
  size_t length;
  int own; /* the bytes are malloc's and the caller's; else they lie in the ring, where they may change, until
              mg_channel_done */
} mg_message;

/* Makes the memory for a connection.  *memory: its file, the caller's.  0 or -errno. */
int mg_channel_make(mg_channel *c, uint32_t to_server, uint32_t to_client, int *memory);
/* Attaches to the memory of the other side, whose file stays the caller's.  0, -EPROTO where it is none, or -errno. */
int mg_channel_join(mg_channel *c, uint32_t to_server, uint32_t to_client, int memory);
/* Gives everything back; `tells`: the other side hears of it at once, also where children have copies of the socket. */
void mg_channel_shut(mg_channel *c, int tells);
void mg_channel_check(const mg_channel *c);

/* Bytes that the next message may have to go at once; 0 where it has to wait.  -EPROTO. */
int64_t mg_channel_room(mg_channel *c);
/* Sends a message whose contents are at mg_byte_contents(&c->out).  The caller has seen room for it. */
void mg_channel_send(mg_channel *c, mg_frame head);
/* Sends a message, or what of it there is room for; the rest waits.  0, -ENOMEM, -EPROTO. */
int mg_channel_queue(mg_channel *c, mg_frame head, const uint8_t *bytes, size_t n);
/* Sends what has waited, as far as there is room.  1: nothing waits any more, 0, or -EPROTO. */
int mg_channel_flush(mg_channel *c);

/* The next message.  1, 0: there is none, -EPROTO, -EMSGSIZE, -ENOMEM. */
int mg_channel_next(mg_channel *c, mg_message *out);
/* The message that lies in the ring has been read. */
void mg_channel_done(mg_channel *c, const mg_message *m);
/* Spins a while for a message, where a processor is free: whether there is one. */
int mg_channel_spin(mg_channel *c);

/* Steps S1 to S4.  1: it must not sleep, as there is something already; 0.  `wants`: bits. */
int mg_channel_sleep(mg_channel *c, uint32_t wants);
/* Receives a packet, and a descriptor where `passed` is given.  Its bytes, 0: the other side has ended, or -errno. */
ssize_t mg_channel_receive(const mg_channel *c, char *packet, size_t size, int *passed);
/* After a sleep: takes off the socket what is there.  0, -EPIPE: the other side has ended; `why`, of `size` bytes,
 * becomes what it has said to that, or "". */
int mg_channel_wake(mg_channel *c, char *why, size_t size);

#endif
