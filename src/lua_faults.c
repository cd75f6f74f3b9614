/* lua_faults.c - the table core.faults of the test build (faults.h has the contracts). */
#include "lua_mg.h"

#ifdef MG_FAULTS
#include <string.h>

#include "faults.h"

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

/* die(point, nth) */
static int l_die(lua_State *L) {
  mg_fault_die(luaL_checkstring(L, 1), (unsigned long)luaL_checkinteger(L, 2));
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
static unsigned long allocations, fail_from, fail_to; /* the first allocation that fails, the one behind the last */

/* Only what grows can fail: Lua counts on that. */
static void *failing_alloc(void *ud, void *old, size_t old_size, size_t size) {
  if (size > (old ? old_size : 0) && ++allocations >= fail_from && allocations < fail_to) return NULL;
  return real_alloc(ud, old, old_size, size);
}

/* allocation(nth, many): the nth allocation of Lua in this process from now (1: the next) fails, and so do the next,
 * `many` in all; Lua tries each again when it has collected its garbage */
static int l_allocation(lua_State *L) {
  lua_Integer nth = luaL_checkinteger(L, 1), many = luaL_checkinteger(L, 2);
  void *ud;
  if (!real_alloc) {
    real_alloc = lua_getallocf(L, &ud);
    lua_setallocf(L, failing_alloc, ud);
  }
  fail_from = allocations + (unsigned long)nth;
  fail_to = fail_from + (unsigned long)many;
  return 0;
}

/* allocations() -> number of allocations in this process since the first call of `allocation` */
static int l_allocations(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)allocations);
  return 1;
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
                                       {"allocations", l_allocations}, {NULL, NULL}};
  if (mg_faults_open() < 0) luaL_error(L, "minigun.core: out of memory");
  luaL_newlib(L, functions);
  lua_setfield(L, -2, "faults");
}
#else
typedef int mg_lua_faults_only_in_the_test_build; /* ISO C wants something in every file */
#endif
