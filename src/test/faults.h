/* faults.h - the test build's faults: fail the Nth system call, die at a point.  Without MG_FAULTS nothing is left of
 * it. */
#ifndef MG_FAULTS_H
#define MG_FAULTS_H

#include "core/mg.h"

#ifdef MG_FAULTS
enum { MG_FAULT_POINTS = 64 };
typedef struct mg_fault_hits {
  char name[32];
  unsigned long hits;
} mg_fault_hits;

/* Puts the counting layer before every entry of mg_sys; 0 or -ENOMEM. */
int mg_faults_open(void);
/* The `nth` call from now (1: the next) of `name` in this process fails with `error`; 0, or -ENOENT for an unknown
 * name. */
int mg_fault_call(const char *name, unsigned long nth, int error);
/* Calls of `name` in this process so far. */
unsigned long mg_fault_calls(const char *name);
/* The `nth` pass from now of any other process through the point gets SIGKILL; `self`: that of this
 * process, and of no other. */
void mg_fault_die(const char *point, unsigned long nth, int self);
/* Forgets all that is armed, and the hits. */
void mg_fault_reset(void);
/* Copies what points were passed how often; returns their number. */
int mg_fault_points(mg_fault_hits out[MG_FAULT_POINTS]);
/* Name of system call i, NULL after the last. */
const char *mg_fault_call_name(int i);
#endif

#endif
