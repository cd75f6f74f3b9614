/* lua_piece.h - records that are pieces (source/piece.h): made of a source, and decoded item by item. */
#ifndef MG_LUA_PIECE_H
#define MG_LUA_PIECE_H

#include "codec/codec_scalar.h"
#include "core/record.h"
#include "lua_source.h"

/* Whether the next items of the source may become a piece. */
int mg_piece_possible(const mg_source *s);
/* Bytes that its description takes. */
size_t mg_piece_space(const mg_source *s);
/* Passes over the next items of the source, and describes them at `to`.  How many there are; 0: the next one has to be
 * sent by itself, or tells what is wrong. */
uint32_t mg_piece_describe(mg_source *s, uint8_t *to);
/* Pushes the item of a piece that the record means: MG_CODEC_OK; or MG_CODEC_BAD with a message.  keep: this is a
 * worker, whose next item will come from the same file; it is left open, and where it is. */
int mg_piece_item(lua_State *L, const mg_record *r, int keep);

/* mg_decode for the value of any record. */
static inline int mg_decode_record(lua_State *L, mg_codec *c, const mg_record *r, unsigned more, int keep) {
  if (MG_UNLIKELY(r->flags & MG_RECORD_PIECE)) return mg_piece_item(L, r, keep);
  if (MG_LIKELY(mg_push_integer(L, r->value, r->length))) return MG_CODEC_OK;
  return mg_decode(L, c, r->value, r->length, r->flags | more);
}

#endif
