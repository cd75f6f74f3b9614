/* lua_work.c - methods of minigun.ledger that concern work: what comes in, what is taken, what is finished. */
#include <errno.h>

#include "lua_ledger.h"

/* Where work is put: l:enter. */
enum { ENTER_QUEUE, ENTER_WAITING, ENTER_HAND };

/* An update begins: an error in the middle of it (memory that is short) leaves the ledger torn, and may be caught by a
 * user's function that has led here.  Returns what `torn` was before, to be restored. */
static int tear(mg_ledger *l) {
  int torn = l->torn;
  l->torn = 1;
  return torn;
}

/* The highest number of a worker or thread that runs a stage. */
static uint32_t most_lane(const mg_ledger *l, uint32_t stage) {
  const mg_place *p = mg_place_of(l, stage);
  return p->seats > p->n ? p->seats : p->n;
}

static uint32_t new_work(lua_State *L, mg_ledger *l, uint32_t stage) {
  uint32_t w = mg_work_new(l);
  if (w == MG_NO_WORK) mg_ledger_passed(L, l, -ENOMEM);
  l->work[w].stage = stage;
  return w;
}

static uint32_t field(lua_State *L, const char *name, uint32_t otherwise) {
  lua_getfield(L, 2, name);
  uint32_t n = lua_isnil(L, -1) ? otherwise : mg_check_u32(L, -1);
  lua_pop(L, 1);
  return n;
}

/* The range that the table at 2 names; its block is false or missing for a value. */
static mg_range range_field(lua_State *L, mg_ledger *l) {
  mg_range r = {.block = MG_NO_BLOCK, .length = field(L, "length", 0), .count = field(L, "count", 1),
                .edge = field(L, "only", MG_EDGE_ANY), .offset = field(L, "offset", 0)};
  lua_getfield(L, 2, "block");
  if (lua_toboolean(L, -1)) {
    r.block = (uint32_t)luaL_checkinteger(L, -1);
    luaL_argcheck(L, l->pool && mg_shm_held(&l->pool->shm, r.block), 2, "its block is not in use");
    size_t size = mg_shm_block_size(&l->pool->shm, r.block);
    luaL_argcheck(L, r.offset <= size && r.length <= size - r.offset, 2, "range outside its block");
  }
  lua_pop(L, 1);
  return r;
}

static void keep_field(lua_State *L, uint32_t w, const char *name, int kind) {
  lua_getfield(L, 2, name);
  if (lua_isnil(L, -1)) lua_pop(L, 1);
  else mg_keep(L, 1, w, kind);
}

/* l:enter(table, where) -> number of the work that it describes (base/work.lua has the fields), which is pending from
 * now on; where: "queue", "waiting" for its next attempt, or the coordinator's "hand".  Its reference is taken over. */
static int l_enter(lua_State *L) {
  static const char *const where[] = {"queue", "waiting", "hand", NULL};
  mg_ledger *l = mg_check_open_ledger(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  int to = luaL_checkoption(L, 3, NULL, where);
  uint32_t stage = field(L, "stage", 0), attempt = field(L, "attempt", 1), lane = field(L, "lane", 0);
  luaL_argcheck(L, stage >= 1 && stage <= l->stages, 2, "no such stage");
  luaL_argcheck(L, lane <= most_lane(l, stage), 2, "no such worker");
  mg_range range = range_field(L, l);
  lua_getfield(L, 2, "first");
  uint64_t first = (uint64_t)luaL_optinteger(L, -1, 0);
  lua_getfield(L, 2, "again");
  uint32_t flags = lua_toboolean(L, -1) ? MG_WORK_AGAIN : 0;
  int torn = tear(l);
  uint32_t w = new_work(L, l, stage);
  mg_work *own = &l->work[w];
  own->range = range;
  own->attempt = attempt;
  own->lane = lane;
  own->first = first;
  own->flags = flags;
  keep_field(L, w, "value", MG_KEEP_VALUE);
  keep_field(L, w, "origin", MG_KEEP_ORIGIN);
  keep_field(L, w, "is_source", MG_KEEP_SOURCE);
  keep_field(L, w, "tried", MG_KEEP_TRIED);
  if (to == ENTER_QUEUE) mg_ledger_accept(l, w);
  else if (to == ENTER_WAITING) mg_ledger_wait(l, w);
  else mg_ledger_take_up(l, w);
  l->torn = torn;
  lua_pushinteger(L, w);
  return 1;
}

/* l:accept_value(stage, value, bytes, lane) -> work: one Lua value, which may take so many bytes */
static int l_accept_value(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  uint32_t stage = mg_check_stage(L, l, 2), bytes = (uint32_t)luaL_optinteger(L, 4, 0);
  uint32_t lane = (uint32_t)luaL_optinteger(L, 5, 0);
  luaL_argcheck(L, lane <= most_lane(l, stage), 5, "no such worker");
  int torn = tear(l);
  uint32_t w = new_work(L, l, stage);
  l->work[w].range.count = 1;
  l->work[w].range.length = bytes;
  l->work[w].lane = lane;
  lua_settop(L, 3);
  mg_keep(L, 1, w, MG_KEEP_VALUE);
  mg_ledger_accept(l, w);
  l->torn = torn;
  lua_pushinteger(L, w);
  return 1;
}

static mg_range check_records(lua_State *L, mg_ledger *l, int arg) {
  luaL_argcheck(L, l->pool, 1, "it has no pool");
  mg_range r = mg_check_range(L, l->pool, arg);
  r.count = mg_check_u32(L, arg + 3);
  r.edge = mg_check_u32(L, arg + 4);
  return r;
}

/* l:accept(stage, block, offset, length, count, only, lane) -> work: items as bytes, whose reference is taken over */
static int l_accept(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  uint32_t stage = mg_check_stage(L, l, 2), w, lane = (uint32_t)luaL_optinteger(L, 8, 0);
  luaL_argcheck(L, lane <= most_lane(l, stage), 8, "no such worker");
  mg_range r = check_records(L, l, 3);
  int torn = tear(l);
  mg_ledger_passed(L, l, mg_ledger_accept_range(l, stage, &r, lane, &w));
  l->torn = torn;
  lua_pushinteger(L, w);
  return 1;
}

/* l:end_of(stage, lane) -> work: the end of the input of a loop, for one worker; held, to be pushed or offered */
static int l_end_of(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  uint32_t stage = mg_check_stage(L, l, 2), lane = mg_check_u32(L, 3), w;
  mg_place *p = mg_place_of(l, stage);
  mg_ledger_passed(L, l, mg_ledger_open_lanes(p));
  luaL_argcheck(L, lane >= 1 && lane <= p->lanes, 3, "no such worker");
  mg_ledger_passed(L, l, mg_ledger_end_of(l, stage, lane, &w));
  lua_pushinteger(L, w);
  return 1;
}

/* --- moving ------------------------------------------------------------------------------------------------------- */

/* Raises for what taking has found: a block of another stage's items is damaged. */
static int taken(lua_State *L, mg_ledger *l, int rc) {
  if (rc != -EPROTO) return mg_ledger_passed(L, l, rc);
  return luaL_error(L, "a worker of an earlier stage has damaged a block that holds items for stage %d",
                    (int)l->damaged);
}

/* l:push(work, in_front): puts work that is held into its place's queue */
static int l_push(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  mg_ledger_push(l, mg_check_work(L, l, 2), lua_toboolean(L, 3));
  return 0;
}

/* l:wake(work): it waits no more */
static int l_wake(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  mg_ledger_wake(l, mg_check_work(L, l, 2));
  return 0;
}

/* l:take(place, worker, [n]) -> work: at most n items, by default one, for a worker or thread, in the place's hand; for
 * a slot's worker it is held | nothing may be begun | nil, stage: the block with that stage's items is damaged */
static int l_take(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  mg_place *p = mg_check_place(L, l, 2);
  uint32_t worker = mg_check_u32(L, 3), w;
  lua_Integer n = luaL_optinteger(L, 4, 1);
  luaL_argcheck(L, worker >= 1, 3, "no such worker");
  luaL_argcheck(L, n >= 1 && n <= MG_MAX_CHUNK, 4, "no such number of items");
  mg_list *queue = mg_ledger_queue_for(l, p, worker);
  if (!queue) return 0;
  int rc = mg_ledger_take(l, queue, (uint32_t)n, &w);
  if (rc == -EPROTO) {
    luaL_pushfail(L);
    lua_pushinteger(L, l->damaged);
    return 2;
  }
  mg_ledger_passed(L, l, rc);
  if (p->seats == 0) {
    mg_list_remove(l, w);
    mg_list_add(l, &p->hand, w, 0);
  }
  lua_pushinteger(L, w);
  return 1;
}

/* l:take_lane(place, worker) -> the first work that is for this worker only, held | nothing */
static int l_take_lane(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  mg_place *p = mg_check_place(L, l, 2);
  uint32_t worker = mg_check_u32(L, 3), w;
  luaL_argcheck(L, worker >= 1, 3, "no such worker");
  if (worker > p->lanes || p->lane[worker - 1].n == 0) return 0;
  taken(L, l, mg_ledger_take(l, &p->lane[worker - 1], UINT32_MAX, &w));
  lua_pushinteger(L, w);
  return 1;
}

/* l:withdraw(place, origin) -> queued work that has come of that, held | nothing */
static int l_withdraw(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  mg_place *p = mg_check_place(L, l, 2);
  lua_settop(L, 3);
  lua_getiuservalue(L, 1, MG_KEEP_ORIGIN);
  for (uint32_t w = 1; w < l->works; w++) {
    const mg_work *own = &l->work[w];
    if (!own->in || own->in->kind != MG_IN_QUEUE || mg_place_of(l, own->stage) != p) continue;
    lua_rawgeti(L, 4, w);
    if (lua_rawequal(L, 3, 5)) {
      mg_ledger_take_out(l, w);
      lua_pushinteger(L, w);
      return 1;
    }
    lua_settop(L, 4);
  }
  return 0;
}

/* l:singly(work): each of its items is to be committed by itself */
static int l_singly(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  l->work[mg_check_work(L, l, 2)].flags |= MG_WORK_SINGLY;
  return 0;
}

/* l:unload(work): its bytes were read, and its reference is given up */
static int l_unload(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  mg_work *own = &l->work[mg_check_work(L, l, 2)];
  luaL_argcheck(L, own->in->kind == MG_IN_HAND && own->range.block != MG_NO_BLOCK, 2, "no bytes that are in hand");
  mg_shm_release(&l->pool->shm, own->range.block);
  own->range.block = MG_NO_BLOCK;
  return 0;
}

/* l:cut(work, n) -> work: its first n items, held */
static int l_cut(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  uint32_t w = mg_check_work(L, l, 2), n = mg_check_u32(L, 3), part;
  luaL_argcheck(L, n >= 1 && n < l->work[w].range.count && l->work[w].range.block != MG_NO_BLOCK, 3,
                "fewer items than there are expected");
  taken(L, l, mg_ledger_cut(l, w, n, &part));
  lua_pushinteger(L, part);
  return 1;
}

/* l:finish(work, n): n of its items are finished, by default all that are not */
static int l_finish(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  uint32_t w = mg_check_work(L, l, 2), left = mg_work_left(&l->work[w]);
  uint32_t n = lua_isnoneornil(L, 3) ? left : mg_check_u32(L, 3);
  luaL_argcheck(L, n <= left && l->work[w].in->kind == MG_IN_HAND, 3, "so many items are not in hand");
  mg_ledger_finish(l, w, n);
  return 0;
}

/* l:drop(work): it is gone, with its reference; all of its items are finished */
static int l_drop(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  uint32_t w = mg_check_work(L, l, 2);
  luaL_argcheck(L, mg_work_left(&l->work[w]) == 0, 2, "items of it are not finished");
  mg_work_free(l, w);
  return 0;
}

/* --- the coordinator's own -------------------------------------------------------------------------------------- */

/* l:own() -> pieces of work that wait for the coordinator's own stages, how many have come */
static int l_own(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_pushinteger(L, (lua_Integer)l->place[l->own].works);
  lua_pushinteger(L, (lua_Integer)l->turn);
  return 2;
}

/* l:oldest_own() -> stage, items, whether it is bytes, whether they are a source's: of the oldest work of which none
 * has to wait | nothing */
static int l_oldest_own(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  uint32_t w = mg_ledger_oldest_own(l);
  if (w == MG_NO_WORK) return 0;
  const mg_work *own = &l->work[w];
  lua_pushinteger(L, own->stage);
  lua_pushinteger(L, own->range.count);
  lua_pushboolean(L, own->range.block != MG_NO_BLOCK);
  lua_pushboolean(L, own->flags & MG_KEEP_FLAG(MG_KEEP_SOURCE));
  return 4;
}

/* l:take_own(stage, n) -> work, items, block or false, offset, length, only, attempt, first: n items of the oldest work
 * of a stage, 0: all of them, in the coordinator's hand */
static int l_take_own(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  uint32_t stage = mg_check_stage(L, l, 2), w;
  luaL_argcheck(L, l->stage[stage].queue.n > 0, 2, "nothing waits for this stage");
  taken(L, l, mg_ledger_take_own(l, stage, mg_check_u32(L, 3), &w));
  const mg_work *own = &l->work[w];
  lua_pushinteger(L, w);
  lua_pushinteger(L, own->range.count);
  mg_push_block(L, own->range.block);
  lua_pushinteger(L, own->range.offset);
  lua_pushinteger(L, own->range.length);
  lua_pushinteger(L, own->range.edge);
  lua_pushinteger(L, own->attempt);
  if (own->first) lua_pushinteger(L, (lua_Integer)own->first);
  else lua_pushnil(L);
  return 8;
}

/* l:done_own(work): its items are finished, and it is gone with its reference */
static int l_done_own(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  mg_ledger_done_own(l, mg_check_work(L, l, 2));
  return 0;
}

const luaL_Reg mg_work_methods[] = {
    {"enter", l_enter}, {"accept_value", l_accept_value}, {"accept", l_accept},
    {"end_of", l_end_of}, {"push", l_push}, {"wake", l_wake}, {"take", l_take}, {"take_lane", l_take_lane},
    {"unload", l_unload}, {"withdraw", l_withdraw},
    {"singly", l_singly}, {"cut", l_cut}, {"finish", l_finish}, {"drop", l_drop},
    {"own", l_own}, {"oldest_own", l_oldest_own}, {"take_own", l_take_own}, {"done_own", l_done_own}, {NULL, NULL},
};
