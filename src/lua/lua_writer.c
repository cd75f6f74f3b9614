/* lua_writer.c - userdata minigun.writer: the open block of an edge that begins in the coordinator.
 *
 * A call encodes the value straight into the block.  When the block is full, or a receiver has nothing to do, the
 * function `on_full` is called: it takes what is written (w:take), opens another block (w:open), and may yield the
 * coroutine of the producer; the call then goes on where it was.
 *
 * Instead of values a writer may be given records (w:join): their values, copied, become the elements of one array, the
 * value of the next record.  Until it is closed (w:join_end) that record lies after `end` and moves with the block.
 *
 * Another writer may put its values straight into that array (w:into), as long as the one that has the array says how
 * many elements it may have (w:arrays).  What cannot lie there, as it nests too deeply, ends that: the writer writes
 * records again, and w:into is to be called when these are through, or later ones would overtake them.
 */
#include <string.h>

#include "codec/codec_scalar.h"
#include "lua_ledger.h"
#include "lua_writer.h"

/* Between two looks at the receivers, at what workers have said; items between two looks at the clock, at most. */
enum { LOOK_EVERY_NS = 200000, COLLECT_EVERY_NS = 1000000, CLOCK_EVERY = 64 };
/* A source may stand still after any item, so each one is passed on at once to an idle receiver, as long as that is
 * paid for: a round of the coordinator costs about ROUND_NS, a fiftieth of the time that the source takes may be spent
 * on that, and CREDIT_NS in advance.  A source without a rest is so looked after once in LOOK_EVERY_NS. What workers
 * have said is taken in once in COLLECT_EVERY_NS: a round for less costs more than it brings. */
enum { ROUND_NS = 10000, CREDIT_NS = 500000, SHARE = 50 };

/* writer(pool, edge, on_full, on_bad, first, last, on_to) -> writer.  on_full(writer, bytes needed, or
 * MG_FULL_...; whether for the array of another writer, see w:into); on_bad(value, message) for a value that cannot be
 * serialised; first..last: slots of the receivers, 0: these have none; on_to(name, item) for w:to */
static int l_writer(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  lua_Integer edge = luaL_checkinteger(L, 2), first = luaL_checkinteger(L, 5), last = luaL_checkinteger(L, 6);
  luaL_checktype(L, 3, LUA_TFUNCTION);
  luaL_checktype(L, 4, LUA_TFUNCTION);
  luaL_argcheck(L, edge >= 0 && edge < MG_EDGE_ANY, 2, "no such edge");
  luaL_argcheck(L, first >= (last != 0) && first <= (lua_Integer)p->slots, 5, "no such slot");
  luaL_argcheck(L, last >= first && last <= (lua_Integer)p->slots, 6, "no such slot, or before the first");
  lua_settop(L, 7);
  mg_writer *w = lua_newuserdatauv(L, sizeof *w, UV_LEDGER);
  memset(w, 0, sizeof *w);
  w->pool = p;
  w->codec = mg_codec_get(L);
  w->serial = mg_process_own();
  w->edge = (unsigned)edge;
  w->early = MG_EMIT_EARLY;
  w->block = MG_NO_BLOCK;
  w->first = first ? (uint32_t)(first - 1) : 1; /* none: from 1 to 0 */
  w->last = last ? (uint32_t)(last - 1) : 0;
  w->clock_every = w->clock_in = 1;
  luaL_setmetatable(L, MG_WRITER_TYPE);
  static const int argument[] = {[UV_POOL] = 1, [UV_FULL] = 3, [UV_BAD] = 4, [UV_TO] = 7};
  for (int i = UV_POOL; i <= UV_TO; i++) {
    lua_pushvalue(L, argument[i]);
    lua_setiuservalue(L, -2, i);
  }
  return 1;
}

static int call_full(lua_State *L, lua_Integer need, lua_KFunction k);
static int go_on(lua_State *L, int status, lua_KContext again);

/* 1 when a receiver is idle, as one without slots always may be, workers have something to say, or the patience is
 * over; looks at the slots now and then, and at the exact clock not for each of many quick items, but where the coarse
 * one has moved on, or the coordinator has collected: before that no worker is idle that was not at the last look. */
static inline int wanted(mg_writer *w) {
  uint64_t tick = mg_now_coarse();
  if (MG_LIKELY(--w->clock_in > 0 && tick == w->tick && w->round == w->pool->rounds)) return 0;
  uint64_t now = mg_now(), since = now - w->looked;
  w->tick = tick;
  w->round = w->pool->rounds;
  uint64_t gap = now - w->clock;
  w->credit += gap / SHARE;
  if (w->credit > CREDIT_NS) w->credit = CREDIT_NS;
  w->clock = now;
  int rich = w->credit >= ROUND_NS;
  if (gap > LOOK_EVERY_NS / 4) w->clock_every = 1;
  else if (w->clock_every < CLOCK_EVERY) w->clock_every *= 2;
  w->clock_in = w->clock_every;
  if (since < LOOK_EVERY_NS && !rich) return 0;
  w->looked = now;
  int called = w->patience && now - w->called > w->patience;
  if (!called && w->first <= w->last && !mg_pool_idle(w->pool, w->first, w->last) &&
      (now - w->called < COLLECT_EVERY_NS || !mg_pool_anything(w->pool)))
    return 0;
  w->credit -= rich ? ROUND_NS : w->credit;
  return 1;
}

static int gone_on(lua_State *L, int status, lua_KContext unused);

/* What has gone through: nothing else is to be done, on_full is to be called, or the producer yields. */
static int gone_through(lua_State *L, mg_writer *w, lua_Integer need) {
  if (need == MG_FULL_NOT) return 0;
  if (need != MG_FULL_PARK) return call_full(L, need, NULL);
  w->waited = 1;
  lua_pushliteral(L, MG_PARK);
  return lua_yieldk(L, 1, 0, gone_on);
}

static int gone_on(lua_State *L, int status, lua_KContext unused) {
  mg_writer *w = lua_touserdata(L, 1);
  lua_Integer need = w->pool && w->through ? mg_writer_wait(L, w) : MG_FULL_NOT;
  (void)status;
  (void)unused;
  if (need == MG_FULL_NOT) mg_writer_resumed(w);
  return gone_through(L, w, need);
}

MG_INLINE int written(lua_State *L, mg_writer *w, size_t length, unsigned flags) {
  mg_writer_add(w, length, flags);
  int others = wanted(w);
  if (w->singly && w->through) return gone_through(L, w, mg_writer_each(L, w, others));
  if (others) return call_full(L, MG_FULL_WANTED, NULL);
  return MG_UNLIKELY(w->singly) ? call_full(L, MG_FULL_EACH, NULL) : 0;
}

/* What was emitted has not come into the open block, which so may never fill: others have their turn all the same. */
static int passed_by(lua_State *L, mg_writer *w) {
  if (!w->pool || (!w->singly && !wanted(w) && mg_now() - w->called < COLLECT_EVERY_NS)) return 0;
  return call_full(L, MG_FULL_BESIDE, NULL);
}

/* The value cannot be encoded; the message is on top. */
static int refused(lua_State *L) {
  lua_getiuservalue(L, 1, UV_BAD);
  lua_insert(L, -2);
  lua_pushvalue(L, 2);
  lua_insert(L, -2);
  lua_call(L, 2, 0);
  return passed_by(L, lua_touserdata(L, 1));
}

static int put(lua_State *L) {
  mg_writer *w = mg_writer_open(L, lua_touserdata(L, 1)); /* called through __call of this type only */
  if (MG_UNLIKELY(w->encoding || (w->into && w->into->encoding)))
    return luaL_error(L, "emit called from a dump hook, while an item is being encoded");
  if (MG_UNLIKELY(w->join.length)) return luaL_error(L, "an array is being joined");
  size_t length = 0;
  unsigned flags;
  size_t left = w->block == MG_NO_BLOCK ? 0 : w->size - w->end;
  uint8_t *to = left >= MG_RECORD_HEAD ? mg_shm_at(&w->pool->shm, w->block) + w->end : NULL;
  size_t room = to ? (left - MG_RECORD_HEAD) & ~(size_t)7 : 0;
  if (!to) return call_full(L, 16, go_on);
  int rc = mg_encode_alone(L, w->codec, &w->encoding, 2, to + MG_RECORD_HEAD, room, &length, &flags);
  if (rc == MG_CODEC_NOFIT) {
    int fresh = w->end == 0; /* a whole block was too small: the bound may be low, so grow geometrically */
    return call_full(L, (lua_Integer)(fresh && length < 2 * w->size ? 2 * w->size : mg_record_space(length)), go_on);
  }
  if (rc == MG_CODEC_BAD) return refused(L);
  return written(L, w, length, flags);
}

/* What lies at the end of the array is its next element; the array is closed where it is full. */
static inline void add_to_array(mg_writer *w, mg_writer *a, size_t length, unsigned flags) {
  mg_join_place(&a->join, mg_array_at(a), length, flags);
  w->sent++;
  if (a->join.count >= a->arrays) {
    mg_array_end(a);
    a->closed++;
  }
}

/* Writes the value as the next element of the array of w->into; a block for it may have to be opened first. */
static int put_into(lua_State *L, mg_writer *w, int type) {
  mg_writer *a = mg_writer_open(L, w->into);
  size_t room = mg_array_room(a), least = a->join.length ? MG_SCALAR_MOST : MG_SCALAR_MOST + a->usual, length = 0;
  unsigned flags = 0;
  if (MG_UNLIKELY(room < least)) return call_full(L, (lua_Integer)mg_array_want(a, MG_SCALAR_MOST), go_on);
  if (a->join.length == 0) mg_join_begin(&a->join, mg_array_at(a), a->arrays, -1);
  uint8_t *to = mg_array_at(a) + a->join.length;
  if (type == LUA_TTABLE || MG_UNLIKELY((length = mg_scalar(L, type, 2, to)) == 0)) {
    lua_settop(L, 2);
    int rc = mg_encode_alone(L, w->codec, &a->encoding, 2, to, room, &length, &flags);
    if (rc == MG_CODEC_BAD) return refused(L);
    if (rc == MG_CODEC_NOFIT) return call_full(L, (lua_Integer)mg_array_want(a, length), go_on);
    if (MG_UNLIKELY(flags & MG_CODEC_DEEP)) {
      w->into = NULL;
      return put(L);
    }
  }
  add_to_array(w, a, length, flags);
  return wanted(w) ? call_full(L, MG_FULL_WANTED, NULL) : 0;
}

/* Whether w->into may be written to now. */
static int into_open(const mg_writer *w) { return w->into && w->into->arrays && !w->into->encoding; }

/* Writes the item that the source has found, of at most `most` bytes, as the next element of the array of w->into. */
static lua_Integer item_into(mg_writer *w, mg_source *s, size_t most) {
  mg_writer *a = w->into;
  if (mg_array_room(a) < (a->join.length ? most : most + a->usual)) return (lua_Integer)mg_array_want(a, most);
  if (a->join.length == 0) mg_join_begin(&a->join, mg_array_at(a), a->arrays, -1);
  add_to_array(w, a, mg_source_write(s, mg_array_at(a) + a->join.length), 0);
  mg_source_pass(s);
  return wanted(w) ? MG_FULL_WANTED : MG_FULL_NOT;
}

lua_Integer mg_writer_item(mg_writer *w, mg_source *s, size_t most) {
  if (into_open(w)) return item_into(w, s, most);
  size_t left = w->block == MG_NO_BLOCK ? 0 : w->size - w->end, need = mg_record_space(most);
  if (left < need) return (lua_Integer)need;
  mg_writer_add(w, mg_source_write(s, mg_shm_at(&w->pool->shm, w->block) + w->end + MG_RECORD_HEAD), 0);
  mg_source_pass(s);
  return wanted(w) ? MG_FULL_WANTED : MG_UNLIKELY(w->singly) ? MG_FULL_EACH : MG_FULL_NOT;
}

lua_Integer mg_writer_piece(mg_writer *w, mg_source *s) {
  if (!w->pieces || !mg_piece_possible(s)) return MG_FULL_NOT;
  size_t left = w->block == MG_NO_BLOCK ? 0 : w->size - w->end, length = mg_piece_space(s);
  if (w->count > 0) return MG_FULL_EACH; /* what is taken at once is a piece and nothing else */
  if (left < mg_record_space(length)) return (lua_Integer)mg_record_space(length);
  uint8_t *at = mg_shm_at(&w->pool->shm, w->block) + w->end;
  w->count = mg_piece_describe(s, at + MG_RECORD_HEAD);
  if (w->count == 0) return MG_FULL_NOT;
  mg_record_head(at, (uint32_t)length, w->edge, MG_RECORD_PIECE);
  w->end += mg_record_space(length);
  w->piece = 1;
  return wanted(w) ? MG_FULL_WANTED : MG_FULL_EACH;
}

void mg_writer_push_full(lua_State *L, const mg_writer *w, lua_Integer need) {
  lua_getiuservalue(L, 1, UV_FULL);
  lua_pushvalue(L, 1);
  lua_pushinteger(L, need);
  lua_pushboolean(L, into_open(w));
}

static int go_on(lua_State *L, int status, lua_KContext again) {
  mg_writer *w = lua_touserdata(L, 1);
  (void)status;
  lua_settop(L, 2);
  mg_writer_resumed(w);
  if (!again) return 0;
  return into_open(w) ? put_into(L, w, lua_type(L, 2)) : put(L);
}

/* on_full(writer, need, into), then once more if k says so. */
static int call_full(lua_State *L, lua_Integer need, lua_KFunction k) {
  mg_writer_push_full(L, lua_touserdata(L, 1), need);
  lua_KContext again = k != NULL;
  lua_callk(L, 3, 0, again, go_on);
  return go_on(L, LUA_OK, again);
}

/* writer(value): emits it */
static int l_put(lua_State *L) {
  mg_writer *w = lua_touserdata(L, 1);
  int type = mg_scalar_type(L, 2);
  if (MG_UNLIKELY(type <= LUA_TNIL))
    return luaL_error(L, MG_EMIT_NIL);
  if (MG_UNLIKELY(w->early) && w->early-- && lua_type(L, 3) > LUA_TNIL) return luaL_error(L, MG_EMIT_MORE);
  if (into_open(w)) return put_into(L, mg_writer_open(L, w), type);
  if (type != LUA_TTABLE && MG_LIKELY(w->block != MG_NO_BLOCK && !w->encoding && !w->join.length && !w->into) &&
      MG_LIKELY(w->size - w->end >= MG_RECORD_HEAD + MG_SCALAR_MOST)) {
    mg_writer_open(L, w);
    size_t length = mg_scalar(L, type, 2, mg_shm_at(&w->pool->shm, w->block) + w->end + MG_RECORD_HEAD);
    if (MG_LIKELY(length)) return written(L, w, length, 0);
  }
  lua_settop(L, 2);
  return put(L);
}

/* w:into(other): values become elements of the arrays of another writer, as long as that has arrays.  What this one has
 * written must have become elements before. */
static int l_into(lua_State *L) {
  mg_writer *w = mg_check_writer(L, 1);
  mg_writer *other = mg_check_writer(L, 2);
  luaL_argcheck(L, other != w && other->pool == w->pool, 2, "another writer of the same pool expected");
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, UV_INTO);
  w->into = other;
  return 0;
}

/* w:batches(pair): what is emitted are arrays of items; pair: pairs of a number and such an array */
static int l_batches(lua_State *L) {
  mg_writer *w = mg_check_writer(L, 1);
  w->batch = MG_CODEC_BATCH | (lua_toboolean(L, 2) ? MG_CODEC_PAIR : 0);
  return 0;
}

/* w:sent() -> values that have become elements of arrays of another writer, since the last time; whether the next one
 * would */
static int l_sent(lua_State *L) {
  mg_writer *w = mg_check_writer(L, 1);
  lua_pushinteger(L, w->sent);
  lua_pushboolean(L, into_open(w));
  w->sent = 0;
  return 2;
}

/* w:to(name, item): emit:to, for which on_to is called with the same arguments */
static int l_to(lua_State *L) {
  if (!luaL_testudata(L, 1, MG_WRITER_TYPE))
    return luaL_error(L, MG_EMIT_COLON);
  if (lua_type(L, 4) > LUA_TNIL) return luaL_error(L, MG_EMIT_MORE);
  mg_check_writer(L, 1);
  lua_settop(L, 3);
  if (lua_getiuservalue(L, 1, UV_TO) != LUA_TFUNCTION) return luaL_error(L, "emit:to is not for this emit");
  lua_insert(L, 2);
  lua_call(L, 2, 0);
  return passed_by(L, lua_touserdata(L, 1));
}

/* w:take() -> block, offset, length, count, only of what was written since the last take (a reference is given) | nil
 * */
static int l_take(lua_State *L) {
  mg_range range;
  if (!mg_writer_take(mg_check_writer(L, 1), &range)) return luaL_pushfail(L), 1;
  return mg_push_range(L, &range);
}

/* w:open(bytes) -> true | false when memory is exhausted.  Leaves the open block, which must have been taken from; an
 * array that is being joined moves into the new one, which is larger if it must. */
static int l_open(lua_State *L) {
  mg_writer *w = mg_check_writer(L, 1);
  lua_Integer bytes = luaL_checkinteger(L, 2);
  luaL_argcheck(L, w->count == 0, 1, "take what is written first");
  luaL_argcheck(L, bytes > 0, 2, "a size expected");
  size_t least = w->join.length ? ARRAY_LEAST + w->join.length : 0;
  if ((size_t)bytes < least) bytes = (lua_Integer)least;
  uint32_t block = (size_t)bytes > MG_MAX_ITEM * 2 ? MG_NO_BLOCK : mg_shm_alloc(&w->pool->shm, (size_t)bytes);
  if (block == MG_NO_BLOCK) w->join.length = 0;
  if (w->join.length)
    memcpy(mg_shm_at(&w->pool->shm, block) + MG_RECORD_HEAD, mg_array_at(w), w->join.length);
  if (w->block != MG_NO_BLOCK) mg_shm_release(&w->pool->shm, w->block);
  w->block = block;
  w->size = block == MG_NO_BLOCK ? 0 : mg_shm_block_size(&w->pool->shm, block);
  w->taken = w->end = 0;
  lua_pushboolean(L, block != MG_NO_BLOCK);
  return 1;
}

/* w:join_end(): the open array is complete, the value of a record like any other */
static int l_join_end(lua_State *L) {
  mg_writer *w = mg_check_writer(L, 1);
  luaL_argcheck(L, w->join.length > 0, 1, "nothing is being joined");
  mg_array_end(w);
  return wanted(w) ? call_full(L, MG_FULL_WANTED, NULL) : 0;
}

/* w:pieces(): what a source gives may go as pieces, to be read where it is received */
static int l_pieces(lua_State *L) {
  mg_check_writer(L, 1)->pieces = 1;
  return 0;
}

/* w:pending() -> items written and not taken, bytes free in the open block */
static int l_pending(lua_State *L) {
  mg_writer *w = mg_check_writer(L, 1);
  lua_pushinteger(L, w->count);
  lua_pushinteger(L, (lua_Integer)(w->size - w->end));
  return 2;
}

/* w:patience(seconds): on_full is called when so long has gone by since the last time; it may let others go on */
static int l_patience(lua_State *L) {
  mg_writer *w = mg_check_writer(L, 1);
  lua_Number s = luaL_checknumber(L, 2);
  luaL_argcheck(L, s >= 0 && s < 1e6, 2, "0 to 1000000 seconds expected");
  w->patience = (uint64_t)(s * 1e9);
  w->called = mg_now();
  return 0;
}

static int l_close(lua_State *L) {
  mg_writer *w = luaL_checkudata(L, 1, MG_WRITER_TYPE);
  if (w->pool && w->pool->slot && w->serial == mg_process_serial && w->block != MG_NO_BLOCK)
    mg_shm_release(&w->pool->shm, w->block);
  mg_writer_leave(w);
  w->pool = NULL;
  return 0;
}

static const luaL_Reg methods[] = {
    {"to", l_to},       {"take", l_take},         {"open", l_open},           {"pending", l_pending},
    {"into", l_into},   {"sent", l_sent},         {"join_end", l_join_end},   {"patience", l_patience},
    {"close", l_close}, {"batches", l_batches},
    {"pieces", l_pieces}, {NULL, NULL},
};

void mg_writer_setup(lua_State *L) {
  mg_callable_type(L, MG_WRITER_TYPE, l_put);
  luaL_newlib(L, methods);
  luaL_setfuncs(L, mg_array_methods, 0);
  luaL_setfuncs(L, mg_through_methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_pushcfunction(L, l_writer);
  lua_setfield(L, -2, "writer");
}
