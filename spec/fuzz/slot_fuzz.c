/* Minigun: libFuzzer target for the coordinator's side of a slot, with a worker that writes whatever it likes.
 *
 * An input is, for a slot with threads or without, a sequence of deeds of both sides: the coordinator offers, lends,
 * collects, peeks, takes back, shortens; the worker pushes descriptors that are nearly right, and scribbles over what
 * both share: rings, claims, the commit word, blocks.
 * Checked, besides what the sanitizers see: every range that an event names lies in a block that is held; every item
 * that was offered is accounted for exactly once, as finished, as left, or as taken back; the item in hand, if one is
 * named, is one of those that are left; the ledger's and the
 * mapping's own invariants hold; and when the slot is empty again no block but its own is held. */
#include <stdio.h>
#include <stdlib.h>

#include "core/slot.h"

static mg_shm shm;
static mg_slot slot;
static uint64_t offered, accounted;

static void fail(const char *what) {
  fprintf(stderr, "slot_fuzz: %s\n", what);
  abort();
}

static void check_range(const mg_range *r) {
  if (r->block == MG_NO_BLOCK) return;
  if (!mg_shm_held(&shm, r->block)) fail("an event names a block that is not held");
  size_t size = mg_shm_block_size(&shm, r->block);
  if (r->offset > size || r->length > size - r->offset) fail("an event names a range outside its block");
  uint32_t count;
  mg_record_walk(mg_shm_at(&shm, r->block), r->offset, r->offset + r->length, MG_EDGE_ANY, UINT32_MAX, &count);
}

static int take(void *to, const mg_slot_event *ev) {
  (void)to;
  if (ev->kind == MG_EVENT_OUT || ev->kind == MG_EVENT_LEFT || ev->kind == MG_EVENT_REST) {
    check_range(&ev->range);
    if (ev->range.block != MG_NO_BLOCK) mg_shm_release(&shm, ev->range.block);
  }
  if (ev->kind == MG_EVENT_LEFT || ev->kind == MG_EVENT_REST) accounted += ev->range.count;
  if (ev->kind == MG_EVENT_DONE) accounted += ev->a;
  uint32_t in_hand = MG_STEP_NUMBER(ev->step);
  if (ev->kind == MG_EVENT_LEFT && ev->step & MG_STEP_ITEM && (in_hand < 1 || in_hand > ev->range.count))
    fail("an item that is not left is in hand");
  if (ev->kind == MG_EVENT_NEED && ev->a > (1u << 16)) return 0;
  return 0;
}

static const uint8_t *at, *end;

static uint8_t byte(void) { return at < end ? *at++ : 0; }
static uint32_t number(void) {
  uint32_t n = byte();
  return n < 128 ? n : n < 192 ? (n - 128) * 8 : n < 224 ? (n - 192) << 8 : n < 240 ? n << 16 : UINT32_MAX - (255 - n);
}

/* A piece: one record that stands for so many items, of which some come before those that are offered. */
static uint32_t make_piece(uint32_t block, uint32_t items, uint32_t *length) {
  uint32_t passed = byte() % 9, all = passed + items + byte() % 9;
  uint8_t *to = mg_shm_at(&shm, block);
  mg_record r;
  mg_record_head(to, 4 + byte() % 64, 1, MG_RECORD_PIECE);
  memcpy(to + MG_RECORD_HEAD, &all, sizeof all);
  *length = mg_record_read(to, MG_UNIT, &r);
  return MG_EDGE_PIECE | passed;
}

static void offer(void) {
  uint32_t block = byte() % 8 == 7 ? MG_NO_BLOCK : mg_shm_alloc(&shm, MG_UNIT), items = 1 + byte() % 5, length = 0;
  uint32_t edge = MG_EDGE_ANY;
  if (block == MG_NO_BLOCK || slot.threaded) items = 1;
  else if (byte() % 4 == 0) edge = make_piece(block, items, &length);
  else
    for (uint32_t i = 0; i < items; i++) {
      mg_record_head(mg_shm_at(&shm, block) + length, byte() % 64, MG_EDGE_ANY, 0);
      mg_record r;
      length += mg_record_read(mg_shm_at(&shm, block) + length, MG_UNIT, &r);
    }
  mg_chunk c = {.range = {block, 0, length, items, edge}, .number = ++offered << 8, .attempt = 1,
                .flags = byte() % 4 | (slot.threaded ? MG_CHUNK_SET : 0)};
  offered--;
  if (mg_slot_offer(&slot, &c) == 0) offered += items;
  else if (block != MG_NO_BLOCK) mg_shm_release(&shm, block);
}

static void lend(void) {
  uint32_t block = mg_shm_alloc(&shm, MG_UNIT << byte() % 3);
  if (mg_slot_lend(&slot, &shm, block) < 0) mg_shm_release(&shm, block);
}

static void take_back(void) {
  mg_chunk c;
  if (mg_slot_revoke(&slot, &c) == 0) return;
  accounted += c.range.count;
  check_range(&c.range);
  if (c.range.block != MG_NO_BLOCK) mg_shm_release(&shm, c.range.block);
}

static void shorten(void) {
  mg_chunk c;
  atomic_store(&slot.shared->ordering, 1 + byte() % 2);
  uint32_t oldest = (slot.chunk_sequence - slot.chunks) & (slot.room - 1);
  if (slot.chunks) atomic_store(&slot.shared->claim[oldest], MG_CLAIM_TAKEN);
  if (mg_slot_shorten(&slot, &shm, &c) == 0) return;
  accounted += c.range.count;
  if (c.range.count == 0 || c.range.block == MG_NO_BLOCK) fail("nothing has been taken back");
  check_range(&c.range);
  mg_shm_release(&shm, c.range.block);
}

/* A descriptor that would be right, but for what the input changes. */
static void push(void) {
  mg_ring *r = &slot.shared->out;
  uint32_t head = atomic_load(&r->head), length = (uint32_t)(byte() % 16) * 8;
  uint32_t which = slot.threaded && slot.chunks ? byte() % slot.chunks : 0;
  mg_chunk none = {0}, *oldest = slot.chunks ? &slot.chunk[(slot.chunk_first + which) & (slot.room - 1)] : &none;
  mg_desc d = {.kind = MG_OUT_DATA, .flags = byte() % 32, .block = slot.lents ? slot.lent[slot.lent_first] : 0,
               .offset = slot.published, .length = length, .count = length / 8, .stage = byte(),
               .chunk = oldest->number, .done = slot.done + byte() % 3, .sure_length = length,
               .sure_count = length / 8, .nanos = byte()};
  if (d.flags & MG_OUT_END && byte() % 4) d.done = oldest->range.count;
  switch (byte() % 12) {
  case 0: d.kind = (uint16_t)number(); break;
  case 1: d.flags = number(); break;
  case 2: d.block = number(); break;
  case 3: d.offset = number(); break;
  case 4: d.length = number(); break;
  case 5: d.count = number(); break;
  case 6: d.chunk = number(); break;
  case 7: d.done = number(); break;
  case 8: d.sure_length = number() & ~7u; break;
  case 9: d.sure_count = number(); break;
  case 10: d.sure_length = d.sure_count = 0; break; /* of the item in hand: held */
  default: break;
  }
  if (byte() % 16) d.check = mg_desc_check(&d, head); /* else what is in the ring is found to be damaged */
  r->entry[head % MG_RING] = d;
  atomic_store(&r->head, head + 1);
}

static void scribble(void) {
  uint8_t *to = (uint8_t *)slot.shared;
  size_t size = sizeof *slot.shared;
  uint8_t where = byte();
  if (where % 4 == 1 && slot.lents) {
    to = mg_shm_at(&shm, slot.lent[slot.lent_first]);
    size = MG_UNIT;
  } else if (where % 4 == 2 && slot.chunks && slot.chunk[slot.chunk_first].range.block != MG_NO_BLOCK) {
    to = mg_shm_at(&shm, slot.chunk[slot.chunk_first].range.block);
    size = MG_UNIT;
  }
  size_t offset = ((size_t)byte() << 8 | byte()) % size;
  for (unsigned n = byte() % 16; n > 0 && offset < size; n--) to[offset++] = byte();
}

static void say_commit(void) {
  uint64_t word = MG_COMMIT_WORD(slot.generation, slot.done + byte() % 3, slot.published + (uint32_t)(byte() % 16) * 8);
  if (byte() % 4 == 0) word ^= 1ull << byte() % 64;
  atomic_store(&slot.shared->commit, word);
}

static void claim(void) {
  atomic_store(&slot.shared->claim[byte() % MG_CHUNKS], byte() % 5);
  atomic_store(&slot.shared->began, number());
  atomic_store(&slot.shared->running, number());
  atomic_store(&slot.shared->step, byte() % 2 ? MG_STEP_ITEM | number() : number());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static int ready;
  if (!ready) {
    if (mg_shm_open(&shm, 256 << 20, MG_UNIT, 1 << 30) < 0) fail("no memory");
    slot.home = mg_shm_alloc(&shm, sizeof *slot.shared);
    slot.shared = (mg_slot_shared *)mg_shm_at(&shm, slot.home);
    slot.bell = (mg_bell){.epoll = mg_sys.epoll_create(), .fd = mg_sys.eventfd()};
    if (mg_sys.bell_add(slot.bell.epoll, slot.bell.fd, 0) < 0) fail("there is no bell");
    ready = 1;
  }
  at = data;
  end = data + size;
  offered = accounted = 0;
  slot.held_most = 1024u + byte() * 64u;
  if (byte() % 2 && mg_slot_make_threaded(&slot, MG_CHUNKS) < 0) fail("no memory");
  mg_slot_begin(&slot);
  int rc = 0;
  uint64_t began;
  while (at < end && rc == 0) {
    switch (byte() % 16) {
    case 0: case 1: offer(); break;
    case 2: lend(); break;
    case 3: case 4: rc = mg_slot_collect(&slot, &shm, take, NULL); break;
    case 5: rc = mg_slot_peek(&slot, &shm, take, NULL); break;
    case 6: byte() % 2 ? take_back() : shorten(); break;
    case 7: began = mg_slot_began(&slot); break;
    case 8: case 9: case 10: case 11: push(); break;
    case 12: say_commit(); break;
    case 13: claim(); break;
    case 14: scribble(); break;
    default:
      if (byte() % 8 == 0) mg_slot_finish(&slot);
      else slot.timed_out = number();
    }
    mg_slot_check(&slot, &shm);
  }
  mg_slot_recover(&slot, &shm, take, NULL);
  mg_slot_check(&slot, &shm);
  if (accounted != offered) {
    fprintf(stderr, "offered %llu, accounted for %llu\n", (unsigned long long)offered, (unsigned long long)accounted);
    fail("an item is lost, or there twice");
  }
  mg_shm_check(&shm);
  if (shm.used != mg_shm_block_size(&shm, slot.home)) fail("a block is held without a holder");
  mg_slot_free(&slot);
  free(slot.held);
  slot.held = NULL;
  slot.held_room = 0;
  return 0;
}
