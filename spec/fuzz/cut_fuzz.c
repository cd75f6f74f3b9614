/* Minigun: libFuzzer target for cutting bytes into records, and rows into fields.
 *
 * An input says how to cut (kind, sizes, separator) and where the bytes that follow come in parts.  Checked, besides
 * what the sanitizers see: each record lies in what was given; bytes that come in parts give the same records as all at
 * once; the fields of a row lie in it, and their values are as long as they say. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source/csv.h"

static void fail(const char *what) {
  fprintf(stderr, "cut_fuzz: %s\n", what);
  abort();
}

static void check_row(const mg_cut *c, const uint8_t *p, size_t n) {
  mg_row row = {0};
  if (mg_csv_split(c, p, n, &row) == 0) {
    for (size_t i = 0; i < row.count; i++) {
      const mg_field *f = &row.field[i];
      if (f->at < p || f->at > p + n || f->raw > (size_t)(p + n - f->at)) fail("a field outside its row");
      uint8_t *value = malloc(f->length ? f->length : 1);
      mg_csv_value(c, f, value);
      free(value);
    }
  }
  free(row.field);
}

/* The next record of p[from, n), looked for once as a whole and once part by part.  What mg_cut_find says. */
static int next(const mg_cut *c, const uint8_t *p, size_t from, size_t n, size_t part, mg_found *out) {
  mg_scan whole = {0}, parts = {0};
  int rc = mg_cut_find(c, p + from, n - from, 1, &whole, out), again = 0;
  mg_found other = {0};
  for (size_t end = from; again == 0; end += part) {
    if (end >= n) {
      again = mg_cut_find(c, p + from, n - from, 1, &parts, &other);
      break;
    }
    again = mg_cut_find(c, p + from, end - from, 0, &parts, &other);
  }
  if (again != rc) fail("in parts it is found otherwise");
  if (rc != 1) return rc;
  if (memcmp(out, &other, sizeof other) != 0) fail("in parts it is another record");
  if (out->space > n - from || out->at + out->length > out->space || out->space == 0) fail("a record outside");
  return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 8) return 0;
  mg_cut c = {.kind = data[0] % 4, .big = data[1] & 1, .size = 1 + data[1] / 2 % 8, .longest = 1 + data[2] * 4u,
              .comma = ',', .quote = '"'};
  memcpy(c.separator, data, sizeof c.size);
  size_t part = 1 + data[3] % 32, n = size - 8;
  uint8_t *copy = malloc(n ? n : 1);
  memcpy(copy, data + 8, n);
  for (size_t at = 0; at < n;) {
    mg_found f;
    if (next(&c, copy, at, n, part, &f) != 1) break;
    if (c.kind == MG_CUT_ROW) check_row(&c, copy + at + f.at, f.length);
    at += f.space;
  }
  free(copy);
  return 0;
}
