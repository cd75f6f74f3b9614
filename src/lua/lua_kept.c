/* lua_kept.c - arguments that are a ledger, a stage, a place or work; and what is kept under the numbers of work: Lua
 * values in tables, which are cut, finished and gone with it. */
#include "lua_ledger.h"

#include <errno.h>
#include <string.h>

#define LEDGERS "minigun.ledgers" /* weak table in the registry: from the address of a ledger to its userdata */

mg_ledger *mg_check_ledger(lua_State *L, int arg) {
  lua_ledger *own = luaL_checkudata(L, arg, MG_LEDGER_TYPE);
  own->L = L;
  own->at = arg;
  return &own->l;
}

mg_ledger *mg_check_open_ledger(lua_State *L, int arg) {
  mg_ledger *l = mg_check_ledger(L, arg);
  if (l->pool && !l->pool->slot) luaL_argerror(L, arg, "the pool is closed");
  if (l->pool && l->pool->serial != mg_process_serial)
    luaL_argerror(L, arg, "the ledger belongs to another process (forked from here)");
  return l;
}

uint32_t mg_check_stage(lua_State *L, const mg_ledger *l, int arg) {
  lua_Integer id = luaL_checkinteger(L, arg);
  luaL_argcheck(L, id >= 1 && id <= (lua_Integer)l->stages, arg, "no such stage");
  return (uint32_t)id;
}

mg_place *mg_check_place(lua_State *L, const mg_ledger *l, int arg) {
  lua_Integer id = luaL_checkinteger(L, arg);
  luaL_argcheck(L, id >= 0 && id < (lua_Integer)l->places, arg, "no such place");
  return &l->place[id];
}

uint32_t mg_check_work(lua_State *L, const mg_ledger *l, int arg) {
  lua_Integer w = luaL_checkinteger(L, arg);
  luaL_argcheck(L, w >= 1 && w < (lua_Integer)l->works && l->work[w].in, arg, "no such work");
  return (uint32_t)w;
}

int mg_ledger_passed(lua_State *L, mg_ledger *l, int rc) {
  if (MG_LIKELY(rc >= 0)) return rc;
  if (l->pool && l->pool->lost) return luaL_error(L, "cannot wake a worker: %s", MG_LOST);
  if (rc == -ENOMEM) return luaL_error(L, "not enough memory for the run itself");
  return luaL_error(L, "cannot wake a worker: %s", strerror(-rc));
}

/* --- hooks -------------------------------------------------------------------------------------------------------- */

/* Pushes the userdata of a ledger, and one of its user values. */
static lua_State *push_value(void *to, int which) {
  lua_ledger *own = to;
  lua_State *L = own->L;
  luaL_checkstack(L, 8, NULL);
  if (lua_touserdata(L, own->at) == own) {
    lua_pushvalue(L, own->at);
  } else {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LEDGERS);
    lua_rawgetp(L, -1, own);
    lua_remove(L, -2);
  }
  lua_getiuservalue(L, -1, which);
  return L;
}

static void keep_too(lua_State *L, lua_ledger *own, uint32_t whole, uint32_t part, int kind) {
  if (!(own->l.work[whole].flags & MG_KEEP_FLAG(kind))) return;
  lua_getiuservalue(L, -1, kind);
  lua_rawgeti(L, -1, whole);
  lua_remove(L, -2);
  mg_keep(L, lua_gettop(L) - 1, part, kind);
}

/* Of work that was submitted, or has come of that, each part has the same origin. */
static void on_cut_of_answer(lua_ledger *own, uint32_t whole, uint32_t part) {
  lua_State *L = push_value(own, MG_KEEP_ORIGIN);
  lua_pop(L, 1);
  keep_too(L, own, whole, part, MG_KEEP_ORIGIN);
  keep_too(L, own, whole, part, MG_KEEP_DEATH);
  if (own->l.work[whole].flags & MG_KEEP_FLAG(MG_KEEP_DEATH)) own->l.work[part].flags |= MG_WORK_TAKEN_OVER;
  lua_pop(L, 1);
}

static void on_cut(void *to, uint32_t whole, uint32_t part, uint32_t n, int at_end) {
  lua_ledger *own = to;
  if (!(own->l.work[whole].flags & ~MG_KEEP_FLAG(MG_KEEP_VALUE) & ~(MG_KEEP_FLAG(MG_KEEP_VALUE) - 1))) return;
  if (own->answers) {
    on_cut_of_answer(own, whole, part);
    return;
  }
  lua_State *L = push_value(to, MG_UV_CUT);
  lua_pushinteger(L, whole);
  lua_pushinteger(L, part);
  lua_pushinteger(L, n);
  lua_pushinteger(L, own->l.work[whole].range.count);
  lua_pushboolean(L, at_end);
  lua_call(L, 5, 0);
  lua_pop(L, 1);
}

/* Adds the origin at `origin` to an array of the answers at `to`. */
static void append(lua_State *L, int origin, int to, const char *array) {
  lua_getfield(L, to, array);
  lua_pushvalue(L, origin);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* n holds of the origin on top of the stack, below which is the ledger, are given up; of an answer with none left
 * (run/answers.lua) that is noted, and what stands for several items is left to Lua. */
static void release(lua_State *L, lua_ledger *own, lua_Integer n) {
  int origin = lua_gettop(L), answers = origin + 1;
  lua_getfield(L, origin, "count");
  lua_Integer left = lua_tointeger(L, -1) - n;
  lua_pushinteger(L, left);
  lua_setfield(L, origin, "count");
  lua_settop(L, origin);
  if (left > 0) return;
  own->ended = 1;
  lua_getiuservalue(L, origin - 1, MG_UV_ANSWERS);
  lua_getfield(L, answers, "at_work");
  int is_answer = lua_getfield(L, origin, "number") != LUA_TNIL;
  if (is_answer) {
    lua_pushnil(L);
    lua_rawset(L, -3);
  }
  append(L, origin, answers, is_answer ? "done" : "left");
  lua_settop(L, origin);
}

static void on_finished(void *to, uint32_t w, uint32_t n) {
  lua_ledger *own = to;
  if (!(own->l.work[w].flags & MG_KEEP_FLAG(MG_KEEP_ORIGIN))) return;
  if (own->answers) {
    lua_State *at = push_value(to, MG_KEEP_ORIGIN);
    lua_rawgeti(at, -1, w);
    lua_remove(at, -2);
    release(at, own, n);
    lua_pop(at, 2);
    return;
  }
  lua_State *L = push_value(to, MG_UV_FINISHED);
  lua_pushinteger(L, w);
  lua_pushinteger(L, n);
  lua_call(L, 2, 0);
  lua_pop(L, 1);
}

static void on_gone(void *to, uint32_t w) {
  const lua_ledger *own = to;
  for (int kind = 1; kind <= MG_KEEPS; kind++) {
    if (!(own->l.work[w].flags & MG_KEEP_FLAG(kind))) continue;
    lua_State *L = push_value(to, kind);
    lua_pushnil(L);
    lua_rawseti(L, -2, w);
    lua_pop(L, 2);
  }
}

void mg_keep(lua_State *L, int ledger, uint32_t w, int kind) {
  lua_ledger *own = lua_touserdata(L, ledger);
  lua_getiuservalue(L, ledger, kind);
  lua_insert(L, -2);
  lua_rawseti(L, -2, w);
  lua_pop(L, 1);
  own->l.work[w].flags |= MG_WORK_KEPT | MG_KEEP_FLAG(kind);
}

void mg_set_hooks(lua_State *L, lua_ledger *own) {
  own->l.hooks = (mg_ledger_hooks){own, on_cut, on_finished, on_gone};
  if (!luaL_getsubtable(L, LUA_REGISTRYINDEX, LEDGERS)) {
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
  }
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, own);
  lua_pop(L, 1);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void set_integer(lua_State *L, const char *name, uint64_t n) {
  lua_pushinteger(L, (lua_Integer)n);
  lua_setfield(L, -2, name);
}

static void set_kept(lua_State *L, uint32_t w, const char *name, int kind) {
  lua_getiuservalue(L, 1, kind);
  lua_rawgeti(L, -1, w);
  lua_remove(L, -2);
  lua_setfield(L, -2, name);
}

/* l:read(work) -> a table that describes it, as for l:enter; and `id`, its number, `finished` items,
 * `number`, that of its chunk, `death` */
static int l_read(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  uint32_t w = mg_check_work(L, l, 2);
  const mg_work *own = &l->work[w];
  lua_createtable(L, 0, 16);
  set_integer(L, "id", w);
  set_integer(L, "stage", own->stage);
  set_integer(L, "count", own->range.count);
  set_integer(L, "attempt", own->attempt);
  set_integer(L, "finished", own->finished);
  set_integer(L, "first", own->first);
  set_integer(L, "number", own->number);
  if (own->lane) set_integer(L, "lane", own->lane);
  if (own->range.block != MG_NO_BLOCK) {
    set_integer(L, "block", own->range.block);
    set_integer(L, "offset", own->range.offset);
    set_integer(L, "length", own->range.length);
    set_integer(L, "only", own->range.edge);
  }
  if (own->flags & MG_WORK_AGAIN) {
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "again");
  }
  static const char *const names[] = {[MG_KEEP_VALUE] = "value", [MG_KEEP_ORIGIN] = "origin",
    [MG_KEEP_SOURCE] = "is_source", [MG_KEEP_TRIED] = "tried", [MG_KEEP_DEATH] = "death"};
  for (int kind = 1; kind <= MG_KEEPS; kind++)
    if (own->flags & MG_KEEP_FLAG(kind)) set_kept(L, w, names[kind], kind);
  return 1;
}

static int check_kind(lua_State *L, int arg) {
  lua_Integer kind = luaL_checkinteger(L, arg);
  luaL_argcheck(L, kind >= 1 && kind <= MG_KEEPS, arg, "1 to 5 expected");
  return (int)kind;
}

/* l:keep(work, kind, value): keeps a value as long as there is this work, or nil; a death makes it tell which worker
 * takes it over */
static int l_keep(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  uint32_t w = mg_check_work(L, l, 2);
  int kind = check_kind(L, 3);
  luaL_checkany(L, 4);
  lua_settop(L, 4);
  int none = lua_isnil(L, 4);
  mg_keep(L, 1, w, kind);
  if (none) l->work[w].flags &= ~MG_KEEP_FLAG(kind);
  else if (kind == MG_KEEP_DEATH) l->work[w].flags |= MG_WORK_TAKEN_OVER;
  return 0;
}

/* l:kept(work, kind) -> value | nil */
static int l_kept(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  uint32_t w = mg_check_work(L, l, 2);
  int kind = check_kind(L, 3);
  if (!(l->work[w].flags & MG_KEEP_FLAG(kind))) return 0;
  lua_getiuservalue(L, 1, kind);
  lua_rawgeti(L, -1, w);
  return 1;
}

const luaL_Reg mg_kept_methods[] = {{"read", l_read}, {"keep", l_keep}, {"kept", l_kept}, {NULL, NULL}};
