/* listen.c - see listen.h. */
#include "listen.h"

#include <errno.h>
#include <string.h>
#include <sys/un.h>

/* The path of a Unix socket that has a file; NULL: it has none. */
static const char *path_of(const mg_address *at) {
  const struct sockaddr_un *un = (const struct sockaddr_un *)&at->at;
  return at->at.ss_family == AF_UNIX && un->sun_path[0] ? un->sun_path : NULL;
}

/* Locks the directory of a file for this process; the descriptor to close, or -errno. */
static int lock_directory(const char *path) {
  struct sockaddr_un room;
  char *directory = room.sun_path, *slash;
  strncpy(directory, path, sizeof room.sun_path - 1);
  directory[sizeof room.sun_path - 1] = 0;
  slash = strrchr(directory, '/');
  if (slash) slash[slash == directory] = 0;
  int fd = mg_sys.open_file(slash ? directory : ".", MG_OPEN_READ | MG_OPEN_FOLLOW);
  if (fd < 0) return fd;
  int rc;
  do rc = mg_sys.lock_file(fd, MG_LOCK_WRITE);
  while (rc == -EINTR);
  if (rc < 0) mg_sys.close(fd);
  return rc < 0 ? rc : fd;
}

/* Takes away the file of a socket at which no process listens. */
static int remove_stale(const char *path, const mg_address *at, int kind) {
  mg_file is;
  int rc = mg_sys.path_facts(path, &is);
  if (rc == 0 && !is.socket) return -EADDRINUSE;
  int fd = rc < 0 ? rc : mg_sys.socket(AF_UNIX, kind);
  if (fd < 0) return fd;
  rc = mg_sys.connect(fd, at);
  mg_sys.close(fd);
  return rc == -ECONNREFUSED ? mg_sys.remove_file(path) : -EADDRINUSE;
}

/* With a mode the file has at no time more rights than that says: first the umask may take some away. */
static int bind_and_listen(int fd, const mg_address *at, int kind, int mode, int backlog) {
  int family = at->at.ss_family, rc = 0;
  if (family != AF_UNIX) rc = mg_sys.socket_option(fd, MG_SOCKET_REUSE);
  if (family == AF_INET6 && rc == 0) rc = mg_sys.socket_option(fd, MG_SOCKET_V6_ONLY);
  if (family != AF_UNIX && rc == 0) rc = mg_sys.socket_option(fd, MG_SOCKET_NO_DELAY); /* what it accepts has it too */
  if (rc == 0 && path_of(at) && mode >= 0) rc = mg_sys.set_rights(fd, NULL, (unsigned)mode);
  if (rc == 0) rc = mg_sys.bind(fd, at);
  if (rc == -EADDRINUSE && path_of(at)) {
    rc = remove_stale(path_of(at), at, kind);
    if (rc == 0) rc = mg_sys.bind(fd, at);
  }
  if (rc < 0) return rc;
  if (path_of(at) && mode >= 0) rc = mg_sys.set_rights(fd, path_of(at), (unsigned)mode);
  if (rc == 0) rc = mg_sys.listen(fd, backlog);
  if (rc < 0 && path_of(at)) mg_sys.remove_file(path_of(at));
  return rc;
}

int mg_listen(const mg_address *at, int kind, int mode, int backlog, mg_file *file) {
  const char *path = path_of(at);
  int lock = -1;
  memset(file, 0, sizeof *file);
  if (path && (lock = lock_directory(path)) < 0) return lock;
  int fd = mg_sys.socket(at->at.ss_family, kind);
  int rc = fd < 0 ? fd : bind_and_listen(fd, at, kind, mode, backlog);
  if (rc == 0 && path && (rc = mg_sys.path_facts(path, file)) < 0) mg_sys.remove_file(path);
  mg_shut(&lock);
  if (rc < 0) mg_shut(&fd);
  return rc < 0 ? rc : fd;
}

int mg_listen_remove(const char *path, const mg_file *file) {
  mg_file is;
  int lock = lock_directory(path);
  if (lock < 0) return lock;
  int rc = mg_sys.path_facts(path, &is);
  if (rc == 0 && is.socket && is.device == file->device && is.inode == file->inode) rc = mg_sys.remove_file(path);
  mg_shut(&lock);
  return rc == -ENOENT ? 0 : rc;
}
