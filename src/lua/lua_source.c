/* lua_source.c - userdata minigun.reader: a source (lua_source.h), as Lua sees it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec_scalar.h"
#include "core/sys.h"
#include "lua_source.h"

#define LONGEST ((size_t)1 << 30)
enum { STRING_HEAD = 5, NUMBER_MOST = 9 }; /* bytes, at most */
enum { UV_OPEN = 1, UV_NAMES, UV_KEYS };   /* user values: what it reads, if Lua has opened that; names; `keys` */

/* --- encoding ---------------------------------------------------------------------------------------------------- */

static uint8_t *string_head(uint8_t *to, size_t n) {
  if (n < 32) {
    *to++ = (uint8_t)(MG_FIXSTR | n);
  } else if (n <= UINT8_MAX) {
    *to++ = MG_STR8;
    *to++ = (uint8_t)n;
  } else if (n <= UINT16_MAX) {
    *to = MG_STR16;
    mg_store16(to + 1, (uint16_t)n);
    to += 3;
  } else {
    *to = MG_STR32;
    mg_store32(to + 1, (uint32_t)n);
    to += 5;
  }
  return to;
}

static uint8_t *string(uint8_t *to, const void *from, size_t n) {
  to = string_head(to, n);
  memcpy(to, from, n);
  return to + n;
}

static uint8_t *table_head(uint8_t *to, int is_map, size_t n) {
  if (n < 16) {
    *to = (uint8_t)((is_map ? MG_FIXMAP : MG_FIXARRAY) | n);
    return to + 1;
  }
  *to = is_map ? MG_MAP32 : MG_ARRAY32;
  mg_store32(to + 1, (uint32_t)n);
  return to + 5;
}

static uint8_t *write_row(const mg_source *s, uint8_t *to) {
  const uint8_t *key = s->keys;
  to = table_head(to, s->names > 0, s->row.count);
  for (size_t i = 0; i < s->row.count; i++) {
    const mg_field *f = &s->row.field[i];
    if (s->names > 0) {
      uint64_t none;
      const uint8_t *end = mg_token(key, s->keys + s->keys_length, &none);
      memcpy(to, key, (size_t)(end - key));
      to += end - key;
      key = end;
    }
    to = string_head(to, f->length);
    mg_csv_value(&s->reader.cut, f, to);
    to += f->length;
  }
  return to;
}

static const uint8_t *record_of(const mg_source *s) { return s->reader.buffer + s->reader.start + s->found.at; }

size_t mg_source_write(const mg_source *s, uint8_t *to) {
  uint8_t *p = to;
  switch (s->kind) {
    case MG_ITEM_NUMBER: return mg_integer_bytes(to, s->number);
    case MG_ITEM_ROW: return (size_t)(write_row(s, to) - to);
    case MG_ITEM_PLACED:
      memcpy(p, s->keys, s->keys_length);
      p += s->keys_length;
      p += mg_integer_bytes(p, (int64_t)s->reader.given + 1);
      p = string(p, "text", 4);
      break;
    default: break;
  }
  return (size_t)(string(p, record_of(s), s->found.length) - to);
}

/* --- what comes next --------------------------------------------------------------------------------------------- */

/* The fields of the row that was found, and the bytes that they take. */
static int split(mg_source *s, size_t *most) {
  int rc = mg_csv_split(&s->reader.cut, record_of(s), s->found.length, &s->row);
  s->torn = rc == -EILSEQ ? (int)s->row.count : 0;
  if (s->torn || (rc == 0 && s->names > 0 && s->row.count != s->names)) return MG_SOURCE_BAD;
  *most = STRING_HEAD + s->keys_length;
  for (size_t i = 0; i < s->row.count; i++) *most += STRING_HEAD + s->row.field[i].length;
  return rc < 0 ? rc : MG_READER_HAS;
}

int mg_source_next(mg_source *s, size_t *most) {
  *most = NUMBER_MOST;
  if (s->kind == MG_ITEM_NUMBER) return s->left > 0 ? MG_READER_HAS : MG_READER_ENDS;
  int rc = mg_reader_next(&s->reader, &s->found);
  if (s->kind == MG_ITEM_ROW) {
    for (; rc == MG_READER_HAS && s->found.length == 0; rc = mg_reader_next(&s->reader, &s->found))
      mg_reader_pass(&s->reader, &s->found);
    return rc == MG_READER_HAS ? split(s, most) : rc;
  }
  *most = STRING_HEAD + s->found.length;
  if (s->kind == MG_ITEM_PLACED) *most += s->keys_length + NUMBER_MOST + STRING_HEAD;
  return rc;
}

void mg_source_pass(mg_source *s) {
  if (s->kind != MG_ITEM_NUMBER) {
    mg_reader_pass(&s->reader, &s->found);
    return;
  }
  s->left--;
  s->number = (int64_t)((uint64_t)s->number + (uint64_t)s->step);
}

static void push_row(lua_State *L, int idx, const mg_source *s) {
  int names = s->names > 0 && lua_getiuservalue(L, idx, UV_NAMES) == LUA_TTABLE;
  lua_createtable(L, names ? 0 : (int)s->row.count, names ? (int)s->row.count : 0);
  for (size_t i = 0; i < s->row.count; i++) {
    const mg_field *f = &s->row.field[i];
    luaL_Buffer b;
    if (names) lua_rawgeti(L, -2, (lua_Integer)i + 1);
    if (f->raw == f->length) {
      lua_pushlstring(L, (const char *)f->at, f->length);
    } else {
      mg_csv_value(&s->reader.cut, f, (uint8_t *)luaL_buffinitsize(L, &b, f->length));
      luaL_pushresultsize(&b, f->length);
    }
    if (names) lua_rawset(L, -3);
    else lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  if (names) lua_remove(L, -2);
}

void mg_source_push(lua_State *L, int idx, const mg_source *s) {
  if (s->kind == MG_ITEM_NUMBER) {
    lua_pushinteger(L, s->number);
  } else if (s->kind == MG_ITEM_ROW) {
    push_row(L, idx, s);
  } else {
    lua_pushlstring(L, (const char *)record_of(s), s->found.length);
    if (s->kind == MG_ITEM_TEXT) return;
    lua_createtable(L, 0, 3);
    lua_insert(L, -2);
    lua_setfield(L, -2, "text");
    lua_pushinteger(L, (lua_Integer)s->reader.given + 1);
    lua_setfield(L, -2, "number");
    lua_pushstring(L, s->place);
    lua_setfield(L, -2, "path");
  }
}

/* What is wrong with a row, which is passed. */
static int tell_bad(lua_State *L, mg_source *s) {
  lua_Integer number = (lua_Integer)s->reader.given + 1;
  luaL_pushfail(L);
  if (s->torn)
    lua_pushfstring(L, "record %I: there is something after the last quote of field %d; a field in quotes has its own "
                       "quotes twice", number, s->torn);
  else
    lua_pushfstring(L, "record %I: %I field(s), and there are %I names", number, (lua_Integer)s->row.count,
                    (lua_Integer)s->names);
  lua_pushinteger(L, EBADMSG);
  lua_pushlstring(L, (const char *)record_of(s), s->found.length);
  mg_source_pass(s);
  return 4;
}

int mg_source_tell(lua_State *L, mg_source *s, int rc) {
  if (rc == MG_READER_ENDS || rc == MG_READER_WAITS) return lua_pushboolean(L, rc == MG_READER_ENDS), 1;
  if (rc == MG_SOURCE_BAD) return tell_bad(L, s);
  if (rc == -EMSGSIZE || rc == -ENODATA) {
    const char *what = rc == -EMSGSIZE ? "too long" : "cut short by the end";
    int open = rc == -ENODATA && s->reader.cut.kind == MG_CUT_ROW;
    luaL_pushfail(L);
    lua_pushfstring(L, "record %I is %s%s", (lua_Integer)s->reader.given + 1, what,
                    open ? ": a field in quotes has no quote at its end" : "");
    lua_pushinteger(L, -rc);
    return 3;
  }
  return mg_lua_fail(L, "cannot read", rc);
}

/* --- methods ------------------------------------------------------------------------------------------------------ */

/* r:next() -> its next item | nothing at the end | false: that would wait | nil, message, errno; of a record that is no
 * item, which is passed over, that too */
static int l_next(lua_State *L) {
  size_t most;
  mg_source *s = mg_check_source(L, 1);
  int rc = mg_source_next(s, &most);
  if (rc == MG_READER_ENDS) return 0;
  if (rc != MG_READER_HAS) return mg_source_tell(L, s, rc);
  mg_source_push(L, 1, s);
  mg_source_pass(s);
  return 1;
}

/* The strings of the array at `arg`, encoded one after the other, become s->keys. */
static void take_keys(lua_State *L, int arg, mg_source *s) {
  size_t n = (size_t)luaL_len(L, arg), bytes = 0, length;
  for (size_t i = 1; i <= n; i++) {
    lua_rawgeti(L, arg, (lua_Integer)i);
    luaL_checklstring(L, -1, &length);
    bytes += length + STRING_HEAD;
    lua_pop(L, 1);
  }
  uint8_t *to = lua_newuserdatauv(L, bytes + 1, 0), *p = to;
  for (size_t i = 1; i <= n; i++) {
    lua_rawgeti(L, arg, (lua_Integer)i);
    const char *name = lua_tolstring(L, -1, &length);
    p = string(p, name, length);
    lua_pop(L, 1);
  }
  lua_setiuservalue(L, 1, UV_KEYS);
  lua_pushvalue(L, arg);
  lua_setiuservalue(L, 1, UV_NAMES);
  s->keys = to;
  s->keys_length = (size_t)(p - to);
  s->names = n;
}

/* r:names(array): rows are tables with these keys from now on */
static int l_names(lua_State *L) {
  mg_source *s = mg_check_source(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_argcheck(L, s->kind == MG_ITEM_ROW, 1, "its items are no rows");
  lua_settop(L, 2);
  take_keys(L, 2, s);
  return 0;
}

/* r:placed(path): items are tables with `path`, `number` and `text` from now on */
static int l_placed(lua_State *L) {
  size_t length;
  mg_source *s = mg_check_source(L, 1);
  const char *path = luaL_checklstring(L, 2, &length);
  luaL_argcheck(L, s->kind == MG_ITEM_TEXT, 1, "its items are no texts");
  uint8_t *to = lua_newuserdatauv(L, length + 32, 0), *p = table_head(to, 1, 3);
  p = string(string(p, "path", 4), path, length);
  p = string(p, "number", 6);
  lua_setiuservalue(L, 1, UV_KEYS);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, 1, UV_NAMES);
  s->keys = to;
  s->keys_length = (size_t)(p - to);
  s->place = path;
  s->kind = MG_ITEM_PLACED;
  return 0;
}

/* r:begins(text) -> true, and it is passed over, where it is what comes first | false: that would wait | nil, message,
 * errno */
static int l_begins(lua_State *L) {
  size_t n, most;
  mg_source *s = mg_check_source(L, 1);
  const char *text = luaL_checklstring(L, 2, &n);
  int rc = mg_source_next(s, &most);
  mg_reader *r = &s->reader;
  if (rc == MG_READER_WAITS || rc < 0) return mg_source_tell(L, s, rc);
  if (r->given == 0 && r->end - r->start >= n && n > 0 && memcmp(r->buffer + r->start, text, n) == 0) {
    r->start += n;
    r->scan = (mg_scan){0};
  }
  lua_pushboolean(L, 1);
  return 1;
}

/* r:described() -> whether pieces of it lie in blocks: then it is to be closed when they are gone.  It reads no more.
 */
static int l_described(lua_State *L) {
  mg_source *s = mg_check_source(L, 1);
  mg_reader_forget(&s->reader);
  lua_pushboolean(L, s->described);
  return 1;
}

/* r:fd() -> its descriptor | nil: it is closed */
static int l_fd(lua_State *L) {
  mg_source *s = mg_check_source(L, 1);
  if (s->kind == MG_ITEM_NUMBER || s->reader.fd < 0) luaL_pushfail(L);
  else lua_pushinteger(L, s->reader.fd);
  return 1;
}

/* r:close(); may be called twice */
static int l_close(lua_State *L) {
  mg_source *s = mg_check_source(L, 1);
  if (s->kind != MG_ITEM_NUMBER) mg_reader_close(&s->reader);
  free(s->row.field);
  s->row = (mg_row){0};
  s->left = 0;
  return 0;
}

static mg_source *push_source(lua_State *L) {
  mg_source *s = lua_newuserdatauv(L, sizeof *s, UV_KEYS);
  memset(s, 0, sizeof *s);
  s->reader.fd = -1;
  luaL_setmetatable(L, MG_SOURCE_TYPE);
  return s;
}

/* How it is cut, of the table at `arg`: `separator`, `fixed`, `prefix` (bytes) and `big`, or `comma`; `longest`. */
static mg_cut check_cut(lua_State *L, int arg) {
  size_t n = 0;
  mg_cut c = {.size = 1, .separator = "\n", .quote = '"', .longest = LONGEST};
  if (lua_isnoneornil(L, arg)) return c;
  luaL_checktype(L, arg, LUA_TTABLE);
  if (lua_getfield(L, arg, "longest") != LUA_TNIL) c.longest = (size_t)luaL_checkinteger(L, -1);
  luaL_argcheck(L, c.longest > 0 && c.longest <= LONGEST, arg, "longest: 1 to 1073741824 bytes expected");
  if (lua_getfield(L, arg, "separator") != LUA_TNIL) {
    const char *text = luaL_checklstring(L, -1, &n);
    luaL_argcheck(L, n > 0 && n <= MG_SEPARATOR_MOST, arg, "separator: 1 to 16 bytes expected");
    memcpy(c.separator, text, n);
    c.size = n;
  }
  int sized = lua_getfield(L, arg, "prefix") != LUA_TNIL ? MG_CUT_PREFIXED
              : lua_getfield(L, arg, "fixed") != LUA_TNIL ? MG_CUT_FIXED : 0;
  if (sized) {
    lua_Integer size = luaL_checkinteger(L, -1), most = sized == MG_CUT_FIXED ? (lua_Integer)LONGEST : 8;
    luaL_argcheck(L, size > 0 && size <= most, arg, "fixed, prefix: a number of bytes expected");
    c.kind = sized;
    c.size = (size_t)size;
  }
  lua_getfield(L, arg, "big");
  c.big = lua_toboolean(L, -1);
  if (lua_getfield(L, arg, "comma") != LUA_TNIL) {
    const char *text = luaL_checklstring(L, -1, &n);
    luaL_argcheck(L, n == 1 && !strchr("\n\r\"", *text), arg, "comma: one byte expected, no quote or end of a line");
    c.kind = MG_CUT_ROW;
    c.comma = (uint8_t)*text;
  }
  return c;
}

/* reader(path | descriptor | open file | nil: standard input, cut | nil: lines) -> reader | nil, message, errno.  Only
 * what it has opened itself does it close. */
static int l_reader(lua_State *L) {
  int is_path = lua_type(L, 1) == LUA_TSTRING;
  FILE *f = lua_isnoneornil(L, 1) ? stdin : mg_open_file(L, 1);
  lua_Integer given = is_path || f ? 0 : luaL_checkinteger(L, 1);
  luaL_argcheck(L, given >= 0 && given <= INT32_MAX, 1, "a path, a descriptor or an open file expected");
  mg_cut cut = check_cut(L, 2);
  mg_source *s = push_source(L);
  mg_reader *r = &s->reader;
  r->cut = cut;
  s->kind = cut.kind == MG_CUT_ROW ? MG_ITEM_ROW : MG_ITEM_TEXT;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, UV_OPEN); /* an open file stays open as long as this is there */
  r->owned = is_path;
  s->path = is_path ? lua_tostring(L, 1) : NULL;
  r->fd = is_path ? mg_sys.open_file(lua_tostring(L, 1), MG_OPEN_READ | MG_OPEN_FOLLOW) : f ? fileno(f) : (int)given;
  mg_file facts = {0};
  int rc = r->fd < 0 ? r->fd : mg_sys.file_facts(r->fd, &facts);
  if (rc == 0 && facts.directory) rc = -EISDIR;
  if (rc == 0 && f) rc = mg_reader_ahead(r, f);
  if (rc < 0) {
    mg_reader_close(r);
    return mg_lua_fail(L, "cannot read", rc);
  }
  r->file = facts;
  r->left = UINT64_MAX;
  return 1;
}

/* range(first, step, count) -> reader, whose items are numbers */
static int l_range(lua_State *L) {
  lua_Integer first = luaL_checkinteger(L, 1), step = luaL_checkinteger(L, 2), count = luaL_checkinteger(L, 3);
  mg_source *s = push_source(L);
  s->kind = MG_ITEM_NUMBER;
  s->number = first;
  s->step = step;
  s->left = (uint64_t)count;
  return 1;
}

static const luaL_Reg methods[] = {
    {"next", l_next}, {"names", l_names}, {"placed", l_placed}, {"begins", l_begins},
    {"described", l_described}, {"fd", l_fd}, {"close", l_close},
    {"__gc", l_close}, {"__close", l_close}, {NULL, NULL},
};

static const luaL_Reg functions[] = {{"reader", l_reader}, {"range", l_range}, {NULL, NULL}};

void mg_source_setup(lua_State *L) {
  mg_method_type(L, MG_SOURCE_TYPE, methods);
  luaL_setfuncs(L, functions, 0);
}
