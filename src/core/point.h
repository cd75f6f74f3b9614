/* point.h - the places between two stores at which the test build may make a process die.  Elsewhere nothing is left of
 * them. */
#ifndef MG_POINT_H
#define MG_POINT_H

#ifdef MG_FAULTS
extern void (*mg_point_passed)(const char *name); /* event.c; NULL: no test looks (test/faults.c does) */
#define MG_POINT(name) (mg_point_passed ? mg_point_passed(#name) : (void)0)
#else
#define MG_POINT(name) ((void)0)
#endif

#endif
