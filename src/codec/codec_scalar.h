/* Minigun: values that are no tables to bytes, and integers back, inline. For codec_encode.c, and for emit and what
 * calls handlers: where most items are numbers and short strings, the calls around one cost more than its encoding. */
#ifndef MG_CODEC_SCALAR_H
#define MG_CODEC_SCALAR_H

#include "codec_state.h"

/* Bytes that the values written by mg_scalar take at most. */
enum { MG_SCALAR_MOST = 32 };

static inline size_t mg_integer_bytes(uint8_t *out, int64_t v) {
  if (v >= 0) {
    if (v <= 0x7f) { out[0] = (uint8_t)v; return 1; }
    if (v <= UINT8_MAX) { out[0] = MG_UINT8; out[1] = (uint8_t)v; return 2; }
    if (v <= UINT16_MAX) { out[0] = MG_UINT16; mg_store16(out + 1, (uint16_t)v); return 3; }
    if (v <= UINT32_MAX) { out[0] = MG_UINT32; mg_store32(out + 1, (uint32_t)v); return 5; }
    out[0] = MG_UINT64;
  } else {
    if (v >= -32) { out[0] = (uint8_t)v; return 1; }
    if (v >= INT8_MIN) { out[0] = MG_INT8; out[1] = (uint8_t)v; return 2; }
    if (v >= INT16_MIN) { out[0] = MG_INT16; mg_store16(out + 1, (uint16_t)v); return 3; }
    if (v >= INT32_MIN) { out[0] = MG_INT32; mg_store32(out + 1, (uint32_t)v); return 5; }
    out[0] = MG_INT64;
  }
  mg_store64(out + 1, (uint64_t)v);
  return 9;
}

static inline size_t mg_float_bytes(uint8_t *out, double v) {
  uint64_t bits;
  memcpy(&bits, &v, sizeof bits);
  out[0] = MG_FLOAT64;
  mg_store64(out + 1, bits);
  return 9;
}

/* Writes the head of a string of so many bytes, which takes up to 5. Returns how many it took. */
static inline size_t mg_string_head(uint8_t *p, uint32_t len) {
  if (MG_LIKELY(len < 32)) { p[0] = (uint8_t)(MG_FIXSTR | len); return 1; }
  if (len <= UINT8_MAX) { p[0] = MG_STR8; p[1] = (uint8_t)len; return 2; }
  if (len <= UINT16_MAX) { p[0] = MG_STR16; mg_store16(p + 1, (uint16_t)len); return 3; }
  p[0] = MG_STR32;
  mg_store32(p + 1, len);
  return 5;
}

/* The type of the value at idx, for mg_scalar: integers, which so many items are, have one of their own. */
enum { MG_TINTEGER = LUA_NUMTYPES };

static inline int mg_scalar_type(lua_State *L, int idx) {
  return lua_isinteger(L, idx) ? MG_TINTEGER : lua_type(L, idx);
}

/* Writes the value at idx, of that type, to `to`, which has room for MG_SCALAR_MOST bytes. Returns how many it took; 0:
 * it is none of these, or a longer string. */
MG_INLINE size_t mg_scalar(lua_State *L, int type, int idx, uint8_t *to) {
  switch (type) {
    case MG_TINTEGER: return mg_integer_bytes(to, lua_tointegerx(L, idx, NULL));
    case LUA_TNUMBER: {
      if (lua_isinteger(L, idx)) return mg_integer_bytes(to, lua_tointegerx(L, idx, NULL));
      return mg_float_bytes(to, lua_tonumberx(L, idx, NULL));
    }
    case LUA_TSTRING: {
      size_t n;
      const char *s = lua_tolstring(L, idx, &n);
      if (n >= MG_SCALAR_MOST) return 0;
      to[0] = (uint8_t)(MG_FIXSTR | n);
      mg_copy_short(to + 1, s, n);
      return n + 1;
    }
    case LUA_TBOOLEAN: to[0] = lua_toboolean(L, idx) ? MG_TRUE : MG_FALSE; return 1;
    case LUA_TNIL: to[0] = MG_NIL; return 1;
    default: return 0;
  }
}

/* Pushes the value of a message that is an integer from -32 to UINT32_MAX in its shortest form. Returns whether it
 * is. */
static inline bool mg_push_integer(lua_State *L, const uint8_t *buf, size_t len) {
  lua_Integer v;
  uint8_t tag = len > 0 ? mg_load8(buf++) : MG_NIL;
  if (len == 1 && (tag < MG_FIXMAP || tag >= MG_NEGATIVE_FIXINT)) v = (int8_t)tag;
  else if (len == 3 && tag == MG_UINT16) v = mg_load16(buf);
  else if (len == 5 && tag == MG_UINT32) v = mg_load32(buf);
  else if (len == 2 && tag == MG_UINT8) v = mg_load8(buf);
  else return false;
  lua_pushinteger(L, v);
  return true;
}

#endif
