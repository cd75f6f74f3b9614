/* lua_chain_kept.c - what a chain keeps while a handler runs: what it has emitted, and the item as it came; see
 * lua_chain.h. */
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

void mg_kept_next(lua_State *L, mg_chain *c, mg_level *v, int more) {
  lua_State *kept = c->kept;
  int place = (int)(v->base + v->at + 1);
  if (!more && v->at + 1 == v->n) { /* the last: nothing is left of them */
    lua_xmove(kept, L, 1);
    if (v->at++ > 0) lua_settop(kept, (int)v->base);
    c->top = v->base;
    return;
  }
  lua_pushvalue(kept, place);
  lua_xmove(kept, L, 1);
  if (more) {
    lua_Integer most = LUA_MAXINTEGER;
    v->target++;
    mg_copy(L, c->codec, &most, 0);
  } else {
    v->at++;
    v->target = 0;
    lua_pushnil(kept);
    lua_replace(kept, place);
  }
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

/* Entries of an item that is copied although nothing has asked for that; fields of one that is not copied. */
enum { SMALL = 1 << 10, FIELDS = 8 };

/* Pushes the fields of the item at MG_AT_ITEM: 0: it is no table, or not of a few plain ones. */
static int push_fields(lua_State *L, mg_level *v) {
  if (lua_type(L, MG_AT_ITEM) != LUA_TTABLE || lua_getmetatable(L, MG_AT_ITEM)) return 0;
  int n = 0;
  lua_pushnil(L);
  for (; lua_next(L, MG_AT_ITEM); n++) {
    if (n == FIELDS || lua_type(L, -1) > LUA_TSTRING || lua_type(L, -2) > LUA_TSTRING) return 0;
    lua_pushvalue(L, -2);
  }
  v->fields = n;
  return 1;
}

void mg_item_keep(lua_State *L, mg_chain *c, mg_level *v) {
  int type = lua_type(L, MG_AT_ITEM);
  if ((type != LUA_TTABLE && type != LUA_TUSERDATA) || v->cursor || v->s->flags & MG_LINK_REREAD) return;
  luaL_checkstack(L, 2 * FIELDS + LUA_MINSTACK, NULL);
  lua_settop(L, MG_AT_EXTRA); /* an item that has left the chain leaves something there */
  if (push_fields(L, v)) return;
  lua_Integer most = v->s->flags & MG_LINK_KEEPS ? LUA_MAXINTEGER : SMALL;
  lua_settop(L, MG_AT_EXTRA);
  lua_pushvalue(L, MG_AT_ITEM);
  mg_copy(L, c->codec, &most, 0);
  v->fields = MG_FIELDS_COPY;
}

void mg_item_again(lua_State *L, const mg_level *v) {
  if (v->cursor) {
    mg_cursor_again(L, v->cursor);
  } else if (v->fields < 0) {
    lua_pushvalue(L, v->fields == MG_FIELDS_COPY ? MG_AT_EXTRA + 1 : MG_AT_ITEM);
  } else {
    lua_createtable(L, 0, v->fields);
    for (int at = MG_AT_EXTRA + 1; at < MG_AT_EXTRA + 1 + 2 * v->fields; at += 2) {
      lua_pushvalue(L, at);
      lua_pushvalue(L, at + 1);
      lua_rawset(L, -3);
    }
  }
}
