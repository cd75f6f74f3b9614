/* lua_reader.c - methods of minigun.pool that read records: the coordinator's view into blocks.
 *
 * Blocks that workers have filled are read here with every length checked against the range (record.h).
 */
#include <string.h>

#include "lua_cursor.h"
#include "lua_piece.h"

/* p:walk(block, offset, length, only, most) -> offset after `most` items, of edge `only`; how many there were; of what
 * is after them, `only` | nil when the block is damaged.  Of a piece the offset stays. */
static int l_walk(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  mg_range r = mg_check_range(L, p, 2);
  uint32_t count, end = r.offset + r.length;
  uint32_t only = mg_check_u32(L, 5), most = mg_check_u32(L, 6);
  uint32_t at = mg_item_walk(mg_shm_at(&p->shm, r.block), r.offset, end, &only, most, &count);
  if (at == 0 && r.length > 0 && most > 0) return luaL_pushfail(L), 1;
  lua_pushinteger(L, r.length && !(only & MG_EDGE_PIECE) ? at : r.offset);
  lua_pushinteger(L, count);
  lua_pushinteger(L, only);
  return 3;
}

/* Adds so many to what the table on top has for an edge. */
static void add_edges(lua_State *L, uint32_t edge, lua_Integer n) {
  if (n == 0) return;
  lua_rawgeti(L, -1, edge);
  lua_pushinteger(L, lua_tointeger(L, -1) + n);
  lua_rawseti(L, -3, edge);
  lua_pop(L, 1);
}

/* p:edges(block, offset, length) -> { [edge] = count } of a range that mixes several | nil when it is damaged */
static int l_edges(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  mg_range r = mg_check_range(L, p, 2);
  const uint8_t *base = mg_shm_at(&p->shm, r.block);
  uint32_t at = r.offset, end = r.offset + r.length, edge = 0;
  lua_Integer in_a_row = 0;
  lua_newtable(L);
  while (at < end) {
    mg_record rec;
    uint32_t space = mg_record_read(base + at, end - at, &rec);
    if (space == 0) return luaL_pushfail(L), 1;
    at += space;
    if (rec.edge != edge) add_edges(L, edge, in_a_row), in_a_row = 0;
    edge = rec.edge;
    in_a_row++;
  }
  add_edges(L, edge, in_a_row);
  return 1;
}

/* Decodes a record.  Pushes its value: 1; or 2, with what is wrong above it: a message, or of a batch the array of
 * { item, message } of those that are not in it.  Of a value that cannot be had the contents of its objects stand for
 * them, or it is false. */
static inline int decode(lua_State *L, mg_codec *c, const mg_record *r, unsigned more) {
  int rc = mg_decode_record(L, c, r, more, 0);
  if (MG_LIKELY(rc == MG_CODEC_OK)) return 1;
  if (rc == MG_CODEC_BAD) {
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
  } else if (lua_isnil(L, -2)) {
    lua_pushboolean(L, 0);
    lua_replace(L, -3);
  }
  return 2;
}

/* p:decode(block, at, limit, only, plain) -> offset after it, value, what is wrong: see `decode` | nil, message.  The
 * first record of edge `only` from offset `at` on; nothing when there is none before `limit`.  plain: no load hook is
 * called, their objects' contents stand for them. */
static int l_decode(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  uint32_t block = mg_check_held(L, p, 2);
  uint32_t at = mg_check_u32(L, 3), limit = mg_check_u32(L, 4), only = mg_check_u32(L, 5);
  unsigned plain = lua_toboolean(L, 6) ? MG_CODEC_PLAIN : 0;
  luaL_argcheck(L, limit <= mg_shm_block_size(&p->shm, block), 4, "range outside its block");
  const uint8_t *base = mg_shm_at(&p->shm, block);
  while (at < limit) {
    mg_record r;
    uint32_t space = mg_record_read(base + at, limit - at, &r);
    if (space == 0) {
      luaL_pushfail(L);
      lua_pushliteral(L, "damaged record");
      return 2;
    }
    if (only & MG_EDGE_PIECE) mg_piece_record(base + at, limit - at, only, 0, &r);
    at += space;
    if (only < MG_EDGE_ANY && r.edge != only) continue;
    lua_pushinteger(L, at);
    return 1 + decode(L, mg_codec_get(L), &r, plain);
  }
  return 0;
}

/* Adds to the array at 3, which may have to be made, what is wrong with the value at 4, as `decode` has pushed it at 5.
 * Leaves the value on top. */
static void gather_refused(lua_State *L) {
  if (lua_isnil(L, 3)) {
    lua_newtable(L);
    lua_replace(L, 3);
  }
  lua_Integer n = (lua_Integer)lua_rawlen(L, 3);
  if (lua_istable(L, 5)) {
    for (lua_Integer i = 1; lua_rawgeti(L, 5, i) != LUA_TNIL; i++) lua_rawseti(L, 3, n + i);
  } else {
    lua_createtable(L, 2, 0);
    lua_pushvalue(L, 4);
    lua_rawseti(L, 6, 1);
    lua_pushvalue(L, 5);
    lua_rawseti(L, 6, 2);
    lua_rawseti(L, 3, n + 1);
  }
  lua_settop(L, 4);
}

/* p:decode_into(table, n, block, offset, length, only, all) -> n after appending every record's value, nil or an array
 * of { item, message } of those that cannot be had, which are appended only with `all` | nil, message: the range is
 * damaged */
static int l_decode_into(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_Integer n = luaL_checkinteger(L, 3);
  mg_range r = mg_check_range(L, p, 4);
  uint32_t only = mg_check_u32(L, 7), at = r.offset, end = r.offset + r.length;
  const uint8_t *base = mg_shm_at(&p->shm, r.block);
  int all = lua_toboolean(L, 8);
  mg_codec *codec = mg_codec_get(L);
  lua_settop(L, 2);
  lua_pushnil(L); /* at 3: the refused ones */
  while (at < end) {
    mg_record rec;
    uint32_t space = mg_record_read(base + at, end - at, &rec);
    if (space == 0) return luaL_pushfail(L), lua_pushliteral(L, "damaged record"), 2;
    at += space;
    if (only != MG_EDGE_ANY && rec.edge != only) continue;
    if (MG_UNLIKELY(decode(L, codec, &rec, 0) == 2)) {
      int left_out = !all && !lua_istable(L, 5);
      gather_refused(L);
      if (left_out) {
        lua_settop(L, 3);
        continue;
      }
    }
    lua_settop(L, 4);
    lua_rawseti(L, 2, ++n);
  }
  lua_pushinteger(L, n);
  lua_pushvalue(L, 3);
  return 2;
}

/* Whether the cursor's range is still there; *base becomes the block's begin. */
static inline int is_open(const mg_cursor *c, const uint8_t **base) {
  if (!c->pool->slot || c->pool->serial != mg_process_serial || !mg_shm_held(&c->pool->shm, c->block)) return 0;
  *base = mg_shm_at(&c->pool->shm, c->block);
  return 1;
}

int mg_cursor_next(lua_State *L, mg_cursor *c) {
  const uint8_t *base;
  mg_record r;
  if (!is_open(c, &base)) return 0;
  while (c->at < c->limit && MG_LIKELY(!mg_interrupted())) {
    uint32_t space = mg_record_read(base + c->at, c->limit - c->at, &r);
    if (space == 0) {
      c->at = c->limit;
      return -1;
    }
    if (c->only != MG_EDGE_ANY && r.edge != c->only) {
      c->at += space;
      continue;
    }
    int values = decode(L, c->codec, &r, 0);
    c->last = c->at;
    c->at += space;
    return values;
  }
  return 0;
}

void mg_cursor_again(lua_State *L, const mg_cursor *c) {
  const uint8_t *base;
  mg_record r;
  if (!is_open(c, &base) || mg_record_read(base + c->last, c->limit - c->last, &r) == 0) {
    lua_pushnil(L);
    return;
  }
  lua_pop(L, decode(L, c->codec, &r, 0) - 1);
}

/* cursor() -> the next value, what is wrong with it | nothing at the end: see mg_cursor_next */
static int l_fetch(lua_State *L) {
  int rc = mg_cursor_next(L, lua_touserdata(L, 1)); /* called through __call of this type only */
  if (rc < 0) return luaL_error(L, "damaged record in a block");
  return rc;
}

/* p:cursor(block, offset, length, only) -> cursor, which is called for the next value.  The block must stay held
 * meanwhile. */
static int l_cursor(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  mg_range r = mg_check_range(L, p, 2);
  uint32_t only = mg_check_u32(L, 5);
  mg_cursor *c = lua_newuserdatauv(L, sizeof *c, 1);
  *c = (mg_cursor){p, mg_codec_get(L), r.block, r.offset, r.offset + r.length, only, r.offset};
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  luaL_setmetatable(L, MG_CURSOR_TYPE);
  return 1;
}

void mg_cursor_setup(lua_State *L) {
  mg_callable_type(L, MG_CURSOR_TYPE, l_fetch);
  lua_pop(L, 1);
}

const luaL_Reg mg_reader_methods[] = {
    {"walk", l_walk},     {"edges", l_edges}, {"decode", l_decode}, {"decode_into", l_decode_into},
    {"cursor", l_cursor}, {NULL, NULL},
};
