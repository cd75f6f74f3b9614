/* lua_limit.c - time limits of handlers that run in the coordinator.
 *
 * While a limit is set a count hook looks at the clock, and raises an error when the time is over: also in coroutines
 * that the handler makes, which inherit the hook. After that it has some time to clean up; then each further
 * instruction raises the error again, so no protected call outlasts it. A call that blocks in C goes on until it
 * returns: the caller that has set the limit looks at the clock then. A hook of the program's own stays, and nothing
 * but that look is left. */
#include "core/clock.h"
#include "core/sys.h"
#include "lua_mg.h"

enum { INSTRUCTIONS = 1000, CLEAN_UP_NS = 50000000 };

static uint64_t due;  /* on the clock for deadlines, see clock.h; 0: no limit is set */
static uint64_t next; /* when to raise */
static int raised;    /* how often it has */
static int paused;    /* the library is at work inside of the handler */

static void check(lua_State *L, int hooked) {
  uint64_t now = mg_clock_now();
  if (paused || now < next) return;
  if (raised++ == 0) next = now + CLEAN_UP_NS;
  else if (hooked) lua_sethook(L, lua_gethook(L), LUA_MASKCOUNT, 1);
  luaL_error(L, "the item took longer than its time-out");
}

static void on_count(lua_State *L, lua_Debug *ar) {
  (void)ar;
  if (due) check(L, 1);
  else lua_sethook(L, NULL, 0, 0); /* a coroutine that has outlived its limit */
}

/* Sets the hook, or takes it away. Ctrl-C, whose handler sets one too, must not come in between. */
static void hook(lua_State *L, int on) {
  sigset_t mask;
  mg_sys.block_signals(&mask);
  lua_Hook now = lua_gethook(L);
  if (on && (!now || now == on_count)) lua_sethook(L, on_count, LUA_MASKCOUNT, INSTRUCTIONS);
  if (!on && now == on_count) lua_sethook(L, NULL, 0, 0);
  mg_sys.set_signals(&mask);
}

/* Sets a limit, or an earlier one that is set already. The result is for leave. */
static uint64_t enter(lua_State *L, lua_Number seconds) {
  uint64_t own = (uint64_t)(seconds * 1e9), before = due << 1 | (unsigned)paused;
  due = next = due && !paused && due < own ? due : own;
  raised = paused = 0;
  hook(L, 1);
  return before;
}

static void leave(lua_State *L, uint64_t before) {
  due = next = before >> 1;
  raised = 0;
  paused = before & 1;
  hook(L, due != 0);
}

/* limit(due, thread) -> what unlimit is to be given: from now on what runs in the thread is ended at that time (seconds
 * of core.clock), or earlier, where a limit was set before */
static int l_limit(lua_State *L) {
  luaL_checktype(L, 2, LUA_TTHREAD);
  lua_pushinteger(L, (lua_Integer)enter(lua_tothread(L, 2), luaL_checknumber(L, 1)));
  return 1;
}

/* unlimit(before, thread): undoes limit */
static int l_unlimit(lua_State *L) {
  luaL_checktype(L, 2, LUA_TTHREAD);
  leave(lua_tothread(L, 2), (uint64_t)luaL_checkinteger(L, 1));
  return 0;
}

/* limits(thread): a limit that is set meanwhile is for this coroutine too, which was made before */
static int l_limits(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTHREAD);
  hook(lua_tothread(L, 1), 1);
  return 0;
}

static int called(lua_State *L, int status, lua_KContext before) {
  leave(L, (uint64_t)before);
  lua_pushboolean(L, status == LUA_OK || status == LUA_YIELD);
  lua_replace(L, 1);
  return lua_gettop(L);
}

/* call_limited(due, handler, message handler, ...) -> as xpcall(handler, message handler, ...), within a limit */
static int l_call(lua_State *L) {
  lua_Number seconds = luaL_checknumber(L, 1);
  int n = lua_gettop(L);
  luaL_checkany(L, 3);
  lua_pushvalue(L, 3);
  lua_replace(L, 1);          /* message handler, handler, message handler, ... */
  lua_remove(L, 3);           /* message handler, handler, ... */
  uint64_t before = enter(L, seconds);
  lua_KContext k = (lua_KContext)before;
  int status = lua_pcallk(L, n - 3, LUA_MULTRET, 1, k, called);
  return called(L, status, k);
}

void mg_limit_child(lua_State *L) { leave(L, 0); }

int mg_limit_pause(int on) {
  int before = paused;
  paused = on;
  return before;
}

/* pause_limit(boolean) -> what it was before: meanwhile no limit ends what runs: the library is at work */
static int l_pause_limit(lua_State *L) {
  lua_pushboolean(L, mg_limit_pause(lua_toboolean(L, 1)));
  return 1;
}

/* limited() -> seconds until the limit | nil: there is none. Raises when it is over and not paused. */
static int l_limited(lua_State *L) {
  if (!due) return luaL_pushfail(L), 1;
  check(L, 0);
  uint64_t now = mg_clock_now();
  lua_pushnumber(L, now < next ? (lua_Number)(next - now) / 1e9 : 0);
  return 1;
}

void mg_limit_setup(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"limit", l_limit},         {"unlimit", l_unlimit},   {"call_limited", l_call}, {"limits", l_limits},
      {"limited", l_limited},     {"pause_limit", l_pause_limit}, {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
}
