/* Minigun: the codec. Lua values to bytes and back; the format is described in docs/wire-format.md.
 *
 * Encoding writes straight into the caller's memory. Decoding reads memory that another process may be changing:
 * it fails or returns some value, and never reads outside buf[0..len) nor allocates more than a multiple of len. */
#ifndef MG_CODEC_H
#define MG_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include <lua.h>

/* What a lua_State's codec remembers: registered types, the table map of shared references, the key cache. */
typedef struct mg_codec mg_codec;

/* Flags that travel beside an encoded value. */
enum {
  MG_CODEC_REFS = 1, /* the value contains references (ext 3) */
  MG_CODEC_DEEP = 2, /* it nests more than MG_CODEC_JOIN_DEPTH levels deep: not for mg_join */
  MG_CODEC_BATCH = 4, /* it is an array of items: one that cannot be loaded is to cost no other */
  MG_CODEC_PAIR = 8,  /* with MG_CODEC_BATCH: a pair of a number and such an array */
  /* Only as an argument of mg_decode: */
  MG_CODEC_PLAIN = 256 /* no load hook is called: the contents stand for the object */
};

/* Results of mg_encode and mg_decode. */
enum {
  MG_CODEC_OK = 0,
  MG_CODEC_NOFIT = 1,
  MG_CODEC_REFUSED = 2,
  MG_CODEC_BAD = -1
};

/* Nesting of arrays, maps and objects that is accepted, in either direction. */
#define MG_CODEC_MAX_DEPTH 128
/* Nesting of a value that may become an element of a joined array: what is joined may well be joined again. */
#define MG_CODEC_JOIN_DEPTH 64

/* Returns the codec of L's state, made on first use. It is owned by the state (a userdata anchored in the registry):
 * the pointer stays valid until the state is closed; it is not to be freed. Needs one free slot of the stack. Raises on
 * lack of memory. */
mg_codec *mg_codec_get(lua_State *L);

/* Encodes the value at idx into buf[0..cap), which the caller owns; cap may be 0, buf not NULL.
 *   MG_CODEC_OK     *len is the number of bytes written, *flags the flags to hand to mg_decode; nothing is pushed.
 *   MG_CODEC_NOFIT  *len is above cap: a lower bound of the bytes needed (exact for a lone string), often just cap + 1,
 *                   so grow at least by doubling. (A table with holes may be said not to fit when a few bytes are to
 *                   spare.) Nothing is pushed; the contents of buf are undefined. Dump hooks run again on a retry.
 *   MG_CODEC_BAD    the value cannot be serialised; a message that begins with the path is pushed.
 * A dump hook that raises, or returns nil and a string, is MG_CODEC_BAD. Raises only lack of memory. Dump hooks may
 * call the codec. */
int mg_encode(lua_State *L, mg_codec *c, int idx, uint8_t *buf, size_t cap, size_t *len, unsigned *flags);

/* Decodes exactly one value, which must fill buf[0..len); the caller keeps buf readable for the length of the call.
 *   MG_CODEC_OK     the value is pushed.
 *   MG_CODEC_BAD    a message is pushed that names the offset.
 *   MG_CODEC_REFUSED  the value is pushed as far as it can be had, and above it what is wrong.  A load hook has raised,
 *                   or returned nil, or a type is not known here: the object's contents are in its place, and the
 *                   message of the first such object is pushed. With MG_CODEC_BATCH the items that are concerned are
 *                   not in the array, and an array of { item, message } is pushed.
 * No load hook is called twice for an object. Raises only lack of memory. Load hooks may call the codec. */
int mg_decode(lua_State *L, mg_codec *c, const uint8_t *buf, size_t len, unsigned flags);
/* The same for bytes that cannot change meanwhile. */
int mg_decode_own(lua_State *L, mg_codec *c, const uint8_t *buf, size_t len, unsigned flags);

/* An array whose elements are encoded already (codec_join.c): made in memory of the caller, which may move it between
 * two calls. A zeroed one is not begun. */
typedef struct mg_join {
  size_t length;   /* bytes so far, with the head */
  size_t head;     /* where the array's own head is */
  size_t counted;  /* in so many bytes ... */
  uint32_t tables; /* ... there are so many tables */
  uint32_t count, most;
  unsigned flags;  /* of the whole, for mg_decode */
} mg_join;

/* Bytes that the beginning takes at most. */
#define MG_JOIN_HEAD 15

/* Begins an array of at most `most` elements (or of j->most, which is as many or more) at to, which has MG_JOIN_HEAD
 * bytes. With a number >= 0 the value is a pair of that number and the array. */
void mg_join_begin(mg_join *j, uint8_t *to, uint32_t most, int64_t number);
/* Adds an element, a value as mg_encode wrote it, with its flags. `to`: where the array begins; after j->length it has
 * room for the value. 0, or -EBADMSG when the value is damaged, as far as that shows. */
int mg_join_add(mg_join *j, uint8_t *to, const uint8_t *value, size_t length, unsigned flags);
/* The same for a value that is there already, at to + j->length. */
int mg_join_place(mg_join *j, uint8_t *to, size_t length, unsigned flags);
/* Makes to[0..j->length) a message. */
void mg_join_end(mg_join *j, uint8_t *to);

/* The function on top of the stack, which is popped, is from now on the message handler of the calls of hooks: it makes
 * a string of what one has raised. */
void mg_codec_on_raise(lua_State *L);

/* From now on *word, which the caller owns, is not 0 while a load hook runs: whoever else sees it knows what a process
 * was at when it died. */
void mg_codec_note_loading(mg_codec *c, _Atomic uint32_t *word);

/* Replaces the value on top of the stack by a copy that shares nothing with it but what cannot be sent (codec_copy.c).
 * Entries of tables are taken off *most; where that falls below 0 the value is left as it is. With an index `seen`
 * above 0 the tables in the value are put into that table, as keys; the result is whether one was there already.
 * Raises lack of memory only. Hooks may call the codec. */
int mg_copy(lua_State *L, mg_codec *c, lua_Integer *most, int seen);
/* Whether a value and what was a copy of it still have the same contents, as far as a quick look shows. */
int mg_same(lua_State *L, int a, int b);

/* 1 when a registered type has a dump hook: then mg_encode may run Lua code. */
int mg_codec_has_hooks(const mg_codec *c);

/* Lets the collector rest until kib KiB more have been allocated: a forked child does not want it to visit, and so to
 * copy, the heap it shares. The codec must stop and restart the collector when its scratch memory grows, which would
 * begin a cycle: it defers again then. */
void mg_codec_defer_collector(lua_State *L, int kib);

/* Adds encode, decode and register to the module table on top of the stack. */
void mg_codec_open(lua_State *L);

enum { MG_CODEC_SMALL = 1024 };
/* mg_encode into a buffer that grows until the value fits, after `head` bytes of it: *buf is `small`, which has
 * MG_CODEC_SMALL bytes, or a userdata above the value; idx must be the top of the stack.  *usual: bytes of a value that
 * the buffer has room for at first; becomes what the last value needed, and an eighth.  MG_CODEC_OK or MG_CODEC_BAD. */
int mg_encode_whole(lua_State *L, mg_codec *c, int idx, size_t head, uint8_t *small, size_t *usual, uint8_t **buf,
                    size_t *len, unsigned *flags);

#endif
