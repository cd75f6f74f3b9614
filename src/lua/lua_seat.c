/* lua_seat.c - methods of minigun.ledger that concern the workers in their seats, and what they say. */
#include <errno.h>

#include "lua_ledger.h"

/* A slot, as the index of its seat. */
static uint32_t check_seat(lua_State *L, const mg_ledger *l, int arg) {
  lua_Integer i = luaL_checkinteger(L, arg);
  luaL_argcheck(L, i >= 1 && i <= (lua_Integer)l->seats, arg, "no such slot");
  return (uint32_t)(i - 1);
}

static int push_work(lua_State *L, uint32_t w) {
  if (w == MG_NO_WORK) return 0;
  lua_pushinteger(L, w);
  return 1;
}

/* --- seats ------------------------------------------------------------------------------------------------------ */

/* l:seat_taken(slot): a process is there; l:seat_left(slot, vacant): it has ended, nothing is in its hand any more;
 * vacant: another one is forked when there is work for it */
static int l_seat_taken(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  mg_ledger_passed(L, l, mg_ledger_seat_taken(l, check_seat(L, l, 2)));
  return 0;
}

static int l_seat_left(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  mg_ledger_seat_left(l, check_seat(L, l, 2), lua_toboolean(L, 3));
  return 0;
}

/* l:seat(slot) -> pieces of work in its worker's hand, whether that ends or is about to be killed, has had what one
 * process is for; items done, seconds in handlers */
static int l_seat(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  const mg_seat *s = &l->seat[check_seat(L, l, 2)];
  lua_pushinteger(L, s->hand.n);
  lua_pushboolean(L, s->ends);
  lua_pushboolean(L, s->retired);
  lua_pushinteger(L, (lua_Integer)s->items);
  lua_pushnumber(L, (lua_Number)s->busy / 1e9);
  return 5;
}

/* l:hands(slot) -> array of the work in its worker's hand, the oldest first */
static int l_hands(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  lua_newtable(L);
  lua_Integer n = 0;
  for (uint32_t w = l->seat[check_seat(L, l, 2)].hand.first; w; w = l->work[w].next) {
    lua_pushinteger(L, w);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

/* l:tell(slot, boolean): whether "done" of this worker comes as an event, to be passed to l:done */
static int l_tell(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  l->seat[check_seat(L, l, 2)].told = lua_toboolean(L, 3);
  return 0;
}

/* l:retire(slot): no more work is for it, it ends */
static int l_retire(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  mg_ledger_retire(l, check_seat(L, l, 2));
  return 0;
}

/* l:leaving(slot): no more work is for it but what is offered; with the end of each slice the run hears "retire" */
static int l_leaving(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  mg_seat *s = &l->seat[check_seat(L, l, 2)];
  s->leaving = s->ends = 1;
  return 0;
}

/* l:ends(slot [, false]): its worker is about to be killed, or is not ready: no work is for it; or there is again */
static int l_ends(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  l->seat[check_seat(L, l, 2)].ends = lua_isnoneornil(L, 3) || lua_toboolean(L, 3);
  return 0;
}

/* l:revoke(slot) -> whether what its worker has in store, and has not begun, is in the queue again */
static int l_revoke(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  lua_pushboolean(L, mg_ledger_revoke(l, check_seat(L, l, 2)));
  return 1;
}

/* l:offer(slot, work) -> boolean: false: there is no room for it, and it is in the queue again */
static int l_offer(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  uint32_t seat = check_seat(L, l, 2), w = mg_check_work(L, l, 3);
  luaL_argcheck(L, l->pool->slot[seat].state == MG_SLOT_LIVE, 2, "the slot has no worker that takes work");
  lua_pushboolean(L, mg_ledger_passed(L, l, mg_ledger_offer(l, seat, w)));
  return 1;
}

/* l:hand(slot, number) -> the work of a worker's chunk, or without a number that which it is at | nothing */
static int l_hand(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  return push_work(L, mg_ledger_hand(l, check_seat(L, l, 2), (uint64_t)luaL_optinteger(L, 3, 0)));
}

/* l:at(slot, number) -> ordinal of the first unfinished item of that work | nothing */
static int l_at(lua_State *L) {
  mg_ledger *l = mg_check_ledger(L, 1);
  uint32_t w = mg_ledger_hand(l, check_seat(L, l, 2), (uint64_t)luaL_optinteger(L, 3, 0));
  if (w == MG_NO_WORK) return 0;
  lua_pushinteger(L, (lua_Integer)(l->work[w].first + l->work[w].finished));
  return 1;
}

/* l:left(slot, number, block, offset, length, count, only) -> work: a dead worker's slice, cut to what is unfinished,
 * held; the event's reference is taken over | nothing: it was taken back before */
static int l_left(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  uint32_t seat = check_seat(L, l, 2);
  mg_range r = {.block = MG_NO_BLOCK, .edge = MG_EDGE_ANY};
  if (lua_toboolean(L, 4)) r = mg_check_range(L, l->pool, 4);
  r.count = mg_check_u32(L, 7);
  r.edge = mg_check_u32(L, 8);
  return push_work(L, mg_ledger_left(l, seat, (uint64_t)luaL_checkinteger(L, 3), &r));
}

/* --- what they say ---------------------------------------------------------------------------------------------- */

/* l:collect(busy) -> whether there was anything (or `busy`), and the next event that is for the run, as of p:event() */
static int l_collect(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  lua_ledger *own = (lua_ledger *)(void *)l;
  mg_slot_event ev = own->event;
  int busy = own->held || lua_toboolean(L, 2), rc = own->held;
  own->held = 0;
  if (rc == 0) rc = mg_lua_collect(L, own, &ev, &busy);
  lua_pushboolean(L, busy);
  return rc ? 1 + mg_push_event(L, &ev) : 1;
}

/* l:done(slot, number, items, ended, seconds): what a "done" that has come as an event says */
static int l_done(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  mg_slot_event ev = {.kind = MG_EVENT_DONE, .slot = check_seat(L, l, 2), .number = (uint64_t)luaL_checkinteger(L, 3),
                      .a = mg_check_u32(L, 4), .b = (uint32_t)lua_toboolean(L, 5),
                      .nanos = (uint64_t)(luaL_checknumber(L, 6) * 1e9)};
  uint32_t w = mg_ledger_hand(l, ev.slot, ev.number);
  luaL_argcheck(L, w == MG_NO_WORK || ev.a <= mg_work_left(&l->work[w]), 4, "so many items are not in hand");
  mg_ledger_passed(L, l, mg_ledger_done(l, &ev));
  return 0;
}

/* l:ill() -> work, items found, where l:among has come upon a block that does not hold what was announced | nothing */
static int l_ill(lua_State *L) {
  const lua_ledger *own = (const lua_ledger *)(const void *)mg_check_ledger(L, 1);
  if (own->ill == MG_NO_WORK) return 0;
  lua_pushinteger(L, own->ill);
  lua_pushinteger(L, own->found);
  return 2;
}

/* l:producer(thread or nil): the coroutine that emits now, where it may yield to wait for receivers */
static int l_producer(lua_State *L) {
  lua_ledger *own = (lua_ledger *)(void *)mg_check_ledger(L, 1);
  own->producer = lua_tothread(L, 2);
  return 0;
}

const luaL_Reg mg_seat_methods[] = {
    {"seat_taken", l_seat_taken}, {"seat_left", l_seat_left}, {"seat", l_seat}, {"tell", l_tell},
    {"retire", l_retire}, {"leaving", l_leaving},
    {"offer", l_offer}, {"hand", l_hand}, {"hands", l_hands}, {"at", l_at},
    {"left", l_left}, {"ends", l_ends}, {"revoke", l_revoke}, {"collect", l_collect}, {"done", l_done},
    {"ill", l_ill}, {"producer", l_producer}, {NULL, NULL},
};
