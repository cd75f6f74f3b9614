/* lua_process.c - userdata minigun.process: a process that an event loop watches (lua/minigun/loops/), and the fork of
 * one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/pool.h"
#include "core/proc.h"
#include "core/signals.h"
#include "lua_mg.h"

#define MG_PROCESS_TYPE "minigun.process"

typedef struct process {
  struct process *next; /* in the list of this process's */
  mg_proc proc;         /* of pid 0: it has ended, or was closed */
  unsigned serial;      /* of the process that watches it */
} process;

static process *processes;

static process *check_process(lua_State *L) {
  process *p = luaL_checkudata(L, 1, MG_PROCESS_TYPE);
  if (p->serial != mg_process_serial) luaL_argerror(L, 1, "it is watched by another process");
  return p;
}

static process *push_process(lua_State *L) {
  process *p = lua_newuserdatauv(L, sizeof *p, 0);
  *p = (process){.proc = {.watch = -1}, .serial = mg_process_own()};
  luaL_setmetatable(L, MG_PROCESS_TYPE);
  p->next = processes;
  processes = p;
  return p;
}

static void unlink_process(process *p) {
  for (process **at = &processes; *at; at = &(*at)->next)
    if (*at == p) {
      *at = p->next;
      return;
    }
}

/* Nothing of the parent's loops, pools and programs is open any more.  Before any Lua: a finalizer of another library's
 * loop would take descriptors out of an epoll that is the parent's too. */
static void leave_parent(void) {
  for (; processes; processes = processes->next) mg_proc_forget(&processes->proc);
  mg_pool_child();
  mg_pollers_child();
  mg_signals_child();
  int rc = mg_sys.renew_epolls(NULL, 0);
  if (rc == 0) return;
  mg_sys.complain("a forked process cannot leave its parent's event loops", strerror(-rc));
  mg_proc_leave(EXIT_FAILURE);
}

/* fork(f, ...) -> process, pid | nil, message, errno.  In the child: f(...), then it ends with the integer that f
 * returns, or 0.  It has no descriptor of its parent's loops and pools, and default signals. */
static int l_fork(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  process *p = push_process(L);
  lua_insert(L, 1);
  int pid = mg_proc_fork(&p->proc);
  if (pid == 0) {
    leave_parent();
    mg_run_child(L, lua_gettop(L) - 2, "a forked process failed");
  }
  if (pid < 0) return mg_lua_fail(L, "cannot fork", pid);
  lua_settop(L, 1);
  lua_pushinteger(L, pid);
  return 2;
}

/* watch_process(pid) -> process | nil, message, errno */
static int l_watch(lua_State *L) {
  lua_Integer pid = luaL_checkinteger(L, 1);
  luaL_argcheck(L, pid >= 1 && pid <= INT32_MAX, 1, "the number of a process expected");
  process *p = push_process(L);
  int rc = mg_proc_watch(&p->proc, (pid_t)pid);
  return rc < 0 ? mg_lua_fail(L, "cannot watch a process", rc) : 1;
}

/* p:fd() -> the descriptor that is readable when it has ended | nil, and whether p:reap() has to be called now and then
 * besides */
static int l_fd(lua_State *L) {
  process *p = check_process(L);
  if (p->proc.watch >= 0) lua_pushinteger(L, p->proc.watch);
  else luaL_pushfail(L);
  lua_pushboolean(L, p->proc.watch < 0 || p->proc.is_pipe);
  return 2;
}

/* p:reap() -> false: it lives | true, code | nil, signal | nil, core, max_rss (bytes) | nil, cpu (seconds) | nil.  Once
 * after it has ended */
static int l_reap(lua_State *L) {
  process *p = check_process(L);
  luaL_argcheck(L, p->proc.pid > 0, 1, "it has ended, as was reported");
  mg_exit how;
  int rc = mg_proc_reap(&p->proc, &how);
  if (rc < 0) return mg_lua_fail(L, "cannot wait for a process", rc);
  lua_pushboolean(L, rc);
  if (rc == 0) return 1;
  p->proc.pid = 0;
  if (how.known && how.signal == 0) lua_pushinteger(L, how.code);
  else luaL_pushfail(L);
  if (how.signal) lua_pushinteger(L, how.signal);
  else luaL_pushfail(L);
  lua_pushboolean(L, how.core);
  if (how.max_rss) lua_pushinteger(L, (lua_Integer)how.max_rss);
  else luaL_pushfail(L);
  if (how.max_rss) lua_pushnumber(L, (lua_Number)how.cpu / 1e9);
  else luaL_pushfail(L);
  return 6;
}

/* p:close(): it is not watched any more, and stays to be waited for; may be called twice */
static int l_close(lua_State *L) {
  process *p = luaL_checkudata(L, 1, MG_PROCESS_TYPE);
  unlink_process(p);
  if (p->serial == mg_process_serial) mg_proc_forget(&p->proc);
  p->proc.watch = -1;
  return 0;
}

/* luv_forked(path, step) -> true | nil, message.  In a child: step 1 renews what luv's loop shares with the parent's,
 * step 2 gives luv a new loop.  path: of the library that is loaded */
static int l_luv_forked(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  void *(*get)(lua_State *) = (void *(*)(lua_State *))(uintptr_t)mg_sys.symbol(path, "luv_loop");
  void (*set)(lua_State *, void *) = (void (*)(lua_State *, void *))(uintptr_t)mg_sys.symbol(path, "luv_set_loop");
  int (*forked)(void *) = (int (*)(void *))(uintptr_t)mg_sys.symbol(path, "uv_loop_fork");
  int (*init)(void *) = (int (*)(void *))(uintptr_t)mg_sys.symbol(path, "uv_loop_init");
  size_t (*size)(void) = (size_t(*)(void))(uintptr_t)mg_sys.symbol(path, "uv_loop_size");
  if (!get || !set || !forked || !init || !size) {
    luaL_pushfail(L);
    lua_pushliteral(L, "this luv does not give away its loop (luv_loop, luv_set_loop, uv_loop_fork)");
    return 2;
  }
  void *old = get(L);
  if (luaL_checkinteger(L, 2) == 1) {
    int rc = forked(old);
    if (rc < 0) return mg_lua_fail(L, "libuv cannot renew its loop", rc);
  } else {
    void *fresh = calloc(1, size()); /* as long as the process: its handles may be collected at any time */
    int rc = fresh ? init(fresh) : -ENOMEM;
    if (rc < 0) return free(fresh), mg_lua_fail(L, "libuv cannot make a loop", rc);
    *(void **)fresh = *(void **)old; /* uv_loop_t begins with `data`, where luv has its state */
    set(L, fresh);
  }
  lua_pushboolean(L, 1);
  return 1;
}

/* restrict(memory | nil, nice | nil, cpu | nil) -> true | nil, message, errno: from now on this process may have so
 * many bytes more of its own, steps back so much for others, and runs on the cpu-th, from 1, of the processors that it
 * may use */
static int l_restrict(lua_State *L) {
  lua_Integer memory = luaL_optinteger(L, 1, 0), nice = luaL_optinteger(L, 2, 0), cpu = luaL_optinteger(L, 3, 0);
  luaL_argcheck(L, memory >= 0, 1, "bytes expected");
  luaL_argcheck(L, nice >= 0 && nice < 40, 2, "0 to 39 expected");
  luaL_argcheck(L, cpu >= 0 && cpu < 1 << 16, 3, "the number of a processor expected");
  int rc = memory ? mg_sys.limit_memory((uint64_t)memory) : 0;
  if (rc < 0) return mg_lua_fail(L, "cannot limit a worker's memory", rc);
  if (nice) rc = mg_sys.be_nice((int)nice);
  if (rc < 0) return mg_lua_fail(L, "a worker cannot step back for others", rc);
  if (cpu) rc = mg_sys.bind_cpu((unsigned)(cpu - 1));
  if (rc < 0) return mg_lua_fail(L, "a worker cannot be bound to a processor", rc);
  lua_pushboolean(L, 1);
  return 1;
}

static const luaL_Reg methods[] = {
    {"fd", l_fd}, {"reap", l_reap}, {"close", l_close}, {"__gc", l_close}, {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"fork", l_fork}, {"watch_process", l_watch}, {"luv_forked", l_luv_forked},
    {"restrict", l_restrict}, {NULL, NULL},
};

#define SIGNAL(name) {#name, SIG##name}
static const struct { const char *name; int number; } signals[] = {
    SIGNAL(HUP),  SIGNAL(INT),  SIGNAL(QUIT),   SIGNAL(ILL),  SIGNAL(TRAP), SIGNAL(ABRT), SIGNAL(BUS),    SIGNAL(FPE),
    SIGNAL(KILL), SIGNAL(USR1), SIGNAL(SEGV),   SIGNAL(USR2), SIGNAL(PIPE), SIGNAL(ALRM), SIGNAL(TERM),   SIGNAL(CHLD),
    SIGNAL(CONT), SIGNAL(STOP), SIGNAL(TSTP),   SIGNAL(TTIN), SIGNAL(TTOU), SIGNAL(URG),  SIGNAL(XCPU),   SIGNAL(XFSZ),
    SIGNAL(PROF), SIGNAL(SYS),  SIGNAL(VTALRM), SIGNAL(IO),   SIGNAL(PWR),  SIGNAL(WINCH),
};

/* signal_numbers: from a signal's name without "SIG" to its number here */
void mg_process_setup(lua_State *L) {
  mg_method_type(L, MG_PROCESS_TYPE, methods);
  luaL_setfuncs(L, functions, 0);
  lua_newtable(L);
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
    lua_pushinteger(L, signals[i].number);
    lua_setfield(L, -2, signals[i].name);
  }
  lua_setfield(L, -2, "signal_numbers");
}
