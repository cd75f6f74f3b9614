/* spool.c - see spool.h. */
#include "spool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc.h"
#include "core/sys.h"

enum { VERSION = 1, WINDOW = 1 << 16 };

static const uint8_t magic[4] = {0xc1, 'M', 'G', 'S'};

static void put32(uint8_t *at, uint32_t value) {
  for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t get32(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint32_t head_crc(const uint8_t *head, uint64_t offset) {
  uint8_t place[8];
  put32(place, (uint32_t)offset);
  put32(place + 4, (uint32_t)(offset >> 32));
  return mg_crc32c(mg_crc32c(0, place, sizeof place), head, 16);
}

/* --- files ------------------------------------------------------------------------------------------------------ */

static int lock(int fd, int how) {
  int rc;
  do rc = mg_sys.lock_file(fd, how);
  while (rc == -EINTR);
  return rc;
}

static int is_file(const mg_spool *s, const mg_file *file) {
  return file->device == s->device && file->inode == s->inode;
}

/* A descriptor of the spool's file, opened anew: by the descriptor that is there, which names the file even when it was
 * renamed or the directory changed, else by the path. */
static int open_again(const mg_spool *s, const char *path, int how) {
  char link[32];
  mg_file file;
  snprintf(link, sizeof link, "/proc/self/fd/%d", s->fd);
  int fd = mg_sys.open_file(link, how | MG_OPEN_FOLLOW);
  if (fd >= 0) {
    if (mg_sys.file_facts(fd, &file) == 0 && is_file(s, &file)) return fd;
    mg_sys.close(fd); /* the program has closed the spool's descriptor, and its number is another file's */
  }
  return mg_sys.open_file(path, how);
}

/* What a newly opened file is; one that is not regular is refused.  0, or -errno with fd closed. */
static int regular_facts(int fd, mg_file *file) {
  int rc = mg_sys.file_facts(fd, file);
  if (rc == 0 && !file->regular) rc = -EINVAL;
  if (rc < 0) mg_sys.close(fd);
  return rc;
}

int mg_spool_open(mg_spool *s, const char *path, int read_only, unsigned process) {
  mg_file file;
  int fd = mg_sys.open_file(path, read_only ? MG_OPEN_READ : MG_OPEN_APPEND | MG_OPEN_CREATE);
  if (fd < 0) return fd;
  int rc = regular_facts(fd, &file);
  if (rc < 0) return rc;
  *s = (mg_spool){.fd = fd, .read_only = read_only, .process = process, .pid = mg_pid(), .device = file.device,
                  .inode = file.inode};
  return 0;
}

int mg_spool_own(mg_spool *s, const char *path, unsigned process) {
  mg_file file;
  if (s->process == process && s->pid == mg_pid()) return 0;
  int fd = open_again(s, path, s->read_only ? MG_OPEN_READ : MG_OPEN_APPEND);
  if (fd < 0) return fd;
  int rc = regular_facts(fd, &file);
  if (rc < 0) return rc;
  /* The old number is this file's only where it still leads to it. */
  mg_file old;
  if (mg_sys.file_facts(s->fd, &old) == 0 && is_file(s, &old)) mg_sys.close(s->fd);
  *s = (mg_spool){.fd = fd, .read_only = s->read_only, .process = process, .pid = mg_pid(), .device = file.device,
                  .inode = file.inode};
  return 0;
}

int mg_spool_sync(mg_spool *s) {
  int rc;
  do rc = mg_sys.sync_file(s->fd);
  while (rc == -EINTR);
  return rc;
}

int mg_spool_hold(mg_spool *s) {
  int rc = mg_sys.own_file(s->fd, 1);
  if (rc == -EACCES) rc = -EAGAIN;
  if (rc == 0) s->held = 1;
  return rc;
}

int mg_spool_close(mg_spool *s) {
  mg_file file;
  if (s->fd < 0) return 0;
  int facts = mg_sys.file_facts(s->fd, &file);
  if (facts == -EBADF || (facts == 0 && !is_file(s, &file))) return s->fd = -1, -EBADF; /* the program has closed it */
  if (s->held && s->pid == mg_pid()) mg_sys.own_file(s->fd, 0); /* children of other runs may have a copy */
  int rc = mg_sys.close(s->fd);
  s->fd = -1;
  return rc;
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

static int write_all(int fd, const uint8_t *from, size_t n) {
  while (n > 0) {
    ssize_t done = mg_sys.write(fd, from, n);
    if (done == -EINTR) continue;
    if (done < 0) return (int)done;
    if (done == 0) return -EIO;
    from += done;
    n -= (size_t)done;
  }
  return 0;
}

int mg_spool_append(mg_spool *s, uint8_t *record, size_t length, unsigned flags) {
  mg_file file;
  if (length > MG_MAX_ITEM) return -EFBIG;
  memcpy(record, magic, sizeof magic);
  record[4] = VERSION;
  record[5] = (uint8_t)flags;
  record[6] = record[7] = 0;
  put32(record + 8, (uint32_t)length);
  put32(record + 12, mg_crc32c(0, record + MG_SPOOL_HEAD, length));
  int rc = lock(s->fd, MG_LOCK_WRITE);
  if (rc < 0) return rc;
  rc = mg_sys.file_facts(s->fd, &file);
  if (rc == 0 && !is_file(s, &file)) rc = -EBADF; /* the program has closed ours, and opened another under its number */
  if (rc == 0) {
    put32(record + 16, head_crc(record, file.size));
    rc = write_all(s->fd, record, MG_SPOOL_HEAD + length);
    if (rc < 0) mg_sys.truncate_file(s->fd, file.size);
  }
  lock(s->fd, MG_LOCK_NONE);
  return rc;
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

int mg_spool_read(mg_spool_reader *r, const mg_spool *s, const char *path) {
  mg_file file;
  int fd = open_again(s, path, MG_OPEN_READ);
  if (fd < 0) return fd;
  int rc = lock(fd, MG_LOCK_READ);
  if (rc == 0) {
    rc = mg_sys.file_facts(fd, &file);
    if (rc == 0 && !file.regular) rc = -EINVAL;
    lock(fd, MG_LOCK_NONE);
  }
  if (rc < 0) {
    mg_sys.close(fd);
    return rc;
  }
  r->fd = fd;
  r->end = file.size;
  return 0;
}

void mg_spool_read_end(mg_spool_reader *r) {
  if (r->fd >= 0) mg_sys.close(r->fd);
  free(r->buffer);
  r->fd = -1;
  r->buffer = NULL;
  r->filled = r->size = 0;
}

void mg_spool_read_free(mg_spool_reader *r) {
  mg_spool_read_end(r);
  free(r->list);
  r->list = NULL;
  r->listed = r->room = 0;
}

/* Makes the n bytes at `at`, which the file has, readable at *out, and what lies after them as far as there is room.
 * 1; 0 where the file has been cut short meanwhile; -errno. */
static int bytes_at(mg_spool_reader *r, uint64_t at, size_t n, const uint8_t **out) {
  if (at >= r->from && at - r->from + n <= r->filled) {
    *out = r->buffer + (at - r->from);
    return 1;
  }
  if (n > r->size || !r->buffer) {
    size_t size = n > WINDOW ? n : WINDOW;
    uint8_t *larger = malloc(size);
    if (!larger) return -ENOMEM;
    size_t kept = 0;
    if (r->buffer && at >= r->from && at - r->from < r->filled) {
      kept = r->filled - (size_t)(at - r->from);
      memcpy(larger, r->buffer + (at - r->from), kept);
    }
    free(r->buffer);
    r->buffer = larger;
    r->size = size;
    r->filled = kept;
  } else if (at >= r->from && at - r->from < r->filled) {
    r->filled -= (size_t)(at - r->from);
    memmove(r->buffer, r->buffer + (at - r->from), r->filled);
  } else {
    r->filled = 0;
  }
  r->from = at;
  while (r->filled < n) {
    uint64_t left = r->end - (at + r->filled);
    size_t want = r->size - r->filled;
    if (want > left) want = (size_t)left;
    ssize_t got = want ? mg_sys.read_at(r->fd, r->buffer + r->filled, want, at + r->filled) : 0;
    if (got == -EINTR) continue;
    if (got < 0) return (int)got;
    if (got == 0) {
      r->end = at + r->filled;
      return 0;
    }
    r->filled += (size_t)got;
  }
  *out = r->buffer;
  return 1;
}

/* A range of damage begins. */
static int begin_range(mg_spool_reader *r, uint64_t at) {
  if (r->listed < MG_SPOOL_PLACES) {
    if (r->listed == r->room) {
      size_t room = r->room ? 2 * r->room : 16;
      mg_spool_damage *larger = realloc(r->list, room * sizeof *larger);
      if (!larger) return -ENOMEM;
      r->list = larger;
      r->room = room;
    }
    r->list[r->listed++] = (mg_spool_damage){at, 0};
  }
  r->places++;
  return 0;
}

/* Notes that the bytes from `at` on are no record.  A record more has been lost when a range begins, or when there is
 * a sound head in the middle of one. */
static int skip(mg_spool_reader *r, uint64_t at, uint64_t n, int sound_head) {
  if (!r->in_damage || sound_head) r->records++;
  if (!r->in_damage) {
    int rc = begin_range(r, at);
    if (rc < 0) return rc;
    r->in_damage = 1;
  }
  r->bytes += n;
  if (r->places == r->listed) r->list[r->listed - 1].bytes += n;
  r->at = at + n;
  return 0;
}

/* Is there a record at r->at?  1, 0 (*sound_head: its head was in order), -errno. */
static int record_at(mg_spool_reader *r, const uint8_t **value, size_t *length, unsigned *flags, int *sound_head) {
  const uint8_t *head;
  *sound_head = 0;
  if (r->end - r->at < MG_SPOOL_HEAD) return 0;
  int rc = bytes_at(r, r->at, MG_SPOOL_HEAD, &head);
  if (rc <= 0) return rc;
  if (memcmp(head, magic, sizeof magic) != 0 || get32(head + 16) != head_crc(head, r->at)) return 0;
  *sound_head = 1;
  uint32_t n = get32(head + 8), crc = get32(head + 12);
  if (head[4] != VERSION || n > MG_MAX_ITEM || n > r->end - r->at - MG_SPOOL_HEAD) return 0;
  *flags = head[5];
  rc = bytes_at(r, r->at, MG_SPOOL_HEAD + n, &head);
  if (rc <= 0) return rc;
  *value = head + MG_SPOOL_HEAD;
  *length = n;
  return mg_crc32c(0, *value, n) == crc;
}

/* Passes over the byte at r->at and on to the next that may begin a record. */
static int search(mg_spool_reader *r, int sound_head) {
  const uint8_t *bytes;
  int rc = bytes_at(r, r->at, 1, &bytes);
  if (rc <= 0) return rc;
  uint64_t have = r->from + r->filled < r->end ? r->from + r->filled - r->at : r->end - r->at;
  const uint8_t *found = memchr(bytes + 1, magic[0], (size_t)have - 1);
  return skip(r, r->at, found ? (uint64_t)(found - bytes) : have, sound_head);
}

/* After a sound record no other begins.  Perhaps the next one was torn, and the next writer's first bytes happened to
 * be what it lacked: then the next record begins within it.  1 with r->at there, 0, -errno. */
static int look_back(mg_spool_reader *r, const uint8_t **value, size_t *length, unsigned *flags) {
  uint64_t after = r->at;
  for (uint64_t k = 1; k < MG_SPOOL_HEAD && k < after; k++) {
    int sound_head;
    r->at = after - k;
    int rc = record_at(r, value, length, flags, &sound_head);
    if (rc != 0) return rc;
  }
  r->at = after;
  return 0;
}

int mg_spool_refuse(mg_spool_reader *r, uint64_t at, size_t length) {
  int rc = begin_range(r, at);
  if (rc < 0) return rc;
  r->in_damage = 0;
  r->records++;
  r->bytes += MG_SPOOL_HEAD + length;
  if (r->places != r->listed) return 0;
  r->list[r->listed - 1].bytes = MG_SPOOL_HEAD + length;
  return (int)r->listed;
}

int mg_spool_next(mg_spool_reader *r, const uint8_t **value, size_t *length, unsigned *flags) {
  while (r->at < r->end) {
    int sound_head;
    int rc = record_at(r, value, length, flags, &sound_head);
    if (rc == 0 && !r->in_damage && r->at > 0) rc = look_back(r, value, length, flags);
    if (rc == 1) {
      r->in_damage = 0;
      r->record_at = r->at;
      r->at += MG_SPOOL_HEAD + *length;
      return 1;
    }
    if (rc == 0) rc = search(r, sound_head);
    if (rc < 0) return rc;
  }
  return 0;
}
