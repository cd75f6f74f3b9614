/* mg.h - limits and conventions shared by every file of the core.  No functions here.
 *
 * Errors: a function that can fail returns 0 (or a count) on success and -errno on failure.  Nothing below the binding
 * (lua_*.c) and the codec knows lua_State.
 * Units: sizes and offsets in bytes, times in nanoseconds of CLOCK_MONOTONIC, unless a name says otherwise.
 */
#ifndef MG_H
#define MG_H

#include <stddef.h>
#include <stdint.h>

#define MG_VERSION "0.1.0"

/* Shared memory is cut into units of 64 KiB; a block is a power of two of them. */
#define MG_UNIT_SHIFT 16
#define MG_UNIT ((size_t)1 << MG_UNIT_SHIFT)
#define MG_CLASSES 17             /* block sizes 64 KiB ... 4 GiB */
#define MG_NO_BLOCK UINT32_MAX

/* Descriptors in one ring; a power of two.  More than a worker can ever have in flight: a few chunks and blocks. */
#define MG_RING 64
#define MG_CHUNKS 16              /* chunks one slot may hold at a time; at most MG_RING / 4 */
#define MG_THREADED_CHUNKS 2048   /* a threaded one (slot.h); a power of two, as MG_CHUNKS */
#define MG_LENT 16                /* empty blocks one slot may hold at a time; at most MG_RING / 4 */
#define MG_MAX_SLOTS 4096

/* Items of one chunk and bytes of one block, bounded by the bit fields of the commit word (slot.h). */
#define MG_MAX_ITEM ((size_t)2 << 30)     /* bytes of one encoded item */
#define MG_MAX_CHUNK ((uint32_t)1 << 20)

#define MG_CACHE_LINE 64

#define MG_EXPORT __attribute__((visibility("default")))
/* A function of a hot path, where the compiler would spare the space. */
#define MG_INLINE static inline __attribute__((always_inline))
#define MG_LIKELY(x) __builtin_expect(!!(x), 1)
#define MG_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* An invariant that does not hold means that memory can no longer be trusted: stop here rather than lose an item. */
#define MG_ASSERT(cond)                                                          \
  do {                                                                           \
    if (MG_UNLIKELY(!(cond))) mg_assert_failed(#cond, __FILE__, __LINE__);       \
  } while (0)

_Noreturn void mg_assert_failed(const char *what, const char *file, int line); /* sys.c */

/* 1 where $MINIGUN_CHECK is set, as in all specs: the coordinator asserts the invariants of its pools after each round
 * (mg_pool_check), a worker its own after each step (mg_worker_check). */
extern int mg_checking; /* sys.c */

#endif
