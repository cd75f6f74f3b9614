/* signals.h - signals that event loops watch: counted as they come, and announced by a bell in each loop.
 *
 * Invariants
 *  1. A handler, no signalfd: that would need the signal blocked, and a program that is started from here would begin
 *     with it blocked.  The handler counts, rings the bells, and does nothing else.
 *  2. What stood before the first watch of a signal stands again after the last; where the program has set a handler of
 *     its own meanwhile, that stays.
 *  3. The handler is this process's.  In a child forked in another way, and where no loop watches any more, it puts
 *     back what stood before, and the signal comes once more: nothing of a child's signals reaches the parent.
 *  4. A node of the list of bells is never freed, as a handler may be at it: it is used again.
 */
#ifndef MG_SIGNALS_H
#define MG_SIGNALS_H

#include "event.h"

enum { MG_SIGNALS = 65 }; /* numbers from 1 to 64 */

/* From now on a signal is counted, until as many unwatch.  0, -EINVAL for one that cannot be caught, -errno. */
int mg_signals_watch(int sig);
/* The watch of a signal ends. */
void mg_signals_unwatch(int sig);
/* How often it has come since this process began to watch; wraps. */
uint32_t mg_signals_count(int sig);
/* From now on a bell rings for each signal that is counted, until it is taken away.  0 or -ENOMEM. */
int mg_signals_join(const mg_bell *bell);
/* Takes a bell away. */
void mg_signals_leave(const mg_bell *bell);
/* Asserts the invariants, by looking at each signal's handler. */
void mg_signals_check(void);
/* In a child whose signals are at their defaults: nothing is watched, and no bell is there. */
void mg_signals_child(void);

#endif
