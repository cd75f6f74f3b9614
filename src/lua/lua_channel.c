/* lua_channel.c - userdata minigun.channel: a connection of a service, either side of it (core/channel.h).
 *
 * 1. It is this process's.  In a child its socket is closed before any Lua runs, and each method raises.
 * 2. Values are encoded into the ring and decoded out of it.  Where hooks may run, which could call this very
 *    connection, that happens in memory of their own.
 * 3. A message is taken once: where its decoding raises (memory), the next call reports it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec_scalar.h"
#include "core/proc.h"
#include "lua_channel.h"

#define TYPE "minigun.channel"
#define HOLDER "minigun.message"

typedef struct channel {
  mg_channel ch;
  mg_socket socket;
  size_t usual;  /* see mg_encode_whole */
  int decoding;  /* `message` is being decoded; what is still so in the next call has raised */
  mg_message message;
} channel;

static mg_socket *sockets;

void mg_socket_add(mg_socket *s, int *fd) {
  *s = (mg_socket){.next = sockets, .fd = fd, .serial = mg_process_own()};
  sockets = s;
}

void mg_socket_remove(mg_socket *s) {
  for (mg_socket **at = &sockets; *at; at = &(*at)->next)
    if (*at == s) {
      *at = s->next;
      return;
    }
}

void mg_channels_child(void) {
  for (; sockets; sockets = sockets->next) mg_shut(sockets->fd);
}

mg_channel *mg_push_channel(lua_State *L) {
  channel *c = lua_newuserdatauv(L, sizeof *c, 0);
  memset(c, 0, sizeof *c);
  c->ch.socket = -1;
  c->ch.last = &c->ch.waiting;
  mg_socket_add(&c->socket, &c->ch.socket);
  luaL_setmetatable(L, TYPE);
  return &c->ch;
}

static channel *check_channel(lua_State *L) {
  channel *c = luaL_checkudata(L, 1, TYPE);
  if (c->socket.serial != mg_process_serial) luaL_argerror(L, 1, "the connection belongs to another process");
  return c;
}

mg_channel *mg_check_channel(lua_State *L) { return &check_channel(L)->ch; }

static channel *check_attached(lua_State *L) {
  channel *c = check_channel(L);
  if (!c->ch.map) luaL_argerror(L, 1, "the connection is closed");
  if (mg_checking) mg_channel_check(&c->ch);
  return c;
}

/* nil, what is wrong, errno */
static int broken(lua_State *L, int rc) {
  if (rc != -EPROTO && rc != -EMSGSIZE) return mg_lua_reason(L, rc);
  luaL_pushfail(L);
  if (rc == -EPROTO) lua_pushliteral(L, "the other side has written something that is no message");
  else lua_pushliteral(L, "the other side has sent a message that is too large (max_message)");
  lua_pushinteger(L, -rc);
  return 3;
}

/* --- sending ----------------------------------------------------------------------------------------------------- */

/* Encodes the value at 4 into the ring.  1: it is sent, 0: it does not fit, or hooks may run; MG_CODEC_BAD, with a
 * message; -errno below that. */
static int send_straight(lua_State *L, mg_channel *ch, mg_codec *codec, mg_frame head) {
  size_t n;
  unsigned flags = 0;
  if (mg_codec_has_hooks(codec)) return 0;
  int64_t room = mg_channel_room(ch);
  if (room <= 0) return (int)room;
  uint8_t *to = mg_byte_contents(&ch->out);
  if (room < MG_SCALAR_MOST || (n = mg_scalar(L, mg_scalar_type(L, 4), 4, to)) == 0) {
    int rc = mg_encode(L, codec, 4, to, (size_t)room, &n, &flags);
    if (rc != MG_CODEC_OK) return rc == MG_CODEC_BAD ? rc : 0;
  }
  head.length = (uint32_t)n;
  head.flags = flags & MG_CODEC_REFS ? MG_FRAME_REFS : 0;
  mg_channel_send(ch, head);
  return 1;
}

static int unserialisable(lua_State *L) {
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

/* c:send(kind, number, value) -> true: it is in the ring; false: it waits, all of it or a part, see `flush` | nil,
 * message: the value cannot be sent, nothing was | nil, message, errno: the connection is of no use any more */
static int l_send(lua_State *L) {
  channel *c = check_attached(L);
  mg_frame head = {.kind = (uint8_t)luaL_checkinteger(L, 2), .number = (uint64_t)luaL_checkinteger(L, 3)};
  uint8_t small[MG_CODEC_SMALL], *bytes;
  size_t n;
  unsigned flags;
  lua_settop(L, 4);
  mg_codec *codec = mg_codec_get(L);
  int rc = send_straight(L, &c->ch, codec, head);
  if (MG_LIKELY(rc == 1)) return lua_pushboolean(L, 1), 1;
  if (rc == MG_CODEC_BAD) return unserialisable(L);
  if (rc < 0) return broken(L, rc);
  if (mg_encode_whole(L, codec, 4, 0, small, &c->usual, &bytes, &n, &flags) == MG_CODEC_BAD) return unserialisable(L);
  check_attached(L); /* a hook may have closed it */
  head.flags = flags & MG_CODEC_REFS ? MG_FRAME_REFS : 0;
  rc = mg_channel_queue(&c->ch, head, bytes, n);
  if (rc < 0) return broken(L, rc);
  lua_pushboolean(L, !c->ch.waiting);
  return 1;
}

/* c:flush() -> whether nothing waits any more | nil, message, errno */
static int l_flush(lua_State *L) {
  int rc = mg_channel_flush(&check_attached(L)->ch);
  if (rc < 0) return broken(L, rc);
  lua_pushboolean(L, rc);
  return 1;
}

/* c:has_room() -> whether a message can be sent, or begun to be sent, at once */
static int l_has_room(lua_State *L) {
  lua_pushboolean(L, mg_channel_room(&check_attached(L)->ch) > 0);
  return 1;
}

/* --- receiving --------------------------------------------------------------------------------------------------- */

static int free_holder(lua_State *L) {
  uint8_t **holder = lua_touserdata(L, 1);
  free(*holder);
  *holder = NULL;
  return 0;
}

typedef struct decode_call {
  mg_codec *codec;
  const uint8_t *bytes;
  size_t length;
  unsigned flags;
  int result;
} decode_call;

static int call_decode(lua_State *L) {
  decode_call *d = lua_touserdata(L, 1);
  d->result = mg_decode_own(L, d->codec, d->bytes, d->length, d->flags);
  return lua_gettop(L) - 1;
}

/* Decodes the message, whose bytes or nil are pushed first; it is handed back.  MG_CODEC_OK, ...BAD or ...REFUSED, with
 * what mg_decode pushes. */
static int decode(lua_State *L, channel *c, mg_codec *codec, const mg_message *m) {
  decode_call d = {codec, m->bytes, m->length, m->head.flags & MG_FRAME_REFS ? MG_CODEC_REFS : 0, 0};
  uint8_t **holder = NULL;
  int hooks = mg_codec_has_hooks(codec);
  if (m->own) {
    holder = lua_newuserdatauv(L, sizeof *holder, 0);
    *holder = NULL;
    luaL_setmetatable(L, HOLDER);
    *holder = (uint8_t *)(uintptr_t)m->bytes;
    c->message.bytes = NULL; /* from now on the holder's */
  } else if (hooks) {
    d.bytes = memcpy(lua_newuserdatauv(L, m->length, 0), m->bytes, m->length);
    mg_channel_done(&c->ch, m);
  } else {
    lua_pushnil(L);
  }
  if (hooks) { /* one may call this connection */
    c->decoding = 0;
    int top = lua_gettop(L);
    lua_pushcfunction(L, call_decode);
    lua_pushlightuserdata(L, &d);
    if (lua_pcall(L, 1, LUA_MULTRET, 0) != LUA_OK) {
      lua_settop(L, top);
      lua_pushboolean(L, 0);
      lua_pushliteral(L, "not enough memory");
      d.result = MG_CODEC_REFUSED;
    }
  } else if (holder) {
    d.result = mg_decode_own(L, codec, d.bytes, d.length, d.flags);
  } else {
    d.result = mg_decode(L, codec, d.bytes, d.length, d.flags);
    mg_channel_done(&c->ch, m);
  }
  if (holder) free(*holder), *holder = NULL;
  return d.result;
}

/* A message whose decoding has raised: kind, number, false, message */
static int take_failed(lua_State *L, channel *c) {
  c->decoding = 0;
  if (c->message.own) free((void *)(uintptr_t)c->message.bytes); /* no holder has come to be */
  mg_channel_done(&c->ch, &c->message);
  lua_pushinteger(L, c->message.head.kind);
  lua_pushinteger(L, (lua_Integer)c->message.head.number);
  lua_pushboolean(L, 0);
  lua_pushliteral(L, "not enough memory");
  return 4;
}

/* c:take(free) -> kind, number, value, nil or why the value cannot be had (then it is what stands for it, or false) |
 * nothing: there is none | false, message, errno: the connection is of no use any more.  free: a processor is, so it
 * may spin for a while */
static int l_take(lua_State *L) {
  channel *c = check_attached(L);
  if (MG_UNLIKELY(c->decoding)) return take_failed(L, c);
  mg_message m;
  int rc = mg_channel_next(&c->ch, &m);
  if (rc == 0 && lua_toboolean(L, 2) && mg_channel_spin(&c->ch)) rc = mg_channel_next(&c->ch, &m);
  if (rc == 0) return 0;
  if (rc < 0) return broken(L, rc), lua_pushboolean(L, 0), lua_replace(L, -4), 3;
  lua_settop(L, 1);
  c->message = m;
  c->decoding = 1;
  lua_pushinteger(L, m.head.kind);
  lua_pushinteger(L, (lua_Integer)m.head.number);
  int result = MG_CODEC_OK;
  if (m.length > 0) {
    result = decode(L, c, mg_codec_get(L), &m);
    lua_remove(L, 4);
  } else { /* of a client that has nothing to say */
    lua_pushnil(L);
    if (m.own) free((void *)(uintptr_t)m.bytes);
    mg_channel_done(&c->ch, &m);
  }
  c->decoding = 0;
  if (MG_LIKELY(result == MG_CODEC_OK)) return 3;
  if (result == MG_CODEC_BAD) return lua_pushboolean(L, 0), lua_insert(L, 2), lua_remove(L, 3), lua_remove(L, 3), 2;
  return 4;
}

/* --- sleeping ---------------------------------------------------------------------------------------------------- */

static uint32_t check_wants(lua_State *L) { return (uint32_t)luaL_checkinteger(L, 2) & 3; }

/* c:sleep(wants) -> whether it may not sleep, as there is something already; else its descriptor becomes readable when
 * there is */
static int l_sleep(lua_State *L) {
  channel *c = check_attached(L);
  lua_pushboolean(L, mg_channel_sleep(&c->ch, check_wants(L)));
  return 1;
}

static int wake(lua_State *L, channel *c) {
  char why[200];
  if (mg_channel_wake(&c->ch, why, sizeof why) == 0) return lua_pushboolean(L, 1), 1;
  luaL_pushfail(L);
  if (*why) lua_pushstring(L, why);
  else lua_pushliteral(L, "it has ended");
  return 2;
}

/* c:wake() -> true | nil, what the other side, which has ended, has said to that; what it has sent can still be taken
 */
static int l_wake(lua_State *L) { return wake(L, check_attached(L)); }

/* c:wait(wants, seconds or nil) -> as c:wake; sleeps until there is something, the time is over, or a signal comes */
static int l_wait(lua_State *L) {
  channel *c = check_attached(L);
  lua_Number s = luaL_optnumber(L, 3, -1);
  if (mg_channel_sleep(&c->ch, check_wants(L))) return lua_pushboolean(L, 1), 1;
  struct pollfd p = {.fd = c->ch.socket, .events = POLLIN};
  mg_sys.poll(&p, 1, s < 0 ? -1 : s > 1e6 ? 1000000000 : (int)(s * 1e3 + 0.999));
  return wake(L, c);
}

/* --- the connection ---------------------------------------------------------------------------------------------- */

/* c:fd() -> its descriptor; -1: it is closed */
static int l_fd(lua_State *L) {
  lua_pushinteger(L, check_channel(L)->ch.socket);
  return 1;
}

/* c:close(why or nil): the other side is told why; may be called twice */
static int l_close(lua_State *L) {
  channel *c = luaL_checkudata(L, 1, TYPE);
  int own = c->socket.serial == mg_process_serial;
  size_t n;
  const char *why = lua_type(L, 2) == LUA_TSTRING ? lua_tolstring(L, 2, &n) : NULL;
  if (why && own && c->ch.socket >= 0) {
    char packet[200] = {1};
    if (n > sizeof packet - 1) n = sizeof packet - 1;
    memcpy(packet + 1, why, n);
    mg_sys.send_packet(c->ch.socket, packet, n + 1, -1);
  }
  mg_channel_shut(&c->ch, own);
  return 0;
}

static int l_collect(lua_State *L) {
  channel *c = luaL_checkudata(L, 1, TYPE);
  lua_settop(L, 1);
  l_close(L);
  mg_socket_remove(&c->socket);
  return 0;
}

static const luaL_Reg methods[] = {
    {"send", l_send}, {"flush", l_flush}, {"has_room", l_has_room}, {"take", l_take},
    {"sleep", l_sleep}, {"wake", l_wake}, {"wait", l_wait}, {"fd", l_fd}, {"close", l_close},
    {"__gc", l_collect}, {NULL, NULL},
};

void mg_channel_setup(lua_State *L) {
  mg_method_type(L, TYPE, methods);
  luaL_newmetatable(L, HOLDER);
  lua_pushcfunction(L, free_holder);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}
