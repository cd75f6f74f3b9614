/* unruly.c - a Lua module for specs: what a handler or a program beside the run can do that plain Lua cannot.
 *
 *   unruly.kill(pid, signal) -> true | nil, message
 *   unruly.fork() -> pid, 0 in the child
 *   unruly.leave(code)          _exit
 *   unruly.close_from(fd)       closes every descriptor from fd on
 *   unruly.fault()              ends by SIGSEGV
 *   unruly.handler(signal)      which function handles the signal in this process, as a number
 *   unruly.pause(seconds)       sleeps through signals
 *   unruly.wait(pid) -> code | nil, signal
 *   unruly.exit(code)           exit of C, as a library would call it
 *   unruly.reaper()             waits for all children whenever one ends, as servers do
 *   unruly.pipe() -> fd to read from, fd to write to; unruly.read(fd) -> bytes | nil: nothing there, or the end;
 *   unruly.write(fd, bytes), unruly.close(fd)
 *   unruly.knock(path) -> fd    connects to a socket that keeps packets apart, and says nothing
 *   unruly.redirect(fd, to)     to is what fd is
 *   unruly.block(signal, boolean), unruly.blocked() -> how many signals are blocked
 *   unruly.run(words, environment, seconds, input, output, errors) -> status
 *                               runs a program, see below
 *   unruly.catch(signal)        counts it, and unruly.caught() -> how many have come; unruly.ignore(signal)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int l_kill(lua_State *L) {
  if (kill((pid_t)luaL_checkinteger(L, 1), (int)luaL_checkinteger(L, 2)) == 0) return lua_pushboolean(L, 1), 1;
  return luaL_pushfail(L), lua_pushstring(L, strerror(errno)), 2;
}

static int l_fork(lua_State *L) { return lua_pushinteger(L, fork()), 1; }

static int l_leave(lua_State *L) { _exit((int)luaL_checkinteger(L, 1)); }

static int l_close_from(lua_State *L) {
  for (int fd = (int)luaL_checkinteger(L, 1); fd < 1024; fd++) close(fd);
  return 0;
}

static int l_fault(lua_State *L) {
  (void)L;
  signal(SIGSEGV, SIG_DFL); /* a sanitizer would write a report */
  raise(SIGSEGV);
  return 0;
}

static int l_handler(lua_State *L) {
  struct sigaction sa;
  if (sigaction((int)luaL_checkinteger(L, 1), NULL, &sa) < 0) return luaL_error(L, "sigaction: %s", strerror(errno));
  lua_Integer address = 0;
  memcpy(&address, &sa.sa_handler, sizeof sa.sa_handler);
  return lua_pushinteger(L, address), 1;
}

static int l_pipe(lua_State *L) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return luaL_error(L, "pipe: %s", strerror(errno));
  return lua_pushinteger(L, ends[0]), lua_pushinteger(L, ends[1]), 2;
}

static int l_read(lua_State *L) {
  char bytes[4096];
  ssize_t n = read((int)luaL_checkinteger(L, 1), bytes, sizeof bytes);
  if (n <= 0) return 0;
  return lua_pushlstring(L, bytes, (size_t)n), 1;
}

static int l_write(lua_State *L) {
  size_t n;
  const char *bytes = luaL_checklstring(L, 2, &n);
  return lua_pushinteger(L, write((int)luaL_checkinteger(L, 1), bytes, n)), 1;
}

static int l_close(lua_State *L) { return lua_pushboolean(L, close((int)luaL_checkinteger(L, 1)) == 0), 1; }

static int l_redirect(lua_State *L) {
  return lua_pushboolean(L, dup2((int)luaL_checkinteger(L, 1), (int)luaL_checkinteger(L, 2)) >= 0), 1;
}

static int l_block(lua_State *L) {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, (int)luaL_checkinteger(L, 1));
  int how = lua_toboolean(L, 2) ? SIG_BLOCK : SIG_UNBLOCK;
  return lua_pushboolean(L, sigprocmask(how, &one, NULL) == 0), 1;
}

static int l_blocked(lua_State *L) {
  sigset_t now;
  int n = 0;
  sigprocmask(SIG_SETMASK, NULL, &now);
  for (int sig = 1; sig < NSIG; sig++) n += sigismember(&now, sig) == 1;
  return lua_pushinteger(L, n), 1;
}

static int l_pause(lua_State *L) {
  lua_Number s = luaL_checknumber(L, 1);
  struct timespec t = {(time_t)s, (long)((s - (lua_Number)(time_t)s) * 1e9)};
  while (nanosleep(&t, &t) < 0 && errno == EINTR) continue;
  return 0;
}

/* launch(script, clean): sh runs it as the leader of a process group, as a shell with job control starts a command.
 * clean: with the standard descriptors only */
static int l_launch(lua_State *L) {
  const char *script = luaL_checkstring(L, 1);
  pid_t pid = vfork(); /* a copy of a test's process would take longer than the program's start */
  if (pid < 0) return luaL_error(L, "vfork: %s", strerror(errno));
  if (pid == 0) {
    setpgid(0, 0);
    for (int fd = 3; lua_toboolean(L, 2) && fd < 1024; fd++) close(fd);
    for (int i = 1; i < 32; i++) signal(i, SIG_DFL); /* whatever the tests were started with */
    execl("/bin/sh", "sh", "-c", script, (char *)NULL);
    _exit(127);
  }
  setpgid(pid, pid);
  return lua_pushinteger(L, pid), 1;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Waits for a child, so many seconds at most. */
static bool ends_within(pid_t pid, double seconds, int *status) {
  double until = now() + seconds, left;
  struct pollfd end = {(int)syscall(SYS_pidfd_open, pid, 0), POLLIN, 0};
  bool ended;
  while (!(ended = waitpid(pid, status, WNOHANG) == pid) && (left = until - now()) > 0)
    poll(&end, 1, end.fd < 0 ? 5 : (int)(left * 1e3) + 1); /* an older kernel has no descriptors of processes */
  if (end.fd >= 0) close(end.fd);
  return ended;
}

/* The strings of the list at index, which they belong to, into `list`; returns how many. */
static int strings(lua_State *L, int index, const char **list) {
  int n = (int)luaL_len(L, index);
  for (int i = 0; i < n; i++) {
    lua_rawgeti(L, index, i + 1);
    list[i] = luaL_checkstring(L, -1);
    lua_pop(L, 1);
  }
  return n;
}

/* A userdata, left on the stack, with the environment of this process and the "NAME=value"s of the list at index. */
static const char **environment(lua_State *L, int index) {
  size_t inherited = 0;
  while (environ[inherited]) inherited++;
  const char **list = lua_newuserdatauv(L, (inherited + (size_t)luaL_len(L, index) + 1) * sizeof *list, 0);
  int own = strings(L, index, list), n = own;
  for (char **each = environ; *each; each++) {
    bool replaced = false;
    for (int i = 0; i < own; i++) replaced |= strncmp(list[i], *each, strcspn(*each, "=") + 1) == 0;
    if (!replaced) list[n++] = *each;
  }
  list[n] = NULL;
  return list;
}

/* run(words, environment, seconds, input, output, errors): runs a program of PATH as the leader of a process group,
 * with more environment, between files; without a copy of this process. Returns its status as a shell has it, 124 where
 * the time was over: its group gets SIGTERM then, and SIGKILL after its end, or a second later. */
static int l_run(lua_State *L) {
  const char *words[64] = {NULL};
  luaL_argcheck(L, luaL_len(L, 1) < 64, 1, "too many words");
  strings(L, 1, words);
  const char **env = environment(L, 2);
  double seconds = luaL_checknumber(L, 3);
  const char *paths[] = {luaL_checkstring(L, 4), luaL_checkstring(L, 5), luaL_checkstring(L, 6)};

  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  for (int fd = 0; fd < 3; fd++)
    posix_spawn_file_actions_addopen(&files, fd, paths[fd], fd == 0 ? O_RDONLY : O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  pid_t pid;
  int status, failed = posix_spawnp(&pid, words[0], &files, &attributes, (char **)words, (char **)env);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (failed) return luaL_error(L, "%s: %s", words[0], strerror(failed));

  if (!ends_within(pid, seconds, &status)) {
    kill(-pid, SIGTERM);
    if (!ends_within(pid, 1, &status)) kill(-pid, SIGKILL), waitpid(pid, &status, 0);
    kill(-pid, SIGKILL); /* what it has started and left */
    return lua_pushinteger(L, 124), 1;
  }
  return lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)), 1;
}

static int l_wait(lua_State *L) {
  int status;
  if (waitpid((pid_t)luaL_checkinteger(L, 1), &status, 0) < 0) return luaL_error(L, "waitpid: %s", strerror(errno));
  if (WIFEXITED(status)) return lua_pushinteger(L, WEXITSTATUS(status)), 1;
  return luaL_pushfail(L), lua_pushinteger(L, WTERMSIG(status)), 2;
}

static int l_knock(lua_State *L) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  strncpy(at.sun_path, luaL_checkstring(L, 1), sizeof at.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0) return lua_pushinteger(L, fd), 1;
  close(fd);
  return luaL_pushfail(L), lua_pushstring(L, strerror(errno)), 2;
}

static int l_exit(lua_State *L) {
  exit((int)luaL_checkinteger(L, 1));
}

static int set_handler(lua_State *L, int sig, void (*handler)(int)) {
  struct sigaction sa;
  memset(&sa, 0, sizeof sa);
  sa.sa_handler = handler;
  sa.sa_flags = SA_RESTART;
  return lua_pushboolean(L, sigaction(sig, &sa, NULL) == 0), 1;
}

static void reap_all(int sig) {
  int saved = errno;
  (void)sig;
  while (waitpid(-1, NULL, WNOHANG) > 0) continue;
  errno = saved;
}

static int l_reaper(lua_State *L) { return set_handler(L, SIGCHLD, reap_all); }

static volatile sig_atomic_t caught;
static void count(int sig) { caught += sig > 0; }

static int l_catch(lua_State *L) { return set_handler(L, (int)luaL_checkinteger(L, 1), count); }
static int l_caught(lua_State *L) { return lua_pushinteger(L, caught), 1; }
static int l_ignore(lua_State *L) { return set_handler(L, (int)luaL_checkinteger(L, 1), SIG_IGN); }

static const luaL_Reg functions[] = {
    {"kill", l_kill},         {"fork", l_fork},   {"leave", l_leave}, {"close_from", l_close_from},
    {"fault", l_fault},       {"handler", l_handler}, {"pause", l_pause}, {"wait", l_wait},
    {"launch", l_launch},     {"exit", l_exit},   {"reaper", l_reaper}, {"catch", l_catch},
    {"caught", l_caught},     {"ignore", l_ignore},   {"pipe", l_pipe},
    {"read", l_read},         {"write", l_write}, {"close", l_close}, {"redirect", l_redirect}, {"block", l_block},
    {"blocked", l_blocked},   {"knock", l_knock}, {"run", l_run},   {NULL, NULL},
};

int luaopen_unruly(lua_State *L);
int luaopen_unruly(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}
