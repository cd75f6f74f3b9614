/* Minigun: decodes messages that a second thread is scribbling on, as another process could do in shared memory.
 *
 *   mkdir -p build-fuzz && clang -std=gnu11 -g -O2 -fsanitize=address,undefined -Isrc -I/usr/include/lua5.4 \
 *     -o build-fuzz/scribble spec/fuzz/scribble.c src/codec/codec*.c src/lua/lua_codec.c -llua5.4 -lm -ldl -pthread
 *   build-fuzz/scribble [SECONDS [SEED]]
 *
 * The race is meant. What counts is that nothing outside the message is touched, and that every string that was decoded
 * is sound: a short string whose bytes changed while Lua interned it would differ from an equal one. */
#include "codec/codec_state.h"

#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint8_t *message;
static size_t message_len;
static const uint8_t *original;
static atomic_bool stop;

static void *scribble(void *seed) {
  uint64_t x = *(const uint64_t *)seed | 1;
  while (!stop) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    volatile uint8_t *byte = &message[x % message_len];
    *byte = (uint8_t)(x >> 32);
    for (volatile unsigned hold = (unsigned)(x >> 50) % 200; hold > 0;) hold--;
    *byte = original[x % message_len];
    for (volatile unsigned pause = (unsigned)(x >> 40) % 2000; pause > 0;) pause--;
  }
  return NULL;
}

static const char script[] =
  "local core = ...\n"
  "local record = { id = 7, name = 'user7', tags = { 'a', 'bb', 'ccc' }, score = 3.5, [1] = {} }\n"
  "record.self = record\n"
  "return core.encode { record, record, { 1, 2, 3, 4, 5, 6, 7, 8 }, ('text'):rep(9), ('long'):rep(100), { { {} } } }\n";

/* Every short string of the value is looked up by a copy of its bytes: both are the same if it was interned well. */
static const char check[] =
  "local met = {}\n"
  "local function walk(v)\n"
  "  if type(v) == 'string' then\n"
  "    assert(({ [v:sub(1, -2) .. v:sub(-1)] = true })[v] or #v == 0)\n"
  "  elseif type(v) == 'table' and not met[v] then\n"
  "    met[v] = true\n"
  "    for key, value in next, v do walk(key) walk(value) end\n"
  "  end\n"
  "end\n"
  "walk((...))\n";

int main(int argc, char **argv) {
  time_t seconds = argc > 1 ? atoi(argv[1]) : 10;
  uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL);
  printf("scribble: %ld seconds, seed %llu\n", (long)seconds, (unsigned long long)seed);
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  mg_codec *c = mg_codec_get(L);
  if (luaL_loadstring(L, script) != LUA_OK) abort();
  lua_newtable(L);
  mg_codec_open(L);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) abort();
  original = (const uint8_t *)lua_tolstring(L, -1, &message_len);
  message = malloc(message_len);
  memcpy(message, original, message_len);
  if (luaL_loadstring(L, check) != LUA_OK) abort();
  pthread_t thread;
  if (pthread_create(&thread, NULL, scribble, &seed) != 0) abort();
  unsigned long decoded = 0, refused = 0;
  for (time_t end = time(NULL) + seconds; time(NULL) < end;) {
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    if (mg_decode(L, c, message, message_len, MG_CODEC_REFS) != MG_CODEC_OK) {
      refused++;
      continue;
    }
    decoded++;
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
      fprintf(stderr, "scribble: %s\n", lua_tostring(L, -1));
      abort();
    }
  }
  stop = true;
  pthread_join(thread, NULL);
  printf("scribble: %lu decoded, %lu refused\n", decoded, refused);
  lua_close(L);
  free(message);
  return 0;
}
