/* ring_threads.c - the ring and the wait protocol between two threads, for ThreadSanitizer and as a plain test.
 *
 * In the library the two ends are processes, which no race detector sees.  Here they are threads of one process: one
 * pushes numbered descriptors, the other pops and checks them; each sleeps by event.h when the ring is full or empty,
 * and a wake-up that is lost shows as a wait that runs into its time limit.  The counters start just below 2^32.
 *
 * usage: ring_threads [descriptors]      exit status 0 where all came in order
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../src/core/event.h"
#include "../../src/core/ring.h"
#include "../../src/core/sys.h"

#define FIRST (UINT32_MAX - 100) /* counter of the first descriptor */
#define LIMIT_NS 20000000000

typedef struct {
  _Atomic uint32_t asleep;
  mg_bell bell;
} place; /* where one end sleeps */

static mg_ring ring;
static place producer_place, consumer_place;
static uint64_t total;
static uint64_t sleeps[2];

static void fail(const char *what, uint64_t number) {
  fprintf(stderr, "ring_threads: %s at descriptor %llu\n", what, (unsigned long long)number);
  exit(1);
}

/* Step S5 of the protocol in event.h. */
static void sleep_at(place *p, uint64_t number, int who) {
  struct epoll_event said;
  int rc;
  do rc = mg_sys.epoll_wait(p->bell.epoll, &said, 1, LIMIT_NS);
  while (rc == -EINTR);
  if (rc != 1) fail(who ? "the consumer was not woken" : "the producer was not woken", number);
  mg_event_awake(&p->asleep);
  sleeps[who]++;
}

static void *produce(void *unused) {
  mg_ring_end end = {.ring = &ring, .mine = FIRST};
  for (uint64_t i = 0; i < total; i++) {
    while (mg_ring_room(&end) == 0) {
      mg_event_prepare(&producer_place.asleep);
      if (mg_ring_room(&end) > 0) {
        mg_event_awake(&producer_place.asleep);
        break;
      }
      sleep_at(&producer_place, i, 0);
    }
    mg_desc d = {.kind = 1, .offset = (uint32_t)i, .chunk = i, .nanos = ~i};
    mg_ring_push(&end, &d);
    mg_event_signal(&consumer_place.asleep, &consumer_place.bell);
  }
  return unused;
}

static void *consume(void *unused) {
  mg_ring_end end = {.ring = &ring, .mine = FIRST};
  for (uint64_t i = 0; i < total; i++) {
    while (mg_ring_waiting(&end) == 0) {
      mg_event_prepare(&consumer_place.asleep);
      if (mg_ring_waiting(&end) > 0) {
        mg_event_awake(&consumer_place.asleep);
        break;
      }
      sleep_at(&consumer_place, i, 1);
    }
    if (mg_ring_waiting(&end) > MG_RING) fail("more is waiting than the ring holds", i);
    mg_desc d;
    mg_ring_pop(&end, &d);
    mg_event_signal(&producer_place.asleep, &producer_place.bell);
    if (d.kind != 1 || d.chunk != i || d.offset != (uint32_t)i || d.nanos != ~i) fail("wrong contents", i);
  }
  return unused;
}

static void open_bell(mg_bell *bell) {
  bell->epoll = mg_sys.epoll_create();
  bell->fd = mg_sys.eventfd();
  if (mg_sys.bell_add(bell->epoll, bell->fd, 0) < 0) fail("there is no bell", 0);
}

int main(int argc, char **argv) {
  total = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
  atomic_store(&ring.head, FIRST);
  atomic_store(&ring.tail, FIRST);
  open_bell(&producer_place.bell);
  open_bell(&consumer_place.bell);
  pthread_t producer, consumer;
  if (pthread_create(&producer, NULL, produce, NULL) != 0 || pthread_create(&consumer, NULL, consume, NULL) != 0) {
    fail("pthread_create failed", 0);
  }
  pthread_join(producer, NULL);
  pthread_join(consumer, NULL);
  printf("%llu descriptors, %llu and %llu sleeps\n", (unsigned long long)total, (unsigned long long)sleeps[0],
         (unsigned long long)sleeps[1]);
  return 0;
}
