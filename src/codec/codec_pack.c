/* Minigun: the parts of encoding that write no value of their own: packed numbers, keys that are put into an array
 * which proved to be a map, and the messages of errors. */
#include <stdio.h>

#include "codec_encode.h"

uint8_t *mg_no_fit(mg_encoder *e, const uint8_t *p, size_t n) {
  /* A head reserved by the border of a table with holes may turn out up to 4 bytes shorter, on every open level. */
  size_t slack = 4 * (size_t)e->depth, cap = (size_t)(e->end - e->base);
  size_t need = (size_t)(p - e->base) + n;
  e->need = need > cap + slack ? need - slack : cap + 1;
  e->status = MG_CODEC_NOFIT;
  return NULL;
}

uint8_t *mg_bad(mg_encoder *e, const char *problem) {
  lua_State *L = e->L;
  char path[512] = "item";
  size_t at = 4;
  luaL_checkstack(L, 4, "codec");
  for (int level = 0; level < e->depth; level++) {
    if (e->key_at[level] == 0) continue;
    if (level >= 6 && level < e->depth - 4) {
      if (level == 6) at += (size_t)snprintf(path + at, sizeof path - at, "...");
      continue;
    }
    at += (size_t)mg_codec_segment(L, e->key_at[level], path + at, sizeof path - at);
  }
  lua_pushfstring(L, "%s%s", path, problem);
  e->status = MG_CODEC_BAD;
  return NULL;
}

uint8_t *mg_bad_type(mg_encoder *e, int idx) {
  lua_State *L = e->L;
  int type = lua_type(L, idx);
  if (type != LUA_TUSERDATA) {
    const char *name = type == LUA_TTHREAD ? "coroutine" : type == LUA_TLIGHTUSERDATA ? "light userdata"
                                                                                      : lua_typename(L, type);
    return mg_bad(e, lua_pushfstring(L, " is a %s", name));
  }
  const char *name = luaL_getmetafield(L, idx, "__name") == LUA_TSTRING ? lua_tostring(L, -1) : "no name";
  return mg_bad(e, lua_pushfstring(L, " is a userdata (%s) that minigun.register does not know", name));
}

uint8_t *mg_insert_keys(mg_encoder *e, uint8_t *body, uint8_t *p, size_t k) {
  uint8_t key[9];
  size_t extra = 0, size = (size_t)(p - body);
  for (size_t i = 1; i <= k; i++) extra += mg_integer_bytes(key, (int64_t)i);
  if ((size_t)(e->end - p) < extra) return mg_no_fit(e, p, extra);
  memmove(body + extra, body, size);
  const uint8_t *from = body + extra, *end = p + extra;
  for (size_t i = 1; i <= k; i++) {
    const uint8_t *value = from;
    uint64_t children, pending = 1;
    for (; pending > 0 && from; pending += children - 1) from = mg_token(from, end, &children);
    if (!from) return mg_bad(e, ": the buffer was changed by another process");
    size_t n = mg_integer_bytes(key, (int64_t)i);
    memcpy(body, key, n);
    memmove(body + n, value, (size_t)(from - value));
    body += n + (size_t)(from - value);
  }
  return body;
}

uint8_t *mg_put_packed(mg_encoder *e, uint8_t *p, size_t k, bool integers) {
  const int64_t *v = e->c->numbers;
  uint64_t spread = 0;
  size_t width = 8;
  if (integers) {
    for (size_t i = 0; i < k; i++) spread |= (uint64_t)(v[i] ^ (v[i] >> 63));
    width = spread <= INT8_MAX ? 1 : spread <= INT16_MAX ? 2 : spread <= INT32_MAX ? 4 : 8;
  }
  size_t bytes = k * width + integers, head = bytes <= UINT8_MAX ? 3 : bytes <= UINT16_MAX ? 4 : 6;
  if (bytes > UINT32_MAX) return mg_bad(e, " has too many numbers for one packed array of 4 GiB");
  if ((size_t)(e->end - p) < head + bytes) return mg_no_fit(e, p, head + bytes);
  p[0] = head == 3 ? MG_EXT8 : head == 4 ? MG_EXT16 : MG_EXT32;
  if (head == 3) p[1] = (uint8_t)bytes;
  if (head == 4) mg_store16(p + 1, (uint16_t)bytes);
  if (head == 6) mg_store32(p + 1, (uint32_t)bytes);
  p[head - 1] = integers ? MG_EXT_INTEGERS : MG_EXT_FLOATS;
  p += head;
  if (integers) *p++ = (uint8_t)width;
  for (size_t i = 0; i < k; i++) {
    uint64_t bits = htole64((uint64_t)v[i]);
    uint32_t bits32 = htole32((uint32_t)v[i]);
    uint16_t bits16 = htole16((uint16_t)v[i]);
    switch (width) {
      case 1: p[i] = (uint8_t)v[i]; break;
      case 2: memcpy(p + 2 * i, &bits16, 2); break;
      case 4: memcpy(p + 4 * i, &bits32, 4); break;
      default: memcpy(p + 8 * i, &bits, 8); break;
    }
  }
  return p + k * width;
}
