/* lua_round.c - the rounds of a run while its producer waits for receivers, without Lua between them: what workers have
 * committed is taken, plain stages of the coordinator are run, work and blocks are handed out, and the producer goes on
 * as soon as there is room.  Whatever else comes (a report, a failure, a death, a signal, a stage that is not plain, a
 * time) ends it, and the run's own round sees to it (lua/minigun/run/loop.lua).
 */
#include <errno.h>
#include <string.h>

#include "core/clock.h"
#include "core/wait.h"
#include "lua_cursor.h"
#include "lua_ledger.h"

/* Time in stages of the coordinator, before workers are looked after. */
enum { OWN_NS = 500000 };

/* Arguments of l:among, and what is above them. */
enum { AT_LEDGER = 1, AT_THREAD, AT_ANSWER, AT_CHAIN, AT_REENTRY, AT_UNTIL, AT_CURSOR, AT_PUSH, AT_TOP = AT_PUSH };

static int go_on(lua_State *L, lua_ledger *own);

static void set_until(lua_ledger *own, lua_Number seconds) {
  own->until = seconds < 0 ? 0 : seconds > 1e9 ? UINT64_MAX : (uint64_t)(seconds * 1e9);
}

static void set_in_handler(lua_State *L, int on) {
  lua_pushboolean(L, on);
  lua_setfield(L, AT_REENTRY, "in_handler");
}

/* --- the producer ------------------------------------------------------------------------------------------------- */

/* Whether that is what a producer has yielded in Lua. */
static int is_park(lua_State *co, int n) {
  return n == 1 && lua_type(co, -1) == LUA_TSTRING && strcmp(lua_tostring(co, -1), MG_PARK) == 0;
}

/* Lets the producer go on, with `args` values on its stack.  1: it waits for receivers again; 0: it has yielded
 * something else, has ended, or raised: what coroutine.resume would give is on top. */
static int resume(lua_State *L, lua_ledger *own, int args) {
  lua_State *co = lua_tothread(L, AT_THREAD);
  int n = 0;
  uint64_t began = mg_now();
  mg_guard_swap(co);
  mg_term_source(own->alone);
  own->producer = co;
  own->parked = 0;
  int status = lua_resume(co, L, args, &n);
  own->producer = NULL;
  own->L = L;
  mg_term_source(0);
  mg_guard_swap(L);
  uint64_t took = mg_now() - began;
  own->spent += took;
  if (took > own->longest) own->longest = took;
  if (status == LUA_YIELD && (own->parked || is_park(co, n))) {
    lua_pop(co, n);
    return 1;
  }
  lua_pushboolean(L, status == LUA_OK || status == LUA_YIELD);
  if (status != LUA_OK && status != LUA_YIELD) n = 1;
  if (n > 2) lua_pop(co, n - 2);
  n = n > 2 ? 2 : n;
  lua_xmove(co, L, n);
  lua_settop(L, AT_TOP + 3);
  return 0;
}

/* What l:among returns: what is above AT_TOP, or that the producer waits; and how it has been. */
static int give_back(lua_State *L, const lua_ledger *own) {
  if (lua_gettop(L) == AT_TOP) {
    lua_pushboolean(L, 1);
    lua_pushliteral(L, MG_PARK);
    lua_pushnil(L);
  }
  lua_pushnumber(L, (lua_Number)own->spent / 1e9);
  lua_pushnumber(L, (lua_Number)own->longest / 1e9);
  lua_pushboolean(L, own->wanted);
  return 6;
}

/* --- the coordinator's own stages ------------------------------------------------------------------------------- */

/* All items of the work in hand have been through; how many there were is on top. */
static void fed(lua_State *L, lua_ledger *own, uint32_t w) {
  lua_Integer n = lua_tointeger(L, -1);
  const mg_work *work = &own->l.work[w];
  own->L = L; /* a handler may have emitted in a coroutine */
  lua_settop(L, AT_TOP);
  set_in_handler(L, 0);
  if (MG_UNLIKELY(n != work->range.count)) {
    own->found = n; /* it stays in hand: the run fails */
    own->ill = w;
    return;
  }
  mg_ledger_done_own(&own->l, w);
}

static int fed_later(lua_State *L, int status, lua_KContext w) {
  lua_ledger *own = lua_touserdata(L, AT_LEDGER);
  (void)status;
  fed(L, own, (uint32_t)w);
  return go_on(L, own);
}

/* Runs the oldest work of the coordinator's own stages: 1, or 0: there is none that is plain. */
static int feed(lua_State *L, lua_ledger *own) {
  mg_ledger *l = &own->l;
  uint32_t w = mg_ledger_oldest_own(l), taken;
  if (w == MG_NO_WORK || !l->stage[l->work[w].stage].plain || l->work[w].range.block == MG_NO_BLOCK) return 0;
  if (l->work[w].range.edge != MG_EDGE_ANY && l->work[w].range.edge & MG_EDGE_PIECE) return 0;
  mg_ledger_passed(L, l, mg_ledger_take_own(l, l->work[w].stage, 0, &taken));
  const mg_range *r = &l->work[taken].range;
  mg_cursor *c = lua_touserdata(L, AT_CURSOR);
  *c = (mg_cursor){l->pool, mg_codec_get(L), r->block, r->offset, r->offset + r->length, r->edge, r->offset};
  set_in_handler(L, 1);
  lua_pushvalue(L, AT_PUSH);
  lua_pushvalue(L, AT_CHAIN);
  lua_pushinteger(L, l->work[taken].stage);
  lua_pushvalue(L, AT_CURSOR);
  lua_callk(L, 3, 1, taken, fed_later);
  fed(L, own, taken);
  return 1;
}

/* --- a round ------------------------------------------------------------------------------------------------------ */

/* Whether the run itself is to see to something: a torn ledger, too, which ends it. */
static int is_wanted(const lua_ledger *own) {
  return own->held || own->ill || own->l.changed || own->l.torn || mg_interrupted() ||
         mg_term_requested() || mg_now() >= own->until;
}

/* Takes what workers have said.  1: there was anything. */
static int collect(lua_State *L, lua_ledger *own) {
  mg_ledger *l = &own->l;
  int busy = 0;
  mg_ledger_passed(L, l, mg_pool_collect(l->pool));
  own->held = mg_lua_collect(L, own, &own->event, &busy);
  return busy;
}

/* Hands out work and blocks.  1: some was; -1: a process has to be forked for it first, or a block is damaged. */
static int hand_out(lua_State *L, lua_ledger *own) {
  mg_ledger *l = &own->l;
  int did = 0;
  for (uint32_t i = 0; i < l->places; i++) {
    mg_place *p = &l->place[i];
    if (p->seats == 0) continue;
    int rc = mg_ledger_dispatch(l, p);
    if (rc == -EPROTO) return -1;
    if (mg_ledger_passed(L, l, rc) & MG_SPAWN) {
      mg_ledger_push(l, l->spawn_work, 1);
      return -1;
    }
    did |= rc;
    mg_ledger_passed(L, l, p->lacking ? mg_ledger_supply(l, p) : 0);
  }
  return did;
}

/* One round: 1: something has moved; 0: nothing can; -1: the run itself is to see to something. */
static int turn(lua_State *L, lua_ledger *own) {
  mg_ledger *l = &own->l;
  int busy = collect(L, own);
  uint64_t began = l->place[l->own].works ? mg_now() : 0;
  while (!is_wanted(own) && feed(L, own)) {
    busy = 1;
    if (mg_now() - began > OWN_NS) break;
  }
  if (is_wanted(own)) return -1;
  mg_flush_wanted(L, own);
  int handed = hand_out(L, own);
  if (MG_UNLIKELY(mg_checking)) mg_ledger_check(l);
  if (handed < 0 || (l->place[l->own].works && !busy)) return -1;
  return busy | handed;
}

/* Sleeps until something happens or falls due.  0: nothing can be counted on to happen, or a signal has come. */
static int sleep_on(lua_ledger *own) {
  mg_ledger *l = &own->l;
  uint64_t due = own->until, now = mg_now();
  int wakes = 0;
  for (uint32_t i = 0; i < l->places; i++) {
    wakes |= mg_ledger_wakes(l, &l->place[i]);
    if (l->place[i].look_at && l->place[i].look_at < due) due = l->place[i].look_at;
  }
  if (!wakes) return 0;
  int64_t ns = -1;
  if (due != UINT64_MAX) ns = due <= now ? 0 : due - now > MG_CLOCK_BEAT ? MG_CLOCK_BEAT : (int64_t)(due - now);
  own->wanted = mg_pool_wait(l->pool, ns) < 0; /* the run's own wait says what it is */
  return !own->wanted;
}

/* The producer waits, and rounds are gone through until it does something else, or the run has to see to something. */
static int go_on(lua_State *L, lua_ledger *own) {
  for (;;) {
    int rc = turn(L, own);
    own->wanted = rc < 0;
    if (rc < 0) break;
    if (!mg_ledger_must_wait(&own->l, own->stage)) {
      if (!resume(L, own, 0)) break;
    } else if (rc == 0 && !sleep_on(own)) {
      break;
    }
  }
  return give_back(L, own);
}

/* l:among(thread, answer, chain, reentry, until, stage, alone) -> what coroutine.resume(thread, answer) gives when the
 * producer of a stage does something else than to wait for receivers, or true, "minigun.park"; seconds that it has run,
 * and the most at one time; whether the run itself has something to see to.  chain: of the coordinator's own stages
 * (lua_chain.c); until: a time of the monotonic clock; alone: what it emits goes to other processes */
static int l_among(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  lua_ledger *own = (lua_ledger *)(void *)l;
  luaL_checktype(L, AT_THREAD, LUA_TTHREAD);
  luaL_checktype(L, AT_REENTRY, LUA_TTABLE);
  lua_Number until = luaL_checknumber(L, AT_UNTIL);
  set_until(own, until);
  own->stage = mg_check_stage(L, l, 7);
  own->alone = lua_toboolean(L, 8);
  luaL_argcheck(L, l->pool, 1, "it has no pool");
  own->spent = own->longest = 0;
  own->wanted = 0;
  lua_settop(L, AT_UNTIL);
  if (lua_getiuservalue(L, 1, MG_UV_CURSOR) == LUA_TNIL) {
    lua_pop(L, 1);
    mg_cursor *c = lua_newuserdatauv(L, sizeof *c, 1);
    *c = (mg_cursor){.pool = l->pool, .block = MG_NO_BLOCK};
    luaL_setmetatable(L, MG_CURSOR_TYPE);
    lua_getiuservalue(L, 1, MG_UV_POOL);
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, MG_UV_CURSOR);
  }
  lua_getfield(L, AT_CHAIN, "push_all");
  lua_State *co = lua_tothread(L, AT_THREAD);
  if (!lua_checkstack(co, 1)) return luaL_error(L, "stack overflow");
  lua_pushvalue(L, AT_ANSWER);
  lua_xmove(L, co, 1);
  if (!resume(L, own, 1)) return give_back(L, own);
  return go_on(L, own);
}

/* --- of a run that stands --------------------------------------------------------------------------------------- */

/* l:await(until, spins, sleeps) -> whether an answer has ended (lua_answer.c); false: there was nothing to wait for, or
 * the run itself has to see to something, which the second result says.  until: a time of the monotonic clock, when it
 * has to in any case. */
static int l_await(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  lua_ledger *own = (lua_ledger *)(void *)l;
  int spins = lua_toboolean(L, 3), sleeps = lua_toboolean(L, 4), moved = 0;
  set_until(own, luaL_checknumber(L, 2));
  luaL_argcheck(L, l->pool, 1, "it has no pool");
  own->ended = 0;
  do {
    moved = own->held || l->torn ? 0 : collect(L, own); /* what is held comes first */
    own->wanted = is_wanted(own) || l->place[l->own].works > 0;
    if (own->wanted) break;
    int handed = hand_out(L, own);
    own->wanted = handed < 0;
    moved |= handed;
    if (MG_UNLIKELY(mg_checking)) mg_ledger_check(l);
  } while (!own->wanted && !own->ended &&
           ((moved && spins) || (spins && mg_pool_spin(l->pool)) || (sleeps && sleep_on(own))));
  lua_pushboolean(L, own->ended);
  lua_pushboolean(L, own->wanted);
  return 2;
}

const luaL_Reg mg_round_methods[] = {{"among", l_among}, {"await", l_await}, {NULL, NULL}};
