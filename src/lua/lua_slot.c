/* lua_slot.c - methods of minigun.pool that concern one slot and its worker (slot.h has the contracts). */
#include <errno.h>
#include <string.h>

#include "core/clock.h"
#include "lua_block.h"

/* What handing something over came to: a boolean; a worker that cannot be woken would wait for ever. */
static int push_taken(lua_State *L, mg_pool *p, int rc) {
  mg_pool_seen(p, rc);
  if (p->lost) return luaL_error(L, "cannot wake a worker: %s", MG_LOST);
  if (rc < 0 && rc != -EAGAIN) return luaL_error(L, "cannot wake a worker: %s", strerror(-rc));
  lua_pushboolean(L, rc != -EAGAIN);
  return 1;
}

/* p:offer(slot, number, block, offset, length, count, only, stage, attempt, flags) -> boolean: false when the slot is
 * full.  Takes the block (if there is one) when it returns true. */
static int l_offer(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  uint32_t i = mg_check_slot(L, p, 2);
  mg_chunk c = {.number = (uint64_t)luaL_checkinteger(L, 3), .range = {.block = MG_NO_BLOCK}};
  if (lua_toboolean(L, 4)) c.range = mg_check_range(L, p, 4);
  c.range.count = mg_check_u32(L, 7);
  luaL_argcheck(L, c.range.count >= 1 && c.range.count <= MG_MAX_CHUNK, 7, "1 to 1048576 items expected");
  c.range.edge = mg_check_u32(L, 8);
  c.stage = mg_check_u32(L, 9);
  c.attempt = mg_check_u32(L, 10);
  c.flags = mg_check_u32(L, 11);
  luaL_argcheck(L, p->slot[i].state == MG_SLOT_LIVE, 2, "the slot has no worker that takes work");
  luaL_argcheck(L, p->slot[i].threaded ? (c.flags & MG_CHUNK_SET) && c.range.count == 1 : !(c.flags & MG_CHUNK_SET), 11,
                "MG_CHUNK_SET and one item go with a threaded slot");
  return push_taken(L, p, mg_slot_offer(&p->slot[i], &c));
}

/* p:make_threaded(slot, chunks) -> true | nil, message, errno: for a worker with threads, before its first spawn.  The
 * slot then takes chunks of one item each, flagged MG_CHUNK_SET, and has room for so many. */
static int l_make_threaded(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  uint32_t i = mg_check_slot(L, p, 2), chunks = mg_check_u32(L, 3);
  luaL_argcheck(L, chunks <= MG_THREADED_CHUNKS, 3, "at most 2048 chunks expected");
  luaL_argcheck(L, p->slot[i].state == MG_SLOT_EMPTY && !p->slot[i].threaded, 2,
                "the slot is threaded, or has a worker");
  int rc = mg_slot_make_threaded(&p->slot[i], chunks);
  if (rc < 0) return mg_lua_fail(L, "cannot make room for threads", rc);
  lua_pushboolean(L, 1);
  return 1;
}

/* p:play(slot): the slot is live without a process, for tests of what is handed to it; or it is so once more */
static int l_play(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  mg_slot *s = &p->slot[mg_check_slot(L, p, 2)];
  luaL_argcheck(L, s->state == MG_SLOT_EMPTY || s->played, 2, "the slot has a worker");
  mg_slot_drop(s, &p->shm);
  mg_pool_begin(p, (uint32_t)(s - p->slot));
  s->played = 1;
  return 0;
}

/* p:lend(slot, bytes) -> bytes lent, or false when there is no memory or no room */
static int l_lend(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  uint32_t i = mg_check_slot(L, p, 2);
  uint32_t block = mg_shm_alloc(&p->shm, (size_t)luaL_checkinteger(L, 3));
  int rc = block == MG_NO_BLOCK || p->slot[i].state == MG_SLOT_EMPTY ? -EAGAIN
                                                                     : mg_slot_lend(&p->slot[i], &p->shm, block);
  if (rc == -EAGAIN && block != MG_NO_BLOCK) mg_shm_release(&p->shm, block);
  if (rc < 0) return push_taken(L, p, rc);
  lua_pushinteger(L, (lua_Integer)mg_shm_block_size(&p->shm, block));
  return 1;
}

/* p:finish(slot): no more chunks for it */
static int l_finish(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  return push_taken(L, p, mg_slot_finish(&p->slot[mg_check_slot(L, p, 2)]));
}

/* p:revoke(slot) -> number, block, offset, length, count, only: the newest chunk, not begun | nothing */
static int l_revoke(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  mg_chunk c;
  if (!mg_slot_revoke(&p->slot[mg_check_slot(L, p, 2)], &c)) return 0;
  lua_pushinteger(L, (lua_Integer)c.number);
  return 1 + mg_push_range(L, &c.range);
}

/* p:stop(slot): the producer in its hand ends at its next emit */
static int l_stop(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  mg_slot_stop(&p->slot[mg_check_slot(L, p, 2)]);
  return 0;
}

/* p:kill(slot, signal) */
static int l_kill(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  int rc = mg_proc_kill(&p->slot[mg_check_slot(L, p, 2)].proc, (int)luaL_optinteger(L, 3, SIGKILL));
  if (rc < 0) return mg_lua_fail(L, "cannot signal a worker", rc);
  lua_pushboolean(L, 1);
  return 1;
}

/* p:overtime(slot) -> seconds the item in hand has taken (see clock.h), and its mark for p:time_out */
static int l_overtime(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  mg_slot *s = &p->slot[mg_check_slot(L, p, 2)];
  uint64_t began = s->state == MG_SLOT_EMPTY ? 0 : mg_slot_began(s), ns = began ? mg_clock_since(began) : 0;
  lua_pushnumber(L, (lua_Number)ns / 1e9);
  lua_pushinteger(L, (lua_Integer)began);
  return 2;
}

/* p:time_out(slot, mark): kills the worker for the item that has this mark */
static int l_time_out(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  mg_pool_time_out(p, mg_check_slot(L, p, 2), (uint64_t)luaL_checkinteger(L, 3));
  return 0;
}

/* p:state(slot) -> chunks in its ledger, blocks lent to it, held ranges */
static int l_state(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  mg_slot *s = &p->slot[mg_check_slot(L, p, 2)];
  lua_pushinteger(L, s->chunks);
  lua_pushinteger(L, s->lents);
  lua_pushinteger(L, s->helds);
  return 3;
}

const luaL_Reg mg_slot_methods[] = {
    {"offer", l_offer}, {"make_threaded", l_make_threaded}, {"lend", l_lend}, {"finish", l_finish},
    {"revoke", l_revoke}, {"stop", l_stop}, {"kill", l_kill}, {"overtime", l_overtime}, {"time_out", l_time_out},
    {"state", l_state}, {"play", l_play}, {NULL, NULL},
};
