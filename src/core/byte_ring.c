/* byte_ring.c - see byte_ring.h. */
#include "byte_ring.h"

int mg_byte_attach(mg_byte_end *e, mg_byte_cursors *at, uint8_t *bytes, uint64_t size, int producer) {
  uint64_t head = atomic_load_explicit(&at->head, memory_order_acquire);
  uint64_t tail = atomic_load_explicit(&at->tail, memory_order_acquire);
  *e = (mg_byte_end){.at = at, .bytes = bytes, .size = size, .mine = producer ? head : tail, .seen = tail};
  return head - tail > size || head % 8 != 0 || tail % 8 != 0 ? -EPROTO : 0;
}

void mg_byte_check(const mg_byte_end *e, int producer) {
  MG_ASSERT(e->size != 0 && (e->size & (e->size - 1)) == 0);                    /* 2 */
  MG_ASSERT(e->mine % 8 == 0 && e->seen % 8 == 0);                              /* 1, 4 */
  MG_ASSERT((producer ? e->mine - e->seen : e->seen - e->mine) <= e->size);     /* 2, 4 */
}
