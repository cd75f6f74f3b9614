/* lua_strings.c - methods of minigun.pool that take items out of blocks and put them in as strings of an array: for
 * items that leave the machine.  The values' bytes are copied, and nothing is decoded.
 *
 * The elements of an array of strings, without the array's head, can be put together by putting them one after the
 * other (docs/wire-format.md).  What comes back is a stranger's: each length is checked, and of a record's flags only
 * those are set that the codec believes to no one's harm.
 */
#include <string.h>

#include "codec/codec_scalar.h"
#include "core/record.h"
#include "lua_block.h"

/* p:strings(block, offset, length, only) -> the records' values, as the elements of an array of strings; how many |
 * nil: the range is damaged, or a piece */
static int l_strings(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  mg_range r = mg_check_range(L, p, 2);
  uint32_t only = mg_check_u32(L, 5), at = r.offset, end = r.offset + r.length, n = 0;
  const uint8_t *base = mg_shm_at(&p->shm, r.block);
  luaL_Buffer b;
  uint8_t *to = (uint8_t *)luaL_buffinitsize(L, &b, r.length), *begin = to; /* a record takes more than its string */
  mg_record record;
  for (uint32_t space; at < end; at += space) {
    space = mg_record_read(base + at, end - at, &record);
    if (space == 0 || record.flags & MG_RECORD_PIECE) return luaL_pushfail(L), 1;
    if (only != MG_EDGE_ANY && record.edge != only) continue;
    to += mg_string_head(to, record.length);
    memcpy(to, record.value, record.length);
    to += record.length;
    n++;
  }
  luaL_pushresultsize(&b, (size_t)(to - begin));
  lua_pushinteger(L, n);
  return 2;
}

/* The string that begins at `at`: where it ends, with its bytes and their length; NULL: there is none before `end`. */
static const uint8_t *take_string(const uint8_t *at, const uint8_t *end, const uint8_t **bytes, uint32_t *length) {
  size_t left = (size_t)(end - at), head = 1;
  if (left == 0) return NULL;
  if (*at >= MG_FIXSTR && *at < MG_FIXSTR + 32) *length = *at - MG_FIXSTR;
  else if (*at == MG_STR8 && left >= (head = 2)) *length = at[1];
  else if (*at == MG_STR16 && left >= (head = 3)) *length = mg_load16(at + 1);
  else if (*at == MG_STR32 && left >= (head = 5)) *length = mg_load32(at + 1);
  else return NULL;
  *bytes = at + head;
  return *length <= left - head ? at + head + *length : NULL;
}

/* Bytes that so many strings take as records; 0: they are not so many, or too long. */
static size_t space_of(const uint8_t *at, const uint8_t *end, lua_Integer n) {
  const uint8_t *bytes;
  uint32_t length;
  size_t all = 0;
  for (; n > 0 && at; n--)
    if ((at = take_string(at, end, &bytes, &length))) all += mg_record_space(length);
  return at == end && all <= MG_MAX_ITEM ? all : 0;
}

/* What a value's bytes may be: one that is long enough to nest too deeply to be joined may do so. */
static unsigned flags_of(const uint8_t *bytes, uint32_t length, unsigned refs) {
  int scalar = length > 0 && (*bytes < MG_FIXMAP || (*bytes >= MG_FIXSTR && *bytes < MG_ARRAY16 && *bytes != MG_EXT8 &&
                                                     *bytes != MG_EXT16 && *bytes != MG_EXT32));
  return refs | (!scalar && length > MG_CODEC_JOIN_DEPTH ? MG_CODEC_DEEP : 0);
}

/* p:records(elements, n, edge, refs) -> block, bytes: n strings, which are elements of an array, are the values of
 * records of that edge in a new block, whose reference is given | false: there is no memory for it | nil: they are not
 * n strings */
static int l_records(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  size_t size;
  const uint8_t *at = (const uint8_t *)luaL_checklstring(L, 2, &size), *bytes;
  lua_Integer n = luaL_checkinteger(L, 3);
  uint32_t edge = mg_check_u32(L, 4), length;
  unsigned refs = lua_toboolean(L, 5) ? MG_CODEC_REFS : 0;
  size_t all = n > 0 ? space_of(at, at + size, n) : 0;
  if (all == 0) return luaL_pushfail(L), 1;
  uint32_t block = mg_shm_alloc(&p->shm, all);
  if (block == MG_NO_BLOCK) return lua_pushboolean(L, 0), 1;
  uint8_t *to = mg_shm_at(&p->shm, block);
  for (const uint8_t *end = at + size; at < end; to += mg_record_space(length)) {
    at = take_string(at, end, &bytes, &length);
    mg_record_head(to, length, edge, flags_of(bytes, length, refs));
    memcpy(to + MG_RECORD_HEAD, bytes, length);
  }
  lua_pushinteger(L, block);
  lua_pushinteger(L, (lua_Integer)all);
  return 2;
}

const luaL_Reg mg_string_methods[] = {{"strings", l_strings}, {"records", l_records}, {NULL, NULL}};
