/* Minigun: libFuzzer target for the reader of spools.
 *
 * An input writes a file of records, some of them torn, cuts and overwrites it at places, and appends again, as writers
 * that die and disks that fail do. Checked, besides what the sanitizers see: every record whose bytes are as they were
 * written is read, in order, and nothing else is. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/spool.h"

enum { MOST = 64, SIZE = 1 << 16 };

typedef struct written { /* a record, and what it should still look like in the file */
  uint64_t at;
  size_t length;
  uint8_t bytes[MG_SPOOL_HEAD + 300];
} written;

static written record[MOST];
static int records;

static void fail(const char *what) {
  fprintf(stderr, "spool_fuzz: %s\n", what);
  abort();
}

static const uint8_t *at, *end;
static uint8_t byte(void) { return at < end ? *at++ : 0; }

static void append(mg_spool *s, int fd) {
  if (records == MOST) return;
  written *w = &record[records];
  w->length = byte() % 4 ? byte() % 32 : byte();
  w->at = (uint64_t)lseek(fd, 0, SEEK_END);
  if (w->at > SIZE) return;
  for (size_t i = 0; i < w->length; i++) w->bytes[MG_SPOOL_HEAD + i] = byte();
  unsigned deed = byte();
  if (deed % 8 == 0 && records > 0) { /* a value that looks like a record of this very file */
    w->length = MG_SPOOL_HEAD + record[records - 1].length < 300 ? MG_SPOOL_HEAD + record[records - 1].length : 300;
    memcpy(w->bytes + MG_SPOOL_HEAD, record[records - 1].bytes, w->length);
  }
  if (mg_spool_append(s, w->bytes, w->length, deed & 1) < 0) fail("cannot append");
  records++;
}

static void damage(int fd) {
  uint64_t size = (uint64_t)lseek(fd, 0, SEEK_END), from = size ? ((uint64_t)byte() << 8 | byte()) % size : 0;
  uint8_t bytes[16], n = byte() % 16;
  for (int i = 0; i < n; i++) bytes[i] = byte();
  if (n > size - from) n = (uint8_t)(size - from);
  if (pwrite(fd, bytes, n, (off_t)from) != n) fail("cannot write");
}

static int is_whole(int fd, const written *w) {
  uint8_t now[sizeof w->bytes];
  size_t n = MG_SPOOL_HEAD + w->length;
  return pread(fd, now, n, (off_t)w->at) == (ssize_t)n && memcmp(now, w->bytes, n) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static char path[64];
  static int fd = -1;
  if (fd < 0) {
    snprintf(path, sizeof path, "/dev/shm/spool_fuzz.%d", (int)getpid());
    fd = open(path, O_RDWR | O_CREAT, 0600);
  }
  if (ftruncate(fd, 0) < 0) fail("cannot truncate");
  at = data;
  end = data + size;
  records = 0;
  mg_spool s;
  if (mg_spool_open(&s, path, 0, 1) < 0) fail("cannot open");
  while (at < end) {
    switch (byte() % 8) {
    case 0: damage(fd); break;
    case 1: { /* the last writer was killed in the middle */
      off_t now = lseek(fd, 0, SEEK_END), cut = byte() % 64;
      if (ftruncate(fd, now > cut ? now - cut : 0) < 0) fail("cannot truncate");
      while (records > 0 && record[records - 1].at >= (uint64_t)(now > cut ? now - cut : 0)) records--;
      break;
    }
    default: append(&s, fd);
    }
  }
  mg_spool_reader r = {.fd = -1};
  if (mg_spool_read(&r, &s, path) < 0) fail("cannot read");
  const uint8_t *value;
  size_t length;
  unsigned flags;
  int rc, i = 0;
  while ((rc = mg_spool_next(&r, &value, &length, &flags)) == 1) {
    while (i < records && !is_whole(fd, &record[i])) i++;
    if (i == records) fail("a record was read that was not written");
    if (r.record_at != record[i].at || length != record[i].length) fail("a whole record was passed over");
    if (memcmp(value, record[i].bytes + MG_SPOOL_HEAD, length) != 0) fail("a record was read with other bytes");
    i++;
  }
  if (rc < 0) fail("reading failed");
  while (i < records && !is_whole(fd, &record[i])) i++;
  if (i < records) fail("whole records at the end were not read");
  mg_spool_read_free(&r);
  mg_spool_close(&s);
  return 0;
}
