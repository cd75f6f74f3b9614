/* lua_poll.c - waiting for descriptors: the functions fileno, file_id and wait, and userdata minigun.poller, an epoll
 * descriptor with the waits of one process's threads in it (lua/minigun/handlers/tasks.lua).
 */
#include <errno.h>
#include <stdio.h>

#include "core/proc.h"
#include "core/signals.h"
#include "lua_mg.h"

#define MG_POLLER_TYPE "minigun.poller"

enum { READ = 1, WRITE = 2, MOST = 256 };

/* What epoll_wait says that is no descriptor. */
enum { TAG_TIMER = -1, TAG_SIGNAL = -2 };

typedef struct mg_poller {
  struct mg_poller *next; /* in the list of this process's */
  int fd;                 /* of the epoll; -1: closed */
  int timer, bell;        /* its own, see wake and ring; -1: none */
  unsigned serial; /* its process.  In a child the number may belong to another descriptor: there it is not touched */
} mg_poller;

static mg_poller *pollers;

/* "r", "w" or "rw" as bits; 0 where there is no mode */
static unsigned check_mode(lua_State *L, int arg) {
  unsigned bits = 0;
  for (const char *at = luaL_optstring(L, arg, ""); *at; at++) bits |= *at == 'r' ? READ : *at == 'w' ? WRITE : 0;
  return bits;
}

static int64_t check_ns(lua_State *L, int arg) {
  lua_Number s = luaL_optnumber(L, arg, -1);
  return s < 0 ? -1 : s > 1e6 ? (int64_t)1e15 : (int64_t)(s * 1e9);
}

/* fileno(file) -> the descriptor of an open Lua file | nil: closed, or no file */
static int l_fileno(lua_State *L) {
  FILE *f = mg_open_file(L, 1);
  if (!f) return luaL_pushfail(L), 1;
  lua_pushinteger(L, fileno(f));
  return 1;
}

/* file_id(fd) -> device, inode of what it is open on | nil: it is closed */
static int l_file_id(lua_State *L) {
  mg_file is;
  if (mg_sys.file_facts(mg_check_fd(L, 1), &is) < 0) return luaL_pushfail(L), 1;
  lua_pushinteger(L, (lua_Integer)is.device);
  lua_pushinteger(L, (lua_Integer)is.inode);
  return 2;
}

/* wait(fd, mode, seconds | nil) -> whether it can be read from ("r") or written to ("w"), waiting for that at most so
 * long | nil, message, errno.  false comes early when a signal ended the wait.  Where there is an error or an end, both
 * can be done: the next call tells of it. */
static int l_wait(lua_State *L) {
  unsigned mode = check_mode(L, 2);
  int64_t ns = check_ns(L, 3);
  struct pollfd p = {.fd = mg_check_fd(L, 1)};
  if (mode & READ) p.events |= POLLIN;
  if (mode & WRITE) p.events |= POLLOUT;
  int64_t until = ns < 0 || ns > (int64_t)1e15 - 1 ? -1 : (int64_t)mg_now() + ns;
  int rc, ignored;
  do {
    int64_t left = until < 0 ? -1 : until - (int64_t)mg_now();
    ignored = mg_proc_ignored;
    rc = mg_sys.poll(&p, 1, until < 0 ? -1 : left < 0 ? 0 : (int)((left + 999999) / 1000000));
  } while (rc == -EINTR && mg_proc_ignored != ignored && !mg_interrupted());
  if (rc > 0 && (p.revents & POLLNVAL)) rc = -EBADF;
  if (rc < 0 && rc != -EINTR) return mg_lua_fail(L, "cannot wait for a descriptor", rc);
  lua_pushboolean(L, rc > 0);
  return 1;
}

static mg_poller *check_poller(lua_State *L) {
  mg_poller *p = luaL_checkudata(L, 1, MG_POLLER_TYPE);
  if (p->fd < 0 || p->serial != mg_process_serial) luaL_argerror(L, 1, "the poller is closed, or another process's");
  return p;
}

static void close_poller(mg_poller *p) {
  const mg_bell bell = {.epoll = p->fd, .fd = p->bell};
  if (p->bell >= 0) mg_signals_leave(&bell);
  mg_shut(&p->bell);
  mg_shut(&p->timer);
  mg_shut(&p->fd);
}

static void unlink_poller(mg_poller *p) {
  for (mg_poller **at = &pollers; *at; at = &(*at)->next)
    if (*at == p) {
      *at = p->next;
      return;
    }
}

void mg_pollers_child(void) {
  for (; pollers; pollers = pollers->next) close_poller(pollers);
}

/* poller() -> poller | nil, message, errno */
static int l_poller(lua_State *L) {
  mg_poller *p = lua_newuserdatauv(L, sizeof *p, 0);
  *p = (mg_poller){.fd = -1, .timer = -1, .bell = -1, .serial = mg_process_own()};
  luaL_setmetatable(L, MG_POLLER_TYPE);
  p->fd = mg_sys.epoll_create();
  if (p->fd < 0) return mg_lua_fail(L, "cannot make an event loop", p->fd);
  p->next = pollers;
  pollers = p;
  return 1;
}

static int poller_result(lua_State *L, const char *what, int rc) {
  if (rc < 0) return mg_lua_fail(L, what, rc);
  lua_pushboolean(L, 1);
  return 1;
}

/* p:wake(seconds | nil) -> true | nil, message, errno: p:fd() becomes readable after so long; nil: not by a time.  The
 * next p:wait ends at once then. */
static int l_wake(lua_State *L) {
  mg_poller *p = check_poller(L);
  int rc = 0;
  if (p->timer < 0) {
    if (lua_isnoneornil(L, 2)) return poller_result(L, NULL, 0);
    rc = p->timer = mg_sys.timerfd();
    if (rc >= 0) rc = mg_sys.epoll_add(p->fd, p->timer, (uint64_t)TAG_TIMER);
    if (rc < 0) mg_shut(&p->timer);
  }
  if (rc >= 0) rc = mg_sys.timer_set(p->timer, check_ns(L, 2));
  return poller_result(L, "cannot set a timer", rc);
}

/* p:timer() -> the descriptor of what `wake` sets, which is no epoll descriptor | nil: it has not been called */
static int l_timer(lua_State *L) {
  const mg_poller *p = check_poller(L);
  if (p->timer < 0) return luaL_pushfail(L), 1;
  lua_pushinteger(L, p->timer);
  return 1;
}

/* p:ring() -> true | nil, message, errno: from now on each signal that is counted ends a wait */
static int l_ring(lua_State *L) {
  mg_poller *p = check_poller(L);
  if (p->bell >= 0) return poller_result(L, NULL, 0);
  int rc = p->bell = mg_sys.eventfd();
  if (rc >= 0) rc = mg_sys.bell_add(p->fd, p->bell, (uint64_t)TAG_SIGNAL);
  const mg_bell bell = {.epoll = p->fd, .fd = p->bell, .tag = (uint64_t)TAG_SIGNAL};
  if (rc >= 0) rc = mg_signals_join(&bell);
  if (rc < 0) mg_shut(&p->bell);
  return poller_result(L, "cannot watch signals", rc);
}

static int check_signal(lua_State *L, int arg) {
  lua_Integer sig = luaL_checkinteger(L, arg);
  luaL_argcheck(L, sig >= 1 && sig < MG_SIGNALS, arg, "the number of a signal expected");
  return (int)sig;
}

/* count_signal(number, on) -> true | nil, message, errno: it is counted from now on; false: one such less */
static int l_count_signal(lua_State *L) {
  int rc = 0, sig = check_signal(L, 1);
  if (lua_toboolean(L, 2)) rc = mg_signals_watch(sig);
  else mg_signals_unwatch(sig);
  return poller_result(L, "cannot watch a signal", rc);
}

/* signal_count(number) -> how often it has come */
static int l_signal_count(lua_State *L) {
  lua_pushinteger(L, mg_signals_count(check_signal(L, 1)));
  return 1;
}

/* p:set(fd, mode) -> true | nil, message, errno.  From now on fd is watched for "r", "w" or "rw"; "": not any more */
static int l_set(lua_State *L) {
  mg_poller *p = check_poller(L);
  unsigned mode = check_mode(L, 3);
  uint32_t events = (mode & READ ? EPOLLIN | EPOLLRDHUP : 0) | (mode & WRITE ? EPOLLOUT : 0);
  int rc = mg_sys.epoll_set(p->fd, mg_check_fd(L, 2), events);
  return poller_result(L, "cannot watch a descriptor", rc);
}

/* p:wait(seconds | nil, list) -> n | nil, message, errno.  list is filled with n pairs: a descriptor, and "r", "w" or
 * "rw" */
static int l_poll(lua_State *L) {
  static const char *const modes[] = {"rw", "r", "w", "rw"};
  struct epoll_event ready[MOST];
  mg_poller *p = check_poller(L);
  luaL_checktype(L, 3, LUA_TTABLE);
  int n = mg_sys.epoll_wait(p->fd, ready, MOST, check_ns(L, 2));
  if (n == -EINTR) n = 0;
  if (n < 0) return mg_lua_fail(L, "cannot wait for descriptors", n);
  int found = 0;
  for (int i = 0; i < n; i++) {
    uint64_t ticks, tag = ready[i].data.u64;
    if (tag == (uint64_t)TAG_TIMER) mg_sys.read(p->timer, &ticks, sizeof ticks);
    if (tag == (uint64_t)TAG_TIMER || tag == (uint64_t)TAG_SIGNAL) continue;
    unsigned mode = (ready[i].events & (EPOLLIN | EPOLLRDHUP) ? READ : 0) | (ready[i].events & EPOLLOUT ? WRITE : 0);
    if (ready[i].events & (EPOLLERR | EPOLLHUP)) mode = READ | WRITE;
    lua_pushinteger(L, (lua_Integer)tag);
    lua_rawseti(L, 3, 2 * found + 1);
    lua_pushstring(L, modes[mode]);
    lua_rawseti(L, 3, 2 * ++found);
  }
  lua_pushinteger(L, found);
  return 1;
}

/* p:fd() -> the descriptor, which is readable when a watched one is ready */
static int l_fd(lua_State *L) {
  lua_pushinteger(L, check_poller(L)->fd);
  return 1;
}

/* p:close(); may be called twice */
static int l_close(lua_State *L) {
  mg_poller *p = luaL_checkudata(L, 1, MG_POLLER_TYPE);
  if (p->fd < 0) return 0;
  unlink_poller(p);
  if (p->serial == mg_process_serial) close_poller(p);
  p->fd = -1;
  return 0;
}

static const luaL_Reg methods[] = {
    {"set", l_set}, {"wait", l_poll}, {"wake", l_wake}, {"timer", l_timer},
    {"ring", l_ring}, {"fd", l_fd}, {"close", l_close}, {"__gc", l_close}, {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"fileno", l_fileno}, {"file_id", l_file_id}, {"wait", l_wait}, {"poller", l_poller},
    {"count_signal", l_count_signal}, {"signal_count", l_signal_count}, {NULL, NULL},
};

void mg_poll_setup(lua_State *L) {
  mg_method_type(L, MG_POLLER_TYPE, methods);
  luaL_setfuncs(L, functions, 0);
}
