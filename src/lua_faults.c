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

static int l_reset(lua_State *L) {
  (void)L;
  mg_fault_reset();
  return 0;
}

void mg_faults_setup(lua_State *L) {
  static const luaL_Reg functions[] = {{"call", l_call},     {"calls", l_calls}, {"die", l_die},
                                       {"points", l_points}, {"reset", l_reset}, {NULL, NULL}};
  if (mg_faults_open() < 0) luaL_error(L, "minigun.core: out of memory");
  luaL_newlib(L, functions);
  lua_setfield(L, -2, "faults");
}
#else
typedef int mg_lua_faults_only_in_the_test_build; /* ISO C wants something in every file */
#endif
