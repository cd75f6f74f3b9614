/* lua_block.h - arguments and results that are a pool, a block or a range of one, for the files that move items. */
#ifndef MG_LUA_BLOCK_H
#define MG_LUA_BLOCK_H

#include "core/pool.h"
#include "lua_mg.h"

#define MG_POOL_TYPE "minigun.pool"

/* The open pool at `arg`; an error to the caller when it is closed or belongs to another process. */
mg_pool *mg_check_pool(lua_State *L, int arg);
/* A block argument: nil or false is no block. */
uint32_t mg_check_block(lua_State *L, int arg);
/* A block that is in use. */
uint32_t mg_check_held(lua_State *L, mg_pool *p, int arg);
/* A range at arg...: block, offset, length, inside its block. */
mg_range mg_check_range(lua_State *L, mg_pool *p, int arg);
/* Pushes a block, or false for none. */
void mg_push_block(lua_State *L, uint32_t block);

/* Pushes block, offset, length, count, edge: 5 results. */
int mg_push_range(lua_State *L, const mg_range *r);
/* Pushes an event's name, slot and the rest, see p:event() (lua_pool.c); returns how many. */
int mg_push_event(lua_State *L, const mg_slot_event *e);
/* The index of a slot, which is counted from 1 in Lua. */
uint32_t mg_check_slot(lua_State *L, mg_pool *p, int arg);

/* What is said when mg_pool's `lost` is set. */
#define MG_LOST "the program has closed descriptors that are not its own, but the run's"

extern const luaL_Reg mg_reader_methods[]; /* lua_reader.c: of a pool */
extern const luaL_Reg mg_slot_methods[];   /* lua_slot.c: of a pool */
extern const luaL_Reg mg_string_methods[]; /* lua_strings.c: of a pool */

#endif
