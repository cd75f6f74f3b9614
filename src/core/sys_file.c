/* sys_file.c - the calls of mg_sys on files, pipes, terminals and the streams of the C library. */
#define _GNU_SOURCE
#include "sys_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int mg_sys_lifeline(int fds[2]) {
  int rc = check(pipe2(fds, O_CLOEXEC));
  if (rc < 0) return rc;
  fds[0] = mg_above_standard(fds[0]);
  fds[1] = mg_above_standard(fds[1]);
  if (fds[0] >= 0 && fds[1] >= 0) return 0;
  rc = fds[0] < 0 ? fds[0] : fds[1];
  close(fds[0]);
  close(fds[1]);
  fds[0] = fds[1] = -1;
  return rc;
}

ssize_t mg_sys_read(int fd, void *to, size_t n) {
  ssize_t r = read(fd, to, n);
  return r < 0 ? -errno : r;
}

ssize_t mg_sys_write(int fd, const void *from, size_t n) {
  ssize_t r = write(fd, from, n);
  return r < 0 ? -errno : r;
}

/* How many bytes a write can take at once, of what is ready to be written to; *most: when it is empty.  What is in a
 * pipe's pages is not known, but for none. */
ssize_t mg_sys_write_room(int fd, size_t *most) {
  struct stat facts;
  int size, full = 0;
  *most = PIPE_BUF;
  if (fstat(fd, &facts) < 0) return -errno;
  if (S_ISREG(facts.st_mode)) return (ssize_t)(*most = SSIZE_MAX);
  if (!S_ISFIFO(facts.st_mode) || (size = fcntl(fd, F_GETPIPE_SZ)) < PIPE_BUF) return PIPE_BUF;
  *most = (size_t)size;
  return ioctl(fd, FIONREAD, &full) == 0 && full == 0 ? size : PIPE_BUF;
}

/* Without SIGPIPE, whatever the program does with that. */
ssize_t mg_sys_write_pipe(int fd, const void *from, size_t n) {
  static const struct timespec at_once = {0, 0};
  sigset_t pipe_only, old, pending;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  sigpending(&pending);
  sigprocmask(SIG_BLOCK, &pipe_only, &old);
  ssize_t r = write(fd, from, n);
  if (r < 0) r = -errno;
  if (r == -EPIPE && !sigismember(&pending, SIGPIPE)) sigtimedwait(&pipe_only, NULL, &at_once);
  sigprocmask(SIG_SETMASK, &old, NULL);
  return r;
}

int mg_sys_do_not_block(int fd) { return check(fcntl(fd, F_SETFL, O_NONBLOCK)); } /* of a pipe: no other flag */

/* A file for what a program writes, made or emptied. */
int mg_sys_open_output(const char *path) {
  return mg_above_standard(check(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666)));
}

int mg_sys_close(int fd) { return check(close(fd)); }

int mg_sys_open_file(const char *path, int how) {
  int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  flags |= how & MG_OPEN_APPEND ? O_WRONLY | O_APPEND : O_RDONLY;
  if (how & MG_OPEN_CREATE) flags |= O_CREAT;
  if (!(how & MG_OPEN_FOLLOW)) flags |= O_NOFOLLOW;
  return mg_above_standard(check(open(path, flags, 0600)));
}

static int facts_of(const struct stat *st, mg_file *out) {
  *out = (mg_file){.size = (uint64_t)st->st_size, .device = st->st_dev, .inode = st->st_ino,
                   .regular = S_ISREG(st->st_mode), .directory = S_ISDIR(st->st_mode),
                   .socket = S_ISSOCK(st->st_mode)};
  return 0;
}

int mg_sys_file_facts(int fd, mg_file *out) {
  struct stat st;
  int rc = check(fstat(fd, &st));
  return rc < 0 ? rc : facts_of(&st, out);
}

/* Without opening it: the other end of a FIFO would notice. */
int mg_sys_path_facts(const char *path, mg_file *out) {
  struct stat st;
  int rc = check(stat(path, &st));
  if (rc == 0) rc = check(faccessat(AT_FDCWD, path, R_OK, AT_EACCESS));
  return rc < 0 ? rc : facts_of(&st, out);
}

/* The paths that match, sorted; those of directories end in a slash. */
int mg_sys_glob(const char *pattern, glob_t *out) {
  int rc = glob(pattern, GLOB_MARK, NULL, out);
  return rc == GLOB_NOSPACE ? -ENOMEM : rc == GLOB_ABORTED ? -EIO : 0;
}

int mg_sys_glob_free(glob_t *found) {
  globfree(found);
  return 0;
}

int mg_sys_lock_file(int fd, int how) {
  return check(flock(fd, how == MG_LOCK_NONE ? LOCK_UN : how == MG_LOCK_READ ? LOCK_SH : LOCK_EX));
}

int mg_sys_own_file(int fd, int owned) {
  struct flock whole = {.l_type = owned ? F_WRLCK : F_UNLCK, .l_whence = SEEK_SET};
  return check(fcntl(fd, F_OFD_SETLK, &whole));
}

int mg_sys_truncate_file(int fd, uint64_t size) { return check(ftruncate(fd, (off_t)size)); }
int mg_sys_sync_file(int fd) { return check(fdatasync(fd)); }

ssize_t mg_sys_read_at(int fd, void *to, size_t n, uint64_t at) {
  ssize_t r = pread(fd, to, n, (off_t)at);
  return r < 0 ? -errno : r;
}

/* filled < 0: opens what of 0, 1 and 2 is closed, and returns which, as bits; else closes these again. */
int mg_sys_fill_standard(int filled) {
  if (filled < 0) {
    filled = 0;
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
      if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR | O_CLOEXEC) == fd) filled |= 1 << fd;
    return filled;
  }
  for (int fd = 0; fd <= STDERR_FILENO; fd++)
    if (filled & 1 << fd) close(fd);
  return 0;
}

int mg_sys_null_stdin(void) {
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  int rc = fd == 0 ? check(fcntl(fd, F_SETFD, 0)) : check(dup2(fd, 0));
  if (fd != 0) close(fd);
  __fpurge(stdin); /* what the coordinator has read ahead is the coordinator's */
  clearerr(stdin);
  return rc;
}

ssize_t mg_sys_read_link(const char *path, char *to, size_t n) {
  ssize_t r = readlink(path, to, n);
  return r < 0 ? -errno : r;
}

/* The columns of the terminal at fd, 0 where it does not know them; -ENOTTY where it is none. */
int mg_sys_terminal(int fd) {
  struct winsize size;
  int rc = check(ioctl(fd, TIOCGWINSZ, &size));
  return rc < 0 ? rc : size.ws_col;
}

/* 1 when this process may use the terminal at fd: it is in its foreground, or that is not the one it belongs to. */
int mg_sys_foreground(int fd) {
  pid_t group = tcgetpgrp(fd);
  return group < 0 || group == getpgrp();
}

/* --- streams ---------------------------------------------------------------------------------------------------- */

/* From now on standard output, standard error output or both go there, whole lines at a time. */
int mg_sys_print_into(int fd, int out, int err) {
  if (out && dup2(fd, 1) < 0) return -errno;
  if (err && dup2(fd, 2) < 0) return -errno;
  if (out) setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
  return 0;
}

/* Standard output by whole lines, up to 64 KiB long, also where it is not a terminal. */
int mg_sys_line_buffer(void) {
  static char buffer[1 << 16];
  return setvbuf(stdout, buffer, _IOLBF, sizeof buffer) == 0 ? 0 : -EINVAL;
}

/* Writes out what this process has printed: all streams, or standard output and error alone.  The fault of standard
 * output, also an earlier one: -EIO, its number is not known any more. */
int mg_sys_flush(int all) {
  if (all) return fflush(NULL) == 0 ? 0 : -errno;
  int out = fflush(stdout) < 0 ? -errno : ferror(stdout) ? -EIO : 0;
  fflush(stderr);
  return out;
}

/* A line of ours on standard error, by one call. */
int mg_sys_complain(const char *what, const char *text) {
  return fprintf(stderr, "minigun: %s: %s\n", what, text) >= 0 ? 0 : -errno;
}

/* Takes what mg_file_ahead has found. */
ssize_t mg_sys_read_ahead(FILE *f, void *to, size_t n) { return (ssize_t)fread(to, 1, n, f); }

/* Bytes that would be read next, of a pipe or a socket; they stay there.  0 at the end, -EAGAIN where there is nothing
 * yet, -ENOTSUP of anything else.  full: no more may come before some are read.  A pipe's pages are full as soon as the
 * next write does not fit into the rest of the last one, so it may be full when it is half filled. */
ssize_t mg_sys_peek(int fd, void *to, size_t n, int *full) {
  struct stat facts;
  int both[2];
  *full = 0;
  if (fstat(fd, &facts) < 0) return -errno;
  if (S_ISSOCK(facts.st_mode)) {
    ssize_t got = recv(fd, to, n, MSG_PEEK | MSG_DONTWAIT);
    *full = got == (ssize_t)n;
    return got < 0 ? -errno : got;
  }
  if (!S_ISFIFO(facts.st_mode)) return -ENOTSUP;
  if (pipe2(both, O_CLOEXEC) < 0) return -errno;
  int size = fcntl(fd, F_GETPIPE_SZ);
  ssize_t got = tee(fd, both[1], n, SPLICE_F_NONBLOCK); /* a second pipe has the same bytes then */
  if (got < 0) got = -errno;
  if (got > 0) got = read(both[0], to, (size_t)got);
  *full = got >= size / 2 || got == (ssize_t)n;
  close(both[0]);
  close(both[1]);
  return got;
}

size_t mg_file_ahead(FILE *f, const char **at) {
#ifdef __GLIBC__
  if (at) *at = f->_IO_read_ptr;
  return (size_t)(f->_IO_read_end - f->_IO_read_ptr);
#else /* musl has calls for it; elsewhere it is not known */
  size_t n = 0;
  const char *from = __freadptr(f, &n);
  if (at) *at = from;
  return from ? n : 0;
#endif
}
