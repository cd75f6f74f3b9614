/* marks.c - which blocks of the Lua files and of the C modules the processes of a test enter.
 *
 * The marks are bytes in a file that every process has mapped, so those of a process that was killed count too:
 * $MINIGUN_MARKS, of MARKS bytes.  Lua's blocks have the numbers that blocks.lua gives; those of a C module begin at
 * BASE and are the distances of calls of __sanitizer_cov_trace_pc (gcc -fsanitize-coverage=trace-pc) from the begin
 * of the object.  As a module of Lua it sets two globals: minigun_block(number) marks, minigun_marks() takes the marks
 * away: their numbers in order as differences, 7 bits a byte, the lowest first, the last byte of a number below 128. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MARKS = 8 << 20 };
#ifndef BASE
#define BASE 0
#endif

static uint8_t *marks;
static uintptr_t begin;

__attribute__((constructor)) static void map_marks(void) {
  const char *path = getenv("MINIGUN_MARKS");
  int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *at = mmap(NULL, MARKS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  Dl_info info;
  if (at == MAP_FAILED || !dladdr((void *)map_marks, &info)) return;
  begin = (uintptr_t)info.dli_fbase;
  marks = at;
}

__attribute__((visibility("hidden"))) void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void) {
  uintptr_t at = (uintptr_t)__builtin_return_address(0) - begin + BASE;
  if (marks && at < MARKS && !marks[at]) marks[at] = 1;
}

static int l_block(lua_State *L) {
  size_t at = (size_t)lua_tointeger(L, 1);
  if (marks && at < MARKS && !marks[at]) marks[at] = 1;
  return 0;
}

static int l_marks(lua_State *L) {
  luaL_Buffer b;
  size_t last = 0;
  luaL_buffinit(L, &b);
  for (size_t i = 0; marks && i < MARKS; i += 8) {
    uint64_t eight;
    memcpy(&eight, marks + i, 8);
    for (size_t at = i; eight && at < i + 8; at++) {
      if (!marks[at]) continue;
      marks[at] = 0;
      size_t n = at - last;
      for (; n >= 128; n >>= 7) luaL_addchar(&b, (char)(128 | (n & 127)));
      luaL_addchar(&b, (char)n);
      last = at;
    }
  }
  luaL_pushresult(&b);
  return 1;
}

__attribute__((visibility("default"))) int luaopen_marks(lua_State *L);
int luaopen_marks(lua_State *L) {
  lua_register(L, "minigun_block", l_block);
  lua_register(L, "minigun_marks", l_marks);
  return 0;
}
