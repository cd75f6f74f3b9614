/* lua_answer.c - the usual way of an item that was submitted, and of what comes of it, without Lua between
 * (lua/minigun/run/answers.lua): it is written for the one stage that it goes to, what workers send back is its answer
 * or goes on to other stages, and when nothing of it is left that is noted in `done`.
 *
 * An answer is a table of Lua's, with the fields that answers.lua lists, and its own origin: `count` says how often it
 * is held.  Here are no calls of Lua functions, so no Ctrl-C comes in between.  Whatever needs one, and all that is not
 * usual, is left to Lua: several values at once, what cannot be encoded or decoded, types with hooks, and origins that
 * stand for several (policy/acks.lua) when the last of them has been released.
 */
#include <errno.h>

#include "lua_ledger.h"
#include "lua_writer.h"

/* --- in ---------------------------------------------------------------------------------------------------------- */

/* Encodes the value at the top as the next record of the open block: 1, or 0: it is not in it. */
static int write(lua_State *L, mg_writer *w) {
  size_t left = w->block == MG_NO_BLOCK ? 0 : w->size - w->end, length = 0;
  unsigned flags;
  if (left <= MG_RECORD_HEAD || w->count || w->encoding || mg_codec_has_hooks(w->codec)) return 0;
  uint8_t *to = mg_shm_at(&w->pool->shm, w->block) + w->end;
  size_t room = (left - MG_RECORD_HEAD) & ~(size_t)7;
  int top = lua_gettop(L), rc = mg_encode(L, w->codec, top, to + MG_RECORD_HEAD, room, &length, &flags);
  lua_settop(L, top);
  if (rc != MG_CODEC_OK) return 0; /* the writer itself says what it is */
  mg_writer_add(w, length, flags);
  return 1;
}

/* Notes that an item is begun, whose answer is at 4. */
static void note_begun(lua_State *L) {
  lua_getiuservalue(L, 1, MG_UV_ANSWERS);
  lua_getfield(L, 5, "at_work");
  lua_getfield(L, 4, "number");
  lua_pushvalue(L, 4);
  lua_rawset(L, 6);
  lua_settop(L, 4);
}

/* l:submit(writer, stage, answer) -> whether the item of an answer is written and queued for a stage; false: nothing
 * has been done.  The hold that the caller has of the answer is the work's from then on. */
static int l_submit(lua_State *L) {
  mg_ledger *l = mg_check_open_ledger(L, 1);
  mg_writer *w = mg_check_writer(L, 2);
  uint32_t stage = mg_check_stage(L, l, 3), work = MG_NO_WORK;
  luaL_checktype(L, 4, LUA_TTABLE);
  luaL_argcheck(L, l->pool == w->pool, 2, "of another pool");
  lua_settop(L, 4);
  lua_getfield(L, 4, "item");
  int begins = !l->torn && mg_ledger_free(l, mg_place_of(l, stage)) > 0 && !mg_ledger_must_wait(l, w->edge) &&
               write(L, w);
  lua_settop(L, 4);
  if (begins) {
    mg_range range;
    int torn = l->torn;
    l->torn = 1;
    note_begun(L);
    mg_writer_take(w, &range);
    if ((work = mg_work_new(l)) == MG_NO_WORK) return mg_ledger_passed(L, l, -ENOMEM);
    l->work[work].stage = stage;
    l->work[work].range = range;
    mg_keep(L, 1, work, MG_KEEP_ORIGIN);
    l->stage[w->edge].counts.items_out++;
    mg_ledger_accept(l, work);
    l->torn = torn;
  }
  lua_pushboolean(L, begins);
  return 1;
}

/* --- out --------------------------------------------------------------------------------------------------------- */

/* Pushes the origin of the work that a worker is at: 1, or 0: it is not known. */
static int push_origin(lua_State *L, const mg_ledger *l, const mg_slot_event *ev) {
  uint32_t w = mg_ledger_hand(l, ev->slot, ev->number);
  if (w == MG_NO_WORK || !(l->work[w].flags & MG_KEEP_FLAG(MG_KEEP_ORIGIN))) return 0;
  lua_getiuservalue(L, 1, MG_KEEP_ORIGIN);
  lua_rawgeti(L, -1, w);
  lua_remove(L, -2);
  return 1;
}

/* The value of a terminal stage is the answer to the item whose origin is on top: 1, or 0: it is not to be had so. */
static int answer(lua_State *L, const lua_ledger *own, const mg_range *range) {
  const mg_ledger *l = &own->l;
  int origin = lua_gettop(L);
  mg_codec *c = mg_codec_get(L);
  mg_record r;
  uint32_t space = mg_record_read(mg_shm_at(&l->pool->shm, range->block) + range->offset, range->length, &r);
  if (range->count != 1 || space != range->length || r.edge != range->edge || mg_codec_has_hooks(c)) return 0;
  if (lua_getfield(L, origin, "number") == LUA_TNIL) return 0;
  lua_getfield(L, origin, "cancelled");
  int wanted = !lua_toboolean(L, -1);
  if (mg_decode_record(L, c, &r, 0, 0) != MG_CODEC_OK) return 0;
  if (!wanted) return 1;
  if (own->lists) {
    if (lua_getfield(L, origin, "value") == LUA_TNIL) {
      lua_createtable(L, 1, 0);
      lua_replace(L, -2);
    }
    lua_insert(L, -2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  }
  lua_setfield(L, origin, "value");
  return 1;
}

/* Output of the item whose origin is on top goes to the next stages. */
static void pass_on(lua_State *L, mg_ledger *l, const mg_range *range) {
  const mg_stage *s = &l->stage[range->edge];
  int origin = lua_gettop(L);
  lua_getfield(L, origin, "count");
  lua_pushinteger(L, lua_tointeger(L, -1) + (lua_Integer)range->count * s->targets);
  lua_setfield(L, origin, "count");
  if (s->targets == 0) mg_shm_release(&l->pool->shm, range->block);
  for (uint32_t i = 0; i < s->targets; i++) {
    uint32_t w = mg_work_new(l);
    if (w == MG_NO_WORK) mg_ledger_passed(L, l, -ENOMEM);
    if (i + 1 < s->targets) mg_shm_retain(&l->pool->shm, range->block);
    l->work[w].stage = s->target[i];
    l->work[w].range = *range;
    lua_pushvalue(L, origin);
    mg_keep(L, 1, w, MG_KEEP_ORIGIN);
    mg_ledger_accept(l, w);
  }
}

/* Takes what a worker has sent: 1, or 0: that is left to Lua.  The pool does not have it any more, so an error in the
 * middle leaves the ledger torn: the run must not go on as if it had not been sent. */
static int take(lua_State *L, lua_ledger *own, const mg_slot_event *ev) {
  mg_ledger *l = &own->l;
  const mg_place *p = &l->place[l->seat[ev->slot].place];
  uint32_t edge = ev->range.edge;
  if (!own->answers || ev->kind != MG_EVENT_OUT || p->ordered || (p->threaded && ev->number == 0)) return 0;
  if (edge == 0 || edge > l->stages || mg_place_of(l, edge) != p) return 0;
  int top = lua_gettop(L), torn = l->torn, taken;
  l->torn = 1;
  taken = push_origin(L, l, ev);
  if (taken && l->stage[edge].terminal) {
    taken = answer(L, own, &ev->range);
    if (taken) mg_shm_release(&l->pool->shm, ev->range.block);
  } else if (taken) {
    pass_on(L, l, &ev->range);
  }
  if (taken && p->counted) l->stage[p->counted].counts.items_out += ev->range.count;
  lua_settop(L, top);
  l->torn = torn;
  return taken;
}

int mg_lua_collect(lua_State *L, lua_ledger *own, mg_slot_event *ev, int *busy) {
  for (;;) {
    int rc = mg_ledger_passed(L, &own->l, mg_ledger_collect(&own->l, ev, busy));
    if (rc == 0 || !take(L, own, ev)) return rc;
  }
}

/* --- setting up --------------------------------------------------------------------------------------------------- */

/* l:answers(answers, lists): from now on the origins of work are those of answers; lists: there may be several values
 * of one */
static int l_answers(lua_State *L) {
  lua_ledger *own = (lua_ledger *)(void *)mg_check_ledger(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  own->answers = 1;
  own->lists = lua_toboolean(L, 3);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, MG_UV_ANSWERS);
  return 0;
}

const luaL_Reg mg_answer_methods[] = {{"answers", l_answers}, {"submit", l_submit}, {NULL, NULL}};
