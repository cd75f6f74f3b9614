/* channel_threads.c - a connection of a service between two threads, for ThreadSanitizer and as a plain test.
 *
 * In the library its sides are processes, which no race detector sees.  Here they are threads of one process: one sends
 * numbered messages of all lengths, some of them in parts, the other sends each back; each sleeps by channel.h when it
 * has nothing, and a wake-up that is lost shows as a wait that runs into its time limit.  The cursors start just below
 * 2^64.
 *
 * usage: channel_threads [messages]      exit status 0 where all came back in order
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "../../src/core/channel.h"

enum { SIZE = 1 << 16, LIMIT_MS = 20000, AHEAD = 64, LONGEST = 3 * SIZE };

static mg_channel side[2];
static uint64_t total, sleeps[2];
static uint8_t pattern[LONGEST + 256];

static void fail(const char *what, uint64_t number) {
  fprintf(stderr, "channel_threads: %s at message %llu\n", what, (unsigned long long)number);
  exit(1);
}

static size_t length_of(uint64_t n) {
  if (n % 1000 == 0) return LONGEST - n % 5;
  return n % 50 == 0 ? SIZE / 4 + n % 40 : n * 7 % 300;
}

static void sleep_at(mg_channel *c, uint64_t number) {
  char why[8];
  if (mg_channel_sleep(c, MG_WANTS_FRAME | (c->waiting ? MG_WANTS_ROOM : 0))) return;
  struct pollfd p = {.fd = c->socket, .events = POLLIN};
  int rc;
  do rc = mg_sys.poll(&p, 1, LIMIT_MS);
  while (rc == -EINTR);
  if (rc != 1) fail(c->side == MG_CLIENT ? "the client was not woken" : "the server was not woken", number);
  if (mg_channel_wake(c, why, sizeof why) < 0) fail("the other side is gone", number);
  sleeps[c->side]++;
}

static void send_one(mg_channel *c, uint8_t kind, uint64_t n, const uint8_t *bytes, size_t length) {
  mg_frame head = {.kind = kind, .number = n};
  int64_t room = mg_channel_room(c);
  if (room > 0 && (size_t)room >= length) {
    memcpy(mg_byte_contents(&c->out), bytes, length);
    head.length = (uint32_t)length;
    mg_channel_send(c, head);
  } else if (room < 0 || mg_channel_queue(c, head, bytes, length) < 0) {
    fail("cannot send", n);
  }
}

/* The next message, or 0. */
static int take(mg_channel *c, mg_message *m) {
  if (c->waiting && mg_channel_flush(c) < 0) fail("cannot flush", 0);
  int rc = mg_channel_next(c, m);
  if (rc < 0) fail("no message", 0);
  return rc;
}

static void done(mg_channel *c, const mg_message *m) {
  mg_channel_done(c, m);
  if (m->own) free((void *)(uintptr_t)m->bytes);
}

static void *serve(void *unused) {
  mg_channel *c = &side[MG_SERVER];
  mg_message m;
  for (uint64_t n = 0; n < total || c->waiting;) {
    if (!c->waiting && take(c, &m)) {
      send_one(c, MG_FRAME_REPLY, m.head.number, m.bytes, m.length);
      done(c, &m);
      n++;
    } else if (!c->waiting || mg_channel_flush(c) == 0) {
      sleep_at(c, n);
    }
  }
  return unused;
}

static void *ask(void *unused) {
  mg_channel *c = &side[MG_CLIENT];
  mg_message m;
  for (uint64_t sent = 0, n = 0; n < total;) {
    while (sent < total && sent - n < AHEAD && !c->waiting) {
      send_one(c, MG_FRAME_CALL, sent, pattern + sent % 256, length_of(sent));
      sent++;
    }
    if (!take(c, &m)) {
      if (!c->waiting && sent < total && sent - n < AHEAD) continue;
      sleep_at(c, n);
      continue;
    }
    if (m.head.number != n || m.length != length_of(n) || memcmp(m.bytes, pattern + n % 256, m.length) != 0)
      fail("another reply", n);
    done(c, &m);
    n++;
  }
  return unused;
}

int main(int argc, char **argv) {
  int memory, fds[2];
  total = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
  for (size_t i = 0; i < sizeof pattern; i++) pattern[i] = (uint8_t)(i * 31 + (i >> 8));
  if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) < 0) fail("there is no socket", 0);
  if (mg_channel_make(&side[MG_SERVER], SIZE, SIZE, &memory) < 0) fail("there is no memory", 0);
  mg_channel_shared *s = (mg_channel_shared *)side[MG_SERVER].map;
  for (int i = 0; i < 2; i++) {
    atomic_store(&s->ring[i].head, (uint64_t)0 - 3 * SIZE);
    atomic_store(&s->ring[i].tail, (uint64_t)0 - 3 * SIZE);
  }
  if (mg_channel_join(&side[MG_CLIENT], SIZE, SIZE, memory) < 0) fail("there is no memory", 0);
  mg_channel *server = &side[MG_SERVER];
  mg_byte_attach(&server->out, server->out.at, server->out.bytes, SIZE, 1);
  mg_byte_attach(&server->in, server->in.at, server->in.bytes, SIZE, 0);
  for (int i = 0; i < 2; i++) {
    side[i].socket = fds[i];
    side[i].most = 1 << 20;
  }
  pthread_t client, other;
  if (pthread_create(&client, NULL, ask, NULL) != 0 || pthread_create(&other, NULL, serve, NULL) != 0)
    fail("pthread_create failed", 0);
  pthread_join(client, NULL);
  pthread_join(other, NULL);
  printf("%llu messages, %llu and %llu sleeps\n", (unsigned long long)total, (unsigned long long)sleeps[0],
         (unsigned long long)sleeps[1]);
  return 0;
}
