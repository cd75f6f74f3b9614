/* lua_chain_kept.c - what the handlers of a chain have emitted, until it is passed on: see lua_chain.h. */
#include "lua_chain.h"

void mg_kept_add(lua_State *L, mg_chain *c, int idx) {
  if (MG_UNLIKELY(c->top == c->room)) {
    uint32_t more = c->room ? c->room : LUA_MINSTACK;
    if (!lua_checkstack(c->kept, (int)more + 1)) /* one for what is copied there */
      luaL_error(L, "too much is emitted to be kept");
    c->room += more;
  }
  lua_pushvalue(L, idx);
  lua_xmove(L, c->kept, 1);
  c->top++;
}

lua_Integer mg_kept_direct(lua_State *L, mg_chain *c, uint32_t at) {
  lua_getiuservalue(L, MG_AT_CHAIN, MG_CHAIN_DIRECT);
  lua_Integer id = lua_rawgeti(L, -1, at) == LUA_TNIL ? 0 : lua_tointeger(L, -1);
  lua_pop(L, 1);
  if (id) {
    c->directs--;
    lua_pushnil(L);
    lua_rawseti(L, -2, at);
  }
  lua_pop(L, 1);
  return id;
}

void mg_kept_drop(lua_State *L, mg_chain *c, uint32_t base) {
  for (uint32_t i = c->top; i > base && c->directs; i--) mg_kept_direct(L, c, i);
  lua_settop(c->kept, (int)base);
  c->top = base;
}

int mg_kept_unshare(lua_State *L, mg_chain *c, uint32_t base) {
  enum { BEFORE = 8 };
  const void *last[BEFORE] = {NULL};
  int found = 0;
  for (uint32_t i = base + 1; i <= c->top; i++) {
    const void *object = NULL;
    int type = lua_type(c->kept, (int)i), again = 0;
    if (type == LUA_TTABLE || type == LUA_TUSERDATA) object = lua_topointer(c->kept, (int)i);
    if (!object) continue;
    for (int k = 0; k < BEFORE; k++) again |= last[k] == object;
    last[i % BEFORE] = object;
    if (MG_LIKELY(!again)) continue;
    lua_Integer most = LUA_MAXINTEGER;
    found = 1;
    lua_pushvalue(c->kept, (int)i);
    lua_xmove(c->kept, L, 1);
    mg_copy(L, c->codec, &most, 0);
    lua_xmove(L, c->kept, 1);
    lua_replace(c->kept, (int)i);
  }
  return found;
}
