/* proc.h - child processes: fork, life-line, kill, reap.
 *
 * A child is one of ours only: it is waited for by its pidfd, never by waitpid(-1), and no SIGCHLD handler is set, so
 * that a host program's own children keep their exit status.
 *
 * A child leaves by _exit, also where the user's code calls exit: exit handlers are the coordinator's (they would move
 * the position of files that both have open).  How it ended the kernel tells; where another part of the program has
 * taken that (it ignores SIGCHLD, or waits for all children) the child's own last word does: a word in shared memory,
 * written before it leaves by itself.  Where neither says it, it is not known, and that is not taken for an end in good
 * order.
 *
 * A child must not outlive the coordinator.  Two means, because each has a gap: the kernel's parent-death signal
 * (which follows the forking THREAD, and comes too late when the parent dies before it is set: hence the check of the
 * parent's pid), and the life-line, a pipe whose write end only the coordinator holds: when it closes, a worker that
 * waits for work sees end-of-file.
 */
#ifndef MG_PROC_H
#define MG_PROC_H

#include <stdatomic.h>

#include "sys.h"

typedef struct mg_proc {
  pid_t pid;
  int watch;   /* becomes readable when the child has ended: its pidfd; -1 when there is no child */
  mg_file kind; /* what `watch` looks like: the program may close it, and open another file under its number */
  int is_ended; /* it need not be waited for: its number may be another's by now */
  int plain;   /* by mg_proc_fork or mg_proc_watch: of no group of ours */
  int is_pipe; /* ... where the kernel has no pidfds (before Linux 5.3, under valgrind): a pipe whose other end the
                  child holds.  A process that the child has forked can keep it open: then it must be looked for too */
} mg_proc;

/* Forks.  In the coordinator: returns the pid (> 0) with *p filled, or -errno.  In the child: returns 0, with signals
 * unblocked, SIGINT and SIGTERM ignored by a handler (the whole group gets them; it is the coordinator that decides),
 * or ignored for good where the program does so, standard input from /dev/null, standard output by lines, and the
 * parent-death signal set; the child must leave by mg_proc_leave.  All stdio streams are flushed first, so that nothing
 * is written twice. */
int mg_proc_spawn(mg_proc *p);
/* The same for a child that is a program's own: with the standard descriptors and the group of its parent, signals as
 * exec leaves them (default actions, but those that are ignored; none blocked), and no parent-death signal. */
int mg_proc_fork(mg_proc *p);
/* Watches a process that this library has not started, a child of this one or not.  p->watch is -1 where the kernel
 * gives no pidfd: then mg_proc_reap has to be called now and then.  0, -ESRCH: there is none of that number, -errno. */
int mg_proc_watch(mg_proc *p, pid_t pid);
/* In a child, or where it is not to be waited for: closes what watches it. */
void mg_proc_forget(mg_proc *p);
/* In a child: the word where it says that it ends by itself; it lies in shared memory and is 0. */
void mg_proc_tell_end(_Atomic uint32_t *word);
/* Ends this process, a child or a copy of one, without exit handlers and without flushing anything; says so. */
_Noreturn void mg_proc_leave(int code);
/* What the word of a child that has ended says, where the kernel did not. */
void mg_proc_ask_end(uint32_t word, mg_exit *out);
/* How often a handler has taken a signal that is no reason to wake a sleeper. */
extern volatile sig_atomic_t mg_proc_ignored;
/* 1 when the child has ended: *out says how, and the pidfd is closed, but that of a plain one, which may have to be
 * taken out of an epoll before.  0 while it lives, -errno.  How a process that is no child has ended is not known
 * before Linux 6.15: then `known` is 0. */
int mg_proc_reap(mg_proc *p, mg_exit *out);
/* Sends a signal; 0 also when the child has ended already. */
int mg_proc_kill(mg_proc *p, int sig);
/* SIGKILL, then waits until it is gone. */
void mg_proc_end(mg_proc *p);

/* Which process of the program's fork tree this is: a number that no process above it has, and 0 in a child that
 * was forked in another way, until that begins something of its own (mg_process_own).  It lies in a page that is wiped
 * at every fork, so a handler that forks by itself and returns in its child cannot finish an item a second time: each
 * object compares the number with its own. */
extern unsigned *mg_process_page; /* set by mg_proc_open */
#define mg_process_serial (*mg_process_page)
/* The number, for an object that is about to be made; a process without one gets one. */
unsigned mg_process_own(void);
/* Must be called once before anything else; 0 or -ENOMEM. */
int mg_proc_open(void);

/* Descriptors that are closed together, a run of numbers by one call: with a thousand siblings a worker inherits
 * thousands. */
typedef struct mg_closing {
  int first, last; /* of the run that is not closed yet; -1: there is none */
} mg_closing;

/* Closes one more, now or with the next ones; fd -1: all that are left. */
void mg_close_with(mg_closing *run, int fd);

#endif
