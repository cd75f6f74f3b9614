/* Minigun: libFuzzer target for a connection of a service, whose other side writes whatever it likes.
 *
 * An input is a sequence of deeds of both sides.  As long as nothing has been scribbled both are honest: every message
 * must arrive once, in order, with its bytes, and the cursors must say how much is in the ring. From the first scribble
 * on the other side is hostile: it writes into cursors, words, heads and contents at any moment. Then it is checked,
 * besides what the sanitizers see, that what is delivered lies in the ring or in memory of its own, that no more is
 * kept than `most`, that the invariants hold, and that a connection ends by an error and by nothing else. */
#include <stdio.h>
#include <stdlib.h>

#include "core/channel.h"

enum { SIZE = 1 << 12, MOST = 1 << 14, QUEUE = 4096 };

typedef struct sent { /* a message, whose bytes follow from its number */
  uint64_t number;
  size_t length;
  uint8_t kind;
} sent;

static mg_channel own, other; /* the server's side is tested, the client's may be hostile */
static mg_channel_shared *shared;
static sent queue[2][QUEUE]; /* what is on its way to the client, to the server */
static unsigned first[2], last[2];
static uint64_t numbers;
static int hostile;

static void fail(const char *what) {
  fprintf(stderr, "channel_fuzz: %s\n", what);
  abort();
}

static const uint8_t *at, *end;
static uint8_t byte(void) { return at < end ? *at++ : 0; }

static size_t length(void) {
  static const size_t lengths[] = {0, 1, 7, 8, 9, 100, SIZE / 4 - 24, SIZE / 4, SIZE / 4 + 1, SIZE / 2, SIZE - 16, SIZE,
                                   SIZE + 1, 3 * SIZE, 1000, 40};
  uint8_t n = byte();
  return n < 192 ? n : lengths[n % 16];
}

/* The bytes of a message. */
static const uint8_t *pattern(uint64_t number) {
  static uint8_t bytes[3 * SIZE + 256];
  if (!bytes[1])
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i + (i >> 8));
  return bytes + number % 256;
}

static void send_one(mg_channel *c, int to) {
  sent s = {.number = ++numbers, .length = length(), .kind = (uint8_t)(MG_FRAME_CALL + byte() % 5)};
  if (c->waiting && c->waiting->next) return;
  if (last[to] - first[to] == QUEUE) return;
  const uint8_t *bytes = pattern(s.number);
  mg_frame head = {.kind = s.kind, .number = s.number, .flags = byte() & MG_FRAME_REFS};
  int64_t room = byte() % 2 ? mg_channel_room(c) : 0;
  if (room > 0 && (size_t)room >= s.length) {
    memcpy(mg_byte_contents(&c->out), bytes, s.length);
    head.length = (uint32_t)s.length;
    mg_channel_send(c, head);
  } else if (room < 0 || mg_channel_queue(c, head, bytes, s.length) < 0) {
    if (!hostile) fail("an honest side's cursor was refused");
    return;
  }
  queue[to][last[to]++ % QUEUE] = s;
}

/* 0 where the connection has ended. */
static int take_one(mg_channel *c, int to) {
  mg_message m;
  uint64_t before = c->in.mine;
  int rc = mg_channel_next(c, &m);
  mg_channel_check(c);
  if (rc < 0 && !hostile) fail("an honest side was refused");
  if (c->in.mine - before > 2 * c->in.size) fail("one call went on and on");
  if (rc <= 0) return rc == 0;
  if (!m.own && (m.bytes < c->in.bytes || m.bytes + m.length > c->in.bytes + 2 * c->in.size)) fail("outside the ring");
  if (m.length > c->most) fail("larger than what is allowed");
  if (hostile && memchr(m.bytes, 1, m.length) == at) fail("the search is for the sanitizers");
  if (!hostile) {
    if (first[to] == last[to]) fail("a message that was not sent");
    const sent *s = &queue[to][first[to]++ % QUEUE];
    if (s->number != m.head.number || s->length != m.length || s->kind != m.head.kind) fail("another message");
    if (memcmp(m.bytes, pattern(s->number), m.length) != 0) fail("other bytes");
  }
  mg_channel_done(c, &m);
  if (m.own) free((void *)(uintptr_t)m.bytes);
  return 1;
}

/* The hostile side: somewhere in the memory that both have. */
static void scribble(void) {
  hostile = 1;
  uint8_t where = byte();
  uint64_t value = 0;
  for (int i = byte() % 9; i > 0; i--) value = value << 8 | byte();
  mg_byte_cursors *in = &shared->ring[MG_CLIENT], *out = &shared->ring[MG_SERVER];
  switch (where % 8) {
  case 0: atomic_store(&in->head, value); break;
  case 1: atomic_store(&in->head, atomic_load(&in->head) + value % (2 * SIZE)); break;
  case 2: atomic_store(&out->tail, value); break;
  case 3: atomic_store(&out->tail, atomic_load(&out->tail) + value % (2 * SIZE)); break;
  case 4: atomic_store(&shared->side[where / 8 % 2].asleep, (uint32_t)value); break;
  case 5: atomic_store(where & 8 ? &in->tail : &out->head, value); break;
  case 6: { /* the head of the next frame that is read */
    mg_frame head = {.length = (uint32_t)value, .kind = where / 8 % 8, .flags = byte() % 4, .number = byte()};
    memcpy(own.in.bytes + (own.in.mine & (SIZE - 1)), &head, sizeof head);
    if (where & 64) atomic_store(&in->head, own.in.mine + ((sizeof head + (uint32_t)value + 7) & ~7u));
    break;
  }
  default: memcpy(own.in.bytes + value % (SIZE - 8), &value, sizeof value);
  }
}

static void begin(void) {
  /* Cursors that have come far, also near to where 32 and 64 bits end. */
  static const uint64_t starts[] = {0, UINT32_MAX - 2047, UINT64_MAX - 2047, 1ull << 63, UINT64_MAX - 7, 4096 * 3 + 8};
  uint64_t start = starts[byte() % 6];
  memset(shared, 0, sizeof *shared);
  for (int i = 0; i < 2; i++) {
    atomic_store(&shared->ring[i].head, start);
    atomic_store(&shared->ring[i].tail, start);
  }
  int in = own.socket, out = other.socket;
  for (int i = 0; i < 2; i++) {
    mg_channel *c = i ? &own : &other;
    for (mg_waiting *w; (w = c->waiting); free(w)) c->waiting = w->next;
    free(c->part);
    c->part = NULL;
    c->length = c->room = 0;
    c->last = &c->waiting;
    c->most = MOST;
    mg_byte_attach(&c->out, &shared->ring[c->side], c->out.bytes, SIZE, 1);
    mg_byte_attach(&c->in, &shared->ring[!c->side], c->in.bytes, SIZE, 0);
  }
  own.socket = in;
  other.socket = out;
  first[0] = first[1] = last[0] = last[1] = 0;
  hostile = 0;
}

/* No system call but at the begin: what is sent on the socket goes nowhere. */
static ssize_t no_packet(int fd, const void *from, size_t n, int passed) {
  return (void)fd, (void)from, (void)passed, (ssize_t)n;
}

static void set_up(void) {
  int memory;
  own.socket = other.socket = -1;
  if (mg_channel_make(&own, SIZE, SIZE, &memory) < 0) fail("no memory");
  other = (mg_channel){.socket = -1};
  if (mg_channel_join(&other, SIZE, SIZE, memory) < 0) fail("no memory");
  mg_shut(&memory);
  shared = (mg_channel_shared *)own.map;
  mg_sys.send_packet = no_packet;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!shared) set_up();
  at = data;
  end = data + size;
  begin();
  int alive = 1;
  while (at < end && alive) {
    switch (byte() % 12) {
    case 0: case 1: case 2: send_one(&other, 1); break;
    case 3: case 4: send_one(&own, 0); break;
    case 5: case 6: case 7: alive = take_one(&own, 1); break;
    case 8: if (!hostile) take_one(&other, 0); break;
    case 9: alive = mg_channel_flush(&own) >= 0; mg_channel_flush(&other); break;
    case 10: mg_channel_sleep(byte() % 2 ? &own : &other, byte() % 4); break;
    default: if (byte() % 4 == 0) scribble();
    }
    mg_channel_check(&own);
  }
  while (!hostile && (first[0] != last[0] || first[1] != last[1] || other.waiting || own.waiting)) {
    uint64_t before = own.in.mine + other.in.mine + own.out.mine + other.out.mine;
    take_one(&own, 1);
    take_one(&other, 0);
    mg_channel_flush(&own);
    mg_channel_flush(&other);
    if (before == own.in.mine + other.in.mine + own.out.mine + other.out.mine) fail("a message is lost");
  }
  return 0;
}
