/* attach.c - see attach.h. */
#include "attach.h"

static const char magic[8] = "minigun";

static mg_greeting greeting(uint32_t status, uint32_t to_server, uint32_t to_client, uint64_t number) {
  mg_greeting g = {.version = MG_ATTACH_VERSION, .status = status, .to_server = to_server, .to_client = to_client,
                   .number = number};
  memcpy(g.magic, magic, sizeof magic);
  return g;
}

/* Receives a packet that begins with a greeting.  Bytes of text after it, -EAGAIN, -EPIPE, -EPROTO, -errno. */
static int receive(mg_channel *c, mg_greeting *out, char *text, int *passed) {
  char packet[sizeof *out + MG_ATTACH_TEXT];
  ssize_t n = mg_channel_receive(c, packet, sizeof packet - 1, passed);
  if (n <= 0) return n == 0 || n == -ECONNRESET ? -EPIPE : (int)n;
  if ((size_t)n < sizeof *out || memcmp(packet, magic, sizeof magic) != 0) return -EPROTO;
  memcpy(out, packet, sizeof *out);
  packet[n] = 0;
  if (text) memcpy(text, packet + sizeof *out, (size_t)n + 1 - sizeof *out);
  return (int)((size_t)n - sizeof *out);
}

int mg_attach_connect(mg_channel *c, const mg_address *to, uint32_t to_server, uint32_t to_client) {
  c->socket = mg_sys.socket(AF_UNIX, MG_PACKETS);
  int rc = c->socket < 0 ? c->socket : mg_sys.connect(c->socket, to);
  MG_POINT(client_connected);
  if (rc == 0) {
    mg_greeting g = greeting(0, to_server, to_client, 0);
    ssize_t n = mg_sys.send_packet(c->socket, &g, sizeof g, -1);
    /* A server that is full turns away before it listens. */
    rc = n >= 0 || n == -EPIPE || n == -ECONNRESET ? 0 : (int)n;
  }
  MG_POINT(client_greeted);
  if (rc < 0) mg_shut(&c->socket);
  return rc;
}

int mg_attach_answer(mg_channel *c, mg_greeting *out, char *text) {
  int memory = -1;
  *text = 0;
  int rc = receive(c, out, text, &memory);
  if (rc == -EAGAIN) return 0;
  if (rc >= 0 && out->status != MG_WELCOME) rc = -ECONNREFUSED;
  if (rc >= 0 && (out->version != MG_ATTACH_VERSION || memory < 0)) rc = -EPROTO;
  if (rc >= 0) rc = mg_channel_join(c, out->to_server, out->to_client, memory);
  mg_shut(&memory);
  MG_POINT(client_attached);
  return rc < 0 ? rc : 1;
}

int mg_attach_greeting(mg_channel *c, mg_greeting *out) {
  int rc = receive(c, out, NULL, NULL);
  return rc == -EAGAIN ? 0 : rc < 0 ? rc : 1;
}

/* The next power of two from n on that a ring may have. */
static uint32_t ring_size(uint32_t wanted, uint32_t usual) {
  uint32_t size = MG_RING_LEAST;
  if (wanted == 0 || wanted > usual) wanted = usual;
  while (size < mg_page_size() || (size < wanted && size < MG_RING_MOST)) size *= 2;
  return size;
}

int mg_attach_admit(mg_channel *c, const mg_greeting *said, uint32_t to_server, uint32_t to_client, uint64_t number) {
  int memory = -1;
  to_server = ring_size(said->to_server, to_server);
  to_client = ring_size(said->to_client, to_client);
  int rc = mg_channel_make(c, to_server, to_client, &memory);
  if (rc < 0) return rc;
  MG_POINT(memory_made);
  mg_greeting g = greeting(MG_WELCOME, to_server, to_client, number);
  ssize_t n = mg_sys.send_packet(c->socket, &g, sizeof g, memory);
  MG_POINT(client_welcomed);
  mg_shut(&memory);
  return n < 0 ? (int)n : 0;
}

void mg_attach_refuse(mg_channel *c, uint32_t status, const char *text) {
  char packet[sizeof(mg_greeting) + MG_ATTACH_TEXT];
  mg_greeting g = greeting(status, 0, 0, 0);
  size_t n = strnlen(text, MG_ATTACH_TEXT - 1);
  memcpy(packet, &g, sizeof g);
  memcpy(packet + sizeof g, text, n);
  mg_sys.send_packet(c->socket, packet, sizeof g + n, -1);
}
