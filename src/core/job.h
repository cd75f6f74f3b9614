/* job.h - Ctrl-Z: workers and programs are process groups of their own, so a stop of this process's job does not reach
 * them by itself.
 *
 * While it is opened, SIGTSTP stops the workers and the programs of minigun.command first, then this process, and lets
 * all go on together.  A program with a handler of its own for that signal, or that ignores it, is left as it is.
 * The whole screen, where a view has it, is given back before (screen.h).  SIGSTOP cannot be seen coming: it
 * stops this process only.
 */
#ifndef MG_JOB_H
#define MG_JOB_H

/* Counted: as many closes put back what was there before. */
void mg_job_open(void);
void mg_job_close(void);
/* In a child: undoes all that its parent has opened. */
void mg_job_forget(void);

#endif
