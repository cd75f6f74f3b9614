/* ledger_seats.c - what workers have in hand, and what can be expected of them (ledger.h). */
#include "ledger.h"

uint32_t mg_ledger_hand(const mg_ledger *l, uint32_t seat, uint64_t number) {
  uint32_t w = (uint32_t)number;
  if (number == 0) return l->seat[seat].hand.first;
  return w < l->works && l->work[w].number == number && l->work[w].in == &l->seat[seat].hand ? w : MG_NO_WORK;
}

uint32_t mg_ledger_oldest_seat(const mg_ledger *l, const mg_place *p) {
  uint32_t oldest = MG_NO_SEAT;
  uint64_t ordinal = UINT64_MAX;
  for (uint32_t i = p->first_seat; i < p->first_seat + p->used; i++)
    for (uint32_t w = l->seat[i].hand.first; w; w = l->work[w].next)
      if (l->work[w].first + l->work[w].finished < ordinal) {
        ordinal = l->work[w].first + l->work[w].finished;
        oldest = i;
      }
  return oldest;
}

void mg_ledger_seat_used(mg_ledger *l, uint32_t seat) {
  mg_place *p = &l->place[l->seat[seat].place];
  if (seat - p->first_seat >= p->used) p->used = seat - p->first_seat + 1;
}

void mg_ledger_seat_left(mg_ledger *l, uint32_t seat, int vacant) {
  mg_seat *s = &l->seat[seat];
  mg_ledger_seat_used(l, seat);
  s->wanted = 0;
  mg_ledger_end_overdraft(l, seat);
  s->live = s->told = 0;
  s->given = s->items = s->busy = 0;
  s->vacant = vacant;
}

void mg_ledger_retire(mg_ledger *l, uint32_t seat) {
  l->seat[seat].retired = l->seat[seat].ends = 1;
  mg_slot_finish(&l->pool->slot[seat]);
}

int mg_ledger_idles(const mg_ledger *l, const mg_place *p) {
  if (p->queued > 0) return 0;
  if (p->seats == 0) return p->hand.n < p->n;
  for (uint32_t i = 0; i < p->used; i++)
    if (mg_seat_idle(&l->seat[p->first_seat + i])) return 1;
  return 0;
}

int mg_ledger_wakes(const mg_ledger *l, const mg_place *p) {
  for (uint32_t i = 0; i < p->used; i++) {
    const mg_seat *s = &l->seat[p->first_seat + i];
    if (s->live && s->wanted == 0 && (p->finishing || s->ends || s->hand.n > 0)) return 1;
  }
  return p->hand.n > 0;
}

int mg_ledger_working(const mg_ledger *l, const mg_place *p) {
  for (uint32_t i = 0; i < p->used; i++)
    if (l->seat[p->first_seat + i].hand.n > 0) return 1;
  return 0;
}

uint32_t mg_ledger_alive(const mg_ledger *l, const mg_place *p) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < p->used; i++) n += l->seat[p->first_seat + i].live != 0;
  return n;
}

int64_t mg_ledger_free(const mg_ledger *l, const mg_place *p) {
  int64_t n = -(int64_t)p->queued, depth = p->threaded ? p->threaded : mg_rate_depth(&l->terms, p->rate);
  if (p->here) return p->works == 0;
  if (p->seats == 0) return n + p->n - (int64_t)p->hand.items;
  for (uint32_t i = p->first_seat; i < p->first_seat + p->used; i++) {
    const mg_seat *s = &l->seat[i];
    uint64_t may = p->per_worker - s->given; /* as many are left for its process */
    int64_t more = depth - s->hand.n, left = may < (uint64_t)depth ? (int64_t)may : depth;
    if (s->vacant) n++;
    else if (s->live && !s->ends && more > 0) n += more < left ? more : left;
  }
  return n;
}
