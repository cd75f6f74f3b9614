/* lua_worker.h - a worker as an argument, for the files with its methods. */
#ifndef MG_LUA_WORKER_H
#define MG_LUA_WORKER_H

#include "core/worker.h"
#include "lua_piece.h"

#define MG_WORKER_TYPE "minigun.worker"
#define MG_EMIT_TYPE "minigun.emit"

/* User values of a worker. */
enum { MG_WORKER_UV_ON_REFUSED = 1, MG_WORKER_UV_ON_LEFT_OUT, MG_WORKER_UV_LEFT_OUT, MG_WORKER_UV_FLUSH };

/* The worker at `arg`, which belongs to this process: the first field of its userdata. */
static inline mg_worker *mg_check_worker(lua_State *L, int arg) {
  mg_worker *w = luaL_checkudata(L, arg, MG_WORKER_TYPE);
  if (w->serial != mg_process_serial) luaL_argerror(L, arg, "the worker belongs to another process");
  return w;
}

/* Pushes the idle worker userdata of the pool at index `pool`, which each child gets a copy of, and returns its worker,
 * to be filled in the child. */
mg_worker *mg_push_worker(lua_State *L, int pool);
/* Pushes the next item of the chunk that the worker at `at` has in hand, nil for a batch of which nothing is left.
 * Returns 0 where there is none.  *status is for mg_worker_item_done.  Raises where the item cannot be had. */
int mg_worker_item(lua_State *L, int at, int *status);
/* The handler has taken it. */
void mg_worker_item_done(lua_State *L, int at, int status);
/* What w:run calls for a chain, to run what is left of the chunk in hand.  Stack: chain, message handler of its stages,
 * nil, worker. */
void mg_worker_chain(mg_worker *w, lua_CFunction items);
/* The emit of a worker's handlers. */
typedef struct lua_emit lua_emit;
/* That at `arg`, or NULL. */
lua_emit *mg_test_emit(lua_State *L, int arg);
/* Emits the value at idx, if nothing stands against it and it is no table or long string: whether it was. */
int mg_emit_scalar(lua_State *L, const lua_emit *e, int idx);
/* Emits, by the emit of a worker at `arg`, the item that the source has found, of at most `most` bytes. */
void mg_emit_item(lua_State *L, int arg, mg_source *s, size_t most);
extern const luaL_Reg mg_thread_methods[]; /* lua_threads.c */
extern const luaL_Reg mg_step_methods[]; /* lua_step.c */

#endif
