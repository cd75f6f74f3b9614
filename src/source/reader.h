/* reader.h - records out of a descriptor, without ever waiting for it.
 *
 * Whether there is something to read is asked by poll before each read, so nothing is changed of a descriptor that
 * other processes may have too.  A regular file always has.  Only one that is shared, and read by another process
 * between the two calls, can make the read wait.
 */
#ifndef MG_READER_H
#define MG_READER_H

#include <stdio.h>

#include "cut.h"

typedef struct mg_reader {
  int fd;                  /* -1: closed */
  int owned, regular, over;
  mg_cut cut;
  mg_scan scan;            /* of the record that begins at `start` */
  uint8_t *buffer;         /* [start, end) is read and not given */
  size_t room, start, end;
  uint64_t given;          /* records */
} mg_reader;

enum { MG_READER_WAITS = 0, MG_READER_HAS = 1, MG_READER_ENDS = 2 };

/* Takes over what the C library has read ahead of an open file.  It is in memory: this does not wait.  0 or -errno. */
int mg_reader_ahead(mg_reader *r, FILE *f);
/* Finds the next record: MG_READER_HAS with *out, whose bytes begin at r->buffer + r->start + out->at until the next
 * call; MG_READER_WAITS: that would wait; MG_READER_ENDS; or as mg_cut_find, or -errno. */
int mg_reader_next(mg_reader *r, mg_found *out);
/* The record has been taken. */
void mg_reader_pass(mg_reader *r, const mg_found *f);
/* Closes what it owns.  May be called twice. */
void mg_reader_close(mg_reader *r);

#endif
