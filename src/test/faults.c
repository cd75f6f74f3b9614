/* faults.c - see faults.h.  Empty but in the test build. */
#include "faults.h"

#ifdef MG_FAULTS
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "core/point.h"
#include "core/sys.h"

typedef struct point {
  char name[32];
  _Atomic int used; /* 1 while its name is written, 2 when it may be read */
  _Atomic unsigned long hits;
} point;

typedef struct board { /* in shared memory: all processes of the test pass the same points */
  point points[MG_FAULT_POINTS];
  char die_name[32];
  _Atomic long die_in; /* passes left until one dies; 0: none */
  pid_t armed_by;      /* the test itself, which must not die */
} board;

static board *shared;
static char own_name[32]; /* where this process is to die, and how many passes are left until then; 0: nowhere */
static long own_in;
static mg_sys_table real;

#define X(name, type, params, args) CALL_##name,
enum { MG_SYS_CALLS(X) CALLS };
#undef X

static const char *const call_names[] = {
#define X(name, type, params, args) #name,
    MG_SYS_CALLS(X)
#undef X
    NULL};

static struct { unsigned long calls, fail_at; int error; } call[CALLS];

static int fails(int which) {
  call[which].calls++;
  if (call[which].fail_at == 0 || call[which].calls != call[which].fail_at) return 0;
  call[which].fail_at = 0;
  return call[which].error;
}

/* A failed call of pointer type gives NULL, of an integer type -errno.  What `close` closes is closed all the same, and
 * `flush` leaves nothing to be written twice. */
#define FAILED(type, error) _Generic((type)0, void *: NULL, default: (type)(intptr_t)(error))
#define X(name, type, params, args)                              \
  static type counted_##name params {                            \
    int error = fails(CALL_##name);                              \
    if (error && CALL_##name != CALL_close && CALL_##name != CALL_flush) return FAILED(type, -error); \
    type result = real.name args;                                \
    return error ? FAILED(type, -error) : result;                \
  }
MG_SYS_CALLS(X)
#undef X

static int find_call(const char *name) {
  for (int i = 0; i < CALLS; i++)
    if (strcmp(call_names[i], name) == 0) return i;
  return -1;
}

int mg_fault_call(const char *name, unsigned long nth, int error) {
  int i = find_call(name);
  if (i < 0) return -ENOENT;
  call[i].fail_at = call[i].calls + nth;
  call[i].error = error;
  return 0;
}

unsigned long mg_fault_calls(const char *name) {
  int i = find_call(name);
  return i < 0 ? 0 : call[i].calls;
}

const char *mg_fault_call_name(int i) { return i >= 0 && i < CALLS ? call_names[i] : NULL; }

static point *find_point(const char *name) {
  for (int i = 0; i < MG_FAULT_POINTS; i++) {
    point *p = &shared->points[i];
    int empty = 0;
    if (atomic_compare_exchange_strong(&p->used, &empty, 1)) {
      strncpy(p->name, name, sizeof p->name - 1);
      atomic_store(&p->used, 2);
      return p;
    }
    while (atomic_load(&p->used) == 1) {}
    if (strncmp(p->name, name, sizeof p->name - 1) == 0) return p;
  }
  return NULL;
}

/* Passes of a point are counted over all processes of the test. */
static void count_point(const char *name) {
  point *p = find_point(name);
  if (p) atomic_fetch_add(&p->hits, 1);
  if (own_in > 0 && strcmp(name, own_name) == 0 && --own_in == 0) real.raise(SIGKILL);
  if (atomic_load(&shared->die_in) > 0 && shared->armed_by != mg_pid() && strcmp(name, shared->die_name) == 0 &&
      atomic_fetch_sub(&shared->die_in, 1) == 1)
    real.raise(SIGKILL);
}

int mg_faults_open(void) {
  if (shared) return 0;
  shared = mg_sys.map_shared(sizeof *shared);
  if (!shared) return -ENOMEM;
  real = mg_sys;
  mg_point_passed = count_point;
#define X(name, type, params, args) mg_sys.name = counted_##name;
  MG_SYS_CALLS(X)
#undef X
  return 0;
}

void mg_fault_die(const char *name, unsigned long nth, int self) {
  if (self) {
    strncpy(own_name, name, sizeof own_name - 1);
    own_in = (long)nth;
    return;
  }
  strncpy(shared->die_name, name, sizeof shared->die_name - 1);
  shared->armed_by = mg_pid();
  atomic_store(&shared->die_in, (long)nth);
}

void mg_fault_reset(void) {
  atomic_store(&shared->die_in, 0);
  for (int i = 0; i < CALLS; i++) call[i].fail_at = 0;
  for (int i = 0; i < MG_FAULT_POINTS; i++) atomic_store(&shared->points[i].hits, 0);
}

int mg_fault_points(mg_fault_hits out[MG_FAULT_POINTS]) {
  int n = 0;
  for (; n < MG_FAULT_POINTS && atomic_load(&shared->points[n].used) == 2; n++) {
    memcpy(out[n].name, shared->points[n].name, sizeof out[n].name);
    out[n].hits = atomic_load(&shared->points[n].hits);
  }
  return n;
}
#else
typedef int mg_faults_only_in_the_test_build; /* ISO C wants something in every file */
#endif
