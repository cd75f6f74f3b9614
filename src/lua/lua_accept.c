/* lua_accept.c - userdata minigun.acceptor: where a worker waits, for connections, for what its master asks, and for
 * its master's death, in one epoll descriptor.  A worker without an event loop blocks in `accept`; an event loop
 * watches the descriptor and calls `take` when it is readable.
 *
 * 1. What is asked stands in the worker's line and is looked at before each connection is taken: under full load too it
 *    is noticed at once.  The pipe from the master only wakes a worker that waits; its end is the master's death.
 * 2. Of several workers that wait for one socket the kernel wakes one, so what is ready may have been taken meanwhile;
 *    and a worker that was woken takes a connection whatever it is asked, as no other is woken for that connection.
 * 3. Of workers with an event loop all are woken that wait in it.  One that has more connections in hand than another
 *    lets that one go first, for a moment, and takes one at a time: else the first to be awake has all that come
 *    together, for as long as they stay.
 */
#include <errno.h>
#include <string.h>

#include "lua_board.h"
#include "lua_connection.h"

#define TYPE "minigun.acceptor"

enum { MOST_LAST = 1024 }; /* connections that are taken after a stop was asked for: others may come for ever */
/* Others may go first every 20 ms, and 25 times at once after half a second without. */
static const uint64_t TURN = 20000000, TURNS = 500000000;
enum { MOST_SOCKETS = 64, FROM_MASTER = MOST_SOCKETS, FROM_SIGNAL };

typedef struct acceptor { /* its user value is the line */
  mg_line *line;
  const mg_board *board;
  unsigned serial;
  uint32_t reopened;
  int epoll, control, n, at; /* at: the socket to look at first */
  int listens;               /* what has connected may be taken */
  int watches;               /* the sockets are in the epoll: not where it pauses, or does not listen */
  uint64_t turn;             /* the time until which it has used up letting others go first */
  int woken;                 /* by a socket: see 2 */
  int last;                  /* connections that it has taken since a stop was asked for */
  int fds[MOST_SOCKETS];
  mg_bell bell;
} acceptor;

static void shut(acceptor *a) {
  if (a->serial != mg_process_serial) return;
  if (a->bell.fd >= 0) mg_line_on_terminate(NULL, NULL);
  mg_shut(&a->bell.fd);
  mg_shut(&a->epoll);
  a->n = 0;
}

static int open_acceptor(acceptor *a) {
  int rc = a->epoll = mg_sys.epoll_create();
  if (rc >= 0) rc = a->bell.fd = mg_sys.eventfd();
  a->bell.epoll = a->epoll;
  a->bell.tag = FROM_SIGNAL;
  if (rc >= 0) rc = mg_sys.bell_add(a->epoll, a->bell.fd, FROM_SIGNAL);
  if (rc >= 0) rc = mg_sys.epoll_add(a->epoll, a->control, FROM_MASTER);
  return rc;
}

/* acceptor(line, sockets, control) -> acceptor | nil, message, errno.  sockets: array of descriptors; control: the end
 * of the pipe from the master.  The sockets are not looked at before a:listen(true).  SIGTERM asks for a drain from now
 * on. */
static int l_acceptor(lua_State *L) {
  mg_line *line = mg_check_line(L, 1);
  lua_Integer n = luaL_len(L, 2);
  luaL_argcheck(L, n <= MOST_SOCKETS, 2, "at most 64 sockets");
  lua_Integer control = luaL_checkinteger(L, 3);
  acceptor *a = lua_newuserdatauv(L, sizeof *a, 1);
  memset(a, 0, sizeof *a);
  a->epoll = a->bell.fd = -1;
  a->line = line;
  a->board = mg_check_board_of(L, 1);
  a->serial = mg_process_own();
  luaL_setmetatable(L, TYPE);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  for (a->n = 0; a->n < (int)n; a->n++) {
    lua_rawgeti(L, 2, a->n + 1);
    a->fds[a->n] = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
  }
  a->control = (int)control;
  int rc = open_acceptor(a);
  if (rc < 0) return shut(a), mg_lua_fail(L, "cannot wait for connections", rc);
  mg_line_on_terminate(line, &a->bell);
  return 1;
}

/* Takes a connection from one of the sockets; -EAGAIN: there is none. */
static int take_any(acceptor *a) {
  if (!a->listens) return -EAGAIN;
  for (int k = 0; k < a->n; k++) {
    int fd;
    do fd = mg_sys.accept(a->fds[a->at]);
    while (fd == -EINTR || fd == -ECONNABORTED);
    if (fd >= 0 || fd != -EAGAIN) return fd;
    a->at = (a->at + 1) % a->n;
  }
  return -EAGAIN;
}

/* Waits until something is to be looked at, or only looks; -EPIPE: the master is gone. */
static int look(acceptor *a, int waits) {
  struct epoll_event ready[8];
  char bytes[64];
  int n = mg_sys.epoll_wait(a->epoll, ready, 8, waits ? -1 : 0);
  if (n < 0) return n == -EINTR ? 0 : n;
  for (int i = 0; i < n; i++) {
    if (ready[i].data.u64 < (uint64_t)a->n) a->at = (int)ready[i].data.u64, a->woken = 1;
    if (ready[i].data.u64 == FROM_MASTER && mg_sys.read(a->control, bytes, sizeof bytes) == 0) return -EPIPE;
  }
  return 0;
}

static int wait_for_any(acceptor *a) {
  mg_line_beat(a->line, mg_now());
  mg_line_wait(a->line, 1);
  int rc = look(a, 1);
  mg_line_beat(a->line, mg_now());
  mg_line_wait(a->line, 0);
  return rc;
}

static int say(lua_State *L, const char *what) {
  luaL_pushfail(L);
  lua_pushstring(L, what);
  return 2;
}

static uint32_t reopens(const acceptor *a) { return atomic_load_explicit(&a->line->reopen, memory_order_relaxed); }

/* What is asked, but for a stop, as long as connections wait: pushes the answer of `accept`, or nothing and gives 0. */
static int is_asked(lua_State *L, acceptor *a, unsigned asked) {
  if (asked == MG_ASKED_DRAIN || (asked == MG_ASKED_STOP && a->last++ >= MOST_LAST)) return say(L, "stop");
  if (a->reopened == reopens(a)) return 0;
  a->reopened = reopens(a);
  return say(L, "reopen");
}

static int failed(lua_State *L, const char *what, int rc) {
  return rc == -EPIPE ? say(L, "orphan") : mg_lua_fail(L, what, rc);
}

static void check(const acceptor *a) {
  if (MG_LIKELY(!mg_checking)) return;
  MG_ASSERT(a->n >= 0 && a->n <= MOST_SOCKETS && a->at >= 0 && (a->at < a->n || a->n == 0));
  MG_ASSERT(!a->watches || (a->listens && a->epoll >= 0));
  mg_line_check(a->line);
}

/* a:accept() -> connection | nil, "stop": nothing more is to be taken | nil, "reopen": log files are to be opened anew
 * | nil, "orphan": the master is gone | nil, message, errno */
static int l_accept(lua_State *L) {
  acceptor *a = luaL_checkudata(L, 1, TYPE);
  if (a->epoll < 0 || a->serial != mg_process_serial) return say(L, "stop");
  mg_line_runs(L);
  mg_push_connection(L, a->line);
  int connection = lua_gettop(L);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, connection, 1);
  for (;;) {
    unsigned asked = mg_line_asked(a->line);
    int answers = a->woken ? 0 : is_asked(L, a, asked);
    if (answers) return answers;
    int fd = take_any(a);
    a->woken = 0;
    if (fd >= 0) {
      mg_connect(L, connection, fd, 1);
      atomic_fetch_add_explicit(&a->line->accepted, 1, memory_order_relaxed);
      mg_line_beat(a->line, mg_now());
      check(a);
      lua_settop(L, connection);
      return 1;
    }
    if (fd != -EAGAIN) return mg_lua_fail(L, "cannot accept a connection", fd);
    if (asked != MG_ASKED_NOTHING) return say(L, "stop");
    int rc = a->reopened == reopens(a) ? wait_for_any(a) : 0;
    if (rc < 0) return failed(L, "cannot wait for connections", rc);
  }
}

/* Whether it lets another worker go first now. */
static int gives_way(acceptor *a, uint64_t now) {
  if (a->turn + TURNS < now) a->turn = now - TURNS;
  if (a->turn + TURN > now) return 0;
  a->turn += TURN;
  return 1;
}

/* a:take(further) -> the descriptor of a connection, which counts as in hand | nil, "again": there is nothing, or
 * nothing more at this moment | nil, "later": another worker is to go first | as `accept`.  further: one was taken in
 * this turn of the loop */
static int l_take(lua_State *L) {
  acceptor *a = luaL_checkudata(L, 1, TYPE);
  int further = lua_toboolean(L, 2);
  if (a->epoll < 0 || a->serial != mg_process_serial) return say(L, "stop");
  mg_line_runs(L);
  mg_line_beat(a->line, mg_now());
  unsigned asked = mg_line_asked(a->line);
  int answers = is_asked(L, a, asked);
  if (answers) return answers;
  if (a->watches && asked == MG_ASKED_NOTHING && atomic_load(&a->line->in_hand) > mg_board_least(a->board, a->line)) {
    if (further) return say(L, "again");
    if (gives_way(a, mg_now())) return say(L, "later");
  }
  int fd = take_any(a);
  if (fd == -EAGAIN) {
    int rc = look(a, 0);
    if (rc < 0) return failed(L, "cannot wait for connections", rc);
    return say(L, asked != MG_ASKED_NOTHING ? "stop" : "again");
  }
  if (fd < 0) return mg_lua_fail(L, "cannot accept a connection", fd);
  atomic_fetch_add_explicit(&a->line->accepted, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&a->line->in_hand, 1, memory_order_relaxed);
  check(a);
  lua_pushinteger(L, fd);
  return 1;
}

/* a:connection(fd) -> connection: of one that was taken, and is counted until the caller says that it is not any more
 * (l:hold) */
static int l_connection(lua_State *L) {
  acceptor *a = luaL_checkudata(L, 1, TYPE);
  int fd = (int)luaL_checkinteger(L, 2);
  mg_push_connection(L, a->line);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  mg_connect(L, -1, fd, 0);
  return 1;
}

static int watch(lua_State *L, acceptor *a, int on) {
  int rc = 0;
  for (int i = 0; a->epoll >= 0 && i < a->n && on != a->watches && rc >= 0; i++)
    rc = on ? mg_sys.epoll_share(a->epoll, a->fds[i], (uint64_t)i) : mg_sys.epoll_del(a->epoll, a->fds[i]);
  if (rc < 0) return mg_lua_fail(L, "cannot wait for connections", rc);
  a->watches = on;
  check(a);
  lua_pushboolean(L, 1);
  return 1;
}

/* a:listen(boolean) -> true | nil, message, errno: connections are taken, or not, from now on */
static int l_listen(lua_State *L) {
  acceptor *a = luaL_checkudata(L, 1, TYPE);
  a->listens = lua_toboolean(L, 2);
  return watch(L, a, a->listens);
}

/* a:pause(boolean) -> true | nil, message, errno: new connections do not wake it, or do again; what waits at the end
 * of the server is taken all the same */
static int l_pause(lua_State *L) {
  acceptor *a = luaL_checkudata(L, 1, TYPE);
  return watch(L, a, a->listens && !lua_toboolean(L, 2));
}

/* a:fd() -> the descriptor that is readable when there is something to take */
static int l_fd(lua_State *L) {
  lua_pushinteger(L, ((acceptor *)luaL_checkudata(L, 1, TYPE))->epoll);
  return 1;
}

/* a:close(); may be called twice */
static int l_close(lua_State *L) {
  shut(luaL_checkudata(L, 1, TYPE));
  return 0;
}

static const luaL_Reg methods[] = {
    {"accept", l_accept}, {"take", l_take}, {"connection", l_connection}, {"listen", l_listen}, {"pause", l_pause},
    {"fd", l_fd},
    {"close", l_close}, {"__gc", l_close}, {NULL, NULL},
};

void mg_accept_setup(lua_State *L) {
  static const luaL_Reg functions[] = {{"acceptor", l_acceptor}, {NULL, NULL}};
  mg_method_type(L, TYPE, methods);
  luaL_setfuncs(L, functions, 0);
}
