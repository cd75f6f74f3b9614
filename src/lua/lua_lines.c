/* lua_lines.c - what is known of the open files and iterators of Lua's own library: whether a call of them would wait,
 * and what file:lines() and io.lines() have returned.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "core/sys.h"
#include "lua_mg.h"

/* readable(path) -> true, whether it is a regular file | nil, message, errno */
static int l_readable(lua_State *L) {
  mg_file facts;
  int rc = mg_sys.path_facts(luaL_checkstring(L, 1), &facts);
  if (rc == 0 && facts.directory) rc = -EISDIR;
  if (rc < 0) return mg_lua_fail(L, "cannot read", rc);
  lua_pushboolean(L, 1);
  lua_pushboolean(L, facts.regular);
  return 2;
}

#define GLOB_TYPE "minigun.glob"

static int l_free_glob(lua_State *L) {
  mg_sys.glob_free(lua_touserdata(L, 1));
  return 0;
}

/* glob(pattern) -> array of the paths that match, sorted; those of directories end in a slash.  Raises where memory is
 * short. */
static int l_glob(lua_State *L) {
  const char *pattern = luaL_checkstring(L, 1);
  lua_settop(L, 1);
  glob_t *found = lua_newuserdatauv(L, sizeof *found, 0);
  memset(found, 0, sizeof *found);
  if (luaL_newmetatable(L, GLOB_TYPE)) {
    lua_pushcfunction(L, l_free_glob);
    lua_setfield(L, -2, "__close");
  }
  lua_setmetatable(L, 2);
  lua_toclose(L, 2);
  int rc = mg_sys.glob(pattern, found);
  if (rc < 0) return luaL_error(L, "cannot look for '%s': %s", pattern, strerror(-rc));
  lua_createtable(L, (int)found->gl_pathc, 0);
  for (size_t i = 0; i < found->gl_pathc; i++) {
    lua_pushstring(L, found->gl_pathv[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

/* file_of(iterator) -> the open file whose lines it reads, whether it reads whole lines, whether that is a regular file
 * | nil: it is not what io.lines or file:lines has returned, which is a C function with the file, the number of its
 * formats and a boolean. */
static int l_file_of(lua_State *L) {
  lua_settop(L, 1);
  if (!lua_iscfunction(L, 1) || !lua_getupvalue(L, 1, 1) || !mg_open_file(L, 2)) return luaL_pushfail(L), 1;
  if (!lua_getupvalue(L, 1, 2) || !lua_isinteger(L, 3)) return luaL_pushfail(L), 1;
  if (!lua_getupvalue(L, 1, 3) || !lua_isboolean(L, 4)) return luaL_pushfail(L), 1;
  lua_Integer formats = lua_tointeger(L, 3);
  const char *format = formats == 1 && lua_getupvalue(L, 1, 4) && lua_type(L, -1) == LUA_TSTRING
                           ? lua_tostring(L, -1) : formats == 0 ? "l" : "";
  format += *format == '*';
  int whole = *format == 'l' || *format == 'L';
  mg_file facts = {0};
  mg_sys.file_facts(fileno(mg_open_file(L, 2)), &facts);
  lua_pushvalue(L, 2);
  lua_pushboolean(L, whole);
  lua_pushboolean(L, facts.regular);
  return 3;
}

/* What has come: 0 nothing, 1 something, 2 the end, after what may still be there. */
static int has_come(FILE *f) {
  struct pollfd p = {.fd = fileno(f), .events = POLLIN | POLLRDHUP};
  int n = mg_sys.poll(&p, 1, 0);
  return n == 0 ? 0 : n < 0 || p.revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL) ? 2 : 1;
}

#define PEEK 65536 /* bytes that are looked at: as many as a pipe holds */

/* Whether a whole line has come, or the end, or as much as can be looked at.  Nothing is taken: what the C library has
 * read ahead, and in which buffer, is its own matter. */
static int line_has_come(FILE *f) {
  char bytes[PEEK];
  int full;
  ssize_t got = mg_sys.peek(fileno(f), bytes, sizeof bytes, &full);
  if (got == -EAGAIN) return 0;
  return got <= 0 || full || memchr(bytes, '\n', (size_t)got) != NULL;
}

/* would_wait(file, whole) -> whether to read from an open file would wait: nothing (no whole line) is read ahead, and
 * nothing (no whole line) has come; whether a part of a line has come, so that the descriptor tells nothing any more */
static int l_would_wait(lua_State *L) {
  FILE *f = mg_open_file(L, 1);
  const char *ahead = NULL;
  size_t n = f ? mg_file_ahead(f, &ahead) : 0;
  int whole = lua_toboolean(L, 2), ready = !f || fileno(f) < 0 || (n > 0 && (!whole || memchr(ahead, '\n', n)));
  int come = ready ? 1 : has_come(f);
  lua_pushboolean(L, !come || (!ready && whole && come == 1 && !line_has_come(f)));
  lua_pushboolean(L, come != 0);
  return 2;
}

static const luaL_Reg functions[] = {
    {"readable", l_readable}, {"file_of", l_file_of}, {"glob", l_glob}, {"would_wait", l_would_wait}, {NULL, NULL},
};

void mg_lines_setup(lua_State *L) { luaL_setfuncs(L, functions, 0); }
