/* lua_server.c - what a server's master needs: sockets that listen, descriptors, users, a program executed anew,
 * notices for the service manager.  Descriptors are numbers here; the Lua side (supervisor/) owns them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "core/listen.h"
#include "core/proc.h"
#include "lua_connection.h"

extern char **environ; /* NOLINT: libc's own name */

static int answer(lua_State *L, const char *what, int rc) {
  if (rc < 0) return mg_lua_fail(L, what, rc);
  lua_pushinteger(L, rc);
  return 1;
}

/* --- addresses --------------------------------------------------------------------------------------------------- */

int mg_unix_address(const char *path, size_t n, mg_address *out) {
  struct sockaddr_un *un = (struct sockaddr_un *)&out->at;
  memset(out, 0, sizeof *out);
  if (n >= sizeof un->sun_path) return -ENAMETOOLONG;
  un->sun_family = AF_UNIX;
  memcpy(un->sun_path, path, n);
  if (path[0] == '@') un->sun_path[0] = 0;
  out->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (path[0] != '@'));
  return 0;
}

/* host, port, "inet" | "inet6"; or path, nil, "unix" */
int mg_push_address(lua_State *L, const mg_address *a) {
  char text[INET6_ADDRSTRLEN] = "";
  const struct sockaddr_un *un = (const struct sockaddr_un *)&a->at;
  const struct sockaddr_in *in = (const struct sockaddr_in *)&a->at;
  const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->at;
  if (a->at.ss_family == AF_UNIX) {
    size_t head = offsetof(struct sockaddr_un, sun_path), n = a->length > head ? a->length - head : 0;
    if (n > 0 && un->sun_path[0] == 0) lua_pushfstring(L, "@%s", lua_pushlstring(L, un->sun_path + 1, n - 1));
    else lua_pushlstring(L, un->sun_path, strnlen(un->sun_path, n));
    lua_pushnil(L);
    lua_pushliteral(L, "unix");
    return 3;
  }
  int v6 = a->at.ss_family == AF_INET6;
  inet_ntop(a->at.ss_family, v6 ? (const void *)&in6->sin6_addr : (const void *)&in->sin_addr, text, sizeof text);
  lua_pushstring(L, text);
  lua_pushinteger(L, ntohs(v6 ? in6->sin6_port : in->sin_port));
  lua_pushstring(L, v6 ? "inet6" : "inet");
  return 3;
}

/* listen(host, port, backlog) -> fd; listen(path, nil, backlog) -> fd, device, inode (0: it has no file) | nil,
 * message, errno */
static int l_listen(lua_State *L) {
  mg_address at;
  mg_file file;
  size_t n;
  const char *where = luaL_checklstring(L, 1, &n);
  int rc;
  if (lua_isnil(L, 2)) rc = mg_unix_address(where, n, &at);
  else rc = mg_sys.resolve(where, luaL_checkstring(L, 2), &at);
  if (rc == -ENXIO) {
    luaL_pushfail(L);
    lua_pushliteral(L, "there is no address of that name");
    lua_pushinteger(L, ENXIO);
    return 3;
  }
  if (rc == 0) rc = mg_listen(&at, MG_STREAM, -1, (int)luaL_checkinteger(L, 3), &file);
  if (rc < 0) return mg_lua_reason(L, rc);
  lua_pushinteger(L, rc);
  lua_pushinteger(L, (lua_Integer)file.device);
  lua_pushinteger(L, (lua_Integer)file.inode);
  return 3;
}

/* unlisten(path, device, inode): removes a socket's file, if it is that one */
static int l_unlisten(lua_State *L) {
  mg_file file = {.device = (uint64_t)luaL_checkinteger(L, 2), .inode = (uint64_t)luaL_checkinteger(L, 3)};
  return answer(L, "cannot remove a socket's file", mg_listen_remove(luaL_checkstring(L, 1), &file));
}

/* path_id(path) -> device, inode | nil, message, errno */
static int l_path_id(lua_State *L) {
  mg_file is;
  int rc = mg_sys.path_facts(luaL_checkstring(L, 1), &is);
  if (rc < 0) return mg_lua_fail(L, "cannot look at a file", rc);
  lua_pushinteger(L, (lua_Integer)is.device);
  lua_pushinteger(L, (lua_Integer)is.inode);
  return 2;
}

/* backlog(fd, n): how many connections may wait from now on */
static int l_backlog(lua_State *L) {
  return answer(L, "cannot set a backlog", mg_sys.listen(mg_check_fd(L, 1), (int)luaL_checkinteger(L, 2)));
}

/* socket_name(fd) -> as of mg_push_address | nil, message, errno */
static int l_socket_name(lua_State *L) {
  mg_address at;
  int rc = mg_sys.socket_name(mg_check_fd(L, 1), 0, &at);
  return rc < 0 ? mg_lua_fail(L, "cannot tell a socket's address", rc) : mg_push_address(L, &at);
}

/* is_listening(fd) -> whether it is a stream socket that listens; then it does not block from now on */
static int l_is_listening(lua_State *L) {
  lua_pushboolean(L, mg_sys.is_listening(mg_check_fd(L, 1)) > 0);
  return 1;
}

/* notify(path, text) -> 0 | nil, message, errno: a datagram to a Unix socket */
static int l_notify(lua_State *L) {
  mg_address at;
  size_t n, length;
  const char *path = luaL_checklstring(L, 1, &n), *text = luaL_checklstring(L, 2, &length);
  int rc = mg_unix_address(path, n, &at), fd = rc < 0 ? rc : mg_sys.socket(AF_UNIX, MG_DATAGRAMS);
  if (fd >= 0) {
    rc = mg_sys.connect(fd, &at);
    ssize_t sent = rc < 0 ? rc : mg_sys.send(fd, text, length);
    rc = sent < 0 ? (int)sent : 0;
    mg_sys.close(fd);
  } else {
    rc = fd;
  }
  return answer(L, "cannot tell the service manager", rc);
}

/* --- descriptors -------------------------------------------------------------------------------------------------- */

/* pipe(neither) -> the end to read from, which does not block, the end to write to | nil, message, errno.  neither: a
 * write does not block either, it fails where the pipe is full */
static int l_pipe(lua_State *L) {
  int ends[2] = {-1, -1}, rc = mg_sys.lifeline(ends);
  if (rc == 0) rc = mg_sys.do_not_block(ends[0]);
  if (rc == 0 && lua_toboolean(L, 1)) rc = mg_sys.do_not_block(ends[1]);
  if (rc < 0) mg_shut(&ends[0]), mg_shut(&ends[1]);
  if (rc < 0) return mg_lua_fail(L, "cannot make a pipe", rc);
  lua_pushinteger(L, ends[0]);
  lua_pushinteger(L, ends[1]);
  return 2;
}

/* event() -> a descriptor that is readable after event_ring(fd), until event_clear(fd) | nil, message, errno */
static int l_event(lua_State *L) { return answer(L, "cannot make an event", mg_sys.eventfd()); }

static int l_event_ring(lua_State *L) {
  static const uint64_t one = 1;
  mg_sys.write(mg_check_fd(L, 1), &one, sizeof one);
  return 0;
}

static int l_event_clear(lua_State *L) {
  uint64_t n;
  mg_sys.read(mg_check_fd(L, 1), &n, sizeof n);
  return 0;
}

/* read_fd(fd) -> bytes, "" at the end | nil, message, errno */
static int l_read(lua_State *L) {
  char part[8192];
  ssize_t n;
  do n = mg_sys.read(mg_check_fd(L, 1), part, sizeof part);
  while (n == -EINTR);
  if (n < 0) return mg_lua_fail(L, "cannot read", (int)n);
  lua_pushlstring(L, part, (size_t)n);
  return 1;
}

/* write_fd(fd, bytes) -> n | nil, message, errno: into a pipe or file */
static int l_write(lua_State *L) {
  size_t n;
  const char *from = luaL_checklstring(L, 2, &n);
  ssize_t r;
  do r = mg_sys.write_pipe(mg_check_fd(L, 1), from, n);
  while (r == -EINTR);
  return answer(L, "cannot write", (int)r);
}

/* shut(fd): closes it */
static int l_shut(lua_State *L) {
  int fd = mg_check_fd(L, 1);
  mg_shut(&fd);
  return 0;
}

/* copy_fd(fd) -> another descriptor of the same socket | nil, message, errno */
static int l_copy(lua_State *L) { return answer(L, "cannot copy a descriptor", mg_sys.copy(mg_check_fd(L, 1))); }

/* print_into(fd, [which]): standard output (1), standard error (2, the default) or both (3) go there */
static int l_print_into(lua_State *L) {
  int which = (int)luaL_optinteger(L, 2, 2);
  return answer(L, "cannot print there", mg_sys.print_into(mg_check_fd(L, 1), which & 1, which & 2));
}

/* --- programs and users ------------------------------------------------------------------------------------------- */

/* The array of strings at idx as execve wants it; lives as long as what it leaves on the stack. */
static char **push_list(lua_State *L, int idx) {
  size_t n = (size_t)luaL_len(L, idx);
  char **list = lua_newuserdatauv(L, (n + 1) * sizeof(char *), 0);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, idx, (lua_Integer)i + 1);
    list[i] = (char *)(uintptr_t)luaL_checkstring(L, -1); /* the table keeps it */
    lua_pop(L, 1);
  }
  list[n] = NULL;
  return list;
}

/* Default signals, none blocked, and no signal at the parent's death: as a program expects to be started. */
static void reset_process(void) {
  sigset_t none;
  sigemptyset(&none);
  for (int sig = 1; sig < 32; sig++)
    if (!mg_is_handled_by(sig, SIG_DFL)) mg_sys.handle_signal(sig, SIG_DFL);
  mg_sys.set_signals(&none);
  mg_sys.parent_death_signal(0);
}

/* execute(path, argv, environment, fds) -> nil, message, errno: becomes that program, which has these descriptors
 * beside 0, 1 and 2 */
static int l_execute(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  for (int i = 2; i <= 4; i++) luaL_checktype(L, i, LUA_TTABLE);
  char **argv = push_list(L, 2), **envp = push_list(L, 3);
  int rc = 0;
  for (lua_Integer i = 1; rc >= 0 && i <= luaL_len(L, 4); i++) {
    lua_rawgeti(L, 4, i);
    rc = mg_sys.inherit((int)lua_tointeger(L, -1), 1);
    lua_pop(L, 1);
  }
  reset_process();
  if (rc >= 0) rc = mg_sys.execute(path, argv, envp);
  return mg_lua_fail(L, "cannot execute the program", rc);
}

/* environment() -> array of "NAME=value" */
static int l_environment(lua_State *L) {
  lua_newtable(L);
  for (lua_Integer i = 0; environ && environ[i]; i++) {
    lua_pushstring(L, environ[i]);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* user(name) -> user's number, number of its group | nil, message, errno (ENOENT: there is none) */
static int l_user(lua_State *L) {
  mg_user found;
  int rc = mg_sys.find_user(luaL_checkstring(L, 1), &found);
  if (rc < 0) return mg_lua_fail(L, "cannot look a user up", rc);
  lua_pushinteger(L, found.user);
  lua_pushinteger(L, found.group);
  return 2;
}

/* group(name) -> its number | nil, message, errno */
static int l_group(lua_State *L) {
  gid_t found;
  int rc = mg_sys.find_group(luaL_checkstring(L, 1), &found);
  if (rc < 0) return mg_lua_fail(L, "cannot look a group up", rc);
  lua_pushinteger(L, found);
  return 1;
}

/* die_with_parent(parent) -> whether that is still this process's parent: from now on its death kills this one.  It has
 * a group of its own, so that a terminal's signals are the parent's alone, and reads nothing from standard input. */
static int l_die_with_parent(lua_State *L) {
  lua_Integer parent = luaL_checkinteger(L, 1);
  mg_sys.parent_death_signal(SIGKILL);
  mg_sys.new_group();
  mg_sys.null_stdin();
  lua_pushboolean(L, mg_parent_pid() == parent);
  return 1;
}

/* become(user | nil, group, name | nil) -> 0 | nil, message, errno; the parent's death still ends this process */
static int l_become(lua_State *L) {
  mg_user to = {.user = (uid_t)luaL_optinteger(L, 1, -1), .group = (gid_t)luaL_checkinteger(L, 2),
                .name = luaL_optstring(L, 3, NULL)};
  pid_t parent = mg_parent_pid();
  int rc = mg_sys.become_user(&to);
  if (rc < 0) return mg_lua_fail(L, "cannot become that user", rc);
  mg_sys.parent_death_signal(SIGKILL); /* the kernel has forgotten it */
  if (mg_parent_pid() != parent) mg_exit_now(1);
  return answer(L, "", 0);
}

/* end_child(pid): kills a child and waits for it, unless the program has */
static int l_end_child(lua_State *L) {
  lua_Integer pid = luaL_checkinteger(L, 1);
  luaL_argcheck(L, pid > 1 && pid <= INT32_MAX, 1, "the number of a child expected");
  mg_sys.kill_wait((pid_t)pid);
  return 0;
}

/* limit_descriptors(n) -> 0 | nil, message, errno: this process opens descriptors below n only, from now on */
static int l_limit_descriptors(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 1);
  luaL_argcheck(L, n > 2 && n <= 1 << 20, 1, "3 to 1048576 descriptors expected");
  return answer(L, "cannot limit the descriptors", mg_sys.limit_descriptors((unsigned)n));
}

/* memory(pid) -> bytes that a process has in use | nil, message, errno */
static int l_memory(lua_State *L) {
  int64_t bytes = mg_sys.memory_of((pid_t)luaL_checkinteger(L, 1));
  if (bytes < 0) return mg_lua_fail(L, "cannot tell a process's memory", (int)bytes);
  lua_pushinteger(L, bytes);
  return 1;
}

/* parent() -> the number of this process's parent */
static int l_parent(lua_State *L) {
  lua_pushinteger(L, mg_parent_pid());
  return 1;
}

static const luaL_Reg functions[] = {
    {"listen", l_listen}, {"unlisten", l_unlisten}, {"path_id", l_path_id}, {"backlog", l_backlog},
    {"socket_name", l_socket_name}, {"is_listening", l_is_listening}, {"notify", l_notify}, {"pipe", l_pipe},
    {"event", l_event}, {"event_ring", l_event_ring}, {"event_clear", l_event_clear}, {"read_fd", l_read},
    {"write_fd", l_write}, {"shut", l_shut}, {"copy_fd", l_copy}, {"print_into", l_print_into}, {"execute", l_execute},
    {"environment", l_environment}, {"user", l_user}, {"group", l_group}, {"become", l_become}, {"memory", l_memory},
    {"die_with_parent", l_die_with_parent}, {"limit_descriptors", l_limit_descriptors},
    {"parent", l_parent}, {"end_child", l_end_child}, {NULL, NULL},
};

void mg_server_setup(lua_State *L) { luaL_setfuncs(L, functions, 0); }
