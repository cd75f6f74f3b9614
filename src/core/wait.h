/* wait.h - the one place where the coordinator waits: for its workers, for time, and for any number of descriptors.
 *
 * A wait spins first where a processor is to spare and spinning has paid lately, then says that it sleeps (event.h has
 * the protocol) and sleeps in epoll.  Between, it looks at the commit words of busy workers, as what they have finished
 * may show there only.
 */
#ifndef MG_WAIT_H
#define MG_WAIT_H

#include "pool.h"

/* Waits for something to collect, a child's end, or ns nanoseconds (< 0: without end; 0: only looks).  Reaps.
 * With ns = 0 it looks at the commit words too.  0, -EINTR when a signal came, -errno. */
int mg_pool_wait(mg_pool *p, int64_t ns);
/* Makes the epoll descriptor tell an event loop of another library when mg_pool_wait has something to do: it becomes
 * readable when a worker publishes or ends, after ns nanoseconds (< 0: no such limit), or at once when ns is 0 or
 * something is there already; and now and then while workers are busy, as finished items may show in their commit words
 * only.  It stays readable until the next mg_pool_wait, which must come before the next mg_pool_arm. 1: it is readable
 * now, 0: not yet, -errno. */
int mg_pool_arm(mg_pool *p, int64_t ns);
/* From now on a wait ends when fd is readable too, as long as it is; any number of descriptors.  fd stays the
 * caller's, to be closed after the pool; a child of the pool closes its copy.  0 or -errno. */
int mg_pool_watch(mg_pool *p, int fd);
/* Spins for something to collect, where a processor is to spare and that has paid lately: 1: there is something. */
int mg_pool_spin(mg_pool *p);
/* 1 when there is something to collect. */
int mg_pool_anything(const mg_pool *p);
/* 1 when one of the slots first..last has a worker without work. */
int mg_pool_idle(const mg_pool *p, uint32_t first, uint32_t last);

#endif
