/* Minigun: copies of Lua values, for several receivers in one process.
 *
 * A table is copied with all the tables in it, also those that are keys; one that is met twice, or holds itself, is so
 * in the copy.  Objects of registered types are copied as they are sent: through their hooks, or field by field with
 * the metatable put on again.  What cannot be sent (a function, a coroutine, a userdata, a table with a metatable that
 * is not registered, an object whose hook raises or gives nothing) stays itself: the copy shares it.  No metamethod
 * is called, and nothing is refused.
 *
 * Depth costs no stack: tables whose contents are still to be copied wait in a list. */
#include "codec_state.h"

/* Entries of a table that are counted before its copy is made, so that this need not grow. */
enum { COUNT_MOST = 64 };

typedef struct copier {
  lua_State *L;
  mg_codec *c;
  int known;           /* stack index: table from what was met to its copy; nil until a second table is met */
  int list;            /* stack index: array of tables, each followed by its copy, to be filled; or nil */
  lua_Integer waiting; /* length of that array */
  lua_Integer left;    /* entries that may still be copied; below 0: it has become too much */
} copier;

static void copy_inner(copier *k);

static inline int may_need_copy(lua_State *L) {
  int type = lua_type(L, -1);
  return type == LUA_TTABLE || type == LUA_TUSERDATA;
}

/* Pushes an empty table with room for what the one at t holds. */
static void push_empty(lua_State *L, int t) {
  int n = 0;
  lua_Unsigned length = lua_rawlen(L, t);
  lua_pushnil(L);
  while (lua_next(L, t)) {
    lua_pop(L, 1);
    if (++n < COUNT_MOST) continue;
    lua_pop(L, 1);
    break;
  }
  int array = length > INT32_MAX ? 0 : (int)length;
  lua_createtable(L, array, n > array ? n - array : 0);
}

/* The copy of the value at `from` is the one at `to`. */
static void note(const copier *k, int from, int to) {
  lua_State *L = k->L;
  lua_pushvalue(L, from);
  lua_pushvalue(L, to);
  lua_rawset(L, k->known);
}

static void begin_known(copier *k) {
  lua_newtable(k->L);
  lua_replace(k->L, k->known);
  lua_newtable(k->L);
  lua_replace(k->L, k->list);
}

/* Copies the contents of the table at `from` into the empty one at `to`. */
static void fill(copier *k, int from, int to) {
  lua_State *L = k->L;
  lua_pushnil(L);
  while (lua_next(L, from)) {
    if (MG_UNLIKELY(--k->left < 0)) return;
    if (MG_UNLIKELY(may_need_copy(L)) || MG_UNLIKELY(!lua_isstring(L, -2))) {
      if (lua_isnil(L, k->known)) {
        begin_known(k);
        note(k, from, to);
      }
      if (may_need_copy(L)) copy_inner(k);
      lua_pushvalue(L, -2);
      if (may_need_copy(L)) copy_inner(k);
      if (lua_type(L, -1) == LUA_TNUMBER && !lua_rawequal(L, -1, -1)) { /* of a hook's making */
        lua_pop(L, 1);
        lua_pushvalue(L, -2);
      }
    } else {
      lua_pushvalue(L, -2);
    }
    lua_insert(L, -2);
    lua_rawset(L, to);
  }
}

/* Fills copies until so many are waiting again. */
static void drain(copier *k, lua_Integer left) {
  lua_State *L = k->L;
  int top = lua_gettop(L);
  while (k->waiting > left && k->left >= 0) {
    k->waiting -= 2;
    lua_rawgeti(L, k->list, k->waiting + 1);
    lua_rawgeti(L, k->list, k->waiting + 2);
    fill(k, top + 1, top + 2);
    lua_settop(L, top);
  }
}

/* For lua_pcall: load(copy of dump(object)) of object, record of its type, and what the copier has at `known` and
 * `list`; itself. */
static int through_hooks(lua_State *L) {
  copier *outer = lua_touserdata(L, 5), k = *outer;
  k.L = L, k.known = 3, k.list = 4;
  lua_rawgeti(L, 2, MG_TYPE_LOAD);
  lua_rawgeti(L, 2, MG_TYPE_DUMP);
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  if (may_need_copy(L)) copy_inner(&k);
  drain(&k, outer->waiting);
  outer->left = k.left;
  if (k.left < 0) return 0;
  lua_call(L, 1, 1);
  return 1;
}

/* Replaces the object at t, above which lies the record of its type, by a copy, unless a hook gives none. It is its
 * own copy while they run. */
static void copy_by_hooks(copier *k, int t) {
  lua_State *L = k->L;
  const char *outer = k->c->hook_stack;
  note(k, t, t);
  if (mg_codec_may_call(k->c)) {
    lua_pushcfunction(L, through_hooks);
    lua_pushvalue(L, t);
    lua_pushvalue(L, t + 1);
    lua_pushvalue(L, k->known);
    lua_pushvalue(L, k->list);
    lua_pushlightuserdata(L, k);
    int ok = lua_pcall(L, 5, 1, 0) == LUA_OK && !lua_isnil(L, -1);
    k->c->hook_stack = outer;
    if (ok) {
      note(k, t, t + 2);
      lua_replace(L, t);
    }
  }
  lua_settop(L, t);
}

/* Replaces the table or userdata on top by its copy, which is filled later. `known` and `list` are there. */
static void copy_inner(copier *k) {
  lua_State *L = k->L;
  luaL_checkstack(L, 16, "codec");
  int t = lua_gettop(L), typed = 0;
  lua_pushvalue(L, t);
  if (lua_rawget(L, k->known) != LUA_TNIL) {
    lua_replace(L, t);
    return;
  }
  lua_settop(L, t);
  if (lua_getmetatable(L, t)) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, k->c->by_metatable_ref);
    lua_insert(L, -2);
    if (lua_rawget(L, -2) != LUA_TTABLE) {
      lua_settop(L, t);
      return;
    }
    lua_replace(L, t + 1);
    if (lua_rawgeti(L, t + 1, MG_TYPE_DUMP) == LUA_TFUNCTION) {
      lua_settop(L, t + 1);
      copy_by_hooks(k, t);
      return;
    }
    typed = 1;
  }
  lua_settop(L, t + typed);
  if (lua_type(L, t) != LUA_TTABLE) {
    lua_settop(L, t);
    return;
  }
  push_empty(L, t);
  if (typed) {
    lua_rawgeti(L, t + 1, MG_TYPE_METATABLE);
    lua_setmetatable(L, -2);
    lua_replace(L, t + 1);
  }
  note(k, t, t + 1);
  lua_pushvalue(L, t);
  lua_rawseti(L, k->list, ++k->waiting);
  lua_pushvalue(L, t + 1);
  lua_rawseti(L, k->list, ++k->waiting);
  lua_replace(L, t);
}

/* Whether a table that was met is in the one at `seen`; puts all of them there. */
static int meet_all(const copier *k, int root, int seen) {
  lua_State *L = k->L;
  int met = 0, several = lua_istable(L, k->known);
  if (several) lua_pushnil(L);
  else lua_pushvalue(L, root), lua_pushboolean(L, 1);
  while (!several || lua_next(L, k->known)) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    met |= lua_rawget(L, seen) != LUA_TNIL;
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushboolean(L, 1);
    lua_rawset(L, seen);
    if (!several) break;
  }
  lua_settop(L, root + 3);
  return met;
}

int mg_copy(lua_State *L, mg_codec *c, lua_Integer *most, int seen) {
  if (!may_need_copy(L)) return 0;
  luaL_checkstack(L, 20, "codec");
  int root = lua_gettop(L), met = 0;
  copier k = {L, c, root + 1, root + 2, 0, *most};
  lua_pushnil(L);
  lua_pushnil(L);
  if (MG_LIKELY(lua_type(L, root) == LUA_TTABLE && !lua_getmetatable(L, root))) {
    push_empty(L, root);
    fill(&k, root, root + 3);
  } else {
    lua_settop(L, root + 2);
    begin_known(&k);
    lua_pushvalue(L, root);
    copy_inner(&k);
  }
  drain(&k, 0);
  *most = k.left;
  lua_settop(L, root + 3);
  if (seen) met = meet_all(&k, root, seen);
  if (k.left >= 0) lua_replace(L, root);
  lua_settop(L, root);
  return met;
}

/* --- comparing -------------------------------------------------------------------------------------------------- */

enum { SAME_DEPTH = 50 };

/* Whether the values at a and b, one of which is a copy of the other, still have the same contents; what is too deep,
 * or more than *left entries, counts as the same. */
static int same(lua_State *L, int a, int b, int depth, lua_Integer *left) {
  if (lua_rawequal(L, a, b)) return 1;
  int type = lua_type(L, a);
  if (type != lua_type(L, b)) return 0;
  if (type == LUA_TUSERDATA) return 1;
  if (type != LUA_TTABLE) return type == LUA_TNUMBER && lua_tonumber(L, a) != lua_tonumber(L, a); /* NaN */
  if (depth == SAME_DEPTH) return 1;
  luaL_checkstack(L, 8, "codec");
  lua_Integer entries = 0;
  int top = lua_gettop(L), is = 1;
  lua_pushnil(L);
  while (is && lua_next(L, a)) {
    if (--*left < 0) break;
    entries++;
    int key = lua_type(L, -2);
    if (key != LUA_TTABLE && key != LUA_TUSERDATA) {
      lua_pushvalue(L, -2);
      lua_rawget(L, b);
      is = same(L, top + 2, top + 3, depth + 1, left);
    }
    lua_settop(L, top + 1);
  }
  lua_settop(L, top);
  if (!is || *left < 0) return is;
  lua_pushnil(L);
  while (lua_next(L, b)) {
    lua_pop(L, 1);
    entries--;
  }
  return entries == 0;
}

int mg_same(lua_State *L, int a, int b) {
  lua_Integer left = 1 << 16;
  return same(L, lua_absindex(L, a), lua_absindex(L, b), 0, &left);
}
