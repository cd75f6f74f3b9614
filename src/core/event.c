/* event.c - see event.h for the protocol. */
#include "event.h"

#include "point.h"
#include "sys.h"

#ifdef MG_FAULTS
void (*mg_point_passed)(const char *name);
#endif

enum { SPIN_MOST = 50000, SPIN_LEAST = 2000, SPIN_RETRY = 16 }; /* ns, ns, sleeps */

int mg_event_ring(const mg_bell *bell) { return mg_sys.bell_ring(bell->epoll, bell->fd, bell->tag); }

int mg_event_signal(_Atomic uint32_t *asleep, const mg_bell *bell) {
  atomic_thread_fence(memory_order_seq_cst);
  if (atomic_load_explicit(asleep, memory_order_relaxed) == 0) return 0;
  if (atomic_exchange_explicit(asleep, 0, memory_order_relaxed) == 0) return 0;
  MG_POINT(flag_taken);
  return mg_event_ring(bell);
}

uint32_t mg_spin_budget(mg_spin *s, int allowed) {
  if (!allowed) return 0;
  if (s->budget == 0 && s->skipped == 0) s->budget = SPIN_MOST; /* never used yet */
  if (s->budget >= SPIN_LEAST) return s->budget;
  if (++s->skipped < SPIN_RETRY) return 0;
  s->skipped = 1;
  s->budget = SPIN_MOST; /* long enough to outlast the other side's waking up: only then can both sides spin */
  return s->budget;
}

void mg_spin_learn(mg_spin *s, int found) {
  if (found) s->budget = s->budget * 2 > SPIN_MOST ? SPIN_MOST : s->budget * 2;
  else s->budget /= 2;
  if (s->budget < SPIN_LEAST && s->skipped == 0) s->skipped = 1;
}

void mg_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}
