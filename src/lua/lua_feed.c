/* lua_feed.c - emits all that a source has (lua_source.h), as if emit were called for each item. */
#include "lua_worker.h"
#include "lua_writer.h"

static int feed_writer(lua_State *L);

static int go_on(lua_State *L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  mg_writer_resumed(lua_touserdata(L, 1));
  return feed_writer(L);
}

/* Stack: the emit of a producer of the coordinator, which is a writer; the source. */
static int feed_writer(lua_State *L) {
  mg_source *s = lua_touserdata(L, 2);
  for (;;) {
    mg_writer *w = mg_check_writer(L, 1); /* others may have closed it meanwhile */
    size_t most;
    lua_Integer need = mg_writer_piece(w, s);
    int rc = MG_READER_HAS;
    while (need == MG_FULL_NOT && (rc = mg_source_next(s, &most)) == MG_READER_HAS) need = mg_writer_item(w, s, most);
    if (rc != MG_READER_HAS) return mg_source_tell(L, s, rc);
    lua_settop(L, 2);
    mg_writer_push_full(L, w, need);
    lua_callk(L, 3, 0, 0, go_on);
    mg_writer_resumed(w);
  }
}

/* feed(emit, reader) -> nothing: it is no emit that C can call, and nothing has been done | true: all is emitted |
 * false: the source would wait | nil, message, errno; of a record that is no item, which is passed over, that too */
static int l_feed(lua_State *L) {
  mg_source *s = mg_check_source(L, 2);
  size_t most;
  int rc;
  lua_settop(L, 2);
  if (luaL_testudata(L, 1, MG_WRITER_TYPE)) return feed_writer(L);
  if (!luaL_testudata(L, 1, MG_EMIT_TYPE)) return 0;
  while ((rc = mg_source_next(s, &most)) == MG_READER_HAS) mg_emit_item(L, 1, s, most);
  return mg_source_tell(L, s, rc);
}

static const luaL_Reg functions[] = {{"feed", l_feed}, {NULL, NULL}};

void mg_feed_setup(lua_State *L) { luaL_setfuncs(L, functions, 0); }
