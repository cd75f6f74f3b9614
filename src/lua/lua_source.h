/* lua_source.h - a source: what gives items that C can encode by itself, for the files that emit them.
 *
 * Its items are the records of a descriptor (source/reader.h): as they are, with the place where they come from, or the
 * fields of rows; or the numbers of a range.  It is used from one process, and owns what it has opened.
 */
#ifndef MG_LUA_SOURCE_H
#define MG_LUA_SOURCE_H

#include "lua_mg.h"
#include "source/csv.h"
#include "source/reader.h"

#define MG_SOURCE_TYPE "minigun.reader"

enum { MG_ITEM_TEXT, MG_ITEM_PLACED, MG_ITEM_ROW, MG_ITEM_NUMBER };
/* What mg_source_next gives beside MG_READER_...: the record is no item. */
enum { MG_SOURCE_BAD = 3 };

typedef struct mg_source {
  int kind;
  mg_reader reader;
  mg_found found;          /* the record that mg_source_next has found */
  mg_row row;              /* its fields */
  int torn;                /* of a bad one: the number of the field that is wrong; 0: there are too few, or too many */
  size_t names;            /* of rows that become tables with these keys; 0: they become arrays */
  const uint8_t *keys;     /* encoded: the names; of MG_ITEM_PLACED what comes before the number */
  size_t keys_length;      /* a user value keeps them */
  const char *path;        /* that has been opened, or NULL; a user value keeps it */
  const char *place;       /* of MG_ITEM_PLACED: what its items come from; kept likewise */
  int described;           /* pieces of it lie in blocks: lua_piece.h */
  int64_t number, step;    /* of a range: the next one */
  uint64_t left;
} mg_source;

static inline mg_source *mg_check_source(lua_State *L, int arg) { return luaL_checkudata(L, arg, MG_SOURCE_TYPE); }

/* Finds the next item: MG_READER_HAS with *most, the bytes that it takes encoded at most; or another of the above, or
 * -errno.  The same item again, until it is passed. */
int mg_source_next(mg_source *s, size_t *most);
/* Encodes it at `to`, which has room; returns its bytes. */
size_t mg_source_write(const mg_source *s, uint8_t *to);
/* Pushes the item of the source at that index. */
void mg_source_push(lua_State *L, int idx, const mg_source *s);
void mg_source_pass(mg_source *s);
/* Pushes what a result other than MG_READER_HAS is to the caller in Lua: true (the end) | false (it would wait) |
 * nil, message, errno, the record (of one that is no item, and is passed).  Returns how many values that are. */
int mg_source_tell(lua_State *L, mg_source *s, int rc);

#endif
