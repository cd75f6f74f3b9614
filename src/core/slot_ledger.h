/* slot_ledger.h - the places of a slot's ledger, for slot.c, which fills it, and slot_events.c, which empties it. */
#ifndef MG_SLOT_LEDGER_H
#define MG_SLOT_LEDGER_H

#include "slot.h"

/* Chunk i of the ledger, the oldest first; its claim word; the worker's open block. */
static inline mg_chunk *mg_chunk_at(mg_slot *s, uint32_t i) { return &s->chunk[(s->chunk_first + i) & (s->room - 1)]; }
static inline _Atomic uint32_t *mg_claim_at(mg_slot *s, uint32_t i) {
  return &s->shared->claim[(s->chunk_sequence - s->chunks + i) & (s->room - 1)];
}
static inline uint32_t mg_open_block(const mg_slot *s) { return s->lent[s->lent_first]; }

/* Forgets what is held. */
static inline void mg_drop_held(mg_slot *s, mg_shm *shm) {
  while (s->helds > 0) mg_shm_release(shm, s->held[--s->helds].block);
  s->held_bytes = 0;
}

/* Cuts the oldest chunk after its first n items: *rest is what is after them, with a reference of its own.  0, or
 * -EPROTO when its block is damaged. */
int mg_slot_cut(mg_slot *s, mg_shm *shm, uint32_t n, mg_range *rest);

#endif
