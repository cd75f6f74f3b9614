/* link.h - a connection to a Redis server that never blocks: commands are appended, replies are read as they come.
 *
 * hiredis formats commands and parses replies; the bytes go over a socket of ours, through OpenSSL where TLS is asked
 * for.  The caller waits for the descriptor, for what mg_link_step says, and calls that again.  Only looking up the
 * name of a host blocks.
 *
 * Invariants (mg_link_check):
 *  I1  state CLOSED: there is no descriptor and no TLS object; any other state: a descriptor and a reader.
 *  I2  sent <= filled <= size of the buffer `out`.
 *  I3  ssl is there exactly where `secure` was asked for and the state is not CLOSED.
 */
#ifndef MG_LINK_H
#define MG_LINK_H

#include <hiredis/hiredis.h>
#include <openssl/ssl.h>
#include <stddef.h>

/* CONNECTING -> (SECURING ->) READY -> CLOSED; CLOSED from each by an error or mg_link_close. */
typedef enum mg_link_state { MG_LINK_CLOSED, MG_LINK_CONNECTING, MG_LINK_SECURING, MG_LINK_READY } mg_link_state;

/* What the caller has to wait for; a sum. */
enum { MG_LINK_READ = 1, MG_LINK_WRITE = 2 };

typedef struct mg_link {
  mg_link_state state;
  int fd;
  SSL *ssl;
  redisReader *reader;
  struct addrinfo *found, *next; /* addresses of the host; the one to try after this */
  int begun;                   /* how many of them were passed over, or tried */
  char *out;                   /* commands that are not sent yet: filled - sent bytes from `sent` on */
  size_t sent, filled, size;
  int secure;
  char why[256];               /* what has closed it; "" where the caller has */
} mg_link;

/* How to connect.  All texts may go after the call. */
typedef struct mg_link_options {
  const char *host, *port;     /* or */
  int skip;                    /* addresses of the host to be passed over: they have been silent */
  const char *path;            /* of a unix socket */
  int secure;                  /* TLS; the server's certificate must be valid, and of the host's name */
  const char *ca, *certificate, *key; /* files; NULL: the system's authorities, no certificate of one's own */
} mg_link_options;

/* Begins to connect, to the first of the host's addresses that takes it.  0, or -1: link->why says why, and it is
 * closed.  A link holds memory until mg_link_close. */
int mg_link_open(mg_link *link, const mg_link_options *options);
/* Appends a command of n words, which are copied.  0, or -1: no memory, more than 1 GiB, or the link is closed. */
int mg_link_append(mg_link *link, int n, const char **words, const size_t *lengths);
/* Connects, sends and reads as far as that goes at once.  The sum of what to wait for, or -1: it has been closed, and
 * link->why says why; replies that were there before that can still be had. */
int mg_link_step(mg_link *link);
/* The next reply: 1, 0 there is none yet, -1 the bytes are no reply and the link is closed.  The caller frees the
 * reply with freeReplyObject. */
int mg_link_reply(mg_link *link, redisReply **reply);
/* Closes it and gives everything back.  May be called twice. */
void mg_link_close(mg_link *link);
/* In a forked child: forgets the connection without a word to the server, whose connection is the parent's. */
void mg_link_forget(mg_link *link);
/* How many addresses to skip for the one after the last that was tried; 0: there is none. */
int mg_link_others(const mg_link *link);
/* Asserts the invariants. */
void mg_link_check(const mg_link *link);

#endif
