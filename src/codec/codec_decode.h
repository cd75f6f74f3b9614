/* Minigun: what the files that decode share: codec_message.c, which reads a message, codec_decode.c, which reads a
 * value in it, and codec_object.c, which makes the objects and the messages of errors. Functions that read take the
 * place p and return the place after what they read, with its value pushed; or NULL, with a message. */
#ifndef MG_CODEC_DECODE_H
#define MG_CODEC_DECODE_H

#include "codec_state.h"

typedef struct mg_decoder {
  lua_State *L;
  mg_codec *c;
  const uint8_t *base, *end, *whole_end; /* end: of the object that is read, or of the message */
  size_t budget; /* elements that containers may still declare */
  int depth;
  int keys; /* stack index of the key cache's strings */
  int refs; /* stack index of number -> table, present for the numbers that are referred to; 0: no references */
  int refusal; /* stack index of the message of the first object that was refused, nil; 0: none can be */
  uint32_t opened;
  bool own; /* no other process can change the bytes */
  bool plain; /* MG_CODEC_PLAIN */
} mg_decoder;

/* Its address stands for a table that is referred to somewhere and has not been read yet. */
extern const char mg_not_open;

/* Pushes the problem, which is on top of the stack, with the place of the token at p. */
const uint8_t *mg_damaged_pushed(const mg_decoder *d, const uint8_t *p);
const uint8_t *mg_damaged(const mg_decoder *d, const uint8_t *p, const char *problem);
/* n of what is declared, in units that take at least `each` bytes. */
const uint8_t *mg_damaged_count(const mg_decoder *d, const uint8_t *token, const uint8_t *p, const char *what, size_t n,
                                const char *unit, size_t each);

static inline const uint8_t *mg_cut_short(const mg_decoder *d, const uint8_t *p) {
  return mg_damaged(d, p, "the value ends too early");
}

/* Reads the value at p. */
const uint8_t *mg_decode_value(mg_decoder *d, const uint8_t *p);

/* How many keys of a map lie at each place of its table (codec_collide.c). */
typedef struct mg_places mg_places;
/* Pushes those of a map of n pairs. */
mg_places *mg_places_push(lua_State *L, size_t n);
/* Counts the key on top of the stack.  Returns whether that is still within what is allowed. */
bool mg_places_count(lua_State *L, mg_places *all);

/* An object cannot be made, and why is on top of the stack, which is left: its contents are to stand for it. */
bool mg_refuse_object(mg_decoder *d, const uint8_t *token);
/* Replaces the contents, on top of the stack, by the object that they make; the type's record lies below. */
bool mg_make_object(mg_decoder *d, const uint8_t *token);

/* Enters a container or object. */
static inline bool mg_decode_enter(mg_decoder *d, const uint8_t *token) {
  if (MG_UNLIKELY(d->depth == MG_CODEC_MAX_DEPTH)) {
    lua_pushfstring(d->L, "nested deeper than %d levels", MG_CODEC_MAX_DEPTH);
    mg_damaged_pushed(d, token);
    return false;
  }
  if (d->depth % MG_STACK_LEVELS == 0 && MG_UNLIKELY(!lua_checkstack(d->L, MG_STACK_ROOM))) {
    mg_damaged(d, token, "the Lua stack is full");
    return false;
  }
  d->depth++;
  return true;
}

/* Gives the table on top of the stack the next number. */
static inline void mg_open_table(mg_decoder *d) {
  if (MG_LIKELY(!d->refs)) return;
  lua_State *L = d->L;
  if (lua_rawgeti(L, d->refs, d->opened) != LUA_TNIL) {
    lua_pushvalue(L, -2);
    lua_rawseti(L, d->refs, d->opened);
  }
  lua_pop(L, 1);
  d->opened++;
}

#endif
