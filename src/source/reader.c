/* reader.c - see reader.h. */
#define _GNU_SOURCE /* memrchr */
#include "reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Bytes: of one read, few enough to stay in a processor's cache until they are cut; that are worth a piece; of a record
 * that is too long for one. */
enum { PART = 131072, WORTH = 131072, LONG = 1 << 20 };

void mg_reader_forget(mg_reader *r) {
  free(r->buffer);
  r->buffer = NULL;
  r->room = r->start = r->end = 0;
  r->scan = (mg_scan){0};
  r->over = 1;
}

void mg_reader_close(mg_reader *r) {
  if (r->fd >= 0 && r->owned) mg_sys.close(r->fd);
  r->fd = -1;
  mg_reader_forget(r);
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

/* Reads a part.  1; 0 where that would wait; -errno. */
static int read_part(mg_reader *r) {
  int rc = make_room(r, PART);
  if (rc < 0) return rc;
  if (!r->file.regular) {
    struct pollfd p = {.fd = r->fd, .events = POLLIN};
    rc = mg_sys.poll(&p, 1, 0);
    if (rc > 0 && (p.revents & POLLNVAL)) rc = -EBADF;
    if (rc <= 0) return rc == -EINTR ? 0 : rc;
  }
  size_t most = r->left < PART ? (size_t)r->left : PART;
  int own = r->file.regular && r->owned;
  ssize_t n;
  do n = own ? mg_sys.read_at(r->fd, r->buffer + r->end, most, r->at) : mg_sys.read(r->fd, r->buffer + r->end, most);
  while (own && n == -EINTR);
  if (n < 0) return n == -EINTR || n == -EAGAIN ? 0 : (int)n;
  r->end += (size_t)n;
  r->at += (uint64_t)n;
  if (r->left != UINT64_MAX) r->left -= (uint64_t)n;
  r->over = n == 0 || r->left == 0;
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
    rc = read_part(r);
    if (rc <= 0) return rc;
  }
}

void mg_reader_pass(mg_reader *r, const mg_found *f) {
  r->start += f->space;
  r->given++;
  r->scan = (mg_scan){0};
}

/* --- pieces ------------------------------------------------------------------------------------------------------- */

static uint64_t position(const mg_reader *r) { return r->at - (r->end - r->start); }

int mg_reader_may_scan(const mg_reader *r) {
  return r->owned && r->file.regular && r->fd >= 0 && position(r) + WORTH <= r->file.size;
}

typedef uint8_t vector __attribute__((vector_size(16)));

/* How often a byte is in p[0, n). */
static uint64_t count_of(uint8_t byte, const uint8_t *p, size_t n) {
  uint64_t sum = 0;
  size_t i = 0;
  vector wanted = (vector){0} + byte;
  while (n - i >= sizeof wanted) {
    vector counts = {0};
    for (int k = 0; k < UINT8_MAX && n - i >= sizeof wanted; k++, i += sizeof wanted) {
      vector bytes;
      memcpy(&bytes, p + i, sizeof bytes);
      counts -= (vector)(bytes == wanted);
    }
    for (size_t k = 0; k < sizeof counts; k++) sum += counts[k];
  }
  for (; i < n; i++) sum += p[i] == byte;
  return sum;
}

/* Passes over the separated records that are in the buffer; at the end over what is left. Returns how many. */
static uint32_t pass_separated(mg_reader *r) {
  const uint8_t *from = r->buffer + r->start, *last = NULL;
  if (r->end > r->start) last = memrchr(from, r->cut.separator[0], r->end - r->start);
  uint32_t n = last ? (uint32_t)count_of(r->cut.separator[0], from, (size_t)(last - from) + 1) : 0;
  if (last) r->start += (size_t)(last - from) + 1;
  if (r->over && r->end > r->start) {
    n++;
    r->start = r->end;
  }
  return n;
}

static int64_t scan_separated(mg_reader *r, uint32_t most, uint64_t bytes) {
  uint64_t from = position(r), end = 0;
  int64_t n = 0;
  r->scan = (mg_scan){0};
  for (;;) {
    n += pass_separated(r);
    end = position(r);
    if (r->over || n >= most || (n > 0 && end - from >= bytes) || r->end - r->start > LONG) return n;
    int rc = read_part(r);
    if (rc < 0 && n == 0) return rc;
    if (rc <= 0) return n;
  }
}

static int64_t scan_fixed(mg_reader *r, uint32_t most, uint64_t bytes) {
  uint64_t from = position(r), n = (r->file.size - from) / r->cut.size;
  if (n > most) n = most;
  if (n > bytes / r->cut.size + 1) n = bytes / r->cut.size + 1;
  r->start = r->end = 0;
  r->at = from + n * r->cut.size;
  return (int64_t)n;
}

static int64_t scan_others(mg_reader *r, uint32_t most, uint64_t bytes) {
  uint64_t from = position(r);
  int64_t n = 0;
  mg_found f;
  while (n < most && position(r) - from < bytes && mg_reader_next(r, &f) == MG_READER_HAS) {
    r->start += f.space;
    r->scan = (mg_scan){0};
    n++;
  }
  return n;
}

int64_t mg_reader_scan(mg_reader *r, uint32_t most, uint64_t bytes, uint64_t *length) {
  uint64_t from = position(r);
  int64_t n = r->cut.kind == MG_CUT_FIXED                              ? scan_fixed(r, most, bytes)
              : r->cut.kind == MG_CUT_SEPARATED && r->cut.size == 1 ? scan_separated(r, most, bytes)
                                                                    : scan_others(r, most, bytes);
  if (n > 0) r->given += (uint64_t)n;
  *length = position(r) - from;
  return n;
}
