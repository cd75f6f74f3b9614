/* lua_chain.c - userdata minigun.chain: see lua_chain.h.  Here are its construction and its methods. */
#include <string.h>

#include "core/proc.h"
#include "lua_chain.h"

static const char *const functions[] = {
    [MG_CHAIN_FAILED] = "failed", [MG_CHAIN_UNREADABLE] = "unreadable", [MG_CHAIN_GATHER] = "gather",
    [MG_CHAIN_LOOK] = "look",     [MG_CHAIN_LOOKED] = "looked",         [MG_CHAIN_PASS_EFFECTS] = "pass_effects",
    [MG_CHAIN_SHARED] = "shared", [MG_CHAIN_STREAMS] = "streams",       [MG_CHAIN_ADD] = "add",
    [MG_CHAIN_ADD_TO] = "add_to", [MG_CHAIN_SEND_TO] = "send_to",       [MG_CHAIN_RETURNED] = "returned",
    [MG_CHAIN_NOTHING] = "nothing",
};

/* chain(ids, links, note, process, functions) -> chain.  ids: the highest number of a stage; links: how many stages
 * there will be; note: the message handler of handlers; process: as of core.process(); functions: by the names above,
 * each gets the stage's id and:
 *   failed(item, error, attempt, partial, number)   a handler has raised
 *   unreadable(item, problem)   an item of a cursor cannot be had
 *   gather(item)                of a stage without a handler
 *   look() -> watch             a call is looked at: whether its emissions are watched
 *   looked(seconds) -> skip, watch, early   it took so long: calls until the next; watch further; copy tables
 *   pass_effects()              what the handler has collected goes on
 *   shared()                    a table was emitted more than once by one call
 *   streams()                   emissions of a call that is watched are let through before it has ended
 *   add(item), add_to(name, item)   emissions that are not common: c:keep(id, item, target) keeps them
 *   send_to(target, item)       an item for one stage leaves the chain
 *   returned()                  the handler has returned a value, for the first time
 *   nothing()                   raises: the function of a map or a fold has returned nil */
static int l_chain(lua_State *L) {
  uint32_t ids = mg_check_u32(L, 1), links = mg_check_u32(L, 2);
  luaL_argcheck(L, links <= ids, 2, "more than there are ids");
  luaL_argcheck(L, links <= (UINT16_MAX - MG_CHAIN_LINKS) / MG_LINK_PLACES, 2, "too many"); /* user values */
  luaL_checktype(L, 3, LUA_TFUNCTION);
  luaL_checktype(L, 5, LUA_TTABLE);
  size_t size = sizeof(mg_chain) + (ids + 1) * sizeof(mg_link *);
  mg_chain *c = lua_newuserdatauv(L, size, MG_CHAIN_LINKS - 1 + MG_LINK_PLACES * (int)links);
  memset(c, 0, size);
  c->codec = mg_codec_get(L);
  c->process = (unsigned)luaL_checkinteger(L, 4);
  c->ids = ids;
  for (int i = MG_CHAIN_FAILED; i <= MG_CHAIN_FUNCTIONS; i++) {
    if (lua_getfield(L, 5, functions[i]) != LUA_TFUNCTION) return luaL_error(L, "function '%s' missing", functions[i]);
    lua_setiuservalue(L, -2, i);
  }
  lua_pushvalue(L, 3);
  lua_setiuservalue(L, -2, MG_CHAIN_NOTE);
  lua_newtable(L);
  lua_setiuservalue(L, -2, MG_CHAIN_DIRECT);
  c->kept = lua_newthread(L);
  lua_setiuservalue(L, -2, MG_CHAIN_KEPT);
  luaL_setmetatable(L, MG_CHAIN_TYPE);
  return 1;
}

/* c:link(id, inner, handler, ctx) -> emit: adds a stage whose emissions go to so many others of the chain, see
 * c:connect */
static int l_link(lua_State *L) {
  mg_chain *c = mg_check_chain(L);
  uint32_t id = mg_check_u32(L, 2), inners = mg_check_u32(L, 3);
  luaL_argcheck(L, id <= c->ids && !c->by_id[id], 2, "a number that is free expected");
  luaL_argcheck(L, inners <= c->ids, 3, "too many");
  lua_settop(L, 5);
  size_t size = sizeof(mg_link) + inners * sizeof(mg_link *);
  mg_link *s = lua_newuserdatauv(L, size, MG_LINK_UV_STAGE);
  memset(s, 0, size);
  s->chain = c;
  s->id = id;
  s->inners = inners;
  s->place = MG_CHAIN_LINKS + MG_LINK_PLACES * (int)c->links;
  static const int arguments[] = {[MG_LINK_UV_CHAIN] = 1, [MG_LINK_UV_HANDLER] = 4, [MG_LINK_UV_CTX] = 5};
  for (int i = MG_LINK_UV_CHAIN; i <= MG_LINK_UV_CTX; i++) {
    lua_pushvalue(L, arguments[i]);
    lua_setiuservalue(L, -2, i);
  }
  luaL_setmetatable(L, MG_LINK_TYPE);
  lua_pushvalue(L, -1);
  if (!lua_setiuservalue(L, 1, s->place)) return luaL_error(L, "more links than were announced");
  c->links++;
  c->by_id[id] = s;
  return 1;
}

/* c:connect(id, inner, out, stage): the ids of the stages of the chain that get what a stage emits; what is called for
 * each item that leaves the chain there: out(stage, item), or out(item) where stage is nil */
static int l_connect(lua_State *L) {
  mg_chain *c = mg_check_chain(L);
  mg_link *s = mg_check_link(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  uint32_t n = (uint32_t)lua_rawlen(L, 3);
  luaL_argcheck(L, n <= s->inners, 3, "more than c:link was told");
  lua_settop(L, 5);
  for (uint32_t i = 0; i < n; i++) {
    lua_rawgeti(L, 3, i + 1);
    uint32_t id = mg_check_u32(L, -1);
    luaL_argcheck(L, id <= c->ids && c->by_id[id], 3, "no stage of this chain");
    s->inner[i] = c->by_id[id];
    lua_pop(L, 1);
  }
  s->inners = n;
  s->emit = lua_isnil(L, 5) ? mg_test_emit(L, 4) : NULL;
  lua_getiuservalue(L, 1, s->place);
  lua_insert(L, 4);
  lua_setiuservalue(L, 4, MG_LINK_UV_STAGE);
  lua_setiuservalue(L, 4, MG_LINK_UV_OUT);
  return 0;
}

/* c:set(id, name, on): what a stage is or does */
static int l_set(lua_State *L) {
  static const char *const names[] = {"gathers", "keeps", "early", "slow", "outside", "apart", "reread", "aside", NULL};
  static const unsigned flags[] = {MG_LINK_GATHERS, MG_LINK_KEEPS, MG_LINK_EARLY, MG_LINK_SLOW,
                                   MG_LINK_OUTSIDE, MG_LINK_APART, MG_LINK_REREAD, MG_LINK_ASIDE};
  mg_link *s = mg_check_link(L, 2);
  unsigned flag = flags[luaL_checkoption(L, 3, NULL, names)];
  luaL_argcheck(L, flag != MG_LINK_ASIDE || s->chain->worker, 3, "c:worker comes before");
  s->flags = lua_toboolean(L, 4) ? s->flags | flag : s->flags & ~flag;
  return 0;
}

/* c:handler(id, f): its handler from now on */
static int l_handler(lua_State *L) {
  const mg_link *s = mg_check_link(L, 2);
  lua_settop(L, 3);
  lua_getiuservalue(L, 1, s->place);
  lua_insert(L, 3);
  lua_setiuservalue(L, 3, MG_LINK_UV_HANDLER);
  return 0;
}

/* --- maps and folds ---------------------------------------------------------------------------------------------- */

/* c:direct(id, folds, f): the stage's function, of a map or of a fold; f nil: its handler is called as any other's */
static int l_direct(lua_State *L) {
  mg_link *s = mg_check_link(L, 2);
  s->flags &= ~(unsigned)(MG_LINK_MAPS | MG_LINK_FOLDS);
  if (!lua_isnoneornil(L, 4)) s->flags |= lua_toboolean(L, 3) ? MG_LINK_FOLDS : MG_LINK_MAPS;
  lua_settop(L, 4);
  lua_setiuservalue(L, 1, s->place + MG_LINK_DIRECT);
  return 0;
}

/* c:fold(id, value): what a fold's first item has given */
static int l_fold(lua_State *L) {
  mg_link *s = mg_check_link(L, 2);
  luaL_checkany(L, 3);
  lua_settop(L, 3);
  lua_setiuservalue(L, 1, s->place + MG_LINK_VALUE);
  s->folded = 1;
  return 0;
}

/* c:folded(id) -> how many items a fold has taken, and their value; the next one begins anew */
static int l_folded(lua_State *L) {
  mg_link *s = mg_check_link(L, 2);
  lua_pushinteger(L, s->folded);
  if (s->folded == 0) return 1;
  s->folded = 0;
  lua_getiuservalue(L, 1, s->place + MG_LINK_VALUE);
  lua_pushnil(L);
  lua_setiuservalue(L, 1, s->place + MG_LINK_VALUE);
  return 2;
}

/* --- items ------------------------------------------------------------------------------------------------------- */

static void check(const mg_chain *c) {
  MG_ASSERT(!c->depth || c->levels[0].kind == MG_LEVEL_CALL);
  for (uint32_t i = 0; i < c->depth; i++) {
    MG_ASSERT(c->levels[i].base <= c->top);
    MG_ASSERT(i == 0 || c->levels[i - 1].base <= c->levels[i].base);
  }
  MG_ASSERT(!c->running || (c->depth && c->levels[c->depth - 1].kind == MG_LEVEL_RUNNING));
}

/* Makes the stack, whose third value is the item, that of a function that goes through the chain. */
static mg_chain *make_stack(lua_State *L) {
  lua_settop(L, MG_AT_EXTRA);
  lua_getiuservalue(L, MG_AT_CHAIN, MG_CHAIN_NOTE);
  lua_replace(L, MG_AT_NOTE);
  return lua_touserdata(L, MG_AT_CHAIN);
}

/* The same, and begins a CALL. */
static mg_chain *begin(lua_State *L) {
  mg_chain *c = make_stack(L);
  if (MG_UNLIKELY(mg_checking)) check(c);
  mg_chain_begin(L, c);
  return c;
}

/* c:push(id, item, attempt, [number]): runs one item through the stage and all after it.  attempt: 1 for the first,
 * which is counted; number: of a further one, that of the item */
static int l_push(lua_State *L) {
  mg_link *s = mg_check_link(L, 2);
  lua_Integer attempt = luaL_checkinteger(L, 4), number = luaL_optinteger(L, 5, 0);
  mg_chain *c = begin(L);
  if (attempt == 1) s->in++;
  mg_chain_level(L, c, MG_LEVEL_RUNNING);
  mg_level *v = mg_chain_enter(c, s);
  v->attempt = attempt;
  v->number = number;
  return mg_chain_go(L, c);
}

/* c:push_all(id, cursor) -> how many: the same for all items that a cursor gives, which are counted by its user */
static int l_push_all(lua_State *L) {
  mg_link *s = mg_check_link(L, 2);
  mg_cursor *from = luaL_checkudata(L, 3, MG_CURSOR_TYPE);
  lua_settop(L, 3);
  lua_pushvalue(L, 3); /* at MG_AT_EXTRA */
  mg_chain *c = begin(L);
  mg_level *v = &c->levels[c->depth - 1];
  v->s = s;
  v->cursor = from;
  return mg_chain_go(L, c);
}

/* c:send(id, item): passes an item on as if the stage had emitted it */
static int l_send(lua_State *L) {
  mg_link *s = mg_check_link(L, 2);
  luaL_checkany(L, 3);
  mg_chain *c = begin(L);
  if (s->inners == 1 && !(s->flags & MG_LINK_OUTSIDE)) {
    mg_chain_level(L, c, MG_LEVEL_RUNNING);
    mg_chain_enter(c, s->inner[0]);
    s->inner[0]->in++;
    return mg_chain_go(L, c);
  }
  mg_level *v = mg_chain_level(L, c, MG_LEVEL_PASSING);
  v->s = s;
  v->n = 1;
  v->at = v->target = 0;
  mg_kept_add(L, c, MG_AT_ITEM);
  return mg_chain_go(L, c);
}

/* The item at MG_AT_ITEM goes to the entry.  Of a batch of which nothing is left there is no item. */
static void take(lua_State *L, mg_chain *c) {
  if (MG_UNLIKELY(mg_checking)) check(c);
  if (lua_isnil(L, MG_AT_ITEM) && c->attempt != 0) return;
  mg_chain_begin(L, c);
  mg_chain_level(L, c, MG_LEVEL_RUNNING);
  mg_chain_enter(c, c->entry)->attempt = c->attempt;
  mg_chain_go(L, c);
}

/* c:take(id, item): as c:push, for the stage and the attempt that c:begin has said; the item is counted by its user */
static int l_take(lua_State *L) {
  mg_check_link(L, 2);
  take(L, make_stack(L));
  return 0;
}

/* See mg_worker_chain. */
static int run_chunk(lua_State *L) {
  mg_chain *c = lua_touserdata(L, MG_AT_CHAIN);
  for (int status; mg_worker_item(L, MG_AT_EXTRA, &status);) {
    lua_replace(L, MG_AT_ITEM);
    take(L, c);
    lua_settop(L, MG_AT_EXTRA);
    mg_worker_item_done(L, MG_AT_EXTRA, status);
  }
  lua_pushboolean(L, 0); /* what its handlers return is seen to elsewhere */
  return 1;
}

/* c:worker(w): the worker whose chain it is, for "aside" and w:run */
static int l_worker(lua_State *L) {
  mg_chain *c = mg_check_chain(L);
  c->worker = mg_check_worker(L, 2);
  mg_worker_chain(c->worker, run_chunk);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, MG_CHAIN_WORKER);
  return 0;
}

/* c:begin(id, attempt): what the library has raised in a call before, which so was not ended, is forgotten */
static int l_begin(lua_State *L) {
  mg_chain *c = mg_check_chain(L);
  c->depth = 0;
  c->running = NULL;
  mg_kept_drop(L, c, 0);
  c->entry = mg_check_link(L, 2);
  c->attempt = luaL_checkinteger(L, 3);
  return 0;
}

/* --- what it says ------------------------------------------------------------------------------------------------ */

/* c:counts(id, [anew]) -> items pushed, emitted, calls that have failed; anew: they are counted from 0 again */
static int l_counts(lua_State *L) {
  mg_link *s = mg_check_link(L, 2);
  lua_pushinteger(L, s->in);
  lua_pushinteger(L, s->out);
  lua_pushinteger(L, s->failed);
  if (lua_toboolean(L, 3)) s->in = s->out = s->failed = 0;
  return 3;
}

/* c:count(id, in, out, failed): adds to them */
static int l_count(lua_State *L) {
  mg_link *s = mg_check_link(L, 2);
  s->in += luaL_checkinteger(L, 3);
  s->out += luaL_checkinteger(L, 4);
  s->failed += luaL_checkinteger(L, 5);
  return 0;
}

/* c:number(id) -> how many items have come to the stage, also by cursors */
static int l_number(lua_State *L) {
  mg_link *s = mg_check_link(L, 2);
  lua_pushinteger(L, s->in + s->read);
  return 1;
}

/* c:sender() -> the id of the stage whose item has left the chain last */
static int l_sender(lua_State *L) {
  mg_chain *c = mg_check_chain(L);
  if (c->sender) lua_pushinteger(L, c->sender->id);
  else lua_pushnil(L);
  return 1;
}

static const luaL_Reg methods[] = {
    {"link", l_link},         {"connect", l_connect}, {"set", l_set},     {"handler", l_handler},
    {"push", l_push},         {"push_all", l_push_all}, {"send", l_send}, {"take", l_take},
    {"begin", l_begin},       {"counts", l_counts},   {"count", l_count}, {"number", l_number},
    {"sender", l_sender},     {"worker", l_worker},   {"direct", l_direct}, {"fold", l_fold},
    {"folded", l_folded},     {NULL, NULL},
};

void mg_chain_setup(lua_State *L) {
  luaL_newmetatable(L, MG_CHAIN_TYPE);
  luaL_newlibtable(L, methods);
  for (int i = 0; i < 2; i++) {
    lua_pushvalue(L, -2); /* for mg_check_chain */
    luaL_setfuncs(L, i ? mg_link_methods : methods, 1);
  }
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  mg_link_setup(L);
  lua_pushcfunction(L, l_chain);
  lua_setfield(L, -2, "chain");
}
