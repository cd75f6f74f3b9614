/* lua_core.c - the module minigun.core: it begins every other file of the binding, and has the functions of no type. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/heap.h"
#include "core/job.h"
#include "core/proc.h"
#include "lua_mg.h"

/* now() -> seconds of the monotonic clock, a float */
static int l_now(lua_State *L) {
  lua_pushnumber(L, (lua_Number)mg_now() / 1e9);
  return 1;
}

/* clock() -> seconds of the clock for deadlines, which stands still while this process is stopped; see clock.h */
static int l_clock(lua_State *L) {
  lua_pushnumber(L, (lua_Number)mg_clock_now() / 1e9);
  return 1;
}

/* watch_stops(on): stops are noticed from now on; false: no more, when that was said as often */
static int l_watch_stops(lua_State *L) {
  if (lua_toboolean(L, 1)) mg_clock_open(), mg_job_open();
  else mg_clock_close(), mg_job_close();
  return 0;
}

/* cpus() -> processors that this process is bound to; its container's quota is not counted (see machine.lua) */
static int l_cpus(lua_State *L) {
  lua_pushinteger(L, mg_sys.cpus());
  return 1;
}

/* terminal(fd) -> columns of the terminal that it is, 0 where they are not known, and whether this process is in its
 * foreground | nil: it is none */
static int l_terminal(lua_State *L) {
  int columns = mg_sys.terminal((int)luaL_checkinteger(L, 1));
  if (columns < 0) return luaL_pushfail(L), 1;
  lua_pushinteger(L, columns);
  lua_pushboolean(L, mg_sys.foreground((int)luaL_checkinteger(L, 1)));
  return 2;
}

/* pid() -> this process's id */
static int l_pid(lua_State *L) {
  lua_pushinteger(L, mg_pid());
  return 1;
}

/* process() -> a number that is another one in every process forked from here; asks memory, not the kernel */
static int l_process(lua_State *L) {
  lua_pushinteger(L, mg_process_own());
  return 1;
}

/* random() -> two integers of the system's randomness, for math.randomseed; where it has none, of clock and process */
static int l_random(lua_State *L) {
  lua_Integer r[2];
  if (mg_sys.random(r, sizeof r) < 0) r[0] = (lua_Integer)mg_now(), r[1] = mg_pid();
  lua_pushinteger(L, r[0]);
  lua_pushinteger(L, r[1]);
  return 2;
}

/* worked() -> seconds of processor time that this thread has used, and how often it has waited */
static int l_worked(lua_State *L) {
  uint64_t waits, ns = mg_worked(&waits);
  lua_pushnumber(L, (lua_Number)ns / 1e9);
  lua_pushinteger(L, (lua_Integer)waits);
  return 2;
}

/* sleep(seconds) -> true, or false when a signal ended it early */
static int l_sleep(lua_State *L) {
  lua_Number s = luaL_checknumber(L, 1);
  luaL_argcheck(L, s >= 0 && s < 1e6, 1, "seconds from 0 to a million expected");
  struct timespec t = {(time_t)s, (long)((s - (lua_Number)(time_t)s) * 1e9)};
  int ignored, rc;
  do {
    ignored = mg_proc_ignored;
    rc = mg_sys.sleep(&t);
  } while (rc == -EINTR && mg_proc_ignored != ignored && !mg_interrupted());
  lua_pushboolean(L, rc == 0);
  return 1;
}

/* heap_settle(), heap_keep(); heap_collapse(from, most) -> where to go on | nil, busy: see heap.h */
static int l_heap_settle(lua_State *L) {
  (void)L;
  mg_heap_settle();
  return 0;
}
static int l_heap_collapse(lua_State *L) {
  int busy;
  uintptr_t next = mg_heap_collapse((uintptr_t)luaL_checkinteger(L, 1), (size_t)luaL_checkinteger(L, 2), &busy);
  if (next) lua_pushinteger(L, (lua_Integer)next);
  else luaL_pushfail(L);
  lua_pushboolean(L, busy);
  return 2;
}
static int l_heap_keep(lua_State *L) {
  (void)L;
  mg_heap_keep();
  return 0;
}

/* fill_standard() -> n: opens the standard descriptors that are closed, so that no other is made under their numbers;
 * fill_standard(n): closes them again */
static int l_fill_standard(lua_State *L) {
  lua_pushinteger(L, mg_sys.fill_standard((int)luaL_optinteger(L, 1, -1)));
  return 1;
}

/* flush() -> true | nil, message, errno: standard output and error of this process; files opened for reading must not
 * be flushed (their position is shared with the coordinator). The fault is one of standard output, now or earlier. */
static int l_flush(lua_State *L) {
  int rc = mg_sys.flush(0);
  if (rc < 0) return mg_lua_fail(L, "cannot write to the standard output", rc);
  lua_pushboolean(L, 1);
  return 1;
}

/* exit(code): ends this process at once: open files are flushed, but neither is the state closed nor are exit handlers
 * run, both of which would move the position of files that are shared with the coordinator */
static int l_exit(lua_State *L) {
  int code = (int)luaL_checkinteger(L, 1);
  mg_sys.flush(1);
  mg_proc_leave(code);
}

/* die_of(signal): ends this process by the signal's default action, as if it had no handler */
static int l_die_of(lua_State *L) {
  int sig = (int)luaL_checkinteger(L, 1);
  mg_sys.flush(0);
  mg_sys.handle_signal(sig, SIG_DFL);
  mg_sys.raise(sig);
  mg_exit_now(128 + sig); /* where the signal is blocked */
}

/* random_state(f, [state]) -> the generator of f, which is this Lua's math.random, as bytes; with state it is set to
 * that.  nil: f has no such generator */
static int l_random_state(lua_State *L) {
  enum { SIZE = 4 * sizeof(uint64_t) };
  size_t n = 0;
  const char *given = luaL_optlstring(L, 2, NULL, &n);
  lua_settop(L, 2);
  if (!lua_iscfunction(L, 1) || !lua_getupvalue(L, 1, 1) || lua_type(L, -1) != LUA_TUSERDATA ||
      lua_rawlen(L, -1) != SIZE) {
    lua_pushnil(L);
    return 1;
  }
  luaL_argcheck(L, !given || n == SIZE, 2, "the state of a generator expected");
  void *state = lua_touserdata(L, -1);
  lua_pushlstring(L, state, SIZE);
  if (given) memcpy(state, given, SIZE);
  return 1;
}

static const luaL_Reg functions[] = {
    {"now", l_now},       {"clock", l_clock},     {"watch_stops", l_watch_stops}, {"cpus", l_cpus},
    {"pid", l_pid},       {"process", l_process}, {"worked", l_worked},
    {"random", l_random}, {"sleep", l_sleep},       {"heap_settle", l_heap_settle}, {"terminal", l_terminal},
    {"flush", l_flush},   {"die_of", l_die_of},   {"heap_collapse", l_heap_collapse},
    {"fill_standard", l_fill_standard},
    {"heap_keep", l_heap_keep}, {"exit", l_exit},
    {"random_state", l_random_state}, {NULL, NULL},
};

MG_EXPORT int luaopen_minigun_core(lua_State *L);
MG_EXPORT int luaopen_minigun_core(lua_State *L) {
  luaL_checkversion(L);
  mg_checking = getenv("MINIGUN_CHECK") != NULL;
  if (mg_proc_open() < 0) return luaL_error(L, "minigun.core: out of memory");
  luaL_newlib(L, functions);
  lua_pushliteral(L, MG_VERSION);
  lua_setfield(L, -2, "version");
  mg_codec_open(L);
  mg_pool_setup(L);
  mg_ledger_setup(L);
  mg_worker_setup(L);
  mg_writer_setup(L);
  mg_alloc_setup(L);
  mg_signal_setup(L);
  mg_spool_setup(L);
  mg_poll_setup(L);
  mg_process_setup(L);
  mg_lines_setup(L);
  mg_source_setup(L);
  mg_feed_setup(L);
  mg_threads_setup(L);
  mg_command_setup(L);
  mg_limit_setup(L);
  mg_terminate_setup(L);
  mg_protocol_setup(L);
  mg_server_setup(L);
  mg_connection_setup(L);
  mg_board_setup(L);
  mg_accept_setup(L);
  mg_screen_setup(L);
  mg_channel_setup(L);
  mg_service_setup(L);
  mg_cursor_setup(L);
  mg_chain_setup(L);
#ifdef MG_FAULTS
  mg_faults_setup(L);
#endif
  return 1;
}
