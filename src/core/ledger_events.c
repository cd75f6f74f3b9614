/* ledger_events.c - what workers have committed goes on, and what was in hand is finished (ledger.h). */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "ledger.h"

/* --- what they have emitted ------------------------------------------------------------------------------------- */

int mg_ledger_route(mg_ledger *l, uint32_t stage, const mg_range *range) {
  const mg_stage *s = &l->stage[stage];
  uint32_t w;
  if (s->targets == 0) mg_shm_release(&l->pool->shm, range->block);
  for (uint32_t i = 0; i < s->targets; i++) {
    if (i + 1 < s->targets) mg_shm_retain(&l->pool->shm, range->block);
    if (mg_ledger_accept_range(l, s->target[i], range, 0, &w) < 0) return -ENOMEM;
  }
  return 0;
}

/* Whether a place has sent to a stage before: the first time is for the program above, which shows it. */
static int has_sent(const mg_ledger *l, const mg_place *p, mg_stage *to) {
  uint64_t bit = p - l->place < 64 ? UINT64_C(1) << (p - l->place) : 0, before = to->senders;
  to->senders |= bit;
  return to->senders == before;
}

/* Whether what an edge says is a plain matter: a stage of this place that sends on, or one that may be sent to. */
static int is_plain(const mg_ledger *l, const mg_place *p, uint32_t edge) {
  uint32_t id = edge & ~(uint32_t)MG_EDGE_TO;
  if (id == 0 || id > l->stages) return 0;
  if (edge & MG_EDGE_TO) return !l->stage[id].producing && has_sent(l, p, &l->stage[id]);
  return mg_place_of(l, id) == p && !l->stage[id].terminal;
}

static int pass_on(mg_ledger *l, const mg_place *p, const mg_range *range) {
  uint32_t w;
  if (p->counted) l->stage[p->counted].counts.items_out += range->count;
  if (!(range->edge & MG_EDGE_TO)) return mg_ledger_route(l, range->edge, range);
  return mg_ledger_accept_range(l, range->edge & ~(uint32_t)MG_EDGE_TO, range, 0, &w);
}

/* The counter of an edge in l->edges. */
static uint32_t *counter(const mg_ledger *l, uint32_t edge) {
  uint32_t id = edge & ~(uint32_t)MG_EDGE_TO;
  return &l->edges[edge & MG_EDGE_TO ? l->stages + 1 + id : id];
}

/* Counts the records of each edge: 1 where all of them are plain, and as many as were announced. */
static int count_edges(mg_ledger *l, const mg_place *p, const mg_range *range) {
  const uint8_t *base = mg_shm_at(&l->pool->shm, range->block);
  uint32_t at = range->offset, end = range->offset + range->length, n = 0;
  mg_record r;
  memset(l->edges, 0, 2 * ((size_t)l->stages + 1) * sizeof *l->edges);
  for (; at < end; n++) {
    uint32_t space = mg_record_read(base + at, end - at, &r);
    if (space == 0 || !is_plain(l, p, r.edge)) return 0;
    ++*counter(l, r.edge);
    at += space;
  }
  return n == range->count;
}

/* Passes on a range in which several edges are mixed; each takes a reference of its own. */
static int pass_on_mixed(mg_ledger *l, const mg_place *p, const mg_range *range) {
  for (uint32_t i = 1; i < 2 * (l->stages + 1); i++) {
    if (l->edges[i] == 0) continue;
    mg_range part = *range;
    part.edge = i > l->stages ? MG_EDGE_TO | (i - l->stages - 1) : i;
    part.count = l->edges[i];
    mg_shm_retain(&l->pool->shm, range->block);
    if (pass_on(l, p, &part) < 0) return -ENOMEM;
  }
  mg_shm_release(&l->pool->shm, range->block);
  return 0;
}

/* 1: done, 0: it is for the program above. */
static int take_output(mg_ledger *l, mg_place *p, const mg_slot_event *ev) {
  mg_ledger_range_used(l, p, ev->range.length);
  if (p->told) return 0;
  if (ev->range.edge != MG_EDGE_ANY) {
    if (!is_plain(l, p, ev->range.edge)) return 0;
    return pass_on(l, p, &ev->range) < 0 ? -ENOMEM : 1;
  }
  if (!count_edges(l, p, &ev->range)) return 0;
  return pass_on_mixed(l, p, &ev->range) < 0 ? -ENOMEM : 1;
}

/* --- what they have finished ------------------------------------------------------------------------------------ */

/* Adds the time of n items: classes as in lua/minigun/base/stats.lua. */
static void serve(mg_counts *c, double ns, uint64_t n) {
  static const double part[] = {0.5946035575013605, 0.7071067811865476, 0.8408964152537145}; /* 2^(-3/4) ... */
  int power, class = 0;
  double fraction = frexp(ns / 100, &power); /* from 0.1 us: 2^(power - 1) to 2^power */
  if (ns > 100) class = 4 * (power - 1) + (fraction >= part[0]) + (fraction >= part[1]) + (fraction >= part[2]);
  c->service[class < MG_SERVICE_CLASSES ? class : MG_SERVICE_CLASSES - 1] += n;
  c->served = 1;
}

/* The slice is over. */
static int end_slice(mg_ledger *l, mg_place *p, uint32_t seat, uint32_t w) {
  mg_work *own = &l->work[w];
  mg_stage *s = &l->stage[own->stage];
  if (own->range.count > 0 && own->attempt > 0 && !s->producing) {
    mg_rate_learn(&l->terms, &p->rate, (double)own->busy / 1e9, own->range.count);
    if (p->stages == 1) serve(&s->counts, (double)own->busy / own->range.count, own->range.count);
  }
  mg_work_free(l, w);
  const mg_seat *its = &l->seat[seat];
  if (!p->loops || its->retired || !(its->leaving || its->given >= p->per_worker)) return 0;
  mg_slot_event ev = {.kind = MG_EVENT_RETIRE};
  return mg_pool_tell(l->pool, seat, &ev);
}

int mg_ledger_done(mg_ledger *l, const mg_slot_event *ev) {
  mg_seat *s = &l->seat[ev->slot];
  mg_place *p = &l->place[s->place];
  uint32_t w = mg_ledger_hand(l, ev->slot, ev->number);
  if (w == MG_NO_WORK) return 0; /* a slice that was taken back */
  mg_work *own = &l->work[w];
  own->busy += ev->nanos;
  s->busy += ev->nanos;
  if (own->attempt > 0) s->items += ev->a;
  /* The stages of a group tell their times themselves. */
  if (p->stages == 1) l->stage[own->stage].counts.busy += ev->nanos;
  if (ev->a > 0) {
    mg_ledger_finish(l, w, ev->a);
    mg_ledger_end_overdraft(l, ev->slot);
  }
  return ev->b ? end_slice(l, p, ev->slot, w) : 0;
}

/* --- events ----------------------------------------------------------------------------------------------------- */

/* 1: it is done, 0: it is for the program above, or -ENOMEM. */
static int take(mg_ledger *l, const mg_slot_event *ev) {
  mg_seat *s = &l->seat[ev->slot];
  mg_place *p = &l->place[s->place];
  mg_ledger_may_lack(l, ev->slot);
  switch (ev->kind) {
    case MG_EVENT_OUT: return take_output(l, p, ev);
    case MG_EVENT_DONE: {
      uint32_t w = mg_ledger_hand(l, ev->slot, ev->number);
      if (p->ordered || s->told || (w && l->work[w].attempt == 0)) return 0;
      int rc = mg_ledger_done(l, ev);
      return rc < 0 ? rc : 1;
    }
    case MG_EVENT_NEED: mg_ledger_need(l, ev->slot, (size_t)ev->a << MG_UNIT_SHIFT); return 1;
    case MG_EVENT_REST: {
      int rc = mg_ledger_rest(l, ev->slot, ev->number, &ev->range);
      return rc < 0 ? rc : 1;
    }
    case MG_EVENT_CORRUPT:
      s->ends = 1;
      s->wanted = 0;
      return 0;
    default: return 0;
  }
}

int mg_ledger_collect(mg_ledger *l, mg_slot_event *out, int *busy) {
  while (l->pool && mg_pool_event(l->pool, out)) {
    int torn = l->torn;
    l->torn = 1;
    int rc = take(l, out);
    l->torn = torn;
    *busy = 1;
    if (rc <= 0) return rc < 0 ? rc : 1;
  }
  return 0;
}
