/* lua_signal.c - userdata minigun.guard: Ctrl-C while a run goes on.
 *
 * lua5.4's handler of SIGINT sets a hook, which raises "interrupted!", on the main thread only, and takes itself away.
 * While a guard is open a handler stands before that one.
 *
 * 1. It calls it, and if a hook has then been set on the main thread it sets the same on the coroutine that runs, where
 *    a producer may compute: lua_sethook is made for that.
 * 2. A handler that has taken itself away is the interpreter's: then the run is to end.  That is noted here
 *    (`interrupted`), as the error may be caught by a user's pcall on its way, and as any error can have its text.
 * 3. A second Ctrl-C shortly after that is let pass: the run is about to end, which must not be torn.  A later one ends
 *    the process, as everywhere in Lua: something does not heed the first.
 *
 * Under the command line the first Ctrl-C only asks the open runs to end in good order, and says so (interrupt_asks,
 * lua_terminate.c); all this is of the second one.  The handler stands there as long as a run is open.
 *
 * A program without a handler of its own keeps what it has, and so does one with another handler than the
 * interpreter's: what that does is its own business.  At the last guard's end the old handler is back, or, after an
 * interrupt, the default action, as the interpreter leaves it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/pool.h"
#include "lua_mg.h"

#define MG_GUARD_TYPE "minigun.guard"

typedef struct guard {
  lua_State *main, *current; /* the thread that runs at present; it lives longer than it is named here */
  struct guard *below;       /* opened before */
  int open;
} guard;

static guard *volatile top;
static struct sigaction before, ours;
static int installed;
static volatile sig_atomic_t interrupted; /* see 2 */
static volatile uint64_t first_at, last_at; /* of the first Ctrl-C that was noted, and of the last that has come */

enum { SHORTLY_NS = 1000000000 }; /* see 3 */

/* Ctrl-C asks: what it says, the handler that is the interpreter's, the process that asks; held: a run is open. */
static char asks[160];
static void (*volatile interpreters)(int);
static unsigned asker;
static int held;

static int is_default(const struct sigaction *sa) {
  return !(sa->sa_flags & SA_SIGINFO) && sa->sa_handler == SIG_DFL;
}

static void call_before(int sig, siginfo_t *info, void *context) {
  guard *g = top;
  struct sigaction now;
  lua_Hook old = g ? lua_gethook(g->main) : NULL;
  if (before.sa_flags & SA_SIGINFO) before.sa_sigaction(sig, info, context);
  else before.sa_handler(sig);
  lua_Hook hook = g ? lua_gethook(g->main) : NULL;
  if (!hook || hook == old) return;
  if (g->current != g->main)
    lua_sethook(g->current, hook, lua_gethookmask(g->main), lua_gethookcount(g->main));
  if (mg_sys.signal_action(SIGINT, NULL, &now) < 0 || !is_default(&now)) return;
  mg_sys.signal_action(SIGINT, &ours, NULL);
  first_at = mg_now();
  interrupted = 1;
}

/* Whether this Ctrl-C is no more than a request. */
static int is_request(int sig) {
  if (asker != mg_process_serial || interrupted || before.sa_handler != interpreters) return 0;
  int came = mg_term_ask(sig);
  struct pollfd ready = {2, POLLOUT, 0};
  if (came == MG_TERM_FIRST && mg_sys.poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT)) /* it must not wait here */
    mg_sys.write(2, asks, strlen(asks));
  return came == MG_TERM_FIRST || came == MG_TERM_SAME;
}

static void on_interrupt(int sig, siginfo_t *info, void *context) {
  int saved = errno;
  if (is_request(sig)) {
    errno = saved;
    return;
  }
  last_at = mg_now();
  if (!interrupted) {
    call_before(sig, info, context);
  } else if (last_at - first_at > SHORTLY_NS) {
    mg_sys.handle_signal(sig, SIG_DFL);
    mg_sys.raise(sig); /* blocked while this runs: it comes when this returns */
  }
  mg_pool_wake(); /* it may be about to sleep, and would notice the hook at its next event only */
  errno = saved;
}

static int is_ours(const struct sigaction *sa) {
  return (sa->sa_flags & SA_SIGINFO) && sa->sa_sigaction == on_interrupt;
}

static void install(void) {
  if (mg_sys.signal_action(SIGINT, NULL, &before) < 0 || is_ours(&before)) return;
  if (is_default(&before) || (!(before.sa_flags & SA_SIGINFO) && before.sa_handler == SIG_IGN)) return;
  ours = before;
  ours.sa_flags |= SA_SIGINFO;
  ours.sa_sigaction = on_interrupt;
  installed = mg_sys.signal_action(SIGINT, &ours, NULL) == 0;
}

static void restore(void) {
  struct sigaction now;
  if (top || (held && !interrupted)) return;
  if (installed && mg_sys.signal_action(SIGINT, NULL, &now) == 0 && is_ours(&now)) {
    if (interrupted) mg_sys.handle_signal(SIGINT, SIG_DFL);
    else mg_sys.signal_action(SIGINT, &before, NULL);
  }
  installed = 0;
  interrupted = 0;
}

int mg_interrupted(void) { return interrupted; }

void mg_guard_swap(lua_State *current) {
  if (top) top->current = current;
}

/* interrupted() -> seconds since the last Ctrl-C, where one is to end the run | nil */
static int l_interrupted(lua_State *L) {
  if (MG_LIKELY(!interrupted)) return 0;
  lua_pushnumber(L, (lua_Number)(mg_now() - last_at) / 1e9);
  return 1;
}

/* interrupt_asks(text): from now on the first Ctrl-C asks this process's runs to end in good order, and says the text,
 * where SIGINT is handled then as it is now */
static int l_asks(lua_State *L) {
  struct sigaction now;
  snprintf(asks, sizeof asks, "%s", luaL_checkstring(L, 1));
  if (mg_sys.signal_action(SIGINT, NULL, &now) < 0 || is_default(&now) || now.sa_handler == SIG_IGN) return 0;
  interpreters = now.sa_handler;
  asker = mg_process_own();
  return 0;
}

/* interrupt_hold(boolean) -> whether Ctrl-C asks; if so it does from now on where no guard is open, too */
static int l_hold(lua_State *L) {
  sigset_t mask;
  mg_sys.block_signals(&mask);
  held = lua_toboolean(L, 1) && asker == mg_process_serial;
  if (held && !installed) install();
  else if (!held) restore();
  mg_sys.set_signals(&mask);
  lua_pushboolean(L, held);
  return 1;
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
  restore();
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
  mg_method_type(L, MG_GUARD_TYPE, methods);
  lua_pushcfunction(L, l_guard);
  lua_setfield(L, -2, "guard");
  lua_pushcfunction(L, l_asks);
  lua_setfield(L, -2, "interrupt_asks");
  lua_pushcfunction(L, l_hold);
  lua_setfield(L, -2, "interrupt_hold");
  lua_pushcfunction(L, l_interrupted);
  lua_setfield(L, -2, "interrupted");
}
