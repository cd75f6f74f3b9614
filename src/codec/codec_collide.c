/* Minigun: keys of a large map that collide, on purpose, in the table that is made of it.
 *
 * Lua hashes strings with a secret of the process, but numbers in a way that is known: bytes can be made whose keys all
 * lie at one place, where each further one is compared with all. So it is counted how many keys lie at each place of
 * the table, and such a map cannot cost much more than COLLISIONS_FREE steps. */
#include <limits.h>
#include <math.h>

#include "codec_decode.h"

#define COLLISIONS_FREE (1u << 22)
#define COLLISIONS_EACH 64u

struct mg_places {
  uint64_t steps, most; /* comparisons so far; allowed */
  uint32_t size;
  uint16_t keys[];
};

mg_places *mg_places_push(lua_State *L, size_t n) {
  uint32_t size = 1;
  while (size < n) size *= 2;
  mg_places *all = lua_newuserdatauv(L, sizeof *all + size * sizeof *all->keys, 0);
  memset(all, 0, sizeof *all + size * sizeof *all->keys);
  all->size = size;
  all->most = COLLISIONS_FREE + (uint64_t)COLLISIONS_EACH * n;
  return all;
}

/* Lua's hash of a float (ltable.c). */
static unsigned hash_float(lua_Number v) {
  int exponent;
  v = frexp(v, &exponent) * -(lua_Number)INT_MIN;
  if (!(v >= INT_MIN && v <= -(lua_Number)INT_MIN)) return 0; /* infinite, or no number */
  unsigned u = (unsigned)exponent + (unsigned)(lua_Integer)v;
  return u <= INT_MAX ? u : ~u;
}

bool mg_places_count(lua_State *L, mg_places *all) {
  if (lua_type(L, -1) != LUA_TNUMBER) return true;
  int whole;
  lua_Unsigned hash = (lua_Unsigned)lua_tointegerx(L, -1, &whole);
  if (!whole) hash = hash_float(lua_tonumber(L, -1));
#if LUA_VERSION_RELEASE_NUM < 504 * 100 + 3
  uint32_t at = (uint32_t)(whole ? hash & (all->size - 1) : hash % ((all->size - 1) | 1));
#else
  uint32_t at = (uint32_t)(hash % ((all->size - 1) | 1));
#endif
  all->steps += all->keys[at];
  if (all->keys[at] < UINT16_MAX) all->keys[at]++;
  return all->steps <= all->most;
}
