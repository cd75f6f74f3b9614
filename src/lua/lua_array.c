/* lua_array.c - methods of minigun.writer that join records into one array (lua_writer.c says what that is for).
 *
 * The open array lies after the writer's `end`, as the value of a record whose head is written when it is complete.
 */
#include <string.h>

#include "lua_writer.h"

void mg_array_end(mg_writer *w) {
  mg_join_end(&w->join, mg_array_at(w));
  mg_record_head(mg_array_at(w) - MG_RECORD_HEAD, (uint32_t)w->join.length, w->edge, w->join.flags);
  w->usual = mg_record_space(w->join.length);
  w->end += w->usual;
  w->count++;
  w->join.length = 0;
}

/* For a new array as many bytes as the last one took, so one after the other of the same size is moved once; otherwise
 * it doubles. */
size_t mg_array_want(const mg_writer *w, size_t length) {
  size_t now = w->join.length, need = ARRAY_LEAST + now + length, want = now ? 2 * need : need + w->usual;
  if (need > MG_MAX_ITEM) return 4 * MG_MAX_ITEM;
  return want > MG_MAX_ITEM ? need : want;
}

/* w:arrays(most): how many elements an array has that other writers write; 0: they may not */
static int l_arrays(lua_State *L) {
  mg_writer *w = mg_check_writer(L, 1);
  uint32_t most = mg_check_u32(L, 2);
  luaL_argcheck(L, most == 0 || w->join.length == 0 || most <= w->join.most, 2, "more than the array was begun for");
  w->arrays = most;
  return 0;
}

/* w:joining() -> elements in the open array, 0: there is none; arrays that other writers have completed since the last
 * time */
static int l_joining(lua_State *L) {
  mg_writer *w = mg_check_writer(L, 1);
  lua_pushinteger(L, w->join.length ? w->join.count : 0);
  lua_pushinteger(L, w->closed);
  w->closed = 0;
  return 2;
}

/* Makes room for an element of so many bytes, and begins the array if it is not begun. */
static void join_room(lua_State *L, mg_writer *w, size_t length, uint32_t most, lua_Integer number) {
  size_t least = w->join.length || length > w->usual ? length : w->usual;
  if (MG_UNLIKELY(mg_array_room(w) < least)) {
    lua_getiuservalue(L, 1, UV_FULL);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, (lua_Integer)mg_array_want(w, length));
    lua_call(L, 2, 0);
    if (mg_array_room(w) < length) luaL_error(L, "no room for what is joined");
  }
  if (w->join.length == 0) mg_join_begin(&w->join, mg_array_at(w), most, number);
}

/* mg_join_add for a value of at most 16 bytes, where as many are free: records are padded, so 8 at once may be read. */
static void add_short(mg_join *j, uint8_t *to, const uint8_t *value, uint32_t length) {
  memcpy(to + j->length, value, 8);
  if (length > 8) memcpy(to + j->length + 8, value + 8, 8);
  j->length += length;
  j->count++;
}

/* w:join(most, number, block, offset, length, only, bytes) -> elements in the open array, offset after the last record
 * that was taken, whether the next one must be decoded as it nests too deeply | nil when the range is damaged.
 * Adds records of edge `only` until the array has `most` elements or at least so many bytes.  number >= 0: see
 * mg_join_begin; it counts where an array begins.  The block must stay held meanwhile. */
static int l_join(lua_State *L) {
  mg_writer *w = mg_check_writer(L, 1);
  uint32_t most = mg_check_u32(L, 2), only = mg_check_u32(L, 7);
  lua_Integer number = luaL_checkinteger(L, 3), bytes = luaL_checkinteger(L, 8);
  mg_range r = mg_check_range(L, w->pool, 4);
  uint32_t at = r.offset, end = r.offset + r.length, space;
  const uint8_t *base = mg_shm_at(&w->pool->shm, r.block);
  luaL_argcheck(L, most > 0, 2, "an array has elements");
  luaL_argcheck(L, w->join.length == 0 || most <= w->join.most, 2, "more than the array was begun for");
  mg_record rec;
  int deep = 0;
  for (; at < end; at += space) {
    if (w->join.length && (w->join.count >= most || w->join.length >= (size_t)bytes)) break;
    if ((space = mg_record_read(base + at, end - at, &rec)) == 0) return luaL_pushfail(L), 1;
    if (only != MG_EDGE_ANY && rec.edge != only) continue;
    if (MG_LIKELY(w->join.length && rec.length <= 16 && !rec.flags) && MG_LIKELY(mg_array_room(w) >= 16)) {
      add_short(&w->join, mg_array_at(w), rec.value, rec.length);
      continue;
    }
    if (MG_UNLIKELY(deep = (rec.flags & MG_CODEC_DEEP) != 0)) break;
    join_room(L, w, rec.length, most, number);
    if (mg_join_add(&w->join, mg_array_at(w), rec.value, rec.length, rec.flags) < 0) return luaL_pushfail(L), 1;
  }
  lua_pushinteger(L, w->join.length ? w->join.count : 0);
  lua_pushinteger(L, at);
  lua_pushboolean(L, deep);
  return 3;
}

/* w:join_take() -> the open array as a value, nil or the array of { item, message } of those that cannot be had and are
 * not in it; it is not written | nil, message */
static int l_join_take(lua_State *L) {
  mg_writer *w = mg_check_writer(L, 1);
  luaL_argcheck(L, w->join.length > 0, 1, "nothing is being joined");
  mg_join_end(&w->join, mg_array_at(w));
  size_t length = w->join.length;
  w->join.length = 0;
  int rc = mg_decode(L, w->codec, mg_array_at(w), length, w->join.flags);
  if (rc == MG_CODEC_OK) return 1;
  if (rc == MG_CODEC_REFUSED) return 2;
  luaL_pushfail(L);
  lua_insert(L, -2);
  return 2;
}

const luaL_Reg mg_array_methods[] = {
    {"join", l_join}, {"join_take", l_join_take}, {"arrays", l_arrays}, {"joining", l_joining}, {NULL, NULL},
};
