/* lua_command.c - userdata minigun.command: a program that runs, as Lua sees it (command.h has the contracts), and the
 * keeper of this process.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/command.h"
#include "core/keeper.h"
#include "core/proc.h"
#include "lua_mg.h"

#define MG_COMMAND_TYPE "minigun.program"

extern char **environ; /* NOLINT: libc's own name */

static mg_command *check_command(lua_State *L, int arg) {
  mg_command *c = luaL_checkudata(L, arg, MG_COMMAND_TYPE);
  if (c->serial != mg_process_serial) luaL_argerror(L, arg, "the program was started by another process");
  return c;
}

/* Room for n pointers, which lives as long as what it leaves on the stack. */
static char **new_list(lua_State *L, size_t n) { return lua_newuserdatauv(L, n * sizeof(char *), 0); }

/* The array of strings at idx, to which `first` are put in front; leaves one value. */
static char **push_list(lua_State *L, int idx, char **first, size_t firsts) {
  size_t n = (size_t)lua_rawlen(L, idx);
  char **list = new_list(L, firsts + n + 1);
  for (size_t i = 0; i < firsts; i++) list[i] = first[i];
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, idx, (lua_Integer)i + 1);
    list[firsts + i] = (char *)(uintptr_t)luaL_checkstring(L, -1); /* execve does not write to it; the table keeps it */
    lua_pop(L, 1);
  }
  list[firsts + n] = NULL;
  return list;
}

/* Whether a text begins with "NAME=" or "NAME", whichever the array at idx has. */
static int is_replaced(lua_State *L, int idx, const char *entry) {
  size_t name = strcspn(entry, "=");
  int found = 0;
  for (lua_Integer i = 1; !found && lua_rawgeti(L, idx, i) == LUA_TSTRING; i++) {
    const char *given = lua_tostring(L, -1);
    found = strncmp(given, entry, name) == 0 && given[name] == 0;
    lua_pop(L, 1);
    if (found) return 1;
  }
  lua_pop(L, 1);
  return found;
}

/* The environment without the names in the array at `gone`, and with the entries in that at `more`; leaves two values.
 */
static char **push_environment(lua_State *L, int more, int gone) {
  size_t n = 0, kept = 0;
  while (environ && environ[n]) n++;
  char **own = new_list(L, n + 1);
  for (size_t i = 0; i < n; i++)
    if (!is_replaced(L, gone, environ[i])) own[kept++] = environ[i];
  return push_list(L, more, own, kept);
}

/* A file's path, or true: as this process's. */
static void take_target(lua_State *L, int idx, const char *name, mg_streams *s, int i) {
  lua_getfield(L, idx, name);
  if (lua_type(L, -1) == LUA_TSTRING) s->path[i] = lua_tostring(L, -1); /* the table keeps it */
  else s->inherit[i] = lua_toboolean(L, -1);
  lua_pop(L, 1);
}

/* What is wrong, for a message: at which step, with which stream. */
static int failed_start(lua_State *L, const mg_launch *l, int stream, int rc) {
  static const char *const steps[] = {"keeper", "start", "cwd", "program"};
  static const char *const streams[] = {"stdin", "stdout", "stderr"};
  mg_lua_reason(L, rc);
  lua_pushstring(L, stream >= 0 ? streams[stream] : steps[l->failed]);
  return 4;
}

/* command(argv, given) -> program | nil, reason, errno, step: "keeper", "start", "cwd", "program", "stdin", "stdout" or
 * "stderr".  given: `stdin`, `cwd`, `stdout`, `stderr` (a path, or true), `limit` (bytes), `more`, `gone` (arrays:
 * "NAME=value", "NAME") */
static int l_command(lua_State *L) {
  mg_launch launch = {0};
  mg_streams streams = {0};
  int stream;
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  mg_command *c = lua_newuserdatauv(L, sizeof *c, 1);
  memset(c, 0, sizeof *c);
  c->own[0] = c->own[1] = c->own[2] = c->watch = c->epoll = -1;
  luaL_setmetatable(L, MG_COMMAND_TYPE);
  launch.argv = push_list(L, 1, NULL, 0);
  lua_getfield(L, 2, "more");
  lua_getfield(L, 2, "gone");
  launch.envp = push_environment(L, 5, 6);
  lua_getfield(L, 2, "cwd");
  launch.cwd = lua_tostring(L, -1);
  lua_getfield(L, 2, "stdin");
  streams.input = lua_tolstring(L, -1, &streams.length);
  lua_setiuservalue(L, 3, 1); /* as long as the program reads it */
  take_target(L, 2, "stdout", &streams, 1);
  take_target(L, 2, "stderr", &streams, 2);
  lua_getfield(L, 2, "limit");
  int rc = mg_command_start(c, &launch, &streams, (size_t)luaL_checkinteger(L, -1), &stream);
  if (rc < 0) return failed_start(L, &launch, stream, rc);
  lua_pushvalue(L, 3);
  return 1;
}

/* c:step() -> whether it is over: moves what can be moved */
static int l_step(lua_State *L) {
  int rc = mg_command_step(check_command(L, 1));
  if (rc < 0) return luaL_error(L, "not enough memory");
  lua_pushboolean(L, rc);
  return 1;
}

/* c:fd() -> the descriptor that is readable when c:step() has something to do, and whether it tells of the end, too */
static int l_fd(lua_State *L) {
  mg_command *c = check_command(L, 1);
  lua_pushinteger(L, c->epoll);
  lua_pushboolean(L, c->watch >= 0);
  return 2;
}

/* c:kill(signal): to its whole group */
static int l_kill(lua_State *L) {
  mg_command_kill(check_command(L, 1), (int)luaL_checkinteger(L, 2));
  return 0;
}

/* c:result() -> code | nil, signal | nil, out, err, the descriptor that has exceeded the limit | nil; of one that is
 * over.  Neither code nor signal: the program has waited for it */
static int l_result(lua_State *L) {
  mg_command *c = check_command(L, 1);
  if (c->how.known && c->how.signal == 0) lua_pushinteger(L, c->how.code);
  else luaL_pushfail(L);
  if (c->how.signal) lua_pushinteger(L, c->how.signal);
  else luaL_pushfail(L);
  for (int i = 1; i < 3; i++) lua_pushlstring(L, c->kept[i].at ? c->kept[i].at : "", c->kept[i].length);
  if (c->exceeded) lua_pushinteger(L, c->exceeded);
  else luaL_pushfail(L);
  return 5;
}

/* c:close(): kills what still runs; may be called twice */
static int l_close(lua_State *L) {
  mg_command_close(luaL_checkudata(L, 1, MG_COMMAND_TYPE));
  return 0;
}

/* keeper_rest(): ends the keeper where it has nothing to keep */
static int l_keeper_rest(lua_State *L) {
  (void)L;
  mg_keeper_rest();
  return 0;
}

/* keep_group() -> true | nil, message, errno: what this process starts from now on dies with it, also where it is
 * killed; it must lead a group of its own */
static int l_keep_group(lua_State *L) {
  static unsigned kept; /* the process that has said so */
  int rc = kept == mg_process_serial ? 0 : mg_keeper_add(mg_pid());
  if (rc < 0) return mg_lua_fail(L, "cannot watch over what is started", rc);
  kept = mg_process_serial;
  lua_pushboolean(L, 1);
  return 1;
}

/* kill(pid, signal): of a child of this process, or of a child of such */
static int l_kill_child(lua_State *L) {
  lua_Integer pid = luaL_checkinteger(L, 1);
  luaL_argcheck(L, pid > 1 && pid <= INT32_MAX, 1, "the number of a process expected");
  mg_sys.kill_other((pid_t)pid, (int)luaL_checkinteger(L, 2));
  return 0;
}

/* link(path) -> where a symbolic link leads | nil: it is none, or a very long one */
static int l_link(lua_State *L) {
  char to[4096];
  ssize_t n = mg_sys.read_link(luaL_checkstring(L, 1), to, sizeof to);
  if (n < 0 || n == sizeof to) luaL_pushfail(L);
  else lua_pushlstring(L, to, (size_t)n);
  return 1;
}

static const luaL_Reg functions[] = {
    {"command", l_command}, {"keeper_rest", l_keeper_rest}, {"keep_group", l_keep_group}, {"kill", l_kill_child},
    {"link", l_link}, {NULL, NULL},
};

static const luaL_Reg methods[] = {
    {"step", l_step}, {"fd", l_fd}, {"kill", l_kill}, {"result", l_result}, {"close", l_close}, {"__gc", l_close},
    {"__close", l_close}, {NULL, NULL},
};

void mg_command_setup(lua_State *L) {
  mg_method_type(L, MG_COMMAND_TYPE, methods);
  luaL_setfuncs(L, functions, 0);
}
