/* lua_protocol.c - the table core.protocol: the numbers that C and Lua agree on, from the headers that say what they
 * mean.  lua/minigun/base/protocol.lua hands them on. */
#include "core/channel.h"
#include "core/relay.h"
#include "core/slot.h"
#include "lua_ledger.h"

typedef struct constant {
  const char *name;
  lua_Integer value;
} constant;

static const constant constants[] = {
    /* mg.h */
    {"UNIT", MG_UNIT}, {"MAX_SLOTS", MG_MAX_SLOTS}, {"MAX_CHUNK", MG_MAX_CHUNK},
    {"THREADED_CHUNKS", MG_THREADED_CHUNKS},
    {"PIECE", MG_EDGE_PIECE}, {"ANY", MG_EDGE_ANY}, {"EDGE", MG_EDGE_REPORTS}, {"TO", MG_EDGE_TO}, /* edges: record.h */
    /* slot.h */
    {"TIMED", MG_CHUNK_TIMED}, {"PRODUCER", MG_CHUNK_PRODUCER}, {"SET", MG_CHUNK_SET}, {"SINGLY", MG_CHUNK_SINGLY},
    {"STREAMED", MG_LEFT_STREAMED}, {"TIMED_OUT", MG_LEFT_TIMED_OUT}, {"LOADING", MG_LEFT_LOADING},
    {"STEP_ITEM", MG_STEP_ITEM}, {"STEP_ASIDE", MG_STEP_ASIDE}, {"STEP_NUMBER", MG_STEP_NUMBER(~0u)},
    {"VALUE", MG_KEEP_VALUE}, {"ORIGIN", MG_KEEP_ORIGIN}, {"SOURCE", MG_KEEP_SOURCE}, {"TRIED", MG_KEEP_TRIED},
    {"DEATH", MG_KEEP_DEATH}, /* lua_ledger.h */
    /* channel.h */
    {"CALL", MG_FRAME_CALL}, {"SEND", MG_FRAME_SEND}, {"REPLY", MG_FRAME_REPLY}, {"FAILURE", MG_FRAME_FAILURE},
    {"CANCEL", MG_FRAME_CANCEL}, {"WANTS_FRAME", MG_WANTS_FRAME}, {"WANTS_ROOM", MG_WANTS_ROOM},
    {"STDOUT", MG_RELAY_OUT}, {"STDERR", MG_RELAY_ERR}, {"LOG", MG_RELAY_LOG}, /* relay.h */
};

void mg_protocol_setup(lua_State *L) {
  int n = (int)(sizeof constants / sizeof *constants);
  lua_createtable(L, 0, n);
  for (int i = 0; i < n; i++) {
    lua_pushinteger(L, constants[i].value);
    lua_setfield(L, -2, constants[i].name);
  }
  lua_setfield(L, -2, "protocol");
}
