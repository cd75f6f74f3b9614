/* proxy.c - passes bytes between clients and a server: proxy OWN SERVER.  Each is the path of a unix socket, or a port
 * of 127.0.0.1.  Killed, it cuts all connections, in the middle of a reply; stopped, it keeps all waiting. */
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* One direction of a connection: both share `open`, the directions that go on. */
typedef struct way {
  int from, to;
  atomic_int *open;
} way;

static int use(const char *where, int (*f)(int, const struct sockaddr *, socklen_t)) {
  struct sockaddr_un path = { .sun_family = AF_UNIX };
  struct sockaddr_in port = { .sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(where)),
    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  int is_path = strchr(where, '/') != NULL, one = 1, fd = socket(is_path ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
  strncpy(path.sun_path, where, sizeof path.sun_path - 1);
  if (is_path && f == bind) unlink(where);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  int rc = is_path ? f(fd, (struct sockaddr *)&path, sizeof path) : f(fd, (struct sockaddr *)&port, sizeof port);
  if (rc == 0) return fd;
  close(fd);
  return -1;
}

static void *pass(void *argument) {
  way *own = argument;
  char bytes[16384];
  ssize_t n = 1, sent = 0;
  while (n > 0 && sent >= 0 && (n = read(own->from, bytes, sizeof bytes)) > 0)
    for (ssize_t done = 0; done < n && (sent = write(own->to, bytes + done, (size_t)(n - done))) > 0;) done += sent;
  shutdown(own->from, SHUT_RDWR);
  shutdown(own->to, SHUT_RDWR);
  if (atomic_fetch_sub(own->open, 1) == 1) {
    close(own->from);
    close(own->to);
    free(own->open);
  }
  free(own);
  return NULL;
}

static void begin(int from, int to, atomic_int *open) {
  way *own = malloc(sizeof *own);
  pthread_t thread;
  if (!own) abort();
  *own = (way){ from, to, open };
  if (pthread_create(&thread, NULL, pass, own) != 0) abort();
  pthread_detach(thread);
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  int own = argc == 3 ? use(argv[1], bind) : -1;
  if (own < 0 || listen(own, 128) < 0) return perror(argc > 1 ? argv[1] : "proxy"), 1;
  for (;;) {
    int client = accept(own, NULL, NULL), server = client < 0 ? -1 : use(argv[2], connect);
    atomic_int *open = server < 0 ? NULL : malloc(sizeof *open);
    if (!open) {
      if (client >= 0) close(client);
      continue;
    }
    atomic_init(open, 2);
    begin(client, server, open);
    begin(server, client, open);
  }
}
