/* heap.c - see heap.h. */
#include "heap.h"

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

size_t mg_heap_collapse(void) {
  char line[512];
  size_t total = 0;
  FILE *maps = fopen("/proc/self/maps", "re");
  if (!maps) return 0;
  while (fgets(line, sizeof line, maps)) {
    unsigned long from, to, inode;
    char mode[5], name[64] = "";
    int n = sscanf(line, "%lx-%lx %4s %*s %*s %lu %63s", &from, &to, mode, &inode, name);
    if (n < 4 || strcmp(mode, "rw-p") || inode || (name[0] && strcmp(name, "[heap]"))) continue;
    from = (from + HUGE - 1) & ~(unsigned long)(HUGE - 1);
    to &= ~(unsigned long)(HUGE - 1);
    if (to <= from) continue;
    void *at = (void *)from; /* NOLINT: an address of ours */
    if (mg_sys.advise(at, to - from, ADVICE_COLLAPSE) == 0) total += to - from;
  }
  fclose(maps);
  return total;
}

void mg_heap_keep(void) {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 256 << 20);
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
#endif
}
