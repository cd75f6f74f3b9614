/* miscount.h - wrong counts, put by hand into what the coordinator or a worker keeps, so that a spec can see each of
 * them found by the checks (mg_pool_check, mg_worker_check).  Only in the test build. */
#ifndef MG_MISCOUNT_H
#define MG_MISCOUNT_H

#include "core/pool.h"

#ifdef MG_FAULTS
/* Breaks an invariant of the pool or of its slot i, which has a worker, an unfinished chunk, an empty block that is
 * lent to it and an unread descriptor.  0, or -ENOENT for a word that it does not know. */
int mg_miscount_pool(mg_pool *p, uint32_t i, const char *what);
/* Breaks an invariant of a worker that has an open block. */
int mg_miscount_worker(mg_worker *w, const char *what);
#endif

#endif
