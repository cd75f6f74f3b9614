/* csv.h - the fields of a row of CSV (RFC 4180), as cut.h has found it.
 *
 * A field that begins with a quote ends with one; between them a quote is written twice.  Any other field is taken as
 * it is, quotes in it too.
 */
#ifndef MG_CSV_H
#define MG_CSV_H

#include "cut.h"

typedef struct mg_field {
  const uint8_t *at;  /* in the row, without the quotes around it */
  size_t length, raw; /* bytes: of its value; in the row, where quotes are written twice */
} mg_field;

typedef struct mg_row { /* zeroed; free(row->field) at the end */
  mg_field *field;
  size_t count, room;
} mg_row;

/* Splits a row of n bytes: 0 with *row filled; -EILSEQ: there is something between a field's last quote and its end,
 * row->count is that field's number, from 1; -ENOMEM. */
int mg_csv_split(const mg_cut *c, const uint8_t *p, size_t n, mg_row *row);
/* Writes the value of a field, of f->length bytes. */
void mg_csv_value(const mg_cut *c, const mg_field *f, uint8_t *to);

#endif
