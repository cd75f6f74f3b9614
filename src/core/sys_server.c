/* sys_server.c - the calls of mg_sys that servers need: sockets, users, executing a program anew. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sys_calls.h"

/* --- sockets ----------------------------------------------------------------------------------------------------- */

/* The first address of that name to listen at; -ENXIO where there is none. */
int mg_sys_resolve(const char *host, const char *port, mg_address *out) {
  struct addrinfo wanted = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
  wanted.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  int rc = getaddrinfo(host, port, &wanted, &list);
  if (rc == EAI_MEMORY) return -ENOMEM;
  if (rc == EAI_SYSTEM) return -errno;
  if (rc != 0) return -ENXIO;
  memset(out, 0, sizeof *out);
  out->length = list->ai_addrlen;
  memcpy(&out->at, list->ai_addr, list->ai_addrlen);
  freeaddrinfo(list);
  return 0;
}

/* None of them blocks. */
int mg_sys_socket(int family, int stream) {
  int kind = (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  return mg_above_standard(check(socket(family, kind, 0)));
}

int mg_sys_socket_option(int fd, int option) {
  static const struct { int level, name; } of[] = {
      {SOL_SOCKET, SO_REUSEADDR}, {IPPROTO_IPV6, IPV6_V6ONLY}, {IPPROTO_TCP, TCP_NODELAY}};
  int on = 1;
  return check(setsockopt(fd, of[option].level, of[option].name, &on, sizeof on));
}

int mg_sys_bind(int fd, const mg_address *to) { return check(bind(fd, (const struct sockaddr *)&to->at, to->length)); }
int mg_sys_listen(int fd, int backlog) { return check(listen(fd, backlog)); }

int mg_sys_accept(int fd) {
  return mg_above_standard(check(accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)));
}

int mg_sys_connect(int fd, const mg_address *to) {
  return check(connect(fd, (const struct sockaddr *)&to->at, to->length));
}

int mg_sys_socket_name(int fd, int of_peer, mg_address *out) {
  memset(out, 0, sizeof *out);
  out->length = sizeof out->at;
  struct sockaddr *at = (struct sockaddr *)&out->at;
  return check(of_peer ? getpeername(fd, at, &out->length) : getsockname(fd, at, &out->length));
}

/* Whether it is a stream socket that listens; it does not block from now on, and is closed by an execve. */
int mg_sys_is_listening(int fd) {
  int listens = 0, flags;
  socklen_t n = sizeof listens;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) < 0) return -errno;
  if (!listens) return 0;
  if ((flags = fcntl(fd, F_GETFL)) < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
  return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 1;
}

ssize_t mg_sys_send(int fd, const void *from, size_t n) {
  ssize_t r = send(fd, from, n, MSG_NOSIGNAL);
  return r < 0 ? -errno : r;
}

ssize_t mg_sys_receive(int fd, void *to, size_t n) {
  ssize_t r = recv(fd, to, n, 0);
  return r < 0 ? -errno : r;
}

int mg_sys_shutdown(int fd, int how) { return check(shutdown(fd, how)); }

/* Of several processes that wait for the same descriptor the kernel wakes one, or a few. */
int mg_sys_epoll_share(int ep, int fd, uint64_t tag) {
  struct epoll_event ev = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.u64 = tag};
  return check(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
}

int mg_sys_copy(int fd) { return check(fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)); }

/* --- programs and users ------------------------------------------------------------------------------------------ */

int mg_sys_inherit(int fd, int inherited) { return check(fcntl(fd, F_SETFD, inherited ? 0 : FD_CLOEXEC)); }

/* Returns only where it fails. */
int mg_sys_execute(const char *path, char *const *argv, char *const *envp) { return check(execve(path, argv, envp)); }

int mg_sys_remove_file(const char *path) { return check(unlink(path)); }

/* -ENOENT: there is none of that name. */
int mg_sys_find_user(const char *name, mg_user *out) {
  errno = 0;
  struct passwd *found = getpwnam(name);
  if (!found) return errno && errno != ESRCH ? -errno : -ENOENT;
  out->user = found->pw_uid;
  out->group = found->pw_gid;
  return 0;
}

int mg_sys_find_group(const char *name, gid_t *out) {
  errno = 0;
  struct group *found = getgrnam(name);
  if (!found) return errno && errno != ESRCH ? -errno : -ENOENT;
  *out = found->gr_gid;
  return 0;
}

/* Groups first: afterwards they cannot be changed any more. */
int mg_sys_become_user(const mg_user *to) {
  int rc = to->name ? initgroups(to->name, to->group) : setgroups(0, NULL);
  if (rc < 0 || setgid(to->group) < 0) return -errno;
  return to->user == (uid_t)-1 ? 0 : check(setuid(to->user));
}

/* From now on this process opens descriptors below `most` only; it may have had a lower limit already. */
int mg_sys_limit_descriptors(unsigned most) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
  if (limit.rlim_cur <= most) return 0;
  limit.rlim_cur = most;
  return check(setrlimit(RLIMIT_NOFILE, &limit));
}

/* Bytes of memory that a process has in use (RSS). */
int64_t mg_sys_memory_of(pid_t pid) {
  char path[40], text[128];
  long long pages = 0;
  snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  ssize_t n = read(fd, text, sizeof text - 1);
  int rc = n < 0 ? -errno : 0;
  close(fd);
  if (rc < 0) return rc;
  text[n] = 0;
  if (sscanf(text, "%*s %lld", &pages) != 1) return -EIO;
  return (int64_t)pages * sysconf(_SC_PAGESIZE);
}
