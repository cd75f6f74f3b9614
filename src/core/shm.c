/* shm.c - see shm.h for the layout and the invariants. */
#include "shm.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "sys.h"

int mg_shm_open(mg_shm *s, size_t size, size_t least, size_t keep) {
  memset(s, 0, sizeof *s);
  for (int k = 0; k < MG_CLASSES; k++) s->free[k] = MG_NO_BLOCK;
  size &= ~(MG_UNIT - 1);
  while (!(s->base = mg_sys.map_shared(size))) {
    if (size / 2 < least) return -ENOMEM;
    size = (size / 2) & ~(MG_UNIT - 1);
  }
  s->size = size;
  s->units = (uint32_t)(size >> MG_UNIT_SHIFT);
  s->keep = keep;
  s->unit = mg_sys.map_private(s->units * sizeof *s->unit); /* most of it is never touched */
  if (!s->unit) {
    mg_shm_close(s);
    return -ENOMEM;
  }
  return 0;
}

void mg_shm_close(mg_shm *s) {
  if (s->base) mg_sys.unmap(s->base, s->size);
  if (s->unit) mg_sys.unmap(s->unit, s->units * sizeof *s->unit);
  memset(s, 0, sizeof *s);
}

static void push_free(mg_shm *s, uint32_t block, unsigned k) {
  mg_unit *u = &s->unit[block];
  u->first = 1;
  u->refs = 0;
  u->size_class = (uint8_t)k;
  u->next = s->free[k];
  s->free[k] = block;
}

static uint32_t pop_free(mg_shm *s, unsigned k) {
  uint32_t block = s->free[k];
  if (block != MG_NO_BLOCK) s->free[k] = s->unit[block].next;
  return block;
}

/* Halves `block` of class k until it has class `want`; the upper halves go to their free lists. */
static void split(mg_shm *s, uint32_t block, unsigned k, unsigned want) {
  while (k > want) {
    k--;
    uint32_t upper = block + (1u << k);
    s->unit[upper].touched = s->unit[block].touched;
    push_free(s, upper, k);
  }
  s->unit[block].size_class = (uint8_t)want;
}

static uint32_t take_fresh(mg_shm *s, unsigned k) {
  uint32_t n = 1u << k;
  uint64_t aligned = ((uint64_t)s->bump + n - 1) & ~(uint64_t)(n - 1);
  if (aligned + n > s->units) return MG_NO_BLOCK;
  while (s->bump < aligned) { /* the gap becomes free blocks of the sizes its alignment allows */
    unsigned g = (unsigned)__builtin_ctz(s->bump);
    while (s->bump + (1u << g) > aligned) g--;
    s->unit[s->bump].touched = 0;
    push_free(s, s->bump, g);
    s->bump += 1u << g;
  }
  uint32_t block = s->bump;
  s->bump += n;
  s->unit[block].first = 1;
  s->unit[block].size_class = (uint8_t)k;
  s->unit[block].touched = 0;
  return block;
}

/* Joins free neighbours into larger blocks, smallest first, and rebuilds the lists.  Rare: only when nothing else
 * fits. */
static void coalesce(mg_shm *s) {
  for (unsigned k = 0; k + 1 < MG_CLASSES; k++) {
    uint32_t n = 1u << k;
    for (uint32_t b = 0; b + 2 * n <= s->bump; b += 2 * n) {
      mg_unit *lo = &s->unit[b], *hi = &s->unit[b + n];
      if (!lo->first || !hi->first || lo->refs || hi->refs || lo->size_class != k || hi->size_class != k) continue;
      hi->first = 0;
      lo->size_class = (uint8_t)(k + 1);
      if (lo->touched != hi->touched) s->resident += MG_UNIT << k; /* the whole counts as touched from now on */
      lo->touched |= hi->touched;
    }
  }
  for (unsigned k = 0; k < MG_CLASSES; k++) s->free[k] = MG_NO_BLOCK;
  for (uint32_t b = 0; b < s->bump; b += 1u << s->unit[b].size_class)
    if (s->unit[b].refs == 0) push_free(s, b, s->unit[b].size_class);
}

static uint32_t find(mg_shm *s, unsigned k) {
  uint32_t block = pop_free(s, k);
  for (unsigned bigger = k + 1; block == MG_NO_BLOCK && bigger < MG_CLASSES; bigger++) {
    block = pop_free(s, bigger);
    if (block != MG_NO_BLOCK) split(s, block, bigger, k);
  }
  return block != MG_NO_BLOCK ? block : take_fresh(s, k);
}

uint32_t mg_shm_alloc(mg_shm *s, size_t size) {
  unsigned k = 0;
  while (k < MG_CLASSES && (MG_UNIT << k) < size) k++;
  if (k == MG_CLASSES) return MG_NO_BLOCK;
  uint32_t block = find(s, k);
  if (block == MG_NO_BLOCK) {
    coalesce(s);
    block = find(s, k);
    if (block == MG_NO_BLOCK) return MG_NO_BLOCK;
  }
  mg_unit *u = &s->unit[block];
  u->refs = 1;
  size_t bytes = MG_UNIT << k;
  if (!u->touched) s->resident += bytes;
  u->touched = 1;
  s->used += bytes;
  if (s->used > s->used_most) s->used_most = s->used;
  return block;
}

void mg_shm_retain(mg_shm *s, uint32_t block) {
  MG_ASSERT(mg_shm_held(s, block));
  s->unit[block].refs++;
}

void mg_shm_release(mg_shm *s, uint32_t block) {
  MG_ASSERT(mg_shm_held(s, block));
  mg_unit *u = &s->unit[block];
  if (--u->refs > 0) return;
  size_t bytes = MG_UNIT << u->size_class;
  s->used -= bytes;
  if (s->resident > s->keep && mg_sys.advise(mg_shm_at(s, block), bytes, MADV_REMOVE) == 0) {
    u->touched = 0;
    s->resident -= bytes;
  }
  push_free(s, block, u->size_class);
}

void mg_shm_check(const mg_shm *s) {
  size_t used = 0;
  uint32_t freed = 0, listed = 0;
  for (uint32_t b = 0; b < s->bump; b += 1u << s->unit[b].size_class) {
    MG_ASSERT(s->unit[b].first && s->unit[b].size_class < MG_CLASSES);
    if (s->unit[b].refs) used += mg_shm_block_size(s, b);
    else freed++;
  }
  for (unsigned k = 0; k < MG_CLASSES; k++)
    for (uint32_t b = s->free[k]; b != MG_NO_BLOCK; b = s->unit[b].next, listed++)
      MG_ASSERT(b < s->bump && s->unit[b].refs == 0 && s->unit[b].size_class == k && listed <= freed);
  MG_ASSERT(listed == freed && used == s->used && s->resident >= used);
}
