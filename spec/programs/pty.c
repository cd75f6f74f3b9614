/* pty.c - runs a program at a pseudo-terminal, types for it and tells when what it waits for appears.
 *
 *   pty SCRIPT PROGRAM [ARGUMENT...]
 *
 * SCRIPT is a file of lines:   > TEXT     types TEXT and the return key        ^C      types Ctrl-C
 *                              ? TEXT     waits until TEXT appears after what was waited for last; prints
 *                                         "MILLISECONDS TEXT", the time since something was last typed
 *                              . SECONDS  waits                             ^Z      types Ctrl-Z
 *                              ! TEXT     types TEXT alone             $ NUMBER  sends this signal to what is in front
 *                              = COLUMNS [ROWS]  gives the terminal this size, 24 rows if not said; on the first line:
 *                                         from the begin
 * Ends with the program's status (128 + signal), 99 when a text does not appear within ten seconds; what the program
 * wrote goes to standard error.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static int terminal;
static char output[1 << 24];
static size_t length, seen;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Reads what there is for at most so many seconds; 0 at the end of the program. */
static int listen_for(double seconds) {
  struct pollfd fd = {.fd = terminal, .events = POLLIN};
  if (poll(&fd, 1, (int)(seconds * 1000)) <= 0) return 1;
  ssize_t n = read(terminal, output + length, sizeof output - 1 - length);
  if (n <= 0) return 0;
  length += (size_t)n;
  output[length] = 0;
  return 1;
}

/* What the program has written is read before: a key that is a signal makes the kernel throw away what is not. */
static void type(const char *text) {
  struct pollfd fd = {.fd = terminal, .events = POLLIN};
  while (poll(&fd, 1, 0) > 0 && listen_for(0)) continue;
  if (write(terminal, text, strlen(text)) < 0) perror("pty: write");
}

static int await(const char *text, double since) {
  double until = now() + 10;
  for (;;) {
    char *at = strstr(output + seen, text);
    if (at) {
      seen = (size_t)(at - output) + strlen(text);
      printf("%.0f %s\n", (now() - since) * 1000, text);
      return 1;
    }
    if (now() > until || !listen_for(0.05)) return strstr(output + seen, text) != NULL;
  }
}

static void resize(const char *text) {
  int columns = 80, rows = 24;
  sscanf(text, "%d %d", &columns, &rows);
  struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
  ioctl(terminal, TIOCSWINSZ, &size);
}

static pid_t start(char **program, FILE *script) {
  terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0 || grantpt(terminal) < 0 || unlockpt(terminal) < 0) return -1;
  const char *name = ptsname(terminal);
  char line[64];
  long at = ftell(script);
  if (fgets(line, sizeof line, script) && line[0] == '=') resize(line + 2);
  else fseek(script, at, SEEK_SET);
  pid_t pid = fork();
  if (pid != 0) return pid;
  setsid();
  int fd = open(name, O_RDWR);
  if (fd < 0) _exit(98);
  ioctl(fd, TIOCSCTTY, 0);
  for (int i = 0; i < 3; i++) dup2(fd, i);
  if (fd > 2) close(fd);
  signal(SIGINT, SIG_DFL);
  execvp(program[0], program);
  _exit(97);
}

static int play(FILE *script) {
  char line[4096];
  double typed = now();
  while (fgets(line, sizeof line, script)) {
    line[strcspn(line, "\n")] = 0;
    if (line[0] == '?') {
      if (!await(line + 2, typed)) return fprintf(stderr, "\npty: '%s' did not appear\n", line + 2), 0;
      continue;
    }
    if (line[0] == '.') {
      for (double until = now() + atof(line + 2); now() < until;)
        if (!listen_for(0.01)) break;
      continue;
    }
    if (line[0] == '=') {
      resize(line + 2);
      continue;
    }
    if (line[0] == '$') {
      pid_t front = tcgetpgrp(terminal);
      if (front > 0) kill(-front, atoi(line + 2));
      continue;
    }
    typed = now();
    if (line[0] == '!') {
      type(line + 2);
      continue;
    }
    if (line[0] == '^') type(line[1] == 'Z' ? "\032" : "\003");
    else type(line + 2), type("\n");
  }
  return 1;
}

int main(int count, char **arguments) {
  if (count < 3) return 96;
  FILE *script = fopen(arguments[1], "r");
  pid_t pid = script ? start(arguments + 2, script) : -1;
  if (pid < 0) return perror("pty"), 96;
  int played = play(script), status = 0;
  double until = now() + 10;
  if (!played) kill(pid, SIGKILL);
  while (listen_for(0.05) && now() < until) continue;
  kill(pid, SIGHUP);
  waitpid(pid, &status, 0);
  fputs(output, stderr);
  if (!played) return 99;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
