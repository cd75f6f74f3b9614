/* lua_ledger.c - userdata minigun.ledger: every item of a run, and the place where it is (core/ledger.h has the
 * contracts).  Here is what it is made of and what it counts; lua_work.c has its work, lua_place.c places and workers.
 *
 * Stages are numbered as in the plan, places by l:add_place, workers by their slots, work by the ledger.  What belongs
 * to a piece of work and is a Lua value (the item itself, what it has come of) lies in tables under its number, which
 * are user values here: see l:keep.
 */
#include "lua_ledger.h"

#include <errno.h>
#include <string.h>

/* --- making one ------------------------------------------------------------------------------------------------- */

/* ledger(stages, places) -> ledger of so many stages and at most so many places */
static int l_ledger(lua_State *L) {
  uint32_t stages = mg_check_u32(L, 1), places = mg_check_u32(L, 2);
  luaL_argcheck(L, stages < MG_EDGE_TO, 1, "too many stages");
  lua_ledger *own = lua_newuserdatauv(L, sizeof *own, MG_UVS);
  memset(own, 0, sizeof *own);
  luaL_setmetatable(L, MG_LEDGER_TYPE);
  own->L = L;
  if (mg_ledger_open(&own->l, stages, places) < 0) return luaL_error(L, "not enough memory for the run itself");
  mg_set_hooks(L, own);
  for (int kind = 1; kind <= MG_KEEPS; kind++) {
    lua_newtable(L);
    lua_setiuservalue(L, -2, kind);
  }
  lua_newtable(L);
  lua_setiuservalue(L, -2, MG_UV_WRITERS);
  return 1;
}

static int l_gc(lua_State *L) {
  lua_ledger *own = luaL_checkudata(L, 1, MG_LEDGER_TYPE);
  mg_ledger_close(&own->l);
  return 0;
}

static lua_Number number_field(lua_State *L, int table, const char *name) {
  lua_getfield(L, table, name);
  int found;
  lua_Number n = lua_tonumberx(L, -1, &found);
  if (!found) luaL_error(L, "field '%s': a number expected", name);
  lua_pop(L, 1);
  return n;
}

static uint32_t small_field(lua_State *L, int table, const char *name) {
  lua_Number n = number_field(L, table, name);
  if (!(n >= 0 && n <= UINT32_MAX)) luaL_error(L, "field '%s': out of range", name);
  return (uint32_t)n;
}

static int flag_field(lua_State *L, int table, const char *name) {
  lua_getfield(L, table, name);
  int on = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return on;
}

/* l:terms(table): the numbers that decide, see policy/terms.lua */
static int l_terms(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  l->terms = (mg_terms){
      .newest = number_field(L, 2, "newest"), .slice = number_field(L, 2, "slice"),
      .long_slice = number_field(L, 2, "long_slice"), .fold = number_field(L, 2, "fold"),
      .long_fold = number_field(L, 2, "long_fold"), .stored = number_field(L, 2, "stored"),
      .share = small_field(L, 2, "share"), .most_items = small_field(L, 2, "most_items"),
      .overdue = number_field(L, 2, "overdue"), .overdue_most = number_field(L, 2, "overdue_most"),
      .some = small_field(L, 2, "some"), .each = small_field(L, 2, "each"),
      .own_most = small_field(L, 2, "own_most"), .blocks = small_field(L, 2, "blocks"),
      .small = small_field(L, 2, "small")};
  luaL_argcheck(L, l->terms.share > 0, 2, "share: at least 1 expected");
  return 0;
}

/* l:hooks(cut, finished): cut(whole, part, n, left, at_end), a part of n items was cut off work with an origin,
 * attempts or a death, which has `left` items now; finished(work, n), items of work with an origin */
static int l_hooks(lua_State *L) {
  mg_check_ledger(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  luaL_checktype(L, 3, LUA_TFUNCTION);
  lua_settop(L, 3);
  lua_setiuservalue(L, 1, MG_UV_FINISHED);
  lua_setiuservalue(L, 1, MG_UV_CUT);
  return 0;
}

/* l:attach(pool or nil, memory, queue_bytes): from now on it hands work to the slots of a pool; at most so much memory
 * is used, and so many bytes wait in one queue */
static int l_attach(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  mg_pool *p = lua_isnil(L, 2) ? NULL : mg_check_pool(L, 2);
  lua_Integer memory = luaL_checkinteger(L, 3), bytes = luaL_checkinteger(L, 4);
  luaL_argcheck(L, !l->pool, 1, "it has a pool");
  luaL_argcheck(L, memory > 0 && bytes > 0, 3, "sizes must be positive");
  mg_ledger_passed(L, l, mg_ledger_attach(l, p, (size_t)memory, (size_t)bytes));
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, MG_UV_POOL);
  return 0;
}

/* l:stage(id, table): what the plan says of a stage: place, producing, continues, terminal, recipe, plain, flags (of
 * chunks) */
static int l_stage(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  mg_stage *s = &l->stage[mg_check_stage(L, l, 2)];
  luaL_checktype(L, 3, LUA_TTABLE);
  s->place = small_field(L, 3, "place");
  luaL_argcheck(L, s->place < l->places, 3, "no such place");
  s->chunk_flags = small_field(L, 3, "flags");
  s->producing = flag_field(L, 3, "producing");
  s->continues = flag_field(L, 3, "continues");
  s->terminal = flag_field(L, 3, "terminal");
  s->recipe = flag_field(L, 3, "recipe");
  s->plain = flag_field(L, 3, "plain");
  return 0;
}

/* l:add_place(table) -> its number: n (workers), seats (slots that they may have), first (the first, or 0), stages (how
 * many), front, per_worker, threads, most, counted; here, fresh, ordered, told, loops, folds */
static int l_add_place(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  uint32_t first = small_field(L, 2, "first"), n = small_field(L, 2, "n");
  uint32_t seats = first ? small_field(L, 2, "seats") : 0;
  luaL_argcheck(L, first == 0 || (n > 0 && seats > 0 && first - 1 + seats <= l->seats), 2,
                "no workers, or there are not so many slots");
  int number = mg_ledger_passed(L, l, mg_ledger_add_place(l));
  mg_place *p = &l->place[number];
  lua_Number per_worker = number_field(L, 2, "per_worker");
  p->n = n;
  p->seats = seats;
  p->first_seat = first ? first - 1 : 0;
  p->per_worker = per_worker < 9e15 ? (uint64_t)per_worker : UINT64_MAX;
  p->threaded = small_field(L, 2, "threads");
  p->most = small_field(L, 2, "most");
  p->stages = small_field(L, 2, "stages");
  p->front = small_field(L, 2, "front");
  p->counted = small_field(L, 2, "counted");
  luaL_argcheck(L, p->front <= l->stages && p->counted <= l->stages, 2, "no such stage");
  p->fresh = flag_field(L, 2, "fresh");
  p->ordered = flag_field(L, 2, "ordered");
  p->told = flag_field(L, 2, "told");
  p->loops = flag_field(L, 2, "loops");
  p->folds = flag_field(L, 2, "folds");
  p->here = flag_field(L, 2, "here");
  if (p->here) l->own = (uint32_t)number;
  for (uint32_t i = 0; i < p->seats; i++) l->seat[p->first_seat + i].place = (uint32_t)number;
  lua_pushinteger(L, number);
  return 1;
}

/* l:targets(id, array): the stages that a stage's items go to, besides those of its own process */
static int l_targets(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  mg_stage *s = &l->stage[mg_check_stage(L, l, 2)];
  luaL_checktype(L, 3, LUA_TTABLE);
  uint32_t n = (uint32_t)lua_rawlen(L, 3);
  if (mg_stage_targets(s, n) < 0) return mg_ledger_passed(L, l, -ENOMEM);
  for (uint32_t i = 0; i < n; i++) {
    lua_rawgeti(L, 3, i + 1);
    s->target[i] = mg_check_stage(L, l, -1);
    lua_pop(L, 1);
  }
  return 0;
}

/* l:limit(what, which, place, stage, most): adds to what fills up.  what: "reach" of the stage `which`, "waits" of it,
 * or "targets" of the place `which`; a place, or (stage > 0) the queue of a stage, where at most so many may wait */
static int l_limit(lua_State *L) {
  static const char *const kinds[] = {"reach", "waits", "targets", NULL};
  mg_ledger *l = mg_check_ledger(L, 1);
  int kind = luaL_checkoption(L, 2, NULL, kinds);
  mg_limit one = {.place = mg_check_u32(L, 4), .stage = mg_check_u32(L, 5), .most = luaL_checkinteger(L, 6)};
  luaL_argcheck(L, one.stage <= l->stages && one.place < l->places, 4, "no such place or stage");
  mg_limits *to;
  if (kind == 2) to = &mg_check_place(L, l, 3)->targets;
  else if (kind == 1) to = &l->stage[mg_check_stage(L, l, 3)].waits;
  else to = &l->stage[mg_check_stage(L, l, 3)].reach;
  mg_ledger_passed(L, l, mg_limits_add(to, one));
  return 0;
}

static int64_t per_of(lua_State *L, int arg) {
  lua_Number n = luaL_checknumber(L, arg);
  return n >= 1 && n < 1e15 ? (int64_t)n : MG_PLENTY;
}

/* l:limited(place, boolean, per): whether a place is before a limited stage, and how many of its items make one there;
 * l:per(stage, n): the same of a stage */
static int l_limited(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  mg_place *p = mg_check_place(L, l, 2);
  p->limited = lua_toboolean(L, 3);
  p->per = per_of(L, 4);
  return 0;
}

static int l_per(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  l->stage[mg_check_stage(L, l, 2)].per = per_of(L, 3);
  return 0;
}

/* --- counts ----------------------------------------------------------------------------------------------------- */

/* l:pending(id) -> items that a stage has accepted and not finished */
static int l_pending(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_pushinteger(L, (lua_Integer)l->stage[mg_check_stage(L, l, 2)].pending);
  return 1;
}

/* l:is_empty() -> whether no stage has anything pending */
static int l_is_empty(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  int empty = 1;
  for (uint32_t i = 1; i <= l->stages && empty; i++) empty = l->stage[i].pending == 0;
  lua_pushboolean(L, empty);
  return 1;
}

/* l:drained(id) -> whether a stage has come to its end; l:drain(id, boolean) sets that */
static int l_drained(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_pushboolean(L, l->stage[mg_check_stage(L, l, 2)].drained);
  return 1;
}

static int l_drain(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  l->stage[mg_check_stage(L, l, 2)].drained = lua_toboolean(L, 3);
  return 0;
}

/* l:changed([boolean]) -> whether some stage may be drained now; sets it */
static int l_changed(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_pushboolean(L, l->changed);
  if (lua_gettop(L) > 2) l->changed = lua_toboolean(L, 2);
  return 1;
}

/* l:torn([boolean]) -> whether an update goes on, or was cut in two; sets it */
static int l_torn(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_pushboolean(L, l->torn);
  if (lua_gettop(L) > 2) l->torn = lua_toboolean(L, 2);
  return 1;
}

/* l:moved([boolean]) -> what changes with each item that is accepted, and with each call that says so */
static int l_moved(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  if (lua_toboolean(L, 2)) l->moved++;
  lua_pushinteger(L, (lua_Integer)l->moved);
  return 1;
}

/* l:paused([boolean]) -> whether producers wait, whatever there is room for; sets it */
static int l_paused(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_pushboolean(L, l->paused);
  if (lua_gettop(L) > 2) l->paused = lua_toboolean(L, 2);
  return 1;
}

/* l:counts(id) -> since the last time: items in, items out, seconds in the handler, seconds in which the stages after
 * it had no room, the most that waited for it, and a table from classes of times to how many items took that, or nil */
static int l_counts(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  mg_counts *c = &l->stage[mg_check_stage(L, l, 2)].counts;
  lua_pushinteger(L, (lua_Integer)c->items_in);
  lua_pushinteger(L, (lua_Integer)c->items_out);
  lua_pushnumber(L, (lua_Number)c->busy / 1e9);
  lua_pushnumber(L, (lua_Number)c->waiting_out / 1e9);
  lua_pushinteger(L, (lua_Integer)c->queue_most);
  if (c->served) lua_newtable(L);
  else lua_pushnil(L);
  for (int i = 0; c->served && i < MG_SERVICE_CLASSES; i++) {
    if (c->service[i] == 0) continue;
    lua_pushinteger(L, (lua_Integer)c->service[i]);
    lua_rawseti(L, -2, i);
  }
  if (c->served) memset(c, 0, sizeof *c);
  else c->items_in = c->items_out = c->busy = c->waiting_out = c->queue_most = 0;
  return 6;
}

/* l:check(): asserts the invariants */
static int l_check(lua_State *L) {
  mg_ledger_check(mg_check_open_ledger(L, 1));
  return 0;
}

static const luaL_Reg methods[] = {
    {"terms", l_terms},       {"hooks", l_hooks},     {"attach", l_attach},   {"stage", l_stage},
    {"add_place", l_add_place}, {"targets", l_targets}, {"limit", l_limit},   {"limited", l_limited},
    {"per", l_per},           {"pending", l_pending}, {"is_empty", l_is_empty}, {"drained", l_drained},
    {"drain", l_drain},       {"changed", l_changed}, {"torn", l_torn},       {"moved", l_moved},
    {"paused", l_paused},
    {"counts", l_counts},     {"check", l_check},     {"__gc", l_gc},         {NULL, NULL},
};

void mg_ledger_setup(lua_State *L) {
  luaL_newmetatable(L, MG_LEDGER_TYPE);
  luaL_setfuncs(L, methods, 0);
  luaL_setfuncs(L, mg_work_methods, 0);
  luaL_setfuncs(L, mg_kept_methods, 0);
  luaL_setfuncs(L, mg_place_methods, 0);
  luaL_setfuncs(L, mg_seat_methods, 0);
  luaL_setfuncs(L, mg_round_methods, 0);
  luaL_setfuncs(L, mg_answer_methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_pushcfunction(L, l_ledger);
  lua_setfield(L, -2, "ledger");
}
