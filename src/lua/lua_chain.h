/* lua_chain.h - a chain: the stages of one process, called one after the other.
 *
 * Two types of userdata: minigun.chain, and for each of its stages a link, which is also the emit object of the stage's
 * handler.  What is decided (which calls are looked at, whether tables are copied, where a route leads, what becomes
 * of a failure) is in handlers/chain.lua, whose functions are called for it.
 *
 * What a handler emits is kept until it has returned: all that is kept in a chain lies on the stack of a coroutine that
 * never runs, `kept`, each call's emissions above those that were there.  What is to be done is a stack too, of levels:
 *   CALL     what Lua has asked for begins here; when the levels above are done it is over
 *   RUNNING  the handler of a stage is called with an item
 *   PASSING  it has returned: its emissions [base, base + n) are passed on, from the at-th
 *
 * Invariants (check, in lua_chain.c)
 *  1. The lowest level is a CALL.  `base` never falls from a level to the one above it, and is at most `top`.
 *  2. Where `running` is set, the level on top is RUNNING, of that stage.
 *  3. A level is known by its number and serial.  A handler may yield, and its coroutine may be resumed when the level
 *     is not there any more, or not on top: nothing is done then but to raise.
 *  4. A raw pointer into `levels` or to the array of emissions is not held over a call of Lua's: these may move.
 */
#ifndef MG_LUA_CHAIN_H
#define MG_LUA_CHAIN_H

#include "lua_block.h"
#include "lua_cursor.h"
#include "lua_worker.h"

#define MG_CHAIN_TYPE "minigun.chain"
#define MG_LINK_TYPE "minigun.link"

/* Emissions of one call that are kept back at most. */
#define MG_CHAIN_KEEP 8192

/* What a link is or does that is not common. */
enum {
  MG_LINK_GATHERS = 1,   /* it has no handler: items are gathered to batches */
  MG_LINK_KEEPS = 2,     /* the item is wanted as it came, if the handler fails */
  MG_LINK_WATCHING = 4,  /* what is emitted is watched */
  MG_LINK_EARLY = 8,     /* the tables that are emitted are copied */
  MG_LINK_SLOW = 16,     /* what is emitted is looked at in Lua: a route, a check */
  MG_LINK_OUTSIDE = 32,  /* what is emitted leaves the chain too */
  MG_LINK_APART = 64,    /* and no other stage of the chain gets it */
  MG_LINK_EFFECTS = 128, /* the handler has collected or counted something */
  MG_LINK_RETURNED = 256, /* a handler's value was seen */
  MG_LINK_REREAD = 512,  /* its items can be had again as they came */
  MG_LINK_ASIDE = 1024,  /* while its handler runs, the worker says so: MG_STEP_ASIDE */
  MG_LINK_MAPS = 2048,   /* its handler emits what a function gives for an item; that may be called instead */
  MG_LINK_FOLDS = 4096,  /* it keeps a value, and a function makes the next one of that and an item */
  MG_LINK_QUIET = 8192   /* the last call has emitted nothing */
};

typedef struct mg_link {
  struct mg_chain *chain; /* a user value keeps it */
  int place;              /* which user value of the chain this is; MG_LINK_... below come after it */
  unsigned id;            /* the stage's */
  unsigned flags;
  int partial;            /* the call in hand has let emissions through */
  uint32_t skip;          /* calls until the next that is looked at */
  lua_Integer attempt;    /* that its ctx says */
  lua_Integer in, read, out, failed; /* items: pushed, and read from cursors; emitted; calls that have failed */
  lua_Integer folded;     /* items in the value of a fold; 0: there is none, and the handler takes the first */
  lua_emit *emit;         /* of a worker, where what leaves the chain goes there; a user value keeps it; or NULL */
  unsigned inners;
  struct mg_link *inner[]; /* stages of the chain that get what it emits; the chain keeps them */
} mg_link;

/* User values of a link. */
enum { MG_LINK_UV_CHAIN = 1, MG_LINK_UV_HANDLER, MG_LINK_UV_CTX, MG_LINK_UV_OUT, MG_LINK_UV_STAGE };
/* User values of the chain, from the link's place: the function of a map or a fold; the value of a fold. */
enum { MG_LINK_DIRECT = 1, MG_LINK_VALUE, MG_LINK_PLACES };

typedef enum { MG_LEVEL_CALL, MG_LEVEL_RUNNING, MG_LEVEL_PASSING } mg_level_kind;

enum { MG_FIELDS_NONE = -2, MG_FIELDS_COPY = -1 }; /* nothing is kept of it; a copy is */
typedef struct mg_level {
  mg_level_kind kind;
  uint32_t serial;
  mg_link *s;              /* the stage */
  mg_link *before;         /* of a CALL: what ran before */
  mg_cursor *cursor;       /* of a CALL: what gives items; of a RUNNING: what has given this one */
  uint32_t base;           /* what is kept below is not its own */
  uint32_t n, at, target;  /* of a PASSING: how many, which is next, and the next receiver of that one */
  lua_Integer count;       /* of a CALL: items of its cursor */
  int unread;              /* of a CALL: a row has met an item that cannot be had, MG_CHAIN_UNREAD */
  int direct;              /* of a RUNNING: the function of a map or a fold is called, not the handler */
  int fields;              /* of a RUNNING: how many fields of the item are kept above MG_AT_EXTRA, or MG_FIELDS_... */
  lua_Integer attempt, number; /* of the item; the number-th that came to the stage, 0: not known */
  uint64_t since;          /* the call is looked at, and has begun then; 0: it is not */
} mg_level;

typedef struct mg_chain {
  lua_State *kept;
  uint32_t top, room;      /* values on its stack; how many it has room for */
  uint32_t directs;        /* of these are for one stage, see MG_CHAIN_DIRECT */
  mg_codec *codec;
  unsigned process;        /* its own: emit is not for copies of it */
  mg_link *running;        /* whose handler may emit */
  mg_link *sender;         /* that has passed on an item last */
  mg_link *entry;          /* what the items of a worker are for, the attempt-th time */
  lua_Integer attempt;
  int reading;             /* a row takes its next item */
  mg_worker *worker;       /* whose it is, for MG_LINK_ASIDE; or NULL */
  mg_level *levels;        /* a user value */
  uint32_t depth, room_levels, serial;
  uint32_t links, ids;
  mg_link *by_id[];
} mg_chain;

/* User values of a chain: functions of handlers/chain.lua, each of which gets the stage's id first, and what else it
 * keeps; then come the links. */
enum {
  MG_CHAIN_FAILED = 1, MG_CHAIN_UNREADABLE, MG_CHAIN_GATHER, MG_CHAIN_LOOK, MG_CHAIN_LOOKED, MG_CHAIN_PASS_EFFECTS,
  MG_CHAIN_SHARED, MG_CHAIN_STREAMS, MG_CHAIN_ADD, MG_CHAIN_ADD_TO, MG_CHAIN_SEND_TO, MG_CHAIN_RETURNED,
  MG_CHAIN_NOTHING, MG_CHAIN_FUNCTIONS = MG_CHAIN_NOTHING,
  MG_CHAIN_NOTE,   /* the message handler of handlers */
  MG_CHAIN_DIRECT, /* table: from the place of what is kept to the stage that it is for */
  MG_CHAIN_UNREAD, /* table: what there is of an item that cannot be had, and what is wrong */
  MG_CHAIN_KEPT, MG_CHAIN_LEVELS, MG_CHAIN_WORKER, MG_CHAIN_LINKS
};

/* The stack of a function that goes through a chain: these, and nothing above. `EXTRA`: what must stay alive. */
enum { MG_AT_CHAIN = 1, MG_AT_NOTE, MG_AT_ITEM, MG_AT_EXTRA };

/* The chain that is the first argument, of a method whose upvalue is the type's metatable: quicker than by its name.
 * Raises. */
mg_chain *mg_check_chain(lua_State *L);
/* The link whose stage's number is at `arg`, of the chain that is the first argument; raises. */
mg_link *mg_check_link(lua_State *L, int arg);
static inline mg_level *mg_chain_top(mg_chain *c) { return &c->levels[c->depth - 1]; }
/* What tells the level on top from any other. */
static inline lua_KContext mg_chain_key(mg_chain *c) {
  return (lua_KContext)((uint64_t)mg_chain_top(c)->serial << 16 | c->depth);
}
/* A CALL on top: until it is over no handler runs but those above it. */
mg_level *mg_chain_begin(lua_State *L, mg_chain *c);
/* A new level on top, of which kind, serial and base are set. */
mg_level *mg_chain_level(lua_State *L, mg_chain *c, mg_level_kind kind);
/* The level on top becomes the call of a stage's handler with the item at MG_AT_ITEM, for the first time. */
mg_level *mg_chain_enter(mg_chain *c, mg_link *s);
/* The level on top becomes the passing on of what is kept above its base, which its stage has emitted. */
void mg_chain_pass(lua_State *L, mg_chain *c);
/* Goes on with the level on top, until the CALL below it is over.  Its results are the function's. */
int mg_chain_go(lua_State *L, mg_chain *c);
/* Calls one of the chain's functions with `args` values that are on top, after the stage's id; lua_call. */
void mg_chain_call(lua_State *L, int chain, int function, mg_link *s, int args, int results);

/* Of a handler, its item, emit and ctx, which are on top, makes the call of a row (lua_chain_row.c) that begins with
 * this item; returns how many arguments it has. */
int mg_row_push(lua_State *L);

/* What is kept (lua_chain_kept.c): the value at idx becomes the last of it. */
void mg_kept_add(lua_State *L, mg_chain *c, int idx);
/* The number of the one stage that the value at that place is for, 0: it is for all; this is forgotten. */
lua_Integer mg_kept_direct(lua_State *L, mg_chain *c, uint32_t at);
/* Pushes the next emission of a PASSING level; a copy, where more receivers are to get it. */
void mg_kept_next(lua_State *L, mg_chain *c, mg_level *v, int more);
/* Forgets what is kept above `base`. */
void mg_kept_drop(lua_State *L, mg_chain *c, uint32_t base);
/* Whether a table is among the values above `base` more than once; its later ones are copies then.  Looks at each with
 * the few before it. */
int mg_kept_unshare(lua_State *L, mg_chain *c, uint32_t base);

/* The item at MG_AT_ITEM is kept as it came, in case that its handler changes it and fails: its fields, as that is half
 * as dear, or a copy. */
void mg_item_keep(lua_State *L, mg_chain *c, mg_level *v);
/* Pushes the item of the level on top as it came. */
void mg_item_again(lua_State *L, const mg_level *v);

/* The emit object, which is a link (lua_chain_emit.c): sets its type up. */
void mg_link_setup(lua_State *L);
extern const luaL_Reg mg_link_methods[]; /* of the chain */

#endif
