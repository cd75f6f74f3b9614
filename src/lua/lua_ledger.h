/* lua_ledger.h - what the files of userdata minigun.ledger share (lua_kept.c has the functions). */
#ifndef MG_LUA_LEDGER_H
#define MG_LUA_LEDGER_H

#include "core/ledger.h"
#include "lua_block.h"

#define MG_LEDGER_TYPE "minigun.ledger"

/* What may be kept under a piece of work's number: one table each, a user value of the ledger.  The same numbers in
 * lua/minigun/base/protocol.lua. */
enum { MG_KEEP_VALUE = 1, MG_KEEP_ORIGIN, MG_KEEP_SOURCE, MG_KEEP_TRIED, MG_KEEP_DEATH, MG_KEEPS = MG_KEEP_DEATH };
#define MG_KEEP_FLAG(kind) ((uint32_t)1 << (8 + (kind)))
enum { MG_UV_CUT = MG_KEEPS + 1, MG_UV_FINISHED, MG_UV_POOL, MG_UV_WRITERS, MG_UV_CURSOR, MG_UV_ANSWERS,
       MG_UVS = MG_UV_ANSWERS };
/* What a producer yields that waits for receivers: current.PARK in lua/minigun/handlers/current.lua. */
#define MG_PARK "minigun.park"

struct mg_writer;
typedef struct lua_ledger {
  mg_ledger l;
  lua_State *L; /* the caller of the newest method: for the hooks */
  int at;       /* where this is on its stack, most probably */
  struct mg_writer *writers; /* those that go through (lua_through.c) */
  lua_State *producer; /* the coroutine of the producer that emits now, where it may yield; NULL: none does */
  int parked;          /* it waits for receivers */
  int answers, lists;  /* what has come of single items is noted (lua_answer.c); it may be several values */
  int ended;           /* of some nothing is left, since l:await was last called */
  /* Of the rounds while it does (lua_round.c): its stage, and whether all it emits goes to other processes; when they
   * are to end; nanoseconds that it has run, and the most at one time. */
  uint32_t stage;
  int alone;
  uint64_t until, spent, longest;
  int wanted;          /* the run itself is to see to something */
  int held;            /* an event for the run was taken, and is kept for l:collect */
  mg_slot_event event;
  uint32_t ill;        /* work whose block does not hold what was announced, but so many items; or MG_NO_WORK */
  lua_Integer found;
} lua_ledger;

/* Makes Lua hear of what becomes of work that something is kept for; the ledger is on top of the stack. */
void mg_set_hooks(lua_State *L, lua_ledger *own);
/* The ledger at `arg`, whatever has become of its pool; with one that is open. */
mg_ledger *mg_check_ledger(lua_State *L, int arg);
mg_ledger *mg_check_open_ledger(lua_State *L, int arg);
/* The stage, place or work that is named at `arg`. */
uint32_t mg_check_stage(lua_State *L, const mg_ledger *l, int arg);
mg_place *mg_check_place(lua_State *L, const mg_ledger *l, int arg);
uint32_t mg_check_work(lua_State *L, const mg_ledger *l, int arg);
/* Raises for a negative result of the ledger: memory, damage, a worker that cannot be woken; else returns it. */
int mg_ledger_passed(lua_State *L, mg_ledger *l, int rc);
/* Keeps the value on top of the stack under the number of work, in the table of this kind; pops it. */
void mg_keep(lua_State *L, int ledger, uint32_t w, int kind);

/* Passes on what writers have written that go through, where a receiver waits for it (lua_through.c). */
void mg_flush_wanted(lua_State *L, lua_ledger *own);

/* Takes what workers have said, up to what the run itself is to see to: as mg_ledger_collect.  The ledger is at index 1
 * of the stack. */
int mg_lua_collect(lua_State *L, lua_ledger *own, mg_slot_event *ev, int *busy);

extern const luaL_Reg mg_answer_methods[]; /* lua_answer.c */
extern const luaL_Reg mg_kept_methods[];  /* lua_kept.c */
extern const luaL_Reg mg_round_methods[]; /* lua_round.c */
extern const luaL_Reg mg_work_methods[];  /* lua_work.c */
extern const luaL_Reg mg_place_methods[]; /* lua_place.c */
extern const luaL_Reg mg_seat_methods[];  /* lua_seat.c */

#endif
