/* service_client.c - a client of a Minigun service in C, with nothing but libc: docs/service-protocol.md in code.
 *
 *   cc -O2 -o service_client examples/service_client.c
 *   ./service_client PATH TEXT...      calls the service with each text and prints its replies
 *   ./service_client PATH -n COUNT     calls it COUNT times with a number and prints how long one call takes
 *
 * It shows the whole protocol but packing: of MessagePack it knows strings and small numbers.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CALL = 1, SEND, REPLY, FAILURE, CANCEL };
enum { MORE = 2 };                  /* of a frame's flags */
enum { FOR_FRAME = 1, FOR_ROOM = 2 }; /* what a sleeper waits for */

typedef struct greeting {
  char magic[8];
  uint32_t version, status, to_server, to_client;
  uint64_t number;
} greeting;

typedef struct frame {
  uint32_t length;
  uint8_t kind, flags;
  uint16_t zero;
  uint64_t number;
} frame;

typedef struct ring {
  _Atomic uint64_t *head, *tail;
  uint8_t *bytes;
  uint64_t size, mine;
} ring;

typedef struct client {
  int socket;
  uint8_t *memory;
  int memory_file;
  ring out, in;
  _Atomic uint32_t *own_word, *server_word;
  uint64_t number;
} client;

static void fail(const char *what) {
  const char *why = errno ? strerror(errno) : "the server does not keep to the protocol";
  fprintf(stderr, "service_client: %s: %s\n", what, why);
  exit(1);
}

/* --- meeting ----------------------------------------------------------------------------------------------------- */

static int connect_to(const char *path) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  size_t n = strlen(path);
  if (n >= sizeof at.sun_path) fail("the path is too long");
  memcpy(at.sun_path, path, n);
  if (path[0] == '@') at.sun_path[0] = 0;
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (path[0] != '@'));
  if (fd < 0 || connect(fd, (struct sockaddr *)&at, length) < 0) fail(path);
  return fd;
}

/* The server's packet and the descriptor of the memory. */
static int receive_welcome(int fd, greeting *said) {
  char packet[256], control[CMSG_SPACE(sizeof(int))];
  struct iovec part = {packet, sizeof packet - 1};
  struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
  if (n < (ssize_t)sizeof *said || memcmp(packet, "minigun", 8) != 0) fail("no welcome");
  memcpy(said, packet, sizeof *said);
  packet[n] = 0;
  if (said->status != 0) {
    fprintf(stderr, "service_client: turned away: %s\n", packet + sizeof *said);
    exit(2);
  }
  struct cmsghdr *head = CMSG_FIRSTHDR(&m);
  int memory;
  if (!head || head->cmsg_type != SCM_RIGHTS || head->cmsg_len != CMSG_LEN(sizeof memory)) fail("no memory");
  memcpy(&memory, CMSG_DATA(head), sizeof memory);
  return memory;
}

static void attach(client *c, const char *path) {
  greeting hello = {.magic = "minigun", .version = 1}, said;
  c->socket = connect_to(path);
  if (send(c->socket, &hello, sizeof hello, MSG_NOSIGNAL) < 0) fail("no hello");
  int memory = c->memory_file = receive_welcome(c->socket, &said);
  size_t page = (size_t)sysconf(_SC_PAGESIZE), size = page + said.to_server + said.to_client;
  struct stat st;
  int seals = F_SEAL_SHRINK | F_SEAL_GROW;
  if ((fcntl(memory, F_GET_SEALS) & seals) != seals || fstat(memory, &st) < 0 || (size_t)st.st_size != size)
    fail("the memory is not sealed");
  c->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (c->memory == MAP_FAILED) fail("mmap");
#define AT(type, offset) ((_Atomic type *)(void *)(c->memory + (offset)))
  c->out = (ring){AT(uint64_t, 0), AT(uint64_t, 64), c->memory + page, said.to_server, 0};
  c->in = (ring){AT(uint64_t, 128), AT(uint64_t, 192), c->memory + page + said.to_server, said.to_client, 0};
  c->own_word = AT(uint32_t, 256);
  c->server_word = AT(uint32_t, 320);
}

/* --- frames ------------------------------------------------------------------------------------------------------ */

/* Copies into a ring, or out of it: the part after its end lies at its begin. */
static void copy_in(ring *r, uint64_t at, const void *from, size_t n) {
  size_t place = at & (r->size - 1), first = n < r->size - place ? n : r->size - place;
  memcpy(r->bytes + place, from, first);
  memcpy(r->bytes, (const char *)from + first, n - first);
}

static void copy_out(const ring *r, uint64_t at, void *to, size_t n) {
  size_t place = at & (r->size - 1), first = n < r->size - place ? n : r->size - place;
  memcpy(to, r->bytes + place, first);
  memcpy((char *)to + first, r->bytes, n - first);
}

static uint64_t space_of(uint64_t length) { return sizeof(frame) + ((length + 7) & ~(uint64_t)7); }

static void ring_bell(client *c, uint32_t has) {
  atomic_thread_fence(memory_order_seq_cst);
  if (!(atomic_load(c->server_word) & has) || atomic_exchange(c->server_word, 0) == 0) return;
  send(c->socket, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int has_frame(client *c) { return atomic_load_explicit(c->in.head, memory_order_acquire) != c->in.mine; }

static int has_room(client *c, uint64_t space) {
  return c->out.size - (c->out.mine - atomic_load_explicit(c->out.tail, memory_order_acquire)) >= space;
}

/* Sleeps until there is a frame, or room for so many bytes (0: that is not waited for). */
static void sleep_until(client *c, uint64_t space) {
  char packet[256];
  atomic_store(c->own_word, space ? FOR_FRAME | FOR_ROOM : FOR_FRAME);
  atomic_thread_fence(memory_order_seq_cst);
  if (!has_frame(c) && !(space && has_room(c, space))) {
    struct pollfd p = {.fd = c->socket, .events = POLLIN};
    if (poll(&p, 1, -1) < 0 && errno != EINTR) fail("poll");
  }
  atomic_store(c->own_word, 0);
  ssize_t n;
  while ((n = recv(c->socket, packet, sizeof packet - 1, MSG_DONTWAIT)) > 1) {
    packet[n] = 0;
    fprintf(stderr, "service_client: the server says: %s\n", packet + 1);
  }
  if (n == 0 && !has_frame(c)) fail("the server has ended");
}

/* The next message, which is the caller's to free. */
static uint8_t *receive(client *c, frame *head) {
  uint8_t *bytes = NULL;
  size_t n = 0;
  do {
    while (!has_frame(c)) sleep_until(c, 0);
    uint64_t waiting = atomic_load_explicit(c->in.head, memory_order_acquire) - c->in.mine;
    errno = 0;
    if (waiting > c->in.size || waiting < sizeof *head) fail("a head");
    copy_out(&c->in, c->in.mine, head, sizeof *head);
    if (space_of(head->length) > waiting) fail("a frame");
    bytes = realloc(bytes, n + head->length + 1);
    if (!bytes) fail("no memory");
    copy_out(&c->in, c->in.mine + sizeof *head, bytes + n, head->length);
    n += head->length;
    c->in.mine += space_of(head->length);
    atomic_store_explicit(c->in.tail, c->in.mine, memory_order_release);
    ring_bell(c, FOR_ROOM);
  } while (head->flags & MORE);
  head->length = (uint32_t)n;
  return bytes;
}

/* Sends a message, in parts where it is large. (A client with several open calls would take replies while it waits.) */
static void send_message(client *c, uint8_t kind, uint64_t number, const uint8_t *bytes, size_t n) {
  size_t sent = 0, most = c->out.size / 4;
  do {
    frame head = {.kind = kind, .number = number, .length = (uint32_t)(n - sent > most ? most : n - sent)};
    if (sent + head.length < n) head.flags = MORE;
    while (!has_room(c, space_of(head.length))) sleep_until(c, space_of(head.length));
    copy_in(&c->out, c->out.mine, &head, sizeof head);
    copy_in(&c->out, c->out.mine + sizeof head, bytes + sent, head.length);
    sent += head.length;
    c->out.mine += space_of(head.length);
    atomic_store_explicit(c->out.head, c->out.mine, memory_order_release);
    ring_bell(c, FOR_FRAME);
  } while (sent < n);
}

/* --- MessagePack ------------------------------------------------------------------------------------------------- */

/* The head of a string, at `to`, which has 5 bytes; how many it took. */
static size_t pack_string(uint8_t *to, size_t n) {
  if (n < 32) return to[0] = (uint8_t)(0xa0 | n), 1;
  to[0] = 0xdb;
  for (int i = 0; i < 4; i++) to[1 + i] = (uint8_t)(n >> (24 - 8 * i));
  return 5;
}

static void print_value(const uint8_t *p, size_t n) {
  size_t head = n == 0 ? 0 : p[0] == 0xd9 ? 2 : p[0] == 0xda ? 3 : p[0] == 0xdb ? 5 : (p[0] & 0xe0) == 0xa0 ? 1 : 0;
  if (n == 0 || p[0] == 0xc0) printf("nil\n");
  else if (p[0] < 0x80) printf("%d\n", p[0]);
  else if (head > 0 && head <= n) printf("%.*s\n", (int)(n - head), (const char *)p + head);
  else printf("(a value of %zu bytes that begins with %02x)\n", n, p[0]);
}

/* --- */

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int call(client *c, const uint8_t *bytes, size_t n, int print) {
  frame head;
  send_message(c, CALL, ++c->number, bytes, n);
  uint8_t *reply = receive(c, &head);
  errno = 0;
  if (head.number != c->number || (head.kind != REPLY && head.kind != FAILURE)) fail("a reply");
  if (head.kind == FAILURE) fprintf(stderr, "service_client: the call has failed\n");
  else if (print) print_value(reply, head.length);
  free(reply);
  return head.kind == REPLY;
}

int main(int argc, char **argv) {
  client c = {.socket = -1};
  if (argc < 3) return fprintf(stderr, "usage: service_client PATH TEXT... | PATH -n COUNT\n"), 2;
  attach(&c, argv[1]);
  close(c.memory_file); /* what is mapped stays */
  int ok = 1;
  if (strcmp(argv[2], "-n") == 0) {
    long count = argc > 3 ? atol(argv[3]) : 100000;
    double began = seconds();
    for (long i = 0; i < count; i++) ok &= call(&c, (const uint8_t[]){(uint8_t)(i % 100)}, 1, 0);
    printf("%.2f us a call\n", (seconds() - began) / (double)count * 1e6);
    return !ok;
  }
  for (int i = 2; i < argc; i++) {
    size_t n = strlen(argv[i]);
    uint8_t *bytes = malloc(n + 5);
    if (!bytes) fail("no memory");
    size_t head = pack_string(bytes, n);
    memcpy(bytes + head, argv[i], n);
    ok &= call(&c, bytes, head + n, 1);
    free(bytes);
  }
  return !ok;
}
