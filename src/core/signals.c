/* signals.c - see signals.h. */
#include "signals.h"

#include <stdlib.h>
#include <string.h>

#include "proc.h"

typedef struct node {
  struct node *next;
  mg_bell bell;
  _Atomic int used;
} node;

static node *_Atomic bells;
static _Atomic uint32_t counts[MG_SIGNALS];
static int watches[MG_SIGNALS];
static struct sigaction before[MG_SIGNALS];
static unsigned owner; /* the process that all this is of */

static void on_signal(int sig) {
  int saved = errno;
  if (owner == mg_process_serial && watches[sig] > 0) {
    mg_proc_ignored++; /* a sleeper sleeps on: the bell wakes the loops */
    atomic_fetch_add(&counts[sig], 1);
    for (node *n = atomic_load(&bells); n; n = n->next)
      if (atomic_load(&n->used)) mg_event_ring(&n->bell);
  } else {
    mg_sys.signal_action(sig, &before[sig], NULL);
    mg_sys.raise(sig); /* blocked while this runs: it comes when this returns */
  }
  errno = saved;
}

static void put_back(int sig) {
  if (mg_is_handled_by(sig, on_signal)) mg_sys.signal_action(sig, &before[sig], NULL);
}

void mg_signals_check(void) {
  if (owner != mg_process_serial) return; /* 3 */
  for (int sig = 1; sig < MG_SIGNALS; sig++) {
    MG_ASSERT(watches[sig] >= 0);
    if (watches[sig] == 0) MG_ASSERT(!mg_is_handled_by(sig, on_signal)); /* 2 */
  }
  for (node *n = atomic_load(&bells); n; n = n->next)
    for (node *m = n->next; m; m = m->next) MG_ASSERT(!n->used || !m->used || n->bell.epoll != m->bell.epoll);
}

void mg_signals_child(void) {
  memset(watches, 0, sizeof watches);
  for (node *n = atomic_load(&bells); n; n = n->next) atomic_store(&n->used, 0);
  owner = mg_process_own();
}

/* What a child that was forked in another way has of its parent's. */
static void begin(void) {
  if (owner == mg_process_own()) return;
  for (int sig = 1; sig < MG_SIGNALS; sig++)
    if (watches[sig] > 0) put_back(sig);
  mg_signals_child();
}

int mg_signals_watch(int sig) {
  sigset_t mask;
  struct sigaction ours;
  if (sig < 1 || sig >= MG_SIGNALS) return -EINVAL;
  begin();
  if (watches[sig]++ > 0) return 0;
  memset(&ours, 0, sizeof ours);
  ours.sa_handler = on_signal;
  ours.sa_flags = SA_RESTART;
  sigemptyset(&ours.sa_mask);
  int rc = mg_sys.block_signals(&mask); /* until it is known what stood before */
  if (rc == 0) {
    if (!mg_is_handled_by(sig, on_signal)) rc = mg_sys.signal_action(sig, &ours, &before[sig]);
    mg_sys.set_signals(&mask);
  }
  if (rc < 0) watches[sig] = 0;
  if (MG_UNLIKELY(mg_checking)) mg_signals_check();
  return rc;
}

void mg_signals_unwatch(int sig) {
  if (owner != mg_process_serial || watches[sig] == 0) return;
  sigset_t mask;
  int blocked = mg_sys.block_signals(&mask) == 0;
  if (--watches[sig] == 0) put_back(sig);
  if (blocked) mg_sys.set_signals(&mask);
  if (MG_UNLIKELY(mg_checking)) mg_signals_check();
}

uint32_t mg_signals_count(int sig) { return atomic_load(&counts[sig]); }

int mg_signals_join(const mg_bell *bell) {
  node *n;
  begin();
  for (n = atomic_load(&bells); n && atomic_load(&n->used); n = n->next) {}
  if (!n) {
    if (!(n = calloc(1, sizeof *n))) return -ENOMEM;
    n->next = atomic_load(&bells);
    atomic_store(&bells, n);
  }
  n->bell = *bell;
  atomic_store(&n->used, 1);
  return 0;
}

void mg_signals_leave(const mg_bell *bell) {
  if (owner != mg_process_serial) return;
  for (node *n = atomic_load(&bells); n; n = n->next)
    if (n->bell.epoll == bell->epoll) atomic_store(&n->used, 0);
}
