/* Minigun: objects, whose contents hooks give and take; and the messages of errors in decoding. */
#include <stdatomic.h>

#include "codec_decode.h"
#include "codec_encode.h"

const char mg_not_open = 0;

const uint8_t *mg_damaged_pushed(const mg_decoder *d, const uint8_t *p) {
  lua_pushfstring(d->L, "%s, at byte %I of %I", lua_tostring(d->L, -1), (lua_Integer)(p - d->base),
                  (lua_Integer)(d->whole_end - d->base));
  return NULL;
}

const uint8_t *mg_damaged(const mg_decoder *d, const uint8_t *p, const char *problem) {
  lua_pushstring(d->L, problem);
  return mg_damaged_pushed(d, p);
}

const uint8_t *mg_damaged_count(const mg_decoder *d, const uint8_t *token, const uint8_t *p, const char *what, size_t n,
                                const char *unit, size_t each) {
  size_t left = (size_t)(d->end - p);
  if (n > left / each) {
    lua_pushfstring(d->L, "%s of %I %s but %I bytes left", what, (lua_Integer)n, unit, (lua_Integer)left);
  } else {
    lua_pushfstring(d->L, "%s of %I %s but the message is too short for all that it declares", what, (lua_Integer)n,
                    unit);
  }
  return mg_damaged_pushed(d, token);
}

bool mg_refuse_object(mg_decoder *d, const uint8_t *token) {
  lua_State *L = d->L;
  int below = lua_gettop(L) - 1;
  mg_damaged_pushed(d, token);
  if (!d->refusal) return false;
  if (lua_isnil(L, d->refusal)) lua_replace(L, d->refusal);
  lua_settop(L, below);
  return true;
}

/* Replaces the contents, on top of the stack, by the object that its load hook, on top of them, makes of them; the
 * type's record lies below. */
static bool load_object(mg_decoder *d, const uint8_t *token) {
  lua_State *L = d->L;
  const char *outer = d->c->hook_stack;
  int contents = lua_gettop(L) - 1;
  if (!mg_codec_may_call(d->c)) {
    mg_damaged(d, token, "load hooks that decode nest too deeply");
    return false;
  }
  lua_pushvalue(L, contents);
  _Atomic uint32_t unseen = 0, *loading = d->c->loading ? d->c->loading : &unseen;
  uint32_t outer_load = atomic_load_explicit(loading, memory_order_relaxed);
  atomic_store_explicit(loading, 1, memory_order_relaxed);
  bool called = mg_codec_call_hook(L, d->c);
  atomic_store_explicit(loading, outer_load, memory_order_relaxed);
  d->c->hook_stack = outer;
  if (called && !lua_isnil(L, -2)) {
    lua_settop(L, contents + 1);
    lua_replace(L, contents);
    return true;
  }
  lua_rawgeti(L, contents - 1, MG_TYPE_NAME);
  const char *why = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "no object";
  lua_pushfstring(L, "the load hook of type '%s' %s %s", lua_tostring(L, -1), called ? "returned" : "raised:", why);
  lua_replace(L, contents + 1);
  lua_settop(L, contents + 1);
  return mg_refuse_object(d, token);
}

bool mg_make_object(mg_decoder *d, const uint8_t *token) {
  lua_State *L = d->L;
  if (lua_rawgeti(L, -2, MG_TYPE_LOAD) == LUA_TFUNCTION) {
    if (!d->plain) return load_object(d, token);
    lua_pop(L, 1);
    return true;
  }
  lua_pop(L, 1);
  if (lua_type(L, -1) != LUA_TTABLE || lua_getmetatable(L, -1)) {
    mg_damaged(d, token, "the contents of an object without a load hook are not a plain table");
    return false;
  }
  lua_rawgeti(L, -2, MG_TYPE_METATABLE);
  lua_setmetatable(L, -2);
  return true;
}

bool mg_call_dump(mg_encoder *e, int t) {
  lua_State *L = e->L;
  mg_codec *c = e->c;
  const char *outer = c->hook_stack;
  if (!mg_codec_may_call(c)) {
    mg_bad(e, ": dump hooks that encode nest too deeply");
    return false;
  }
  mg_seen *seen = c->seen;
  size_t cap = c->seen_cap;
  lua_rawgeti(L, LUA_REGISTRYINDEX, c->seen_ref);
  lua_insert(L, -2);
  c->seen = NULL;
  c->seen_cap = 0;
  lua_pushvalue(L, t);
  bool called = mg_codec_call_hook(L, c);
  e->foreign = true;
  c->hook_stack = outer;
  c->seen = seen;
  c->seen_cap = cap;
  lua_pushvalue(L, called ? -3 : -2);
  lua_rawseti(L, LUA_REGISTRYINDEX, c->seen_ref);
  if (called && (!lua_isnil(L, -2) || lua_type(L, -1) != LUA_TSTRING)) {
    lua_pop(L, 1);
    lua_remove(L, -2); /* the table map */
    return true;
  }
  const char *name = lua_tostring(L, called ? -4 : -3);
  mg_bad(e, lua_pushfstring(L, ": the dump hook of type '%s' %s: %s", name, called ? "refused it" : "raised",
                         lua_tostring(L, -1)));
  return false;
}
