/* channel.c - see channel.h for the protocol. */
#include "channel.h"

#include <stdlib.h>
#include <sys/mman.h>

static int set_up(mg_channel *c, uint32_t to_server, uint32_t to_client, int memory) {
  size_t control = mg_page_size();
  c->map = mg_sys.map_rings(memory, control, to_server, to_client);
  if (!c->map) return -ENOMEM;
  c->map_size = control + 2 * ((size_t)to_server + to_client);
  mg_channel_shared *s = (mg_channel_shared *)c->map;
  uint8_t *bytes[2] = {c->map + control, c->map + control + 2 * (size_t)to_server};
  uint32_t size[2] = {to_server, to_client};
  int own = c->side, peer = !own;
  c->asleep = &s->side[own].asleep;
  c->peer_asleep = &s->side[peer].asleep;
  c->last = &c->waiting;
  int rc = mg_byte_attach(&c->out, &s->ring[own], bytes[own], size[own], 1);
  return rc < 0 ? rc : mg_byte_attach(&c->in, &s->ring[peer], bytes[peer], size[peer], 0);
}

int mg_channel_make(mg_channel *c, uint32_t to_server, uint32_t to_client, int *memory) {
  *memory = mg_sys.memory_file(mg_page_size() + to_server + to_client);
  if (*memory < 0) return *memory;
  c->side = MG_SERVER;
  int rc = set_up(c, to_server, to_client, *memory);
  if (rc < 0) mg_shut(memory);
  return rc;
}

static int is_size(uint32_t n) {
  return n >= MG_RING_LEAST && n >= mg_page_size() && n <= MG_RING_MOST && (n & (n - 1)) == 0;
}

int mg_channel_join(mg_channel *c, uint32_t to_server, uint32_t to_client, int memory) {
  if (!is_size(to_server) || !is_size(to_client)) return -EPROTO;
  int64_t size = mg_sys.sealed_size(memory);
  if (size < 0) return (int)size;
  if ((uint64_t)size != (uint64_t)mg_page_size() + to_server + to_client) return -EPROTO;
  c->side = MG_CLIENT;
  return set_up(c, to_server, to_client, memory);
}

void mg_channel_shut(mg_channel *c, int tells) {
  if (c->socket >= 0 && tells) mg_sys.shutdown(c->socket, SHUT_RDWR);
  mg_shut(&c->socket);
  if (c->map && tells) mg_sys.unmap(c->map, c->map_size); /* in a child it is not there */
  c->map = NULL;
  for (mg_waiting *w; (w = c->waiting); free(w)) c->waiting = w->next;
  c->last = &c->waiting;
  free(c->part);
  c->part = NULL;
  c->length = c->room = 0;
}

void mg_channel_check(const mg_channel *c) {
  if (!c->map) return;
  mg_byte_check(&c->out, 1);
  mg_byte_check(&c->in, 0);
  MG_ASSERT(c->length <= c->room && c->length <= c->most);  /* 3 */
  MG_ASSERT(!c->waiting == (c->last == &c->waiting));       /* 2 */
}

/* --- sending ----------------------------------------------------------------------------------------------------- */

/* Steps W2 to W4.  Where there is no room for the byte there are others that are not read yet.  Where it cannot be sent
 * for another reason the other side would sleep on: the connection ends. */
static void tell(mg_channel *c, uint32_t has) {
  atomic_thread_fence(memory_order_seq_cst);
  if (!(atomic_load_explicit(c->peer_asleep, memory_order_relaxed) & has)) return;
  if (atomic_exchange_explicit(c->peer_asleep, 0, memory_order_relaxed) == 0) return;
  MG_POINT(sleeper_claimed);
  ssize_t n = mg_sys.send_packet(c->socket, "", 1, -1);
  if (n < 0 && n != -EAGAIN) mg_sys.shutdown(c->socket, SHUT_RDWR);
}

int64_t mg_channel_room(mg_channel *c) {
  if (c->waiting) return 0;
  uint64_t most = c->out.size / 4;
  int64_t room = mg_byte_room(&c->out, most + sizeof(mg_frame));
  if (room < (int64_t)sizeof(mg_frame) + 8) return room < 0 ? room : 0;
  room -= (int64_t)sizeof(mg_frame);
  return room > (int64_t)most ? (int64_t)most : room;
}

void mg_channel_send(mg_channel *c, mg_frame head) {
  mg_byte_publish(&c->out, head);
  tell(c, MG_WANTS_FRAME);
}

/* Sends from bytes[*sent..n) as many parts as there is room for.  1: that was all, 0, -EPROTO. */
static int send_parts(mg_channel *c, mg_frame head, const uint8_t *bytes, size_t n, size_t *sent) {
  const size_t most = (size_t)c->out.size / 4;
  int rc = 0;
  uint64_t before = c->out.mine;
  do {
    size_t part = n - *sent > most ? most : n - *sent;
    int64_t room = mg_byte_room(&c->out, mg_frame_space(part));
    if (room < 0) rc = -EPROTO;
    if (room < (int64_t)mg_frame_space(part)) break;
    memcpy(mg_byte_contents(&c->out), bytes + *sent, part);
    *sent += part;
    head.length = (uint32_t)part;
    head.flags = (uint8_t)((head.flags & ~MG_FRAME_MORE) | (*sent < n ? MG_FRAME_MORE : 0));
    mg_byte_publish(&c->out, head);
    rc = *sent == n;
  } while (rc == 0);
  if (c->out.mine != before) tell(c, MG_WANTS_FRAME);
  return rc;
}

int mg_channel_queue(mg_channel *c, mg_frame head, const uint8_t *bytes, size_t n) {
  size_t sent = 0;
  int rc = c->waiting ? 0 : send_parts(c, head, bytes, n, &sent);
  if (rc != 0) return rc < 0 ? rc : 0;
  mg_waiting *w = malloc(sizeof *w + (n - sent));
  if (!w) return -ENOMEM;
  *w = (mg_waiting){.head = head, .length = n - sent};
  memcpy(w->bytes, bytes + sent, n - sent);
  *c->last = w;
  c->last = &w->next;
  return 0;
}

int mg_channel_flush(mg_channel *c) {
  for (mg_waiting *w; (w = c->waiting); free(w)) {
    int rc = send_parts(c, w->head, w->bytes, w->length, &w->sent);
    if (rc <= 0) return rc;
    c->waiting = w->next;
    if (!w->next) c->last = &c->waiting;
  }
  return 1;
}

/* --- receiving --------------------------------------------------------------------------------------------------- */

/* Adds a frame to the message that comes in parts.  0 or -errno. */
static int gather(mg_channel *c, const mg_frame *head, const uint8_t *at) {
  if (c->part && (head->kind != c->of_part.kind || head->number != c->of_part.number)) return -EPROTO;
  if (head->length > c->most - c->length) return -EMSGSIZE;
  if (c->length + head->length > c->room || !c->part) {
    size_t room = 2 * c->room > c->length + head->length ? 2 * c->room : c->length + head->length;
    uint8_t *more = realloc(c->part, room ? room : 1);
    if (!more) return -ENOMEM;
    c->part = more;
    c->room = room;
  }
  memcpy(c->part + c->length, at, head->length);
  c->length += head->length;
  c->of_part = *head;
  return 0;
}

/* Whether a frame may be what it says. */
static int is_sound(const mg_frame *head) {
  return head->kind >= MG_FRAME_CALL && head->kind <= MG_FRAME_CANCEL && head->zero == 0 &&
         !(head->flags & ~(MG_FRAME_REFS | MG_FRAME_MORE));
}

int mg_channel_next(mg_channel *c, mg_message *out) {
  const uint8_t *at;
  const uint64_t began = c->in.mine;
  int rc, whole = 0;
  /* Parts that follow each other for ever must not keep the caller here. */
  while (!whole && c->in.mine - began < c->in.size && (rc = mg_byte_next(&c->in, &out->head, &at)) != 0) {
    if (rc < 0 || !is_sound(&out->head)) return -EPROTO;
    out->own = c->part || out->head.flags & MG_FRAME_MORE;
    if (!out->own) {
      out->bytes = at;
      out->length = out->head.length;
      return out->length > c->most ? -EMSGSIZE : 1;
    }
    rc = gather(c, &out->head, at);
    if (rc < 0) return rc;
    mg_byte_release(&c->in, out->head.length);
    whole = !(out->head.flags & MG_FRAME_MORE);
  }
  if (c->in.mine != began) tell(c, MG_WANTS_ROOM);
  if (!whole) return 0;
  out->bytes = c->part;
  out->length = c->length;
  c->part = NULL;
  c->length = c->room = 0;
  return 1;
}

void mg_channel_done(mg_channel *c, const mg_message *m) {
  if (m->own) return;
  mg_byte_release(&c->in, m->head.length);
  tell(c, MG_WANTS_ROOM);
}

int mg_channel_spin(mg_channel *c) {
  if (mg_byte_waits(&c->in)) return 1;
  uint32_t budget = mg_spin_budget(&c->spin, 1);
  if (budget == 0) return 0;
  uint64_t until = mg_now() + budget;
  int found;
  do {
    for (int i = 0; !(found = mg_byte_waits(&c->in)) && i < 32; i++) mg_pause();
  } while (!found && mg_now() < until);
  mg_spin_learn(&c->spin, found);
  return found;
}

/* --- sleeping ---------------------------------------------------------------------------------------------------- */

int mg_channel_sleep(mg_channel *c, uint32_t wants) {
  atomic_store_explicit(c->asleep, wants, memory_order_relaxed);
  atomic_thread_fence(memory_order_seq_cst);
  MG_POINT(says_asleep);
  int found = (wants & MG_WANTS_FRAME) && mg_byte_waits(&c->in);
  if (wants & MG_WANTS_ROOM) {
    uint64_t tail = atomic_load_explicit(&c->out.at->tail, memory_order_acquire);
    found |= tail != c->out.seen;
  }
  if (found) atomic_store_explicit(c->asleep, 0, memory_order_relaxed);
  return found;
}

ssize_t mg_channel_receive(const mg_channel *c, char *packet, size_t size, int *passed) {
  ssize_t n;
  int resets = 0;
  do n = mg_sys.receive_packet(c->socket, packet, size, passed);
  while (n == -EINTR || (n == -ECONNRESET && resets++ == 0)); /* what the other side has said before comes after that */
  return n;
}

/* One bell is read and others are left: there hardly are any, and a further one only wakes us once more. */
int mg_channel_wake(mg_channel *c, char *why, size_t size) {
  char packet[256];
  *why = 0;
  atomic_store_explicit(c->asleep, 0, memory_order_relaxed);
  ssize_t n = mg_channel_receive(c, packet, sizeof packet, NULL);
  if (n == 1 || n == -EAGAIN) return 0;
  if (n > 1) {
    size_t kept = (size_t)n < size ? (size_t)n : size;
    memcpy(why, packet + 1, kept - 1);
    why[kept - 1] = 0;
  }
  return -EPIPE;
}
