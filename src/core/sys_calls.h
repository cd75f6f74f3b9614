/* sys_calls.h - the functions in mg_sys, and what they share.  For sys*.c alone: all others call through the table. */
#ifndef MG_SYS_CALLS_H
#define MG_SYS_CALLS_H

#include "sys.h"

#define X(name, type, params, args) type mg_sys_##name params;
MG_SYS_CALLS(X)
#undef X

/* What a call of mg_sys_NAME, `function`, has returned, or -errno.  One that the kernel does not have, or that a filter
 * keeps from us, is noted. */
int mg_checked(const char *function, long result);
#define check(result) mg_checked(__func__, result)

/* A descriptor of ours is never 0, 1 or 2: in a program that was started without them its prints would go there.
 * Closes fd where it is one of these, and returns another one, or -errno. */
int mg_above_standard(int fd);

#endif
