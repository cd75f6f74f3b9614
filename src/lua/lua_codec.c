/* Minigun: the codec's Lua functions. */
#include "codec/codec_scalar.h"

/* minigun.core.encode(value) -> string, references
 *   value       any value that can be sent
 *   string      its bytes
 *   references  boolean: hand it to decode as its second argument
 * Raises at the caller's line, with the path, for a value that cannot be serialised. */
static int encode(lua_State *L) {
  uint8_t small[MG_CODEC_SMALL], *buf;
  size_t len;
  unsigned flags;
  int type = lua_type(L, 1);
  luaL_argcheck(L, type != LUA_TNONE, 1, "value expected");
  if (type != LUA_TTABLE && (len = mg_scalar(L, type, 1, small)) > 0) {
    lua_pushlstring(L, (const char *)small, len);
    lua_pushboolean(L, 0);
    return 2;
  }
  lua_settop(L, 1);
  mg_codec *c = lua_touserdata(L, lua_upvalueindex(1));
  if (mg_encode_whole(L, c, 1, 0, small, &c->usual, &buf, &len, &flags) == MG_CODEC_BAD)
    return luaL_error(L, "%s", lua_tostring(L, -1));
  lua_pushlstring(L, (const char *)buf, len);
  lua_pushboolean(L, (flags & MG_CODEC_REFS) != 0);
  return 2;
}

/* minigun.core.decode(string [, references [, plain]]) -> value | nil, message
 *   string      bytes of exactly one value
 *   references  boolean: whether ext 3 is accepted; default true
 *   plain       boolean: no load hook is called, objects' contents stand for them; default false
 * nil, message for bytes that are no value (and nil alone for the encoded nil). */
static int decode(lua_State *L) {
  size_t len;
  const char *bytes = luaL_checklstring(L, 1, &len);
  unsigned flags = lua_isnoneornil(L, 2) || lua_toboolean(L, 2) ? MG_CODEC_REFS : 0;
  if (lua_toboolean(L, 3)) flags |= MG_CODEC_PLAIN;
  lua_settop(L, 1);
  mg_codec *c = lua_touserdata(L, lua_upvalueindex(1));
  int result = mg_decode_own(L, c, (const uint8_t *)bytes, len, flags);
  if (result == MG_CODEC_OK) return 1;
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

/* minigun.core.on_raise(f): f(error) -> string is called for what a hook has raised, as a message handler */
static int on_raise(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  mg_codec_on_raise(L);
  return 0;
}

/* minigun.core.copy(value [, most]) -> a copy that shares nothing with it but what cannot be sent: see codec_copy.c |
 * nil where it has more than so many entries */
static int copy(lua_State *L) {
  lua_Integer most = luaL_optinteger(L, 2, LUA_MAXINTEGER);
  lua_settop(L, 1);
  mg_copy(L, lua_touserdata(L, lua_upvalueindex(1)), &most, 0);
  if (most < 0) luaL_pushfail(L);
  return 1;
}

/* minigun.core.watch(value, seen or nil, most) -> copy, entries that are left of `most`, whether one of its tables was
 * in `seen` already, a table with weak keys, into which they are put | nil where it has more entries */
static int watch(lua_State *L) {
  lua_Integer most = luaL_checkinteger(L, 3);
  lua_settop(L, 2);
  if (!lua_isnil(L, 2)) luaL_checktype(L, 2, LUA_TTABLE);
  lua_pushvalue(L, 1);
  int met = mg_copy(L, lua_touserdata(L, lua_upvalueindex(1)), &most, lua_isnil(L, 2) ? 0 : 2);
  if (most < 0) return luaL_pushfail(L), 1;
  lua_pushinteger(L, most);
  lua_pushboolean(L, met);
  return 3;
}

/* minigun.core.same(value, copy) -> whether they still have the same contents, as far as a quick look shows */
static int same(lua_State *L) {
  lua_pushboolean(L, mg_same(L, 1, 2));
  return 1;
}

/* minigun.core.register(name, metatable [, dump, load])
 *   name       string of 1 to 255 bytes that stands for the type on the wire
 *   metatable  of the objects; tables, or userdata with hooks
 *   dump       function(object) -> value that can be sent
 *   load       function(value) -> object
 * Without hooks the table's own contents are sent, and the metatable is put back. The same name and metatable may be
 * registered again: the hooks are replaced. Raises for a name that has another metatable, and the other way round; only
 * the library's own files may be loaded twice, as busted does where it insulates tests: then the new metatable is the
 * name's, and objects with the old one are sent all the same. */
static int register_type(lua_State *L) {
  size_t len;
  const char *name = luaL_checklstring(L, 1, &len);
  luaL_argcheck(L, len >= 1 && len <= 255, 1, "a name of 1 to 255 bytes expected");
  luaL_checktype(L, 2, LUA_TTABLE);
  bool hooks = !lua_isnoneornil(L, 3) || !lua_isnoneornil(L, 4);
  if (hooks) {
    luaL_checktype(L, 3, LUA_TFUNCTION);
    luaL_checktype(L, 4, LUA_TFUNCTION);
  }
  lua_settop(L, 4);
  mg_codec *c = lua_touserdata(L, lua_upvalueindex(1));
  lua_rawgeti(L, LUA_REGISTRYINDEX, c->by_name_ref);
  lua_rawgeti(L, LUA_REGISTRYINDEX, c->by_metatable_ref);
  lua_pushvalue(L, 1);
  bool known = lua_rawget(L, 5) == LUA_TTABLE;
  if (known) {
    lua_rawgeti(L, -1, MG_TYPE_METATABLE);
    known = lua_rawequal(L, -1, 2);
    if (!known && strncmp(name, "minigun.", 8) != 0)
      return luaL_error(L, "type '%s' is registered with another metatable", name);
    lua_pop(L, 1);
  }
  if (known) {
    c->hooks -= lua_rawgeti(L, -1, MG_TYPE_DUMP) == LUA_TFUNCTION;
    lua_pop(L, 1);
  } else {
    lua_pushvalue(L, 2);
    if (lua_rawget(L, 6) == LUA_TTABLE) {
      lua_rawgeti(L, -1, MG_TYPE_NAME);
      return luaL_error(L, "the metatable of type '%s' is registered as '%s'", name, lua_tostring(L, -1));
    }
    lua_createtable(L, MG_TYPE_LOAD, 0);
  }
  int record = lua_gettop(L);
  for (int field = MG_TYPE_NAME; field <= MG_TYPE_LOAD; field++) {
    lua_pushvalue(L, field);
    lua_rawseti(L, record, field);
  }
  c->hooks += hooks;
  lua_pushvalue(L, 1);
  lua_pushvalue(L, record);
  lua_rawset(L, 5);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, record);
  lua_rawset(L, 6);
  return 0;
}

/* Where the library is loaded anew into a state, as busted does for each spec file, all types are registered anew: the
 * modules that do so have been loaded after it. */
static void forget_types(lua_State *L) {
  mg_codec *c = mg_codec_get(L);
  const int refs[] = { c->by_metatable_ref, c->by_name_ref };
  for (size_t i = 0; i < 2; i++) {
    lua_newtable(L);
    lua_rawseti(L, LUA_REGISTRYINDEX, refs[i]);
  }
  c->hooks = 0;
}

void mg_codec_open(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "encode", encode }, { "decode", decode }, { "register", register_type }, { "copy", copy },
    { "watch", watch }, { "same", same }, { "on_raise", on_raise }, { NULL, NULL }
  };
  forget_types(L);
  mg_codec_push(L);
  luaL_setfuncs(L, functions, 1);
}
