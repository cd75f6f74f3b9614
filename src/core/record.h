/* record.h - how items lie in a block.
 *
 *   0      4      6      7      8                    8 + length   padded to 8
 *   +------+------+------+------+--------------------+-----------+
 *   |length| edge | ver  |flags | encoded value      | padding   |
 *   +------+------+------+------+--------------------+-----------+
 *
 * length: bytes of the value, u32 of the machine's byte order (records never leave the machine).
 * edge:   which stream the item belongs to (numbered through the whole plan by the run): one block may mix several.
 * ver:    MG_RECORD_VERSION.   flags: the codec's.
 *
 * Every walk takes the end of the range as its limit and reads each length once: the bytes may have been written, and
 * may still be written, by a worker that has gone wrong.
 */
#ifndef MG_RECORD_H
#define MG_RECORD_H

#include <string.h>

#include "mg.h"

#define MG_RECORD_HEAD 8u
#define MG_RECORD_VERSION 1
enum { /* edges; items travel on the number of the stage that has emitted them, from 1 */
  MG_EDGE_TO = 0x8000,      /* plus a stage's number: items sent to that stage, whatever the graph says */
  MG_EDGE_REPORTS = 0xfffe, /* what a worker tells beside items */
  MG_EDGE_ANY = UINT16_MAX  /* as a filter: every edge; as a block's edge: it mixes several */
};
/* As a filter: the range is one record that stands for many items, a piece (source/piece.h).  The bits below say how
 * many of them come before those that are meant; however such a range is cut, offset and length stay the record's. */
#define MG_EDGE_PIECE 0x80000000u
enum { MG_RECORD_PIECE = 128 }; /* the same as a flag of the record */

typedef struct mg_record {
  const uint8_t *value;
  uint32_t length;
  uint16_t edge;
  uint8_t flags;
  uint32_t index; /* of a piece: the item that is meant, from 0 */
} mg_record;

static inline uint32_t mg_record_space(size_t length) {
  return (uint32_t)((MG_RECORD_HEAD + length + 7) & ~(size_t)7);
}

static inline void mg_record_head(uint8_t *at, uint32_t length, unsigned edge, unsigned flags) {
  uint16_t e = (uint16_t)edge;
  memcpy(at, &length, 4);
  memcpy(at + 4, &e, 2);
  at[6] = MG_RECORD_VERSION;
  at[7] = (uint8_t)flags;
}

/* Reads the record at `at`; returns the space it takes, or 0 when it does not lie within `left` bytes. */
static inline uint32_t mg_record_read(const uint8_t *at, size_t left, mg_record *r) {
  if (left < MG_RECORD_HEAD) return 0;
  memcpy(&r->length, at, 4);
  memcpy(&r->edge, at + 4, 2);
  uint8_t version = at[6];
  r->flags = at[7];
  r->index = 0;
  r->value = at + MG_RECORD_HEAD;
  size_t space = (size_t)MG_RECORD_HEAD + (((size_t)r->length + 7) & ~(size_t)7);
  return version == MG_RECORD_VERSION && space <= left && space <= UINT32_MAX ? (uint32_t)space : 0;
}

/* Walks over at most `most` records whose edge is `only` (others are passed over, uncounted).  *count = records walked
 * over.  Returns the offset after the last of them, or 0 when the range is damaged there (*count tells how far). */
static inline uint32_t mg_record_walk(const uint8_t *base, uint32_t from, uint32_t to, unsigned only, uint32_t most,
                                      uint32_t *count) {
  uint32_t n = 0, at = from;
  mg_record r;
  while (at < to && n < most) {
    uint32_t space = mg_record_read(base + at, to - at, &r);
    if (space == 0) {
      *count = n;
      return 0;
    }
    at += space;
    n += only == MG_EDGE_ANY || r.edge == only;
  }
  *count = n;
  return at;
}

/* Reads the record of a piece for one of its items, the n-th (from 0) of those that `only` means.  Whatever the record
 * has become there is such an item, which cannot be decoded then.  1. */
static inline int mg_piece_record(const uint8_t *at, size_t left, uint32_t only, uint32_t n, mg_record *r) {
  if (mg_record_read(at, left, r) == 0) *r = (mg_record){.value = at};
  r->flags |= MG_RECORD_PIECE;
  r->index = (only & ~MG_EDGE_PIECE) + n;
  return 1;
}

/* Walks over at most `most` items of a range, of which `*only` are meant.  Returns the offset after them, or 0 as
 * mg_record_walk does.  Of a piece `*only` moves on instead, to what comes after them, and `to` is returned. */
static inline uint32_t mg_item_walk(const uint8_t *base, uint32_t from, uint32_t to, uint32_t *only, uint32_t most,
                                    uint32_t *count) {
  if (!(*only & MG_EDGE_PIECE)) return mg_record_walk(base, from, to, *only, most, count);
  mg_record r;
  uint32_t all = 0, passed = *only & ~MG_EDGE_PIECE;
  mg_piece_record(base + from, to - from, *only, 0, &r);
  if (r.length >= sizeof all) memcpy(&all, r.value, sizeof all);
  *count = all < passed ? 0 : all - passed < most ? all - passed : most;
  *only += *count;
  return all < passed ? 0 : to;
}

#endif
