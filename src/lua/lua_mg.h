/* lua_mg.h - what the files of the binding share.  lua_*.c and the codec are the only ones that see a lua_State. */
#ifndef MG_LUA_H
#define MG_LUA_H

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>

#include "codec/codec.h"

/* Pushes nil, "what: reason", errno for a result of -errno; returns 3.  mg_lua_reason: the reason alone. */
int mg_lua_fail(lua_State *L, const char *what, int rc);
int mg_lua_reason(lua_State *L, int rc);
/* Calls the setup function of each type: they add their constructors to the module table on top of the stack. */
void mg_pool_setup(lua_State *L);
void mg_ledger_setup(lua_State *L);
void mg_worker_setup(lua_State *L);
void mg_writer_setup(lua_State *L);
void mg_alloc_setup(lua_State *L);
void mg_signal_setup(lua_State *L);
void mg_spool_setup(lua_State *L);
void mg_poll_setup(lua_State *L);
void mg_process_setup(lua_State *L);
void mg_lines_setup(lua_State *L);
void mg_source_setup(lua_State *L);
void mg_feed_setup(lua_State *L);
void mg_threads_setup(lua_State *L);
void mg_command_setup(lua_State *L);
void mg_limit_setup(lua_State *L);
void mg_terminate_setup(lua_State *L);
void mg_protocol_setup(lua_State *L);
void mg_server_setup(lua_State *L);
void mg_connection_setup(lua_State *L);
void mg_board_setup(lua_State *L);
void mg_accept_setup(lua_State *L);
void mg_screen_setup(lua_State *L);
void mg_channel_setup(lua_State *L);
void mg_service_setup(lua_State *L);
void mg_chain_setup(lua_State *L);
void mg_cursor_setup(lua_State *L);
#ifdef MG_FAULTS
void mg_faults_setup(lua_State *L); /* lua_faults.c */
#endif

/* What a wrong call of emit is told.  Values after the first are looked for in the first calls only. */
#define MG_EMIT_NIL "nil cannot be emitted (an item is any value but nil; call emit only when there is one)"
#define MG_EMIT_EARLY 256
#define MG_EMIT_MORE "emit takes one item, and was given more values: emit each by itself, or a table of them; " \
  "of what a call returns, brackets keep the first: emit((f(x)))"
#define MG_EMIT_OVER "emit called after its handler has returned, or in another process"
#define MG_EMIT_COLON "call emit:to with a colon: emit:to(\"stage\", item)"

/* The library is at work inside of a handler whose time may be limited, or not any more: whether that was so before
 * (lua_limit.c). */
int mg_limit_pause(int on);
/* In a child: its parent's limit is none of its own, nor is the freed memory that its parent keeps (lua_alloc.c). */
void mg_limit_child(lua_State *L);
void mg_alloc_child(lua_State *L);
/* The coroutine that Ctrl-C is to reach from now on (lua_signal.c). */
void mg_guard_swap(lua_State *current);
/* Asks the open runs to end in good order, because of a signal, as SIGTERM does: whether that is the first request, the
 * same once more, or a second one; or no run is there.  May be called in a handler (lua_terminate.c). */
enum { MG_TERM_NOBODY, MG_TERM_FIRST, MG_TERM_SAME, MG_TERM_SECOND };
int mg_term_ask(int sig);
/* Whether it has been asked for and not seen to; whether a producer runs that it may interrupt (lua_terminate.c). */
int mg_term_requested(void);
void mg_term_source(int on);
/* Whether Ctrl-C is to end the run that goes on: nothing further is to be begun (lua_signal.c). */
int mg_interrupted(void);

/* In a child: runs the function that has `args` arguments above it, and leaves with the integer that it returns, or 0.
 * Where it raises, `what` is complained of. */
_Noreturn void mg_run_child(lua_State *L, int args, const char *what);
/* In a child: closes what its parent's loops have open. */
void mg_pollers_child(void);
/* In a child: closes the sockets of its parent's services and of its connections to services. */
void mg_channels_child(void);

/* An unsigned number of 32 bits. */
uint32_t mg_check_u32(lua_State *L, int arg);
/* The argument as a descriptor; raises. */
int mg_check_fd(lua_State *L, int arg);
/* The argument as an open file of Lua's own library, which keeps it; NULL: it is closed, or no file. */
FILE *mg_open_file(lua_State *L, int arg);

/* mg_encode into memory that an emit writes to.  *busy is set meanwhile, and an error if it is set already: a dump hook
 * that emits must not find a block with half an item in it. */
int mg_encode_alone(lua_State *L, mg_codec *c, int *busy, int idx, uint8_t *buf, size_t cap, size_t *len,
                    unsigned *flags);

/* The same, where a value of more than MG_MAX_ITEM bytes is refused as one that cannot be serialised. */
int mg_encode_item(lua_State *L, mg_codec *c, int *busy, int idx, uint8_t *buf, size_t cap, size_t *len,
                   unsigned *flags);

/* Registers a type of userdata with these methods, metamethods among them. */
void mg_method_type(lua_State *L, const char *name, const luaL_Reg *methods);
/* Registers a type of userdata that `call` is called for, and pushes its metatable, which no program can get at: `call`
 * may trust its first argument. */
void mg_callable_type(lua_State *L, const char *name, lua_CFunction call);
/* Registers a type for what handlers get as `emit`: `emit` is its call, `to` the method emit:to. */
void mg_emit_type(lua_State *L, const char *name, lua_CFunction emit, lua_CFunction to);

#endif
