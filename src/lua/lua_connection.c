/* lua_connection.c - userdata minigun.connection: a connection of a blocking server, with luasocket's names.
 *
 * 1. Its descriptor never blocks: what would is waited for by poll, as long as the time-outs allow, and meanwhile the
 *    worker's line says that it waits.
 * 2. What was received and not asked for yet lies in `buffer`; it may grow to what one call asks for.
 * 3. It is this process's: in a child of the worker it is closed without a word.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lua_connection.h"

enum { FIRST_ROOM = 8192, MOST_LINE = 1 << 20 };

#define TYPE "minigun.connection"
#define MOST_WAIT (86400000 * (int64_t)1000000) /* ns of one poll, whose limit is in int milliseconds */

typedef struct connection {
  int fd;     /* -1: closed */
  int counts; /* among the connections in hand, in the worker's line */
  unsigned serial;
  mg_line *line;         /* the worker's, or NULL */
  char *buffer;          /* malloc's */
  size_t from, to, room; /* what is in it */
  int64_t block, total;  /* ns that one wait, and one call, may take; < 0: no limit */
} connection;

void mg_push_connection(lua_State *L, mg_line *line) {
  connection *c = lua_newuserdatauv(L, sizeof *c, 1);
  memset(c, 0, sizeof *c);
  c->fd = -1;
  c->block = c->total = -1;
  c->serial = mg_process_own();
  c->line = line;
  luaL_setmetatable(L, TYPE);
}

void mg_connect(lua_State *L, int idx, int fd, int counts) {
  connection *c = lua_touserdata(L, idx);
  c->fd = fd;
  c->counts = counts;
  if (counts) atomic_fetch_add_explicit(&c->line->in_hand, 1, memory_order_relaxed);
}

/* The connection that a method is called on; `c.receive()`, with a dot, is recognised here. */
static connection *check_connection(lua_State *L) {
  connection *c = luaL_testudata(L, 1, TYPE);
  if (c) return c;
  lua_Debug at;
  const char *name = lua_getstack(L, 0, &at) && lua_getinfo(L, "n", &at) && at.name ? at.name : "the method";
  luaL_error(L, "call %s with a colon, on a connection: connection:%s(...)", name, name);
  return NULL;
}

static void shut(connection *c) {
  int open = c->fd >= 0, own = c->serial == mg_process_serial;
  if (own) mg_shut(&c->fd);
  c->fd = -1;
  free(c->buffer);
  c->buffer = NULL;
  c->from = c->to = c->room = 0;
  if (open && own && c->counts) atomic_fetch_sub_explicit(&c->line->in_hand, 1, memory_order_relaxed);
}

/* Waits until it can be read from or written to.  `began`: when the call began.  1, 0 when the time is over, -errno. */
static int wait_for(connection *c, short events, uint64_t began) {
  uint64_t entered = mg_now();
  int rc;
  if (c->line) mg_line_wait(c->line, 1);
  do {
    uint64_t now = mg_now();
    int64_t left = c->block < 0 ? INT64_MAX : c->block - (int64_t)(now - entered);
    int64_t left_of_call = c->total < 0 ? INT64_MAX : c->total - (int64_t)(now - began);
    if (left_of_call < left) left = left_of_call;
    struct pollfd p = {.fd = c->fd, .events = events};
    rc = mg_sys.poll(&p, 1, left == INT64_MAX ? -1 : left < 0 ? 0 : left > MOST_WAIT ? (int)(MOST_WAIT / 1000000)
                                                                      : (int)((left + 999999) / 1000000));
  } while (rc == -EINTR);
  if (c->line) {
    mg_line_beat(c->line, mg_now());
    mg_line_wait(c->line, 0);
  }
  return rc < 0 ? rc : rc > 0;
}

/* Receives once into the buffer, waiting for it.  Bytes, 0 at the end, -errno (-ETIMEDOUT). */
static ssize_t receive_more(connection *c, uint64_t began) {
  if (c->from > 0) {
    memmove(c->buffer, c->buffer + c->from, c->to - c->from);
    c->to -= c->from;
    c->from = 0;
  }
  if (c->to == c->room) {
    size_t room = c->room ? c->room * 2 : FIRST_ROOM;
    char *more = realloc(c->buffer, room);
    if (!more) return -ENOMEM;
    c->buffer = more;
    c->room = room;
  }
  for (;;) {
    ssize_t n = mg_sys.receive(c->fd, c->buffer + c->to, c->room - c->to);
    if (n > 0) c->to += (size_t)n;
    if (n == -EAGAIN) {
      int rc = wait_for(c, POLLIN, began);
      if (rc <= 0) return rc < 0 ? rc : -ETIMEDOUT;
    } else if (n != -EINTR) {
      return n;
    }
  }
}

static void push_reason(lua_State *L, ssize_t rc) {
  if (rc == -ETIMEDOUT) lua_pushliteral(L, "timeout");
  else if (rc == 0 || rc == -ECONNRESET || rc == -EPIPE) lua_pushliteral(L, "closed");
  else lua_pushstring(L, strerror((int)-rc));
}

/* Pushes n bytes of the buffer; of a line without its carriage returns, wherever they are, as luasocket does. */
static void push_bytes(lua_State *L, const char *from, size_t n, int is_line) {
  if (!is_line || !memchr(from, '\r', n)) {
    lua_pushlstring(L, from, n);
    return;
  }
  luaL_Buffer b;
  char *to = luaL_buffinitsize(L, &b, n);
  size_t kept = 0;
  for (size_t i = 0; i < n; i++)
    if (from[i] != '\r') to[kept++] = from[i];
  luaL_pushresultsize(&b, kept);
}

/* Takes n bytes off the buffer onto the stack, after the prefix; `skip` more are dropped. */
static void take(lua_State *L, connection *c, size_t n, size_t skip, int is_line) {
  size_t before;
  const char *prefix = lua_tolstring(L, 3, &before);
  push_bytes(L, c->buffer ? c->buffer + c->from : "", n, is_line);
  if (prefix && before > 0) {
    lua_pushvalue(L, 3);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  c->from += n + skip;
}

static int receive_failed(lua_State *L, connection *c, ssize_t rc, const char *reason, int is_line) {
  luaL_pushfail(L);
  if (reason) lua_pushstring(L, reason);
  else push_reason(L, rc);
  take(L, c, c->to - c->from, 0, is_line);
  return 3;
}

static int receive_line(lua_State *L, connection *c, uint64_t began) {
  for (size_t looked = 0;;) {
    const char *end = c->to > c->from + looked ? memchr(c->buffer + c->from + looked, '\n', c->to - c->from - looked)
                                               : NULL;
    if (end) return take(L, c, (size_t)(end - c->buffer) - c->from, 1, 1), 1;
    looked = c->to - c->from;
    if (looked >= MOST_LINE) return receive_failed(L, c, 0, "line too long", 1);
    ssize_t n = receive_more(c, began);
    if (n <= 0) return receive_failed(L, c, n, NULL, 1);
  }
}

/* `looks`: of 0 bytes, whether there are any, or the end. */
static int receive_count(lua_State *L, connection *c, size_t wanted, int looks, uint64_t began) {
  while (c->to - c->from < wanted || (looks && c->to == c->from)) {
    ssize_t n = receive_more(c, began);
    if (n <= 0) return receive_failed(L, c, n, NULL, 0);
  }
  take(L, c, wanted, 0, 0);
  return 1;
}

static int receive_all(lua_State *L, connection *c, uint64_t began) {
  ssize_t n;
  do n = receive_more(c, began);
  while (n > 0);
  if (c->to == c->from || (n < 0 && n != -ECONNRESET)) return receive_failed(L, c, n, NULL, 0);
  take(L, c, c->to - c->from, 0, 0);
  return 1;
}

/* c:receive(pattern | nil, prefix | nil) -> bytes | nil, reason, what has come: "*l" (the default), "*a", or a number
 * of bytes; the reason is "closed", "timeout", "line too long" (1 MiB) or the system's */
static int l_receive(lua_State *L) {
  connection *c = check_connection(L);
  lua_settop(L, 3);
  if (!lua_isnil(L, 3)) luaL_checkstring(L, 3);
  if (c->fd < 0) return receive_failed(L, c, 0, NULL, 0);
  uint64_t began = c->total >= 0 ? mg_now() : 0;
  if (lua_type(L, 2) == LUA_TNUMBER) {
    lua_Integer n = luaL_checkinteger(L, 2);
    luaL_argcheck(L, n >= 0, 2, "a number of bytes expected");
    size_t before = 0;
    lua_tolstring(L, 3, &before);
    return receive_count(L, c, (size_t)n > before ? (size_t)n - before : 0, before == 0, began);
  }
  const char *pattern = luaL_optstring(L, 2, "*l");
  pattern += *pattern == '*';
  if (*pattern == 'l') return receive_line(L, c, began);
  luaL_argcheck(L, *pattern == 'a', 2, "invalid receive pattern: \"*l\", \"*a\" or a number of bytes expected");
  return receive_all(L, c, began);
}

/* c:send(bytes, from | nil, to | nil) -> index of the last byte that was sent | nil, reason, that index */
static int l_send(lua_State *L) {
  connection *c = check_connection(L);
  size_t n;
  const char *bytes = luaL_checklstring(L, 2, &n);
  lua_Integer from = luaL_optinteger(L, 3, 1), to = luaL_optinteger(L, 4, -1);
  if (from < 0) from += (lua_Integer)n + 1;
  if (to < 0) to += (lua_Integer)n + 1;
  if (from < 1) from = 1;
  if (to > (lua_Integer)n) to = (lua_Integer)n;
  uint64_t began = c->total >= 0 ? mg_now() : 0;
  lua_Integer at = from - 1;
  ssize_t rc = c->fd < 0 ? 0 : 1;
  while (rc > 0 && at < to) {
    rc = mg_sys.send(c->fd, bytes + at, (size_t)(to - at));
    if (rc > 0) at += rc;
    else if (rc == -EINTR) rc = 1;
    else if (rc == -EAGAIN && (rc = wait_for(c, POLLOUT, began)) == 0) rc = -ETIMEDOUT;
  }
  if (rc > 0) return lua_pushinteger(L, at), 1;
  luaL_pushfail(L);
  push_reason(L, rc);
  lua_pushinteger(L, at);
  return 3;
}

/* c:settimeout(seconds | nil, "b" | "t" | nil) -> 1: "b" of each wait, "t" of each call; nil or less than 0: no limit
 * */
static int l_settimeout(lua_State *L) {
  connection *c = check_connection(L);
  lua_Number s = luaL_optnumber(L, 2, -1);
  int64_t ns = s < 0 ? -1 : s > 1e6 ? (int64_t)1e15 : (int64_t)(s * 1e9);
  const char *mode = luaL_optstring(L, 3, "b");
  luaL_argcheck(L, strchr("btr", *mode) && *mode, 3, "\"b\" or \"t\" expected");
  if (*mode == 'b') c->block = ns;
  else c->total = ns;
  return lua_pushinteger(L, 1), 1;
}

/* c:shutdown("send" | "receive" | "both" | nil) -> 1 | nil, reason */
static int l_shutdown(lua_State *L) {
  static const char *const names[] = {"receive", "send", "both", NULL};
  connection *c = check_connection(L);
  int rc = mg_sys.shutdown(c->fd, luaL_checkoption(L, 2, "both", names));
  if (rc == 0 || rc == -ENOTCONN) return lua_pushinteger(L, 1), 1;
  luaL_pushfail(L);
  push_reason(L, c->fd < 0 ? 0 : rc);
  return 2;
}

/* c:close() -> 1; may be called twice */
static int l_close(lua_State *L) {
  shut(check_connection(L));
  return lua_pushinteger(L, 1), 1;
}

/* c:getfd() -> its descriptor; -1: it is closed */
static int l_getfd(lua_State *L) {
  lua_pushinteger(L, check_connection(L)->fd);
  return 1;
}

/* c:dirty() -> whether there are bytes to receive without waiting: a select would not see them */
static int l_dirty(lua_State *L) {
  connection *c = check_connection(L);
  lua_pushboolean(L, c->to > c->from);
  return 1;
}

static int name(lua_State *L, int of_peer) {
  mg_address at;
  connection *c = check_connection(L);
  int rc = mg_sys.socket_name(c->fd, of_peer, &at);
  if (rc == 0) return mg_push_address(L, &at);
  luaL_pushfail(L);
  push_reason(L, c->fd < 0 ? 0 : rc);
  return 2;
}

/* c:getpeername(), c:getsockname() -> host, port, family | nil, reason */
static int l_getpeername(lua_State *L) { return name(L, 1); }
static int l_getsockname(lua_State *L) { return name(L, 0); }

static int l_tostring(lua_State *L) {
  connection *c = check_connection(L);
  if (c->fd < 0) lua_pushliteral(L, "connection (closed)");
  else lua_pushfstring(L, "connection (descriptor %d)", c->fd);
  return 1;
}

static const luaL_Reg methods[] = {
    {"receive", l_receive}, {"send", l_send}, {"settimeout", l_settimeout}, {"shutdown", l_shutdown},
    {"close", l_close}, {"getfd", l_getfd}, {"dirty", l_dirty}, {"getpeername", l_getpeername},
    {"getsockname", l_getsockname}, {"__tostring", l_tostring}, {"__gc", l_close}, {"__close", l_close}, {NULL, NULL},
};

void mg_connection_setup(lua_State *L) { mg_method_type(L, TYPE, methods); }
