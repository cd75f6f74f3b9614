/* reader.c - see reader.h. */
#include "reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/sys.h"

enum { PIECE = 131072 }; /* bytes of one read: few enough to stay in a processor's cache until they are cut */

void mg_reader_close(mg_reader *r) {
  if (r->fd >= 0 && r->owned) mg_sys.close(r->fd);
  r->fd = -1;
  free(r->buffer);
  r->buffer = NULL;
  r->room = r->start = r->end = 0;
  r->scan = (mg_scan){0};
}

/* Makes room for `more` bytes after what there is.  0 or -ENOMEM. */
static int make_room(mg_reader *r, size_t more) {
  if (r->room - r->end >= more) return 0;
  if (r->start > 0) {
    memmove(r->buffer, r->buffer + r->start, r->end - r->start);
    r->end -= r->start;
    r->start = 0;
  }
  if (r->room - r->end >= more) return 0;
  size_t room = 2 * r->room > r->end + more ? 2 * r->room : r->end + more;
  uint8_t *bigger = realloc(r->buffer, room);
  if (!bigger) return -ENOMEM;
  r->buffer = bigger;
  r->room = room;
  return 0;
}

int mg_reader_ahead(mg_reader *r, FILE *f) {
  size_t n = mg_file_ahead(f, NULL);
  int rc = n > 0 ? make_room(r, n) : 0;
  if (rc < 0 || n == 0) return rc;
  ssize_t got = mg_sys.read_ahead(f, r->buffer + r->end, n);
  if (got < 0) return (int)got;
  r->end += (size_t)got;
  return 0;
}

/* Reads a piece.  1; 0 where that would wait; -errno. */
static int read_piece(mg_reader *r) {
  int rc = make_room(r, PIECE);
  if (rc < 0) return rc;
  if (!r->regular) {
    struct pollfd p = {.fd = r->fd, .events = POLLIN};
    rc = mg_sys.poll(&p, 1, 0);
    if (rc > 0 && (p.revents & POLLNVAL)) rc = -EBADF;
    if (rc <= 0) return rc == -EINTR ? 0 : rc;
  }
  ssize_t n = mg_sys.read(r->fd, r->buffer + r->end, PIECE);
  if (n < 0) return n == -EINTR || n == -EAGAIN ? 0 : (int)n;
  r->end += (size_t)n;
  r->over = n == 0;
  return 1;
}

int mg_reader_next(mg_reader *r, mg_found *out) {
  if (r->fd < 0) return MG_READER_ENDS;
  for (;;) {
    int rc = 0;
    if (r->end > r->start)
      rc = mg_cut_find(&r->cut, r->buffer + r->start, r->end - r->start, r->over, &r->scan, out);
    if (rc != 0) return rc;
    if (r->over) return MG_READER_ENDS;
    rc = read_piece(r);
    if (rc <= 0) return rc;
  }
}

void mg_reader_pass(mg_reader *r, const mg_found *f) {
  r->start += f->space;
  r->given++;
  r->scan = (mg_scan){0};
}
