/* Minigun: a message, which is one value, to that value: its references, its batches of items, its end.
 *
 * Another process may be changing the bytes: a short message is copied before it is read. Of others
 * codec_decode.c takes care. */
#include "codec_decode.h"

#include <limits.h>

/* Messages of up to so many bytes are copied before they are read. */
#define COPIED_MOST 1024

/* Pushes a table with an entry, &mg_not_open, for each number that the message refers to: only those tables are
 * remembered. What it misses because the bytes change or are cut short is an error when the reference is read. */
static void push_refs(lua_State *L, const uint8_t *p, const uint8_t *end) {
  lua_newtable(L);
  while (p && p < end) {
    uint64_t children;
    const uint8_t *token = p;
    p = mg_token(p, end, &children);
    if (p && p - token == 6 && mg_load8(token) == MG_FIXEXT4 && mg_load8(token + 1) == MG_EXT_REFERENCE) {
      lua_pushlightuserdata(L, (void *)&mg_not_open);
      lua_rawseti(L, -2, mg_load32(token + 2));
    }
  }
}

/* Whether there may be a reference in p[0..len), len > 1. */
static bool may_refer(const uint8_t *p, size_t len) {
  const uint8_t *last = p + len - 1;
  while ((p = memchr(p, MG_FIXEXT4, (size_t)(last - p))) && mg_load8(p + 1) != MG_EXT_REFERENCE) p++;
  return p != NULL;
}

/* Whether a value that begins with this byte is a number of no more than 9 bytes, a string or a constant. */
static inline bool is_scalar(uint8_t tag) {
  return tag < MG_FIXMAP || tag >= MG_NEGATIVE_FIXINT || (tag >= MG_FIXSTR && tag <= MG_BIN32) ||
         (tag >= MG_FLOAT32 && tag <= MG_INT64) || (tag >= MG_STR8 && tag <= MG_STR32);
}

/* Reads the head of an array; *n is how many elements follow. NULL, without a message, when it is something else. */
static const uint8_t *get_head(const mg_decoder *d, const uint8_t *p, size_t *n) {
  uint64_t children;
  uint8_t tag = p < d->end ? mg_load8(p) : MG_NIL;
  if ((tag & 0xf0) != MG_FIXARRAY && tag != MG_ARRAY16 && tag != MG_ARRAY32) return NULL;
  p = mg_token(p, d->end, &children);
  *n = (size_t)children;
  return p;
}

/* Appends { item, message }, which are on top of the stack, to the array at `list`. */
static void note_refused(lua_State *L, int list) {
  lua_createtable(L, 2, 0);
  lua_insert(L, -3);
  lua_rawseti(L, -3, 2);
  lua_rawseti(L, -2, 1);
  lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
}

/* Reads an array of items; those that are refused go into the array at d->refusal, which is made for them, instead. */
static const uint8_t *get_items(mg_decoder *d, const uint8_t *token, const uint8_t *p, size_t n) {
  lua_State *L = d->L;
  int list = d->refusal;
  if (n > (size_t)(d->end - p) || n > d->budget || n > INT_MAX) {
    return mg_damaged_count(d, token, p, "array", n, "elements", 1);
  }
  if (!mg_decode_enter(d, token)) return NULL;
  d->budget -= n;
  lua_createtable(L, (int)n, 0);
  mg_open_table(d);
  int t = lua_gettop(L);
  lua_pushnil(L);
  d->refusal = t + 1;
  lua_Integer good = 0;
  for (size_t i = 0; i < n; i++) {
    p = mg_decode_value(d, p);
    if (!p) return NULL;
    if (lua_isnil(L, d->refusal)) {
      lua_rawseti(L, t, ++good);
      continue;
    }
    lua_pushvalue(L, d->refusal);
    if (lua_isnil(L, list)) {
      lua_newtable(L);
      lua_replace(L, list);
    }
    note_refused(L, list);
    lua_pushnil(L);
    lua_replace(L, d->refusal);
  }
  d->refusal = list;
  lua_settop(L, t);
  d->depth--;
  return p;
}

/* Reads a batch, see MG_CODEC_BATCH; or whatever it is. */
static const uint8_t *get_batch(mg_decoder *d, const uint8_t *p, bool pair) {
  lua_State *L = d->L;
  size_t n;
  const uint8_t *token = p, *after = get_head(d, p, &n);
  if (!after || (pair && n != 2)) return mg_decode_value(d, p);
  if (!pair) return get_items(d, token, after, n);
  if (!mg_decode_enter(d, token)) return NULL;
  d->budget -= d->budget < 2 ? d->budget : 2;
  lua_createtable(L, 2, 0);
  mg_open_table(d);
  p = mg_decode_value(d, after);
  if (!p) return NULL;
  lua_rawseti(L, -2, 1);
  after = get_head(d, p, &n);
  p = after ? get_items(d, p, after, n) : mg_decode_value(d, p);
  if (!p) return NULL;
  lua_rawseti(L, -2, 2);
  d->depth--;
  return p;
}

static int decode(lua_State *L, mg_codec *c, const uint8_t *buf, size_t len, unsigned flags, bool own) {
  mg_decoder d;
  luaL_checkstack(L, 10, "codec");
  d.L = L;
  d.c = c;
  d.base = buf;
  d.end = d.whole_end = buf + len;
  d.budget = len;
  d.depth = 0;
  d.keys = 0;
  d.refs = 0;
  d.refusal = 0;
  d.opened = 0;
  d.own = own;
  d.plain = (flags & MG_CODEC_PLAIN) != 0;
  int top = lua_gettop(L);
  if (len > 1 && !is_scalar(mg_load8(buf))) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->keys_ref);
    d.keys = top + 1;
    if (MG_UNLIKELY(flags & MG_CODEC_REFS) && may_refer(buf, len)) {
      push_refs(L, buf, d.end);
      d.refs = top + 2;
    }
    if (MG_UNLIKELY(c->hooks > 0) && !d.plain) {
      lua_pushnil(L);
      d.refusal = lua_gettop(L);
    }
  }
  const uint8_t *p;
  if (MG_UNLIKELY(d.refusal && (flags & MG_CODEC_BATCH))) p = get_batch(&d, buf, (flags & MG_CODEC_PAIR) != 0);
  else p = mg_decode_value(&d, buf);
  if (MG_UNLIKELY(p && p != d.end)) {
    lua_pushfstring(L, "trailing %I byte%s after the value", (lua_Integer)(d.end - p), d.end - p == 1 ? "" : "s");
    p = NULL;
  }
  if (MG_UNLIKELY(p && d.refusal && !lua_isnil(L, d.refusal))) {
    lua_pushvalue(L, d.refusal);
    lua_replace(L, top + 2); /* the value lies above */
    lua_replace(L, top + 1);
    lua_settop(L, top + 2);
    return MG_CODEC_REFUSED;
  }
  if (lua_gettop(L) > top + 1) {
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
  }
  return MG_LIKELY(p) ? MG_CODEC_OK : MG_CODEC_BAD;
}

int mg_decode_own(lua_State *L, mg_codec *c, const uint8_t *buf, size_t len, unsigned flags) {
  return decode(L, c, buf, len, flags, true);
}

int mg_decode(lua_State *L, mg_codec *c, const uint8_t *buf, size_t len, unsigned flags) {
  uint8_t copy[COPIED_MOST];
  if (len > COPIED_MOST || (len > 0 && is_scalar(mg_load8(buf)))) return decode(L, c, buf, len, flags, false);
  memcpy(copy, buf, len);
  __asm__ volatile("" : : "r"(copy) : "memory");
  return decode(L, c, copy, len, flags, true);
}
