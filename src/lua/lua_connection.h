/* lua_connection.h - connections of blocking servers, for those that accept them. */
#ifndef MG_LUA_CONNECTION_H
#define MG_LUA_CONNECTION_H

#include "core/board.h"
#include "core/proc.h"
#include "lua_mg.h"

/* Pushes a connection without a descriptor.  `line`: the worker's, which outlives it, or NULL. */
void mg_push_connection(lua_State *L, mg_line *line);
/* Gives the connection at idx its descriptor, which does not block and is closed with it.  `counts`: until then it is
 * one that the worker has in hand. */
void mg_connect(lua_State *L, int idx, int fd, int counts);
/* The address of a Unix socket; "@name" is one without a file.  0 or -ENAMETOOLONG (lua_server.c). */
int mg_unix_address(const char *path, size_t n, mg_address *out);
/* Pushes host, port and family of an address; returns 3 (lua_server.c). */
int mg_push_address(lua_State *L, const mg_address *a);

#endif
