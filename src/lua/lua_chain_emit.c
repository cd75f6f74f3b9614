/* lua_chain_emit.c - the emit object of a chain's handlers, and what is kept until they have returned. */
#include "core/proc.h"
#include "lua_chain.h"

/* What was emitted has gone on, or an error ends the run: the handler, which may catch that, has its limit again. */
static int emitted(lua_State *L, int status, lua_KContext before) {
  mg_limit_pause((int)before);
  return status == LUA_OK || status == LUA_YIELD ? 0 : lua_error(L);
}

/* chain_flush(chain): passes on what the handler that runs has emitted and collected so far.  In the module, so that a
 * traceback can tell where the stages after that handler begin. */
static int flush(lua_State *L) {
  mg_chain *c = luaL_checkudata(L, MG_AT_CHAIN, MG_CHAIN_TYPE);
  mg_link *s = c->running;
  if (!s) return luaL_error(L, "no handler of this chain runs");
  uint32_t base = c->levels[c->depth - 1].base;
  lua_getiuservalue(L, MG_AT_CHAIN, MG_CHAIN_NOTE);
  lua_settop(L, MG_AT_EXTRA);
  mg_chain_begin(L, c)->base = base;
  mg_level *v = mg_chain_level(L, c, MG_LEVEL_PASSING);
  v->s = s;
  v->base = base;
  mg_chain_pass(L, c);
  return mg_chain_go(L, c);
}

/* The value at idx is kept, for all receivers or, with an id, for one.  Of a handler that emits very much all goes on
 * as a stream. */
static int add(lua_State *L, mg_chain *c, mg_link *s, int idx, lua_Integer id) {
  mg_kept_add(L, c, idx);
  if (MG_UNLIKELY(id)) {
    lua_getiuservalue(L, 1, MG_CHAIN_DIRECT);
    lua_pushinteger(L, id);
    lua_rawseti(L, -2, c->top);
    c->directs++;
  }
  if (MG_LIKELY(c->top - c->levels[c->depth - 1].base < MG_CHAIN_KEEP)) return 0;
  s->partial = 1;
  lua_settop(L, 2);
  lua_pushcfunction(L, flush);
  if (luaL_testudata(L, 1, MG_CHAIN_TYPE)) lua_pushvalue(L, 1);
  else lua_getiuservalue(L, 1, MG_LINK_UV_CHAIN);
  if (s->flags & MG_LINK_WATCHING) mg_chain_call(L, 4, MG_CHAIN_STREAMS, s, 0, 0);
  int before = mg_limit_pause(1);
  return emitted(L, lua_pcallk(L, 1, 0, 0, before, emitted), before);
}

static int looked_at(lua_State *L, int status, lua_KContext k) {
  (void)L;
  (void)status;
  (void)k;
  return 0;
}

/* Calls a function of the chain that is the last user value pushed, with `args` values from index 2 on. */
static int call_lua(lua_State *L, const mg_link *s, int function, int args) {
  lua_settop(L, 1 + args);
  lua_getiuservalue(L, 1, MG_LINK_UV_CHAIN);
  lua_getiuservalue(L, -1, function);
  lua_pushinteger(L, s->id);
  for (int i = 0; i < args; i++) lua_pushvalue(L, 2 + i);
  lua_callk(L, args + 1, 0, 0, looked_at);
  return 0;
}

static int may_emit(const mg_link *s) { return s->chain->running == s && s->chain->process == mg_process_serial; }

/* emit(value) */
static int l_emit(lua_State *L) {
  mg_link *s = lua_touserdata(L, 1); /* called through __call of this type only */
  int type = lua_type(L, 2);
  if (MG_UNLIKELY(type <= LUA_TNIL)) return luaL_error(L, MG_EMIT_NIL);
  if (MG_UNLIKELY(!may_emit(s))) return luaL_error(L, MG_EMIT_OVER);
  if (MG_UNLIKELY(s->flags & (MG_LINK_SLOW | MG_LINK_WATCHING | MG_LINK_EARLY))) {
    if (lua_type(L, 3) > LUA_TNIL) return luaL_error(L, MG_EMIT_MORE);
    int changes = type == LUA_TTABLE || type == LUA_TUSERDATA;
    if (changes || s->flags & (MG_LINK_SLOW | MG_LINK_WATCHING)) return call_lua(L, s, MG_CHAIN_ADD, 1);
  }
  return add(L, s->chain, s, 2, 0);
}

/* emit:to(name, value) */
static int l_emit_to(lua_State *L) {
  mg_link *s = luaL_testudata(L, 1, MG_LINK_TYPE);
  if (!s) return luaL_error(L, MG_EMIT_COLON);
  if (lua_type(L, 4) > LUA_TNIL) return luaL_error(L, MG_EMIT_MORE);
  if (!may_emit(s)) return luaL_error(L, MG_EMIT_OVER);
  return call_lua(L, s, MG_CHAIN_ADD_TO, 2);
}

/* c:keep(id, value, [target]): what an emit has looked at is kept, for all receivers or for one */
static int l_keep(lua_State *L) {
  mg_link *s = mg_check_link(L, 2);
  if (!may_emit(s)) return luaL_error(L, MG_EMIT_OVER);
  lua_Integer target = luaL_optinteger(L, 4, 0);
  lua_settop(L, 3);
  return add(L, s->chain, s, 3, target);
}

/* c:keeps(id) -> whether the stage's handler runs, so that what it collects must be kept: it is then noted that there
 * is something */
static int l_keeps(lua_State *L) {
  mg_link *s = mg_check_link(L, 2);
  int keeps = s->chain->running == s;
  if (keeps) s->flags |= MG_LINK_EFFECTS;
  lua_pushboolean(L, keeps);
  return 1;
}

const luaL_Reg mg_link_methods[] = {{"keep", l_keep}, {"keeps", l_keeps}, {NULL, NULL}};

void mg_link_setup(lua_State *L) {
  mg_emit_type(L, MG_LINK_TYPE, l_emit, l_emit_to);
  lua_pushcfunction(L, flush);
  lua_setfield(L, -2, "chain_flush");
}
