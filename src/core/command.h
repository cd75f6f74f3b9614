/* command.h - a program that runs beside this process: what it is given and what it says are moved as it comes.
 *
 * The program is a process group of its own, and the keeper's (keeper.h) from before its first instruction until its
 * end has been seen. Nothing here waits: `mg_command_step` moves what can be moved, and the one descriptor of the
 * command is readable when there is more to move, or when the program has ended.
 *
 * A program is over when its first process has ended. What is left of its group is killed then: no process would hear
 * of it, and it may hold the pipes open.
 */
#ifndef MG_COMMAND_H
#define MG_COMMAND_H

#include "sys.h"

typedef struct mg_text { /* bytes that are kept; free() frees `at` */
  char *at;
  size_t length, room;
} mg_text;

typedef struct mg_command {
  struct mg_command *next; /* in the list of this process's */
  pid_t pid;               /* 0: none, or its end has been seen */
  int watch;               /* its pidfd; -1: the kernel gives none, and mg_command_step has to be called now and then */
  int epoll;               /* of the descriptors below and `watch` */
  int own[3];              /* our ends of the pipes to its descriptors 0, 1, 2; -1: there is none, or it is closed */
  const char *input;       /* what is still to be written; the caller's */
  size_t input_left, limit;
  mg_text kept[3];         /* [1], [2]: what came from these descriptors; [0] is not used */
  int exceeded;            /* the descriptor from which more than `limit` bytes came; 0: none */
  mg_exit how;             /* valid when pid is 0 */
  unsigned serial;         /* of the process that has started it */
} mg_command;

typedef struct mg_streams { /* what the program's descriptors 0, 1 and 2 are */
  const char *input;        /* NULL: /dev/null is its standard input */
  size_t length;
  const char *path[3];      /* [1], [2]: a file, made or emptied; NULL: it is kept */
  int inherit[3];           /* [1], [2]: as this process's */
} mg_streams;

/* Starts a program.  `launch` has argv, envp and cwd filled in; its `failed` says at what step it failed, and
 * `failed_stream` with which descriptor (-1: with none).  0 or -errno; then there is nothing to be closed. */
int mg_command_start(mg_command *c, mg_launch *launch, const mg_streams *streams, size_t limit, int *failed_stream);
/* Moves what can be moved.  1: the program has ended and all is there; 0: not yet; -ENOMEM. */
int mg_command_step(mg_command *c);
/* Sends a signal to the program's group; 0 also when it has ended. */
int mg_command_kill(mg_command *c, int sig);
/* Kills what runs, waits for its end, gives everything back.  May be called twice. */
void mg_command_close(mg_command *c);
/* Sends a signal to all programs of this process.  May be called by a signal handler. */
void mg_command_signal(int sig);
/* In a child: the parent's programs are not its own; their descriptors must not be kept open here. */
void mg_command_child(void);

#endif
