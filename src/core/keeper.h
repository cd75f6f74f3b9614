/* keeper.h - a child that outlives this process by a moment, to end the programs that this one has started.
 *
 * A program is a process group of its own, so its parent's death by SIGKILL would leave it running: the kernel's
 * parent-death signal reaches one process, not a group, and is not inherited by what a shell starts. The keeper holds
 * the read end of a pipe; this process and, until they have executed their program, the children that it starts hold
 * the write end. Each such child writes its number there before its program begins; this process takes it out before
 * it waits for the child's end. At end-of-file all writers are gone, and what is still noted is killed.
 *
 * Invariants
 *  1. A program that runs is noted: its number is written before `execve`, and a death of this process in between does
 *     not close the pipe before the child has written.
 *  2. A number is taken out before the kernel may give it to another process: before this process waits for it.
 *  3. The keeper has one descriptor, a session of its own, and all signals blocked.
 */
#ifndef MG_KEEPER_H
#define MG_KEEPER_H

#include "mg.h"
#include "sys.h"

/* The write end of the keeper's pipe, which is made when there is none; or -errno. */
int mg_keeper_fd(void);
/* A process group is noted, or taken out again.  0 or -errno; where noting fails, the group would be left running. */
int mg_keeper_add(pid_t group);
/* The same for a program whose start the child has reported (mg_launch): it only counts. */
void mg_keeper_added(void);
/* A process group is taken out. */
void mg_keeper_drop(pid_t group);
/* The keeper was found dead: gives up what there is of it, and with it all that it has noted. */
void mg_keeper_lost(void);
/* Ends the keeper where nothing is noted. */
void mg_keeper_rest(void);
/* Asserts what this process knows of its keeper. */
void mg_keeper_check(void);
/* In a child: the parent's keeper is not its own. */
void mg_keeper_child(void);

#endif
