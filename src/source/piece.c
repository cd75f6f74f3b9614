/* piece.c - see piece.h. */
#include "piece.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/sys.h"

int mg_piece_read(const mg_record *record, mg_piece *p, char path[MG_PATH_MOST]) {
  path[0] = 0;
  if (record->length < sizeof *p) return -EBADMSG;
  memcpy(p, record->value, sizeof *p);
  const mg_cut *c = &p->cut;
  if (p->path > MG_PATH_MOST || p->path > record->length - sizeof *p) return -EBADMSG;
  if (c->kind != MG_CUT_SEPARATED && c->kind != MG_CUT_FIXED && c->kind != MG_CUT_PREFIXED) return -EBADMSG;
  if (c->size == 0 || (c->kind == MG_CUT_SEPARATED && c->size > MG_SEPARATOR_MOST)) return -EBADMSG;
  if (c->kind == MG_CUT_PREFIXED && c->size > sizeof(uint64_t)) return -EBADMSG;
  memcpy(path, record->value + sizeof *p, p->path);
  return p->fd < 0 || (p->path > 0 && path[p->path - 1] == 0) ? 0 : -EBADMSG;
}

static int try_open(const mg_piece *p, const char *path) {
  mg_file facts;
  int fd = mg_sys.open_file(path, MG_OPEN_READ | MG_OPEN_FOLLOW), rc = fd < 0 ? fd : mg_sys.file_facts(fd, &facts);
  if (rc >= 0 && (facts.device != p->device || facts.inode != p->inode)) rc = -ESTALE;
  if (rc < 0) mg_shut(&fd);
  return rc < 0 ? rc : fd;
}

int mg_piece_open(const mg_piece *p, const char *path, mg_reader *r) {
  char kept[64];
  snprintf(kept, sizeof kept, "/proc/%d/fd/%d", (int)p->pid, (int)p->fd);
  int fd = try_open(p, kept);
  if (fd < 0) fd = try_open(p, path);
  if (fd < 0) return fd;
  r->fd = fd;
  r->owned = r->file.regular = 1;
  mg_piece_begin(p, r);
  return 0;
}

void mg_piece_begin(const mg_piece *p, mg_reader *r) {
  r->cut = p->cut;
  r->scan = (mg_scan){0};
  r->start = r->end = 0;
  r->over = p->length == 0;
  r->at = p->offset;
  r->left = p->length;
  r->given = p->first;
}
