/* lua_screen.c - the whole screen of this process's terminal (core/screen.h), and files that others look at: a page of
 * figures, which its process has as its own while it lives; lines of a log. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "core/relay.h"
#include "core/screen.h"
#include "lua_mg.h"

#define PAGE "minigun.page"

/* --- the screen --------------------------------------------------------------------------------------------------- */

/* screen_open() -> true | nil, message, errno */
static int l_open(lua_State *L) {
  int rc = mg_screen_open();
  if (rc < 0) return mg_lua_fail(L, "cannot have the whole screen of the terminal", rc);
  lua_pushboolean(L, 1);
  return 1;
}

/* screen_check() -> whether it is shown, and whether that is only from now on: all is to be drawn anew */
static int l_check(lua_State *L) {
  int state = mg_screen_check();
  lua_pushboolean(L, state > 0);
  lua_pushboolean(L, state == 2);
  return 2;
}

/* screen_size() -> columns, rows; zeros: the terminal does not know */
static int l_size(lua_State *L) {
  unsigned columns = 0, rows = 0;
  mg_sys.screen_size(mg_screen_fd(), &columns, &rows);
  lua_pushinteger(L, columns);
  lua_pushinteger(L, rows);
  return 2;
}

/* screen_write(bytes, [after]) -> bytes that it has taken of those after the first `after`: it does not wait
 * | nil, message, errno */
static int l_write(lua_State *L) {
  size_t n;
  const char *bytes = luaL_checklstring(L, 1, &n);
  size_t after = (size_t)luaL_optinteger(L, 2, 0);
  luaL_argcheck(L, after <= n, 2, "out of range");
  ssize_t wrote = mg_sys.write(mg_screen_fd(), bytes + after, n - after);
  if (wrote == -EAGAIN || wrote == -EINTR) wrote = 0;
  if (wrote < 0) return mg_lua_fail(L, "cannot draw", (int)wrote);
  lua_pushinteger(L, wrote);
  return 1;
}

/* screen_read() -> what was typed, "" for nothing | nil: the terminal is gone */
static int l_read(lua_State *L) {
  char keys[256];
  ssize_t got = mg_sys.read(mg_screen_fd(), keys, sizeof keys);
  if (got < 0 && got != -EAGAIN && got != -EINTR) return luaL_pushfail(L), 1;
  lua_pushlstring(L, keys, got > 0 ? (size_t)got : 0);
  return 1;
}

/* screen_keep(from, out | -1, err | -1): see mg_screen_keep; screen_keep(-1, -1, -1): nothing is kept */
static int l_keep(lua_State *L) {
  mg_screen_keep((int)luaL_checkinteger(L, 1), (int)luaL_checkinteger(L, 2), (int)luaL_checkinteger(L, 3));
  return 0;
}

/* screen_close() */
static int l_close(lua_State *L) {
  (void)L;
  mg_screen_close();
  return 0;
}

/* --- pages -------------------------------------------------------------------------------------------------------- */

typedef struct page { /* its user value is the path */
  int fd;
  unsigned serial; /* the process that it belongs to */
} page;

/* page(path) -> page: a new file, this process's own | nil, message, errno */
static int l_page(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  page *p = lua_newuserdatauv(L, sizeof *p, 1);
  p->fd = -1;
  p->serial = mg_process_own();
  luaL_setmetatable(L, PAGE);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  mg_sys.remove_file(path); /* of a process that had this number before */
  int rc = p->fd = mg_sys.make_file(path);
  if (rc >= 0) rc = mg_sys.own_file(p->fd, 1);
  if (rc < 0) return mg_shut(&p->fd), mg_lua_fail(L, "cannot make the page of figures", rc);
  return 1;
}

/* p:write(bytes) -> true | nil, message, errno: the whole of its contents from now on */
static int l_page_write(lua_State *L) {
  page *p = luaL_checkudata(L, 1, PAGE);
  size_t n;
  const char *bytes = luaL_checklstring(L, 2, &n);
  ssize_t rc = p->serial == mg_process_serial ? mg_sys.write_at(p->fd, bytes, n, 0) : -EBADF;
  if (rc < 0) return mg_lua_fail(L, "cannot write the page of figures", (int)rc);
  lua_pushboolean(L, 1);
  return 1;
}

/* p:close(): it is gone */
static int l_page_close(lua_State *L) {
  page *p = luaL_checkudata(L, 1, PAGE);
  if (p->fd < 0) return 0;
  lua_getiuservalue(L, 1, 1);
  if (p->serial == mg_process_serial) mg_sys.remove_file(lua_tostring(L, -1));
  mg_shut(&p->fd);
  return 0;
}

/* is_owned(path) -> whether a process has it as its own | nil, message, errno */
static int l_is_owned(lua_State *L) {
  int fd = mg_sys.open_file(luaL_checkstring(L, 1), MG_OPEN_READ), rc = fd;
  if (fd >= 0) rc = mg_sys.is_owned(fd);
  mg_shut(&fd);
  if (rc < 0) return mg_lua_fail(L, "cannot look whether a file is a process's own", rc);
  lua_pushboolean(L, rc);
  return 1;
}

/* make_directory(path) -> true | nil, message, errno (EPERM: others can write there) */
static int l_make_directory(lua_State *L) {
  int rc = mg_sys.make_directory(luaL_checkstring(L, 1));
  if (rc < 0) return mg_lua_fail(L, "cannot make a directory for this user alone", rc);
  lua_pushboolean(L, 1);
  return 1;
}

/* list_directory(path) -> array of names | nil, message, errno */
static int l_list_directory(lua_State *L) {
  enum { ROOM = 1 << 16 };
  const char *path = luaL_checkstring(L, 1);
  char *names = lua_newuserdatauv(L, ROOM, 0);
  ssize_t n = mg_sys.list_directory(path, names, ROOM);
  if (n < 0) return mg_lua_fail(L, "cannot list a directory", (int)n);
  lua_newtable(L);
  lua_Integer count = 0;
  for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1) {
    lua_pushstring(L, names + at);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

/* --- the log ------------------------------------------------------------------------------------------------------ */

/* append_file(path) -> fd | nil, message, errno */
static int l_append_file(lua_State *L) {
  int rc = mg_sys.open_file(luaL_checkstring(L, 1), MG_OPEN_APPEND | MG_OPEN_CREATE | MG_OPEN_FOLLOW);
  if (rc < 0) return mg_lua_fail(L, "cannot open the log file", rc);
  lua_pushinteger(L, rc);
  return 1;
}

/* log_fd() -> a worker's descriptor for messages of the log | nil: it has none */
static int l_log_fd(lua_State *L) {
  if (mg_relay_log() < 0) return luaL_pushfail(L), 1;
  lua_pushinteger(L, mg_relay_log());
  return 1;
}

/* The lock of lines, waiting at most until a time; where it cannot be had, the line is written without it. */
static int lock_line(int fd, uint64_t until) {
  for (;;) {
    int rc = mg_sys.lock_line(fd, until == UINT64_MAX ? MG_LINE_LOCK : MG_LINE_TRY);
    if (rc != -EINTR && rc != -EAGAIN && rc != -EACCES) return 0;
    if (rc != -EINTR && mg_now() >= until) return -ETIMEDOUT;
    if (rc != -EINTR) mg_sys.poll(NULL, 0, 1);
  }
}

/* Waits until a line can go at once: a reader that then takes nothing more has none of it, or all.  One that is longer
 * than the pipe goes in parts. */
static int wait_for_room(int fd, size_t n, uint64_t until) {
  size_t most = 0;
  while (n > PIPE_BUF && mg_sys.write_room(fd, &most) < (ssize_t)n && n <= most) {
    if (mg_now() >= until) return -ETIMEDOUT;
    mg_sys.poll(NULL, 0, 1);
  }
  return 0;
}

/* As much as does not make this process wait: a pipe that is ready has room for PIPE_BUF bytes. */
static ssize_t write_part(int fd, const char *from, size_t n, uint64_t until) {
  struct pollfd ready = {.fd = fd, .events = POLLOUT};
  uint64_t now = until == UINT64_MAX ? 0 : mg_now();
  int ms = until == UINT64_MAX ? -1 : until <= now ? 0 : (int)((until - now) / 1000000 + 1);
  size_t most = 0;
  int rc = mg_sys.poll(&ready, 1, ms);
  if (rc <= 0) return rc < 0 ? rc : -ETIMEDOUT;
  ssize_t room = mg_sys.write_room(fd, &most);
  if (room < PIPE_BUF) room = PIPE_BUF;
  return mg_sys.write_pipe(fd, from, n < (size_t)room ? n : (size_t)room);
}

/* write_line(fd, bytes, [seconds]) -> true | nil, message, errno, whether a part of it is written: all of it, and
 * nothing of other processes that do the same in between. Waits so long for a reader that takes it, ETIMEDOUT then;
 * without end where nothing is said. */
static int l_write_line(lua_State *L) {
  size_t n, left;
  int fd = mg_check_fd(L, 1);
  const char *from = luaL_checklstring(L, 2, &n);
  lua_Number seconds = luaL_optnumber(L, 3, -1);
  uint64_t until = seconds < 0 ? UINT64_MAX : mg_now() + (uint64_t)(seconds * 1e9);
  ssize_t wrote = lock_line(fd, until);
  int locked = wrote == 0;
  if (locked && seconds >= 0) wrote = wait_for_room(fd, n, until);
  for (left = n; left > 0 && (wrote >= 0 || wrote == -EINTR || wrote == -EAGAIN);) {
    wrote = write_part(fd, from + n - left, left, until);
    if (wrote > 0) left -= (size_t)wrote;
  }
  if (locked) mg_sys.lock_line(fd, MG_LINE_UNLOCK);
  if (wrote >= 0) return lua_pushboolean(L, 1), 1;
  int pushed = mg_lua_fail(L, "cannot write to the log", (int)wrote);
  lua_pushboolean(L, left < n);
  return pushed + 1;
}

void mg_screen_setup(lua_State *L) {
  static const luaL_Reg page_methods[] = {{"write", l_page_write}, {"close", l_page_close}, {"__gc", l_page_close},
                                          {"__close", l_page_close}, {NULL, NULL}};
  static const luaL_Reg functions[] = {
      {"screen_open", l_open}, {"screen_check", l_check}, {"screen_size", l_size}, {"screen_write", l_write},
      {"screen_read", l_read}, {"screen_close", l_close}, {"screen_keep", l_keep}, {"page", l_page},
      {"is_owned", l_is_owned},
      {"make_directory", l_make_directory}, {"list_directory", l_list_directory}, {"append_file", l_append_file},
      {"log_fd", l_log_fd}, {"write_line", l_write_line}, {NULL, NULL}};
  mg_method_type(L, PAGE, page_methods);
  luaL_setfuncs(L, functions, 0);
}
