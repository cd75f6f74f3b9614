/* sys_view.c - the calls of mg_sys for what is shown: the whole screen of a terminal, and files that others look at. */
#define _GNU_SOURCE
#include "sys_calls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

/* A description of its own: that it does not block concerns no other process. */
int mg_sys_open_terminal(void) {
  return mg_above_standard(check(open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)));
}

/* Zeros where the terminal does not know. */
int mg_sys_screen_size(int fd, unsigned *columns, unsigned *rows) {
  struct winsize size;
  int rc = check(ioctl(fd, TIOCGWINSZ, &size));
  *columns = rc < 0 ? 0 : size.ws_col;
  *rows = rc < 0 ? 0 : size.ws_row;
  return rc;
}

int mg_sys_get_mode(int fd, struct termios *mode) { return check(tcgetattr(fd, mode)); }

/* In a job of the background, too, where it would be stopped for that; what was typed for the old mode is dropped. */
int mg_sys_set_mode(int fd, const struct termios *mode) {
  sigset_t output, old;
  sigemptyset(&output);
  sigaddset(&output, SIGTTOU);
  sigprocmask(SIG_BLOCK, &output, &old);
  tcflush(fd, TCIFLUSH);
  int rc = check(tcsetattr(fd, TCSANOW, mode));
  sigprocmask(SIG_SETMASK, &old, NULL);
  return rc;
}

int mg_sys_at_end(void (*f)(void)) { return atexit(f) == 0 ? 0 : -ENOMEM; }

/* 0: it is there and this user's alone; -EPERM: another one can write there. */
int mg_sys_make_directory(const char *path) {
  struct stat st;
  if (mkdir(path, 0700) == 0) return 0;
  if (errno != EEXIST) return -errno;
  if (lstat(path, &st) < 0) return -errno;
  return S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022) ? 0 : -EPERM;
}

/* The names in a directory, each with a zero after it, as many as there is room for: bytes. */
ssize_t mg_sys_list_directory(const char *path, char *to, size_t n) {
  DIR *d = opendir(path);
  if (!d) return -errno;
  size_t used = 0;
  for (struct dirent *e; (e = readdir(d));) {
    size_t length = strlen(e->d_name) + 1;
    if (e->d_name[0] == '.' || used + length > n) continue;
    memcpy(to + used, e->d_name, length);
    used += length;
  }
  closedir(d);
  return (ssize_t)used;
}

/* A new file with mode 0600, whatever the mask of the process says. */
int mg_sys_make_file(const char *path) {
  int fd = mg_above_standard(check(open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)));
  if (fd >= 0) fchmod(fd, 0600);
  return fd;
}

/* Whether a process has the file as its own (own_file). */
int mg_sys_is_owned(int fd) {
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  int rc = check(fcntl(fd, F_OFD_GETLK, &whole));
  return rc < 0 ? rc : whole.l_type != F_UNLCK;
}

/* A lock between processes, of any file, a pipe too.  A process that ends gives it up. */
int mg_sys_lock_line(int fd, int how) {
  struct flock whole = {.l_type = how == MG_LINE_UNLOCK ? F_UNLCK : F_WRLCK, .l_whence = SEEK_SET};
  return check(fcntl(fd, how == MG_LINE_TRY ? F_SETLK : F_SETLKW, &whole));
}

ssize_t mg_sys_write_at(int fd, const void *from, size_t n, uint64_t at) {
  ssize_t r = pwrite(fd, from, n, (off_t)at);
  return r < 0 ? -errno : r;
}
