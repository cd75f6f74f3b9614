/* lua_redis.c - the module minigun.redis: connections to a Redis server, see link.h.
 *
 * A link is a userdata; what it holds goes with it.  In a forked child it is the parent's: it does nothing there.
 */
#include <lauxlib.h>
#include <lua.h>
#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

#include "link.h"

#define LINK "minigun.redis.link"
#define ERROR "minigun.redis.error"
#define MOST_WORDS 100000 /* of a command */
#define DEEPEST 16        /* level of a reply */

typedef struct own_link {
  mg_link link;
  pid_t pid; /* of the process that has opened it */
} own_link;

static mg_link *check_link(lua_State *L) { return &((own_link *)luaL_checkudata(L, 1, LINK))->link; }

/* The same, where the socket is used. */
static mg_link *check_own(lua_State *L) {
  own_link *own = luaL_checkudata(L, 1, LINK);
  if (own->pid != getpid()) luaL_error(L, "the connection belongs to the process that has opened it");
  return &own->link;
}

static const char *field(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  const char *text = luaL_optstring(L, -1, NULL); /* the table keeps it */
  lua_pop(L, 1);
  return text;
}

/* redis.open { host =, port =, skip =, path =, secure =, ca =, certificate =, key = } -> link | nil, message */
static int l_open(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  mg_link_options options = { .host = field(L, "host"), .port = field(L, "port"), .path = field(L, "path"),
    .ca = field(L, "ca"), .certificate = field(L, "certificate"), .key = field(L, "key") };
  lua_getfield(L, 1, "secure");
  options.secure = lua_toboolean(L, -1);
  lua_getfield(L, 1, "skip");
  options.skip = (int)luaL_optinteger(L, -1, 0);
  luaL_argcheck(L, options.path || (options.host && options.port), 1, "host and port, or path, expected");
  luaL_argcheck(L, !options.secure || options.host, 1, "TLS needs a host");
  own_link *own = lua_newuserdatauv(L, sizeof *own, 0);
  memset(own, 0, sizeof *own);
  own->link.fd = -1;
  own->pid = getpid();
  luaL_setmetatable(L, LINK);
  if (mg_link_open(&own->link, &options) == 0) return 1;
  luaL_pushfail(L);
  lua_pushstring(L, own->link.why);
  return 2;
}

/* nil, why it is closed */
static int closed(lua_State *L, const mg_link *link) {
  luaL_pushfail(L);
  lua_pushstring(L, link->why[0] ? link->why : "it is closed");
  return 2;
}

/* link:send(words) -> true | nil, message.  `words`: an array of strings and numbers, which is one command. */
static int l_send(lua_State *L) {
  mg_link *link = check_own(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_Unsigned n = lua_rawlen(L, 2);
  luaL_argcheck(L, n >= 1 && n <= MOST_WORDS, 2, "from 1 to 100000 words expected");
  const char **words = lua_newuserdatauv(L, n * (sizeof *words + sizeof(size_t)), 0);
  size_t *lengths = (size_t *)(words + n);
  for (lua_Unsigned i = 0; i < n; i++) {
    int type = lua_rawgeti(L, 2, (lua_Integer)i + 1);
    luaL_argcheck(L, type == LUA_TSTRING || type == LUA_TNUMBER, 2, "words are strings and numbers");
    if (type == LUA_TNUMBER) {
      lua_tolstring(L, -1, NULL); /* a text in its place, which the table keeps */
      lua_pushvalue(L, -1);
      lua_rawseti(L, 2, (lua_Integer)i + 1);
    }
    words[i] = lua_tolstring(L, -1, &lengths[i]);
    lua_pop(L, 1);
  }
  if (mg_link_append(link, (int)n, words, lengths) == 0) return lua_pushboolean(L, 1), 1;
  if (link->state == MG_LINK_CLOSED) return closed(L, link);
  luaL_pushfail(L);
  lua_pushliteral(L, "no memory, or a command of more than 1 GiB");
  return 2;
}

/* link:step() -> "r", "w" or "rw", what to wait for | nil, why it is closed */
static int l_step(lua_State *L) {
  static const char *const WANTS[] = { "", "r", "w", "rw" };
  mg_link *link = check_own(L);
  int wants = mg_link_step(link);
  mg_link_check(link);
  if (wants >= 0) return lua_pushstring(L, WANTS[wants]), 1;
  return closed(L, link);
}

/* Pushes a reply: integers, strings, arrays; nil as false; an error as a table { message =, code = } with a
 * metatable. */
static void push_reply(lua_State *L, const redisReply *reply, int level) {
  luaL_checkstack(L, 4, "a reply is too deep");
  if (level > DEEPEST) luaL_error(L, "a reply is too deep");
  switch (reply->type) {
    case REDIS_REPLY_INTEGER: lua_pushinteger(L, reply->integer); break;
    case REDIS_REPLY_NIL: lua_pushboolean(L, 0); break;
    case REDIS_REPLY_ARRAY:
      lua_createtable(L, reply->elements < 1024 ? (int)reply->elements : 1024, 0);
      for (size_t i = 0; i < reply->elements; i++) {
        push_reply(L, reply->element[i], level + 1);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
      }
      break;
    case REDIS_REPLY_ERROR: {
      const char *space = memchr(reply->str, ' ', (size_t)reply->len);
      lua_createtable(L, 0, 2);
      lua_pushlstring(L, reply->str, (size_t)reply->len);
      lua_setfield(L, -2, "message");
      lua_pushlstring(L, reply->str, space ? (size_t)(space - reply->str) : (size_t)reply->len);
      lua_setfield(L, -2, "code");
      luaL_setmetatable(L, ERROR);
      break;
    }
    default: lua_pushlstring(L, reply->str, (size_t)reply->len);
  }
}

static int push_protected(lua_State *L) {
  push_reply(L, lua_touserdata(L, 1), 0);
  return 1;
}

/* link:reply() -> true, reply | false: there is none yet | nil, message */
static int l_reply(lua_State *L) {
  mg_link *link = check_link(L);
  redisReply *reply = NULL;
  lua_pushcfunction(L, push_protected); /* no memory while it is pushed must not keep the reply */
  int found = mg_link_reply(link, &reply);
  if (found == 0) return lua_pushboolean(L, 0), 1;
  if (found < 0) return closed(L, link);
  lua_pushlightuserdata(L, reply);
  int rc = lua_pcall(L, 1, 1, 0);
  freeReplyObject(reply);
  if (rc != LUA_OK) return lua_error(L);
  lua_pushboolean(L, 1);
  lua_insert(L, -2);
  return 2;
}

/* link:ready() -> whether it is connected, and secured where that is asked for */
static int l_ready(lua_State *L) {
  lua_pushboolean(L, check_link(L)->state == MG_LINK_READY);
  return 1;
}

/* link:fd() -> descriptor | nil where it is closed */
static int l_fd(lua_State *L) {
  mg_link *link = check_link(L);
  if (link->fd < 0) return luaL_pushfail(L), 1;
  lua_pushinteger(L, link->fd);
  return 1;
}

/* link:others() -> addresses to skip for the next one of the host; 0: there is none */
static int l_others(lua_State *L) {
  lua_pushinteger(L, mg_link_others(check_link(L)));
  return 1;
}

/* link:close(); in another process than its own it forgets what it has. */
static int l_close(lua_State *L) {
  own_link *own = luaL_checkudata(L, 1, LINK);
  if (own->pid == getpid()) mg_link_close(&own->link);
  else mg_link_forget(&own->link);
  return 0;
}

static int l_error_text(lua_State *L) {
  lua_getfield(L, 1, "message");
  return 1;
}

/* redis.sha256(text) -> 64 hexadecimal digits */
static int l_sha256(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  unsigned char sum[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_Digest(text, length, sum, &size, EVP_sha256(), NULL) != 1) return luaL_error(L, "no SHA-256 in this OpenSSL");
  char hex[2 * EVP_MAX_MD_SIZE];
  for (unsigned int i = 0; i < size; i++) {
    hex[2 * i] = "0123456789abcdef"[sum[i] >> 4];
    hex[2 * i + 1] = "0123456789abcdef"[sum[i] & 15];
  }
  lua_pushlstring(L, hex, 2 * size);
  return 1;
}

__attribute__((visibility("default"))) int luaopen_minigun_redis(lua_State *L) {
  static const luaL_Reg METHODS[] = { { "send", l_send }, { "step", l_step }, { "reply", l_reply }, { "fd", l_fd },
    { "ready", l_ready }, { "others", l_others },
    { "close", l_close }, { "__gc", l_close }, { "__close", l_close }, { NULL, NULL } };
  static const luaL_Reg FUNCTIONS[] = { { "open", l_open }, { "sha256", l_sha256 }, { NULL, NULL } };
  luaL_newmetatable(L, LINK);
  luaL_setfuncs(L, METHODS, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  luaL_newmetatable(L, ERROR);
  lua_pushcfunction(L, l_error_text);
  lua_setfield(L, -2, "__tostring");
  lua_newtable(L);
  luaL_setfuncs(L, FUNCTIONS, 0);
  luaL_getmetatable(L, ERROR);
  lua_setfield(L, -2, "Error");
  return 1;
}
