/* spool.h - a file of records that any number of processes append to, and its reader.  Bytes only.
 *
 *   0       4     5     6      8        12          16         20       20 + length
 *   +-------+-----+-----+------+--------+-----------+----------+--------+
 *   | magic | ver |flags| zero | length | value crc | head crc | value  |
 *   +-------+-----+-----+------+--------+-----------+----------+--------+
 *
 * magic: c1 'M' 'G' 'S' (no MessagePack value begins with c1).   ver: 1.   flags: MG_CODEC_REFS.
 * All numbers little-endian.  value crc: CRC-32C of the value.  head crc: CRC-32C of the record's offset in the file,
 * u64, and of the 16 bytes before the crc.  As the offset is part of it, a copy of a record that lies inside a value
 * is never taken for a record, whatever is damaged around it; so files cannot be joined by `cat`.
 *
 * Writers append under an exclusive flock, each record with one write where the kernel takes it whole.  One that is
 * killed in the middle leaves a torn record, and the next one appends after it.  The reader takes a shared lock to
 * learn where the file ends; whatever lies before that end and is no record is damage: it goes on at the next byte
 * that begins one.
 */
#ifndef MG_SPOOL_H
#define MG_SPOOL_H

#include <sys/types.h>

#include "core/mg.h"

#define MG_SPOOL_HEAD 20u
#define MG_SPOOL_PLACES 1000 /* ranges of damage that a reader lists; it counts them all */

typedef struct mg_spool { /* one process's own open file; plain data, no memory of its own */
  int fd;                 /* -1: closed */
  int read_only, held;
  unsigned process;       /* mg_process_serial and pid of its opener: a lock belongs to the open file, and an */
  pid_t pid;              /* inherited one is the parent's too */
  uint64_t device, inode;
} mg_spool;

/* Opens the file; a writer creates it (0600).  0 or -errno: -ELOOP for a symbolic link, -EINVAL for what is no
 * regular file. */
int mg_spool_open(mg_spool *s, const char *path, int read_only, unsigned process);
/* Gives a process that was forked since an open file of its own: of the same file, or, where /proc is missing, of
 * what `path` names.  0 or -errno; the spool then stays as it was. */
int mg_spool_own(mg_spool *s, const char *path, unsigned process);
/* Marks the file as that of this spool's process and its children, until it is closed here or the last of them is gone:
 * no other process can do the same meanwhile.  Reading and writing go on as always.  0 or -errno: -EAGAIN when
 * another process holds it. */
int mg_spool_hold(mg_spool *s);
/* Appends a record.  `record` holds MG_SPOOL_HEAD bytes, which are filled in here, and then `length` bytes of value.
 * 0, or -errno: then the file is as long as before (where it cannot be cut, the torn record is passed over). */
int mg_spool_append(mg_spool *s, uint8_t *record, size_t length, unsigned flags);
/* Waits until what was written is on the disk; 0 or -errno. */
int mg_spool_sync(mg_spool *s);
/* Closes it; 0 or -errno.  May be called twice. */
int mg_spool_close(mg_spool *s);

typedef struct mg_spool_damage {
  uint64_t offset, bytes;
} mg_spool_damage;

typedef struct mg_spool_reader { /* all zero but fd = -1 before the first use */
  int fd;
  uint64_t at, end;              /* where the next record is looked for; where the file ended when reading began */
  uint64_t record_at;            /* offset of the record that was read last */
  uint8_t *buffer;               /* bytes of the file from `from` on, malloc'ed */
  uint64_t from;
  size_t filled, size;
  int in_damage;
  uint64_t records;              /* skipped, as far as they could be distinguished */
  uint64_t bytes;                /* skipped */
  uint64_t places;               /* ranges of damage; the first of them in `list`, malloc'ed */
  mg_spool_damage *list;
  size_t listed, room;
} mg_spool_reader;

/* Begins to read the file of s, from its first byte to where it ends now.  0 or -errno. */
int mg_spool_read(mg_spool_reader *r, const mg_spool *s, const char *path);
/* The next sound record: 1 with *value (inside the reader's buffer, until the next call), *length and *flags; 0 at the
 * end; -errno. */
int mg_spool_next(mg_spool_reader *r, const uint8_t **value, size_t *length, unsigned *flags);
/* A sound record that was read at `at`, of `length` bytes of value, cannot be used: it is a range of its own.  Its
 * number in `list`, from 1; 0: that is full; or -errno. */
int mg_spool_refuse(mg_spool_reader *r, uint64_t at, size_t length);
/* Closes the file and frees the buffer; what is known of damage stays. */
void mg_spool_read_end(mg_spool_reader *r);
/* Frees everything. */
void mg_spool_read_free(mg_spool_reader *r);

#endif
