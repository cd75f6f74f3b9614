/* lua_step.c - methods of a worker that say where it is: at which part of the item in hand, at which item of those that
 * are committed together. */
#include "lua_worker.h"

/* The function that w:stepper() gives; its upvalue is the worker. */
static int l_go_to(lua_State *L) {
  mg_worker *w = lua_touserdata(L, lua_upvalueindex(1)); /* the first field of it */
  if (w->serial == mg_process_serial) mg_worker_step(w, (uint32_t)lua_tointeger(L, 1));
  return 0;
}

/* w:stepper() -> function (part): the item in hand goes on to this part of it; 0: to none */
static int l_stepper(lua_State *L) {
  mg_check_worker(L, 1);
  lua_settop(L, 1);
  lua_pushcclosure(L, l_go_to, 1);
  return 1;
}

/* w:step() -> the part that the item in hand was at, which it is not any more | nil */
static int l_step(lua_State *L) {
  mg_worker *w = mg_check_worker(L, 1);
  uint32_t step = atomic_load_explicit(&w->shared->step, memory_order_relaxed);
  if (step == 0 || step & MG_STEP_ITEM) return luaL_pushfail(L), 1;
  mg_worker_step(w, 0);
  lua_pushinteger(L, step);
  return 1;
}

/* w:index() -> how many items of the chunk come before the one in hand */
static int l_index(lua_State *L) {
  const mg_worker *w = mg_check_worker(L, 1);
  lua_pushinteger(L, (lua_Integer)w->done + w->ahead);
  return 1;
}

/* w:together(flush): the items of the chunk in hand are committed together; flush() is called before that, and emits
 * what belongs to all of them.  Call it before w:end_chunk too. */
static int l_together(lua_State *L) {
  mg_worker *w = mg_check_worker(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, MG_WORKER_UV_FLUSH);
  mg_worker_together(w);
  return 0;
}

const luaL_Reg mg_step_methods[] = {
    {"stepper", l_stepper}, {"step", l_step}, {"index", l_index}, {"together", l_together}, {NULL, NULL},
};
