/* Minigun: libFuzzer target for the decoder, and for the encoder with what came out of it.
 *
 *   mkdir -p build-fuzz && clang -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined -Isrc -I/usr/include/lua5.4 \
 *     -o build-fuzz/decode_fuzz spec/fuzz/decode_fuzz.c src/codec*.c src/lua_codec.c -llua5.4 -lm -ldl
 *   build-fuzz/decode_fuzz -max_len=4096 -runs=10000000 -dict=spec/fuzz/wire.dict CORPUS_DIRECTORY
 *
 * The first byte of an input is the flags, the rest the message. Checked besides what the sanitizers see:
 * the memory that decoding takes stays below 80 times the message, references included; what was decoded can be
 * encoded (but for graphs that are too deep when walked in another order, and cycles through hooks), in exactly the bytes
 * that the encoder asks for; and decoding that gives a value which takes the same number of bytes again. */
#include "codec_state.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

#define MEMORY_FACTOR 80
/* Of the interpreter's own: the stack's growth, error messages. */
#define MEMORY_CONSTANT (256 * 1024)

static size_t allocated, peak;

static void *counting_alloc(void *ud, void *old, size_t old_size, size_t size) {
  (void)ud;
  if (!old) old_size = 0;
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

static lua_State *open_state(void) {
  static const char setup[] =
    "local core = ...\n"
    "core.register('p', {})\n"
    "local box = {}\n"
    "core.register('h', box, function(o) return o[1] end, function(v) return setmetatable({v}, box) end)\n";
  lua_State *L = lua_newstate(counting_alloc, NULL);
  if (!L) fail("no memory");
  luaL_openlibs(L);
  if (luaL_loadstring(L, setup) != LUA_OK) fail(lua_tostring(L, -1));
  lua_newtable(L);
  mg_codec_open(L);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) fail(lua_tostring(L, -1));
  return L;
}

/* Encodes the value on top of the stack, first into a buffer that is too small. Returns NULL where it cannot be sent. */
static uint8_t *encode(lua_State *L, mg_codec *c, size_t *len, unsigned *flags) {
  size_t cap = 16, needed = 0;
  for (;;) {
    uint8_t *buf = malloc(cap);
    int status = mg_encode(L, c, -1, buf, cap, len, flags);
    if (status == MG_CODEC_OK) {
      if (*len > cap) fail("more bytes than fit");
      if (needed > *len) fail("asked for more bytes than were needed");
      return buf;
    }
    free(buf);
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
  uint8_t *buf = encode(L, c, &len, &flags);
  if (!buf) return;
  if (mg_decode(L, c, buf, len, flags) != MG_CODEC_OK) fail(lua_tostring(L, -1));
  uint8_t *again = encode(L, c, &again_len, &again_flags);
  if (again && (again_len != len || again_flags != flags)) fail("the second encoding differs from the first");
  free(again);
  free(buf);
  lua_pop(L, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static lua_State *L;
  static unsigned runs;
  if (size == 0) return 0;
  if (!L) L = open_state();
  mg_codec *c = mg_codec_get(L);
  unsigned flags = data[0] & MG_CODEC_REFS;
  size_t len = size - 1;
  uint8_t *message = malloc(len ? len : 1); /* a block of its own, so that reading behind it is seen */
  memcpy(message, data + 1, len);

  lua_gc(L, LUA_GCSTOP);
  size_t before = peak = allocated;
  int status = mg_decode(L, c, message, len, flags);
  if (peak - before > MEMORY_FACTOR * len + MEMORY_CONSTANT) fail("too much memory");
  if (lua_gettop(L) != 1) fail("the stack is not as it was");
  free(message);
  if (status == MG_CODEC_OK) check_round_trip(L, c);
  lua_settop(L, 0);
  lua_gc(L, LUA_GCRESTART);
  if (++runs % 64 == 0 || allocated > (16u << 20)) lua_gc(L, LUA_GCCOLLECT);
  return 0;
}
