/* Minigun: arrays put together from values that are encoded already.
 *
 * An element's bytes are copied as they are; they mean the same in another place, but for references (ext 3): these
 * count the tables from the beginning of the message. In an element that has some, the number of tables before it is
 * added to each; nothing moves by that, as a reference has always 6 bytes. The tables are counted only then. */
#include "codec_state.h"

#include <errno.h>

/* Whether the token is one that references count: an array, a map, a packed array or an object. */
static bool opens_table(const uint8_t *token) {
  uint8_t tag = mg_load8(token), type = 0;
  if (tag >= MG_FIXMAP && tag < MG_FIXSTR) return true;
  if (tag >= MG_ARRAY16 && tag <= MG_MAP32) return true;
  if (tag == MG_EXT8) type = mg_load8(token + 2);
  else if (tag == MG_EXT16) type = mg_load8(token + 3);
  else if (tag == MG_EXT32) type = mg_load8(token + 5);
  else if (tag >= MG_FIXEXT1 && tag <= MG_FIXEXT16) type = mg_load8(token + 1);
  return type == MG_EXT_INTEGERS || type == MG_EXT_FLOATS || type == MG_EXT_OBJECT;
}

/* Counts the tables in what was added since the last time. 0 or -EBADMSG. */
static int count_tables(mg_join *j, const uint8_t *to) {
  const uint8_t *p = to + j->counted, *end = to + j->length;
  uint64_t children;
  while (p && p < end) {
    const uint8_t *token = p;
    p = mg_token(p, end, &children);
    if (p && opens_table(token)) j->tables++;
  }
  if (!p) return -EBADMSG;
  j->counted = j->length;
  return 0;
}

/* Adds `by` to every reference in p..end. */
static int move_references(uint8_t *p, const uint8_t *end, uint32_t by) {
  uint64_t children;
  while (p < end) {
    uint8_t *token = p;
    const uint8_t *after = mg_token(p, end, &children);
    if (!after) return -EBADMSG;
    p += after - p;
    if (p - token == 6 && mg_load8(token) == MG_FIXEXT4 && mg_load8(token + 1) == MG_EXT_REFERENCE) {
      mg_store32(token + 2, mg_load32(token + 2) + by);
    }
  }
  return 0;
}

/* How many there will be is not known yet: the head is as long as it may have to be. */
static uint8_t *put_head(uint8_t *p, uint32_t most, uint32_t count) {
  *p++ = most <= UINT16_MAX ? MG_ARRAY16 : MG_ARRAY32;
  if (most <= UINT16_MAX) {
    mg_store16(p, (uint16_t)count);
    return p + 2;
  }
  mg_store32(p, count);
  return p + 4;
}

void mg_join_begin(mg_join *j, uint8_t *to, uint32_t most, int64_t number) {
  uint8_t *p = to;
  *j = (mg_join){.most = most > UINT16_MAX ? UINT32_MAX : UINT16_MAX};
  if (number >= 0) {
    *p++ = MG_FIXARRAY | 2;
    *p++ = MG_UINT64;
    mg_store64(p, (uint64_t)number);
    p += 8;
  }
  j->flags = MG_CODEC_BATCH | (number >= 0 ? MG_CODEC_PAIR : 0);
  j->head = (size_t)(p - to);
  j->length = (size_t)(put_head(p, j->most, 0) - to);
}

int mg_join_place(mg_join *j, uint8_t *to, size_t length, unsigned flags) {
  int rc = 0;
  if (flags & MG_CODEC_REFS) {
    rc = count_tables(j, to);
    if (rc == 0) rc = move_references(to + j->length, to + j->length + length, j->tables);
  }
  j->length += length;
  j->count++;
  j->flags |= flags & (MG_CODEC_REFS | MG_CODEC_DEEP);
  return rc;
}

int mg_join_add(mg_join *j, uint8_t *to, const uint8_t *value, size_t length, unsigned flags) {
  memcpy(to + j->length, value, length);
  return mg_join_place(j, to, length, flags);
}

void mg_join_end(mg_join *j, uint8_t *to) { put_head(to + j->head, j->most, j->count); }
