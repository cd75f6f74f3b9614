/* SPDX-License-Identifier: MIT
 * The floor of every serializer of Lua values: what the public C API of Lua takes to read a value, or to make it
 * again, without one byte written or read. For bench/codec.lua.
 *
 *   walk(value)       visits every table, key, number and string; returns how many values it has seen
 *   recipe(value)     notes how to make such a value: a userdata, which keeps the value alive
 *   build(recipe)     makes a new one: tables at their size, keys by lua_setfield, elements by lua_rawseti
 */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#define RECIPE "bench.recipe"

/* A table's step stands before those of its contents; in a map a key stands in the step of its value. */
typedef struct {
  int type;       /* LUA_T*; a table with `count` 0 and `fields` 0 is empty */
  int is_integer; /* of a number */
  int count;      /* elements of a table */
  int fields;     /* pairs of a table behind its elements: their keys are strings */
  const char *key; /* in a map; NULL in an array */
  const char *text; /* of a string; both belong to Lua strings that the recipe keeps alive */
  size_t length;
  lua_Integer integer; /* a boolean's value too */
  lua_Number number;
} step;

/* The steps are memory that Lua does not count: it would collect less often, the more of them there were. */
typedef struct {
  size_t count;
  step *steps;
} recipe;

static lua_Integer walk(lua_State *L, int at) {
  lua_Integer seen = 1;
  size_t length;
  switch (lua_type(L, at)) {
    case LUA_TNUMBER:
      if (lua_isinteger(L, at)) {
        (void)lua_tointegerx(L, at, NULL);
      } else {
        (void)lua_tonumberx(L, at, NULL);
      }
      break;
    case LUA_TSTRING: (void)lua_tolstring(L, at, &length); break;
    case LUA_TBOOLEAN: (void)lua_toboolean(L, at); break;
    case LUA_TTABLE: {
      lua_Integer elements = (lua_Integer)lua_rawlen(L, at);
      luaL_checkstack(L, 4, "value too deep");
      for (lua_Integer i = 1; i <= elements; i++) {
        lua_geti(L, at, i);
        seen += walk(L, lua_gettop(L));
        lua_pop(L, 1);
      }
      if (elements > 0) {
        lua_pushinteger(L, elements); /* what lua_next gives after the last element: the first key that is none */
      } else {
        lua_pushnil(L);
      }
      while (lua_next(L, at)) {
        seen += walk(L, lua_gettop(L) - 1) + walk(L, lua_gettop(L));
        lua_pop(L, 1);
      }
      break;
    }
    default: break;
  }
  return seen;
}

static int l_walk(lua_State *L) {
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  lua_pushinteger(L, walk(L, 1));
  return 1;
}

static size_t count_steps(lua_State *L, int at) {
  size_t count = 1;
  if (lua_type(L, at) != LUA_TTABLE) return count;
  luaL_checkstack(L, 4, "value too deep");
  for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) count += count_steps(L, lua_gettop(L));
  return count;
}

/* The steps of the value at `at`; the key, if any, has been noted in the step already. */
static void note(lua_State *L, recipe *r, int at, const char *key) {
  step *s = &r->steps[r->count++];
  *s = (step){.type = lua_type(L, at), .is_integer = lua_isinteger(L, at), .key = key};
  if (s->type == LUA_TNUMBER) {
    s->integer = lua_tointeger(L, at);
    s->number = lua_tonumber(L, at);
  } else if (s->type == LUA_TSTRING) {
    s->text = lua_tolstring(L, at, &s->length);
  } else if (s->type == LUA_TBOOLEAN) {
    s->integer = lua_toboolean(L, at);
  } else if (s->type == LUA_TTABLE) {
    s->count = (int)lua_rawlen(L, at);
    for (int i = 1; i <= s->count; i++) {
      lua_rawgeti(L, at, i);
      note(L, r, lua_gettop(L), NULL);
      lua_pop(L, 1);
    }
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
      if (lua_type(L, -2) != LUA_TSTRING) continue; /* an element, noted above */
      s->fields++;
      note(L, r, lua_gettop(L), lua_tostring(L, -2));
    }
  }
}

static int l_recipe(lua_State *L) {
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  size_t room = count_steps(L, 1);
  recipe *r = lua_newuserdatauv(L, sizeof *r, 1);
  *r = (recipe){0};
  luaL_setmetatable(L, RECIPE);
  if (!(r->steps = calloc(room, sizeof r->steps[0]))) return luaL_error(L, "not enough memory");
  note(L, r, 1, NULL);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  return 1;
}

/* Pushes the value of step `s`; returns the step behind it. */
static const step *build(lua_State *L, const step *s) {
  const step *next = s + 1;
  switch (s->type) {
    case LUA_TNUMBER:
      if (s->is_integer) {
        lua_pushinteger(L, s->integer);
      } else {
        lua_pushnumber(L, s->number);
      }
      break;
    case LUA_TSTRING: lua_pushlstring(L, s->text, s->length); break;
    case LUA_TBOOLEAN: lua_pushboolean(L, (int)s->integer); break;
    case LUA_TTABLE:
      luaL_checkstack(L, 4, "value too deep");
      lua_createtable(L, s->count, s->fields);
      for (int i = 1; i <= s->count; i++) {
        next = build(L, next);
        lua_rawseti(L, -2, i);
      }
      for (int i = 0; i < s->fields; i++) {
        const char *key = next->key;
        next = build(L, next);
        lua_setfield(L, -2, key);
      }
      break;
    default: lua_pushnil(L); break;
  }
  return next;
}

static int l_build(lua_State *L) {
  const recipe *r = luaL_checkudata(L, 1, RECIPE);
  (void)build(L, r->steps);
  return 1;
}

static int l_free(lua_State *L) {
  recipe *r = luaL_checkudata(L, 1, RECIPE);
  free(r->steps);
  r->steps = NULL;
  return 0;
}

__attribute__((visibility("default"))) int luaopen_floor_lua(lua_State *L);

int luaopen_floor_lua(lua_State *L) {
  static const luaL_Reg functions[] = {{"walk", l_walk}, {"recipe", l_recipe}, {"build", l_build}, {NULL, NULL}};
  luaL_newmetatable(L, RECIPE);
  lua_pushcfunction(L, l_free);
  lua_setfield(L, -2, "__gc");
  luaL_newlib(L, functions);
  return 1;
}
