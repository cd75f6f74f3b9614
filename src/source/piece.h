/* piece.h - a piece of a source: records of a file, or numbers of a range, that are described and not sent.
 *
 * The coordinator finds where the piece ends and how many records are in it, and writes what it is into a block, as one
 * record (core/record.h).  The process that gets it opens the file itself, and cuts the records as the coordinator has.
 * The description is read from memory that a worker which has gone wrong may have written to: it is copied and checked.
 *
 * The coordinator keeps the file open as long as there may be pieces of it, so that it is found by /proc whatever
 * becomes of its name; where that is not to be had, by its name.  Either way it must be the same file.
 */
#ifndef MG_PIECE_H
#define MG_PIECE_H

#include "core/record.h"
#include "reader.h"

typedef struct mg_piece {
  uint32_t count;          /* items; comes first: core/record.h reads it */
  int32_t pid, fd;         /* of the coordinator, where it has the file open; fd -1: the items are numbers */
  int32_t numbered;        /* items are tables with their place */
  uint64_t serial;         /* of all pieces that this coordinator has made */
  uint64_t offset, length; /* bytes of the file; or the first number, and the step */
  uint64_t first;          /* records of the file before it */
  uint64_t device, inode;
  mg_cut cut;
  uint32_t path;           /* bytes of the path that comes after this, with its zero */
} mg_piece;

enum { MG_PATH_MOST = 4096 };

/* Copies the description that is a record's value; the path of numbers is empty.  0 or -EBADMSG. */
int mg_piece_read(const mg_record *record, mg_piece *p, char path[MG_PATH_MOST]);
/* Opens the file of a piece for a reader that is closed: from where the piece begins to where it ends.  0 or -errno;
 * -ESTALE: the file is another one now. */
int mg_piece_open(const mg_piece *p, const char *path, mg_reader *r);
/* Begins with this piece, of the file that the reader has open. */
void mg_piece_begin(const mg_piece *p, mg_reader *r);

#endif
