/* heap.h - care for the malloc heap of a process that is going to fork often with a large heap. */
#ifndef MG_HEAP_H
#define MG_HEAP_H

#include "mg.h"

/* Lets glibc sort its list of freed chunks here, once, rather than in every child, which would dirty the whole heap
 * page by page: about 300 allocations of sizes that no bin holds. */
void mg_heap_settle(void);
/* Joins the pages of private anonymous memory from the address `from` on into huge pages, so that a fork copies 512
 * times fewer entries: of the next `most` bytes of it.  Returns where to go on, 0 when nothing is left; a kernel that
 * cannot (before Linux 6.1) does nothing.  *busy: some of it could not be joined now, but may be later.  Takes 0.3 to
 * 3 ms per MiB: worth it only before many forks. */
uintptr_t mg_heap_collapse(uintptr_t from, size_t most, int *busy);
/* In a worker: keeps memory that was freed instead of giving it back at once (large strings come and go). */
void mg_heap_keep(void);

#endif
