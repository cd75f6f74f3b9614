/* lua_channel.h - connections of services, for what makes them (lua_service.c). */
#ifndef MG_LUA_CHANNEL_H
#define MG_LUA_CHANNEL_H

#include "core/attach.h"
#include "lua_mg.h"

typedef struct mg_socket { /* closed in a child, without a word */
  struct mg_socket *next;
  int *fd;
  unsigned serial; /* of the process that it belongs to */
} mg_socket;

/* From now on the descriptor is closed in children; the caller takes it out before it goes. */
void mg_socket_add(mg_socket *s, int *fd);
void mg_socket_remove(mg_socket *s);

/* Pushes a connection that has no socket yet. */
mg_channel *mg_push_channel(lua_State *L);
/* The connection that a method is called on; raises in another process. */
mg_channel *mg_check_channel(lua_State *L);

#endif
