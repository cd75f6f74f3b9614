/* lua_board.h - a worker's line of the board, for what works for it. */
#ifndef MG_LUA_BOARD_H
#define MG_LUA_BOARD_H

#include "core/board.h"
#include "core/event.h"
#include "core/proc.h"
#include "lua_mg.h"

/* The line at `arg`, a userdata minigun.line of this process. */
mg_line *mg_check_line(lua_State *L, int arg);
/* The board that the line at `arg` is of. */
const mg_board *mg_check_board_of(lua_State *L, int arg);
/* The coroutine that serves at present: a traceback that is asked for is of it. */
void mg_line_runs(lua_State *L);
/* From now on SIGTERM asks this process to drain, and rings the bell, which lies in memory that stays. */
void mg_line_on_terminate(mg_line *line, const mg_bell *bell);

#endif
