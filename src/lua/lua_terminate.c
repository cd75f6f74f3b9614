/* lua_terminate.c - SIGTERM while a run is open: a request to end in good order.  Under the command line Ctrl-C is the
 * same (lua_signal.c, which asks by mg_term_ask); what is said of SIGTERM here holds for it, but for the second one.
 *
 * The handler only notes it and wakes the coordinator, which stops its producers, finishes what is inside, and then
 * dies of the signal (terminate.lua).  It is there only while a run is open, and only where the program has left
 * SIGTERM at its default.  A second one ends the process at once, children first; so do two times that pass: the run's
 * grace, and UNHEARD where no code moves the run.  One that comes within AGAIN is the same request: `timeout`, for one,
 * signals the program and then its group.
 *
 * From the first one on a ticker looks at these times.  It has a signal of its own, SIGURG, which does no harm: a
 * second SIGTERM that comes while another is pending is lost.  It also interrupts a producer that blocks, in a read of
 * a pipe say, again and again, as a tick may come just before the call.  Everything else goes on undisturbed
 * (SA_RESTART), also a producer whose items go straight to stages of the coordinator: these run within its emit.
 */
#include <errno.h>
#include <string.h>

#include "core/pool.h"
#include "core/screen.h"
#include "lua_mg.h"

enum { TICK_MS = 50 };
#define AGAIN 200000000u     /* ns */
#define UNHEARD 5000000000u  /* ns */
#define MARGIN 1000000000u   /* ns beyond the run's grace, in which the coordinator ends it itself */

static unsigned owner; /* the process that all this is of */
static int opened, installed;
static uint64_t grace; /* ns; 0: no limit */
static volatile sig_atomic_t requested; /* the signal that has come; 0: none */
static volatile sig_atomic_t heard, driving, in_source, interrupting, interrupted, ticks;
static volatile uint64_t since;

static void handle(int sig, void (*handler)(int), int flags) {
  struct sigaction sa;
  memset(&sa, 0, sizeof sa);
  sa.sa_handler = handler;
  sa.sa_flags = flags;
  sigemptyset(&sa.sa_mask);
  mg_sys.signal_action(sig, &sa, NULL);
}

static _Noreturn void die(int sig) {
  sigset_t mask;
  mg_screen_end();
  mg_sys.handle_signal(sig, SIG_DFL);
  mg_sys.raise(sig);
  mg_sys.block_signals(&mask);
  sigdelset(&mask, sig);
  mg_sys.set_signals(&mask);
  mg_exit_now(128 + sig); /* process 1, which no default action ends */
}

static _Noreturn void end_at_once(int sig) {
  mg_pool_kill_all();
  die(sig);
}

static void on_tick(int sig) {
  int saved = errno;
  if (owner != mg_process_serial || !requested) return;
  uint64_t passed = (uint64_t)++ticks * TICK_MS * 1000000; /* a stop of the process does not count */
  if (grace && passed > grace + MARGIN) end_at_once(requested);
  if (!heard && !driving && passed > UNHEARD) end_at_once(requested);
  if (!in_source) mg_proc_ignored++; /* a sleeper sleeps on */
  if (in_source && interrupting) interrupted = 1;
  else if (in_source) handle(sig, on_tick, 0);
  interrupting = in_source;
  errno = saved;
}

int mg_term_ask(int sig) {
  if (owner != mg_process_serial || (opened == 0 && !requested)) return MG_TERM_NOBODY;
  uint64_t now = mg_now();
  if (requested && now - since > AGAIN) return MG_TERM_SECOND;
  if (!in_source) mg_proc_ignored++;
  if (requested) return MG_TERM_SAME;
  requested = sig;
  since = now;
  if (mg_is_handled_by(SIGURG, SIG_DFL)) {
    handle(SIGURG, on_tick, SA_RESTART);
    mg_sys.ticker_set(TICK_MS);
  }
  mg_pool_wake();
  return MG_TERM_FIRST;
}

static void on_terminate(int sig) {
  int saved = errno;
  if (owner != mg_process_serial) die(sig); /* a copy that the program has forked */
  if (mg_term_ask(sig) == MG_TERM_SECOND) end_at_once(sig);
  errno = saved;
}

/* term_open(grace | nil, asks): a run is open.  grace: seconds from the signal to its end, of the first run that is
 * open; asks: Ctrl-C may ask for its end */
static int l_open(lua_State *L) {
  lua_Number s = luaL_optnumber(L, 1, 0);
  if (owner != mg_process_own()) {
    owner = mg_process_own();
    opened = installed = 0;
    requested = heard = driving = in_source = interrupting = interrupted = 0;
  }
  if (opened++ > 0) return 0;
  grace = s > 0 && s < 1e9 ? (uint64_t)(s * 1e9) : 0;
  int takes = mg_is_handled_by(SIGTERM, SIG_DFL);
  if (!takes && !lua_toboolean(L, 2)) return 0;
  mg_sys.ticker_open(SIGURG); /* where there is none, grace ends a coordinator that looks at its clock */
  if (takes) handle(SIGTERM, on_terminate, SA_RESTART);
  installed = 1;
  return 0;
}

/* term_close([lives]) -> where this was the last open run, the signal that has asked for its end, and the caller dies
 * of it | nil.  lives: it does not; later runs are asked, too.  No handler stays, as this module may be unloaded */
static int l_close(lua_State *L) {
  sigset_t mask;
  if (owner != mg_process_serial || opened == 0) return 0;
  opened--;
  mg_sys.block_signals(&mask);
  int dies = opened == 0 && requested && !lua_toboolean(L, 1);
  if (opened == 0 && installed && !dies) {
    if (mg_is_handled_by(SIGTERM, on_terminate)) mg_sys.handle_signal(SIGTERM, SIG_DFL);
    mg_sys.ticker_close();
    if (mg_is_handled_by(SIGURG, on_tick)) mg_sys.handle_signal(SIGURG, SIG_DFL);
    installed = 0;
  }
  mg_sys.set_signals(&mask);
  if (!dies) return 0;
  lua_pushinteger(L, requested);
  return 1;
}

int mg_term_requested(void) { return requested != 0 && !heard; }

void mg_term_source(int on) { in_source = on; }

/* terminated() -> the signal that asks for the end | nil; the caller sees to it */
static int l_terminated(lua_State *L) {
  if (!requested) return 0;
  heard = 1;
  lua_pushinteger(L, requested);
  return 1;
}

/* term_driving(boolean): whether a run is being moved just now */
static int l_driving(lua_State *L) {
  driving = lua_toboolean(L, 1);
  return 0;
}

/* term_source(boolean) -> whether a producer runs from now on; false: whether a signal has interrupted its call */
static int l_source(lua_State *L) {
  in_source = lua_toboolean(L, 1);
  int was = interrupted;
  if (MG_UNLIKELY(interrupting && !in_source)) {
    handle(SIGURG, on_tick, SA_RESTART);
    interrupting = interrupted = 0;
  }
  lua_pushboolean(L, was);
  return 1;
}

void mg_terminate_setup(lua_State *L) {
  static const luaL_Reg functions[] = {{"term_open", l_open},       {"term_close", l_close},
                                       {"terminated", l_terminated}, {"term_driving", l_driving},
                                       {"term_source", l_source},    {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
