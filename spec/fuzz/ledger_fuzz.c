/* Minigun: libFuzzer target for the ledger of a run over a real pool, whose workers are played.
 *
 * A producer sends to a pool of two workers, these to an ordered pool of two, and these to a stage of the coordinator.
 * An input is a sequence of deeds: the producer emits records in a block, work and blocks are handed out, a worker
 * finishes some of its oldest slice with output or without, a slice is taken back, items wait for another attempt, the
 * coordinator runs its own, a worker is retired, or dies and what it had goes on elsewhere or has failed.
 * Checked, besides what the sanitizers see: the invariants of ledger, slots and memory after each deed; that everything
 * comes to its end when all go on working; that each stage got what those before it have emitted; and that no block is
 * held then but those of the slots. */
#include <stdio.h>
#include <stdlib.h>

#include "core/ledger.h"
#include "core/slot_ledger.h"

enum { PRODUCER = 1, FIRST, SECOND, LAST, STAGES = LAST };
enum { OWN, POOL, ORDERED, PLACES };
enum { SEATS = 4, RECORD = 16 };

static mg_pool pool;
static mg_ledger ledger;
static uint64_t arrived[STAGES + 1], emitted[STAGES + 1];
static const uint8_t *at, *end;

static void fail(const char *what) {
  fprintf(stderr, "ledger_fuzz: %s\n", what);
  abort();
}

static int must(int rc) {
  if (rc < 0) fail("a call has failed");
  return rc;
}

static uint8_t byte(void) { return at < end ? *at++ : 0; }

static void emit_records(uint32_t block, uint32_t offset, uint32_t n, uint32_t edge) {
  for (uint32_t i = 0; i < n; i++) mg_record_head(mg_shm_at(&pool.shm, block) + offset + i * RECORD, 8, edge, 0);
  emitted[edge] += n;
}

/* --- the coordinator ---------------------------------------------------------------------------------------------- */

static void produce(void) {
  uint32_t n = 1 + byte() % 40, block;
  if (mg_ledger_must_wait(&ledger, PRODUCER) || (block = mg_shm_alloc(&pool.shm, MG_UNIT)) == MG_NO_BLOCK) return;
  emit_records(block, 0, n, PRODUCER);
  mg_range r = {block, 0, n * RECORD, n, byte() % 2 ? PRODUCER : MG_EDGE_ANY};
  must(mg_ledger_route(&ledger, PRODUCER, &r));
}

/* Held work whose worker has died, or whose attempt has failed: its first item is tried again, or is finished so. */
static void goes_on(uint32_t w, int in_hand) {
  uint32_t one = w;
  if (in_hand && mg_work_left(&ledger.work[w]) > 1) {
    must(mg_ledger_cut(&ledger, w, 1, &one));
    mg_ledger_push(&ledger, w, 1);
  }
  if (!in_hand || byte() % 2) {
    mg_ledger_push(&ledger, one, 1);
    return;
  }
  mg_ledger_finish(&ledger, one, 1);
  mg_work_free(&ledger, one);
}

/* An event that the ledger does not see to by itself. */
static void see_to(const mg_slot_event *ev) {
  uint32_t w;
  switch (ev->kind) {
    case MG_EVENT_DONE: must(mg_ledger_done(&ledger, ev)); break;
    case MG_EVENT_LEFT:
      if ((w = mg_ledger_left(&ledger, ev->slot, ev->number, &ev->range)) != MG_NO_WORK) goes_on(w, (int)ev->b);
      else mg_shm_release(&pool.shm, ev->range.block);
      break;
    case MG_EVENT_OUT: fail("a plain range is not passed on");
    default: break;
  }
}

static void collect(void) {
  mg_slot_event ev;
  int busy;
  must(mg_pool_collect(&pool));
  while (must(mg_ledger_collect(&ledger, &ev, &busy))) see_to(&ev);
}

static void dispatch(void) {
  for (uint32_t i = POOL; i < PLACES; i++) {
    ledger.place[i].order_limit = byte() % 2 ? UINT64_MAX : 0;
    ledger.place[i].order_head = UINT64_MAX;
    while (must(mg_ledger_dispatch(&ledger, &ledger.place[i])) & MG_SPAWN) fail("no seat is vacant");
    must(mg_ledger_supply(&ledger, &ledger.place[i]));
  }
}

/* Items of the coordinator's own stage; some of those of the pool are taken out of their queue, and wait. */
static void run_own(void) {
  uint32_t w = mg_ledger_oldest_own(&ledger), taken;
  if (w == MG_NO_WORK) return;
  must(mg_ledger_take_own(&ledger, ledger.work[w].stage, byte() % 4, &taken));
  arrived[LAST] += ledger.work[taken].range.count;
  mg_ledger_done_own(&ledger, taken);
}

static void try_again(void) {
  uint32_t w;
  if (ledger.place[POOL].queue.first == MG_NO_WORK) return;
  must(mg_ledger_take(&ledger, &ledger.place[POOL].queue, 1, &w));
  mg_shm_retain(&pool.shm, ledger.work[w].range.block);
  mg_work old = ledger.work[w];
  mg_ledger_finish(&ledger, w, 1);
  mg_work_free(&ledger, w);
  if ((w = mg_work_new(&ledger)) == MG_NO_WORK) fail("no memory");
  ledger.work[w].range = old.range;
  ledger.work[w].stage = old.stage;
  ledger.work[w].attempt = old.attempt + 1;
  ledger.work[w].flags = MG_WORK_AGAIN;
  ledger.work[w].first = old.first;
  mg_ledger_wait(&ledger, w);
}

/* --- workers ------------------------------------------------------------------------------------------------------ */

static int to_ledger(void *to, const mg_slot_event *given) {
  mg_slot_event ev = *given;
  ev.slot = *(uint32_t *)to;
  if (ev.kind == MG_EVENT_OUT && ev.range.block != MG_NO_BLOCK) {
    must(mg_ledger_route(&ledger, ledger.place[ledger.seat[ev.slot].place].front, &ev.range));
    return 0;
  }
  see_to(&ev);
  return 0;
}

static void die(uint32_t seat) {
  collect();
  must(mg_slot_recover(&pool.slot[seat], &pool.shm, to_ledger, &seat));
  if (ledger.seat[seat].hand.n > 0) fail("a dead worker has something in hand");
  mg_ledger_seat_left(&ledger, seat, 0);
}

static void begin(uint32_t seat) {
  mg_pool_begin(&pool, seat);
  pool.slot[seat].played = 1;
  ledger.seat[seat].retired = ledger.seat[seat].ends = 0;
  must(mg_ledger_seat_taken(&ledger, seat));
}

/* A worker finishes some items of its oldest slice, or all of them, and says so. */
static void work(uint32_t seat, uint32_t items, uint32_t output, int returns) {
  mg_slot *s = &pool.slot[seat];
  atomic_store(&s->shared->in.tail, atomic_load(&s->shared->in.head)); /* it has seen what was offered and lent */
  if (s->chunks == 0) return;
  mg_chunk *c = &s->chunk[s->chunk_first & (s->room - 1)];
  uint32_t left = c->range.count - s->done, edge = ledger.place[ledger.seat[seat].place].front;
  if (items > left) items = left;
  if (c->range.count == 0) output = 0; /* taken back: it is passed over */
  else if (items == 0) return;
  else atomic_store(mg_claim_at(s, 0), MG_CLAIM_TAKEN);
  mg_ring *r = &s->shared->out;
  uint32_t head = atomic_load(&r->head);
  mg_desc d = {.kind = MG_OUT_DATA, .stage = (uint16_t)edge, .chunk = c->number, .done = s->done + items,
               .nanos = 1000};
  if (d.done == c->range.count) d.flags |= MG_OUT_END;
  if (s->lents > 0 && s->published + output * RECORD <= mg_shm_block_size(&pool.shm, s->lent[s->lent_first])) {
    emit_records(d.block = s->lent[s->lent_first], d.offset = s->published, output, edge);
    d.length = d.sure_length = output * RECORD;
    d.count = d.sure_count = output;
    if (returns) d.flags |= MG_OUT_RETURN;
  } else if (s->lents == 0) {
    d.flags |= MG_OUT_NEED;
    d.attempt = 1;
  }
  d.check = mg_desc_check(&d, head);
  r->entry[head % MG_RING] = d;
  atomic_store(&r->head, head + 1);
  arrived[edge] += items;
  must(mg_pool_collect(&pool)); /* its done and published are those of the slot from now on */
}

/* --- an input ----------------------------------------------------------------------------------------------------- */

static void set_up(void) {
  static const uint32_t stage_place[] = {[PRODUCER] = OWN, [FIRST] = POOL, [SECOND] = ORDERED, [LAST] = OWN};
  must(mg_proc_open());
  must(mg_pool_open(&pool, SEATS, 8 << 20, 8 << 20, 2));
  must(mg_ledger_open(&ledger, STAGES, PLACES));
  ledger.terms = (mg_terms){0.3, 0.0005, 0.016, 0.008, 0.064, 0.002, 4, 1 << 20, 0.001, 0.064, 16, 4, 1024, 2, 64};
  must(mg_ledger_attach(&ledger, &pool, 4 << 20, 1 << 16));
  for (uint32_t i = 0; i < PLACES; i++) {
    mg_place *p = &ledger.place[must(mg_ledger_add_place(&ledger))];
    p->here = i == OWN;
    p->ordered = i == ORDERED;
    p->n = i == OWN ? 1 : SEATS / 2;
    p->seats = i == OWN ? 0 : SEATS / 2;
    p->first_seat = i == ORDERED ? SEATS / 2 : 0;
    p->stages = 1;
    p->front = i == POOL ? FIRST : i == ORDERED ? SECOND : PRODUCER;
    p->most = i == OWN ? 0 : byte() % 2 ? 1 + byte() : 0;
    for (uint32_t k = 0; k < p->seats; k++) ledger.seat[p->first_seat + k].place = i;
  }
  ledger.own = OWN;
  for (uint32_t id = PRODUCER; id <= LAST; id++) {
    ledger.stage[id].place = stage_place[id];
    ledger.stage[id].producing = id == PRODUCER;
    ledger.stage[id].terminal = id == LAST;
    if (id == LAST) break;
    must(mg_stage_targets(&ledger.stage[id], 1));
    ledger.stage[id].target[0] = id + 1;
    mg_limit limit = {.place = stage_place[id + 1], .most = MG_PLENTY};
    must(mg_limits_add(&ledger.stage[id].reach, limit));
  }
  for (uint32_t i = 0; i < SEATS; i++) begin(i);
}

static uint64_t pending(void) {
  uint64_t n = 0;
  for (uint32_t id = FIRST; id <= LAST; id++) n += ledger.stage[id].pending;
  return n;
}

/* All go on until nothing is left. */
static void drain(void) {
  for (uint32_t i = 0; i < SEATS; i++) {
    if (!ledger.seat[i].ends && ledger.seat[i].live) continue;
    if (ledger.seat[i].live) die(i);
    begin(i);
  }
  for (int rounds = 0; pending() > 0; rounds++) {
    if (rounds > 100000) fail("it stands still");
    if (ledger.waiting.first) mg_ledger_wake(&ledger, ledger.waiting.first);
    dispatch();
    for (uint32_t i = 0; i < SEATS; i++) work(i, UINT32_MAX, 1, 1);
    collect();
    run_own();
  }
}

static void deed(void) {
  uint32_t seat = byte() % SEATS;
  switch (byte() % 16) {
    case 0: case 1: case 2: produce(); break;
    case 3: case 4: case 5: dispatch(); break;
    case 6: case 7: case 8: work(seat, 1 + byte() % 8, byte() % 8, byte() % 2); break;
    case 9: case 10: collect(); break;
    case 11: run_own(); break;
    case 12: try_again(); break;
    case 13: if (ledger.waiting.first) mg_ledger_wake(&ledger, ledger.waiting.first); break;
    case 14: if (ledger.seat[seat].live) must(mg_ledger_revoke(&ledger, seat)); break;
    default:
      if (ledger.seat[seat].live && byte() % 2) mg_ledger_retire(&ledger, seat);
      else if (ledger.seat[seat].live) die(seat);
      else begin(seat);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  at = data;
  end = data + size;
  memset(arrived, 0, sizeof arrived);
  memset(emitted, 0, sizeof emitted);
  set_up();
  while (at < end) {
    deed();
    mg_ledger_check(&ledger);
    mg_pool_check(&pool);
  }
  drain();
  mg_ledger_check(&ledger);
  if (arrived[LAST] != emitted[SECOND]) fail("the last stage did not get what the one before it has emitted");
  for (uint32_t i = 0; i < SEATS; i++) die(i);
  size_t homes = 0;
  for (uint32_t i = 0; i < SEATS; i++) homes += mg_shm_block_size(&pool.shm, pool.slot[i].home);
  if (pool.shm.used != homes) fail("a block is held without a holder");
  mg_ledger_close(&ledger);
  mg_pool_close(&pool);
  return 0;
}
