/* lua_lines.c - userdata minigun.lines: whole lines out of a descriptor, without ever waiting for it; and what is known
 * of the iterators that file:lines() and io.lines() have returned.
 *
 * Whether there is something to read is asked by poll before each read, so nothing is changed of a descriptor that
 * other processes may have too.  A regular file always has.  Only one that is shared, and read by another process
 * between the two calls, can make the read wait.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/sys.h"
#include "lua_mg.h"

#define MG_LINES_TYPE "minigun.line_reader"

enum { PIECE = 65536 }; /* bytes of one read */
#define LONGEST ((size_t)1 << 30)

typedef struct mg_lines {
  int fd;                     /* -1: closed */
  int owned, regular, over;
  char *buffer;               /* [start, end) is read and not given, and without a newline up to `seen` */
  size_t room, start, end, seen, longest;
} mg_lines;

static void shut(mg_lines *r) {
  if (r->fd >= 0 && r->owned) mg_sys.close(r->fd);
  r->fd = -1;
  free(r->buffer);
  r->buffer = NULL;
  r->room = r->start = r->end = r->seen = 0;
}

/* Makes room for `more` bytes after what there is.  0 or -ENOMEM. */
static int make_room(mg_lines *r, size_t more) {
  if (r->start > 0) {
    memmove(r->buffer, r->buffer + r->start, r->end - r->start);
    r->end -= r->start;
    r->seen -= r->start;
    r->start = 0;
  }
  if (r->room - r->end >= more) return 0;
  size_t room = 2 * r->room > r->end + more ? 2 * r->room : r->end + more;
  char *bigger = realloc(r->buffer, room);
  if (!bigger) return -ENOMEM;
  r->buffer = bigger;
  r->room = room;
  return 0;
}

/* What the C library has read ahead of an open file comes first.  It is in memory: this does not wait. */
static int take_ahead(mg_lines *r, FILE *f) {
  size_t n = mg_file_ahead(f, NULL);
  int rc = n > 0 ? make_room(r, n) : 0;
  if (rc < 0 || n == 0) return rc;
  ssize_t got = mg_sys.read_ahead(f, r->buffer + r->end, n);
  if (got < 0) return (int)got;
  r->end += (size_t)got;
  return 0;
}

static FILE *open_file(lua_State *L, int arg) {
  luaL_Stream *s = luaL_testudata(L, arg, LUA_FILEHANDLE);
  return s && s->closef ? s->f : NULL;
}

/* lines(path | descriptor | open file | nil: standard input, longest line in bytes | nil) -> reader | nil, message,
 * errno.  Only what it has opened itself does it close. */
static int l_lines(lua_State *L) {
  int is_path = lua_type(L, 1) == LUA_TSTRING;
  FILE *f = lua_isnoneornil(L, 1) ? stdin : open_file(L, 1);
  lua_Integer given = is_path || f ? 0 : luaL_checkinteger(L, 1);
  lua_Integer longest = luaL_optinteger(L, 2, (lua_Integer)LONGEST);
  luaL_argcheck(L, given >= 0 && given <= INT32_MAX, 1, "a path, a descriptor or an open file expected");
  luaL_argcheck(L, longest > 0 && longest <= (lua_Integer)LONGEST, 2, "1 to 1073741824 bytes expected");
  mg_lines *r = lua_newuserdatauv(L, sizeof *r, 1);
  memset(r, 0, sizeof *r);
  r->fd = -1;
  r->longest = (size_t)longest;
  luaL_setmetatable(L, MG_LINES_TYPE);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1); /* an open file stays open as long as this is there */
  r->owned = is_path;
  r->fd = is_path ? mg_sys.open_file(lua_tostring(L, 1), MG_OPEN_READ | MG_OPEN_FOLLOW) : f ? fileno(f) : (int)given;
  mg_file facts;
  int rc = r->fd < 0 ? r->fd : mg_sys.file_facts(r->fd, &facts);
  if (rc == 0 && facts.directory) rc = -EISDIR;
  if (rc == 0 && f) rc = take_ahead(r, f);
  if (rc < 0) {
    shut(r);
    return mg_lua_fail(L, "cannot read", rc);
  }
  r->regular = facts.regular;
  return 1;
}

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

/* Reads a piece.  1; 0 where that would wait; -errno. */
static int read_piece(mg_lines *r) {
  int rc = make_room(r, PIECE);
  if (rc < 0) return rc;
  if (!r->regular) {
    struct pollfd p = {.fd = r->fd, .events = POLLIN};
    rc = mg_sys.poll(&p, 1, 0);
    if (rc > 0 && (p.revents & POLLNVAL)) rc = -EBADF;
    if (rc <= 0) return rc == -EINTR ? 0 : rc;
  }
  ssize_t n = mg_sys.read(r->fd, r->buffer + r->end, PIECE);
  if (n < 0) return n == -EINTR || n == -EAGAIN ? 0 : (int)n;
  r->end += (size_t)n;
  r->over = n == 0;
  return 1;
}

/* r:line() -> a line without its newline | false: that would wait | nil at the end | nil, message, errno */
static int l_line(lua_State *L) {
  mg_lines *r = luaL_checkudata(L, 1, MG_LINES_TYPE);
  if (r->fd < 0) return luaL_pushfail(L), 1;
  for (;;) {
    char *newline = r->end > r->seen ? memchr(r->buffer + r->seen, '\n', r->end - r->seen) : NULL;
    size_t stop = newline ? (size_t)(newline - r->buffer) : r->end;
    if (stop - r->start > r->longest) return mg_lua_fail(L, "a line is too long", -EMSGSIZE);
    if (newline || (r->over && stop > r->start)) {
      lua_pushlstring(L, r->buffer + r->start, stop - r->start);
      r->start = r->seen = stop + (newline != NULL);
      return 1;
    }
    r->seen = r->end;
    if (r->over) return luaL_pushfail(L), 1;
    int rc = read_piece(r);
    if (rc < 0) return mg_lua_fail(L, "cannot read", rc);
    if (rc == 0) return lua_pushboolean(L, 0), 1;
  }
}

/* r:fd() -> its descriptor | nil: it is closed */
static int l_fd(lua_State *L) {
  mg_lines *r = luaL_checkudata(L, 1, MG_LINES_TYPE);
  if (r->fd < 0) luaL_pushfail(L);
  else lua_pushinteger(L, r->fd);
  return 1;
}

/* r:close(); may be called twice */
static int l_close(lua_State *L) {
  shut(luaL_checkudata(L, 1, MG_LINES_TYPE));
  return 0;
}

/* file_of(iterator) -> the open file whose lines it reads, whether it reads whole lines, whether that is a regular file
 * | nil: it is not what io.lines or file:lines has returned, which is a C function with the file, the number of its
 * formats and a boolean. */
static int l_file_of(lua_State *L) {
  lua_settop(L, 1);
  if (!lua_iscfunction(L, 1) || !lua_getupvalue(L, 1, 1) || !open_file(L, 2)) return luaL_pushfail(L), 1;
  if (!lua_getupvalue(L, 1, 2) || !lua_isinteger(L, 3)) return luaL_pushfail(L), 1;
  if (!lua_getupvalue(L, 1, 3) || !lua_isboolean(L, 4)) return luaL_pushfail(L), 1;
  lua_Integer formats = lua_tointeger(L, 3);
  const char *format = formats == 1 && lua_getupvalue(L, 1, 4) && lua_type(L, -1) == LUA_TSTRING
                           ? lua_tostring(L, -1) : formats == 0 ? "l" : "";
  format += *format == '*';
  int whole = *format == 'l' || *format == 'L';
  mg_file facts = {0};
  mg_sys.file_facts(fileno(open_file(L, 2)), &facts);
  lua_pushvalue(L, 2);
  lua_pushboolean(L, whole);
  lua_pushboolean(L, facts.regular);
  return 3;
}

/* would_wait(file, whole) -> whether to read from an open file would wait: nothing (no whole line) is read ahead, and
 * nothing has come */
static int l_would_wait(lua_State *L) {
  FILE *f = open_file(L, 1);
  const char *ahead = NULL;
  size_t n = f ? mg_file_ahead(f, &ahead) : 0;
  struct pollfd p = {.fd = f ? fileno(f) : -1, .events = POLLIN};
  int ready = p.fd < 0 || (n > 0 && (!lua_toboolean(L, 2) || memchr(ahead, '\n', n)));
  lua_pushboolean(L, !ready && mg_sys.poll(&p, 1, 0) == 0);
  return 1;
}

static const luaL_Reg methods[] = {
    {"line", l_line}, {"fd", l_fd}, {"close", l_close}, {"__gc", l_close}, {"__close", l_close}, {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"lines", l_lines}, {"readable", l_readable}, {"file_of", l_file_of}, {"would_wait", l_would_wait}, {NULL, NULL},
};

void mg_lines_setup(lua_State *L) {
  mg_method_type(L, MG_LINES_TYPE, methods);
  luaL_setfuncs(L, functions, 0);
}
