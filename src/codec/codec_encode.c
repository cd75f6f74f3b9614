/* Minigun: Lua values to bytes, in one pass.
 *
 * Stack layout of one level of the walk: the table at t, its key at t + 1, the value at t + 2, which is the next
 * level's t. The path in an error message is read off the keys. */
#include "codec_encode.h"

/* Arrays of fewer numbers than this are written one by one. */
#define PACK_MIN 8
/* Entry of the table map for an object whose dump hook is running. */
#define UNDER_WAY 0x80000000u

static uint8_t *put_value(mg_encoder *e, uint8_t *p, int idx);

/* --- the map of tables met --- */

/* The entry of the object at idx if it has been met before.  If not, returns NULL, and gives it the next number. */
static inline const mg_seen *meet(mg_encoder *e, int idx, const void *object, uint32_t state) {
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

static const mg_seen *seen_find(const mg_encoder *e, const void *object) {
  if (MG_UNLIKELY(!e->c->seen_cap)) return NULL;
  const mg_seen *slot = mg_codec_seen(e->c, e->stamp, object);
  return slot->stamp == e->stamp ? slot : NULL;
}

static uint8_t *put_reference(mg_encoder *e, uint8_t *p, const mg_seen *seen) {
  if (seen->number & UNDER_WAY) return mg_bad(e, " refers back to an object whose dump hook is running");
  if (e->end - p < 6) return mg_no_fit(e, p, 6);
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
static inline int next_pair(mg_encoder *e, int t) {
  lua_State *L = e->L;
  if (MG_LIKELY(!e->foreign)) return lua_next(L, t);
  lua_pushcfunction(L, raw_next);
  lua_pushvalue(L, t);
  lua_rotate(L, -3, -1);
  int base = lua_gettop(L) - 3;
  if (lua_pcall(L, 2, LUA_MULTRET, 0) != LUA_OK) {
    lua_pop(L, 1);
    e->depth--;
    mg_bad(e, " was changed by a dump hook while it was walked");
    e->depth++;
    return -1;
  }
  return lua_gettop(L) > base;
}

/* Writes the head of a container in front of its contents, start + reserved to p, and moves them if it has another size
 * than was reserved. kind is MG_FIXARRAY or MG_FIXMAP. */
static uint8_t *close_container(mg_encoder *e, uint8_t *start, size_t reserved, uint8_t *p, size_t count,
                                unsigned kind) {
  size_t head = count < 16 ? 1 : count <= UINT16_MAX ? 3 : 5;
  if (MG_UNLIKELY(head != reserved)) {
    if (head > reserved && (size_t)(e->end - p) < head - reserved) return mg_no_fit(e, p, head - reserved);
    memmove(start + head, start + reserved, (size_t)(p - start) - reserved);
    p += (ptrdiff_t)head - (ptrdiff_t)reserved;
  }
  if (MG_UNLIKELY(count > UINT32_MAX)) return mg_bad(e, " has more than 4294967295 elements");
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

static uint8_t *put_key(mg_encoder *e, uint8_t *p, int t) {
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
      mg_bad(e, lua_pushfstring(L, " has a key that is a %s", luaL_typename(L, key)));
      e->depth++;
      return NULL;
  }
}

/* Writes the pair on the stack and the rest of the table at p, after `count` pairs that are there already. */
static uint8_t *put_map(mg_encoder *e, uint8_t *start, size_t reserved, uint8_t *p, int t, size_t count) {
  lua_State *L = e->L;
  int more;
  do {
    p = MG_LIKELY(lua_type(L, t + 1) == LUA_TSTRING) ? mg_put_string(e, p, t + 1) : put_key(e, p, t);
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
static bool is_sequence(mg_encoder *e, int t) {
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

/* Collects numbers of one subtype as long as the walk gives the keys 1, 2, ... Leaves the first pair that does not
 * belong on the stack, and *more at 1; or *more at 0 (the end) or -1 (an error). Returns how many it took. */
static size_t gather_numbers(mg_encoder *e, int t, bool integers, int *more) {
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

/* Writes a table whose first key is an integer; the pair is on the stack. */
static uint8_t *put_array(mg_encoder *e, uint8_t *start, int t) {
  lua_State *L = e->L;
  lua_Unsigned border = lua_rawlen(L, t);
  size_t reserved = border < 16 ? 1 : border <= UINT16_MAX ? 3 : 5, k = 0;
  int more = 1;
  if ((size_t)(e->end - start) < reserved) return mg_no_fit(e, start, reserved);
  uint8_t *p = start + reserved;
  if (border >= PACK_MIN && lua_type(L, t + 2) == LUA_TNUMBER) {
    bool integers = lua_isinteger(L, t + 2);
    k = gather_numbers(e, t, integers, &more);
    if (more == 0) return mg_put_packed(e, start, k, integers);
    for (size_t i = 0; i < k && p; i++) {
      double v;
      memcpy(&v, &e->c->numbers[i], sizeof v);
      p = integers ? mg_put_integer(e, p, e->c->numbers[i]) : mg_put_float(e, p, v);
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
      p = mg_insert_keys(e, start + reserved, p, k);
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
static bool enter(mg_encoder *e, int key) {
  if (MG_UNLIKELY(e->depth >= MG_CODEC_JOIN_DEPTH)) {
    e->flags |= MG_CODEC_DEEP;
    if (e->depth == MG_CODEC_MAX_DEPTH) {
      mg_bad(e, lua_pushfstring(e->L, " is nested deeper than %d levels", MG_CODEC_MAX_DEPTH));
      return false;
    }
  }
  if (e->depth % MG_STACK_LEVELS == 0 && MG_UNLIKELY(!lua_checkstack(e->L, MG_STACK_ROOM))) {
    mg_bad(e, ": the Lua stack is full");
    return false;
  }
  e->key_at[e->depth++] = key;
  return true;
}

/* Writes the table on top of the stack, at t, which has just been met; its metatable is not looked at. The end of
 * the walk leaves the stack as it was. */
static uint8_t *put_contents(mg_encoder *e, uint8_t *p, int t) {
  lua_State *L = e->L;
  uint8_t *start = p;
  bool foreign = e->foreign;
  if (MG_UNLIKELY(!enter(e, t + 1))) return NULL;
  e->foreign = false;
  lua_pushnil(L);
  int more = next_pair(e, t);
  if (more < 0) return NULL;
  if (more == 0) {
    p = mg_put_byte(e, p, MG_FIXARRAY);
  } else if (lua_isinteger(L, t + 1)) {
    p = put_array(e, p, t);
  } else {
    if (p == e->end) return mg_no_fit(e, p, 1);
    p = put_map(e, start, 1, p + 1, t, 0);
  }
  if (MG_UNLIKELY(!p)) return NULL;
  e->foreign |= foreign;
  e->depth--;
  return p;
}

/* Writes the table or userdata at t, which has the metatable on top of the stack, at t + 1. */
static uint8_t *put_object(mg_encoder *e, uint8_t *p, int t) {
  lua_State *L = e->L;
  const void *object = lua_topointer(L, t);
  const mg_seen *seen = seen_find(e, object);
  if (seen) return put_reference(e, p, seen);
  if (!enter(e, 0)) return NULL;
  lua_rawgeti(L, LUA_REGISTRYINDEX, e->c->by_metatable_ref);
  lua_insert(L, -2);
  if (lua_rawget(L, -2) != LUA_TTABLE) {
    if (lua_type(L, t) == LUA_TUSERDATA) return mg_bad_type(e, t);
    return mg_bad(e, " has an unregistered metatable: minigun.register it");
  }
  lua_rawgeti(L, -1, MG_TYPE_NAME);
  if (e->end - p < 6) return mg_no_fit(e, p, 6);
  uint8_t *start = p;
  p = mg_put_string(e, p + 6, lua_gettop(L));
  if (!p) return NULL;
  if (lua_rawgeti(L, -2, MG_TYPE_DUMP) == LUA_TFUNCTION) {
    meet(e, t, object, UNDER_WAY);
    uint32_t number = e->opened - 1;
    if (!mg_call_dump(e, t)) return NULL;
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
  if (bytes > UINT32_MAX) return mg_bad(e, " takes more than 4294967295 bytes");
  start[0] = MG_EXT32;
  mg_store32(start + 1, (uint32_t)bytes);
  start[5] = MG_EXT_OBJECT;
  e->depth--;
  lua_settop(L, t);
  return p;
}

/* Writes the value at the absolute index idx; tables and userdata must be on top of the stack. Leaves the stack alone
 * unless it fails. */
static uint8_t *put_value(mg_encoder *e, uint8_t *p, int idx) {
  lua_State *L = e->L;
  switch (lua_type(L, idx)) {
    case LUA_TNIL: return mg_put_byte(e, p, MG_NIL);
    case LUA_TBOOLEAN: return mg_put_byte(e, p, lua_toboolean(L, idx) ? MG_TRUE : MG_FALSE);
    case LUA_TNUMBER:
      if (lua_isinteger(L, idx)) return mg_put_integer(e, p, lua_tointegerx(L, idx, NULL));
      return mg_put_float(e, p, lua_tonumberx(L, idx, NULL));
    case LUA_TSTRING: return mg_put_string(e, p, idx);
    case LUA_TTABLE: {
      if (MG_UNLIKELY(lua_getmetatable(L, idx))) return put_object(e, p, idx);
      const mg_seen *seen = meet(e, idx, lua_topointer(L, idx), 0);
      return MG_UNLIKELY(seen) ? put_reference(e, p, seen) : put_contents(e, p, idx);
    }
    case LUA_TUSERDATA:
      if (lua_getmetatable(L, idx)) return put_object(e, p, idx);
      return mg_bad_type(e, idx);
    default: return mg_bad_type(e, idx);
  }
}

/* Writes the outermost table or userdata, at idx. */
static uint8_t *put_root(mg_encoder *e, int idx) {
  lua_State *L = e->L;
  mg_codec *c = e->c;
  luaL_checkstack(L, 12, "codec");
  if (MG_UNLIKELY(++c->stamp == 0)) {
    if (c->seen) memset(c->seen, 0, c->seen_cap * sizeof *c->seen);
    c->stamp = 1;
  }
  e->stamp = c->stamp;
  if (MG_UNLIKELY(c->hooks)) {
    e->anchored = 0;
    lua_newtable(L);
    e->anchor = lua_gettop(L);
  }
  lua_pushvalue(L, idx);
  uint8_t *p = put_value(e, e->base, lua_gettop(L));
  mg_codec_trim(L, c);
  return p;
}

int mg_encode(lua_State *L, mg_codec *c, int idx, uint8_t *buf, size_t cap, size_t *len, unsigned *flags) {
  int type = lua_type(L, idx);
  if (type != LUA_TTABLE && MG_LIKELY(cap >= MG_SCALAR_MOST) && (*len = mg_scalar(L, type, idx, buf)) > 0) {
    *flags = 0;
    return MG_CODEC_OK;
  }
  mg_encoder e; /* field by field: key_at need not be set */
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
  if (type != LUA_TTABLE && type != LUA_TUSERDATA) luaL_checkstack(L, 4, "codec");
  const uint8_t *p = type == LUA_TTABLE || type == LUA_TUSERDATA ? put_root(&e, idx) : put_value(&e, buf, idx);
  int status = MG_LIKELY(p) ? MG_CODEC_OK : e.status;
  *flags = e.flags;
  *len = MG_LIKELY(p) ? (size_t)(p - buf) : status == MG_CODEC_NOFIT ? e.need : 0;
  if (MG_UNLIKELY(status == MG_CODEC_BAD)) {
    if (lua_gettop(L) > top + 1) lua_replace(L, top + 1);
    top++; /* the message */
  }
  lua_settop(L, top);
  return status;
}

int mg_encode_whole(lua_State *L, mg_codec *c, int idx, size_t head, uint8_t *small, size_t *usual, uint8_t **buf,
                    size_t *len, unsigned *flags) {
  size_t size = MG_CODEC_SMALL;
  int status;
  *buf = small;
  if (head + *usual > size) {
    size = head + *usual;
    *buf = lua_newuserdatauv(L, size, 0);
  }
  while ((status = mg_encode(L, c, idx, *buf + head, size - head, len, flags)) == MG_CODEC_NOFIT) {
    size = head + (*len > 4 * size ? *len : 4 * size);
    lua_settop(L, idx);
    *buf = lua_newuserdatauv(L, size, 0);
  }
  if (status == MG_CODEC_OK) *usual = *len + *len / 8;
  return status;
}
