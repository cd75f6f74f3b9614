/* lua_board.c - userdata minigun.board, the lines of all workers, for the master, and minigun.line, a worker's own
 * (board.h).
 *
 * A worker that is stuck is told so by SIGABRT: its handler sets a hook on each coroutine that may be running (a hook
 * is a coroutine's own): the main one, the one that called last, those of handlers.  The hook writes the traceback to
 * standard error at the next instruction of Lua, and takes all others away.
 */
#include "lua_board.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BOARD "minigun.board"
#define LINE "minigun.line"

typedef struct board {
  mg_board *at;
  size_t n; /* lines */
} board;

typedef struct own_line { /* its user value is the board */
  mg_line *line;
  const mg_board *board;
  unsigned serial;
} own_line;

/* --- the master's ------------------------------------------------------------------------------------------------- */

static size_t size_of(const board *b) { return sizeof *b->at + b->n * sizeof(mg_line); }

/* board(n) -> board | nil, message, errno */
static int l_board(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 1);
  luaL_argcheck(L, n > 0 && n <= 1 << 16, 1, "1 to 65536 lines expected");
  board *b = lua_newuserdatauv(L, sizeof *b, 0);
  b->at = NULL;
  b->n = (size_t)n;
  luaL_setmetatable(L, BOARD);
  b->at = mg_sys.map_shared(size_of(b));
  return b->at ? 1 : mg_lua_fail(L, "cannot share memory with workers", -ENOMEM);
}

static mg_line *check_line_of(lua_State *L) {
  board *b = luaL_checkudata(L, 1, BOARD);
  lua_Integer i = luaL_checkinteger(L, 2);
  luaL_argcheck(L, b->at && i >= 1 && i <= (lua_Integer)b->n, 2, "no such line");
  return &b->at->lines[i - 1];
}

/* b:wipe(i): for a worker that is about to be forked */
static int l_wipe(lua_State *L) {
  mg_line *l = check_line_of(L);
  mg_board *b = ((board *)lua_touserdata(L, 1))->at;
  uint32_t used = (uint32_t)(l - b->lines) + 1;
  if (used > atomic_load(&b->used)) atomic_store(&b->used, used);
  memset((void *)l, 0, sizeof *l);
  mg_line_beat(l, mg_now());
  return 0;
}

/* b:read(i) -> state, waiting, connections in hand, beat (seconds of the monotonic clock), requests, connections that
 * it has accepted, what it is at */
static int l_read(lua_State *L) {
  mg_line *l = check_line_of(L);
  char doing[MG_DOING];
  memcpy(doing, l->doing, sizeof doing);
  lua_pushinteger(L, atomic_load(&l->state));
  lua_pushboolean(L, atomic_load(&l->waiting) != 0);
  lua_pushinteger(L, atomic_load(&l->in_hand));
  lua_pushnumber(L, (lua_Number)atomic_load(&l->beat) / 1e9);
  lua_pushinteger(L, (lua_Integer)atomic_load(&l->requests));
  lua_pushinteger(L, (lua_Integer)atomic_load(&l->accepted));
  lua_pushlstring(L, doing, strnlen(doing, sizeof doing));
  return 7;
}

/* b:ask(i, what): 1 drain, 2 stop; 3: open log files anew */
static int l_ask(lua_State *L) {
  mg_line *l = check_line_of(L);
  lua_Integer what = luaL_checkinteger(L, 3);
  if (what == 3) atomic_fetch_add(&l->reopen, 1);
  else atomic_store(&l->asked, (uint32_t)what);
  return 0;
}

/* b:take(i) -> line: in the worker that it is of */
static int l_take(lua_State *L) {
  mg_line *l = check_line_of(L);
  own_line *own = lua_newuserdatauv(L, sizeof *own, 1);
  own->line = l;
  own->board = ((board *)lua_touserdata(L, 1))->at;
  own->serial = mg_process_own();
  luaL_setmetatable(L, LINE);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  return 1;
}

/* b:close(); may be called twice */
static int l_close(lua_State *L) {
  board *b = luaL_checkudata(L, 1, BOARD);
  if (b->at) mg_sys.unmap(b->at, size_of(b));
  b->at = NULL;
  return 0;
}

/* --- a traceback that is asked for -------------------------------------------------------------------------------- */

static lua_State *volatile main_thread, *volatile current; /* the second is anchored in the registry */
static char anchor;
enum { MOST_HANDLERS = 4096 }; /* those that come after are not looked at */
static lua_State *volatile handlers[MOST_HANDLERS]; /* each anchored in the registry under its own address */
static volatile sig_atomic_t handlers_n;
static unsigned owner; /* the process that these, and those below, are of: its children have the same handlers */

void mg_line_runs(lua_State *L) {
  if (MG_LIKELY(L == current)) return;
  lua_pushthread(L);
  current = NULL;
  lua_rawsetp(L, LUA_REGISTRYINDEX, &anchor);
  current = L;
}

/* In a signal handler too: all that is named here is alive. */
static void set_hooks(lua_Hook hook, int mask) {
  if (main_thread) lua_sethook(main_thread, hook, mask, 1);
  if (current) lua_sethook(current, hook, mask, 1);
  for (int i = 0; i < handlers_n; i++) lua_sethook(handlers[i], hook, mask, 1);
}

static void write_traceback(lua_State *L, lua_Debug *unused) {
  (void)unused;
  set_hooks(NULL, 0);
  lua_sethook(L, NULL, 0, 0);
  size_t n;
  luaL_traceback(L, L, "this worker is stuck here:", 0);
  lua_pushliteral(L, "\n");
  lua_concat(L, 2);
  const char *text = lua_tolstring(L, -1, &n);
  mg_sys.write(2, text, n);
  lua_pop(L, 1);
}

static void on_notice(int sig) {
  (void)sig;
  if (owner == mg_process_serial) set_hooks(write_traceback, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT);
}

/* --- a worker's own ----------------------------------------------------------------------------------------------- */

mg_line *mg_check_line(lua_State *L, int arg) {
  own_line *own = luaL_checkudata(L, arg, LINE);
  if (own->serial != mg_process_serial) luaL_argerror(L, arg, "this is the line of another process");
  return own->line;
}

const mg_board *mg_check_board_of(lua_State *L, int arg) {
  return ((own_line *)luaL_checkudata(L, arg, LINE))->board;
}

/* l:state(n): 0 starting, 1 ready, 2 draining */
static int l_state(lua_State *L) {
  mg_line *l = mg_check_line(L, 1);
  atomic_store(&l->state, (uint32_t)luaL_checkinteger(L, 2));
  mg_line_beat(l, mg_now());
  return 0;
}

/* l:beat(text | nil): it is alive; and what it is at */
static int l_beat(lua_State *L) {
  size_t n;
  mg_line *l = mg_check_line(L, 1);
  const char *text = luaL_optlstring(L, 2, NULL, &n);
  mg_line_runs(L);
  if (text) mg_line_do(l, text, n);
  mg_line_beat(l, mg_now());
  return 0;
}

/* l:done() -> requests: one more is answered */
static int l_done(lua_State *L) {
  mg_line *l = mg_check_line(L, 1);
  mg_line_runs(L);
  mg_line_do(l, "", 0);
  mg_line_beat(l, mg_now());
  lua_pushinteger(L, (lua_Integer)atomic_fetch_add(&l->requests, 1) + 1);
  return 1;
}

/* l:hold(n): so many connections more, or less, are in its hand */
static int l_hold(lua_State *L) {
  mg_line *l = mg_check_line(L, 1);
  lua_Integer n = luaL_checkinteger(L, 2);
  if (n > 0) atomic_fetch_add(&l->accepted, (uint64_t)n);
  atomic_fetch_add(&l->in_hand, (uint32_t)n);
  return 0;
}

/* l:enter(): the coroutine that calls runs a handler from now on, until l:leave() */
static int l_enter(lua_State *L) {
  mg_check_line(L, 1);
  int n = handlers_n;
  if (n == MOST_HANDLERS) return 0;
  lua_pushthread(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, L);
  handlers[n] = L;
  handlers_n = n + 1;
  return 0;
}

static int l_leave(lua_State *L) {
  mg_check_line(L, 1);
  int n = handlers_n, i = n - 1;
  while (i >= 0 && handlers[i] != L) i--;
  if (i < 0) return 0;
  handlers[i] = handlers[n - 1];
  handlers_n = n - 1;
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, L);
  return 0;
}

/* l:asked() -> what its master, or SIGTERM, has asked for (board.h), and how often log files are to be opened anew */
static int l_asked(lua_State *L) {
  mg_line *l = mg_check_line(L, 1);
  lua_pushinteger(L, mg_line_asked(l));
  lua_pushinteger(L, atomic_load(&l->reopen));
  return 2;
}

/* l:drain(): as if its master had asked for it */
static int l_drain(lua_State *L) {
  mg_line *l = mg_check_line(L, 1);
  uint32_t none = MG_ASKED_NOTHING;
  atomic_compare_exchange_strong(&l->asked, &none, MG_ASKED_DRAIN);
  return 0;
}

/* l:on_notice(): SIGABRT writes a traceback to standard error, and nothing else */
static int l_on_notice(lua_State *L) {
  mg_check_line(L, 1);
  owner = mg_process_serial;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  main_thread = lua_tothread(L, -1);
  lua_pop(L, 1);
  mg_line_runs(L);
  mg_sys.handle_signal(SIGABRT, on_notice);
  return 0;
}

static mg_line *asked_line;
static const mg_bell *asked_bell;

static void on_terminate(int sig) {
  int saved = errno;
  uint32_t none = MG_ASKED_NOTHING;
  (void)sig;
  if (owner != mg_process_serial) mg_exit_now(128 + sig);
  if (asked_line) atomic_compare_exchange_strong(&asked_line->asked, &none, MG_ASKED_DRAIN);
  if (asked_bell) mg_event_ring(asked_bell);
  errno = saved;
}

void mg_line_on_terminate(mg_line *line, const mg_bell *bell) {
  owner = mg_process_serial;
  asked_line = line;
  asked_bell = bell;
  if (bell) mg_sys.handle_signal(SIGTERM, on_terminate);
}

static const luaL_Reg board_methods[] = {
    {"wipe", l_wipe}, {"read", l_read}, {"ask", l_ask}, {"take", l_take}, {"close", l_close}, {"__gc", l_close},
    {NULL, NULL},
};

static const luaL_Reg line_methods[] = {
    {"state", l_state}, {"beat", l_beat}, {"done", l_done}, {"hold", l_hold}, {"asked", l_asked}, {"drain", l_drain},
    {"enter", l_enter}, {"leave", l_leave}, {"on_notice", l_on_notice}, {NULL, NULL},
};

void mg_board_setup(lua_State *L) {
  static const luaL_Reg functions[] = {{"board", l_board}, {NULL, NULL}};
  mg_method_type(L, BOARD, board_methods);
  mg_method_type(L, LINE, line_methods);
  luaL_setfuncs(L, functions, 0);
}
