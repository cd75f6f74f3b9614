/* SPDX-License-Identifier: MIT
 * The floor of services: the same requests over a Unix socket in C, a stream with a length before each message.
 *
 * usage: echo serve PATH | echo WORKLOAD PATH ITEMS      see bench/services.lua */
#define _GNU_SOURCE
#include "../measure.h"

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MOST = 1 << 21 };
static char buffer[MOST];

static void send_all(int fd, const void *from, size_t n) {
  for (size_t at = 0; at < n;) {
    ssize_t r = send(fd, (const char *)from + at, n - at, MSG_NOSIGNAL);
    if (r <= 0) die("send");
    at += (size_t)r;
  }
}

static int receive_all(int fd, void *to, size_t n) {
  for (size_t at = 0; at < n;) {
    ssize_t r = recv(fd, (char *)to + at, n - at, 0);
    if (r <= 0) return 0;
    at += (size_t)r;
  }
  return 1;
}

/* A message: 4 bytes of length, the highest bit for one that wants a reply. */
static void send_message(int fd, size_t n, int asks) {
  uint32_t head = (uint32_t)n | (asks ? 1u << 31 : 0);
  memcpy(buffer, &head, 4);
  send_all(fd, buffer, n + 4);
}

static void serve(int listening) {
  for (;;) {
    int fd = accept(listening, NULL, NULL);
    uint32_t head;
    if (fd < 0) die("accept");
    while (receive_all(fd, &head, 4) && receive_all(fd, buffer + 4, head & (MOST - 1)))
      if (head >> 31) send_message(fd, head & (MOST - 1), 0);
    close(fd);
  }
}

static int connected(const struct sockaddr_un *at) {
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (const struct sockaddr *)at, sizeof *at) < 0) die("connect");
  return fd;
}

static void ask(int fd, size_t n) {
  uint32_t head;
  send_message(fd, n, 1);
  if (!receive_all(fd, &head, 4) || !receive_all(fd, buffer + 4, head)) die("receive");
}

int main(int argc, char **argv) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  if (argc < 3) return 2;
  strncpy(at.sun_path, argv[2], sizeof at.sun_path - 1);
  if (strcmp(argv[1], "serve") == 0) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 100) < 0) die("listen");
    serve(fd);
  }
  size_t n = (size_t)atol(argv[3]);
  const char *what = argv[1];
  double *times = calloc(n, sizeof *times), began = now();
  if (!times) die("calloc");
  if (strcmp(what, "attach") == 0) {
    for (size_t i = 0; i < n; i++) {
      double t = now();
      int fd = connected(&at);
      ask(fd, 8);
      times[i] = now() - t;
      close(fd);
    }
    print_percentiles(times, n, 0);
    return 0;
  }
  int fd = connected(&at), cold = strcmp(what, "cold") == 0;
  if (cold || strcmp(what, "hot") == 0) {
    for (size_t i = 0; i < n; i++) {
      if (cold) usleep(1000);
      double t = now();
      ask(fd, 8);
      times[i] = now() - t;
    }
    print_percentiles(times, n, 0);
    return 0;
  }
  size_t size = strcmp(what, "large") == 0 ? 1 << 20 : 8;
  for (size_t i = 0; i < n; i++) send_message(fd, size, 0);
  ask(fd, 8);
  double rate = (double)n / (now() - began);
  printf("items=%zu rate=%.0f ok=1\n", n, size > 8 ? rate * (double)size / 1e6 : rate);
  return 0;
}
