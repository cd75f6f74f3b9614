/* clock.h - the time that counts for deadlines: the monotonic clock without the time in which this process was stopped.
 *
 * A stop (Ctrl-Z, SIGSTOP to the group, a frozen container) stops the workers too: no time-out passes in it.  The
 * kernel does not tell how long one was.  Two things do:
 *  - SIGCONT: a handler notes when it came.  The process last looked at the clock before the stop, so it has stood
 *    still at most since then.  Where a deadline counts, it looks ten times a second (MG_CLOCK_BEAT).
 *  - a sleep that was much longer than asked for, where no SIGCONT came (a freezer sends none).  The rest counts as a
 *    stop, not what was asked for: on a machine that is merely busy this clock goes slower, but it goes.
 * A machine that is suspended stops the monotonic clock itself.
 *
 * One clock for each process; a child begins with what its parent knew.
 */
#ifndef MG_CLOCK_H
#define MG_CLOCK_H

#include "mg.h"

#define MG_CLOCK_BEAT 100000000 /* ns: how long to sleep at most while a deadline counts */

/* Notes stops by SIGCONT from now on, unless the program has a handler of its own for that; counted: as many closes
 * put back what was there before.  Neither can fail: without the handler long sleeps still tell. */
void mg_clock_open(void);
void mg_clock_close(void);
/* In a child: undoes all that its parent has opened. */
void mg_clock_forget(void);
/* Nanoseconds of the clock.  Never goes back. */
uint64_t mg_clock_now(void);
/* Nanoseconds that count since `then`, a time of mg_now() in any process; 0 when that is still to come. */
uint64_t mg_clock_since(uint64_t then);
/* To be called after each sleep that should have ended after `asked` ns at the latest.  It began at `began`, by
 * mg_clock_look(). */
void mg_clock_slept(uint64_t began, uint64_t asked);
/* Looks at the clock: a stop after this has not begun before it.  Returns mg_now(). */
uint64_t mg_clock_look(void);

#endif
