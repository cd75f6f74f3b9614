/* csv.c - see csv.h. */
#include "csv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static mg_field *next_field(mg_row *row) {
  if (row->count == row->room) {
    size_t room = row->room ? 2 * row->room : 16;
    mg_field *more = realloc(row->field, room * sizeof *more);
    if (!more) return NULL;
    row->field = more;
    row->room = room;
  }
  return &row->field[row->count++];
}

/* A field in quotes, the first at p.  Returns what is after its last quote. */
static const uint8_t *take_quoted(const mg_cut *c, const uint8_t *p, const uint8_t *end, mg_field *f) {
  const uint8_t *quote, *from = p + 1;
  *f = (mg_field){.at = from};
  for (;;) {
    quote = memchr(from, c->quote, (size_t)(end - from));
    if (!quote) quote = end; /* of the last row of a source that is cut short: cut.h has refused it */
    f->length += (size_t)(quote - from);
    if (quote + 1 >= end || quote[1] != c->quote) break;
    f->length++;
    from = quote + 2;
  }
  f->raw = (size_t)(quote - f->at);
  return quote < end ? quote + 1 : end;
}

int mg_csv_split(const mg_cut *c, const uint8_t *p, size_t n, mg_row *row) {
  const uint8_t *end = p + n;
  row->count = 0;
  for (;;) {
    mg_field *f = next_field(row);
    if (!f) return -ENOMEM;
    if (p < end && *p == c->quote) {
      p = take_quoted(c, p, end, f);
      if (p < end && *p != c->comma) return -EILSEQ;
    } else {
      const uint8_t *comma = memchr(p, c->comma, (size_t)(end - p));
      f->at = p;
      p = comma ? comma : end;
      f->length = f->raw = (size_t)(p - f->at);
    }
    if (p == end) return 0;
    p++;
  }
}

void mg_csv_value(const mg_cut *c, const mg_field *f, uint8_t *to) {
  const uint8_t *from = f->at, *end = f->at + f->raw;
  if (f->raw == f->length) {
    memcpy(to, from, f->length);
    return;
  }
  while (from < end) {
    const uint8_t *quote = memchr(from, c->quote, (size_t)(end - from));
    size_t part = quote ? (size_t)(quote - from) + 1 : (size_t)(end - from);
    memcpy(to, from, part);
    to += part;
    from += part + (quote != NULL); /* of two quotes one stays */
  }
}
