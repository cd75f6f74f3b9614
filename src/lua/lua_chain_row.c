/* lua_chain_row.c - a row: items of a cursor, one after the other under one protected call, as long as the stage's
 * handler emits nothing, as a consumer's.  It ends with the first call that leaves more to do than to take the next
 * item: all is then as if the last item had been called by itself.
 */
#include "lua_chain.h"

/* The function's stack. */
enum { AT_HANDLER = MG_AT_CHAIN + 1, AT_ITEM, AT_EMIT, AT_CTX };

/* Whether the call that has returned has left nothing to be seen to: it may have emitted as a stream, too. */
static int is_over(mg_chain *c, lua_KContext at) {
  if (MG_UNLIKELY(c->depth == 0 || mg_chain_key(c) != at)) return 0;
  const mg_level *v = mg_chain_top(c);
  const mg_link *s = v->s;
  return c->top == v->base && !s->partial && s->skip > 0 && s->attempt == v->attempt &&
         !(s->flags & (MG_LINK_EFFECTS | MG_LINK_ASIDE));
}

/* The two values on top are of an item that cannot be had: they are for the CALL.  Where memory is short it raises, and
 * the cursor is before that item. */
static void leave_unread(lua_State *L, mg_level *call) {
  mg_cursor *from = call->cursor;
  uint32_t after = from->at;
  from->at = from->last;
  lua_createtable(L, 2, 0);
  lua_insert(L, -3);
  lua_rawseti(L, -3, 2);
  lua_rawseti(L, -2, 1);
  lua_setiuservalue(L, MG_AT_CHAIN, MG_CHAIN_UNREAD);
  from->at = after;
  call->unread = 1;
}

/* Pushes the next item.  0: it is not to be had here. */
static int take(lua_State *L, mg_chain *c) {
  c->running = NULL;
  c->reading = 1;
  int values = mg_cursor_next(L, mg_chain_top(c)->cursor);
  mg_level *v = mg_chain_top(c);
  if (MG_UNLIKELY(values > 1)) leave_unread(L, v - 1);
  c->reading = 0;
  if (values != 1) return 0;
  v->s->skip--;
  v->s->read++;
  v[-1].count++; /* of the CALL */
  return 1;
}

static int go_on(lua_State *L, int status, lua_KContext at) {
  mg_chain *c = lua_touserdata(L, MG_AT_CHAIN);
  (void)status;
  while (is_over(c, at)) {
    lua_pushvalue(L, AT_HANDLER);
    if (!take(L, c)) break;
    lua_pushvalue(L, AT_EMIT);
    lua_pushvalue(L, AT_CTX);
    c->running = mg_chain_top(c)->s;
    lua_callk(L, 3, 0, at, go_on);
  }
  lua_pushnil(L);
  return 1;
}

/* The first call has returned: what it has given is looked at, that of others is not. */
static int begun(lua_State *L, int status, lua_KContext at) {
  mg_chain *c = lua_touserdata(L, MG_AT_CHAIN);
  if (!is_over(c, at) || (!lua_isnil(L, -1) && !(mg_chain_top(c)->s->flags & MG_LINK_RETURNED))) return 1;
  lua_settop(L, AT_CTX);
  return go_on(L, status, at);
}

static int row(lua_State *L) {
  lua_KContext at = mg_chain_key(lua_touserdata(L, MG_AT_CHAIN));
  for (int i = AT_HANDLER; i <= AT_CTX; i++) lua_pushvalue(L, i);
  lua_callk(L, AT_CTX - AT_ITEM + 1, 1, at, begun);
  return begun(L, LUA_OK, at);
}

int mg_row_push(lua_State *L) {
  lua_pushcfunction(L, row);
  lua_pushvalue(L, MG_AT_CHAIN);
  lua_rotate(L, -6, 2);
  return 5;
}
