/* miscount.c - see miscount.h.  Empty but in the test build. */
#include "miscount.h"

#ifdef MG_FAULTS
#include <errno.h>
#include <string.h>

/* Each word and what it breaks; the invariants are those of shm.h, slot.h, ring.h, pool.h and worker.h. */
int mg_miscount_pool(mg_pool *p, uint32_t i, const char *what) {
  mg_slot *s = &p->slot[i];
  mg_chunk *oldest = &s->chunk[s->chunk_first];
  mg_slot_event *queued = p->queued ? &p->queue[p->queue_first] : NULL;
  if (strcmp(what, "used") == 0) p->shm.used += MG_UNIT;
  else if (strcmp(what, "free") == 0) p->shm.unit[p->shm.bump - 1].refs ^= 1;
  else if (strcmp(what, "done") == 0) s->done = oldest->range.count + 1;
  else if (strcmp(what, "limit") == 0) s->limit = oldest->range.count + 1;
  else if (strcmp(what, "chunk") == 0) oldest->range.length = UINT32_MAX;
  else if (strcmp(what, "published") == 0) s->published = (uint32_t)MG_UNIT + 8;
  else if (strcmp(what, "held") == 0) s->held_bytes += 8;
  else if (strcmp(what, "lent") == 0) s->lent[(s->lent_first + s->lents++) % MG_LENT] = s->lent[s->lent_first];
  else if (strcmp(what, "empty") == 0) s->state = MG_SLOT_EMPTY;
  else if (strcmp(what, "child") == 0) s->proc.watch = -1;
  else if (strcmp(what, "head") == 0) s->in.mine++;
  else if (strcmp(what, "entry") == 0) s->in.ring->entry[(s->in.mine - 1) % MG_RING].length ^= 8;
  else if (strcmp(what, "descriptor") == 0) p->timer = 1;
  else if (strcmp(what, "event") == 0 && queued) queued->kind = MG_EVENT_OUT, queued->range = oldest->range;
  else return -ENOENT;
  return 0;
}

int mg_miscount_worker(mg_worker *w, const char *what) {
  if (strcmp(what, "end") == 0) w->end += 4;
  else if (strcmp(what, "mark") == 0) w->mark = w->end + 8;
  else if (strcmp(what, "size") == 0) w->size = w->end - 8;
  else if (strcmp(what, "count") == 0) w->count = 0;
  else if (strcmp(what, "sure") == 0) w->mark_count = w->count + 1;
  else if (strcmp(what, "held") == 0) w->item_held = 1, w->busy = 0;
  else if (strcmp(what, "word") == 0) w->generation++;
  else if (strcmp(what, "spare") == 0) w->spares = MG_LENT + 1;
  else if (strcmp(what, "tail") == 0) w->in.mine--;
  else if (strcmp(what, "head") == 0) w->out.mine++;
  else return -ENOENT;
  return 0;
}
#else
typedef int mg_miscount_only_in_the_test_build; /* ISO C wants something in every file */
#endif
