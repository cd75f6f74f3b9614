/* lua_spool.c - userdata minigun.spool_file and its reader, for lua/minigun/store/spool.lua.  Each belongs to the
 * variable that holds it; the collector closes both. */
#include <errno.h>
#include <string.h>

#include "store/crc.h"
#include "core/proc.h"
#include "lua_mg.h"
#include "store/spool.h"

#define MG_SPOOL_TYPE "minigun.spool_file"
#define MG_SPOOL_READER_TYPE "minigun.spool_reader"

typedef struct spool_file { /* its only user value is the path */
  mg_spool spool;
  size_t usual; /* see mg_encode_whole */
} spool_file;

static spool_file *check_file(lua_State *L, int arg) { return luaL_checkudata(L, arg, MG_SPOOL_TYPE); }

static const char *push_path(lua_State *L, int arg) {
  lua_getiuservalue(L, arg, 1);
  return lua_tostring(L, -1);
}

/* spool_file(path, read_only) -> file | nil, message, errno */
static int l_spool_file(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  spool_file *f = lua_newuserdatauv(L, sizeof *f, 1);
  f->spool = (mg_spool){.fd = -1};
  f->usual = 0;
  luaL_setmetatable(L, MG_SPOOL_TYPE);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  int rc = mg_spool_open(&f->spool, path, lua_toboolean(L, 2), mg_process_own());
  if (rc == 0) return 1;
  lua_pushfstring(L, "cannot open the spool '%s'%s", path,
                  rc == -ELOOP ? " (a symbolic link)" : rc == -EINVAL ? " (not a regular file)" : "");
  return mg_lua_fail(L, lua_tostring(L, -1), rc);
}

static int fail(lua_State *L, const char *what, int rc) {
  lua_pushfstring(L, "cannot %s the spool '%s'", what, push_path(L, 1));
  return mg_lua_fail(L, lua_tostring(L, -1), rc);
}

/* f:write(value) -> true | nil, message, errno | false, message: the value cannot be serialised | false: closed */
static int l_write(lua_State *L) {
  spool_file *f = check_file(L, 1);
  lua_settop(L, 2);
  mg_codec *c = mg_codec_get(L);
  uint8_t small[MG_CODEC_SMALL], *record;
  size_t length;
  unsigned flags;
  if (mg_encode_whole(L, c, 2, MG_SPOOL_HEAD, small, &f->usual, &record, &length, &flags) == MG_CODEC_BAD) {
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
  }
  if (f->spool.fd < 0) return lua_pushboolean(L, 0), 1; /* only now: a dump hook could have closed it */
  int rc = mg_spool_own(&f->spool, push_path(L, 1), mg_process_own());
  if (rc == 0) rc = mg_spool_append(&f->spool, record, length, flags & MG_CODEC_REFS);
  if (rc < 0) return fail(L, "write to", rc);
  lua_pushboolean(L, 1);
  return 1;
}

/* f:sync() -> true | nil, message, errno */
static int l_sync(lua_State *L) {
  spool_file *f = check_file(L, 1);
  int rc = f->spool.fd < 0 ? -EBADF : mg_spool_sync(&f->spool);
  if (rc < 0) return fail(L, "sync", rc);
  lua_pushboolean(L, 1);
  return 1;
}

/* f:hold() -> true | nil, message, errno (EAGAIN: another process holds it): see mg_spool_hold */
static int l_hold(lua_State *L) {
  spool_file *f = check_file(L, 1);
  int rc = f->spool.fd < 0 ? -EBADF : mg_spool_hold(&f->spool);
  if (rc < 0) return fail(L, "hold", rc);
  lua_pushboolean(L, 1);
  return 1;
}

/* f:close() -> true | nil, message, errno */
static int l_close(lua_State *L) {
  spool_file *f = check_file(L, 1);
  int rc = mg_spool_close(&f->spool);
  if (rc < 0) return fail(L, "close", rc);
  lua_pushboolean(L, 1);
  return 1;
}

/* f:closed() -> boolean */
static int l_closed(lua_State *L) {
  lua_pushboolean(L, check_file(L, 1)->spool.fd < 0);
  return 1;
}

static mg_spool_reader *check_reader(lua_State *L, int arg) { return luaL_checkudata(L, arg, MG_SPOOL_READER_TYPE); }

/* f:reader() -> reader | nil, message, errno */
static int l_reader(lua_State *L) {
  spool_file *f = check_file(L, 1);
  mg_spool_reader *r = lua_newuserdatauv(L, sizeof *r, 1); /* messages, by the place in its list of damage */
  *r = (mg_spool_reader){.fd = -1};
  luaL_setmetatable(L, MG_SPOOL_READER_TYPE);
  int rc = f->spool.fd < 0 ? -EBADF : mg_spool_read(r, &f->spool, push_path(L, 1));
  if (rc < 0) return fail(L, "read", rc);
  lua_pop(L, 1);
  return 1;
}

/* The record at `at` cannot be decoded because of the string on top, which is left. The reader is at 1. 0 or -errno. */
static int refuse(lua_State *L, mg_spool_reader *r, lua_Integer at, size_t length) {
  int place = mg_spool_refuse(r, (uint64_t)at, length);
  if (place <= 0) return place;
  if (lua_getiuservalue(L, 1, 1) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, 1);
  }
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, place);
  lua_pop(L, 1);
  return 0;
}

/* r:next() -> true, value | true, what stands for a value that cannot be had or nil, what is wrong | false: the end |
 * nil, message, errno. The next call goes on after it. */
static int l_next(lua_State *L) {
  mg_spool_reader *r = check_reader(L, 1);
  const uint8_t *value;
  size_t length;
  unsigned flags;
  lua_settop(L, 1);
  if (r->fd < 0) return lua_pushboolean(L, 0), 1;
  int rc = mg_spool_next(r, &value, &length, &flags);
  if (rc < 0) return mg_lua_fail(L, "cannot read on", rc);
  if (rc == 0) mg_spool_read_end(r);
  lua_pushboolean(L, rc);
  if (rc == 0) return 1;
  lua_Integer at = (lua_Integer)r->record_at;
  /* A load hook may read on, or close the reader: the bytes must not go with the buffer. */
  uint8_t *copy = lua_newuserdatauv(L, length, 0);
  memcpy(copy, value, length);
  lua_insert(L, -2);
  int result = mg_decode_own(L, mg_codec_get(L), copy, length, flags & MG_CODEC_REFS);
  if (result == MG_CODEC_OK) return 2;
  if (result == MG_CODEC_BAD) lua_pushnil(L), lua_insert(L, -2);
  lua_pushfstring(L, "the record at byte %I cannot be decoded: %s", at, lua_tostring(L, -1));
  lua_remove(L, -2);
  rc = refuse(L, r, at, length);
  if (rc < 0) return mg_lua_fail(L, "cannot read on", rc);
  return 3;
}

/* r:damage() -> { records =, bytes =, places =, { offset =, bytes = }... }: of what has been read so far */
static int l_damage(lua_State *L) {
  mg_spool_reader *r = check_reader(L, 1);
  lua_createtable(L, (int)r->listed, 3);
  lua_pushinteger(L, (lua_Integer)r->records);
  lua_setfield(L, -2, "records");
  lua_pushinteger(L, (lua_Integer)r->bytes);
  lua_setfield(L, -2, "bytes");
  lua_pushinteger(L, (lua_Integer)r->places);
  lua_setfield(L, -2, "places");
  lua_getiuservalue(L, 1, 1);
  for (size_t i = 0; i < r->listed; i++) {
    lua_createtable(L, 0, 3);
    if (lua_istable(L, -2)) {
      lua_rawgeti(L, -2, (lua_Integer)i + 1);
      lua_setfield(L, -2, "message");
    }
    lua_pushinteger(L, (lua_Integer)r->list[i].offset);
    lua_setfield(L, -2, "offset");
    lua_pushinteger(L, (lua_Integer)r->list[i].bytes);
    lua_setfield(L, -2, "bytes");
    lua_rawseti(L, -3, (lua_Integer)i + 1);
  }
  lua_pop(L, 1);
  return 1;
}

/* r:close(): what is known of damage stays */
static int l_reader_close(lua_State *L) {
  mg_spool_read_end(check_reader(L, 1));
  return 0;
}

static int l_reader_free(lua_State *L) {
  mg_spool_read_free(check_reader(L, 1));
  return 0;
}

/* crc32c(bytes) -> integer */
static int l_crc32c(lua_State *L) {
  size_t n;
  const char *bytes = luaL_checklstring(L, 1, &n);
  lua_pushinteger(L, mg_crc32c(0, bytes, n));
  return 1;
}

void mg_spool_setup(lua_State *L) {
  static const luaL_Reg functions[] = {{"spool_file", l_spool_file}, {"crc32c", l_crc32c}, {NULL, NULL}};
  static const luaL_Reg of_file[] = {{"write", l_write},   {"sync", l_sync},     {"close", l_close},
                                     {"closed", l_closed}, {"reader", l_reader}, {"hold", l_hold},
                                     {"__gc", l_close},    {NULL, NULL}};
  static const luaL_Reg of_reader[] = {{"next", l_next},         {"damage", l_damage}, {"close", l_reader_close},
                                       {"__gc", l_reader_free},  {"__close", l_reader_close}, {NULL, NULL}};
  const struct { const char *name; const luaL_Reg *methods; } types[] = {
      {MG_SPOOL_TYPE, of_file}, {MG_SPOOL_READER_TYPE, of_reader}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) mg_method_type(L, types[i].name, types[i].methods);
  luaL_setfuncs(L, functions, 0);
}
