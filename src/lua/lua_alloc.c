/* lua_alloc.c - keeps small blocks that a Lua state has freed for its next allocations.
 *
 * Half of what a record costs is malloc's: Lua frees thousands of small blocks in a row, more than malloc has at hand,
 * and asks for as many of the same sizes a moment later.  While a run lasts they are kept here, a list for each size.
 *
 * Invariants
 * 1. Every block is malloc's, as large as malloc would have made it: the allocator of luaL_newstate can free or change
 *    it before, during and after a run, and this one those of the other.
 * 2. A block in the list of class k has room for 16 k - 8 bytes.  That glibc's malloc rounds up so is tried out; where
 *    it does not (another malloc, a sanitizer), or where the state has an allocator of its own, nothing is kept.
 * 3. The lists hold at most KEPT_MOST bytes, the last large blocks LARGE_MOST, and nothing when no run lasts.
 * 4. The record is there as long as the state: a library may remember the allocator that it has found.
 * 5. While `deferred` is set Lua's collector is stopped, and `left` says how much more may be allocated before it runs
 *    again.  (Lua 5.5 only: that has no call that puts a cycle off.)
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "core/mg.h"
#include "lua_mg.h"

enum { SMALL = 512, KEPT_MOST = 4 << 20 };
enum { LARGE = 1 << 20, LARGE_BLOCKS = 4, LARGE_MOST = 256 << 20 };
enum { MODEST = 16 << 10 }; /* KiB */

typedef struct block {
  struct block *next;
} block;

typedef struct mg_alloc {
  block *lists[SMALL / 16 + 2]; /* by class */
  size_t kept;                  /* bytes */
  void *large[LARGE_BLOCKS];    /* those that were freed last: malloc would give their pages back, and the first touch
                                   of new ones takes longer than to fill them */
  size_t large_bytes;
  unsigned turn;                /* the one of `large` that is given back next */
  unsigned runs;
  lua_State *deferred; /* a thread of the state; NULL: its collector is its own */
  size_t left;
  lua_Alloc standard; /* that of luaL_newstate; NULL: nothing may be kept */
  void *standard_ud;
} mg_alloc;

static inline size_t class_of(size_t n) { return n <= 24 ? 2 : (n + 23) >> 4; }

/* The place of the block that is given back next; the block is, where there is one. */
static void **next_large(mg_alloc *a) {
  void **at = &a->large[a->turn++ % LARGE_BLOCKS];
  if (*at) a->large_bytes -= malloc_usable_size(*at);
  free(*at);
  *at = NULL;
  return at;
}

static void give_back(mg_alloc *a) {
  for (size_t k = 0; k < sizeof a->lists / sizeof *a->lists; k++) {
    while (a->lists[k]) {
      block *b = a->lists[k];
      a->lists[k] = b->next;
      free(b);
    }
  }
  for (unsigned i = 0; i < LARGE_BLOCKS; i++) next_large(a);
  a->kept = 0;
}

static void keep_large(mg_alloc *a, void *p) {
  size_t room = malloc_usable_size(p);
  if (room > LARGE_MOST) {
    free(p);
    return;
  }
  void **at = next_large(a);
  while (a->large_bytes + room > LARGE_MOST) at = next_large(a);
  *at = p;
  a->large_bytes += room;
}

/* One that was kept and is not much larger than n; NULL: there is none. */
static void *take_large(mg_alloc *a, size_t n) {
  for (unsigned i = 0; i < LARGE_BLOCKS; i++) {
    void *p = a->large[i];
    size_t room = p ? malloc_usable_size(p) : 0;
    if (room < n || room - n > n / 4) continue;
    a->large[i] = NULL;
    a->large_bytes -= room;
    return p;
  }
  return NULL;
}

/* The collector runs on.  Called by the allocator, too: no memory is asked for here. */
static void resume(mg_alloc *a) {
  lua_State *L = a->deferred;
  a->deferred = NULL;
  if (L) lua_gc(L, LUA_GCRESTART);
}

static inline void spend(mg_alloc *a, size_t n) {
  if (MG_LIKELY(!a->deferred)) return;
  if (n < a->left) a->left -= n;
  else resume(a);
}

static void *take_new(mg_alloc *a, size_t n) {
  spend(a, n);
  void *p = n >= LARGE ? take_large(a, n) : NULL;
  if (!p) p = malloc(n);
  if (!p && a->runs > 0) {
    give_back(a);
    p = malloc(n);
  }
  return p;
}

/* A lua_Alloc. */
static void *allocate(void *ud, void *p, size_t old, size_t n) {
  mg_alloc *a = ud;
  if (!p) {
    if (n == 0) return NULL;
    size_t k = class_of(n);
    if (n > SMALL || !a->lists[k]) return take_new(a, n);
    block *b = a->lists[k];
    a->lists[k] = b->next;
    __builtin_prefetch(b->next); /* long unused: it is at hand when the list is asked again */
    a->kept -= 16 * k;
    return b;
  }
  if (n == 0) {
    if (old > SMALL || a->kept >= KEPT_MOST || a->runs == 0) {
      if (old >= LARGE && a->runs > 0) keep_large(a, p);
      else free(p);
      return NULL;
    }
    size_t k = class_of(old);
    block *b = p;
    b->next = a->lists[k];
    a->lists[k] = b;
    a->kept += 16 * k;
    return NULL;
  }
  if (old <= SMALL && n <= SMALL && class_of(old) == class_of(n)) return p;
  if (n > old) spend(a, n - old);
  void *q = realloc(p, n);
  if (!q && a->runs > 0) {
    give_back(a);
    q = realloc(p, n);
  }
  return q;
}

/* The allocator of luaL_newstate, or NULL. */
static lua_Alloc standard_allocator(void) {
  lua_State *other = luaL_newstate();
  if (!other) return NULL;
  lua_Alloc f = lua_getallocf(other, NULL);
  lua_close(other);
  return f;
}

/* Invariant 2.  A block may be larger: malloc does not split off what is too small to be one. */
static int malloc_rounds(void) {
  for (size_t n = 1; n <= SMALL; n = n < 48 ? n + 1 : n + 37) {
    void *p = malloc(n);
    int so = p && malloc_usable_size(p) >= 16 * class_of(n) - 8;
    free(p);
    if (!so) return 0;
  }
  return 1;
}

static void install(lua_State *L, mg_alloc *a) {
  if (lua_getallocf(L, &a->standard_ud) != a->standard) return;
  lua_setallocf(L, allocate, a);
}

static void remove_again(lua_State *L, mg_alloc *a) {
  void *ud;
  resume(a);
  if (lua_getallocf(L, &ud) == allocate && ud == a) lua_setallocf(L, a->standard, a->standard_ud);
  give_back(a);
}

/* The state is being closed; other finalizers may follow. */
static int l_gc(lua_State *L) {
  mg_alloc *a = lua_touserdata(L, 1);
  a->runs = 0;
  a->deferred = NULL;
  remove_again(L, a);
  a->standard = NULL;
  return 0;
}

/* The state's record, made when it is first asked for. */
static mg_alloc *record_of(lua_State *L) {
  static const char key = 0;
  int known = lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TUSERDATA;
  mg_alloc *a = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (known) return a;
  a = lua_newuserdatauv(L, sizeof *a, 0);
  memset(a, 0, sizeof *a);
  lua_newtable(L);
  lua_pushcfunction(L, l_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
  if (malloc_rounds()) a->standard = standard_allocator();
  return a;
}

/* keep_freed([on]) -> whether blocks are kept now.  true: a run begins; false: one that has begun so ends */
static int l_keep_freed(lua_State *L) {
  int on = lua_toboolean(L, 1), ask = lua_isnoneornil(L, 1);
  mg_alloc *a = record_of(L);
  if (!ask && on && a->standard && a->runs++ == 0) install(L, a);
  if (!ask && !on && a->runs > 0 && --a->runs == 0) remove_again(L, a);
  void *ud;
  lua_pushboolean(L, lua_getallocf(L, &ud) == allocate && a->runs > 0);
  return 1;
}

/* The kept blocks lie all over the heap that a child shares: each would copy a page. */
void mg_alloc_child(lua_State *L) {
  mg_alloc *a = record_of(L);
  memset(a->lists, 0, sizeof a->lists);
  memset(a->large, 0, sizeof a->large);
  a->large_bytes = 0;
  a->kept = 0;
}

#if LUA_VERSION_NUM >= 505
/* Where the allocator is not this one nothing would count: then the collector keeps its own pace. */
static void defer(lua_State *L, int kib) {
  mg_alloc *a = record_of(L);
  void *ud;
  if (lua_getallocf(L, &ud) != allocate || lua_gc(L, LUA_GCISRUNNING) != 1) return;
  lua_gc(L, LUA_GCSTOP);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  a->deferred = lua_tothread(L, -1);
  a->left = (size_t)kib << 10;
  lua_pop(L, 1);
}
#else
static void defer(lua_State *L, int kib) { mg_codec_defer_collector(L, kib); }
#endif

/* defer_collector(kib): no cycle of the collector before kib KiB more have been allocated */
static int l_defer_collector(lua_State *L) {
  lua_Integer kib = luaL_checkinteger(L, 1);
  luaL_argcheck(L, kib >= 0 && kib <= 1 << 20, 1, "0 to 1048576 KiB expected");
  defer(L, (int)kib);
  return 0;
}

/* collect(): a full collection, after which the collector has its own pace.  Of a small heap that is the same to a
 * generational one as to leave that mode and to come back; the next full one is to come when the heap is five times as
 * large, not twice: what a fold has made is old when it is sent, and the heap was inherited. */
static int l_collect(lua_State *L) {
  resume(record_of(L));
#if LUA_VERSION_NUM < 505
  if (lua_gc(L, LUA_GCCOUNT) < MODEST && lua_gc(L, LUA_GCINC, 0, 0, 0) == LUA_GCGEN) {
    lua_gc(L, LUA_GCGEN, 0, 400);
    return 0;
  }
#endif
  lua_gc(L, LUA_GCCOLLECT);
  return 0;
}

void mg_alloc_setup(lua_State *L) {
  static const luaL_Reg functions[] = {{"keep_freed", l_keep_freed},
                                       {"defer_collector", l_defer_collector}, {"collect", l_collect}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
