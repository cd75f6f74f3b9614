/* sys_wait.c - the calls of mg_sys that wait, and what is waited for: events, timers, bells. */
#define _GNU_SOURCE
#include "sys_calls.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

int mg_sys_eventfd(void) { return mg_above_standard(check(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))); }
int mg_sys_timerfd(void) {
  return mg_above_standard(check(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)));
}

/* Once, in ns nanoseconds; ns < 0: never. */
int mg_sys_timer_set(int fd, int64_t ns) {
  struct itimerspec at = {0};
  if (ns == 0) ns = 1; /* zero would switch it off */
  if (ns > 0) {
    at.it_value.tv_sec = (time_t)(ns / 1000000000);
    at.it_value.tv_nsec = (long)(ns % 1000000000);
  }
  return check(timerfd_settime(fd, 0, &at, NULL));
}

int mg_sys_epoll_create(void) { return mg_above_standard(check(epoll_create1(EPOLL_CLOEXEC))); }

/* An epoll descriptor says that `probe`, which it does not watch, is not there; any other says that it is none. */
static int is_epoll(int fd, int probe) {
  return fd != probe && epoll_ctl(fd, EPOLL_CTL_DEL, probe, NULL) < 0 && errno == ENOENT;
}

static int renew_epoll(int fd, int probe, const int *keep, unsigned n) {
  for (unsigned i = 0; i < n; i++)
    if (keep[i] == fd) return 0;
  if (!is_epoll(fd, probe)) return 0;
  int at_exec = fcntl(fd, F_GETFD), fresh = epoll_create1(EPOLL_CLOEXEC);
  int rc = check(fresh < 0 ? -1 : dup3(fresh, fd, at_exec & FD_CLOEXEC ? O_CLOEXEC : 0));
  if (fresh >= 0) close(fresh);
  return rc;
}

/* In a child: what of its parent's epoll descriptors it has, but those in `keep`, are new and empty from now on, under
 * the same numbers. */
int mg_sys_renew_epolls(const int *keep, unsigned n) {
  int rc = 0, probe = check(eventfd(0, EFD_CLOEXEC));
  if (probe < 0) return probe;
  DIR *all = opendir("/proc/self/fd");
  for (struct dirent *each = NULL; all && (each = readdir(all)) && rc >= 0;)
    if (each->d_name[0] != '.') rc = renew_epoll(atoi(each->d_name), probe, keep, n);
  struct rlimit most = {.rlim_cur = 1024};
  if (!all) getrlimit(RLIMIT_NOFILE, &most);
  for (int fd = 0; !all && fd < 65536 && (rlim_t)fd < most.rlim_cur && rc >= 0; fd++)
    rc = renew_epoll(fd, probe, keep, n);
  if (all) closedir(all);
  close(probe);
  return rc < 0 ? rc : 0;
}

/* A function of a library that is loaded already, or of one that this needs; NULL: there is none. */
void *mg_sys_symbol(const char *file, const char *name) {
  void *library = dlopen(file, RTLD_LAZY | RTLD_NOLOAD);
  void *at = library ? dlsym(library, name) : NULL;
  if (library) dlclose(library);
  return at;
}

int mg_sys_epoll_add(int ep, int fd, uint64_t tag) {
  struct epoll_event ev = {.events = EPOLLIN, .data.u64 = tag};
  return check(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
}

int mg_sys_epoll_del(int ep, int fd) { return check(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL)); }

/* From now on it watches fd, which is also the tag, for these events; 0: not any more. */
int mg_sys_epoll_set(int ep, int fd, uint32_t events) {
  struct epoll_event ev = {.events = events, .data.u64 = (uint64_t)fd};
  if (events == 0) return mg_sys_epoll_del(ep, fd);
  int rc = check(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev));
  return rc == -ENOENT ? check(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev)) : rc;
}

/* A bell: a descriptor that can always be written to, and that ep does not look at until it is rung, once. */
int mg_sys_bell_add(int ep, int fd, uint64_t tag) {
  struct epoll_event ev = {.events = 0, .data.u64 = tag};
  return mg_checked("mg_sys_epoll_ctl", epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
}

int mg_sys_bell_ring(int ep, int fd, uint64_t tag) {
  struct epoll_event ev = {.events = EPOLLOUT | EPOLLONESHOT, .data.u64 = tag};
  return mg_checked("mg_sys_epoll_ctl", epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev));
}

/* ns < 0 waits without end; otherwise rounded up to a millisecond, the unit that every kernel's epoll knows. */
int mg_sys_epoll_wait(int ep, struct epoll_event *ev, int max, int64_t ns) {
  int ms = ns < 0 ? -1 : ns > (int64_t)86400000 * 1000000 ? 86400000 : (int)((ns + 999999) / 1000000);
  return check(epoll_wait(ep, ev, max, ms));
}

int mg_sys_poll(struct pollfd *fds, unsigned n, int ms) { return check(poll(fds, n, ms)); }

/* Waits so long; *left becomes what is left of it where a signal ends that early: -EINTR. */
int mg_sys_sleep(struct timespec *left) { return check(nanosleep(left, left)); }
