/* lua_through.c - the way of what is written straight into the ledger, without Lua between: for writers whose items
 * need nothing but to be accepted by other stages (w:through). */
#include <errno.h>

#include "lua_ledger.h"
#include "lua_writer.h"

/* Passes on what is written into the open block.  Returns how many items. */
static uint32_t pass_on(lua_State *L, mg_writer *w) {
  lua_ledger *own = w->through;
  mg_ledger *l = &own->l;
  mg_range range;
  uint32_t work;
  own->L = L;
  if (!mg_writer_take(w, &range)) return 0;
  int torn = l->torn;
  l->torn = 1;
  for (uint32_t i = 0; i < w->targets; i++) {
    if (i + 1 < w->targets) mg_shm_retain(&l->pool->shm, range.block);
    mg_ledger_passed(L, l, mg_ledger_accept_range(l, w->target[i], &range, w->lane, &work));
  }
  l->torn = torn;
  return range.count;
}

/* The same; what a producer has written is counted. */
static void flush(lua_State *L, mg_writer *w) {
  uint32_t n = pass_on(L, w);
  if (w->direct) w->through->l.stage[w->stage].counts.items_out += n;
}

/* Whether a receiver has nothing to do. */
static int is_awaited(const mg_writer *w) {
  for (uint32_t i = 0; i < w->targets; i++)
    if (mg_place_of(&w->through->l, w->target[i])->queued == 0) return 1;
  return 0;
}

void mg_flush_wanted(lua_State *L, lua_ledger *own) {
  for (mg_writer *w = own->writers; w; w = w->after)
    if (w->count > 0 && !w->singly && (!w->direct || is_awaited(w))) flush(L, w);
}

/* --- after each item ---------------------------------------------------------------------------------------------- */

lua_Integer mg_writer_wait(lua_State *L, mg_writer *w) {
  lua_ledger *own = w->through;
  if (!mg_ledger_must_wait(&own->l, w->stage)) return MG_FULL_NOT;
  if (own->producer != L || !lua_isyieldable(L)) return MG_FULL_EACH; /* the run goes on inside of its call */
  own->parked = 1;
  return MG_FULL_PARK;
}

lua_Integer mg_writer_each(lua_State *L, mg_writer *w, int others) {
  mg_ledger *l = &w->through->l;
  flush(L, w);
  for (uint32_t i = 0; i < w->targets; i++) {
    mg_place *p = mg_place_of(l, w->target[i]);
    if (p->seats == 0 || p->fresh) continue;
    int rc = mg_ledger_dispatch(l, p);
    if (rc == -EPROTO) continue; /* the run's own round finds it too, and says so */
    if (mg_ledger_passed(L, l, rc) & MG_SPAWN) mg_ledger_push(l, l->spawn_work, 1);
  }
  lua_Integer need = mg_writer_wait(L, w);
  if (need != MG_FULL_NOT || !others) return need;
  if (!w->waited) return MG_FULL_WANTED;
  w->waited = 0; /* others have had their turn meanwhile */
  return MG_FULL_NOT;
}

/* --- setting up --------------------------------------------------------------------------------------------------- */

/* w:through(ledger, stage, targets, lane) -> whether from now on what is written goes straight to these stages,
 * as far as the ledger's own rounds pass it on and, of w:singly, after each item.  stage: the sender */
static int l_through(lua_State *L) {
  mg_writer *w = mg_check_writer(L, 1);
  mg_ledger *l = mg_check_open_ledger(L, 2);
  lua_ledger *own = (lua_ledger *)(void *)l;
  uint32_t stage = mg_check_stage(L, l, 3), lane = (uint32_t)luaL_optinteger(L, 5, 0);
  luaL_checktype(L, 4, LUA_TTABLE);
  size_t n = lua_rawlen(L, 4);
  luaL_argcheck(L, l->pool == w->pool && !w->through, 2, "the ledger of another pool, or not the first one");
  lua_pushboolean(L, n >= 1 && n <= MG_WRITER_TARGETS);
  if (n < 1 || n > MG_WRITER_TARGETS) return 1;
  for (uint32_t i = 0; i < n; i++) {
    lua_rawgeti(L, 4, i + 1);
    w->target[i] = mg_check_stage(L, l, -1);
    lua_pop(L, 1);
  }
  lua_getiuservalue(L, 2, MG_UV_WRITERS); /* keeps it as long as the ledger names it */
  lua_pushvalue(L, 1);
  lua_rawsetp(L, -2, w);
  lua_pop(L, 1);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, 1, UV_LEDGER);
  w->targets = (uint32_t)n;
  w->stage = stage;
  w->lane = lane;
  w->through = own;
  w->after = own->writers;
  own->writers = w;
  return 1;
}

void mg_writer_leave(mg_writer *w) {
  if (!w->through) return;
  for (mg_writer **at = &w->through->writers; *at; at = &(*at)->after)
    if (*at == w) {
      *at = w->after;
      break;
    }
  w->through = NULL;
}

/* w:pass() -> how many items were written into the open block of a writer that goes straight through: they are passed
 * on, and to be counted by the caller */
static int l_pass(lua_State *L) {
  mg_writer *w = mg_check_writer(L, 1);
  luaL_argcheck(L, w->through, 1, "it does not go straight through");
  lua_pushinteger(L, pass_on(L, w));
  return 1;
}

/* w:emits(): a producer emits with it, and what it has emitted is counted when it goes through */
static int l_emits(lua_State *L) {
  mg_check_writer(L, 1)->direct = 1;
  return 0;
}

/* w:singly(): on_full is called after each item, with MG_FULL_EACH where it would not be called otherwise */
static int l_singly(lua_State *L) {
  mg_check_writer(L, 1)->singly = 1;
  return 0;
}

const luaL_Reg mg_through_methods[] = {
    {"through", l_through}, {"pass", l_pass}, {"emits", l_emits}, {"singly", l_singly}, {NULL, NULL},
};
