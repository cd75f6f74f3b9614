/* lua_threads.c - what a worker with threads needs beside lua_worker.c: taking and ending chunks in any order, and
 * userdata minigun.bundle, in which a thread's output waits for the end of its item.
 *
 * A bundle holds records as they lie in a block (record.h), in memory of its own.  What is added is encoded at once, so
 * a handler may change afterwards what it has emitted, and whatever cannot be sent is refused before the commit.
 */
#include <stdlib.h>
#include <string.h>

#include "lua_worker.h"

#define MG_BUNDLE_TYPE "minigun.bundle"

enum { FIRST_ROOM = 1024, KEEP_ROOM = 1 << 20 };

typedef struct mg_bundle {
  mg_codec *codec;
  uint8_t *bytes; /* malloc'ed */
  size_t length, room;
  int encoding; /* see mg_encode_alone */
} mg_bundle;

static mg_bundle *check_bundle(lua_State *L, int arg) { return luaL_checkudata(L, arg, MG_BUNDLE_TYPE); }

/* bundle() -> an empty bundle */
static int l_bundle(lua_State *L) {
  mg_bundle *b = lua_newuserdatauv(L, sizeof *b, 0);
  memset(b, 0, sizeof *b);
  b->codec = mg_codec_get(L);
  luaL_setmetatable(L, MG_BUNDLE_TYPE);
  return 1;
}

static void make_room(lua_State *L, mg_bundle *b, size_t more) {
  size_t room = b->room ? b->room : FIRST_ROOM;
  while (room < b->length + more) room *= 2;
  if (room == b->room) return;
  uint8_t *bytes = realloc(b->bytes, room);
  if (!bytes) luaL_error(L, "not enough memory for what an item emits");
  b->bytes = bytes;
  b->room = room;
}

/* b:add(edge, value): raises, and nothing is added, when the value cannot be serialised */
static int l_add(lua_State *L) {
  mg_bundle *b = check_bundle(L, 1);
  unsigned edge = (unsigned)luaL_checkinteger(L, 2), flags;
  size_t length, least = 64;
  luaL_checkany(L, 3);
  if (b->encoding) return luaL_error(L, "emit called from a dump hook, while an item is being encoded");
  for (;;) {
    make_room(L, b, MG_RECORD_HEAD + least + 7);
    size_t room = (b->room - b->length - MG_RECORD_HEAD) & ~(size_t)7;
    uint8_t *to = b->bytes + b->length + MG_RECORD_HEAD;
    int rc = mg_encode_item(L, b->codec, &b->encoding, 3, to, room, &length, &flags);
    if (rc == MG_CODEC_OK) break;
    if (rc == MG_CODEC_BAD) return lua_error(L);
    least = length > 2 * room ? length : 2 * room; /* the bound may be low: grow geometrically */
  }
  mg_record_head(b->bytes + b->length, (uint32_t)length, edge, flags);
  b->length += mg_record_space(length);
  return 0;
}

/* Empties it; one that has grown large gives its memory back. */
static void clear(mg_bundle *b) {
  b->length = 0;
  if (b->room > KEEP_ROOM) {
    free(b->bytes);
    b->bytes = NULL;
    b->room = 0;
  }
}

static int l_free(lua_State *L) {
  mg_bundle *b = check_bundle(L, 1);
  free(b->bytes);
  b->bytes = NULL;
  b->length = b->room = 0;
  return 0;
}

/* w:take() -> index, stage, attempt, kind, value, refused: a chunk is begun, its item decoded; kind as of w:next;
 * refused: of a batch the array of { item, message } of those that cannot be had; or index, stage, attempt,
 * "unreadable", message | nil: none at present | false: no more come */
static int l_take(lua_State *L) {
  mg_worker *w = mg_check_worker(L, 1);
  uint32_t index;
  mg_record r;
  int rc = mg_worker_take(w, &index);
  if (rc <= 0) {
    if (rc == 0) lua_pushnil(L);
    else lua_pushboolean(L, 0);
    return 1;
  }
  lua_pushinteger(L, index);
  lua_pushinteger(L, w->chunk.stage);
  lua_pushinteger(L, w->chunk.attempt);
  if (w->chunk.block == MG_NO_BLOCK) {
    lua_pushliteral(L, "inherited");
    return 4;
  }
  w->done = 0;
  if (mg_worker_record(w, &r) != 1) mg_exit_now(71); /* the chunk is not what was announced */
  lua_pushliteral(L, "items");
  mg_codec *c = mg_codec_get(L);
  int timed = mg_codec_has_hooks(c); /* a load hook may never return */
  if (timed) mg_worker_mark(w, index, 0, mg_now());
  rc = mg_decode_record(L, c, &r, 0, 1);
  if (timed) mg_worker_mark(w, MG_NO_BLOCK, 0, 0);
  if (rc == MG_CODEC_OK) return 5;
  if (rc == MG_CODEC_REFUSED && lua_istable(L, -1)) return 6;
  if (rc == MG_CODEC_REFUSED) lua_remove(L, -2);
  lua_pushliteral(L, "unreadable");
  lua_replace(L, -3);
  return 5;
}

/* w:offered() -> how many chunks wait to be begun | false: none, and no more come */
static int l_offered(lua_State *L) {
  uint32_t n;
  if (mg_worker_offered(mg_check_worker(L, 1), &n)) lua_pushinteger(L, n);
  else lua_pushboolean(L, 0);
  return 1;
}

/* w:finish(index, bundle): the item of a begun chunk is finished, and the bundle its output: the commit.  Empties the
 * bundle. */
static int l_finish(lua_State *L) {
  mg_worker *w = mg_check_worker(L, 1);
  lua_Integer index = luaL_checkinteger(L, 2);
  mg_bundle *b = check_bundle(L, 3);
  luaL_argcheck(L, w->taken && index >= 0 && index < (lua_Integer)w->room && w->taken[index].count > 0, 2,
                "no begun chunk");
  mg_worker_hand(w, (uint32_t)index);
  mg_record r;
  for (size_t at = 0; at < b->length;) {
    size_t room;
    uint8_t *to;
    uint32_t space = mg_record_read(b->bytes + at, b->length - at, &r);
    MG_ASSERT(space > 0);
    at += space;
    mg_worker_reserve(w, r.length, &to, &room);
    memcpy(to, r.value, r.length);
    mg_worker_append(w, r.length, r.edge, r.flags);
  }
  mg_worker_end_chunk(w);
  clear(b);
  return 0;
}

/* w:mark(index, seconds | nil, part | nil): a handler of that chunk runs, at this part of the item, and is late when
 * the clock is at `seconds` plus the segment's time-out; w:mark(): none runs */
static int l_mark(lua_State *L) {
  mg_worker *w = mg_check_worker(L, 1);
  lua_Number s = luaL_optnumber(L, 3, 0);
  lua_Integer index = luaL_optinteger(L, 2, MG_NO_BLOCK);
  luaL_argcheck(L, index == MG_NO_BLOCK || (w->taken && index >= 0 && index < (lua_Integer)w->room), 2, "no chunk");
  mg_worker_mark(w, (uint32_t)index, (uint32_t)luaL_optinteger(L, 4, 0), s > 0 ? (uint64_t)(s * 1e9) : 0);
  return 0;
}

/* w:rest(fd, want, seconds | nil): see mg_worker_rest */
static int l_rest(lua_State *L) {
  mg_worker *w = mg_check_worker(L, 1);
  lua_Number s = luaL_optnumber(L, 4, -1);
  mg_worker_rest(w, (int)luaL_checkinteger(L, 2), lua_toboolean(L, 3), s < 0 || s > 1e6 ? -1 : (int64_t)(s * 1e9));
  return 0;
}

const luaL_Reg mg_thread_methods[] = {
    {"take", l_take}, {"finish", l_finish}, {"mark", l_mark}, {"rest", l_rest}, {"offered", l_offered}, {NULL, NULL},
};

static const luaL_Reg methods[] = {{"add", l_add}, {"__gc", l_free}, {NULL, NULL}};

void mg_threads_setup(lua_State *L) {
  mg_method_type(L, MG_BUNDLE_TYPE, methods);
  lua_pushcfunction(L, l_bundle);
  lua_setfield(L, -2, "bundle");
}
