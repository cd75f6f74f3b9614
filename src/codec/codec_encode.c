/* Minigun: Lua values to bytes, in one pass.
 *
 * Stack layout of one level of the walk: the table at t, its key at t + 1, the value at t + 2, which is the next
 * level's t. The path in an error message is read off the keys. Functions that write take the place p and return the
 * place behind what they wrote, or NULL when e->status says why not. */
#include "codec_scalar.h"

#include <stdio.h>

/* Arrays of fewer numbers than this are written one by one. */
#define PACK_MIN 8
/* Entry of the table map for an object whose dump hook is running. */
#define UNDER_WAY 0x80000000u

typedef struct encoder {
  lua_State *L;
  mg_codec *c;
  uint8_t *base, *end;
  size_t need; /* with MG_CODEC_NOFIT */
  int status; /* with MG_CODEC_BAD the message is on top of the stack */
  uint32_t stamp;
  uint32_t opened; /* arrays, maps and objects so far */
  unsigned flags;
  int anchor, anchored; /* array that keeps tables alive while hooks may drop them; 0: none */
  bool foreign; /* a hook ran since the walk of the present table began, and may have changed it */
  int depth;
  int key_at[MG_CODEC_MAX_DEPTH]; /* stack index of the key each level is walking at; 0: an object's contents */
} encoder;

static uint8_t *put_value(encoder *e, uint8_t *p, int idx);

static uint8_t *no_fit(encoder *e, const uint8_t *p, size_t n) {
  /* A head reserved by the border of a table with holes may turn out up to 4 bytes shorter, on every open level. */
  size_t slack = 4 * (size_t)e->depth, cap = (size_t)(e->end - e->base);
  size_t need = (size_t)(p - e->base) + n;
  e->need = need > cap + slack ? need - slack : cap + 1;
  e->status = MG_CODEC_NOFIT;
  return NULL;
}

/* --- errors --- */

/* Pushes "item", the path to the value being written, and what is wrong with it. A long path loses its middle. */
static uint8_t *bad(encoder *e, const char *problem) {
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

static uint8_t *bad_type(encoder *e, int idx) {
  lua_State *L = e->L;
  int type = lua_type(L, idx);
  if (type != LUA_TUSERDATA) {
    const char *name = type == LUA_TTHREAD ? "coroutine" : type == LUA_TLIGHTUSERDATA ? "light userdata"
                                                                                      : lua_typename(L, type);
    return bad(e, lua_pushfstring(L, " is a %s", name));
  }
  const char *name = luaL_getmetafield(L, idx, "__name") == LUA_TSTRING ? lua_tostring(L, -1) : "no name";
  return bad(e, lua_pushfstring(L, " is a userdata (%s) that minigun.register does not know", name));
}

/* --- scalars --- */

static inline uint8_t *put_integer(encoder *e, uint8_t *p, int64_t v) {
  if (MG_LIKELY(e->end - p >= 9)) return p + mg_integer_bytes(p, v);
  uint8_t bytes[9];
  size_t n = mg_integer_bytes(bytes, v);
  if ((size_t)(e->end - p) < n) return no_fit(e, p, n);
  memcpy(p, bytes, n);
  return p + n;
}

static inline uint8_t *put_float(encoder *e, uint8_t *p, double v) {
  if (MG_UNLIKELY(e->end - p < 9)) return no_fit(e, p, 9);
  return p + mg_float_bytes(p, v);
}

static inline uint8_t *put_string(encoder *e, uint8_t *p, int idx) {
  size_t len;
  const char *s = lua_tolstring(e->L, idx, &len);
  size_t head = len < 32 ? 1 : len <= UINT8_MAX ? 2 : len <= UINT16_MAX ? 3 : 5;
  if (MG_UNLIKELY(len > UINT32_MAX)) {
    return bad(e, lua_pushfstring(e->L, " is a string of %I bytes; the most is 4294967295", (lua_Integer)len));
  }
  if (MG_UNLIKELY((size_t)(e->end - p) < head + len)) return no_fit(e, p, head + len);
  if (MG_LIKELY(head == 1)) {
    p[0] = (uint8_t)(MG_FIXSTR | len);
  } else if (head == 2) {
    p[0] = MG_STR8;
    p[1] = (uint8_t)len;
  } else if (head == 3) {
    p[0] = MG_STR16;
    mg_store16(p + 1, (uint16_t)len);
  } else {
    p[0] = MG_STR32;
    mg_store32(p + 1, (uint32_t)len);
  }
  mg_copy_short(p + head, s, len);
  return p + head + len;
}

static inline uint8_t *put_byte(encoder *e, uint8_t *p, unsigned byte) {
  if (MG_UNLIKELY(p == e->end)) return no_fit(e, p, 1);
  *p = (uint8_t)byte;
  return p + 1;
}

/* --- the map of tables met --- */

/* The entry of the object at idx if it has been met before.  If not, returns NULL, and gives it the next number. */
static inline const mg_seen *meet(encoder *e, int idx, const void *object, uint32_t state) {
  if (MG_UNLIKELY(2 * (size_t)e->opened >= e->c->seen_cap)) mg_codec_grow_seen(e->L, e->c, e->stamp);
  mg_seen *slot = mg_codec_seen(e->c, e->stamp, object);
  if (MG_UNLIKELY(slot->stamp == e->stamp)) return slot;
  *slot = (mg_seen){ object, e->stamp, e->opened++ | state };
  if (MG_UNLIKELY(e->anchor)) {
    lua_pushvalue(e->L, idx);
    lua_rawseti(e->L, e->anchor, ++e->anchored);
  }
  return NULL;
}

static const mg_seen *seen_find(const encoder *e, const void *object) {
  if (MG_UNLIKELY(!e->c->seen_cap)) return NULL;
  const mg_seen *slot = mg_codec_seen(e->c, e->stamp, object);
  return slot->stamp == e->stamp ? slot : NULL;
}

static uint8_t *put_reference(encoder *e, uint8_t *p, const mg_seen *seen) {
  if (seen->number & UNDER_WAY) return bad(e, " refers back to an object whose dump hook is running");
  if (e->end - p < 6) return no_fit(e, p, 6);
  e->flags |= MG_CODEC_REFS;
  p[0] = MG_FIXEXT4;
  p[1] = MG_EXT_REFERENCE;
  mg_store32(p + 2, seen->number);
  return p + 6;
}

/* --- tables --- */

static int raw_next(lua_State *L) {
  lua_settop(L, 2);
  return lua_next(L, 1) ? 2 : 0;
}

/* lua_next for the table at t, with its key on top; -1 when it failed, with e->status set. A hook may have rebuilt the
 * table, and lua_next may raise then: it is called in protected mode. */
static inline int next_pair(encoder *e, int t) {
  lua_State *L = e->L;
  if (MG_LIKELY(!e->foreign)) return lua_next(L, t);
  lua_pushcfunction(L, raw_next);
  lua_pushvalue(L, t);
  lua_rotate(L, -3, -1);
  int base = lua_gettop(L) - 3;
  if (lua_pcall(L, 2, LUA_MULTRET, 0) != LUA_OK) {
    lua_pop(L, 1);
    e->depth--;
    bad(e, " was changed by a dump hook while it was walked");
    e->depth++;
    return -1;
  }
  return lua_gettop(L) > base;
}

/* Writes the head of a container in front of its contents, start + reserved to p, and moves them if it has another size
 * than was reserved. kind is MG_FIXARRAY or MG_FIXMAP. */
static uint8_t *close_container(encoder *e, uint8_t *start, size_t reserved, uint8_t *p, size_t count, unsigned kind) {
  size_t head = count < 16 ? 1 : count <= UINT16_MAX ? 3 : 5;
  if (MG_UNLIKELY(head != reserved)) {
    if (head > reserved && (size_t)(e->end - p) < head - reserved) return no_fit(e, p, head - reserved);
    memmove(start + head, start + reserved, (size_t)(p - start) - reserved);
    p += (ptrdiff_t)head - (ptrdiff_t)reserved;
  }
  if (MG_UNLIKELY(count > UINT32_MAX)) return bad(e, " has more than 4294967295 elements");
  if (head == 1) {
    start[0] = (uint8_t)(kind | count);
  } else if (head == 3) {
    start[0] = kind == MG_FIXARRAY ? MG_ARRAY16 : MG_MAP16;
    mg_store16(start + 1, (uint16_t)count);
  } else {
    start[0] = kind == MG_FIXARRAY ? MG_ARRAY32 : MG_MAP32;
    mg_store32(start + 1, (uint32_t)count);
  }
  return p;
}

static uint8_t *put_key(encoder *e, uint8_t *p, int t) {
  lua_State *L = e->L;
  int key = t + 1;
  switch (lua_type(L, key)) {
    case LUA_TTABLE: case LUA_TUSERDATA:
      lua_pushvalue(L, key);
      p = put_value(e, p, t + 3);
      if (p) lua_settop(L, t + 2);
      return p;
    case LUA_TNUMBER: case LUA_TBOOLEAN: return put_value(e, p, key);
    default:
      e->depth--;
      bad(e, lua_pushfstring(L, " has a key that is a %s", luaL_typename(L, key)));
      e->depth++;
      return NULL;
  }
}

/* Writes the pair on the stack and the rest of the table behind p, after `count` pairs that are there already. */
static uint8_t *put_map(encoder *e, uint8_t *start, size_t reserved, uint8_t *p, int t, size_t count) {
  lua_State *L = e->L;
  int more;
  do {
    p = MG_LIKELY(lua_type(L, t + 1) == LUA_TSTRING) ? put_string(e, p, t + 1) : put_key(e, p, t);
    if (MG_UNLIKELY(!p)) return NULL;
    p = put_value(e, p, t + 2);
    if (MG_UNLIKELY(!p)) return NULL;
    count++;
    lua_settop(L, t + 1);
    more = next_pair(e, t);
  } while (more > 0);
  return more < 0 ? NULL : close_container(e, start, reserved, p, count, MG_FIXMAP);
}

/* Whether the keys of the table at t are exactly 1..n, in whatever order its walk gives them. */
static bool is_sequence(encoder *e, int t) {
  lua_State *L = e->L;
  lua_Integer count = 0, largest = 0;
  if (lua_rawlen(L, t) == 0) return false;
  lua_pushnil(L);
  while (next_pair(e, t) > 0) {
    lua_Integer key = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
    if (key < 1) {
      lua_pop(L, 2);
      return false;
    }
    if (key > largest) largest = key;
    count++;
    lua_pop(L, 1);
  }
  return e->status == MG_CODEC_OK && largest == count;
}

/* Turns the k values between body and p into k pairs with the keys 1..k: an array that proved to be a map. */
static uint8_t *insert_keys(encoder *e, uint8_t *body, uint8_t *p, size_t k) {
  uint8_t key[9];
  size_t extra = 0, size = (size_t)(p - body);
  for (size_t i = 1; i <= k; i++) extra += mg_integer_bytes(key, (int64_t)i);
  if ((size_t)(e->end - p) < extra) return no_fit(e, p, extra);
  memmove(body + extra, body, size);
  const uint8_t *from = body + extra, *end = p + extra;
  for (size_t i = 1; i <= k; i++) {
    const uint8_t *value = from;
    uint64_t children, pending = 1;
    for (; pending > 0 && from; pending += children - 1) from = mg_token(from, end, &children);
    if (!from) return bad(e, ": the buffer was changed by another process");
    size_t n = mg_integer_bytes(key, (int64_t)i);
    memcpy(body, key, n);
    memmove(body + n, value, (size_t)(from - value));
    body += n + (size_t)(from - value);
  }
  return body;
}

/* Collects numbers of one subtype as long as the walk gives the keys 1, 2, ... Leaves the first pair that does not
 * belong on the stack, and *more at 1; or *more at 0 (the end) or -1 (an error). Returns how many it took. */
static size_t gather_numbers(encoder *e, int t, bool integers, int *more) {
  lua_State *L = e->L;
  mg_codec *c = e->c;
  size_t k = 0;
  do {
    if (!lua_isinteger(L, t + 1) || lua_tointeger(L, t + 1) != (lua_Integer)k + 1) break;
    if ((bool)lua_isinteger(L, t + 2) != integers || (!integers && lua_type(L, t + 2) != LUA_TNUMBER)) break;
    if (MG_UNLIKELY(k == c->numbers_cap)) mg_codec_grow_numbers(L, c, k);
    if (integers) {
      c->numbers[k++] = lua_tointegerx(L, t + 2, NULL);
    } else {
      double v = lua_tonumberx(L, t + 2, NULL);
      memcpy(&c->numbers[k++], &v, sizeof v);
    }
    lua_settop(L, t + 1);
    *more = next_pair(e, t);
  } while (*more > 0);
  return k;
}

static uint8_t *put_packed(encoder *e, uint8_t *p, size_t k, bool integers) {
  const int64_t *v = e->c->numbers;
  uint64_t spread = 0;
  size_t width = 8;
  if (integers) {
    for (size_t i = 0; i < k; i++) spread |= (uint64_t)(v[i] ^ (v[i] >> 63));
    width = spread <= INT8_MAX ? 1 : spread <= INT16_MAX ? 2 : spread <= INT32_MAX ? 4 : 8;
  }
  size_t bytes = k * width + integers, head = bytes <= UINT8_MAX ? 3 : bytes <= UINT16_MAX ? 4 : 6;
  if (bytes > UINT32_MAX) return bad(e, " has too many numbers for one packed array of 4 GiB");
  if ((size_t)(e->end - p) < head + bytes) return no_fit(e, p, head + bytes);
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

/* Writes a table whose first key is an integer; the pair is on the stack. */
static uint8_t *put_array(encoder *e, uint8_t *start, int t) {
  lua_State *L = e->L;
  lua_Unsigned border = lua_rawlen(L, t);
  size_t reserved = border < 16 ? 1 : border <= UINT16_MAX ? 3 : 5, k = 0;
  int more = 1;
  if ((size_t)(e->end - start) < reserved) return no_fit(e, start, reserved);
  uint8_t *p = start + reserved;
  if (border >= PACK_MIN && lua_type(L, t + 2) == LUA_TNUMBER) {
    bool integers = lua_isinteger(L, t + 2);
    k = gather_numbers(e, t, integers, &more);
    if (more == 0) return put_packed(e, start, k, integers);
    for (size_t i = 0; i < k && p; i++) {
      double v;
      memcpy(&v, &e->c->numbers[i], sizeof v);
      p = integers ? put_integer(e, p, e->c->numbers[i]) : put_float(e, p, v);
    }
    if (!p) return NULL;
  }
  while (more > 0 && lua_isinteger(L, t + 1) && lua_tointegerx(L, t + 1, NULL) == (lua_Integer)k + 1) {
    p = put_value(e, p, t + 2);
    if (MG_UNLIKELY(!p)) return NULL;
    k++;
    lua_settop(L, t + 1);
    more = next_pair(e, t);
  }
  if (more < 0) return NULL;
  if (more > 0) {
    if (!lua_isinteger(L, t + 1) || !is_sequence(e, t)) {
      if (e->status != MG_CODEC_OK) return NULL;
      p = insert_keys(e, start + reserved, p, k);
      return p ? put_map(e, start, reserved, p, t, k) : NULL;
    }
    /* A sequence that lies in the table's hash part: the rest is fetched in its order. */
    for (;; k++) {
      lua_settop(L, t);
      lua_pushinteger(L, (lua_Integer)k + 1);
      if (lua_rawgeti(L, t, (lua_Integer)k + 1) == LUA_TNIL) break;
      p = put_value(e, p, t + 2);
      if (!p) return NULL;
    }
    lua_settop(L, t);
  }
  return close_container(e, start, reserved, p, k, MG_FIXARRAY);
}

/* Enters a level; key is the stack index of the key it walks at, or 0. */
static bool enter(encoder *e, int key) {
  if (MG_UNLIKELY(e->depth >= MG_CODEC_JOIN_DEPTH)) {
    e->flags |= MG_CODEC_DEEP;
    if (e->depth == MG_CODEC_MAX_DEPTH) {
      bad(e, lua_pushfstring(e->L, " is nested deeper than %d levels", MG_CODEC_MAX_DEPTH));
      return false;
    }
  }
  if (e->depth % MG_STACK_LEVELS == 0 && MG_UNLIKELY(!lua_checkstack(e->L, MG_STACK_ROOM))) {
    bad(e, ": the Lua stack is full");
    return false;
  }
  e->key_at[e->depth++] = key;
  return true;
}

/* Writes the table on top of the stack, at t, which has just been met; its metatable is not looked at. The end of
 * the walk leaves the stack as it was. */
static uint8_t *put_contents(encoder *e, uint8_t *p, int t) {
  lua_State *L = e->L;
  uint8_t *start = p;
  bool foreign = e->foreign;
  if (MG_UNLIKELY(!enter(e, t + 1))) return NULL;
  e->foreign = false;
  lua_pushnil(L);
  int more = next_pair(e, t);
  if (more < 0) return NULL;
  if (more == 0) {
    p = put_byte(e, p, MG_FIXARRAY);
  } else if (lua_isinteger(L, t + 1)) {
    p = put_array(e, p, t);
  } else {
    if (p == e->end) return no_fit(e, p, 1);
    p = put_map(e, start, 1, p + 1, t, 0);
  }
  if (MG_UNLIKELY(!p)) return NULL;
  e->foreign |= foreign;
  e->depth--;
  return p;
}

/* Calls the dump hook on top of the stack for the object at t and replaces it by what it returns; the type's name lies
 * below it. The table map is out of the codec's hands meanwhile, and anchored here: the hook may encode. Returns false,
 * with e->status set, when hooks nest too deeply, or it raises, or returns nil and why. */
static bool call_dump(encoder *e, int t) {
  lua_State *L = e->L;
  mg_codec *c = e->c;
  const char *outer = c->hook_stack;
  if (!mg_codec_may_call(c)) {
    bad(e, ": dump hooks that encode nest too deeply");
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
  bad(e, lua_pushfstring(L, ": the dump hook of type '%s' %s: %s", name, called ? "refused it" : "raised",
                         lua_tostring(L, -1)));
  return false;
}

/* Writes the table or userdata at t, which has the metatable on top of the stack, at t + 1. */
static uint8_t *put_object(encoder *e, uint8_t *p, int t) {
  lua_State *L = e->L;
  const void *object = lua_topointer(L, t);
  const mg_seen *seen = seen_find(e, object);
  if (seen) return put_reference(e, p, seen);
  if (!enter(e, 0)) return NULL;
  lua_rawgeti(L, LUA_REGISTRYINDEX, e->c->by_metatable_ref);
  lua_insert(L, -2);
  if (lua_rawget(L, -2) != LUA_TTABLE) {
    if (lua_type(L, t) == LUA_TUSERDATA) return bad_type(e, t);
    return bad(e, " has an unregistered metatable: minigun.register it");
  }
  lua_rawgeti(L, -1, MG_TYPE_NAME);
  if (e->end - p < 6) return no_fit(e, p, 6);
  uint8_t *start = p;
  p = put_string(e, p + 6, lua_gettop(L));
  if (!p) return NULL;
  if (lua_rawgeti(L, -2, MG_TYPE_DUMP) == LUA_TFUNCTION) {
    meet(e, t, object, UNDER_WAY);
    uint32_t number = e->opened - 1;
    if (!call_dump(e, t)) return NULL;
    p = put_value(e, p, lua_gettop(L));
    if (p && e->c->seen_cap) mg_codec_seen(e->c, e->stamp, object)->number = number;
  } else {
    e->opened++; /* the object's own number; references use that of its table, which comes next */
    lua_settop(L, t);
    meet(e, t, object, 0);
    p = put_contents(e, p, t);
  }
  if (!p) return NULL;
  size_t bytes = (size_t)(p - start) - 6;
  if (bytes > UINT32_MAX) return bad(e, " takes more than 4294967295 bytes");
  start[0] = MG_EXT32;
  mg_store32(start + 1, (uint32_t)bytes);
  start[5] = MG_EXT_OBJECT;
  e->depth--;
  lua_settop(L, t);
  return p;
}

/* Writes the value at the absolute index idx; tables and userdata must be on top of the stack. Leaves the stack alone
 * unless it fails. */
static uint8_t *put_value(encoder *e, uint8_t *p, int idx) {
  lua_State *L = e->L;
  switch (lua_type(L, idx)) {
    case LUA_TNIL: return put_byte(e, p, MG_NIL);
    case LUA_TBOOLEAN: return put_byte(e, p, lua_toboolean(L, idx) ? MG_TRUE : MG_FALSE);
    case LUA_TNUMBER:
      if (lua_isinteger(L, idx)) return put_integer(e, p, lua_tointegerx(L, idx, NULL));
      return put_float(e, p, lua_tonumberx(L, idx, NULL));
    case LUA_TSTRING: return put_string(e, p, idx);
    case LUA_TTABLE: {
      if (MG_UNLIKELY(lua_getmetatable(L, idx))) return put_object(e, p, idx);
      const mg_seen *seen = meet(e, idx, lua_topointer(L, idx), 0);
      return MG_UNLIKELY(seen) ? put_reference(e, p, seen) : put_contents(e, p, idx);
    }
    case LUA_TUSERDATA:
      if (lua_getmetatable(L, idx)) return put_object(e, p, idx);
      return bad_type(e, idx);
    default: return bad_type(e, idx);
  }
}

int mg_encode(lua_State *L, mg_codec *c, int idx, uint8_t *buf, size_t cap, size_t *len, unsigned *flags) {
  int type = lua_type(L, idx);
  if (type != LUA_TTABLE && MG_LIKELY(cap >= MG_SCALAR_MOST) && (*len = mg_scalar(L, type, idx, buf)) > 0) {
    *flags = 0;
    return MG_CODEC_OK;
  }
  encoder e;
  e.L = L;
  e.c = c;
  e.base = buf;
  e.end = buf + cap;
  e.status = MG_CODEC_OK;
  e.opened = 0;
  e.flags = 0;
  e.anchor = 0;
  e.foreign = false;
  e.depth = 0;
  idx = lua_absindex(L, idx);
  int top = lua_gettop(L);
  uint8_t *p;
  if (type == LUA_TTABLE || type == LUA_TUSERDATA) {
    luaL_checkstack(L, 12, "codec");
    if (MG_UNLIKELY(++c->stamp == 0)) {
      if (c->seen) memset(c->seen, 0, c->seen_cap * sizeof *c->seen);
      c->stamp = 1;
    }
    e.stamp = c->stamp;
    if (MG_UNLIKELY(c->hooks)) {
      e.anchored = 0;
      lua_newtable(L);
      e.anchor = lua_gettop(L);
    }
    lua_pushvalue(L, idx);
    p = put_value(&e, buf, lua_gettop(L));
    mg_codec_trim(L, c);
  } else {
    luaL_checkstack(L, 4, "codec");
    p = put_value(&e, buf, idx);
  }
  *flags = e.flags;
  if (MG_LIKELY(p)) {
    *len = (size_t)(p - buf);
    lua_settop(L, top);
    return MG_CODEC_OK;
  }
  if (e.status == MG_CODEC_NOFIT) {
    *len = e.need;
    lua_settop(L, top);
    return MG_CODEC_NOFIT;
  }
  *len = 0;
  if (lua_gettop(L) > top + 1) {
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
  }
  return MG_CODEC_BAD;
}
