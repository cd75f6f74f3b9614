/* shm.h - the shared mapping and its blocks.
 *
 * One anonymous MAP_SHARED | MAP_NORESERVE mapping, made before the first fork, cut into units of 64 KiB.  A block is
 * 2^class units, aligned to its own size, named by its first unit.  All bookkeeping is in the coordinator's PRIVATE
 * memory: a worker can write into a block but cannot damage the record of its owner.
 *
 * Invariants (mg_shm_check asserts them)
 *  1. Every unit below `bump` belongs to exactly one block, free or held; units above were never handed out.
 *  2. A block is free (refs == 0, on the list of its class) or held (refs > 0, on no list).
 *  3. `used` is the sum of the sizes of the held blocks, `resident` at least the touched bytes of all blocks.
 *  4. Free lists are last-in first-out: the block freed last has the hottest pages (a first touch of a shared page
 *     costs about 2 us, a reused one nothing).
 */
#ifndef MG_SHM_H
#define MG_SHM_H

#include "mg.h"

typedef struct mg_unit { /* one per unit; meaningful for the first unit of a block */
  uint32_t refs;         /* holders: a slot it is lent to, slices that point into it, the coordinator itself */
  uint32_t next;         /* next free block of the class, MG_NO_BLOCK at the end */
  uint8_t size_class;
  uint8_t first;         /* 1 for the first unit of a block */
  uint8_t touched;       /* pages may be resident */
} mg_unit;

typedef struct mg_shm {
  uint8_t *base;
  size_t size;               /* of the mapping */
  uint32_t units, bump;
  mg_unit *unit;
  uint32_t free[MG_CLASSES]; /* heads of the free lists */
  size_t used, used_most, resident;
  size_t keep;               /* above this many resident bytes, freed blocks give their pages back */
} mg_shm;

/* Maps up to `size` bytes (less where the address space is limited, at least `least`).  `keep`: see above.
 * Returns 0 or -ENOMEM.  The mapping belongs to `s` until mg_shm_close. */
int mg_shm_open(mg_shm *s, size_t size, size_t least, size_t keep);
/* Unmaps and frees; may be called twice, and on a zeroed struct. */
void mg_shm_close(mg_shm *s);

/* A block of at least `size` bytes with one reference, the caller's; MG_NO_BLOCK when the mapping is exhausted. */
uint32_t mg_shm_alloc(mg_shm *s, size_t size);
/* Adds a reference. */
void mg_shm_retain(mg_shm *s, uint32_t block);
/* Drops a reference; the last one frees the block. */
void mg_shm_release(mg_shm *s, uint32_t block);

/* 1 when `block` names a held block: to be asked before trusting a number that came from elsewhere. */
static inline int mg_shm_held(const mg_shm *s, uint32_t block) {
  return block < s->bump && s->unit[block].first && s->unit[block].refs > 0;
}
static inline size_t mg_shm_block_size(const mg_shm *s, uint32_t block) {
  return MG_UNIT << s->unit[block].size_class;
}
static inline uint8_t *mg_shm_at(const mg_shm *s, uint32_t block) { return s->base + ((size_t)block << MG_UNIT_SHIFT); }

/* Asserts the invariants; a walk over all blocks, for tests and debugging. */
void mg_shm_check(const mg_shm *s);

#endif
