/* confined.c - runs a command in surroundings that a program may meet: confined WORD... -- COMMAND...
 *
 *   deny=ERRNO:CALL,...   these system calls answer that error, as a container's filter (seccomp) has it.  waitid:3 and
 *                         madvise:18 name one only, by its first or third argument
 *   chld=ignore           SIGCHLD is ignored
 *   close=FD              this descriptor is closed
 *   proc=none             there is no /proc
 *   pid=1                 the command is process 1 of a namespace of its own
 *
 * Exit status 77: the kernel does not let us.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct { const char *name; int number, argument; unsigned value; } calls[] = {
    {"pidfd_open", SYS_pidfd_open, -1, 0},   {"pidfd_send_signal", SYS_pidfd_send_signal, -1, 0},
    {"waitid", SYS_waitid, -1, 0},           {"waitid:3", SYS_waitid, 0, 3},
    {"madvise", SYS_madvise, -1, 0},         {"madvise:18", SYS_madvise, 2, 18},
    {"getrandom", SYS_getrandom, -1, 0},     {"prctl", SYS_prctl, -1, 0},
    {"ioctl", SYS_ioctl, -1, 0},             {"timer_create", SYS_timer_create, -1, 0},
    {"close_range", SYS_close_range, -1, 0}, {"memfd_create", SYS_memfd_create, -1, 0},
    {"epoll_ctl", SYS_epoll_ctl, -1, 0},     {"eventfd2", SYS_eventfd2, -1, 0},
    {"sched_getaffinity", SYS_sched_getaffinity, -1, 0},
};

static void refused(const char *what) {
  fprintf(stderr, "confined: %s: %s\n", what, strerror(errno));
  exit(77);
}

static struct sock_filter program[128];
static unsigned length;

static void put(unsigned code, unsigned k, unsigned yes, unsigned no) {
  program[length++] = (struct sock_filter){(unsigned short)code, (unsigned char)yes, (unsigned char)no, k};
}

/* "1:pidfd_open,waitid:3" */
static void deny(char *words) {
  char *rest;
  unsigned answer = SECCOMP_RET_ERRNO | (unsigned)strtoul(words, &rest, 10);
  for (char *name = strtok(rest + 1, ","); name; name = strtok(NULL, ",")) {
    size_t i = 0, most = sizeof calls / sizeof *calls;
    while (i < most && strcmp(calls[i].name, name) != 0) i++;
    if (i == most) {
      fprintf(stderr, "confined: unknown call %s\n", name);
      exit(2);
    }
    put(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
    put(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i].number, 0, calls[i].argument < 0 ? 1 : 3);
    if (calls[i].argument >= 0) {
      size_t at = offsetof(struct seccomp_data, args) + 8 * (size_t)calls[i].argument;
      put(BPF_LD | BPF_W | BPF_ABS, (unsigned)at, 0, 0);
      put(BPF_JMP | BPF_JEQ | BPF_K, calls[i].value, 0, 1);
    }
    put(BPF_RET | BPF_K, answer, 0, 0);
  }
}

static void filter(void) {
  struct sock_fprog all = {(unsigned short)length, program};
  if (length == 0) return;
  put(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
  all.len = (unsigned short)length;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all) < 0)
    refused("a filter of system calls");
}

/* Its command is process 1; this one waits for it and ends as it does. */
static void as_first(void) {
  int status;
  if (unshare(CLONE_NEWPID) < 0) refused("a namespace of processes");
  pid_t pid = fork();
  if (pid < 0) refused("fork");
  if (pid == 0) return;
  signal(SIGTERM, SIG_IGN); /* of the group: it is for the command */
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int main(int count, char **words) {
  int i = 1;
  for (; i < count && strcmp(words[i], "--") != 0; i++) {
    if (strncmp(words[i], "deny=", 5) == 0) deny(words[i] + 5);
    else if (strcmp(words[i], "chld=ignore") == 0) signal(SIGCHLD, SIG_IGN);
    else if (strncmp(words[i], "close=", 6) == 0) close(atoi(words[i] + 6));
    else if (strcmp(words[i], "pid=1") == 0) as_first();
    else if (strcmp(words[i], "proc=none") == 0) {
      if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
          mount("none", "/proc", "tmpfs", 0, NULL) < 0)
        refused("a /proc of its own");
    } else {
      fprintf(stderr, "confined: unknown word %s\n", words[i]);
      return 2;
    }
  }
  filter();
  if (i + 1 < count) execvp(words[i + 1], words + i + 1);
  fprintf(stderr, "confined: cannot run the command: %s\n", strerror(errno));
  return 127;
}
