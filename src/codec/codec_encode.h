/* Minigun: what the files that encode share: codec_encode.c, which writes values, and codec_pack.c and codec_object.c,
 * which it calls. Functions that write take the place p and return the place after what they wrote, or NULL when
 * e->status says why not. */
#ifndef MG_CODEC_ENCODE_H
#define MG_CODEC_ENCODE_H

#include "codec_scalar.h"

typedef struct mg_encoder {
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
} mg_encoder;

/* At p there are not n bytes: sets how many are needed in all. */
uint8_t *mg_no_fit(mg_encoder *e, const uint8_t *p, size_t n);
/* Pushes "item", the path to the value being written, and what is wrong with it. A long path loses its middle. */
uint8_t *mg_bad(mg_encoder *e, const char *problem);
/* The value at idx is of a type that cannot be written. */
uint8_t *mg_bad_type(mg_encoder *e, int idx);

/* Turns the k values between body and p into k pairs with the keys 1..k: an array that proved to be a map. */
uint8_t *mg_insert_keys(mg_encoder *e, uint8_t *body, uint8_t *p, size_t k);
/* Writes the first k of the gathered numbers as one packed array. */
uint8_t *mg_put_packed(mg_encoder *e, uint8_t *p, size_t k, bool integers);

/* Calls the dump hook on top of the stack for the object at t and replaces it by what it returns; the type's name lies
 * below it. The table map is out of the codec's hands meanwhile, and anchored here: the hook may encode. Returns false,
 * with e->status set, when hooks nest too deeply, or it raises, or returns nil and why. */
bool mg_call_dump(mg_encoder *e, int t);

static inline uint8_t *mg_put_integer(mg_encoder *e, uint8_t *p, int64_t v) {
  if (MG_LIKELY(e->end - p >= 9)) return p + mg_integer_bytes(p, v);
  uint8_t bytes[9];
  size_t n = mg_integer_bytes(bytes, v);
  if ((size_t)(e->end - p) < n) return mg_no_fit(e, p, n);
  memcpy(p, bytes, n);
  return p + n;
}

static inline uint8_t *mg_put_float(mg_encoder *e, uint8_t *p, double v) {
  if (MG_UNLIKELY(e->end - p < 9)) return mg_no_fit(e, p, 9);
  return p + mg_float_bytes(p, v);
}

static inline uint8_t *mg_put_string(mg_encoder *e, uint8_t *p, int idx) {
  size_t len;
  const char *s = lua_tolstring(e->L, idx, &len);
  size_t head = len < 32 ? 1 : len <= UINT8_MAX ? 2 : len <= UINT16_MAX ? 3 : 5;
  if (MG_UNLIKELY(len > UINT32_MAX)) {
    return mg_bad(e, lua_pushfstring(e->L, " is a string of %I bytes; the most is 4294967295", (lua_Integer)len));
  }
  if (MG_UNLIKELY((size_t)(e->end - p) < head + len)) return mg_no_fit(e, p, head + len);
  mg_string_head(p, (uint32_t)len);
  mg_copy_short(p + head, s, len);
  return p + head + len;
}

static inline uint8_t *mg_put_byte(mg_encoder *e, uint8_t *p, unsigned byte) {
  if (MG_UNLIKELY(p == e->end)) return mg_no_fit(e, p, 1);
  *p = (uint8_t)byte;
  return p + 1;
}

#endif
