/* sys.h - the only door to the operating system.
 *
 * Every call goes through one table, so that a test can replace an entry and make the Nth call fail (faults.c).
 * Each entry returns what the system call returns, or -errno; none touches errno's old value on success.
 */
#ifndef MG_SYS_H
#define MG_SYS_H

#include <errno.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

#include "mg.h"

struct termios; /* of <termios.h>, for those who need it */

typedef struct mg_exit { /* how a child ended */
  int known;             /* 0 when it is not known how, as another part of the program reaped it: the others are 0 */
  int code;              /* exit code, when it exited */
  int signal;            /* signal number, when one ended it */
  int core;              /* it has left a core dump */
  uint64_t max_rss, cpu; /* bytes, nanoseconds: what it and the children that it waited for have used */
} mg_exit;

typedef struct mg_file { /* what is known of an open file, or of one that may be read */
  uint64_t size, device, inode;
  int regular, directory, socket;
} mg_file;

/* A program to start: what `launch` makes of a child between fork and execve. It becomes a process group of its own,
 * notes its number with the keeper, gets default signals (but that of reading and changing a terminal from the
 * background, which stay errors instead of stops) and none blocked, and has no other descriptors than 0, 1 and 2. */
enum { MG_LAUNCH_KEEP, MG_LAUNCH_START, MG_LAUNCH_CWD, MG_LAUNCH_EXEC };

typedef struct mg_launch {
  char *const *argv; /* ends with NULL; argv[0] is looked for in PATH */
  char *const *envp;
  const char *cwd;   /* NULL: stays */
  int fds[3];        /* become 0, 1, 2 */
  int keeper;        /* its number is written there first */
  int status;        /* takes an mg_failed_launch where it does not come to its program; close-on-exec */
  int failed;        /* the caller's: the step that has failed */
  int watch;         /* filled in: its pidfd, had with its birth; -1 where the kernel gives none */
} mg_launch;

typedef struct mg_failed_launch {
  int step, error;
} mg_failed_launch;

/* How open_file opens: close-on-exec always, and no symbolic link unless FOLLOW is given; CREATE makes it 0600.  It
 * never waits for the other end of a FIFO.  How lock_file locks (flock): waiting until it can.
 * own_file is a lock of another kind, which neither waits (-EAGAIN) nor keeps lock_file from anything: it marks the
 * file as that of one open descriptor and its copies in children, until it is given up or the last is closed. */
enum { MG_OPEN_READ = 0, MG_OPEN_APPEND = 1, MG_OPEN_CREATE = 2, MG_OPEN_FOLLOW = 4 };
enum { MG_LOCK_NONE, MG_LOCK_READ, MG_LOCK_WRITE };
enum { MG_LINE_UNLOCK, MG_LINE_LOCK, MG_LINE_TRY }; /* of lock_line: the last does not wait */

/* Where a socket is, or is to be: of IPv4, IPv6 or Unix. */
typedef struct mg_address {
  socklen_t length;
  struct sockaddr_storage at;
} mg_address;

typedef struct mg_user { /* the user that a process becomes, for good */
  uid_t user;       /* -1: as it is */
  gid_t group;
  const char *name; /* whose further groups it gets; NULL: none */
} mg_user;

typedef struct mg_peer { /* the process at the other end of a Unix socket, when it connected */
  pid_t pid;
  uid_t user;
  gid_t group;
} mg_peer;

enum { MG_DATAGRAMS, MG_STREAM, MG_PACKETS }; /* kinds of sockets: MG_PACKETS is a connection that keeps them apart */
enum { MG_SOCKET_REUSE, MG_SOCKET_V6_ONLY, MG_SOCKET_NO_DELAY }; /* options that are switched on */

/* Rows as those below; sys_server.c has them. */
#define MG_SYS_SERVER_CALLS(X)                                                                      \
  X(resolve, int, (const char *host, const char *port, mg_address *out), (host, port, out))         \
  X(socket, int, (int family, int kind), (family, kind))                                            \
  X(socket_option, int, (int fd, int option), (fd, option))                                         \
  X(bind, int, (int fd, const mg_address *to), (fd, to))                                            \
  X(listen, int, (int fd, int backlog), (fd, backlog))                                              \
  X(accept, int, (int fd), (fd))                                                                    \
  X(connect, int, (int fd, const mg_address *to), (fd, to))                                         \
  X(socket_name, int, (int fd, int of_peer, mg_address *out), (fd, of_peer, out))                   \
  X(is_listening, int, (int fd), (fd))                                                              \
  X(send, ssize_t, (int fd, const void *from, size_t n), (fd, from, n))                             \
  X(receive, ssize_t, (int fd, void *to, size_t n), (fd, to, n))                                    \
  X(shutdown, int, (int fd, int how), (fd, how))                                                    \
  X(send_packet, ssize_t, (int fd, const void *from, size_t n, int passed), (fd, from, n, passed))  \
  X(receive_packet, ssize_t, (int fd, void *to, size_t n, int *passed), (fd, to, n, passed))        \
  X(peer, int, (int fd, mg_peer *out), (fd, out))                                                   \
  X(set_rights, int, (int fd, const char *path, unsigned mode), (fd, path, mode))                   \
  X(memory_file, int, (size_t size), (size))                                                        \
  X(sealed_size, int64_t, (int fd), (fd))                                                           \
  X(map_rings, void *, (int fd, size_t control, size_t first, size_t second), (fd, control, first, second)) \
  X(epoll_share, int, (int ep, int fd, uint64_t tag), (ep, fd, tag))                                \
  X(copy, int, (int fd), (fd))                                                                      \
  X(inherit, int, (int fd, int inherited), (fd, inherited))                                         \
  X(execute, int, (const char *path, char *const *argv, char *const *envp), (path, argv, envp))     \
  X(remove_file, int, (const char *path), (path))                                                   \
  X(find_user, int, (const char *name, mg_user *out), (name, out))                                  \
  X(find_group, int, (const char *name, gid_t *out), (name, out))                                   \
  X(become_user, int, (const mg_user *user), (user))                                                \
  X(limit_descriptors, int, (unsigned most), (most))                                                \
  X(memory_of, int64_t, (pid_t pid), (pid))

/* The same; sys_view.c has them. */
#define MG_SYS_VIEW_CALLS(X)                                                                        \
  X(open_terminal, int, (void), ())                                                                 \
  X(screen_size, int, (int fd, unsigned *columns, unsigned *rows), (fd, columns, rows))             \
  X(get_mode, int, (int fd, struct termios *mode), (fd, mode))                                      \
  X(set_mode, int, (int fd, const struct termios *mode), (fd, mode))                                \
  X(at_end, int, (void (*f)(void)), (f))                                                            \
  X(make_directory, int, (const char *path), (path))                                                \
  X(list_directory, ssize_t, (const char *path, char *to, size_t n), (path, to, n))                 \
  X(make_file, int, (const char *path), (path))                                                     \
  X(is_owned, int, (int fd), (fd))                                                                  \
  X(write_at, ssize_t, (int fd, const void *from, size_t n, uint64_t at), (fd, from, n, at))        \
  X(lock_line, int, (int fd, int how), (fd, how))

/* name, return type, parameters, arguments: one row per call; the table, its default and the fault layer come from
 * it. */
#define MG_SYS_CALLS(X)                                                                             \
  MG_SYS_SERVER_CALLS(X)                                                                            \
  MG_SYS_VIEW_CALLS(X)                                                                              \
  X(map_shared, void *, (size_t size), (size))                                                      \
  X(map_private, void *, (size_t size), (size))                                                     \
  X(unmap, int, (void *at, size_t size), (at, size))                                                \
  X(advise, int, (void *at, size_t size, int advice), (at, size, advice))                           \
  X(fork, pid_t, (void), ())                                                                        \
  X(pidfd_open, int, (pid_t pid), (pid))                                                            \
  X(kill, int, (pid_t pid, int pidfd, int sig), (pid, pidfd, sig))                                  \
  X(kill_other, int, (pid_t pid, int sig), (pid, sig))                                              \
  X(kill_wait, int, (pid_t pid), (pid))                                                             \
  X(has_ended, int, (pid_t pid), (pid))                                                             \
  X(launch, pid_t, (mg_launch *program), (program))                                                 \
  X(new_session, int, (void), ())                                                                   \
  X(print_into, int, (int fd, int out, int err), (fd, out, err))                                    \
  X(new_group, int, (void), ())                                                                     \
  X(read_link, ssize_t, (const char *path, char *to, size_t n), (path, to, n))                      \
  X(close_run, int, (int first, int last), (first, last))                                           \
  X(close_others, int, (int keep), (keep))                                                          \
  X(reap, int, (pid_t pid, int pidfd, mg_exit *out), (pid, pidfd, out))                             \
  X(eventfd, int, (void), ())                                                                       \
  X(timerfd, int, (void), ())                                                                       \
  X(timer_set, int, (int fd, int64_t ns), (fd, ns))                                                 \
  X(lifeline, int, (int fds[2]), (fds))                                                             \
  X(epoll_create, int, (void), ())                                                                  \
  X(renew_epolls, int, (const int *keep, unsigned n), (keep, n))                                    \
  X(symbol, void *, (const char *file, const char *name), (file, name))                             \
  X(epoll_add, int, (int ep, int fd, uint64_t tag), (ep, fd, tag))                                  \
  X(epoll_del, int, (int ep, int fd), (ep, fd))                                                     \
  X(epoll_set, int, (int ep, int fd, uint32_t events), (ep, fd, events))                            \
  X(bell_add, int, (int ep, int fd, uint64_t tag), (ep, fd, tag))                                   \
  X(bell_ring, int, (int ep, int fd, uint64_t tag), (ep, fd, tag))                                  \
  X(epoll_wait, int, (int ep, struct epoll_event *ev, int max, int64_t ns), (ep, ev, max, ns))      \
  X(poll, int, (struct pollfd *fds, unsigned n, int ms), (fds, n, ms))                              \
  X(read, ssize_t, (int fd, void *to, size_t n), (fd, to, n))                                       \
  X(write, ssize_t, (int fd, const void *from, size_t n), (fd, from, n))                            \
  X(write_pipe, ssize_t, (int fd, const void *from, size_t n), (fd, from, n))                       \
  X(write_room, ssize_t, (int fd, size_t *most), (fd, most))                                        \
  X(do_not_block, int, (int fd), (fd))                                                              \
  X(open_output, int, (const char *path), (path))                                                   \
  X(close, int, (int fd), (fd))                                                                     \
  X(open_file, int, (const char *path, int how), (path, how))                                       \
  X(file_facts, int, (int fd, mg_file *out), (fd, out))                                             \
  X(path_facts, int, (const char *path, mg_file *out), (path, out))                                 \
  X(glob, int, (const char *pattern, glob_t *out), (pattern, out))                                  \
  X(glob_free, int, (glob_t *found), (found))                                                       \
  X(lock_file, int, (int fd, int how), (fd, how))                                                   \
  X(own_file, int, (int fd, int owned), (fd, owned))                                                \
  X(truncate_file, int, (int fd, uint64_t size), (fd, size))                                        \
  X(sync_file, int, (int fd), (fd))                                                                 \
  X(read_at, ssize_t, (int fd, void *to, size_t n, uint64_t at), (fd, to, n, at))                   \
  X(fill_standard, int, (int filled), (filled))                                                     \
  X(null_stdin, int, (void), ())                                                                    \
  X(parent_death_signal, int, (int sig), (sig))                                                     \
  X(block_signals, int, (sigset_t *old), (old))                                                     \
  X(set_signals, int, (const sigset_t *mask), (mask))                                               \
  X(handle_signal, int, (int sig, void (*handler)(int)), (sig, handler))                            \
  X(default_signals, int, (void), ())                                                               \
  X(signal_action, int, (int sig, const struct sigaction *to, struct sigaction *old), (sig, to, old)) \
  X(stop_self, int, (int sig), (sig))                                                               \
  X(random, int, (void *to, size_t n), (to, n))                                                     \
  X(cpus, int, (void), ())                                                                          \
  X(limit_memory, int, (uint64_t bytes), (bytes))                                                   \
  X(be_nice, int, (int more), (more))                                                               \
  X(bind_cpu, int, (unsigned nth), (nth))                                                           \
  X(foreground, int, (int fd), (fd))                                                                \
  X(terminal, int, (int fd), (fd))                                                                  \
  X(ticker_open, int, (int sig), (sig))                                                             \
  X(ticker_set, int, (int ms), (ms))                                                                \
  X(ticker_close, int, (void), ())                                                                  \
  X(at_exit, int, (void (*leave)(int code)), (leave))                                               \
  X(line_buffer, int, (void), ())                                                                   \
  X(flush, int, (int all), (all))                                                                   \
  X(complain, int, (const char *what, const char *text), (what, text))                              \
  X(read_ahead, ssize_t, (FILE *f, void *to, size_t n), (f, to, n))                                 \
  X(peek, ssize_t, (int fd, void *to, size_t n, int *full), (fd, to, n, full))                      \
  X(raise, int, (int sig), (sig))                                                                   \
  X(sleep, int, (struct timespec *left), (left))                                                    \
  X(wiped_page, void *, (void), ())                                                                 \
  X(barrier, int, (int join), (join))

typedef struct mg_sys_table {
#define X(name, type, params, args) type(*name) params;
  MG_SYS_CALLS(X)
#undef X
} mg_sys_table;

extern mg_sys_table mg_sys;

/* Closes a descriptor, if there is one; then there is none: -1. */
static inline void mg_shut(int *fd) {
  if (*fd >= 0) mg_sys.close(*fd);
  *fd = -1;
}

/* Whether a signal has this plain handler: SIG_DFL, SIG_IGN, or a function that takes its number only. */
static inline int mg_is_handled_by(int sig, void (*handler)(int)) {
  struct sigaction now;
  return mg_sys.signal_action(sig, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == handler;
}

/* Whether a call is not to be had: the kernel does not have it, or a filter (seccomp, an old container's) answers. */
static inline int mg_is_refused(int rc) { return rc == -ENOSYS || rc == -EPERM; }
/* The call that was refused last, for messages; NULL: none. */
extern const char *mg_sys_refused;

/* Nanoseconds of the monotonic clock; does not count the time a machine is suspended. */
uint64_t mg_now(void);
/* The same to some milliseconds, which costs an eighth. */
uint64_t mg_now_coarse(void);
/* Processor time that this thread has used, and how often it has given the processor up by itself, to wait. */
uint64_t mg_worked(uint64_t *waits);
/* How many bytes the C library has read ahead of an open file, and where they lie (if `at` is not NULL): they can be
 * read without waiting.  0 where it does not say. */
size_t mg_file_ahead(FILE *f, const char **at);
size_t mg_page_size(void);
uid_t mg_own_user(void); /* that this process acts as */
pid_t mg_pid(void);
pid_t mg_parent_pid(void);
/* Leaves at once, running no handler and flushing nothing but coverage data. */
_Noreturn void mg_exit_now(int code);

#endif
