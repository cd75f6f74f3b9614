/* Minigun: the codec's state, and the format that codec_encode.c writes and codec_decode.c reads.
 *
 * MessagePack, with these rules (docs/wire-format.md has the whole):
 *   integers take the shortest form, floats are always cb; strings are any bytes; bin and ca are accepted on reading;
 *   a table whose keys are exactly 1..n, n >= 1, is an array; any other is a map; the empty table is 90;
 *   ext 1  integers    c7-c9 len 01, width byte (1, 2, 4, 8), then little-endian two's complement values
 *   ext 2  floats      c7-c9 len 02, then little-endian doubles
 *   ext 3  reference   d6 03 u32: number of an array, map, packed array or object opened before, counted from 0
 *   ext 4  object      c9 u32 04, then two values: the type's name, the contents
 * Heads are big-endian as everywhere in MessagePack; the values of ext 1 and 2 are as processors hold them. */
#include "codec_state.h"

#include <stdio.h>

/* A table map or number buffer of more entries than this is given back after the call. */
#define KEEP ((size_t)1 << 17)

static const char registry_key = 0;

static int new_block(lua_State *L) {
  lua_newuserdatauv(L, (size_t)lua_tointeger(L, 1), 0);
  return 1;
}

/* Makes the userdata under ref hold size bytes, zeroed, and pushes its predecessor, which the caller pops when it has
 * copied what it wants to keep. The collector stands still meanwhile: a finalizer could run the codec, or change the
 * table that is being walked. Raises on lack of memory. */
static void *new_block_at(lua_State *L, const mg_codec *c, int ref, size_t size) {
  luaL_checkstack(L, 4, "codec");
  lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
  bool collecting = lua_gc(L, LUA_GCISRUNNING) == 1;
  if (collecting) lua_gc(L, LUA_GCSTOP);
  lua_pushcfunction(L, new_block);
  lua_pushinteger(L, (lua_Integer)size);
  int status = lua_pcall(L, 1, 1, 0);
  if (collecting) lua_gc(L, LUA_GCRESTART);
  if (collecting && c->deferred_kib > 0) lua_gc(L, LUA_GCSTEP, -c->deferred_kib);
  if (status != LUA_OK) lua_error(L);
  void *block = lua_touserdata(L, -1);
  memset(block, 0, size);
  lua_rawseti(L, LUA_REGISTRYINDEX, ref);
  return block;
}

void mg_codec_note_loading(mg_codec *c, _Atomic uint32_t *word) { c->loading = word; }

void mg_codec_on_raise(lua_State *L) {
  mg_codec *c = mg_codec_get(L);
  lua_rawseti(L, LUA_REGISTRYINDEX, c->raise_ref);
}

bool mg_codec_call_hook(lua_State *L, mg_codec *c) {
  luaL_checkstack(L, 4, "codec");
  int base = lua_gettop(L) - 1; /* of the hook */
  int type = lua_rawgeti(L, LUA_REGISTRYINDEX, c->raise_ref);
  lua_insert(L, base);
  int status = lua_pcall(L, 1, 2, type == LUA_TFUNCTION ? base : 0);
  lua_remove(L, base);
  if (status == LUA_OK) return true;
  if (lua_type(L, -1) != LUA_TSTRING) {
    lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, -1));
    lua_replace(L, -2);
  }
  return false;
}

int mg_codec_has_hooks(const mg_codec *c) { return c->hooks > 0; }

void mg_codec_defer_collector(lua_State *L, int kib) {
  mg_codec_get(L)->deferred_kib = kib;
  lua_gc(L, LUA_GCSTEP, -kib); /* a step of negative size: so much more before the next one */
}

static int new_ref(lua_State *L) {
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

void mg_codec_push(lua_State *L) {
  mg_codec_get(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &registry_key);
}

mg_codec *mg_codec_get(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &registry_key) == LUA_TUSERDATA) {
    mg_codec *known = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return known;
  }
  lua_pop(L, 1);
  luaL_checkstack(L, 4, "codec");
  mg_codec *c = lua_newuserdatauv(L, sizeof *c, 0);
  memset(c, 0, sizeof *c);
  /* `false` holds the place: luaL_ref gives no place for nil. */
  lua_pushboolean(L, 0);
  c->seen_ref = new_ref(L);
  lua_pushboolean(L, 0);
  c->numbers_ref = new_ref(L);
  lua_createtable(L, MG_KEY_SLOTS, 0);
  c->keys_ref = new_ref(L);
  lua_newtable(L);
  c->by_metatable_ref = new_ref(L);
  lua_newtable(L);
  c->by_name_ref = new_ref(L);
  if (luaL_loadstring(L, "return { ... }") != LUA_OK) lua_error(L);
  c->pack_ref = new_ref(L);
  lua_pushboolean(L, 0);
  c->raise_ref = new_ref(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &registry_key);
  return c;
}

void mg_codec_grow_seen(lua_State *L, mg_codec *c, uint32_t stamp) {
  const mg_seen *old = c->seen;
  size_t old_cap = c->seen_cap;
  c->seen = NULL;
  c->seen_cap = 0;
  c->seen = new_block_at(L, c, c->seen_ref, (old_cap ? old_cap * 2 : 64) * sizeof *c->seen);
  c->seen_cap = old_cap ? old_cap * 2 : 64;
  for (size_t i = 0; i < old_cap; i++) {
    if (old[i].stamp == stamp) *mg_codec_seen(c, stamp, old[i].object) = old[i];
  }
  lua_pop(L, 1);
}

void mg_codec_grow_numbers(lua_State *L, mg_codec *c, size_t used) {
  const int64_t *old = c->numbers;
  size_t cap = c->numbers_cap ? c->numbers_cap * 2 : 256;
  c->numbers = NULL;
  c->numbers_cap = 0;
  c->numbers = new_block_at(L, c, c->numbers_ref, cap * sizeof *c->numbers);
  c->numbers_cap = cap;
  if (used) memcpy(c->numbers, old, used * sizeof *c->numbers);
  lua_pop(L, 1);
}

void mg_codec_trim(lua_State *L, mg_codec *c) {
  if (MG_UNLIKELY(c->seen_cap > KEEP)) {
    c->seen = NULL;
    c->seen_cap = 0;
    lua_pushboolean(L, 0);
    lua_rawseti(L, LUA_REGISTRYINDEX, c->seen_ref);
  }
  if (MG_UNLIKELY(c->numbers_cap > KEEP)) {
    c->numbers = NULL;
    c->numbers_cap = 0;
    lua_pushboolean(L, 0);
    lua_rawseti(L, LUA_REGISTRYINDEX, c->numbers_ref);
  }
}

int mg_codec_segment(lua_State *L, int key, char *out, size_t size) {
  switch (lua_type(L, key)) {
    case LUA_TNUMBER:
      if (lua_isinteger(L, key)) return snprintf(out, size, "[" LUA_INTEGER_FMT "]", lua_tointeger(L, key));
      return snprintf(out, size, "[" LUA_NUMBER_FMT "]", lua_tonumber(L, key));
    case LUA_TSTRING: {
      size_t len, i = 0;
      const char *s = lua_tolstring(L, key, &len);
      char shown[32];
      bool word = len > 0 && len < sizeof shown && !(s[0] >= '0' && s[0] <= '9');
      for (; i < len && i + 1 < sizeof shown; i++) {
        unsigned char ch = (unsigned char)s[i];
        bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || ch == '_';
        word = word && plain;
        shown[i] = ch < ' ' || ch > '~' || ch == '"' || ch == '\\' ? '?' : (char)ch;
      }
      shown[i] = 0;
      return snprintf(out, size, word ? ".%s" : i < len ? "[\"%s...\"]" : "[\"%s\"]", shown);
    }
    case LUA_TBOOLEAN: return snprintf(out, size, "[%s]", lua_toboolean(L, key) ? "true" : "false");
    default: return snprintf(out, size, "[%s]", luaL_typename(L, key));
  }
}

const uint8_t *mg_token(const uint8_t *p, const uint8_t *end, uint64_t *children) {
  static const uint8_t fixed[] = { /* c0 to df: bytes after the first that do not depend on a length */
    0, 0, 0, 0, 1, 2, 4, 2, 3, 5, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 2, 3, 5, 9, 17, 1, 2, 4, 2, 4, 2, 4
  };
  *children = 0;
  if (p >= end) return NULL;
  uint8_t tag = mg_load8(p++);
  if (tag < 0x80 || tag >= MG_NEGATIVE_FIXINT) return p;
  if (tag < MG_FIXARRAY) { *children = 2 * (uint64_t)(tag & 15); return p; }
  if (tag < MG_FIXSTR) { *children = tag & 15; return p; }
  uint64_t payload = 0;
  size_t head = 0;
  if (tag < MG_NIL) {
    payload = tag & 31;
  } else {
    head = fixed[tag - MG_NIL];
    if ((size_t)(end - p) < head) return NULL;
    switch (tag) {
      case MG_BIN8: case MG_STR8: case MG_EXT8: payload = mg_load8(p); break;
      case MG_BIN16: case MG_STR16: case MG_EXT16: payload = mg_load16(p); break;
      case MG_BIN32: case MG_STR32: payload = mg_load32(p); break;
      case MG_EXT32:
        payload = mg_load32(p);
        if (mg_load8(p + 4) == MG_EXT_OBJECT) { payload = 0; *children = 2; }
        break;
      case MG_ARRAY16: *children = mg_load16(p); break;
      case MG_ARRAY32: *children = mg_load32(p); break;
      case MG_MAP16: *children = 2 * (uint64_t)mg_load16(p); break;
      case MG_MAP32: *children = 2 * (uint64_t)mg_load32(p); break;
      default: break;
    }
  }
  p += head;
  return (uint64_t)(end - p) < payload ? NULL : p + payload;
}
