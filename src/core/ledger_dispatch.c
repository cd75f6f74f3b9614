/* ledger_dispatch.c - hands the work of a place to its workers, and takes back what they have not begun (ledger.h).
 *
 * 1. A slice is as long as the rate says; the first one, before anything is known, is one item.
 * 2. Where later stages have a limit, no more is begun than there is room for its output.  One item of each worker is
 *    begun all the same, so that all workers work.
 * 3. What was taken back from a worker is shared out in small slices: the next slow item may be in it.
 * 4. A worker that is at a slice for long while another has nothing to do is overdue: what it has not begun is taken
 *    back.  Each try costs it something, so they become rarer. */
#include <errno.h>

#include "clock.h"
#include "ledger.h"

/* --- handing out -------------------------------------------------------------------------------------------------- */

/* An event for the program above, in its turn. */
static int tell(mg_ledger *l, uint32_t seat, int kind, uint32_t w) {
  mg_slot_event ev = {.kind = kind, .number = w};
  return mg_pool_tell(l->pool, seat, &ev);
}

/* A worker has been given all items that it is for: it ends after them. */
static int given_all(mg_ledger *l, const mg_place *p, uint32_t seat) {
  if (p->loops) return tell(l, seat, MG_EVENT_RETIRE, MG_NO_WORK);
  mg_ledger_retire(l, seat);
  return 0;
}

/* For the program above, a chunk's number is its work's, with a serial number above it. */
static int offer_chunk(mg_ledger *l, uint32_t seat, uint32_t w) {
  mg_work *own = &l->work[w];
  own->number = ++l->chunks << 32 | w;
  mg_chunk c = {.range = own->range, .number = own->number, .stage = own->stage, .attempt = own->attempt,
                .flags = l->stage[own->stage].chunk_flags};
  if (own->flags & MG_WORK_SINGLY) c.flags |= MG_CHUNK_SINGLY;
  if (own->range.block == MG_NO_BLOCK) c.range = (mg_range){MG_NO_BLOCK, 0, 0, own->range.count, MG_EDGE_ANY};
  else mg_shm_retain(&l->pool->shm, own->range.block);
  int rc = mg_slot_offer(&l->pool->slot[seat], &c);
  if (rc == -EAGAIN && own->range.block != MG_NO_BLOCK) mg_shm_release(&l->pool->shm, own->range.block);
  return rc;
}

int mg_ledger_offer(mg_ledger *l, uint32_t seat, uint32_t w) {
  mg_seat *s = &l->seat[seat];
  mg_place *p = &l->place[s->place];
  int rc = offer_chunk(l, seat, w), told = 0;
  if (rc == -EAGAIN) {
    mg_ledger_push(l, w, 1);
    return 0;
  }
  mg_work *own = &l->work[w];
  uint64_t number = own->number;
  p->chunks++;
  mg_list_remove(l, w);
  mg_list_add(l, &s->hand, w, 0);
  own->number = number;
  own->busy = 0;
  if (own->flags & MG_WORK_TAKEN_OVER) told = tell(l, seat, MG_EVENT_TAKEN_OVER, w);
  own->flags &= ~(uint32_t)MG_WORK_TAKEN_OVER;
  if (own->attempt > 0) {
    s->given += own->range.count;
    if (s->given >= p->per_worker && told == 0) told = given_all(l, p, seat);
  }
  return rc < 0 ? mg_pool_seen(l->pool, rc) : told < 0 ? told : 1;
}

/* How many items of the front of a queue go to a worker that may have `most`. */
static uint32_t size(const mg_ledger *l, const mg_place *p, uint32_t most, int64_t room, int returned) {
  if (room < (int64_t)most) most = room > 1 ? (uint32_t)room : 1;
  if (!returned) return most;
  uint32_t alive = mg_ledger_alive(l, p);
  uint64_t share = (p->queued - 1) / (alive ? alive : 1) + 1;
  return share < most ? (uint32_t)share : most;
}

/* Gives a worker its next slice, its level-th, of at most `most` items: 0: nothing, MG_DISPATCHED, MG_SPAWN, or -errno.
 */
static int hand_one(mg_ledger *l, mg_place *p, uint32_t seat, uint32_t level, uint32_t most, int64_t *room) {
  mg_seat *s = &l->seat[seat];
  if (s->live ? s->ends || s->hand.n >= level || s->given >= p->per_worker : !s->vacant) return 0;
  mg_list *queue = mg_ledger_queue_for(l, p, seat - p->first_seat + 1);
  if (!queue) return 0;
  int returned = (l->work[queue->first].flags & MG_WORK_RETURNED) != 0;
  if (returned && level > 1) return 0;
  uint32_t n = size(l, p, most, *room, returned), w;
  if (n > p->per_worker - s->given) n = (uint32_t)(p->per_worker - s->given);
  int rc = mg_ledger_take(l, queue, n, &w);
  if (rc < 0) return rc;
  if (!s->live) {
    l->spawn_seat = seat;
    l->spawn_work = w;
    return MG_SPAWN;
  }
  *room -= l->work[w].range.count;
  return mg_ledger_offer(l, seat, w); /* MG_DISPATCHED is 1 */
}

/* The level below which no worker can take anything. */
static uint32_t least_level(const mg_ledger *l, const mg_place *p) {
  uint32_t least = UINT32_MAX;
  for (uint32_t i = p->first_seat; i < p->first_seat + p->used; i++) {
    const mg_seat *s = &l->seat[i];
    uint32_t n = s->live ? s->ends ? UINT32_MAX : s->hand.n + 1 : s->vacant ? 1 : UINT32_MAX;
    if (n < least) least = n;
  }
  return least;
}

static int hand_out(mg_ledger *l, mg_place *p, int64_t room) {
  uint32_t most = 1, depth = p->threaded;
  int did = 0;
  if (p->threaded) room = MG_PLENTY; /* each worker has threads for so many */
  else depth = mg_rate_depth(&l->terms, p->rate);
  uint64_t share = p->queued / (l->terms.share * p->n);
  if (!p->threaded && p->queued > 1) most = mg_rate_slice(&l->terms, p->rate, share, p->folds);
  for (uint32_t level = least_level(l, p); level <= depth; level++) {
    for (uint32_t i = 0; i < p->used; i++) {
      if (p->queued == 0 || (room < 1 && level > 1)) return did;
      int rc = hand_one(l, p, p->first_seat + i, level, most, &room);
      if (rc < 0) return rc;
      did |= rc;
      if (rc & MG_SPAWN) return did;
    }
  }
  return did;
}

/* --- taking back ------------------------------------------------------------------------------------------------ */

/* Items come back from a worker, which may have as many others. */
static void take_back(mg_seat *s, uint32_t n) {
  if (!s->retired) s->given -= n;
}

int mg_ledger_rest(mg_ledger *l, uint32_t seat, uint64_t number, const mg_range *range) {
  uint32_t w = mg_ledger_hand(l, seat, number), rest;
  if (w == MG_NO_WORK) {
    mg_shm_release(&l->pool->shm, range->block);
    return 0;
  }
  int rc = mg_ledger_cut_end(l, w, range, &rest);
  if (rc < 0) return rc;
  l->work[rest].flags |= MG_WORK_RETURNED;
  take_back(&l->seat[seat], range->count);
  mg_ledger_push(l, rest, 1);
  return 0;
}

uint32_t mg_ledger_left(mg_ledger *l, uint32_t seat, uint64_t number, const mg_range *range) {
  uint32_t w = mg_ledger_hand(l, seat, number);
  if (w == MG_NO_WORK) return w;
  mg_list_remove(l, w);
  mg_work *own = &l->work[w];
  if (own->range.block != MG_NO_BLOCK) {
    mg_shm_release(&l->pool->shm, own->range.block);
    own->range = *range; /* its edge is the filter too */
  }
  own->first += own->finished;
  own->finished = 0;
  own->number = 0;
  mg_list_add(l, &l->held, w, 0);
  return w;
}

/* Whether a worker is overdue with the slice that it is at; looks again at `overdue_at`. */
static int overdue(const mg_ledger *l, mg_seat *s, uint64_t number, uint64_t now) {
  uint64_t first = (uint64_t)(l->terms.overdue * 1e9), most = (uint64_t)(l->terms.overdue_most * 1e9);
  if (s->overdue_number != number) {
    s->overdue_number = number;
    s->overdue_wait = first;
    s->overdue_at = now + first;
  }
  if (s->overdue_at > now) return 0;
  s->overdue_wait = 2 * s->overdue_wait < most ? 2 * s->overdue_wait : most;
  s->overdue_at = now + s->overdue_wait;
  return 1;
}

/* Takes back what workers have not begun of a slice that takes them long. */
static int relieve(mg_ledger *l, mg_place *p) {
  uint64_t now = mg_now();
  for (uint32_t i = p->first_seat; i < p->first_seat + p->used; i++) {
    mg_seat *s = &l->seat[i];
    uint32_t w = s->hand.first;
    mg_chunk rest;
    if (!w || l->work[w].range.block == MG_NO_BLOCK || mg_work_left(&l->work[w]) <= 1 || s->wanted) continue;
    if (overdue(l, s, l->work[w].number, now) && mg_slot_shorten(&l->pool->slot[i], &l->pool->shm, &rest)) {
      int rc = mg_ledger_rest(l, i, rest.number, &rest.range);
      if (rc < 0) return rc;
    } else if (p->look_at == 0 || s->overdue_at < p->look_at) {
      p->look_at = s->overdue_at;
    }
  }
  return 0;
}

int mg_ledger_revoke(mg_ledger *l, uint32_t seat) {
  mg_chunk c;
  if (l->seat[seat].hand.n < 2 || !mg_slot_revoke(&l->pool->slot[seat], &c)) return 0;
  uint32_t w = mg_ledger_hand(l, seat, c.number);
  MG_ASSERT(w != MG_NO_WORK && l->work[w].range.block == c.range.block && l->work[w].range.count == c.range.count);
  if (c.range.block != MG_NO_BLOCK) mg_shm_release(&l->pool->shm, c.range.block);
  take_back(&l->seat[seat], l->work[w].range.count);
  mg_ledger_push(l, w, 0);
  return 1;
}

/* Nothing is queued any more and a worker idles while another has a slice in store: it goes back to the queue. */
static int rebalance(mg_ledger *l, mg_place *p) {
  uint32_t idles = 0;
  if (p->fresh || p->n == 1 || p->partitioned) return 0;
  for (uint32_t i = 0; i < p->used; i++) idles += (uint32_t)mg_seat_idle(&l->seat[p->first_seat + i]);
  if (idles == 0) return 0;
  for (uint32_t i = 0; i < p->used && idles > 0; i++)
    idles -= (uint32_t)mg_ledger_revoke(l, p->first_seat + i);
  return p->queued == 0 && !p->threaded ? relieve(l, p) : 0;
}

/* Items in workers' hands. */
static int64_t unfinished(const mg_ledger *l, const mg_place *p) {
  uint64_t n = 0;
  for (uint32_t i = 0; i < p->used; i++) n += l->seat[p->first_seat + i].hand.items;
  return (int64_t)n;
}

int mg_ledger_dispatch(mg_ledger *l, mg_place *p) {
  p->look_at = 0;
  if (p->queued == 0) {
    int rc = rebalance(l, p);
    if (rc < 0) return rc;
  }
  if (p->queued == 0) return 0;
  int64_t room = MG_PLENTY;
  if (p->limited) {
    room = mg_ledger_room(l, &p->targets, p->per);
    p->blocked = room < 1;
    if (p->blocked) return 0;
    room -= unfinished(l, p);
  }
  return hand_out(l, p, room);
}
