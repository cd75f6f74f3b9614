/* Minigun: what the files of the codec share. Outside of src/codec/ only for those that encode or register inline. */
#ifndef MG_CODEC_STATE_H
#define MG_CODEC_STATE_H

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include <lauxlib.h>

#include "codec.h"
#include "core/mg.h"

/* First bytes of MessagePack that the codec writes or reads by name. */
enum {
  MG_FIXMAP = 0x80, MG_FIXARRAY = 0x90, MG_FIXSTR = 0xa0,
  MG_NIL = 0xc0, MG_FALSE = 0xc2, MG_TRUE = 0xc3,
  MG_BIN8 = 0xc4, MG_BIN16 = 0xc5, MG_BIN32 = 0xc6,
  MG_EXT8 = 0xc7, MG_EXT16 = 0xc8, MG_EXT32 = 0xc9,
  MG_FLOAT32 = 0xca, MG_FLOAT64 = 0xcb,
  MG_UINT8 = 0xcc, MG_UINT16 = 0xcd, MG_UINT32 = 0xce, MG_UINT64 = 0xcf,
  MG_INT8 = 0xd0, MG_INT16 = 0xd1, MG_INT32 = 0xd2, MG_INT64 = 0xd3,
  MG_FIXEXT1 = 0xd4, MG_FIXEXT4 = 0xd6, MG_FIXEXT16 = 0xd8,
  MG_STR8 = 0xd9, MG_STR16 = 0xda, MG_STR32 = 0xdb,
  MG_ARRAY16 = 0xdc, MG_ARRAY32 = 0xdd, MG_MAP16 = 0xde, MG_MAP32 = 0xdf,
  MG_NEGATIVE_FIXINT = 0xe0
};

/* Extension types. */
enum { MG_EXT_INTEGERS = 1, MG_EXT_FLOATS = 2, MG_EXT_REFERENCE = 3, MG_EXT_OBJECT = 4 };

/* Fields of a registered type's record, a Lua table. */
enum { MG_TYPE_NAME = 1, MG_TYPE_METATABLE = 2, MG_TYPE_DUMP = 3, MG_TYPE_LOAD = 4 };

/* One table met by the encode call that has this stamp. */
typedef struct mg_seen {
  const void *object;
  uint32_t stamp;
  uint32_t number; /* in the order of opening */
} mg_seen;

/* A recent key string. Head and tail are the first and last 8 bytes, in memory order, overlapping or zero-padded:
 * up to 16 bytes they and the length tell the whole key. */
#define MG_KEY_MAX 30
#define MG_KEY_SLOTS 256
typedef struct mg_key {
  uint64_t head, tail;
  uint8_t len; /* 0: empty slot */
  char bytes[MG_KEY_MAX];
} mg_key;

struct mg_codec {
  mg_seen *seen; /* open-addressing map; memory of the userdata under seen_ref; NULL while a hook runs */
  size_t seen_cap; /* a power of two, or 0 */
  uint32_t stamp; /* of the newest encode call: entries with another stamp are free slots */
  unsigned hooks; /* registered types that have a dump hook */
  int64_t *numbers; /* gathers a numeric array before its width is known; userdata under numbers_ref */
  size_t numbers_cap;
  size_t usual; /* of minigun.core.encode: see mg_encode_whole */
  const char *hook_stack; /* place on the C stack of the outermost call of a hook; or of one that raised */
  /* Places in the registry. */
  int seen_ref, numbers_ref;
  int deferred_kib; /* see mg_codec_defer_collector; 0: not asked for */
  int keys_ref; /* array: slot of the key cache + 1 -> string */
  int by_metatable_ref, by_name_ref; /* -> type record */
  int pack_ref; /* function(...) return {...} end */
  int raise_ref; /* see mg_codec_on_raise */
  _Atomic uint32_t *loading; /* see mg_codec_note_loading */
  unsigned key_turn; /* which of its two slots the next new key takes */
  mg_key keys[MG_KEY_SLOTS];
};

/* Pushes the userdata that holds the codec of L's state. */
void mg_codec_push(lua_State *L);

/* Doubles the table map, with the entries of the encode call that has the stamp; or the number buffer, with its first
 * `used` numbers. No other code runs meanwhile. Both raise on lack of memory. */
void mg_codec_grow_seen(lua_State *L, mg_codec *c, uint32_t stamp);
void mg_codec_grow_numbers(lua_State *L, mg_codec *c, size_t used);

/* Gives back a table map and a number buffer that a large value has blown up. */
void mg_codec_trim(lua_State *L, mg_codec *c);

/* Writes the piece of an error's path that stands for the key at that stack index, such as .name, [1] or ["a b"].
 * out and size are as for snprintf, and so is the result. */
int mg_codec_segment(lua_State *L, int key, char *out, size_t size);

/* Steps over one token: its head and, for strings and leaf extensions, its bytes. *children is the number of values
 * that follow as its contents (an object has two). Returns NULL if the token does not end before `end`. */
const uint8_t *mg_token(const uint8_t *p, const uint8_t *end, uint64_t *children);

/* Calls a hook, which lies below its one argument, with two results. Returns true with both pushed; or false with a
 * string, what it has raised. */
bool mg_codec_call_hook(lua_State *L, mg_codec *c);

/* C stack that calls of hooks, which call the codec, which calls hooks, may take: Lua limits their number only. */
#define MG_HOOK_STACK ((ptrdiff_t)1 << 20)

/* Whether the C stack has room for the call of a hook. What a hook that raised has left in hook_stack does no harm:
 * calls that are not nested are not so far apart on one stack, and those on different stacks are farther. */
static inline bool mg_codec_may_call(mg_codec *c) {
  const char *here = __builtin_frame_address(0);
  if (!c->hook_stack) c->hook_stack = here;
  ptrdiff_t distance = (ptrdiff_t)((intptr_t)c->hook_stack - (intptr_t)here);
  if (distance < 0) distance = -distance;
  if (distance >= 8 * MG_HOOK_STACK) c->hook_stack = here;
  return distance < MG_HOOK_STACK || distance >= 8 * MG_HOOK_STACK;
}

/* The entry of the object in the table map, or the free one where it belongs. The map has a free one. */
static inline mg_seen *mg_codec_seen(const mg_codec *c, uint32_t stamp, const void *object) {
  size_t mask = c->seen_cap - 1;
  size_t i = (size_t)(((uint64_t)(uintptr_t)object * 0x9e3779b97f4a7c15u) >> 32) & mask;
  while (c->seen[i].stamp == stamp && c->seen[i].object != object) i = (i + 1) & mask;
  return &c->seen[i];
}

/* memcpy without a call for the strings that are the most frequent. */
static inline void mg_copy_short(void *to, const void *from, size_t n) {
  uint8_t *t = to;
  const uint8_t *f = from;
  if (n > 16) {
    memcpy(t, f, n);
  } else if (n >= 8) {
    memcpy(t, f, 8);
    memcpy(t + n - 8, f + n - 8, 8);
  } else if (n >= 4) {
    memcpy(t, f, 4);
    memcpy(t + n - 4, f + n - 4, 4);
  } else if (n > 0) {
    t[0] = f[0];
    t[n / 2] = f[n / 2];
    t[n - 1] = f[n - 1];
  }
}

/* So many levels of a walk have room on the Lua stack when this much was asked for. */
enum { MG_STACK_LEVELS = 8, MG_STACK_ROOM = 64 };

/* Loads from memory that another process may write. The empty asm keeps the compiler from loading the same bytes again
 * after a check. The caller has checked the bounds. */
static inline uint8_t mg_load8(const uint8_t *p) {
  uint8_t v = *p;
  __asm__ volatile("" : "+r"(v));
  return v;
}

static inline uint16_t mg_load16(const uint8_t *p) {
  uint16_t v;
  memcpy(&v, p, sizeof v);
  __asm__ volatile("" : "+r"(v));
  return be16toh(v);
}

static inline uint32_t mg_load32(const uint8_t *p) {
  uint32_t v;
  memcpy(&v, p, sizeof v);
  __asm__ volatile("" : "+r"(v));
  return be32toh(v);
}

static inline uint64_t mg_load64(const uint8_t *p) {
  uint64_t v;
  memcpy(&v, p, sizeof v);
  __asm__ volatile("" : "+r"(v));
  return be64toh(v);
}

static inline void mg_store16(uint8_t *p, uint16_t v) {
  v = htobe16(v);
  memcpy(p, &v, sizeof v);
}

static inline void mg_store32(uint8_t *p, uint32_t v) {
  v = htobe32(v);
  memcpy(p, &v, sizeof v);
}

static inline void mg_store64(uint8_t *p, uint64_t v) {
  v = htobe64(v);
  memcpy(p, &v, sizeof v);
}

#endif
