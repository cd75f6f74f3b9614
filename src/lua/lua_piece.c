/* lua_piece.c - see lua_piece.h. */
#include "lua_piece.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "core/proc.h"
#include "source/piece.h"

/* What a piece is about: items, of which there is a limit for a chunk, and bytes. */
enum { ITEMS = 1 << 19, BYTES = 1 << 22, NUMBERS = 1 << 16, FEW = 1 << 10 };

/* --- in the coordinator ------------------------------------------------------------------------------------------ */

int mg_piece_possible(const mg_source *s) {
  if (s->kind == MG_ITEM_NUMBER) return s->left >= FEW;
  return s->path && s->kind != MG_ITEM_ROW && mg_reader_may_scan(&s->reader);
}

size_t mg_piece_space(const mg_source *s) { return sizeof(mg_piece) + (s->path ? strlen(s->path) + 1 : 0); }

uint32_t mg_piece_describe(mg_source *s, uint8_t *to) {
  static uint64_t made;
  mg_reader *r = &s->reader;
  mg_piece p = {.pid = mg_pid(), .fd = -1, .serial = ++made, .first = r->given, .cut = r->cut};
  if (s->kind == MG_ITEM_NUMBER) {
    p.count = s->left < NUMBERS ? (uint32_t)s->left : NUMBERS;
    p.offset = (uint64_t)s->number;
    p.length = (uint64_t)s->step;
    p.cut.size = 1;
    s->left -= p.count;
    s->number = (int64_t)(p.offset + p.count * p.length);
  } else {
    p.offset = r->at - (r->end - r->start);
    int64_t n = mg_reader_scan(r, ITEMS, BYTES, &p.length);
    if (n <= 0) return 0;
    p.count = (uint32_t)n;
    p.fd = r->fd;
    p.numbered = s->kind == MG_ITEM_PLACED;
    p.device = r->file.device;
    p.inode = r->file.inode;
    p.path = (uint32_t)strlen(s->path) + 1;
    memcpy(to + sizeof p, s->path, p.path);
    s->described = 1;
  }
  memcpy(to, &p, sizeof p);
  return p.count;
}

/* --- where the items are decoded --------------------------------------------------------------------------------- */

typedef struct opened { /* a file that pieces are read from */
  mg_source source;
  mg_piece piece;
  char path[MG_PATH_MOST];
  uint32_t next;    /* the item that comes next */
  unsigned process; /* that has opened it */
} opened;

static opened kept; /* in a worker */

static int bad(lua_State *L, const char *path, int rc, uint32_t index, const mg_piece *p) {
  if (rc == -EBADMSG) lua_pushliteral(L, "the description of a piece of a source is damaged");
  else if (rc == MG_READER_ENDS)
    lua_pushfstring(L, "'%s': record %I is not there any more: the file was changed while it was read", path,
                    (lua_Integer)(p->first + index + 1));
  else if (rc == -ESTALE) lua_pushfstring(L, "'%s' was replaced by another file while it was read", path);
  else lua_pushfstring(L, "'%s': cannot read: %s", path, strerror(-rc));
  return MG_CODEC_BAD;
}

/* Goes to an item of the piece, in the file that is open.  0; -errno, or MG_READER_ENDS where it ends before. */
static int go_to(opened *o, uint32_t index) {
  mg_reader *r = &o->source.reader;
  mg_found f;
  if (index < o->next) {
    mg_piece_begin(&o->piece, r);
    o->next = 0;
  }
  if (r->cut.kind == MG_CUT_FIXED && index > o->next) {
    uint64_t passed = index * (uint64_t)r->cut.size;
    if (passed >= o->piece.length) return MG_READER_ENDS;
    mg_piece_begin(&o->piece, r);
    r->at += passed;
    r->left -= passed;
    r->given += index;
    o->next = index;
  }
  for (; o->next < index; o->next++) {
    int rc = mg_reader_next(r, &f);
    if (rc != MG_READER_HAS) return rc;
    mg_reader_pass(r, &f);
  }
  return 0;
}

/* Opens what a piece is of; what is open already stays, if it is the same file. */
static int open_piece(opened *o, const mg_piece *p, const char *path) {
  const mg_piece *now = &o->piece;
  mg_reader *r = &o->source.reader;
  int same = o->process == mg_process_serial && now->device == p->device && now->inode == p->inode && r->fd >= 0 &&
             strcmp(path, o->path) == 0;
  if (same) {
    mg_piece_begin(p, r);
  } else {
    if (o->process) mg_reader_close(r);
    o->process = 0;
    int rc = mg_piece_open(p, path, r);
    if (rc < 0) return rc;
    memcpy(o->path, path, p->path);
    o->process = mg_process_serial;
  }
  o->piece = *p;
  o->next = 0;
  o->source.kind = p->numbered ? MG_ITEM_PLACED : MG_ITEM_TEXT;
  o->source.place = o->path;
  return 0;
}

/* Pushes the item; the piece is the one that is open. */
static int push_item(lua_State *L, opened *o, uint32_t index) {
  size_t most;
  int rc = index == o->next ? 0 : go_to(o, index);
  if (rc == 0) rc = mg_source_next(&o->source, &most);
  if (MG_UNLIKELY(rc != MG_READER_HAS)) {
    o->piece.serial = 0;
    return bad(L, o->path, rc, index, &o->piece);
  }
  mg_source_push(L, 0, &o->source);
  mg_source_pass(&o->source);
  o->next++;
  return MG_CODEC_OK;
}

static int l_close_opened(lua_State *L) {
  mg_reader_close(&((opened *)lua_touserdata(L, 1))->source.reader);
  return 0;
}

/* A file that is open for one item: closed by lua_close, or where what follows raises. */
static opened *push_opened(lua_State *L) {
  opened *o = lua_newuserdatauv(L, sizeof *o, 0);
  memset(o, 0, sizeof *o);
  o->source.reader.fd = -1;
  if (luaL_newmetatable(L, "minigun.piece")) {
    lua_pushcfunction(L, l_close_opened);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return o;
}

int mg_piece_item(lua_State *L, const mg_record *r, int keep) {
  mg_piece p = {0};
  char path[MG_PATH_MOST];
  uint64_t serial = 0;
  int32_t pid = 0;
  if (MG_LIKELY(r->length >= sizeof p)) {
    memcpy(&serial, r->value + offsetof(mg_piece, serial), sizeof serial);
    memcpy(&pid, r->value + offsetof(mg_piece, pid), sizeof pid);
  }
  if (keep && serial == kept.piece.serial && pid == kept.piece.pid && kept.process == mg_process_serial &&
      MG_LIKELY(serial > 0 && r->index < kept.piece.count))
    return push_item(L, &kept, r->index);
  int rc = mg_piece_read(r, &p, path);
  if (rc < 0 || r->index >= p.count) return bad(L, path, -EBADMSG, 0, &p);
  if (p.fd < 0) {
    lua_pushinteger(L, (lua_Integer)(p.offset + r->index * p.length));
    return MG_CODEC_OK;
  }
  opened *o = keep ? &kept : push_opened(L);
  rc = open_piece(o, &p, path);
  rc = rc < 0 ? bad(L, path, rc, 0, &p) : push_item(L, o, r->index);
  if (keep) return rc;
  mg_reader_close(&o->source.reader);
  lua_remove(L, -2);
  return rc;
}
