/* ledger_queue.c - taking work out of queues, whole or in parts (ledger.h). */
#include <errno.h>
#include <stdlib.h>

#include "ledger.h"

int mg_ledger_open_lanes(mg_place *p) {
  if (p->lane) return 0;
  uint32_t n = p->seats ? p->seats : MG_THREADED_CHUNKS; /* of threads there may be more later */
  p->lane = calloc(n, sizeof *p->lane);
  if (!p->lane) return -ENOMEM;
  for (p->lanes = 0; p->lanes < n; p->lanes++) p->lane[p->lanes].kind = MG_IN_QUEUE;
  return 0;
}

mg_list *mg_ledger_queue_for(mg_ledger *l, mg_place *p, uint32_t worker) {
  mg_list *queue = &p->queue, *lane = worker <= p->lanes && p->lane[worker - 1].first ? &p->lane[worker - 1] : NULL;
  /* In order, the older comes first: it may be the only one that may be begun. */
  if (lane && !(p->ordered && queue->first && l->work[queue->first].first < l->work[lane->first].first)) queue = lane;
  if (!queue->first) return NULL;
  uint64_t first = l->work[queue->first].first;
  return !p->ordered || first <= p->order_head || first < p->order_limit ? queue : NULL;
}

/* A part of `whole`: `passed` items are before it.  It has no reference, and is in no list. */
static uint32_t new_part(mg_ledger *l, uint32_t whole, uint32_t passed, const mg_range *range) {
  uint32_t part = mg_work_new(l);
  if (part == MG_NO_WORK) return part;
  mg_work *to = &l->work[part];
  const mg_work *from = &l->work[whole];
  to->range = *range;
  to->stage = from->stage;
  to->attempt = from->attempt;
  to->lane = from->lane;
  to->first = from->first ? from->first + passed : 0;
  to->flags = from->flags & (MG_WORK_AGAIN | MG_WORK_SINGLY);
  return part;
}

int mg_ledger_cut(mg_ledger *l, uint32_t w, uint32_t n, uint32_t *part) {
  mg_range first = l->work[w].range, rest;
  if (mg_range_cut(mg_shm_at(&l->pool->shm, first.block), &first, n, &rest) < 0) {
    l->damaged = l->work[w].stage;
    return -EPROTO;
  }
  *part = new_part(l, w, 0, &first);
  if (*part == MG_NO_WORK) return -ENOMEM;
  mg_shm_retain(&l->pool->shm, rest.block);
  mg_work *whole = &l->work[w];
  whole->range = rest;
  whole->first += whole->first ? n : 0;
  whole->in->items -= n;
  mg_list_add(l, &l->held, *part, 0);
  if (whole->flags & MG_WORK_KEPT) l->hooks.cut(l->hooks.to, w, *part, n, 0);
  return 0;
}

int mg_ledger_cut_end(mg_ledger *l, uint32_t w, const mg_range *range, uint32_t *rest) {
  mg_work *whole = &l->work[w];
  uint32_t count = range->count;
  *rest = new_part(l, w, whole->range.count - count, range);
  if (*rest == MG_NO_WORK) return -ENOMEM;
  whole = &l->work[w];
  whole->range.count -= count;
  if (!(range->edge & MG_EDGE_PIECE)) whole->range.length -= range->length;
  whole->in->items -= count;
  mg_list_add(l, &l->held, *rest, 0);
  if (whole->flags & MG_WORK_KEPT) l->hooks.cut(l->hooks.to, w, *rest, count, 1);
  return 0;
}

/* The same for all ways of taking. */
static int take(mg_ledger *l, uint32_t w, uint32_t n, mg_list *to, uint32_t *taken) {
  mg_work *own = &l->work[w];
  mg_place *p = mg_place_of(l, own->stage);
  uint32_t bytes = own->range.length;
  *taken = w;
  if (own->range.count > n && own->range.block != MG_NO_BLOCK) {
    int rc = mg_ledger_cut(l, w, n, taken);
    if (rc < 0) return rc;
    bytes -= l->work[w].range.length; /* of a piece nothing goes */
  } else {
    p->works--;
  }
  mg_list_remove(l, *taken);
  own = &l->work[*taken];
  own->number = 0;
  mg_list_add(l, to, *taken, 0);
  p->queued -= own->range.count;
  p->bytes -= bytes;
  return 0;
}

void mg_ledger_take_out(mg_ledger *l, uint32_t w) {
  uint32_t whole;
  (void)take(l, w, UINT32_MAX, &l->held, &whole); /* nothing is cut, so it cannot fail */
}

int mg_ledger_take(mg_ledger *l, mg_list *from, uint32_t n, uint32_t *w) {
  return take(l, from->first, n, &l->held, w);
}

uint32_t mg_ledger_oldest_own(mg_ledger *l) {
  uint32_t oldest = MG_NO_WORK;
  if (l->place[l->own].works == 0) return oldest;
  for (uint32_t i = 1; i <= l->stages; i++) {
    uint32_t w = l->stage[i].queue.first;
    if (w && (!oldest || l->work[w].number < l->work[oldest].number) && !mg_ledger_any_full(l, &l->stage[i].waits))
      oldest = w;
  }
  return oldest;
}

int mg_ledger_take_own(mg_ledger *l, uint32_t stage, uint32_t n, uint32_t *w) {
  return take(l, l->stage[stage].queue.first, n ? n : UINT32_MAX, &l->place[l->own].hand, w);
}

void mg_ledger_done_own(mg_ledger *l, uint32_t w) {
  mg_ledger_finish(l, w, mg_work_left(&l->work[w]));
  mg_work_free(l, w);
}

/* --- invariants ------------------------------------------------------------------------------------------------- */

typedef struct tally {
  uint64_t queued, in_hand, waiting, hands;
} tally;

static void check_list(const mg_ledger *l, const mg_list *list, tally *by_stage, uint64_t *seen) {
  uint64_t items = 0, n = 0;
  for (uint32_t w = list->first, before = MG_NO_WORK; w; before = w, w = l->work[w].next) {
    const mg_work *own = &l->work[w];
    MG_ASSERT(own->in == list && own->before == before && n < l->works); /* 1 */
    MG_ASSERT(own->finished <= own->range.count);
    MG_ASSERT(own->range.block == MG_NO_BLOCK || mg_shm_held(&l->pool->shm, own->range.block)); /* 4 */
    uint32_t left = mg_work_left(own);
    tally *t = &by_stage[own->stage];
    *(list->kind == MG_IN_QUEUE ? &t->queued : list->kind == MG_IN_HAND ? &t->in_hand : &t->waiting) += left;
    t->hands += list->kind == MG_IN_HAND;
    items += left;
    n++;
  }
  MG_ASSERT(items == list->items && n == list->n); /* 1 */
  *seen += n;
}

static void check_place(const mg_ledger *l, const mg_place *p) {
  uint64_t queued = 0, bytes = 0, works = 0, pending = 0;
  uint32_t lacking = 0;
  for (uint32_t i = 1; i <= l->stages; i++) pending += mg_place_of(l, i) == p ? l->stage[i].pending : 0;
  for (uint32_t i = 0; i < p->used; i++) lacking += l->seat[p->first_seat + i].lacking != 0;
  MG_ASSERT(pending == p->pending && lacking == p->lacking); /* 3 */
  for (uint32_t i = p->used; i < p->seats; i++)
    MG_ASSERT(!l->seat[p->first_seat + i].live && !l->seat[p->first_seat + i].vacant);
  for (uint32_t i = 1; i < l->works; i++) {
    const mg_work *own = &l->work[i];
    if (!own->in || own->in->kind != MG_IN_QUEUE || mg_place_of(l, own->stage) != p) continue;
    queued += own->range.count;
    bytes += own->range.length;
    works++;
  }
  MG_ASSERT(queued == p->queued && bytes == p->bytes && works == p->works); /* 3 */
}

static void check_seat(const mg_ledger *l, const mg_seat *s) {
  uint64_t last = 0;
  for (uint32_t w = s->hand.first; w; w = l->work[w].next) {
    MG_ASSERT((uint32_t)l->work[w].number == w && l->work[w].number > last); /* 5 */
    last = l->work[w].number;
  }
}

/* No block is mentioned more often than it has references; slots have some of their own. */
static void check_references(const mg_ledger *l) {
  const mg_shm *shm = &l->pool->shm;
  uint32_t *mentions = calloc(shm->bump ? shm->bump : 1, sizeof *mentions);
  if (!mentions) return;
  for (uint32_t i = 1; i < l->works; i++)
    if (l->work[i].in && l->work[i].range.block != MG_NO_BLOCK) mentions[l->work[i].range.block]++;
  for (uint32_t b = 0; b < shm->bump; b++) MG_ASSERT(mentions[b] <= shm->unit[b].refs); /* 4 */
  free(mentions);
}

void mg_ledger_check(const mg_ledger *l) {
  tally *by_stage = calloc(l->stages + 1, sizeof *by_stage);
  uint64_t seen = 0, in_lists = 0;
  if (!by_stage) return;
  check_list(l, &l->waiting, by_stage, &seen);
  check_list(l, &l->held, by_stage, &seen);
  for (uint32_t i = 1; i <= l->stages; i++) check_list(l, &l->stage[i].queue, by_stage, &seen);
  for (uint32_t i = 0; i < l->seats; i++) check_list(l, &l->seat[i].hand, by_stage, &seen);
  for (uint32_t i = 0; i < l->places; i++) {
    const mg_place *p = &l->place[i];
    check_list(l, &p->queue, by_stage, &seen);
    check_list(l, &p->hand, by_stage, &seen);
    for (uint32_t k = 0; k < p->lanes; k++) check_list(l, &p->lane[k], by_stage, &seen);
    check_place(l, p);
  }
  for (uint32_t i = 1; i < l->works; i++) in_lists += l->work[i].in != NULL;
  MG_ASSERT(in_lists == seen); /* 1 */
  for (uint32_t i = 1; i <= l->stages; i++) {
    const mg_stage *s = &l->stage[i];
    MG_ASSERT(s->pending == by_stage[i].queued + by_stage[i].in_hand + by_stage[i].waiting); /* 2 */
    MG_ASSERT(s->hands == by_stage[i].hands);
  }
  for (uint32_t i = 0; i < l->seats; i++) check_seat(l, &l->seat[i]);
  if (l->pool) check_references(l);
  free(by_stage);
}
