/* lua_cursor.h - a cursor: the records of a range, one after the other (lua_reader.c). */
#ifndef MG_LUA_CURSOR_H
#define MG_LUA_CURSOR_H

#include "lua_block.h"

#define MG_CURSOR_TYPE "minigun.cursor"

typedef struct mg_cursor {
  mg_pool *pool; /* a user value keeps it */
  mg_codec *codec;
  uint32_t block, at, limit, only;
  uint32_t last; /* where the record is that was given last */
} mg_cursor;

/* Pushes the next value: 1; or 2, with what is wrong with it (see `decode` in lua_reader.c) above.  0 at the end, or
 * when Ctrl-C has come; -1 where a record is damaged: that is the end too.  Where memory is short it raises, and is
 * still before that record. */
int mg_cursor_next(lua_State *L, mg_cursor *c);
/* Pushes the value that was given last once more, as it came, or nil where it cannot be had. */
void mg_cursor_again(lua_State *L, const mg_cursor *c);

#endif
