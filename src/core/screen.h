/* screen.h - the whole screen of this process's terminal, for a view that draws all of it.
 *
 * Invariants
 *  1. While it is shown the terminal has a second screen, no cursor, no wrapping, and gives each key at once, without
 *     echo.  The keys of signals (Ctrl-C, Ctrl-Z, Ctrl-\) still send them.
 *  2. mg_screen_leave puts back all of it, and may be called in a handler of a signal.  It is called on every way
 *     out: the close, the end of the process or of its Lua, a stop by Ctrl-Z (job.c), SIGTERM (lua_terminate.c), and a
 *     signal that ends the process, whose disposition was the default.
 *  3. It belongs to one process.  A child that has come by fork leaves the terminal alone.
 *  4. Nothing here waits for the terminal, but to enter and to leave, at most some seconds where it takes nothing.
 */
#ifndef MG_SCREEN_H
#define MG_SCREEN_H

#include "proc.h"

/* Opens the terminal and shows the screen, as soon as this process is in the terminal's foreground.  0, -EBUSY: this
 * process has it open; -errno: there is no terminal. */
int mg_screen_open(void);
/* Whether it is shown: 1; 2: from now on, again, so all has to be drawn anew; 0: another job has the terminal. */
int mg_screen_check(void);
/* The terminal's descriptor; -1: it is not open in this process. */
int mg_screen_fd(void);
/* Puts back what the terminal was, until the next check. */
void mg_screen_leave(void);
/* What is printed goes into the file `from` meanwhile (its descriptor): at the end of the process it is written to
 * `out`, or where that is -1 to `err`, and these are standard output and standard error again.  from < 0: nothing is
 * kept. */
void mg_screen_keep(int from, int out, int err);
/* The process ends: leaves the screen, and writes what was kept.  May be called in a handler of a signal. */
void mg_screen_end(void);
/* Leaves it for good. */
void mg_screen_close(void);
/* In a child: its parent's handlers are none of its own. */
void mg_screen_forget(void);

#endif
