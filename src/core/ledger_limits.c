/* ledger_limits.c - what fills up, how much more may be begun, and how large slices are (ledger.h).
 *
 * `queue = n` counts what waits: queued, in a slice after the item in work, or for the next attempt; not what workers
 * have in work.  lua/minigun/policy/admission.lua draws which limits there are after each stage and place. */
#include "ledger.h"

uint64_t mg_ledger_in_work(const mg_ledger *l, uint32_t stage) {
  const mg_place *p = mg_place_of(l, stage);
  uint64_t n = 0;
  if (p->here) return 0;
  if (p->seats == 0 || p->threaded) return l->stage[stage].hands;
  for (uint32_t i = 0; i < p->used; i++) {
    uint32_t w = l->seat[p->first_seat + i].hand.first;
    n += w && l->work[w].stage == stage;
  }
  return n;
}

/* How many items wait for a stage. */
static int64_t waiting(const mg_ledger *l, uint32_t stage) {
  return (int64_t)(l->stage[stage].pending - mg_ledger_in_work(l, stage));
}

/* How many items a place without a limit of its own may still be sent, where it is before a limited stage. */
static int64_t room_of(const mg_ledger *l, const mg_place *p) {
  return (int64_t)l->terms.some + (int64_t)l->terms.each * p->n - (int64_t)p->queued;
}

int mg_ledger_full(mg_ledger *l, const mg_place *p) {
  if (p->here) return p->works >= l->terms.own_most || p->bytes > l->queue_bytes;
  if (p->queued == 0) return 0;
  if (p->bytes > l->queue_bytes && p->queued > (p->seats ? 2 : 1) * (uint64_t)p->n) return 1;
  if (p->limited && room_of(l, p) <= 0) return 1;
  if (p->queued >= p->n && (p->seats ? p->blocked : p->limited && mg_ledger_any_full(l, &p->targets))) return 1;
  return p->most > 0 && p->queued >= p->most;
}

int mg_ledger_any_full(mg_ledger *l, const mg_limits *limits) {
  for (uint32_t i = 0; i < limits->n; i++) {
    const mg_limit *each = &limits->at[i];
    if (each->stage == 0 && mg_ledger_full(l, &l->place[each->place])) return 1;
    if (each->stage == 0 || (int64_t)l->stage[each->stage].pending < each->most) continue;
    if (waiting(l, each->stage) >= each->most) return 1;
  }
  return 0;
}

int64_t mg_ledger_room(mg_ledger *l, const mg_limits *limits, int64_t per) {
  int64_t room = MG_PLENTY;
  for (uint32_t i = 0; i < limits->n; i++) {
    const mg_limit *each = &limits->at[i];
    int64_t here = MG_PLENTY;
    if (each->stage == 0) {
      const mg_place *p = &l->place[each->place];
      if (mg_ledger_full(l, p)) return 0;
      if (p->limited) here = room_of(l, p);
    } else {
      int64_t left = each->most - waiting(l, each->stage);
      if (left <= 0) return 0;
      if (!l->stage[each->stage].recipe) here = left < MG_PLENTY / per ? left * per : MG_PLENTY;
    }
    if (here < room) room = here;
  }
  return room;
}

int mg_ledger_any_at_work(const mg_ledger *l, uint32_t stage) {
  const mg_limits *reach = &l->stage[stage].reach;
  for (uint32_t i = 0; i < reach->n; i++)
    if (reach->at[i].stage == 0 && l->place[reach->at[i].place].pending > 0) return 1;
  return 0;
}

int mg_ledger_must_wait(mg_ledger *l, uint32_t stage) {
  if (l->paused || mg_ledger_any_full(l, &l->stage[stage].reach) || mg_ledger_full(l, &l->place[l->own])) return 1;
  /* Where little memory is left: it comes back when what is at work is through. */
  return l->pool && l->pool->shm.used + MG_UNIT > l->memory / 4 * 3 && mg_ledger_any_at_work(l, stage);
}

/* --- slices ----------------------------------------------------------------------------------------------------- */

uint32_t mg_rate_slice(const mg_terms *t, double rate, uint64_t share, int folds) {
  if (rate < 0) return 1;
  double each = rate < 1e-9 ? 1e-9 : rate;
  double most = (folds ? t->long_fold : t->long_slice) / each, n = (folds ? t->fold : t->slice) / each;
  if (most > t->most_items) most = t->most_items;
  if (n < (double)share) n = (double)share;
  if (n > most) n = most;
  return n < 1 ? 1 : (uint32_t)n;
}

uint32_t mg_rate_depth(const mg_terms *t, double rate) { return rate >= 0 && rate < t->stored ? 2 : 1; }

void mg_rate_learn(const mg_terms *t, double *rate, double seconds, uint64_t n) {
  double one = seconds / (double)n;
  *rate = *rate < 0 || one > 4 * *rate ? one : *rate + t->newest * (one - *rate);
}
