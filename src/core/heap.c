/* heap.c - see heap.h. */
#include "heap.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys.h"

enum { HUGE = 2 << 20, ADVICE_COLLAPSE = 25, SETTLE = 300 };

void mg_heap_settle(void) {
  void *taken[SETTLE];
  for (size_t i = 0; i < SETTLE; i++) taken[i] = malloc(1040 + 48 * i);
  for (size_t i = 0; i < SETTLE; i++) free(taken[i]);
}

typedef struct maps { /* /proc/self/maps, which is read in parts */
  int fd;
  size_t from, end;
  char part[4096];
} maps;

/* The next line, or as much of it as fits, without its newline; 0 at the end. */
static int next_line(maps *m, char *line, size_t room) {
  for (size_t n = 0;;) {
    if (m->from == m->end) {
      ssize_t got = mg_sys.read(m->fd, m->part, sizeof m->part);
      m->from = 0;
      m->end = got > 0 ? (size_t)got : 0;
      if (got <= 0) return 0;
    }
    char c = m->part[m->from++];
    if (c != '\n' && n + 1 < room) line[n++] = c;
    line[n] = '\0';
    if (c == '\n') return 1;
  }
}

uintptr_t mg_heap_collapse(uintptr_t from, size_t most, int *busy) {
  char line[512];
  uintptr_t next = 0;
  *busy = 0;
  maps all = {.fd = mg_sys.open_file("/proc/self/maps", MG_OPEN_READ | MG_OPEN_FOLLOW)};
  if (all.fd < 0) return 0;
  while (!next && next_line(&all, line, sizeof line)) {
    unsigned long begin, end, inode;
    char mode[5], name[64] = "";
    int n = sscanf(line, "%lx-%lx %4s %*s %*s %lu %63s", &begin, &end, mode, &inode, name);
    if (n < 4 || strcmp(mode, "rw-p") || inode || (name[0] && strcmp(name, "[heap]"))) continue;
    if (begin < from) begin = from;
    begin = (begin + HUGE - 1) & ~(unsigned long)(HUGE - 1);
    end &= ~(unsigned long)(HUGE - 1);
    if (end <= begin) continue;
    if (end - begin > most) end = begin + (most & ~(size_t)(HUGE - 1));
    void *at = (void *)begin; /* NOLINT: an address of ours */
    int rc = mg_sys.advise(at, end - begin, ADVICE_COLLAPSE);
    *busy = rc == -EAGAIN || rc == -EBUSY;
    next = end;
  }
  mg_sys.close(all.fd);
  return next;
}

void mg_heap_keep(void) {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 256 << 20);
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
#endif
}
