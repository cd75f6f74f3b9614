/* lua_chain_run.c - how items go through a chain: see lua_chain.h. */
#include <string.h>

#include "core/clock.h"
#include "lua_chain.h"

/* Levels that there is room for at first, and at most: the number of one is 16 bits of a continuation's context. */
enum { LEVELS = 8, LEVELS_MOST = 0xffff };

static int handler_returned(lua_State *L, int status, lua_KContext at);
static int called(lua_State *L, int status, lua_KContext at);

mg_chain *mg_check_chain(lua_State *L) {
  mg_chain *c = lua_touserdata(L, 1);
  int is = c && lua_getmetatable(L, 1) && lua_rawequal(L, -1, lua_upvalueindex(1));
  if (MG_UNLIKELY(!is)) luaL_typeerror(L, 1, MG_CHAIN_TYPE);
  lua_pop(L, 1);
  return c;
}

mg_link *mg_check_link(lua_State *L, int arg) {
  const mg_chain *c = mg_check_chain(L);
  uint32_t id = mg_check_u32(L, arg);
  luaL_argcheck(L, id <= c->ids && c->by_id[id], arg, "no stage of this chain");
  return c->by_id[id];
}

mg_level *mg_chain_level(lua_State *L, mg_chain *c, mg_level_kind kind) {
  if (MG_UNLIKELY(c->depth == c->room_levels)) {
    uint32_t room = c->room_levels ? 2 * c->room_levels : LEVELS;
    if (room > LEVELS_MOST) luaL_error(L, "calls of stages in stages are nested too deeply");
    mg_level *levels = lua_newuserdatauv(L, room * sizeof *levels, 0);
    if (c->depth) memcpy(levels, c->levels, c->depth * sizeof *levels);
    lua_setiuservalue(L, MG_AT_CHAIN, MG_CHAIN_LEVELS);
    c->levels = levels;
    c->room_levels = room;
  }
  mg_level *v = &c->levels[c->depth++];
  v->kind = kind;
  v->serial = ++c->serial;
  v->base = c->top;
  return v;
}

mg_level *mg_chain_begin(lua_State *L, mg_chain *c) {
  mg_level *v = mg_chain_level(L, c, MG_LEVEL_CALL);
  v->before = c->running;
  v->s = NULL;
  v->cursor = NULL;
  v->count = v->unread = 0;
  c->running = NULL;
  return v;
}

/* Makes the level of that key the one on top; returns whether it was not.  Raises where it is gone. */
static int back_to(lua_State *L, mg_chain *c, lua_KContext at) {
  uint32_t depth = (uint32_t)at & LEVELS_MOST, before = c->depth;
  if (depth <= before) {
    c->depth = depth;
    if (mg_chain_key(c) == at) return depth != before;
    c->depth = before;
  }
  return luaL_error(L, "a handler goes on, in a coroutine, after its call was given up");
}

/* --- calls of Lua's ---------------------------------------------------------------------------------------------- */

/* The function and the id, below `args` values that are on top. */
static void push_function(lua_State *L, int chain, int function, const mg_link *s, int args) {
  lua_getiuservalue(L, chain, function);
  lua_pushinteger(L, s->id);
  if (args) lua_rotate(L, -2 - args, 2);
}

void mg_chain_call(lua_State *L, int chain, int function, mg_link *s, int args, int results) {
  push_function(L, chain, function, s, args);
  lua_call(L, args + 1, results);
}

/* The same where the function may yield: what is to be done then is on the levels. */
static void call_out(lua_State *L, mg_chain *c, int function, const mg_link *s, int args) {
  lua_KContext at = mg_chain_key(c);
  push_function(L, MG_AT_CHAIN, function, s, args);
  lua_callk(L, args + 1, 0, at, called);
  back_to(L, c, at);
}

static int called(lua_State *L, int status, lua_KContext at) {
  mg_chain *c = lua_touserdata(L, MG_AT_CHAIN);
  (void)status;
  back_to(L, c, at);
  lua_settop(L, MG_AT_EXTRA);
  return mg_chain_go(L, c);
}

/* --- the handler's call ------------------------------------------------------------------------------------------ */

mg_level *mg_chain_enter(mg_chain *c, mg_link *s) {
  mg_level *v = mg_chain_top(c);
  v->kind = MG_LEVEL_RUNNING;
  v->s = s;
  v->cursor = NULL;
  v->attempt = 1;
  v->number = 0;
  v->since = 0;
  v->fields = MG_FIELDS_NONE;
  return v;
}

/* A call that is to be looked at begins. */
static void look(lua_State *L, mg_chain *c, mg_link *s) {
  mg_chain_call(L, MG_AT_CHAIN, MG_CHAIN_LOOK, s, 0, 1);
  if (lua_toboolean(L, -1)) s->flags |= MG_LINK_WATCHING;
  lua_pop(L, 1);
  mg_chain_top(c)->since = mg_now();
}

/* It is over: when to look again, and at what. */
static void looked(lua_State *L, mg_level *v) {
  mg_link *s = v->s;
  lua_pushnumber(L, (lua_Number)(mg_now() - v->since) / 1e9);
  mg_chain_call(L, MG_AT_CHAIN, MG_CHAIN_LOOKED, s, 1, 3);
  s->skip = (uint32_t)lua_tointeger(L, -3);
  s->flags &= ~(unsigned)(MG_LINK_WATCHING | MG_LINK_EARLY);
  if (lua_toboolean(L, -2)) s->flags |= MG_LINK_WATCHING;
  if (lua_toboolean(L, -1)) s->flags |= MG_LINK_EARLY;
  lua_pop(L, 3);
}

/* The handler has raised; the error is on top.  Its attempt leaves nothing. */
static void fail(lua_State *L, mg_chain *c) {
  mg_level *v = mg_chain_top(c);
  mg_link *s = v->s;
  mg_kept_drop(L, c, v->base);
  s->failed++;
  s->flags = (s->flags | MG_LINK_KEEPS) & ~(unsigned)MG_LINK_EFFECTS;
  mg_item_again(L, v);
  lua_insert(L, -2);
  lua_pushinteger(L, v->attempt);
  lua_pushboolean(L, s->partial);
  lua_Integer number = v->number ? v->number : v->attempt == 1 ? s->in + s->read : 0;
  if (number) lua_pushinteger(L, number);
  else lua_pushnil(L);
  c->depth--;
  call_out(L, c, MG_CHAIN_FAILED, s, 5);
  lua_settop(L, MG_AT_EXTRA);
}

/* The value is what a map emits. */
static void emit_value(lua_State *L, mg_chain *c, mg_link *s) {
  if (s->inners != 1 || s->flags & (MG_LINK_OUTSIDE | MG_LINK_EFFECTS)) {
    mg_kept_add(L, c, -1);
    mg_chain_pass(L, c);
    return;
  }
  lua_replace(L, MG_AT_ITEM);
  s->out++;
  s->inner[0]->in++;
  mg_chain_enter(c, s->inner[0]);
}

/* The function of a map or a fold has returned; its value is on top.  1: it was taken, and the levels say what comes
 * next; 0: it was nil, and the error that this is is on top instead. */
static int take_value(lua_State *L, mg_chain *c) {
  mg_link *s = mg_chain_top(c)->s;
  if (MG_UNLIKELY(lua_isnil(L, -1))) {
    push_function(L, MG_AT_CHAIN, MG_CHAIN_NOTHING, s, 0);
    lua_pcall(L, 1, 1, MG_AT_NOTE); /* it raises */
    return 0;
  }
  if (s->flags & MG_LINK_FOLDS) {
    lua_setiuservalue(L, MG_AT_CHAIN, s->place + MG_LINK_VALUE);
    s->folded++;
    c->depth--;
  } else {
    emit_value(L, c, s);
  }
  lua_settop(L, MG_AT_EXTRA);
  return 1;
}

/* The handler of the level of that key has returned, what it gave is on top; its emissions are what comes next. */
static void returned(lua_State *L, mg_chain *c, int status, lua_KContext at) {
  int ok = status == LUA_OK || status == LUA_YIELD;
  if (MG_UNLIKELY(c->reading && !ok)) { /* in a row: it is not the handler's */
    c->reading = 0;
    lua_error(L);
  }
  int torn = back_to(L, c, at);
  mg_level *v = mg_chain_top(c);
  mg_link *s = v->s;
  c->running = NULL;
  if (s->flags & MG_LINK_ASIDE) mg_worker_aside(c->worker, 0);
  if (MG_UNLIKELY(torn && ok)) {
    lua_pushliteral(L, "stages that were called while the handler waited, in another coroutine, have not ended");
    ok = 0;
  }
  if (MG_UNLIKELY(v->since)) {
    looked(L, v);
    v = mg_chain_top(c);
  }
  if (ok && v->direct && take_value(L, c)) return;
  ok = ok && !v->direct;
  if (MG_UNLIKELY(!ok)) {
    fail(L, c);
    return;
  }
  if (MG_UNLIKELY(!lua_isnil(L, -1) && !(s->flags & MG_LINK_RETURNED))) {
    s->flags |= MG_LINK_RETURNED;
    mg_chain_call(L, MG_AT_CHAIN, MG_CHAIN_RETURNED, s, 0, 0);
  }
  mg_chain_pass(L, c);
}

static int handler_returned(lua_State *L, int status, lua_KContext at) {
  mg_chain *c = lua_touserdata(L, MG_AT_CHAIN);
  returned(L, c, status, at);
  return mg_chain_go(L, c);
}

/* Whether the function of a map or a fold can be called instead of its handler. */
static int is_direct(const mg_link *s) {
  if (s->flags & MG_LINK_FOLDS) return s->folded > 0;
  return s->flags & MG_LINK_MAPS && !(s->flags & (MG_LINK_SLOW | MG_LINK_WATCHING | MG_LINK_EARLY));
}

/* Pushes that, and its arguments; returns how many. */
static int push_direct(lua_State *L, const mg_link *s) {
  int folds = (s->flags & MG_LINK_FOLDS) != 0;
  lua_getiuservalue(L, MG_AT_CHAIN, s->place + MG_LINK_DIRECT);
  if (folds) lua_getiuservalue(L, MG_AT_CHAIN, s->place + MG_LINK_VALUE);
  lua_pushvalue(L, MG_AT_ITEM);
  return 1 + folds;
}

/* Pushes the link, its handler and its arguments; returns how many. */
static int push_handler(lua_State *L, mg_link *s, const mg_level *v) {
  lua_getiuservalue(L, MG_AT_CHAIN, s->place);
  lua_getiuservalue(L, -1, MG_LINK_UV_HANDLER);
  lua_pushvalue(L, MG_AT_ITEM);
  lua_pushvalue(L, -3);
  lua_getiuservalue(L, -1, MG_LINK_UV_CTX);
  if (MG_UNLIKELY(s->attempt != v->attempt)) {
    lua_pushinteger(L, s->attempt = v->attempt);
    lua_setfield(L, -2, "attempt");
  }
  return 3;
}

/* Calls the handler of the level on top. */
static void run(lua_State *L, mg_chain *c) {
  mg_level *v = mg_chain_top(c);
  mg_link *s = v->s;
  if (MG_UNLIKELY(s->flags & MG_LINK_GATHERS)) {
    c->depth--;
    lua_pushvalue(L, MG_AT_ITEM);
    call_out(L, c, MG_CHAIN_GATHER, s, 1);
    return;
  }
  if (MG_UNLIKELY(s->skip == 0)) {
    look(L, c, s);
    v = mg_chain_top(c);
  } else {
    s->skip--;
  }
  if (MG_UNLIKELY(s->flags & (MG_LINK_KEEPS | MG_LINK_WATCHING))) mg_item_keep(L, c, v);
  v->direct = is_direct(s);
  int args = v->direct ? push_direct(L, s) : push_handler(L, s, v);
  if (s->flags & MG_LINK_QUIET && v->cursor && !v->direct && !v->since) args = mg_row_push(L);
  s->partial = 0;
  c->running = s;
  if (s->flags & MG_LINK_ASIDE) mg_worker_aside(c->worker, 1);
  lua_KContext at = mg_chain_key(c);
  returned(L, c, lua_pcallk(L, args, 1, MG_AT_NOTE, at, handler_returned), at);
}

/* --- passing on -------------------------------------------------------------------------------------------------- */

void mg_chain_pass(lua_State *L, mg_chain *c) {
  mg_level *v = mg_chain_top(c);
  mg_link *s = v->s;
  uint32_t n = c->top - v->base;
  v->kind = MG_LEVEL_PASSING;
  v->n = n;
  v->at = v->target = 0;
  s->out += n;
  s->flags = n ? s->flags & ~(unsigned)MG_LINK_QUIET : s->flags | MG_LINK_QUIET;
  lua_settop(L, MG_AT_EXTRA);
  if (n > 1 && !(s->flags & MG_LINK_WATCHING) && MG_UNLIKELY(mg_kept_unshare(L, c, v->base)))
    mg_chain_call(L, MG_AT_CHAIN, MG_CHAIN_SHARED, s, 0, 0);
  if (MG_UNLIKELY(s->flags & MG_LINK_EFFECTS)) {
    s->flags &= ~(unsigned)MG_LINK_EFFECTS;
    call_out(L, c, MG_CHAIN_PASS_EFFECTS, s, 0);
  }
}

/* The item at MG_AT_ITEM leaves the chain. */
static void deliver(lua_State *L, mg_chain *c, mg_link *s) {
  c->sender = s;
  if (s->emit && MG_LIKELY(mg_emit_scalar(L, s->emit, MG_AT_ITEM))) return;
  lua_getiuservalue(L, MG_AT_CHAIN, s->place);
  lua_getiuservalue(L, -1, MG_LINK_UV_OUT);
  int args = 1 + (lua_getiuservalue(L, -2, MG_LINK_UV_STAGE) != LUA_TNIL);
  if (args == 1) lua_pop(L, 1);
  lua_pushvalue(L, MG_AT_ITEM);
  lua_KContext at = mg_chain_key(c);
  lua_callk(L, args, 0, at, called);
  back_to(L, c, at);
}

/* Where the item at MG_AT_ITEM goes that is for one stage: to that, if it is in the chain. */
static mg_link *send_one(lua_State *L, mg_chain *c, mg_link *s, lua_Integer id) {
  if (id <= c->ids && c->by_id[id] && !(s->flags & MG_LINK_APART)) return c->by_id[id];
  c->sender = s;
  lua_pushinteger(L, id);
  lua_pushvalue(L, MG_AT_ITEM);
  call_out(L, c, MG_CHAIN_SEND_TO, s, 2);
  return NULL;
}

/* Passes one emission of the level on top on to one receiver. */
static void pass_one(lua_State *L, mg_chain *c) {
  mg_level *v = mg_chain_top(c);
  mg_link *s = v->s, *to = NULL;
  uint32_t target = v->target, targets = s->inners + (s->flags & MG_LINK_OUTSIDE ? 1 : 0);
  lua_Integer id = MG_UNLIKELY(c->directs) ? mg_kept_direct(L, c, v->base + v->at + 1) : 0;
  mg_kept_next(L, c, v, !id && target + 1 < targets);
  lua_replace(L, MG_AT_ITEM);
  if (MG_UNLIKELY(id)) {
    to = send_one(L, c, s, id);
  } else if (target < s->inners) {
    to = s->inner[target];
  } else if (target < targets) {
    deliver(L, c, s);
  }
  if (!to) return;
  v = mg_chain_top(c);
  if (v->at < v->n) mg_chain_level(L, c, MG_LEVEL_RUNNING);
  mg_chain_enter(c, to);
  to->in++;
}

/* --- the whole --------------------------------------------------------------------------------------------------- */

/* Pushes what a row has left of an item that cannot be had, and what is wrong with it. */
static int push_unread(lua_State *L, mg_level *v) {
  v->unread = 0;
  lua_getiuservalue(L, MG_AT_CHAIN, MG_CHAIN_UNREAD);
  lua_rawgeti(L, -1, 1);
  lua_rawgeti(L, -2, 2);
  lua_remove(L, -3);
  lua_pushnil(L);
  lua_setiuservalue(L, MG_AT_CHAIN, MG_CHAIN_UNREAD);
  return 2;
}

/* The next item of the cursor of the CALL on top.  0: it gives none. */
static int read_one(lua_State *L, mg_chain *c) {
  mg_level *v = mg_chain_top(c);
  mg_cursor *from = v->cursor;
  mg_link *s = v->s;
  lua_settop(L, MG_AT_EXTRA);
  int values = v->unread ? push_unread(L, v) : mg_cursor_next(L, from);
  if (values <= 0) return 0;
  s->read++;
  mg_chain_top(c)->count++; /* a load hook may have moved the levels */
  if (MG_UNLIKELY(values == 2)) {
    call_out(L, c, MG_CHAIN_UNREADABLE, s, 2);
    return 1;
  }
  lua_replace(L, MG_AT_ITEM);
  mg_chain_level(L, c, MG_LEVEL_RUNNING);
  mg_chain_enter(c, s)->cursor = from;
  return 1;
}

int mg_chain_go(lua_State *L, mg_chain *c) {
  for (;;) {
    mg_level *v = mg_chain_top(c);
    switch (v->kind) {
    case MG_LEVEL_RUNNING:
      run(L, c);
      break;
    case MG_LEVEL_PASSING:
      if (v->at < v->n) pass_one(L, c);
      else c->depth--;
      break;
    case MG_LEVEL_CALL:
      if (v->cursor && read_one(L, c)) break;
      v = mg_chain_top(c);
      c->running = v->before;
      c->depth--;
      lua_pushinteger(L, v->count);
      return v->cursor != NULL;
    }
  }
}
