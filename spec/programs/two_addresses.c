/* two_addresses.c - a library to be loaded before others: the host "twofold" has two addresses, 127.0.0.2 and
 * 127.0.0.1, in this order. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>

typedef int find(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **out) {
  find *own;
  void *found = dlsym(RTLD_NEXT, "getaddrinfo");
  memcpy(&own, &found, sizeof own);
  int twofold = host && strcmp(host, "twofold") == 0;
  int rc = own(twofold ? "127.0.0.2" : host, port, hints, out);
  return rc || !twofold ? rc : own("127.0.0.1", port, hints, &(*out)->ai_next);
}
