/* relay.c - see relay.h. */
#include "relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LEFT = 64 }; /* reads of what is left: no pipe holds more */

int mg_relay_open(mg_relay *r, uint32_t slots, unsigned which) {
  r->from = malloc((slots ? slots : 1) * sizeof *r->from);
  if (!r->from) return -ENOMEM;
  for (uint32_t i = 0; i < slots; i++) r->from[i] = -1;
  r->to = -1;
  r->slots = slots;
  r->which = which;
  return 0;
}

int mg_relay_prepare(mg_relay *r, uint32_t i) {
  int ends[2];
  if (!r->which) return 0;
  mg_shut(&r->from[i]);
  int rc = mg_sys.lifeline(ends);
  if (rc < 0) return rc;
  r->from[i] = ends[0];
  r->to = ends[1];
  rc = mg_sys.do_not_block(ends[0]);
  if (rc < 0) {
    mg_shut(&r->from[i]);
    mg_shut(&r->to);
  }
  return rc;
}

void mg_relay_forked(mg_relay *r) {
  if (r->which) mg_shut(&r->to);
}

static void forget(mg_relay *r) {
  for (uint32_t i = 0; i < r->slots; i++) mg_shut(&r->from[i]);
  mg_shut(&r->to);
  free(r->from);
  memset(r, 0, sizeof *r);
}

static int log_fd = -1;

int mg_relay_log(void) { return log_fd; }

void mg_relay_child(mg_relay *r) {
  if (!r->which) return;
  if (r->to >= 0 && r->which & MG_RELAY_LOG) {
    mg_shut(&log_fd); /* its parent's, which may be a worker itself */
    log_fd = mg_sys.copy(r->to);
  }
  if (r->to >= 0) mg_sys.print_into(r->to, (int)r->which & MG_RELAY_OUT, (int)r->which & MG_RELAY_ERR);
  forget(r);
}

ssize_t mg_relay_read(mg_relay *r, uint32_t i, void *to, size_t n) {
  ssize_t got;
  if (!r->which || r->from[i] < 0) return 0;
  do got = mg_sys.read(r->from[i], to, n);
  while (got == -EINTR);
  return got;
}

void mg_relay_close(mg_relay *r) {
  char part[8192];
  if (!r->which) return;
  for (uint32_t i = 0; i < r->slots; i++)
    for (int k = 0; k < MOST_LEFT * 2; k++) {
      ssize_t n = mg_relay_read(r, i, part, sizeof part);
      if (n <= 0 || r->which == MG_RELAY_LOG) break;
      if (mg_sys.write(r->which & MG_RELAY_OUT ? 1 : 2, part, (size_t)n) != n) break;
    }
  forget(r);
}
