/* lua_pool.c - userdata minigun.pool: a run's slots and memory, as Lua sees them (pool.h has the contracts).
 *
 * Blocks are integers.  A method that "takes" a block takes over one reference; an event that carries a range gives
 * one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/job.h"
#include "core/wait.h"
#include "lua_block.h"
#include "lua_worker.h"

static mg_pool *to_pool(lua_State *L, int arg) { return luaL_checkudata(L, arg, MG_POOL_TYPE); }

/* pool(slots, bytes, keep, cpus) -> pool | nil, message, errno */
static int l_open(lua_State *L) {
  lua_Integer slots = luaL_checkinteger(L, 1), bytes = luaL_checkinteger(L, 2), keep = luaL_checkinteger(L, 3);
  int cpus = (int)luaL_optinteger(L, 4, 0);
  luaL_argcheck(L, slots >= 0 && slots <= MG_MAX_SLOTS, 1, "0 to 4096 slots expected");
  luaL_argcheck(L, bytes > 0 && keep > 0, 2, "sizes must be positive");
  mg_pool *p = lua_newuserdatauv(L, sizeof *p, 1); /* the value: see mg_push_worker */
  memset(p, 0, sizeof *p); /* closed, until it is opened: an error in between leaves nothing open */
  luaL_setmetatable(L, MG_POOL_TYPE);
  int rc = mg_pool_open(p, (uint32_t)slots, (size_t)bytes, (size_t)keep, cpus);
  return rc < 0 ? mg_lua_fail(L, "cannot set up shared memory and slots", rc) : 1;
}

static int l_close(lua_State *L) {
  mg_pool_close(to_pool(L, 1));
  return 0;
}

/* p:close([keep]); keep: the descriptor that p:fd() has given stays open until the next p:close() */
static int l_close_or_end(lua_State *L) {
  mg_pool *p = to_pool(L, 1);
  if (lua_toboolean(L, 2)) mg_pool_end(p);
  else mg_pool_close(p);
  return 0;
}

#define LAST "minigun.last"

/* The first of the child's objects to go when its state is closed (os.exit(code, true) of before the run): those of
 * the coordinator must not follow, their files would be closed and their finalizers run.  The code is not known here.
 * In a child of a child the one of its parent is garbage like any other. */
static int l_last(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, LAST);
  if (!lua_rawequal(L, 1, -1)) return 0;
  mg_sys.flush(1);
  mg_proc_leave(EXIT_FAILURE);
}

static void guard_state(lua_State *L) {
  lua_newuserdatauv(L, 0, 0);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_last);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_setfield(L, LUA_REGISTRYINDEX, LAST);
}

static int call_child(lua_State *L) {
  guard_state(L);
  mg_limit_child(L);
  mg_alloc_child(L);
  mg_clock_forget(); /* however often its parent has asked for stops to be noticed */
  mg_job_forget();
  lua_call(L, lua_gettop(L) - 1, 1);
  return 1;
}

_Noreturn void mg_run_child(lua_State *L, int args, const char *what) {
  mg_channels_child();
  int code = 0;
  lua_pushcfunction(L, call_child);
  lua_insert(L, -args - 2);
  args++;
  unsigned own = mg_process_serial;
  int status = lua_pcall(L, args, 1, 0);
  if (mg_process_serial != own) mg_exit_now(1); /* a copy that a handler has forked has come back here */
  if (status != LUA_OK) {
    const char *msg = lua_tostring(L, -1);
    mg_sys.complain(what, msg ? msg : "(an error that is no string)");
    code = 70;
  } else if (lua_isinteger(L, -1)) {
    code = (int)lua_tointeger(L, -1);
  }
  mg_sys.flush(1); /* also the files that its handlers left open */
  mg_proc_leave(code);
}

/* Whether the program may have epoll descriptors of other libraries, those with event loops of their own, which a child
 * shares with it: what is closed or collected there would be taken out of them for both. */
static int shares_epolls(lua_State *L) {
  static const char *const users[] = {"_cqueues", "luv", "luaevent.core", "ev", "lluv"};
  int shared = 0;
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  for (size_t i = 0; i < sizeof users / sizeof *users; i++) {
    lua_getfield(L, -1, users[i]);
    shared |= lua_toboolean(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return shared;
}

/* p:spawn(slot, held_most, f, ...) -> pid | nil, message, errno.  In the child: f(worker, ...), then the process ends
 * with the integer that f returns, or 0. */
static int l_spawn(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  uint32_t i = mg_check_slot(L, p, 2);
  lua_Integer held = luaL_checkinteger(L, 3);
  luaL_checktype(L, 4, LUA_TFUNCTION);
  luaL_argcheck(L, p->slot[i].state == MG_SLOT_EMPTY, 2, "the slot has a worker");
  mg_pool_renew(shares_epolls(L));
  mg_worker *w = mg_push_worker(L, 1);
  lua_insert(L, 5);
  int pid = mg_pool_spawn(p, i, (size_t)held, w);
  if (pid == 0) mg_codec_note_loading(mg_codec_get(L), &w->shared->loading);
  if (pid == 0) mg_run_child(L, lua_gettop(L) - 4, "a worker failed");
  if (pid < 0) return mg_lua_fail(L, "cannot start a worker process", pid);
  lua_pushinteger(L, pid);
  return 1;
}

/* p:collect(): reads what the workers have published */
static int l_collect(lua_State *L) {
  if (mg_pool_collect(mg_check_pool(L, 1)) < 0) return luaL_error(L, "out of memory");
  return 0;
}

/* p:anything() -> whether there are events, or workers have published what is not read yet */
static int l_anything(lua_State *L) {
  lua_pushboolean(L, mg_pool_anything(mg_check_pool(L, 1)));
  return 1;
}

static int push_left(lua_State *L, const mg_slot_event *e) {
  lua_pushinteger(L, (lua_Integer)e->number);
  mg_push_range(L, &e->range);
  lua_pushinteger(L, e->stage);
  lua_pushinteger(L, e->attempt);
  lua_pushinteger(L, e->a);
  lua_pushboolean(L, (int)e->b);
  lua_pushinteger(L, e->c);
  lua_pushinteger(L, e->step);
  return 14;
}

static int push_exit(lua_State *L, const mg_slot_event *e) {
  lua_pushinteger(L, e->pid);
  for (int i = 0; i < 2; i++) {
    if (e->c & 2) lua_pushnil(L);
    else lua_pushinteger(L, i ? e->b : e->a);
  }
  lua_pushboolean(L, e->c & 1);
  return 6;
}

int mg_push_event(lua_State *L, const mg_slot_event *e) {
  static const char *const names[] = {"", "out", "done", "need", "left", "exit", "said", "corrupt", "rest",
                                      "taken over", "retire"};
  lua_pushstring(L, names[e->kind]);
  lua_pushinteger(L, e->slot + 1);
  switch (e->kind) {
    case MG_EVENT_OUT:
      mg_push_range(L, &e->range);
      lua_pushinteger(L, (lua_Integer)e->number);
      return 8;
    case MG_EVENT_DONE:
      lua_pushinteger(L, (lua_Integer)e->number);
      lua_pushinteger(L, e->a);
      lua_pushboolean(L, (int)e->b);
      lua_pushboolean(L, (int)e->c);
      lua_pushnumber(L, (lua_Number)e->nanos / 1e9);
      return 7;
    case MG_EVENT_NEED: lua_pushinteger(L, (lua_Integer)e->a << MG_UNIT_SHIFT); return 3;
    case MG_EVENT_LEFT: return push_left(L, e);
    case MG_EVENT_EXIT: return push_exit(L, e);
    case MG_EVENT_REST:
      lua_pushinteger(L, (lua_Integer)e->number);
      return 3 + mg_push_range(L, &e->range);
    case MG_EVENT_SAID: lua_pushboolean(L, (int)e->c); return 3;
    case MG_EVENT_TAKEN_OVER: lua_pushinteger(L, (lua_Integer)e->number); return 3;
    case MG_EVENT_RETIRE: return 2;
    default: lua_pushinteger(L, e->pid); return 3;
  }
}

/* p:event() -> kind, slot, ... | nothing.  By kind:
 *   "out"     block, offset, length, count, edge, number     committed output; the block is given; number: of the
 *             chunk, where the slot is threaded
 *   "done"    number, items, ended, streamed, seconds
 *   "need"    bytes
 *   "left"    number, block, offset, length, count, only, stage, attempt, done before, in hand, how, step
 *   "exit"    pid, code, signal, expected; code and signal are nil where it is not known how it ended
 *   "said"    last: p:said(slot) gives it
 *   "corrupt" pid
 *   "rest"    number, block, offset, length, count, only     not begun: the chunk ends before it
 *   "taken over" work   "retire"                              of the ledger
 */
static int l_event(lua_State *L) {
  mg_slot_event e;
  return mg_pool_event(mg_check_pool(L, 1), &e) ? mg_push_event(L, &e) : 0;
}

/* p:relay(which) -> true | nil, message, errno: from now on what the workers that are forked print comes by "said" */
static int l_relay(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  lua_Integer which = luaL_checkinteger(L, 2);
  luaL_argcheck(L, which >= 1 && which <= 7 && !p->relay.which, 2, "1 to 7 expected, once");
  int rc = mg_pool_relay(p, (unsigned)which);
  if (rc < 0) return mg_lua_fail(L, "cannot take what workers print", rc);
  lua_pushboolean(L, 1);
  return 1;
}

/* p:said(slot) -> some of what its worker has printed | nil: nothing more, for now */
static int l_said(lua_State *L) {
  char part[16384];
  mg_pool *p = mg_check_pool(L, 1);
  size_t n = mg_pool_said(p, mg_check_slot(L, p, 2), part, sizeof part);
  if (n > 0) lua_pushlstring(L, part, n);
  else luaL_pushfail(L);
  return 1;
}

/* p:wait(seconds | nil) -> true | false when a signal came | nil, message, errno.  nil waits without end. */
static int l_wait(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  lua_Number s = luaL_optnumber(L, 2, -1);
  int rc = mg_pool_wait(p, s < 0 ? -1 : s > 1e6 ? (int64_t)1e15 : (int64_t)(s * 1e9));
  if (p->lost) return mg_lua_fail(L, "cannot wait for the workers: " MG_LOST, rc);
  if (rc < 0 && rc != -EINTR) return mg_lua_fail(L, "cannot wait for the workers", rc);
  lua_pushboolean(L, rc == 0);
  return 1;
}

/* p:arm(seconds | nil) -> whether p:fd() is readable now | nil, message, errno.  See mg_pool_arm. */
static int l_arm(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  lua_Number s = luaL_optnumber(L, 2, -1);
  int rc = mg_pool_arm(p, s < 0 ? -1 : s > 1e6 ? (int64_t)1e15 : (int64_t)(s * 1e9));
  if (rc < 0) return mg_lua_fail(L, "cannot watch the workers", rc);
  lua_pushboolean(L, rc);
  return 1;
}

/* p:watch(fd) -> true | nil, message, errno.  See mg_pool_watch. */
static int l_watch(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  int rc = mg_pool_watch(p, (int)mg_check_u32(L, 2));
  if (rc < 0) return mg_lua_fail(L, "cannot watch a descriptor", rc);
  lua_pushboolean(L, 1);
  return 1;
}

/* p:memory() -> bytes used, resident, most used; zeros of a closed pool */
static int l_memory(lua_State *L) {
  mg_pool *p = to_pool(L, 1);
  if (p->slot) mg_check_pool(L, 1);
  lua_pushinteger(L, (lua_Integer)p->shm.used);
  lua_pushinteger(L, (lua_Integer)p->shm.resident);
  lua_pushinteger(L, (lua_Integer)p->shm.used_most);
  return 3;
}

/* p:size() -> bytes of the mapping: all that can be in use */
static int l_size(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)mg_check_pool(L, 1)->shm.size);
  return 1;
}

static int l_retain(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  mg_shm_retain(&p->shm, mg_check_held(L, p, 2));
  return 0;
}

static int l_release(lua_State *L) {
  mg_pool *p = mg_check_pool(L, 1);
  mg_shm_release(&p->shm, mg_check_held(L, p, 2));
  return 0;
}

static int l_check(lua_State *L) {
  mg_pool_check(mg_check_pool(L, 1));
  return 0;
}

static int l_fd(lua_State *L) {
  lua_pushinteger(L, mg_check_pool(L, 1)->epoll);
  return 1;
}

static const luaL_Reg methods[] = {
    {"close", l_close_or_end}, {"spawn", l_spawn},     {"collect", l_collect}, {"event", l_event},
    {"wait", l_wait},          {"memory", l_memory},   {"size", l_size},       {"retain", l_retain},
    {"release", l_release},    {"check", l_check},     {"fd", l_fd},           {"arm", l_arm},
    {"watch", l_watch},        {"relay", l_relay},     {"said", l_said},       {"anything", l_anything},
    {"__gc", l_close},         {"__close", l_close},   {NULL, NULL},
};

void mg_pool_setup(lua_State *L) {
  luaL_newmetatable(L, MG_POOL_TYPE);
  luaL_setfuncs(L, methods, 0);
  luaL_setfuncs(L, mg_slot_methods, 0);
  luaL_setfuncs(L, mg_reader_methods, 0);
  luaL_setfuncs(L, mg_string_methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_pushcfunction(L, l_open);
  lua_setfield(L, -2, "pool");
}
