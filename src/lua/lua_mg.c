/* lua_mg.c - see lua_mg.h. */
#include "lua_mg.h"

#include <string.h>

#include "core/sys.h"

int mg_lua_fail(lua_State *L, const char *what, int rc) {
  luaL_pushfail(L);
  if (mg_is_refused(rc) && mg_sys_refused)
    lua_pushfstring(L, "%s: %s: %s (by the kernel, or by a container's filter of system calls)", what, mg_sys_refused,
                    strerror(-rc));
  else lua_pushfstring(L, "%s: %s", what, strerror(-rc));
  lua_pushinteger(L, -rc);
  return 3;
}

int mg_lua_reason(lua_State *L, int rc) {
  luaL_pushfail(L);
  lua_pushstring(L, strerror(-rc));
  lua_pushinteger(L, -rc);
  return 3;
}

uint32_t mg_check_u32(lua_State *L, int arg) {
  lua_Integer n = luaL_checkinteger(L, arg);
  luaL_argcheck(L, n >= 0 && n <= UINT32_MAX, arg, "out of range");
  return (uint32_t)n;
}

int mg_check_fd(lua_State *L, int arg) {
  lua_Integer fd = luaL_checkinteger(L, arg);
  luaL_argcheck(L, fd >= 0 && fd <= INT32_MAX, arg, "a descriptor expected");
  return (int)fd;
}

FILE *mg_open_file(lua_State *L, int arg) {
  luaL_Stream *s = luaL_testudata(L, arg, LUA_FILEHANDLE);
  return s && s->closef ? s->f : NULL;
}

void mg_method_type(lua_State *L, const char *name, const luaL_Reg *methods) {
  luaL_newmetatable(L, name);
  luaL_setfuncs(L, methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

/* Lua looks `__call` up at every call.  What comes into an empty table first is found at once, whatever the hashes. */
void mg_callable_type(lua_State *L, const char *name, lua_CFunction call) {
  lua_createtable(L, 0, 8);
  lua_pushcfunction(L, call);
  lua_setfield(L, -2, "__call");
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX, name);
}

void mg_emit_type(lua_State *L, const char *name, lua_CFunction emit, lua_CFunction to) {
  mg_callable_type(L, name, emit);
  lua_newtable(L);
  lua_pushcfunction(L, to);
  lua_setfield(L, -2, "to");
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "emit");
  lua_setfield(L, -2, "__name");
  lua_pop(L, 1);
}

typedef struct encode_call {
  mg_codec *codec;
  uint8_t *buf;
  size_t cap, *len;
  unsigned *flags;
  int rc;
} encode_call;

static int call_encode(lua_State *L) {
  encode_call *e = lua_touserdata(L, 2);
  e->rc = mg_encode(L, e->codec, 1, e->buf, e->cap, e->len, e->flags);
  return e->rc == MG_CODEC_BAD; /* its message */
}

int mg_encode_alone(lua_State *L, mg_codec *c, int *busy, int idx, uint8_t *buf, size_t cap, size_t *len,
                    unsigned *flags) {
  if (MG_LIKELY(!mg_codec_has_hooks(c))) return mg_encode(L, c, idx, buf, cap, len, flags);
  encode_call e = {c, buf, cap, len, flags, 0};
  idx = lua_absindex(L, idx);
  lua_pushcfunction(L, call_encode);
  lua_pushvalue(L, idx);
  lua_pushlightuserdata(L, &e);
  *busy = 1;
  int status = lua_pcall(L, 2, LUA_MULTRET, 0);
  *busy = 0;
  return status == LUA_OK ? e.rc : lua_error(L);
}

int mg_encode_item(lua_State *L, mg_codec *c, int *busy, int idx, uint8_t *buf, size_t cap, size_t *len,
                   unsigned *flags) {
  int rc = mg_encode_alone(L, c, busy, idx, buf, cap, len, flags);
  if (MG_LIKELY(rc != MG_CODEC_NOFIT) || *len <= MG_MAX_ITEM) return rc;
  lua_pushliteral(L, "item of more than 2 GiB: emit it in parts");
  return MG_CODEC_BAD;
}
