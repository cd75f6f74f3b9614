/* Minigun: libFuzzer target for the decoder, and for the encoder with what came out of it.
 *
 *   make fuzz
 *   build-fuzz/decode_fuzz -max_len=4096 -runs=10000000 -dict=spec/fuzz/wire.dict CORPUS_DIRECTORY
 *
 * The first byte of an input is the flags, the rest the message; a flag byte of 8 or more lets the (byte / 8)th
 * allocation fail. Checked besides what the sanitizers see: the memory that decoding takes stays below 80 times the
 * message, references included; what was decoded can be encoded (but for graphs that are too deep when walked in
 * another order, and cycles through hooks) without asking for more bytes than it takes; and decoding that gives a value
 * which takes the same number of bytes again. Before the first input every allocation of a sample's way there and back
 * fails in turn, and the codec has to work on after each. */
#include "codec/codec_state.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

#define MEMORY_FACTOR 80
/* Of the interpreter's own: the stack's growth, error messages. */
#define MEMORY_CONSTANT (256 * 1024)

static size_t allocated, peak;
static unsigned fail_in; /* the how-manieth allocation from now fails; 0: none */

static void *counting_alloc(void *ud, void *old, size_t old_size, size_t size) {
  (void)ud;
  if (!old) old_size = 0;
  if (size > old_size && fail_in > 0 && --fail_in == 0) {
    fail_in = 1; /* and every later one, until it is switched off */
    return NULL;
  }
  allocated = allocated - old_size + size;
  if (allocated > peak) peak = allocated;
  if (size == 0) {
    free(old);
    return NULL;
  }
  return realloc(old, size);
}

static void fail(const char *what) {
  fprintf(stderr, "decode_fuzz: %s\n", what);
  abort();
}

/* A new state with a plain and a hooked type. Where a sample is wanted, the bytes of one with everything in it are on
 * its stack, and its codec has grown its buffers. */
static lua_State *open_state(bool sample) {
  static const char setup[] =
    "local core, sample = ...\n"
    "local plain, box = {}, {}\n"
    "core.register('p', plain)\n"
    "core.register('h', box, function(o) return o[1] end, function(v) return setmetatable({v}, box) end)\n"
    "if not sample then return end\n"
    "local numbers = { 1, 2, 3, 4, 5, 6, 7, 8 }\n"
    "local many = { numbers, { k = 'v', [1] = 1.5, x = numbers }, { 1, y = 2 }, setmetatable({ x = numbers }, plain),\n"
    "  setmetatable({ { 1 } }, box), ('text'):rep(20) }\n"
    "for i = 1, 50 do many[#many + 1] = { i } end\n"
    "return core.encode(many)\n";
  lua_State *L = lua_newstate(counting_alloc, NULL);
  if (!L) fail("no memory");
  luaL_openlibs(L);
  if (luaL_loadstring(L, setup) != LUA_OK) fail(lua_tostring(L, -1));
  lua_newtable(L);
  mg_codec_open(L);
  lua_pushboolean(L, sample);
  if (lua_pcall(L, 2, 1, 0) != LUA_OK) fail(lua_tostring(L, -1));
  return L;
}

/* Encodes the value on top of the stack, first into a buffer that is too small. Returns NULL where it cannot be sent.
 * The buffer is a userdata below the value, so that nothing leaks when an allocation fails. */
static uint8_t *encode(lua_State *L, mg_codec *c, size_t *len, unsigned *flags) {
  size_t cap = 16, needed = 0;
  for (;;) {
    uint8_t *buf = lua_newuserdatauv(L, cap, 0);
    lua_insert(L, -2);
    int status = mg_encode(L, c, -1, buf, cap, len, flags);
    if (status == MG_CODEC_OK) {
      if (*len > cap) fail("more bytes than fit");
      if (needed > *len) fail("asked for more bytes than were needed");
      return buf;
    }
    if (status == MG_CODEC_BAD) {
      lua_pop(L, 1);
      return NULL;
    }
    if (*len <= cap) fail("asked for no more bytes than there were");
    needed = *len > cap + 1 ? *len : 0;
    cap = *len > 2 * cap ? *len : 2 * cap;
  }
}

static void check_round_trip(lua_State *L, mg_codec *c) {
  size_t len, again_len;
  unsigned flags, again_flags;
  const uint8_t *buf = encode(L, c, &len, &flags);
  if (!buf) return;
  if (mg_decode(L, c, buf, len, flags) != MG_CODEC_OK) fail(lua_tostring(L, -1));
  const uint8_t *again = encode(L, c, &again_len, &again_flags);
  if (again && (again_len != len || again_flags != flags)) fail("the second encoding differs from the first");
}

typedef struct message {
  uint8_t *bytes;
  size_t len;
  unsigned flags;
  bool own; /* read where it is, not from a copy */
} message;

static int run(lua_State *L) {
  const message *m = lua_touserdata(L, 1);
  mg_codec *c = mg_codec_get(L);
  lua_settop(L, 0);
  size_t before = peak = allocated;
  int status = (m->own ? mg_decode_own : mg_decode)(L, c, m->bytes, m->len, m->flags);
  if (peak - before > MEMORY_FACTOR * m->len + MEMORY_CONSTANT) fail("too much memory");
  if (lua_gettop(L) != 1) fail("the stack is not as it was");
  if (status == MG_CODEC_OK) check_round_trip(L, c);
  return 0;
}

/* Returns whether it went through, which it must unless an allocation is to fail. */
static bool run_protected(lua_State *L, message *m, unsigned failing) {
  lua_settop(L, 0);
  lua_gc(L, LUA_GCSTOP);
  lua_pushcfunction(L, run);
  lua_pushlightuserdata(L, m);
  fail_in = failing;
  int status = lua_pcall(L, 1, 0, 0);
  fail_in = 0;
  if (status != LUA_OK && !failing) fail(lua_tostring(L, -1));
  lua_settop(L, 0);
  lua_gc(L, LUA_GCRESTART);
  return status == LUA_OK;
}

static void fail_each_allocation(void) {
  lua_State *sample = open_state(true);
  message m = { NULL, 0, MG_CODEC_REFS, false };
  m.bytes = (uint8_t *)lua_tolstring(sample, -1, &m.len);
  bool passed = false;
  for (unsigned k = 1; !passed; k++) {
    lua_State *L = open_state(false);
    passed = run_protected(L, &m, k);
    run_protected(L, &m, 0);
    lua_close(L);
    if (passed) fprintf(stderr, "decode_fuzz: %u allocations have failed, one each time\n", k - 1);
  }
  lua_close(sample);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static lua_State *L;
  static unsigned runs;
  if (size == 0) return 0;
  if (!L) {
    fail_each_allocation();
    L = open_state(false);
  }
  /* In a block of its own, so that reading after it is seen. */
  message m = { malloc(size), size - 1, data[0] & MG_CODEC_REFS, data[0] & 2 };
  memcpy(m.bytes, data + 1, m.len);
  m.bytes = realloc(m.bytes, m.len ? m.len : 1);
  run_protected(L, &m, data[0] / 8);
  free(m.bytes);
  if (++runs % 64 == 0 || allocated > (16u << 20)) lua_gc(L, LUA_GCCOLLECT);
  return 0;
}
