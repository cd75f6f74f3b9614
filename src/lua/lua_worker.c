/* lua_worker.c - userdata minigun.worker: a child's side of its slot (worker.h), and the emit object of a handler.
 *
 * The loop over the items of a chunk is here, under one protected call; what an error means is decided in Lua.
 */
#include <errno.h>
#include <string.h>

#include "codec/codec_scalar.h"
#include "lua_worker.h"

typedef struct lua_worker {
  mg_worker w; /* first: see mg_check_worker */
  mg_codec *codec;
  int encoding;  /* see mg_encode_alone */
  int accepting; /* a handler runs: emit may be called */
  int stopped;   /* a producer has been told to end */
  int unreadable; /* the item in hand cannot be had */
  int left_out, skip_empty; /* see w:on_left_out */
  lua_CFunction chain; /* see mg_worker_chain */
} lua_worker;

struct lua_emit {
  lua_worker *worker; /* kept alive by the user value */
  unsigned edge;
  unsigned early; /* calls in which further values are looked for */
};

mg_worker *mg_push_worker(lua_State *L, int pool) {
  if (lua_getiuservalue(L, pool, 1) == LUA_TNIL) {
    lua_worker *lw = lua_newuserdatauv(L, sizeof *lw, MG_WORKER_UV_FLUSH);
    memset(lw, 0, sizeof *lw);
    lw->codec = mg_codec_get(L);
    luaL_setmetatable(L, MG_WORKER_TYPE);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, pool, 1);
    lua_remove(L, -2);
  }
  return &((lua_worker *)lua_touserdata(L, -1))->w;
}

void mg_worker_chain(mg_worker *w, lua_CFunction items) { ((lua_worker *)(void *)w)->chain = items; }

static lua_worker *to_worker(lua_State *L, int arg) { return (lua_worker *)(void *)mg_check_worker(L, arg); }

/* A value, at idx, that cannot be serialised; the codec's message is on top of the stack.  Emitted, it is given to the
 * function of w:on_refused, where there is one, which may raise.  Otherwise raises the message. */
static void refuse(lua_State *L, int idx) {
  if (luaL_testudata(L, 1, MG_WORKER_TYPE)) lua_error(L); /* called as w:send */
  lua_getiuservalue(L, 1, 1);
  if (lua_getiuservalue(L, -1, MG_WORKER_UV_ON_REFUSED) != LUA_TFUNCTION) {
    lua_pop(L, 2);
    lua_error(L);
  }
  lua_pushvalue(L, idx);
  lua_pushvalue(L, -4);
  lua_call(L, 2, 0);
}

/* Encodes the value at idx as a record of the item in hand. */
MG_INLINE void append(lua_State *L, lua_worker *lw, int idx, unsigned edge) {
  mg_worker *w = &lw->w;
  if (MG_UNLIKELY(lw->encoding)) luaL_error(L, "emit called from a dump hook, while an item is being encoded");
  size_t least = MG_SCALAR_MOST, room, length;
  unsigned flags;
  uint8_t *to;
  int type = lua_type(L, idx);
  for (;;) {
    mg_worker_reserve(w, least, &to, &room);
    if (type != LUA_TTABLE && (length = mg_scalar(L, type, idx, to)) > 0) {
      mg_worker_append(w, length, edge, 0);
      return;
    }
    int rc = mg_encode_item(L, lw->codec, &lw->encoding, idx, to, room, &length, &flags);
    if (rc == MG_CODEC_OK) break;
    if (rc == MG_CODEC_BAD) {
      refuse(L, idx);
      return;
    }
    /* The bound may be low: grow geometrically. */
    least = least > MG_SCALAR_MOST && length < 2 * room ? 2 * room : length;
  }
  mg_worker_append(w, length, edge, flags);
}

/* Ends a producer that is to stop by an error that is no item's; w:stopped() tells. */
MG_INLINE void end_if_stopped(lua_State *L, lua_worker *lw) {
  if (MG_LIKELY(!lw->w.is_producer || !atomic_load_explicit(&lw->w.shared->stop, memory_order_relaxed))) return;
  lw->stopped = 1;
  lua_pushliteral(L, "the run is being stopped");
  lua_error(L);
}

/* Raises where an emit may not be called now. */
MG_INLINE void check_emit(lua_State *L, lua_emit *e) {
  if (MG_UNLIKELY(!e->worker->accepting || e->worker->w.serial != mg_process_serial))
    luaL_error(L, MG_EMIT_OVER);
  end_if_stopped(L, e->worker);
}

void mg_emit_item(lua_State *L, int arg, mg_source *s, size_t most) {
  lua_emit *e = luaL_checkudata(L, arg, MG_EMIT_TYPE);
  uint8_t *to;
  size_t room;
  check_emit(L, e);
  if (MG_UNLIKELY(e->worker->encoding)) luaL_error(L, "emit called from a dump hook, while an item is being encoded");
  mg_worker_reserve(&e->worker->w, most, &to, &room);
  mg_worker_append(&e->worker->w, mg_source_write(s, to), e->edge, 0);
  mg_source_pass(s);
}

lua_emit *mg_test_emit(lua_State *L, int arg) { return luaL_testudata(L, arg, MG_EMIT_TYPE); }

int mg_emit_scalar(lua_State *L, const lua_emit *e, int idx) {
  const lua_worker *lw = e->worker;
  mg_worker *w = &e->worker->w;
  int type = mg_scalar_type(L, idx), may = lw->accepting && !lw->encoding && !w->is_producer;
  if (type == LUA_TTABLE || !may || w->serial != mg_process_serial) return 0;
  uint8_t *to;
  size_t room, length;
  mg_worker_reserve(w, MG_SCALAR_MOST, &to, &room);
  length = mg_scalar(L, type, idx, to);
  if (length == 0) return 0;
  mg_worker_append(w, length, e->edge, 0);
  return 1;
}

/* emit(value) */
static int l_emit(lua_State *L) {
  lua_emit *e = lua_touserdata(L, 1); /* called through __call of this type only */
  if (MG_UNLIKELY(lua_isnoneornil(L, 2)))
    return luaL_error(L, MG_EMIT_NIL);
  if (MG_UNLIKELY(e->early) && e->early-- && lua_type(L, 3) > LUA_TNIL) return luaL_error(L, MG_EMIT_MORE);
  check_emit(L, e);
  append(L, e->worker, 2, e->edge);
  return 0;
}

/* Raises the error, at 5, that the name given to emit:to is; what is said of swapped arguments policy/route.lua says
 * too. */
static int wrong_name(lua_State *L) {
  lua_pushvalue(L, 3);
  int swapped = lua_type(L, 3) == LUA_TSTRING && lua_gettable(L, 4) != LUA_TSTRING;
  return luaL_error(L, "%s%s", lua_tostring(L, 5), swapped ? "; the order is emit:to(\"stage\", item)" : "");
}

/* emit:to(name, item) */
static int l_emit_to(lua_State *L) {
  lua_emit *e = luaL_testudata(L, 1, MG_EMIT_TYPE);
  if (!e) return luaL_error(L, MG_EMIT_COLON);
  if (lua_type(L, 4) > LUA_TNIL) return luaL_error(L, MG_EMIT_MORE);
  lua_settop(L, 3);
  if (lua_getiuservalue(L, 1, 2) == LUA_TNIL) return luaL_error(L, "emit:to is not for this emit");
  lua_pushvalue(L, 2);
  int kind = lua_gettable(L, 4);
  if (kind == LUA_TSTRING) return wrong_name(L);
  if (lua_isnil(L, 3)) return luaL_error(L, "emit:to: nil cannot be emitted");
  check_emit(L, e);
  lua_Integer n = kind == LUA_TTABLE ? (lua_Integer)lua_rawlen(L, 5) : 1;
  for (lua_Integer i = 1; i <= n; i++) {
    if (kind == LUA_TTABLE) lua_rawgeti(L, 5, i);
    unsigned id = (unsigned)lua_tointeger(L, -1);
    lua_settop(L, 5);
    append(L, e->worker, 3, MG_EDGE_TO | id);
  }
  return 0;
}

/* w:emitter(edge, addresses) -> a callable that emits on that edge; addresses, or nil: for emit:to, what a name means:
 * a stage's number, an array of them, or the string that is the error */
static int l_emitter(lua_State *L) {
  lua_worker *lw = to_worker(L, 1);
  unsigned edge = (unsigned)luaL_checkinteger(L, 2);
  lua_settop(L, 3);
  lua_emit *e = lua_newuserdatauv(L, sizeof *e, 2);
  e->worker = lw;
  e->edge = edge;
  e->early = MG_EMIT_EARLY;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  lua_pushvalue(L, 3);
  lua_setiuservalue(L, -2, 2);
  luaL_setmetatable(L, MG_EMIT_TYPE);
  return 1;
}

/* w:send(edge, value): a record of the library's own, valid also between items */
static int l_send(lua_State *L) {
  append(L, to_worker(L, 1), 3, (unsigned)luaL_checkinteger(L, 2));
  return 0;
}

/* w:next() -> stage, count, attempt, kind, number | nil at the end.  kind: "items", "singly" (items that are to be
 * committed one by one), "inherited" (no bytes: the value came with the fork) or "producer" */
static int l_next(lua_State *L) {
  mg_worker *w = &to_worker(L, 1)->w;
  if (mg_worker_next(w) == 0) return luaL_pushfail(L), 1;
  lua_pushinteger(L, w->chunk.stage);
  lua_pushinteger(L, w->chunk.count);
  lua_pushinteger(L, w->chunk.attempt);
  lua_pushstring(L, w->chunk.flags & MG_CHUNK_PRODUCER        ? "producer"
                    : w->chunk.block == MG_NO_BLOCK        ? "inherited"
                    : w->chunk.flags & MG_CHUNK_SINGLY     ? "singly"
                                                           : "items");
  lua_pushinteger(L, (lua_Integer)w->chunk.chunk);
  return 5;
}

/* Commits all items that are finished, with what the function of w:together says then.  The worker is at `at`, here and
 * below. */
static void commit_all(lua_State *L, int at, lua_worker *lw) {
  lua_getiuservalue(L, at, MG_WORKER_UV_FLUSH);
  lua_call(L, 0, 0);
  mg_worker_commit_all(&lw->w);
}

/* An item has not been decoded as it is; what is wrong is on top of the stack.  Raises; but of a batch that is without
 * some of its items these are kept, see w:on_left_out.  Returns whether nothing is left of the batch. */
static int take_refusal(lua_State *L, int at, lua_worker *lw, int status, unsigned flags) {
  if (status != MG_CODEC_REFUSED || !lua_istable(L, -1)) {
    if (lw->w.together) commit_all(L, at, lw);
    lw->unreadable = flags & MG_RECORD_PIECE ? 2 : 1;
    lua_error(L);
  }
  lua_setiuservalue(L, at, MG_WORKER_UV_LEFT_OUT);
  lw->left_out = 1;
  return !(flags & MG_CODEC_PAIR) && lua_istable(L, -1) && lua_rawlen(L, -1) == 0;
}

/* The handler has taken a batch: tells what was not in it. */
static void tell_left_out(lua_State *L, int at, lua_worker *lw) {
  lw->left_out = 0;
  if (lua_getiuservalue(L, at, MG_WORKER_UV_ON_LEFT_OUT) != LUA_TFUNCTION) return;
  lua_getiuservalue(L, at, MG_WORKER_UV_LEFT_OUT);
  lua_call(L, 1, 0);
}

/* As mg_worker_item and mg_worker_item_done, for the worker that is at `at`. */
MG_INLINE int item(lua_State *L, int at, lua_worker *lw, int *status) {
  mg_record r;
  int rc = mg_worker_record(&lw->w, &r);
  if (MG_UNLIKELY(rc < 0)) mg_exit_now(71); /* the chunk is not what was announced: leave it to the coordinator */
  if (rc == 0) return 0;
  *status = mg_decode_record(L, lw->codec, &r, 0, 1);
  if (MG_UNLIKELY(*status != MG_CODEC_OK) && take_refusal(L, at, lw, *status, r.flags)) {
    lua_pushnil(L);
    lua_replace(L, -2);
  }
  return 1;
}

MG_INLINE void item_done(lua_State *L, int at, lua_worker *lw, int status) {
  if (MG_UNLIKELY(status != MG_CODEC_OK) && lw->left_out) tell_left_out(L, at, lw);
  if (MG_LIKELY(!lw->w.together)) mg_worker_commit(&lw->w);
  else if (mg_worker_pass(&lw->w)) commit_all(L, at, lw);
}

int mg_worker_item(lua_State *L, int at, int *status) { return item(L, at, lua_touserdata(L, at), status); }
void mg_worker_item_done(lua_State *L, int at, int status) { item_done(L, at, lua_touserdata(L, at), status); }

/* Stack: worker, handler, emit, ctx, value.  Runs what is left of the chunk.  Gives whether the handler has returned a
 * value: of the first item only, as that tells enough. */
static int run_items(lua_State *L) {
  lua_worker *lw = lua_touserdata(L, 1);
  mg_worker *w = &lw->w;
  if (w->chunk.block == MG_NO_BLOCK) {
    lua_pushvalue(L, 2);
    if (!w->is_producer) lua_pushvalue(L, 5);
    lua_pushvalue(L, 3);
    lua_pushvalue(L, 4);
    lua_call(L, w->is_producer ? 2 : 3, 1);
    lua_pushboolean(L, !lua_isnil(L, -1));
    if (!w->is_producer) mg_worker_commit(w);
    return 1;
  }
  int look = 1, returned = 0;
  for (int status; lua_pushvalue(L, 2), item(L, 1, lw, &status);) {
    if (MG_LIKELY(status == MG_CODEC_OK || !lua_isnil(L, -1) || !lw->skip_empty)) {
      lua_pushvalue(L, 3);
      lua_pushvalue(L, 4);
      lua_call(L, 3, look);
      if (look) {
        look = 0;
        returned = !lua_isnil(L, -1);
        lua_pop(L, 1);
      }
    }
    item_done(L, 1, lw, status);
    if (MG_UNLIKELY(status != MG_CODEC_OK)) lua_settop(L, 5);
  }
  lua_pushboolean(L, returned);
  return 1;
}

/* w:run(handler, emit, ctx, on_error, value) -> true when the chunk is through, whether the handler returned a value |
 * false, error, items done, whether the item after those cannot be had ("malformed": of a piece): that one has failed,
 * its output is forgotten; call w:commit() to pass over it, then w:run again.  For handler a chain, after c:worker: its
 * entry gets the items. */
static int l_run(lua_State *L) {
  lua_worker *lw = to_worker(L, 1);
  int chain = lw->chain && lua_isuserdata(L, 2); /* without one that is a handler with __call */
  lua_settop(L, 6);
  lua_pushcfunction(L, chain ? lw->chain : run_items);
  static const int orders[][5] = {{1, 2, 3, 4, 6}, {2, 5, 6, 1}};
  for (int i = 0; i < 5 - chain; i++) lua_pushvalue(L, orders[chain][i]);
  lw->accepting = 1;
  int rc = lua_pcall(L, 5 - chain, 1, 5);
  if (MG_UNLIKELY(lw->w.serial != mg_process_serial)) mg_exit_now(1); /* a copy that the handler forked: it ends here */
  lw->accepting = 0;
  if (rc == LUA_OK) {
    lua_pushboolean(L, 1);
    lua_insert(L, -2);
    return 2;
  }
  if (lw->w.together && !lw->unreadable) return lua_error(L); /* its end is the worker's: what it has folded is lost */
  mg_worker_rollback(&lw->w);
  lua_pushboolean(L, 0);
  lua_insert(L, -2);
  lua_pushinteger(L, lw->w.done);
  if (lw->unreadable == 2) lua_pushliteral(L, "malformed");
  else lua_pushboolean(L, lw->unreadable);
  lw->unreadable = 0;
  return 4;
}

/* w:on_refused(f): f(value, message) is called for what is emitted and cannot be serialised, instead of an error */
static int l_on_refused(lua_State *L) {
  to_worker(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, MG_WORKER_UV_ON_REFUSED);
  return 0;
}

/* w:on_left_out(f, skip): f(list) is called when the handler has returned for a batch whose items { item, message } of
 * the list cannot be had, and are not in it; for its error see w:left_out.  Where none is left of it the handler is
 * called with nil, or, with skip, not at all. */
static int l_on_left_out(lua_State *L) {
  lua_worker *lw = to_worker(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lw->skip_empty = lua_toboolean(L, 3);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, MG_WORKER_UV_ON_LEFT_OUT);
  return 0;
}

/* w:left_out() -> that list, of a batch whose handler has raised | nil */
static int l_left_out(lua_State *L) {
  lua_worker *lw = to_worker(L, 1);
  if (!lw->left_out) return 0;
  lw->left_out = 0;
  lua_getiuservalue(L, 1, MG_WORKER_UV_LEFT_OUT);
  return 1;
}

/* w:stopped() -> whether a producer has been ended by p:stop */
static int l_stopped(lua_State *L) {
  lua_pushboolean(L, to_worker(L, 1)->stopped);
  return 1;
}

static int l_commit(lua_State *L) {
  mg_worker_commit(&to_worker(L, 1)->w);
  return 0;
}

static int l_end_chunk(lua_State *L) {
  mg_worker_end_chunk(&to_worker(L, 1)->w);
  return 0;
}

/* w:publish(): what hooks have sent */
static int l_publish(lua_State *L) {
  mg_worker *w = &to_worker(L, 1)->w;
  if (w->end > w->published) mg_worker_publish(w);
  return 0;
}

static const luaL_Reg methods[] = {
    {"next", l_next},           {"run", l_run},         {"emitter", l_emitter}, {"send", l_send},
    {"commit", l_commit},       {"stopped", l_stopped},
    {"end_chunk", l_end_chunk}, {"publish", l_publish},
    {"on_refused", l_on_refused},
    {"left_out", l_left_out},   {"on_left_out", l_on_left_out}, {NULL, NULL},
};

void mg_worker_setup(lua_State *L) {
  luaL_newmetatable(L, MG_WORKER_TYPE);
  luaL_setfuncs(L, methods, 0);
  luaL_setfuncs(L, mg_thread_methods, 0);
  luaL_setfuncs(L, mg_step_methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  mg_emit_type(L, MG_EMIT_TYPE, l_emit, l_emit_to);
}
