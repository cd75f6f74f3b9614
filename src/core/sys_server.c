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
#include <sys/mman.h>
#include <sys/stat.h>
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
int mg_sys_socket(int family, int kind) {
  static const int types[] = {SOCK_DGRAM, SOCK_STREAM, SOCK_SEQPACKET};
  return mg_above_standard(check(socket(family, types[kind] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)));
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

/* Of a socket that keeps packets apart.  `passed`: a descriptor that goes with it, or -1.  Does not wait. */
ssize_t mg_sys_send_packet(int fd, const void *from, size_t n, int passed) {
  union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr aligned; } control = {{0}};
  struct iovec part = {.iov_base = (void *)(uintptr_t)from, .iov_len = n};
  struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
  if (passed >= 0) {
    m.msg_control = control.bytes;
    m.msg_controllen = sizeof control.bytes;
    struct cmsghdr *head = CMSG_FIRSTHDR(&m);
    *head = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(head), &passed, sizeof passed);
  }
  ssize_t r = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
  return r < 0 ? -errno : r;
}

/* *passed becomes the descriptor that came with it, the caller's, or -1; NULL: none is taken, the kernel closes it. */
ssize_t mg_sys_receive_packet(int fd, void *to, size_t n, int *passed) {
  union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr aligned; } control;
  struct iovec part = {.iov_base = to, .iov_len = n};
  struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
  if (passed) {
    *passed = -1;
    m.msg_control = control.bytes;
    m.msg_controllen = CMSG_LEN(sizeof(int)); /* room for one: the kernel closes others */
  }
  ssize_t r = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (r < 0) return -errno;
  struct cmsghdr *head = passed ? CMSG_FIRSTHDR(&m) : NULL;
  if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS &&
      head->cmsg_len == CMSG_LEN(sizeof(int))) {
    memcpy(passed, CMSG_DATA(head), sizeof *passed);
    *passed = mg_above_standard(*passed);
  }
  return r;
}

int mg_sys_peer(int fd, mg_peer *out) {
  struct ucred found;
  socklen_t n = sizeof found;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &found, &n) < 0) return -errno;
  *out = (mg_peer){.pid = found.pid, .user = found.uid, .group = found.gid};
  return 0;
}

/* The rights of a socket that has no name yet, which its file will have but for the umask; with a path, of that
 * file. */
int mg_sys_set_rights(int fd, const char *path, unsigned mode) {
  return check(path ? chmod(path, mode) : fchmod(fd, mode));
}

/* --- memory that another program gets too ------------------------------------------------------------------------ */

size_t mg_page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

/* A file of zeros without a name, whose size stays. */
int mg_sys_memory_file(size_t size) {
  int fd = mg_above_standard(check(memfd_create("minigun", MFD_CLOEXEC | MFD_ALLOW_SEALING)));
  if (fd < 0) return fd;
  int rc = check(ftruncate(fd, (off_t)size));
  if (rc == 0) rc = check(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
  if (rc < 0) close(fd);
  return rc < 0 ? rc : fd;
}

/* The size of such a file; -EPERM where somebody could change it. */
int64_t mg_sys_sealed_size(int fd) {
  struct stat st;
  int seals = fcntl(fd, F_GET_SEALS), wanted = F_SEAL_SHRINK | F_SEAL_GROW;
  if (seals < 0) return -errno;
  if ((seals & wanted) != wanted) return -EPERM;
  return fstat(fd, &st) < 0 ? -errno : (int64_t)st.st_size;
}

/* Maps such a file: the control block, then each ring twice in a row.  Children do not have it.  NULL where it
 * fails. */
void *mg_sys_map_rings(int fd, size_t control, size_t first, size_t second) {
  const size_t size = control + 2 * (first + second);
  const struct { size_t at, length, from; } piece[] = {
      {0, control + first, 0}, {control + first, first + second, control}, {size - second, second, control + first}};
  uint8_t *map = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) return NULL;
  int ok = 1;
  for (int i = 0; i < 3 && ok; i++)
    ok = mmap(map + piece[i].at, piece[i].length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd,
              (off_t)piece[i].from) != MAP_FAILED;
  if (ok && madvise(map, size, MADV_DONTFORK) == 0) return map;
  munmap(map, size);
  return NULL;
}

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

uid_t mg_own_user(void) { return geteuid(); }

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
