/* lua_place.c - methods of minigun.ledger that concern places: what is full, what is handed out, blocks. */
#include <errno.h>

#include "lua_ledger.h"

/* --- what is full ----------------------------------------------------------------------------------------------- */

/* l:full(place) -> whether the stages that send to it should wait */
static int l_full(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_pushboolean(L, mg_ledger_full(l, mg_check_place(L, l, 2)));
  return 1;
}

/* l:blocked(place) -> whether what a place sends to is full; l:waits(stage): what a stage of the coordinator waits for
 * */
static int l_blocked(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_pushboolean(L, mg_ledger_any_full(l, &mg_check_place(L, l, 2)->targets));
  return 1;
}

static int l_waits(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_pushboolean(L, mg_ledger_any_full(l, &l->stage[mg_check_stage(L, l, 2)].waits));
  return 1;
}

/* l:must_wait(stage) -> whether a producer of the coordinator should stop emitting for now */
static int l_must_wait(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_pushboolean(L, mg_ledger_must_wait(l, mg_check_stage(L, l, 2)));
  return 1;
}

static int push_room(lua_State *L, int64_t room) {
  if (room >= MG_PLENTY) lua_pushnumber(L, (lua_Number)1e18);
  else lua_pushinteger(L, (lua_Integer)room);
  return 1;
}

/* l:room(place) -> how many items it may begin, as far as those after it are concerned; l:room_of_stage(stage): the
 * same for a stage of the coordinator */
static int l_room(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  const mg_place *p = mg_check_place(L, l, 2);
  return push_room(L, mg_ledger_room(l, &p->targets, p->per));
}

static int l_room_of_stage(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  const mg_stage *s = &l->stage[mg_check_stage(L, l, 2)];
  return push_room(L, mg_ledger_room(l, &s->waits, s->per));
}

/* l:any_at_work(stage) -> whether a place that it reaches has anything to do */
static int l_any_at_work(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_pushboolean(L, mg_ledger_any_at_work(l, mg_check_stage(L, l, 2)));
  return 1;
}

/* l:in_work(stage) -> how many of its items are begun */
static int l_in_work(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_pushinteger(L, (lua_Integer)mg_ledger_in_work(l, mg_check_stage(L, l, 2)));
  return 1;
}

/* l:queued(place) -> items in its queues, bytes, items in its hands */
static int l_queued(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  const mg_place *p = mg_check_place(L, l, 2);
  uint64_t in_hand = p->hand.items;
  for (uint32_t i = 0; i < p->used; i++) in_hand += l->seat[p->first_seat + i].hand.items;
  lua_pushinteger(L, (lua_Integer)p->queued);
  lua_pushinteger(L, (lua_Integer)p->bytes);
  lua_pushinteger(L, (lua_Integer)in_hand);
  return 3;
}

/* l:only_way_in(place) -> the stage that all its items have come to | nil: there are several, or none yet */
static int l_only_way_in(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  const mg_place *p = mg_check_place(L, l, 2);
  if (p->only_way_in == 0 || p->only_way_in == MG_SEVERAL) return 0;
  lua_pushinteger(L, p->only_way_in);
  return 1;
}

/* --- places ------------------------------------------------------------------------------------------------------- */

/* l:open_lanes(place, partitioned): prepares for work that only one worker may have */
static int l_open_lanes(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  mg_place *p = mg_check_place(L, l, 2);
  mg_ledger_passed(L, l, mg_ledger_open_lanes(p));
  p->partitioned = 1;
  return 0;
}

/* l:order(place, head, limit): of an ordered place: ordinals up to `head`, or below `limit`, may be begun */
static int l_order(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  mg_place *p = mg_check_place(L, l, 2);
  p->order_head = (uint64_t)luaL_checkinteger(L, 3);
  p->order_limit = (uint64_t)luaL_checkinteger(L, 4);
  return 0;
}

/* l:no_more(stage, [boolean]) -> whether the workers of a loop stage know that nothing more comes; sets it */
static int l_no_more(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  uint32_t id = mg_check_stage(L, l, 2);
  lua_pushboolean(L, l->stage[id].no_more);
  if (lua_toboolean(L, 3) && !l->stage[id].no_more) {
    l->stage[id].no_more = 1;
    mg_place_of(l, id)->ended_loops++;
  }
  return 1;
}

/* l:finishing(place): no more work comes to it */
static int l_finishing(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  mg_check_place(L, l, 2)->finishing = 1;
  return 0;
}

/* Gives the workers of a place the blocks that they lack.  Pushes whether one still lacks one; and when to look again
 * for workers that are overdue, on the monotonic clock, or nil. */
static int supply(lua_State *L, mg_ledger *l, mg_place *p) {
  lua_pushboolean(L, mg_ledger_passed(L, l, mg_ledger_supply(l, p)));
  if (p->look_at == 0) lua_pushnil(L);
  else lua_pushnumber(L, (lua_Number)p->look_at / 1e9);
  return 2;
}

/* l:supply(place) -> what `supply` says */
static int l_supply(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  return supply(L, l, mg_check_place(L, l, 2));
}

/* l:dispatch(place) -> whether anything was handed out, nil, and what l:supply gives; or, where a process is to be
 * forked for it first, that, a slot and the work that it gets: then it is to be called again; or "damaged" and a stage:
 * a block with its items is */
static int l_dispatch(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  mg_place *p = mg_check_place(L, l, 2);
  int rc = mg_ledger_dispatch(l, p);
  if (rc == -EPROTO) {
    lua_pushliteral(L, "damaged");
    lua_pushinteger(L, l->damaged);
    return 2;
  }
  mg_ledger_passed(L, l, rc);
  lua_pushboolean(L, rc & MG_DISPATCHED);
  if (!(rc & MG_SPAWN)) {
    lua_pushnil(L);
    return 2 + supply(L, l, p);
  }
  lua_pushinteger(L, l->spawn_seat + 1);
  lua_pushinteger(L, l->spawn_work);
  return 3;
}

/* l:wanted(place) -> how large a block is that one waits for, in bytes */
static int l_wanted(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_pushinteger(L, (lua_Integer)mg_ledger_wanted(l, mg_check_place(L, l, 2)));
  return 1;
}

/* l:resize(place, n, most): it has n workers or threads from now on, and so many items may wait for them; 0: any number
 * */
static int l_resize(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  mg_place *p = mg_check_place(L, l, 2);
  uint32_t n = mg_check_u32(L, 3);
  luaL_argcheck(L, n > 0 && (p->seats == 0 || n <= p->seats), 3, "no such number of workers");
  p->n = n;
  p->most = mg_check_u32(L, 4);
  return 0;
}

/* l:free(place) -> how many single items it could begin at once, beside those in its queue */
static int l_free(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_pushinteger(L, (lua_Integer)mg_ledger_free(l, mg_check_place(L, l, 2)));
  return 1;
}

/* l:idles([place]), l:wakes(place), l:working(place), l:alive(place): whether a place could do more and finds
 * nothing in its queue (without one: any but the coordinator's own); whether something in it will end a sleep; whether
 * it has anything in hand; how many of its workers live */
static int ask(lua_State *L, int (*question)(const mg_ledger *, const mg_place *)) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_pushboolean(L, question(l, mg_check_place(L, l, 2)));
  return 1;
}

static int l_idles(lua_State *L) {
  if (lua_gettop(L) > 1) return ask(L, mg_ledger_idles);
  const mg_ledger *l = mg_check_ledger(L, 1);
  int idle = 0;
  for (uint32_t i = 0; i < l->places && !idle; i++) idle = !l->place[i].here && mg_ledger_idles(l, &l->place[i]);
  lua_pushboolean(L, idle);
  return 1;
}

static int l_wakes(lua_State *L) { return ask(L, mg_ledger_wakes); }
static int l_working(lua_State *L) { return ask(L, mg_ledger_working); }

static int l_alive(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_pushinteger(L, mg_ledger_alive(l, mg_check_place(L, l, 2)));
  return 1;
}

/* l:chunks(place) -> how many slices have been handed out */
static int l_chunks(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_pushinteger(L, (lua_Integer)mg_check_place(L, l, 2)->chunks);
  return 1;
}

/* l:rate(place) -> seconds per item | nil: not known */
static int l_rate(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  const mg_place *p = mg_check_place(L, l, 2);
  if (p->rate < 0) return 0;
  lua_pushnumber(L, p->rate);
  return 1;
}

/* l:learn(stage, seconds, n): so long have n items of one of the coordinator's own stages taken; l:slice(stage) -> how
 * many are to be run at once */
static int l_learn(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  mg_stage *s = &l->stage[mg_check_stage(L, l, 2)];
  mg_rate_learn(&l->terms, &s->rate, luaL_checknumber(L, 3), mg_check_u32(L, 4));
  return 0;
}

static int l_slice(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_pushinteger(L, mg_rate_slice(&l->terms, l->stage[mg_check_stage(L, l, 2)].rate, 0, 0));
  return 1;
}

const luaL_Reg mg_place_methods[] = {
    {"full", l_full}, {"blocked", l_blocked}, {"waits", l_waits}, {"must_wait", l_must_wait}, {"room", l_room},
    {"room_of_stage", l_room_of_stage}, {"any_at_work", l_any_at_work}, {"in_work", l_in_work},
    {"queued", l_queued}, {"only_way_in", l_only_way_in}, {"open_lanes", l_open_lanes}, {"order", l_order},
    {"no_more", l_no_more}, {"finishing", l_finishing}, {"dispatch", l_dispatch}, {"supply", l_supply},
    {"wanted", l_wanted}, {"idles", l_idles}, {"wakes", l_wakes}, {"working", l_working},
    {"alive", l_alive}, {"chunks", l_chunks}, {"rate", l_rate}, {"learn", l_learn}, {"slice", l_slice},
    {"resize", l_resize}, {"free", l_free}, {NULL, NULL},
};
