/* reader.h - records out of a descriptor, without ever waiting for it.
 *
 * Whether there is something to read is asked by poll before each read, so nothing is changed of a descriptor that
 * other processes may have too.  A regular file always has.  Only one that is shared, and read by another process
 * between the two calls, can make the read wait.
 */
#ifndef MG_READER_H
#define MG_READER_H

#include <stdio.h>

#include "core/sys.h"
#include "cut.h"

typedef struct mg_reader {
  int fd;                  /* -1: closed */
  int owned, over;
  mg_cut cut;
  mg_scan scan;            /* of the record that begins at `start` */
  uint8_t *buffer;         /* [start, end) is read and not given */
  size_t room, start, end;
  uint64_t given;          /* records */
  uint64_t at, left;       /* of a file of its own: bytes before `end`; bytes that are to be read, UINT64_MAX: all */
  mg_file file;            /* what is known of it */
} mg_reader;

enum { MG_READER_WAITS = 0, MG_READER_HAS = 1, MG_READER_ENDS = 2 };

/* Takes over what the C library has read ahead of an open file.  It is in memory: this does not wait.  0 or -errno. */
int mg_reader_ahead(mg_reader *r, FILE *f);
/* Finds the next record: MG_READER_HAS with *out, whose bytes begin at r->buffer + r->start + out->at until the next
 * call; MG_READER_WAITS: that would wait; MG_READER_ENDS; or as mg_cut_find, or -errno. */
int mg_reader_next(mg_reader *r, mg_found *out);
/* The record has been taken. */
void mg_reader_pass(mg_reader *r, const mg_found *f);
/* Whether its next records may become a piece (piece.h): it has a file of its own, of which much is left. */
int mg_reader_may_scan(const mg_reader *r);
/* Passes over records until at least so many, or so many bytes, have come; fewer at the end, and before one that is
 * very long or none.  Gives their number, and the bytes of the file that they take in *length; or -errno. */
int64_t mg_reader_scan(mg_reader *r, uint32_t most, uint64_t bytes, uint64_t *length);
/* Gives the memory back, and has nothing more. */
void mg_reader_forget(mg_reader *r);
/* Closes what it owns.  May be called twice. */
void mg_reader_close(mg_reader *r);

#endif
