/* cut.c - see cut.h. */
#include "cut.h"

#include <errno.h>
#include <string.h>

static int found(mg_found *out, size_t at, size_t length, size_t space) {
  *out = (mg_found){at, length, space};
  return 1;
}

/* The separator in p[from, n), or NULL. */
static const uint8_t *separator_in(const mg_cut *c, const uint8_t *p, size_t from, size_t n) {
  while (n - from >= c->size) {
    const uint8_t *at = memchr(p + from, c->separator[0], n - from - (c->size - 1));
    if (!at || c->size == 1 || memcmp(at, c->separator, c->size) == 0) return at;
    from = (size_t)(at - p) + 1;
  }
  return NULL;
}

static int find_separated(const mg_cut *c, const uint8_t *p, size_t n, int over, mg_scan *scan, mg_found *out) {
  const uint8_t *at = separator_in(c, p, scan->seen, n);
  size_t begun = over ? 0 : n < c->size - 1 ? n : c->size - 1; /* bytes that may be its begin */
  size_t length = at ? (size_t)(at - p) : n - begun;
  if (length > c->longest) return -EMSGSIZE;
  if (at) return found(out, 0, length, length + c->size);
  if (over) return found(out, 0, n, n);
  scan->seen = length;
  return 0;
}

static int find_sized(const mg_cut *c, const uint8_t *p, size_t n, int over, mg_found *out) {
  size_t head = c->kind == MG_CUT_PREFIXED ? c->size : 0;
  uint64_t length = c->size;
  if (head > 0 && n >= head) {
    length = 0;
    for (size_t i = 0; i < head; i++) length = length << 8 | p[c->big ? i : head - 1 - i];
  }
  if (n >= head && length > c->longest) return -EMSGSIZE;
  if (n >= head && n - head >= length) return found(out, head, (size_t)length, head + (size_t)length);
  return over && n > 0 ? -ENODATA : 0;
}

enum { FIELD_BEGINS, PLAIN, QUOTED, AFTER_QUOTE };

/* Goes through p[scan->seen, n) up to the newline that ends the row, which is returned, or NULL. */
static const uint8_t *row_end(const mg_cut *c, const uint8_t *p, size_t n, mg_scan *scan) {
  size_t i = scan->seen;
  int state = scan->state;
  while (i < n) {
    uint8_t byte = p[i];
    if (state == QUOTED) {
      const uint8_t *quote = memchr(p + i, c->quote, n - i);
      i = quote ? (size_t)(quote - p) + 1 : n;
      if (quote) state = AFTER_QUOTE;
      continue;
    }
    if (byte == '\n') return p + i;
    if (byte == c->comma) state = FIELD_BEGINS;
    else if (byte == c->quote && state != PLAIN) state = QUOTED; /* also the second of two in quotes */
    else state = PLAIN;
    i++;
  }
  scan->seen = n;
  scan->state = state;
  return NULL;
}

static int find_row(const mg_cut *c, const uint8_t *p, size_t n, int over, mg_scan *scan, mg_found *out) {
  const uint8_t *end = NULL;
  if (scan->seen == 0) { /* most rows have no quotes */
    end = memchr(p, '\n', n);
    if (end && memchr(p, c->quote, (size_t)(end - p))) end = NULL;
  }
  if (!end) end = row_end(c, p, n, scan);
  size_t length = end ? (size_t)(end - p) : n, space = length + (end != NULL);
  if (length > c->longest) return -EMSGSIZE;
  if (!end && !(over && n > 0)) return 0;
  if (!end && scan->state == QUOTED) return -ENODATA;
  if (length > 0 && p[length - 1] == '\r') length--;
  return found(out, 0, length, space);
}

int mg_cut_find(const mg_cut *c, const uint8_t *p, size_t n, int over, mg_scan *scan, mg_found *out) {
  if (n == 0) return 0;
  switch (c->kind) {
    case MG_CUT_SEPARATED: return find_separated(c, p, n, over, scan, out);
    case MG_CUT_ROW: return find_row(c, p, n, over, scan, out);
    default: return find_sized(c, p, n, over, out);
  }
}
