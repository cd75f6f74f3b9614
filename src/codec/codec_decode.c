/* Minigun: the bytes of one value to that value.
 *
 * The bytes may change while they are read: each is loaded once, a length is checked in the register it was loaded to,
 * and short strings and keys are copied before Lua, which reads a string twice to intern it, sees them. */
#include "codec_decode.h"

#include <limits.h>

/* Keeps a function's buffer off the frames of the recursion. */
#define MG_NOINLINE __attribute__((noinline))

/* Lua interns strings up to this length. */
#define SHORT_STRING 40
/* Keys of larger maps are not looked up in the key cache. */
#define CACHED_MAP_MAX 16
/* Keys of larger maps are watched: codec_collide.c. */
#define WATCHED_MAP_MIN 2800
/* Packed arrays of so many elements are built on the stack and packed by one call. */
#define STACK_MIN 8
#define STACK_MAX 1024

static const uint8_t *get_value(mg_decoder *d, const uint8_t *p);

/* --- strings --- */

static MG_NOINLINE void push_short_string(lua_State *L, const uint8_t *p, size_t n) {
  char copy[SHORT_STRING];
  mg_copy_short(copy, p, n);
  __asm__ volatile("" : : "r"(copy) : "memory");
  lua_pushlstring(L, copy, n);
}

static inline const uint8_t *get_string(mg_decoder *d, const uint8_t *token, const uint8_t *p, size_t n) {
  if (MG_UNLIKELY(n > (size_t)(d->end - p))) return mg_damaged_count(d, token, p, "string", n, "bytes", 1);
  if (n <= SHORT_STRING && !d->own) {
    push_short_string(d->L, p, n);
  } else {
    lua_pushlstring(d->L, (const char *)p, n);
  }
  return p + n;
}

/* The first and the last 8 bytes of p[0..n), n >= 1; a shorter key is its head, padded with zeros. */
static inline void load_ends(const uint8_t *p, size_t n, size_t readable, uint64_t *head, uint64_t *tail) {
  *tail = 0;
  if (n >= 8) {
    memcpy(head, p, 8);
    memcpy(tail, p + (n - 8), 8);
  } else if (MG_LIKELY(readable >= 8)) {
    memcpy(head, p, 8);
    *head = htole64(le64toh(*head) & (((uint64_t)1 << (8 * n)) - 1));
  } else {
    *head = 0;
    memcpy(head, p, n);
  }
}

/* The first of the two slots where a key may be: two keys of the same records that both want one must not drive each
 * other out all the time. */
static inline mg_key *key_slots(mg_codec *c, uint64_t head, uint64_t tail, size_t n) {
  uint64_t hash = (head ^ (tail << 7 | tail >> 57) ^ n) * 0x9e3779b97f4a7c15u;
  return &c->keys[hash >> 56 & ~(uint64_t)1];
}

/* Pushes a key string that is not in the cache, and puts it there. */
static MG_NOINLINE void push_new_key(const mg_decoder *d, const uint8_t *p, size_t n) {
  lua_State *L = d->L;
  uint8_t copy[MG_KEY_MAX];
  uint64_t head, tail;
  memcpy(copy, p, n);
  __asm__ volatile("" : : "r"(copy) : "memory");
  load_ends(copy, n, sizeof copy, &head, &tail);
  mg_key *key = key_slots(d->c, head, tail, n) + (d->c->key_turn++ & 1);
  lua_pushlstring(L, (const char *)copy, n);
  lua_pushvalue(L, -1);
  lua_rawseti(L, d->keys, key - d->c->keys + 1);
  *key = (mg_key){ .head = head, .tail = tail, .len = (uint8_t)n };
  memcpy(key->bytes, copy, n);
}

/* Pushes the key string p[0..n), 1 <= n <= MG_KEY_MAX, which lies before d->end. */
static inline void push_key(mg_decoder *d, const uint8_t *p, size_t n) {
  mg_codec *c = d->c;
  uint64_t head, tail;
  load_ends(p, n, (size_t)(d->end - p), &head, &tail);
  const mg_key *key = key_slots(c, head, tail, n);
  for (const mg_key *last = key + 1; key <= last; key++) {
    if (MG_LIKELY(key->len == n && key->head == head && key->tail == tail && (n <= 16 || !memcmp(key->bytes, p, n)))) {
      lua_rawgeti(d->L, d->keys, key - c->keys + 1);
      return;
    }
  }
  push_new_key(d, p, n);
}

/* --- containers --- */

static const uint8_t *get_array(mg_decoder *d, const uint8_t *token, const uint8_t *p, size_t n) {
  lua_State *L = d->L;
  if (MG_UNLIKELY(n > (size_t)(d->end - p) || n > d->budget || n > INT_MAX)) {
    return mg_damaged_count(d, token, p, "array", n, "elements", 1);
  }
  if (MG_UNLIKELY(!mg_decode_enter(d, token))) return NULL;
  d->budget -= n;
  lua_createtable(L, (int)n, 0);
  mg_open_table(d);
  int t = lua_gettop(L);
  for (size_t i = 1; i <= n; i++) {
    p = get_value(d, p);
    if (MG_UNLIKELY(!p)) return NULL;
    lua_rawseti(L, t, (lua_Integer)i);
  }
  d->depth--;
  return p;
}

/* Reads a map's key that the cache does not serve. */
static const uint8_t *get_key(mg_decoder *d, const uint8_t *p) {
  lua_State *L = d->L;
  const uint8_t *token = p;
  p = get_value(d, p);
  if (MG_UNLIKELY(!p)) return NULL;
  int type = lua_type(L, -1);
  if (type == LUA_TNIL) return mg_damaged(d, token, "a map's key is nil");
  if (type == LUA_TNUMBER && lua_tonumber(L, -1) != lua_tonumber(L, -1)) {
    return mg_damaged(d, token, "a map's key is NaN");
  }
  return p;
}

static const uint8_t *get_map(mg_decoder *d, const uint8_t *token, const uint8_t *p, size_t n) {
  lua_State *L = d->L;
  if (MG_UNLIKELY(n > (size_t)(d->end - p) / 2 || 2 * n > d->budget || n > INT_MAX / 2)) {
    return mg_damaged_count(d, token, p, "map", n, "pairs", 2);
  }
  if (MG_UNLIKELY(!mg_decode_enter(d, token))) return NULL;
  d->budget -= 2 * n;
  mg_places *watched = NULL;
  if (MG_UNLIKELY(n > WATCHED_MAP_MIN)) {
    if (!lua_checkstack(L, MG_STACK_ROOM)) return mg_damaged(d, token, "the Lua stack is full");
    watched = mg_places_push(L, n);
  }
  lua_createtable(L, 0, (int)n);
  mg_open_table(d);
  int t = lua_gettop(L);
  bool cached = n <= CACHED_MAP_MAX && d->keys; /* no keys: the first byte was another when mg_decode looked at it */
  for (size_t i = 0; i < n; i++) {
    size_t len = 0;
    if (MG_LIKELY(cached && p < d->end)) {
      uint8_t tag = mg_load8(p);
      if (tag > MG_FIXSTR && tag <= (MG_FIXSTR | MG_KEY_MAX)) len = tag & 31u;
    }
    if (MG_LIKELY(len > 0 && len < (size_t)(d->end - p))) {
      push_key(d, p + 1, len);
      p += 1 + len;
    } else {
      p = get_key(d, p);
      if (MG_UNLIKELY(!p)) return NULL;
      if (MG_UNLIKELY(watched) && !mg_places_count(L, watched)) {
        lua_pushfstring(L, "map of %I pairs whose keys collide in a table of Lua's", (lua_Integer)n);
        return mg_damaged_pushed(d, token);
      }
    }
    p = get_value(d, p);
    if (MG_UNLIKELY(!p)) return NULL;
    lua_rawset(L, t);
  }
  if (MG_UNLIKELY(watched)) lua_remove(L, t - 1);
  d->depth--;
  return p;
}

/* --- extensions --- */

static inline void push_number(lua_State *L, const uint8_t *p, size_t width, bool integers) {
  uint16_t v16;
  uint32_t v32;
  uint64_t v64;
  switch (width) {
    case 1: lua_pushinteger(L, (int8_t)mg_load8(p)); return;
    case 2: memcpy(&v16, p, 2); lua_pushinteger(L, (int16_t)le16toh(v16)); return;
    case 4: memcpy(&v32, p, 4); lua_pushinteger(L, (int32_t)le32toh(v32)); return;
    default: break;
  }
  memcpy(&v64, p, 8);
  v64 = le64toh(v64);
  if (integers) {
    lua_pushinteger(L, (int64_t)v64);
  } else {
    double v;
    memcpy(&v, &v64, sizeof v);
    lua_pushnumber(L, v);
  }
}

static const uint8_t *get_packed(mg_decoder *d, const uint8_t *token, const uint8_t *p, size_t bytes, bool integers) {
  lua_State *L = d->L;
  const uint8_t *end = p + bytes;
  size_t width = 8;
  if (integers) {
    width = bytes > 0 ? mg_load8(p++) : 0;
    if (width != 1 && width != 2 && width != 4 && width != 8) {
      return mg_damaged(d, token, "packed integers of unknown width");
    }
  }
  size_t n = (size_t)(end - p) / width;
  if (n * width != (size_t)(end - p)) return mg_damaged(d, token, "packed numbers that are cut short");
  if (n > INT_MAX) return mg_damaged(d, token, "more packed numbers than a table can hold");
  if (n >= STACK_MIN && n <= STACK_MAX && lua_checkstack(L, 2 * (int)n + 8)) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, d->c->pack_ref);
    for (size_t i = 0; i < n; i++) push_number(L, p + i * width, width, integers);
    lua_call(L, (int)n, 1);
  } else {
    if (!lua_checkstack(L, 8)) return mg_damaged(d, token, "the Lua stack is full");
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
      push_number(L, p + i * width, width, integers);
      lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
  }
  mg_open_table(d);
  return end;
}

static const uint8_t *get_reference(mg_decoder *d, const uint8_t *token, const uint8_t *p) {
  lua_State *L = d->L;
  uint32_t number = mg_load32(p);
  if (!d->refs) return mg_damaged(d, token, "a reference in a message that was announced without");
  if (lua_rawgeti(L, d->refs, number) == LUA_TNIL || lua_touserdata(L, -1) == &mg_not_open) {
    lua_pushfstring(L, "a reference to table %I, which is not open yet", (lua_Integer)number);
    return mg_damaged_pushed(d, token);
  }
  return p + 4;
}

/* Reads an object of `bytes` bytes; leaves nothing but the object on the stack. */
static const uint8_t *get_object(mg_decoder *d, const uint8_t *token, const uint8_t *p, size_t bytes) {
  lua_State *L = d->L;
  const uint8_t *outer = d->end;
  if (!mg_decode_enter(d, token)) return NULL;
  d->end = p + bytes;
  uint32_t number = d->opened++;
  lua_rawgeti(L, LUA_REGISTRYINDEX, d->c->by_name_ref);
  p = get_value(d, p);
  if (!p) return NULL;
  if (lua_type(L, -1) != LUA_TSTRING) return mg_damaged(d, token, "an object without a type name");
  lua_pushvalue(L, -1);
  bool known = lua_rawget(L, -3) == LUA_TTABLE;
  p = get_value(d, p);
  if (!p) return NULL;
  if (p != d->end) return mg_damaged(d, p, "bytes after an object's contents");
  if (known) {
    if (!mg_make_object(d, token)) return NULL;
  } else if (!d->plain) {
    lua_pushfstring(L, "an object of the unknown type '%s': minigun.register it here too", lua_tostring(L, -3));
    if (!mg_refuse_object(d, token)) return NULL;
  }
  lua_replace(L, -4);
  lua_pop(L, 2);
  if (d->refs) {
    if (lua_rawgeti(L, d->refs, number) != LUA_TNIL) {
      lua_pushvalue(L, -2);
      lua_rawseti(L, d->refs, number);
    }
    lua_pop(L, 1);
  }
  d->end = outer;
  d->depth--;
  return p;
}

static const uint8_t *get_extension(mg_decoder *d, const uint8_t *token, const uint8_t *p, size_t bytes) {
  if (p == d->end) return mg_cut_short(d, token);
  uint8_t type = mg_load8(p++);
  if (bytes > (size_t)(d->end - p)) return mg_damaged_count(d, token, p, "extension", bytes, "bytes", 1);
  switch (type) {
    case MG_EXT_INTEGERS: return get_packed(d, token, p, bytes, true);
    case MG_EXT_FLOATS: return get_packed(d, token, p, bytes, false);
    case MG_EXT_REFERENCE:
      if (bytes == 4) return get_reference(d, token, p);
      break;
    case MG_EXT_OBJECT: return get_object(d, token, p, bytes);
    default: break;
  }
  lua_pushfstring(d->L, "extension %d is unknown", (int)(int8_t)type);
  return mg_damaged_pushed(d, token);
}

/* --- values --- */

/* Reads a value whose first byte, at token, is none of the single-byte forms; p is after it. */
static const uint8_t *get_long(mg_decoder *d, const uint8_t *token, uint8_t tag, const uint8_t *p) {
  static const uint8_t head[] = { /* c0 to df: bytes after the first, before contents, data or extension type */
    0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4
  };
  lua_State *L = d->L;
  size_t size = head[tag - MG_NIL];
  if (MG_UNLIKELY((size_t)(d->end - p) < size)) return mg_cut_short(d, token);
  uint64_t v = size == 1 ? mg_load8(p) : size == 2 ? mg_load16(p) : size == 4 ? mg_load32(p)
                                                                   : size == 8 ? mg_load64(p) : 0;
  p += size;
  switch (tag) {
    case MG_FLOAT64: {
      double number;
      memcpy(&number, &v, sizeof number);
      lua_pushnumber(L, number);
      return p;
    }
    case MG_FLOAT32: {
      uint32_t bits = (uint32_t)v;
      float number;
      memcpy(&number, &bits, sizeof number);
      lua_pushnumber(L, (lua_Number)number);
      return p;
    }
    case MG_UINT64:
      if (v > INT64_MAX) return mg_damaged(d, token, "an integer above 9223372036854775807");
      /* fall through */
    case MG_UINT8: case MG_UINT16: case MG_UINT32: case MG_INT64: lua_pushinteger(L, (int64_t)v); return p;
    case MG_INT8: lua_pushinteger(L, (int8_t)v); return p;
    case MG_INT16: lua_pushinteger(L, (int16_t)v); return p;
    case MG_INT32: lua_pushinteger(L, (int32_t)v); return p;
    case MG_NIL: lua_pushnil(L); return p;
    case MG_FALSE: lua_pushboolean(L, 0); return p;
    case MG_TRUE: lua_pushboolean(L, 1); return p;
    case MG_STR8: case MG_STR16: case MG_STR32: case MG_BIN8: case MG_BIN16: case MG_BIN32:
      return get_string(d, token, p, (size_t)v);
    case MG_ARRAY16: case MG_ARRAY32: return get_array(d, token, p, (size_t)v);
    case MG_MAP16: case MG_MAP32: return get_map(d, token, p, (size_t)v);
    case MG_EXT8: case MG_EXT16: case MG_EXT32: return get_extension(d, token, p, (size_t)v);
    default: break;
  }
  if (tag >= MG_FIXEXT1 && tag <= MG_FIXEXT16) return get_extension(d, token, p, (size_t)1 << (tag - MG_FIXEXT1));
  return mg_damaged(d, token, "byte c1, which begins no value");
}

static const uint8_t *get_value(mg_decoder *d, const uint8_t *p) {
  const uint8_t *token = p;
  if (MG_UNLIKELY(p >= d->end)) return mg_cut_short(d, p);
  uint8_t tag = mg_load8(p++);
  if (tag < MG_FIXMAP || tag >= MG_NEGATIVE_FIXINT) {
    lua_pushinteger(d->L, (int8_t)tag);
    return p;
  }
  if (tag >= MG_NIL) return get_long(d, token, tag, p);
  if (tag >= MG_FIXSTR) return get_string(d, token, p, tag & 31u);
  if (tag >= MG_FIXARRAY) return get_array(d, token, p, tag & 15u);
  return get_map(d, token, p, tag & 15u);
}

const uint8_t *mg_decode_value(mg_decoder *d, const uint8_t *p) { return get_value(d, p); }
