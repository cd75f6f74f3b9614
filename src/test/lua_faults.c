/* lua_faults.c - the table core.faults of the test build (faults.h has the contracts). */
#include "lua/lua_mg.h"

#ifdef MG_FAULTS
#include <stdlib.h>
#include <string.h>

#include "core/sys.h"
#include "faults.h"
#include "lua/lua_block.h"
#include "lua/lua_worker.h"
#include "miscount.h"

/* call(name, nth, errno) */
static int l_call(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  if (mg_fault_call(name, (unsigned long)luaL_checkinteger(L, 2), (int)luaL_checkinteger(L, 3)) < 0)
    return luaL_argerror(L, 1, "no such system call");
  return 0;
}

/* calls() -> { [name] = number of calls so far } */
static int l_calls(lua_State *L) {
  lua_newtable(L);
  for (int i = 0; mg_fault_call_name(i); i++) {
    lua_pushinteger(L, (lua_Integer)mg_fault_calls(mg_fault_call_name(i)));
    lua_setfield(L, -2, mg_fault_call_name(i));
  }
  return 1;
}

/* die(point, nth [, self]) */
static int l_die(lua_State *L) {
  mg_fault_die(luaL_checkstring(L, 1), (unsigned long)luaL_checkinteger(L, 2), lua_toboolean(L, 3));
  return 0;
}

/* points() -> { [point] = hits } */
static int l_points(lua_State *L) {
  mg_fault_hits hits[MG_FAULT_POINTS];
  int n = mg_fault_points(hits);
  lua_newtable(L);
  for (int i = 0; i < n; i++) {
    lua_pushinteger(L, (lua_Integer)hits[i].hits);
    lua_setfield(L, -2, hits[i].name);
  }
  return 1;
}

static lua_Alloc real_alloc;
static unsigned long allocations, fail_from, fail_to; /* the first allocation that fails, the one after the last */

enum { MOST_STACKS = 100 };
static size_t heap;                                   /* bytes of Lua, about */
static unsigned long collect, collect_in, collect_by; /* see l_collect; allocations until the next; a random number */
static size_t refused; /* the size that Lua will try again; 0: none */
static unsigned long collections;

/* From here to twice as far as it is on average: `collect` allocations for each 64 KiB that there are to walk. */
static void aim(void) {
  collect_by = collect_by * 6364136223846793005u + 1442695040888963407u;
  collect_in = 1 + (collect_by >> 33) % (2 * collect * (1 + heap / 65536));
}

/* Refuses one allocation in so many, once: Lua answers with a full collection, in which it makes stacks anew, and then
 * tries again.  Where it does not (a stack made in a usual step of the collector stays as it was) nothing is refused
 * until as many have gone by as it may have stacks.  The box of a luaL_Buffer, larger than LUAL_BUFFERSIZE, is never
 * tried again. */
static int refuse(size_t size, int is_object) {
  if (size > LUAL_BUFFERSIZE && !is_object) return 0;
  if (refused) {
    if (size == refused || --collect_in == 0) refused = 0, aim();
    return 0;
  }
  if (collect == 0 || --collect_in > 0) return 0;
  collections++;
  refused = size;
  collect_in = MOST_STACKS;
  return 1;
}

/* Only what grows can fail: Lua counts on that. */
static void *failing_alloc(void *ud, void *old, size_t old_size, size_t size) {
  int is_object = !old && old_size > 0; /* of that kind */
  if (!old) old_size = 0;
  int fails = size > old_size && ++allocations >= fail_from && allocations < fail_to;
  if (fails || (size > old_size && refuse(size, is_object))) return NULL;
  heap += size - old_size;
  return real_alloc(ud, old, old_size, size);
}

static void take_allocator(lua_State *L) {
  void *ud;
  if (real_alloc) return;
  heap = (size_t)lua_gc(L, LUA_GCCOUNT) * 1024;
  real_alloc = lua_getallocf(L, &ud);
  lua_setallocf(L, failing_alloc, ud);
}

static void start_collecting(lua_State *L, unsigned long n, unsigned long seed) {
  take_allocator(L);
  refused = 0;
  collect = n;
  collect_by = seed;
  if (n > 0) aim();
  if (n > 0) lua_gc(L, LUA_GCINC, 4, 100, 8); /* finalizers run in the collector's own cycles only: many of these */
}

/* collect(n, seed) -> how many there were: from now on full collections at arbitrary allocations, in this process and
 * those forked from it, one for every n allocations, about, for each 64 KiB of Lua's memory; 0: no more */
static int l_collect(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 1), seed = luaL_checkinteger(L, 2);
  luaL_argcheck(L, n >= 0 && n <= 1 << 20, 1, "out of range");
  start_collecting(L, (unsigned long)n, (unsigned long)seed);
  lua_pushinteger(L, (lua_Integer)collections);
  return 1;
}

/* allocation(nth, many): the nth allocation of Lua in this process from now (1: the next) fails, and so do the next,
 * `many` in all; Lua tries each again when it has collected its garbage */
static int l_allocation(lua_State *L) {
  lua_Integer nth = luaL_checkinteger(L, 1), many = luaL_checkinteger(L, 2);
  take_allocator(L);
  fail_from = allocations + (unsigned long)nth;
  fail_to = fail_from + (unsigned long)many;
  return 0;
}

/* allocations() -> number of allocations in this process since the first call of `allocation` */
static int l_allocations(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)allocations);
  return 1;
}

/* miscount(pool, what, slot), miscount(worker, what): breaks one of its invariants, see miscount.h */
static int l_miscount(lua_State *L) {
  const char *what = luaL_checkstring(L, 2);
  int rc = luaL_testudata(L, 1, MG_WORKER_TYPE)
               ? mg_miscount_worker(mg_check_worker(L, 1), what)
               : mg_miscount_pool(mg_check_pool(L, 1), mg_check_slot(L, mg_check_pool(L, 1), 3), what);
  luaL_argcheck(L, rc == 0, 2, "not known, or there is nothing of it");
  return 0;
}

static int l_reset(lua_State *L) {
  (void)L;
  mg_fault_reset();
  fail_from = fail_to = 0;
  return 0;
}

void mg_faults_setup(lua_State *L) {
  static const luaL_Reg functions[] = {{"call", l_call},     {"calls", l_calls}, {"die", l_die},
                                       {"points", l_points}, {"reset", l_reset}, {"allocation", l_allocation},
                                       {"allocations", l_allocations}, {"collect", l_collect},
                                       {"miscount", l_miscount}, {NULL, NULL}};
  const char *n = getenv("MINIGUN_COLLECT"); /* collect(n) for a whole run of the specs: make gcstress */
  if (mg_faults_open() < 0) luaL_error(L, "minigun.core: out of memory");
  luaL_newlib(L, functions);
  lua_setfield(L, -2, "faults");
  if (n) start_collecting(L, strtoul(n, NULL, 10), (unsigned long)mg_now());
}
#else
typedef int mg_lua_faults_only_in_the_test_build; /* ISO C wants something in every file */
#endif
