/* ledger_blocks.c - blocks for the output of workers: which of them lack one, how large it is, and whether they may
 * have it (ledger.h).
 *
 * The limit of memory is kept with two exceptions, so that an item in work can always be finished: one worker at a time
 * may pass it, and output of an item that was let through as a stream does not wait for its receivers.
 * What a worker has in store may take half of the memory. */
#include <errno.h>

#include "clock.h"
#include "ledger.h"

void mg_ledger_may_lack(mg_ledger *l, uint32_t seat) {
  mg_seat *s = &l->seat[seat];
  if (!s->lacking) l->place[s->place].lacking++;
  s->lacking = 1;
}

void mg_ledger_need(mg_ledger *l, uint32_t seat, size_t bytes) {
  mg_place *p = &l->place[l->seat[seat].place];
  l->seat[seat].wanted = bytes;
  l->seat[seat].wanted_since = mg_now();
  if (bytes <= p->block_bytes) return;
  p->block_bytes = bytes; /* more items of this size may follow */
  p->small = 0;
}

void mg_ledger_range_used(mg_ledger *l, mg_place *p, size_t bytes) {
  if (MG_LIKELY(p->block_bytes == MG_UNIT)) return;
  p->small = bytes * 4 < p->block_bytes ? p->small + 1 : 0;
  if (p->small <= l->terms.small) return; /* large items may not have ceased */
  p->block_bytes = p->block_bytes / 2 > MG_UNIT ? p->block_bytes / 2 : MG_UNIT;
  p->small = 0;
}

size_t mg_ledger_wanted(const mg_ledger *l, const mg_place *p) {
  size_t most = 0;
  for (uint32_t i = p->first_seat; i < p->first_seat + p->used; i++)
    if (l->seat[i].live && l->seat[i].wanted > most) most = l->seat[i].wanted;
  return most;
}

/* Whether the limit of memory lets a worker have a block.  younger: it is ordered, and what it writes may have to wait
 * for another one's output: it may not pass the limit. */
static int may_lend(mg_ledger *l, uint32_t seat, size_t bytes, int younger) {
  size_t used = l->pool->shm.used;
  if (l->seat[seat].wanted == 0) return used + bytes <= l->memory / 2;
  if (used + bytes <= l->memory) return 1;
  if (younger || (l->overdraft != MG_NO_SEAT && l->overdraft != seat)) return 0;
  l->overdraft = seat;
  return 1;
}

static int may_have(mg_ledger *l, const mg_place *p, uint32_t seat, size_t bytes, int blocked) {
  int let_through = l->pool->slot[seat].helds > 0;
  uint32_t oldest = p->ordered ? mg_ledger_oldest_seat(l, p) : MG_NO_SEAT;
  /* An item that is older than the one that has overdrawn may come back to another worker. */
  int ours = l->overdraft >= p->first_seat && l->overdraft < p->first_seat + p->seats;
  if (l->seat[seat].wanted && oldest == seat && ours)
    l->overdraft = seat;
  /* It waits for its receivers, and they may need what it alone may: output that was let through is not held. */
  if (blocked && !let_through) {
    mg_ledger_end_overdraft(l, seat);
    return 0;
  }
  return may_lend(l, seat, bytes, p->ordered && seat != oldest);
}

/* 1, 0: there is no memory or no room, or -errno. */
static int lend(mg_ledger *l, uint32_t seat, size_t bytes) {
  mg_slot *s = &l->pool->slot[seat];
  uint32_t block = s->state == MG_SLOT_EMPTY ? MG_NO_BLOCK : mg_shm_alloc(&l->pool->shm, bytes);
  if (block == MG_NO_BLOCK) return 0;
  int rc = mg_slot_lend(s, &l->pool->shm, block);
  if (rc == -EAGAIN) mg_shm_release(&l->pool->shm, block);
  return rc == -EAGAIN ? 0 : rc < 0 ? mg_pool_seen(l->pool, rc) : 1;
}

int mg_ledger_seat_taken(mg_ledger *l, uint32_t seat) {
  mg_seat *s = &l->seat[seat];
  mg_ledger_seat_used(l, seat);
  s->live = 1;
  s->vacant = s->retired = s->ends = s->leaving = s->told = 0;
  s->given = s->items = s->busy = 0;
  mg_ledger_may_lack(l, seat);
  int rc = lend(l, seat, l->place[s->place].block_bytes);
  return rc < 0 ? rc : 0;
}

/* Gives one worker what it lacks: 1: it has all, 0: it must wait, or -errno.  *blocked: -1: not known yet. */
static int supply_one(mg_ledger *l, mg_place *p, uint32_t seat, uint32_t store, int *blocked) {
  mg_seat *s = &l->seat[seat];
  while (s->live && (s->wanted || l->pool->slot[seat].lents < store)) {
    if (*blocked < 0) *blocked = (l->paused && l->stage[p->front].producing) || mg_ledger_any_full(l, &p->targets);
    size_t bytes = s->wanted > p->block_bytes ? s->wanted : p->block_bytes;
    if (!may_have(l, p, seat, bytes, *blocked)) return 0;
    int rc = lend(l, seat, bytes);
    if (rc <= 0) return rc;
    if (s->wanted) l->stage[p->front].counts.waiting_out += mg_now() - s->wanted_since;
    s->wanted = 0;
  }
  s->lacking = 0;
  p->lacking--;
  return 1;
}

int mg_ledger_supply(mg_ledger *l, mg_place *p) {
  int blocked = -1;
  /* Each item of a producer before a limited stage is to wait for room, so none is in store. */
  uint32_t store = p->limited && l->stage[p->front].producing ? 0 : l->terms.blocks;
  for (uint32_t i = 0; p->lacking > 0 && i < p->used; i++) {
    int rc = l->seat[p->first_seat + i].lacking ? supply_one(l, p, p->first_seat + i, store, &blocked) : 0;
    if (rc < 0) return rc;
  }
  return p->lacking > 0;
}
