/* cut.h - where a record ends, of a run of bytes that may end in the middle of one.
 *
 * Kinds of records
 *   SEPARATED  up to a separator, which is not part of it; the last one needs none.  A line's is a newline.
 *   FIXED      so many bytes
 *   PREFIXED   its length comes before it, as an unsigned integer
 *   ROW        up to a newline that is not in quotes, of CSV (RFC 4180); a carriage return before that is no part of it
 */
#ifndef MG_CUT_H
#define MG_CUT_H

#include "core/mg.h"

enum { MG_CUT_SEPARATED, MG_CUT_FIXED, MG_CUT_PREFIXED, MG_CUT_ROW };
enum { MG_SEPARATOR_MOST = 16 };

typedef struct mg_cut {
  int kind, big;              /* big: the length before a record has its highest byte first */
  size_t size;                /* bytes: of the separator, of a record, of a length */
  size_t longest;             /* bytes of a record */
  uint8_t separator[MG_SEPARATOR_MOST];
  uint8_t comma, quote;       /* of a row */
} mg_cut;

/* How far the record that begins the bytes has been looked at: zeroed for a new one. */
typedef struct mg_scan {
  size_t seen;
  int state;
} mg_scan;

typedef struct mg_found { /* a record: its bytes, and those that it takes with all that belongs to it */
  size_t at, length, space;
} mg_found;

/* Finds the first record of the n bytes at p.  `over`: no more come after them, so what is left is a record.
 * 1 with *out; 0: more bytes are needed, or nothing is left; -EMSGSIZE: it is longer than allowed; -ENODATA: it is cut
 * short by the end (FIXED, PREFIXED; of a row, by one in quotes). */
int mg_cut_find(const mg_cut *c, const uint8_t *p, size_t n, int over, mg_scan *scan, mg_found *out);

#endif
