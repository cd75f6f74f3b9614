/* lua_signal.c - userdata minigun.guard: Ctrl-C while a coroutine runs.
 *
 * lua5.4's handler of SIGINT sets a hook, which raises "interrupted!", on the main thread only: a producer that
 * computes in its coroutine would never see it.  While a guard is open a handler stands before that one.  It calls
 * it, and if a hook has then been set on the main thread it sets the same on the coroutine that runs: lua_sethook is
 * made for that. A program without a handler of its own keeps what it has, and at the last guard's end the old
 * handler is back, unless somebody has changed it meanwhile (lua5.4's does: a second Ctrl-C ends the process).
 */
#include <errno.h>
#include <string.h>

#include "lua_mg.h"

#define MG_GUARD_TYPE "minigun.guard"

typedef struct guard {
  lua_State *main, *current; /* the thread that runs at present; it lives longer than it is named here */
  struct guard *below;       /* opened before */
  int open;
} guard;

static guard *volatile top;
static struct sigaction before;
static int installed;

static void on_interrupt(int sig, siginfo_t *info, void *context) {
  int saved = errno;
  guard *g = top;
  lua_Hook old = g ? lua_gethook(g->main) : NULL;
  if (before.sa_flags & SA_SIGINFO) before.sa_sigaction(sig, info, context);
  else before.sa_handler(sig);
  lua_Hook hook = g ? lua_gethook(g->main) : NULL;
  if (hook && hook != old && g->current != g->main)
    lua_sethook(g->current, hook, lua_gethookmask(g->main), lua_gethookcount(g->main));
  mg_pool_wake(); /* it may be about to sleep, and would notice the hook at its next event only */
  errno = saved;
}

static int is_ours(const struct sigaction *sa) {
  return (sa->sa_flags & SA_SIGINFO) && sa->sa_sigaction == on_interrupt;
}

static void install(void) {
  if (mg_sys.signal_action(SIGINT, NULL, &before) < 0 || is_ours(&before)) return;
  if (!(before.sa_flags & SA_SIGINFO) && (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN)) return;
  struct sigaction ours = before;
  ours.sa_flags |= SA_SIGINFO;
  ours.sa_sigaction = on_interrupt;
  installed = mg_sys.signal_action(SIGINT, &ours, NULL) == 0;
}

static void restore(void) {
  struct sigaction now;
  if (installed && mg_sys.signal_action(SIGINT, NULL, &now) == 0 && is_ours(&now))
    mg_sys.signal_action(SIGINT, &before, NULL);
  installed = 0;
}

/* guard() -> guard, open until g:close(), its end as a to-be-closed variable, or its collection */
static int l_guard(lua_State *L) {
  sigset_t mask;
  guard *g = lua_newuserdatauv(L, sizeof *g, 1);
  memset(g, 0, sizeof *g);
  luaL_setmetatable(L, MG_GUARD_TYPE);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  g->main = lua_tothread(L, -1);
  lua_pop(L, 1);
  g->current = L;
  g->open = 1;
  mg_sys.block_signals(&mask);
  g->below = top;
  top = g;
  if (!installed) install();
  mg_sys.set_signals(&mask);
  return 1;
}

/* g:close(); may be called twice */
static int l_close(lua_State *L) {
  guard *g = luaL_checkudata(L, 1, MG_GUARD_TYPE);
  sigset_t mask;
  if (!g->open) return 0;
  g->open = 0;
  mg_sys.block_signals(&mask);
  if (top == g) top = g->below;
  else
    for (guard *at = top; at; at = at->below)
      if (at->below == g) {
        at->below = g->below;
        break;
      }
  if (!top) restore();
  mg_sys.set_signals(&mask);
  return 0;
}

/* g:watch(thread): the coroutine that is about to run; without one: the caller's own runs again */
static int l_watch(lua_State *L) {
  guard *g = luaL_checkudata(L, 1, MG_GUARD_TYPE);
  lua_State *thread = lua_tothread(L, 2);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, 1); /* keeps it */
  g->current = thread ? thread : L;
  return 0;
}

static const luaL_Reg methods[] = {
    {"watch", l_watch}, {"close", l_close}, {"__gc", l_close}, {"__close", l_close}, {NULL, NULL},
};

void mg_signal_setup(lua_State *L) {
  luaL_newmetatable(L, MG_GUARD_TYPE);
  luaL_setfuncs(L, methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_pushcfunction(L, l_guard);
  lua_setfield(L, -2, "guard");
}
