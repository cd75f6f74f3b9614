/* ledger.c - work and the lists that it is in: what is accepted, pushed, held, finished (ledger.h). */
#include "ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- making one ------------------------------------------------------------------------------------------------- */

static void open_lists(mg_ledger *l) {
  l->waiting.kind = MG_IN_WAITING;
  l->held.kind = MG_IN_HAND;
  for (uint32_t i = 1; i <= l->stages; i++) {
    l->stage[i].queue.kind = MG_IN_QUEUE;
    l->stage[i].rate = -1;
    l->stage[i].per = 1;
  }
}

int mg_ledger_open(mg_ledger *l, uint32_t stages, uint32_t places) {
  memset(l, 0, sizeof *l);
  l->overdraft = MG_NO_SEAT;
  l->changed = 1;
  l->stages = stages;
  l->place_room = places;
  l->stage = calloc(stages + 1, sizeof *l->stage);
  l->place = calloc(places ? places : 1, sizeof *l->place);
  l->edges = calloc(2 * ((size_t)stages + 1), sizeof *l->edges);
  if (!l->stage || !l->place || !l->edges) {
    mg_ledger_close(l);
    return -ENOMEM;
  }
  open_lists(l);
  return 0;
}

void mg_ledger_close(mg_ledger *l) {
  for (uint32_t i = 1; l->stage && i <= l->stages; i++) {
    free(l->stage[i].target);
    free(l->stage[i].reach.at);
    free(l->stage[i].waits.at);
  }
  for (uint32_t i = 0; i < l->places; i++) {
    free(l->place[i].lane);
    free(l->place[i].targets.at);
  }
  free(l->stage);
  free(l->place);
  free(l->seat);
  free(l->work);
  free(l->edges);
  memset(l, 0, sizeof *l);
}

int mg_ledger_attach(mg_ledger *l, mg_pool *pool, size_t memory, size_t queue_bytes) {
  l->memory = memory;
  l->queue_bytes = queue_bytes;
  if (!pool) return 0;
  l->seat = calloc(pool->slots ? pool->slots : 1, sizeof *l->seat);
  if (!l->seat) return -ENOMEM;
  l->seats = pool->slots;
  l->pool = pool;
  for (uint32_t i = 0; i < l->seats; i++) l->seat[i].hand.kind = MG_IN_HAND;
  return 0;
}

int mg_ledger_add_place(mg_ledger *l) {
  if (l->places == l->place_room) return -ENOMEM;
  mg_place *p = &l->place[l->places];
  p->queue.kind = MG_IN_QUEUE;
  p->hand.kind = MG_IN_HAND;
  p->rate = -1;
  p->per = MG_PLENTY;
  p->per_worker = UINT64_MAX;
  p->block_bytes = MG_UNIT;
  return (int)l->places++;
}

int mg_limits_add(mg_limits *limits, mg_limit one) {
  if (limits->n == limits->room) {
    uint32_t room = limits->room ? 2 * limits->room : 4;
    mg_limit *more = realloc(limits->at, room * sizeof *more);
    if (!more) return -ENOMEM;
    limits->at = more;
    limits->room = room;
  }
  limits->at[limits->n++] = one;
  return 0;
}

int mg_stage_targets(mg_stage *s, uint32_t n) {
  uint32_t *list = calloc(n ? n : 1, sizeof *list);
  if (!list) return -ENOMEM;
  free(s->target);
  s->target = list;
  s->targets = n;
  return 0;
}

/* --- work and lists ----------------------------------------------------------------------------------------------- */

static int more_work(mg_ledger *l) {
  uint32_t n = l->works ? 2 * l->works : 64;
  mg_work *more = realloc(l->work, n * sizeof *more);
  if (!more) return -ENOMEM;
  l->work = more;
  memset(&more[l->works], 0, (n - l->works) * sizeof *more);
  for (uint32_t i = l->works ? l->works : 1; i < n; i++) more[i].next = i + 1 < n ? i + 1 : l->unused;
  l->unused = l->works ? l->works : 1;
  l->works = n;
  return 0;
}

uint32_t mg_work_new(mg_ledger *l) {
  if (l->unused == MG_NO_WORK && more_work(l) < 0) return MG_NO_WORK;
  uint32_t w = l->unused;
  l->unused = l->work[w].next;
  l->work[w] = (mg_work){.range = {.block = MG_NO_BLOCK, .edge = MG_EDGE_ANY}, .attempt = 1};
  return w;
}

/* Pieces of work in hands, by stage. */
static void count_hands(mg_ledger *l, const mg_work *w, int n) {
  if (w->in->kind == MG_IN_HAND) l->stage[w->stage].hands += (uint64_t)(int64_t)n;
}

/* Adds work to a list before `at`; MG_NO_WORK: as the last. */
static void add_before(mg_ledger *l, mg_list *list, uint32_t w, uint32_t at) {
  mg_work *own = &l->work[w];
  own->in = list;
  own->next = at;
  own->before = at ? l->work[at].before : list->last;
  *(own->before ? &l->work[own->before].next : &list->first) = w;
  *(at ? &l->work[at].before : &list->last) = w;
  list->n++;
  list->items += mg_work_left(own);
  count_hands(l, own, 1);
}

void mg_list_add(mg_ledger *l, mg_list *list, uint32_t w, int in_front) {
  add_before(l, list, w, in_front ? list->first : MG_NO_WORK);
}

void mg_list_remove(mg_ledger *l, uint32_t w) {
  mg_work *own = &l->work[w];
  mg_list *list = own->in;
  if (!list) return;
  if (own->before) l->work[own->before].next = own->next;
  else list->first = own->next;
  if (own->next) l->work[own->next].before = own->before;
  else list->last = own->before;
  list->n--;
  list->items -= mg_work_left(own);
  count_hands(l, own, -1);
  own->in = NULL;
}

void mg_work_free(mg_ledger *l, uint32_t w) {
  mg_list_remove(l, w);
  mg_work *own = &l->work[w];
  if (own->range.block != MG_NO_BLOCK) mg_shm_release(&l->pool->shm, own->range.block);
  own->range.block = MG_NO_BLOCK;
  if (own->flags & MG_WORK_KEPT) l->hooks.gone(l->hooks.to, w);
  own = &l->work[w];
  own->flags = 0;
  own->number = 0;
  own->next = l->unused;
  l->unused = w;
}

/* --- in and out ------------------------------------------------------------------------------------------------- */

/* Something has come in after all: loops that have ended begin again, and will be ended again. */
static void reopen_loops(mg_ledger *l, uint32_t place) {
  for (uint32_t i = 1; i <= l->stages; i++)
    if (l->stage[i].place == place && l->stage[i].no_more) l->stage[i].no_more = l->stage[i].drained = 0;
  l->place[place].ended_loops = 0;
}

/* Gives work its ordinals at its place. */
static void arrive(mg_ledger *l, mg_place *p, mg_work *w) {
  w->first = p->arrived + 1;
  p->arrived += w->range.count;
  if (p->only_way_in == 0) p->only_way_in = w->stage;
  if (p->only_way_in != w->stage) p->only_way_in = MG_SEVERAL;
  if (p->ended_loops) reopen_loops(l, l->stage[w->stage].place);
}

/* Puts work to its place among what is sorted by ordinals; it is one of the oldest. */
static void insert(mg_ledger *l, mg_list *list, uint32_t w) {
  uint32_t at = list->first;
  while (at && l->work[at].first < l->work[w].first) at = l->work[at].next;
  add_before(l, list, w, at);
}

void mg_ledger_push(mg_ledger *l, uint32_t w, int in_front) {
  mg_work *own = &l->work[w];
  mg_stage *s = &l->stage[own->stage];
  mg_place *p = &l->place[s->place];
  mg_list *list = p->here ? &s->queue : own->lane && own->lane <= p->lanes ? &p->lane[own->lane - 1] : &p->queue;
  mg_list_remove(l, w);
  own->number = p->here ? ++l->turn : 0;
  if (!p->here && own->first == 0) {
    arrive(l, p, own);
    mg_list_add(l, list, w, 0);
  } else if (p->ordered) {
    insert(l, list, w);
  } else {
    mg_list_add(l, list, w, in_front);
  }
  p->queued += own->range.count;
  p->bytes += own->range.length;
  p->works++;
  if (p->queued > s->counts.queue_most) s->counts.queue_most = p->queued;
}

static void pend(mg_ledger *l, const mg_work *w) {
  mg_stage *s = &l->stage[w->stage];
  s->pending += w->range.count;
  l->place[s->place].pending += w->range.count;
  s->drained = 0;
  l->moved++;
}

void mg_ledger_accept(mg_ledger *l, uint32_t w) {
  const mg_work *own = &l->work[w];
  mg_stage *s = &l->stage[own->stage];
  int torn = l->torn;
  l->torn = 1;
  pend(l, own);
  /* The coordinator's chain counts values itself.  Items of a stage that continues another came to that one. */
  int in_chain = own->range.block == MG_NO_BLOCK && l->place[s->place].here;
  if (!in_chain && !s->continues && !s->producing && !(own->flags & MG_WORK_AGAIN))
    s->counts.items_in += own->range.count;
  mg_ledger_push(l, w, 0);
  l->torn = torn;
}

int mg_ledger_accept_range(mg_ledger *l, uint32_t stage, const mg_range *range, uint32_t lane, uint32_t *w) {
  *w = mg_work_new(l);
  if (*w == MG_NO_WORK) return -ENOMEM;
  l->work[*w].stage = stage;
  l->work[*w].range = *range;
  l->work[*w].lane = lane;
  mg_ledger_accept(l, *w);
  return 0;
}

void mg_ledger_wait(mg_ledger *l, uint32_t w) {
  pend(l, &l->work[w]);
  mg_list_add(l, &l->waiting, w, 0);
}

void mg_ledger_take_up(mg_ledger *l, uint32_t w) {
  pend(l, &l->work[w]);
  mg_list_add(l, &l->place[l->own].hand, w, 0);
}

void mg_ledger_wake(mg_ledger *l, uint32_t w) { mg_ledger_push(l, w, 0); }

void mg_ledger_finish(mg_ledger *l, uint32_t w, uint32_t n) {
  mg_work *own = &l->work[w];
  mg_stage *s = &l->stage[own->stage];
  own->finished += n;
  own->in->items -= n;
  s->pending -= n;
  l->place[s->place].pending -= n;
  /* Nothing can be drained before the first producer has ended. */
  if (s->pending == 0 && (l->closing || s->producing)) l->closing = l->changed = 1;
  if (own->flags & MG_WORK_KEPT) l->hooks.finished(l->hooks.to, w, n);
}

int mg_ledger_end_of(mg_ledger *l, uint32_t stage, uint32_t lane, uint32_t *w) {
  *w = mg_work_new(l);
  if (*w == MG_NO_WORK) return -ENOMEM;
  mg_work *own = &l->work[*w];
  own->stage = stage;
  own->lane = lane;
  own->attempt = 0;
  own->range.count = 1;
  own->first = ++mg_place_of(l, stage)->arrived;
  pend(l, own);
  mg_list_add(l, &l->held, *w, 0);
  return 0;
}
