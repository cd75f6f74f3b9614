/* lua_service.c - where the connections of services come from: userdata minigun.doorway, a socket that listens, and the
 * methods of minigun.channel with which a client and a server meet (core/attach.h).
 */
#include <errno.h>
#include <string.h>
#include <sys/un.h>

#include "core/listen.h"
#include "core/proc.h"
#include "lua_channel.h"
#include "lua_connection.h"

#define DOORWAY "minigun.doorway"

typedef struct doorway { /* its user value is the path */
  int fd; /* -1: closed */
  mg_socket socket;
  mg_file file; /* of the socket; none: inode 0 */
  int reserve;  /* a descriptor to give up where there are no more */
} doorway;

/* --- the server's side ------------------------------------------------------------------------------------------- */

static void shut(doorway *d, const char *path) {
  int own = d->fd >= 0 && d->socket.serial == mg_process_serial;
  if (own && d->file.inode) mg_listen_remove(path, &d->file);
  mg_shut(&d->fd);
  if (own) mg_shut(&d->reserve);
}

/* doorway(path, mode, backlog) -> a socket that listens | nil, message, errno */
static int l_doorway(lua_State *L) {
  mg_address at;
  size_t n;
  const char *path = luaL_checklstring(L, 1, &n);
  int mode = (int)luaL_checkinteger(L, 2), backlog = (int)luaL_checkinteger(L, 3);
  int rc = mg_unix_address(path, n, &at);
  doorway *d = lua_newuserdatauv(L, sizeof *d, 1);
  *d = (doorway){.fd = -1, .reserve = -1};
  mg_socket_add(&d->socket, &d->fd);
  luaL_setmetatable(L, DOORWAY);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  if (rc == 0) rc = d->fd = mg_listen(&at, MG_PACKETS, mode, backlog, &d->file);
  if (rc >= 0) rc = d->reserve = mg_sys.copy(d->fd);
  if (rc >= 0) return 1;
  shut(d, path);
  return mg_lua_reason(L, rc);
}

static doorway *check_doorway(lua_State *L) {
  doorway *d = luaL_checkudata(L, 1, DOORWAY);
  if (d->fd < 0 || d->socket.serial != mg_process_serial)
    luaL_argerror(L, 1, "the service is closed, or another process's");
  return d;
}

/* Out of descriptors: with the one in reserve the next client is taken and turned away. */
static void turn_away(doorway *d) {
  mg_channel c = {.socket = -1};
  mg_shut(&d->reserve);
  c.socket = mg_sys.accept(d->fd);
  if (c.socket >= 0) mg_attach_refuse(&c, MG_BUSY, "the server has no descriptor left");
  mg_channel_shut(&c, 1);
  d->reserve = mg_sys.copy(d->fd);
}

/* d:accept() -> a connection | false: none waits | nil, message, errno: it could not be had, and was turned away where
 * the reason is EMFILE or ENFILE */
static int l_accept(lua_State *L) {
  doorway *d = check_doorway(L);
  mg_channel *c = mg_push_channel(L);
  int rc;
  do rc = mg_sys.accept(d->fd);
  while (rc == -EINTR || rc == -ECONNABORTED);
  if (rc == -EAGAIN) return lua_pushboolean(L, 0), 1;
  if (rc == -EMFILE || rc == -ENFILE) turn_away(d);
  if (rc < 0) return mg_lua_reason(L, rc);
  c->socket = rc;
  return 1;
}

static int l_doorway_fd(lua_State *L) {
  lua_pushinteger(L, check_doorway(L)->fd);
  return 1;
}

/* d:close(): the socket's file goes too, if it still is this one; may be called twice */
static int l_doorway_close(lua_State *L) {
  doorway *d = luaL_checkudata(L, 1, DOORWAY);
  lua_getiuservalue(L, 1, 1);
  shut(d, lua_tostring(L, -1));
  return 0;
}

static int l_doorway_collect(lua_State *L) {
  doorway *d = luaL_checkudata(L, 1, DOORWAY);
  lua_settop(L, 1);
  l_doorway_close(L);
  mg_socket_remove(&d->socket);
  return 0;
}

/* c:peer() -> pid, uid, gid | nil, message, errno */
static int l_peer(lua_State *L) {
  mg_peer p;
  int rc = mg_sys.peer(mg_check_channel(L)->socket, &p);
  if (rc < 0) return mg_lua_reason(L, rc);
  lua_pushinteger(L, p.pid);
  lua_pushinteger(L, (lua_Integer)p.user);
  lua_pushinteger(L, (lua_Integer)p.group);
  return 3;
}

/* own_user() -> uid that this process acts as */
static int l_own_user(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)mg_own_user());
  return 1;
}

/* c:greeting() -> what the client has said, for c:admit, and its version | false: nothing yet | nil, message, errno */
static int l_greeting(lua_State *L) {
  mg_greeting said;
  int rc = mg_attach_greeting(mg_check_channel(L), &said);
  if (rc < 0) return mg_lua_reason(L, rc);
  if (rc == 0) return lua_pushboolean(L, 0), 1;
  lua_pushlstring(L, (const char *)&said, sizeof said);
  lua_pushinteger(L, said.version);
  return 2;
}

/* c:admit(said, bytes of the ring from the client, of that to it, number, most bytes of a message) -> true | nil,
 * message, errno */
static int l_admit(lua_State *L) {
  mg_channel *c = mg_check_channel(L);
  mg_greeting said;
  size_t n;
  const char *bytes = luaL_checklstring(L, 2, &n);
  luaL_argcheck(L, n == sizeof said, 2, "a greeting expected");
  memcpy(&said, bytes, sizeof said);
  uint32_t to_server = mg_check_u32(L, 3), to_client = mg_check_u32(L, 4);
  c->most = (uint64_t)luaL_checkinteger(L, 6);
  int rc = mg_attach_admit(c, &said, to_server, to_client, (uint64_t)luaL_checkinteger(L, 5));
  return rc < 0 ? mg_lua_reason(L, rc) : (lua_pushboolean(L, 1), 1);
}

static const char *const statuses[] = {"welcome", "busy", "refused", "version", NULL};

/* c:refuse(status, text) */
static int l_refuse(lua_State *L) {
  mg_attach_refuse(mg_check_channel(L), (uint32_t)luaL_checkoption(L, 2, NULL, statuses), luaL_checkstring(L, 3));
  return 0;
}

/* --- the client's side ------------------------------------------------------------------------------------------- */

/* channel(path, bytes of the ring to the server, of that from it, most bytes of a message) -> a connection that has
 * said hello | nil, message, errno */
static int l_connect(lua_State *L) {
  mg_address at;
  size_t n;
  const char *path = luaL_checklstring(L, 1, &n);
  uint32_t to_server = mg_check_u32(L, 2), to_client = mg_check_u32(L, 3);
  lua_Integer most = luaL_checkinteger(L, 4);
  int rc = mg_unix_address(path, n, &at);
  mg_channel *c = mg_push_channel(L);
  c->most = (uint64_t)most;
  if (rc == 0) rc = mg_attach_connect(c, &at, to_server, to_client);
  return rc < 0 ? mg_lua_reason(L, rc) : 1;
}

/* c:answer() -> number: it is attached | false: not yet | nil, message, errno | nil, text, status: the server has
 * turned it away */
static int l_answer(lua_State *L) {
  mg_greeting said;
  char text[MG_ATTACH_TEXT];
  int rc = mg_attach_answer(mg_check_channel(L), &said, text);
  if (rc == 0) return lua_pushboolean(L, 0), 1;
  if (rc == 1) return lua_pushinteger(L, (lua_Integer)said.number), 1;
  if (rc != -ECONNREFUSED) return mg_lua_reason(L, rc);
  luaL_pushfail(L);
  lua_pushstring(L, text);
  lua_pushstring(L, statuses[said.status <= MG_OTHER_VERSION ? said.status : MG_REFUSED]);
  return 3;
}

static const luaL_Reg doorway_methods[] = {
    {"accept", l_accept}, {"fd", l_doorway_fd}, {"close", l_doorway_close}, {"__gc", l_doorway_collect}, {NULL, NULL},
};

static const luaL_Reg channel_methods[] = {
    {"peer", l_peer}, {"greeting", l_greeting}, {"admit", l_admit}, {"refuse", l_refuse}, {"answer", l_answer},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"doorway", l_doorway}, {"channel", l_connect}, {"own_user", l_own_user}, {NULL, NULL},
};

/* After mg_channel_setup. */
void mg_service_setup(lua_State *L) {
  mg_method_type(L, DOORWAY, doorway_methods);
  luaL_getmetatable(L, "minigun.channel");
  luaL_setfuncs(L, channel_methods, 0);
  lua_pop(L, 1);
  luaL_setfuncs(L, functions, 0);
}
