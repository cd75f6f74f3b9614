/* heap.h - care for the malloc heap of a process that is going to fork often with a large heap. */
#ifndef MG_HEAP_H
#define MG_HEAP_H

#include "mg.h"

/* Lets glibc sort its list of freed chunks here, once, rather than in every child, which would dirty the whole heap
 * page by page: about 300 allocations of sizes that no bin holds. */
void mg_heap_settle(void);
/* Joins the pages of private anonymous memory into huge pages, so that a fork copies 512 times fewer entries.
 * Returns the bytes asked for, 0 where the kernel cannot (before Linux 6.1) or there is nothing large.  Takes about
 * 3 ms per MiB the first time: worth it only before many forks. */
size_t mg_heap_collapse(void);
/* In a worker: keeps memory that was freed instead of giving it back at once (large strings come and go). */
void mg_heap_keep(void);

#endif
