/* lua_writer.h - what a writer is (lua_writer.c), for the file of its arrays (lua_array.c) too.
 *
 * A writer owns one reference to its open block, until it is closed; what w:take gives has references of its own.
 */
#ifndef MG_LUA_WRITER_H
#define MG_LUA_WRITER_H

#include "core/clock.h"
#include "core/wait.h"
#include "lua_block.h"
#include "lua_piece.h"

#define MG_WRITER_TYPE "minigun.writer"

/* Bytes beside an array's own that its block has at least. */
enum { ARRAY_LEAST = 128 };
/* What on_full gets instead of bytes: a receiver wants what is written; w:singly; an item has not come into the open
 * block.  NOT: it is not to be called. */
enum { MG_FULL_WANTED = 0, MG_FULL_EACH = -1, MG_FULL_BESIDE = -2, MG_FULL_NOT = -3, MG_FULL_PARK = -4 };
enum { UV_POOL = 1, UV_FULL, UV_BAD, UV_TO, UV_INTO, UV_LEDGER }; /* user values of a writer */
/* Stages that what is written may go straight to. */
enum { MG_WRITER_TARGETS = 8 };

typedef struct mg_writer {
  mg_pool *pool;             /* kept alive by a user value; NULL when closed */
  mg_codec *codec;
  int encoding;              /* see mg_encode_alone */
  unsigned serial, edge;
  uint32_t block;            /* MG_NO_BLOCK: none open */
  size_t size, taken, end;   /* [taken, end) is written and not yet taken */
  uint32_t count;
  uint32_t first, last;      /* slots of the receivers */
  uint32_t clock_every, clock_in; /* items between two looks at the clock, and to the next one */
  uint32_t round;          /* of the pool at the last look */
  uint64_t looked, called; /* at the slots; on_full */
  uint64_t clock, tick;    /* when the source went on or was looked at last; the coarse clock then */
  uint64_t credit;         /* ns that may be spent on passing items on one by one */
  mg_join join;            /* of the record after `end`; length 0: there is none */
  size_t usual;            /* space that the last such record has taken */
  int singly;              /* see w:singly */
  uint64_t patience;       /* ns after which on_full is called in any case; 0: no such limit */
  struct mg_writer *into;  /* see w:into; kept alive by a user value */
  uint32_t sent;           /* values that have gone there, since w:sent() was last called */
  uint32_t arrays;         /* elements of an array that others may write; 0: they may not now */
  uint32_t closed;         /* arrays that they have completed, since w:joining() was last called */
  unsigned batch;          /* flags of the values, see w:batches */
  int pieces;              /* see w:pieces */
  int piece;               /* what is written and not taken is one */
  unsigned early;          /* calls in which further values are looked for */
  struct lua_ledger *through; /* see w:through; kept alive by a user value; NULL: it goes by on_full */
  struct mg_writer *after; /* the next one of that ledger */
  uint32_t stage, targets, target[MG_WRITER_TARGETS], lane;
  int direct, waited;      /* a producer emits with it; it has waited for receivers since the last turn of others */
} mg_writer;

/* The writer, which must belong to this process and to a pool that is open; else an error to the caller. */
static inline mg_writer *mg_writer_open(lua_State *L, mg_writer *w) {
  if (MG_UNLIKELY(!w->pool || w->serial != mg_process_serial || !w->pool->slot))
    luaL_error(L, "emit called after its handler has returned, or in another process");
  return w;
}

static inline mg_writer *mg_check_writer(lua_State *L, int arg) {
  return mg_writer_open(L, luaL_checkudata(L, arg, MG_WRITER_TYPE));
}

/* The record after `end`, of so many bytes, is complete.  What comes next must not overtake it. */
static inline void mg_writer_add(mg_writer *w, size_t length, unsigned flags) {
  w->into = NULL;
  mg_record_head(mg_shm_at(&w->pool->shm, w->block) + w->end, (uint32_t)length, w->edge, flags | w->batch);
  w->end += mg_record_space(length);
  w->count++;
}

/* What was written since it was last taken, with a reference: 1, or 0: nothing.  A block that is larger than usual, for
 * a large item, is left then: small ones must not hold it while they fill it. */
static inline int mg_writer_take(mg_writer *w, mg_range *range) {
  if (w->count == 0) return 0;
  mg_shm_retain(&w->pool->shm, w->block);
  uint32_t edge = w->piece ? MG_EDGE_PIECE : MG_EDGE_ANY;
  *range = (mg_range){w->block, (uint32_t)w->taken, (uint32_t)(w->end - w->taken), w->count, edge};
  w->taken = w->end;
  w->count = 0;
  w->piece = 0;
  if (w->size > MG_UNIT && w->join.length == 0) {
    mg_shm_release(&w->pool->shm, w->block);
    w->block = MG_NO_BLOCK;
    w->size = w->taken = w->end = 0;
  }
  return 1;
}
/* An item of a writer that goes through has been written: it is passed on and handed out.  others: the rest of the run
 * wants its turn.  Returns what on_full is to be called with, MG_FULL_NOT, or MG_FULL_PARK: the producer yields until
 * there is room, and mg_writer_wait is called then, which says the same again. */
lua_Integer mg_writer_each(lua_State *L, mg_writer *w, int others);
lua_Integer mg_writer_wait(lua_State *L, mg_writer *w);
/* It is closed: nothing goes through any more. */
void mg_writer_leave(mg_writer *w);

/* Where the value of the record after `end` lies. */
static inline uint8_t *mg_array_at(const mg_writer *w) {
  return mg_shm_at(&w->pool->shm, w->block) + w->end + MG_RECORD_HEAD;
}

/* Bytes that are free after the open array, or for one. */
static inline size_t mg_array_room(const mg_writer *w) {
  size_t used = w->end + MG_RECORD_HEAD + (w->join.length ? w->join.length : MG_JOIN_HEAD) + 7;
  return w->block != MG_NO_BLOCK && w->size > used ? w->size - used : 0;
}

/* Bytes of a block for the open array and an element of so many more; more than there can be, if it is too long. */
size_t mg_array_want(const mg_writer *w, size_t length);
/* The open array is complete: it is a record like any other. */
void mg_array_end(mg_writer *w);
/* Emits the item that the source has found, of at most `most` bytes.  What on_full is to be called with: bytes, when it
 * did not fit and is still the source's next one; MG_FULL_... otherwise. */
lua_Integer mg_writer_item(mg_writer *w, mg_source *s, size_t most);
/* The same for as many of the source's next items as may go as a piece; MG_FULL_NOT: none may. */
lua_Integer mg_writer_piece(mg_writer *w, mg_source *s);
/* Pushes on_full and its three arguments, for the writer at index 1; after that call mg_writer_resumed. */
void mg_writer_push_full(lua_State *L, const mg_writer *w, lua_Integer need);
static inline void mg_writer_resumed(mg_writer *w) { w->clock = w->called = mg_now(); }
extern const luaL_Reg mg_array_methods[];   /* lua_array.c */
extern const luaL_Reg mg_through_methods[]; /* lua_through.c */

#endif
