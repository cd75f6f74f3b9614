/* lua_block.c - see lua_block.h. */
#include "lua_block.h"

mg_pool *mg_check_pool(lua_State *L, int arg) {
  mg_pool *p = luaL_checkudata(L, arg, MG_POOL_TYPE);
  if (!p->slot) luaL_argerror(L, arg, "the pool is closed");
  if (p->serial != mg_process_serial) luaL_argerror(L, arg, "the pool belongs to another process (forked from here)");
  return p;
}

uint32_t mg_check_block(lua_State *L, int arg) {
  if (!lua_toboolean(L, arg)) return MG_NO_BLOCK;
  lua_Integer b = luaL_checkinteger(L, arg);
  luaL_argcheck(L, b >= 0 && b < MG_NO_BLOCK, arg, "not a block");
  return (uint32_t)b;
}

void mg_push_block(lua_State *L, uint32_t block) {
  if (block == MG_NO_BLOCK) lua_pushboolean(L, 0);
  else lua_pushinteger(L, block);
}

uint32_t mg_check_held(lua_State *L, mg_pool *p, int arg) {
  uint32_t block = mg_check_block(L, arg);
  luaL_argcheck(L, mg_shm_held(&p->shm, block), arg, "not a block in use");
  return block;
}

/* A range at arg...: block, offset, length, inside the block. */
mg_range mg_check_range(lua_State *L, mg_pool *p, int arg) {
  mg_range r = {.block = mg_check_held(L, p, arg)};
  r.offset = mg_check_u32(L, arg + 1);
  r.length = mg_check_u32(L, arg + 2);
  size_t size = mg_shm_block_size(&p->shm, r.block);
  luaL_argcheck(L, r.offset <= size && r.length <= size - r.offset, arg, "range outside its block");
  return r;
}

uint32_t mg_check_slot(lua_State *L, mg_pool *p, int arg) {
  lua_Integer i = luaL_checkinteger(L, arg);
  luaL_argcheck(L, i >= 1 && i <= (lua_Integer)p->slots, arg, "no such slot");
  return (uint32_t)(i - 1);
}

int mg_push_range(lua_State *L, const mg_range *r) {
  mg_push_block(L, r->block);
  lua_pushinteger(L, r->offset);
  lua_pushinteger(L, r->length);
  lua_pushinteger(L, r->count);
  lua_pushinteger(L, r->edge);
  return 5;
}
