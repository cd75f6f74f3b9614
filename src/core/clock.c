/* clock.c - see clock.h. */
#include "clock.h"

#include <stdatomic.h>

#include "sys.h"

enum { STOPS = 32, MUCH = 100000000 }; /* stops that are remembered one by one; ns that no sleep is late by itself */

static struct { uint64_t from, to; } stops[STOPS]; /* the newest is stops[(count - 1) % STOPS] */
static uint64_t count, stood;
static uint64_t last;              /* when this process last looked */
static _Atomic uint64_t continued; /* when SIGCONT came, since it was last asked for; 0: it did not */
static int opened, installed;

static void on_continue(int sig) {
  (void)sig;
  atomic_store(&continued, mg_now());
}

void mg_clock_open(void) {
  if (opened++ > 0) return;
  mg_clock_look();
  installed = mg_is_handled_by(SIGCONT, SIG_DFL) && mg_sys.handle_signal(SIGCONT, on_continue) == 0;
}

void mg_clock_close(void) {
  if (opened == 0 || --opened > 0 || !installed) return;
  installed = 0;
  if (mg_is_handled_by(SIGCONT, on_continue)) mg_sys.handle_signal(SIGCONT, SIG_DFL);
}

void mg_clock_forget(void) {
  if (opened > 1) opened = 1;
  mg_clock_close();
}

static void stood_still(uint64_t from, uint64_t to) {
  if (count > 0 && from < stops[(count - 1) % STOPS].to) from = stops[(count - 1) % STOPS].to;
  if (from >= to) return;
  stops[count % STOPS].from = from;
  stops[count++ % STOPS].to = to;
  stood += to - from;
}

uint64_t mg_clock_look(void) {
  uint64_t now;
  do {
    uint64_t at = atomic_exchange(&continued, 0);
    if (at && last) stood_still(last, at);
    now = mg_now();
  } while (atomic_load_explicit(&continued, memory_order_relaxed)); /* it came in between: `now` is of after it */
  last = now;
  return now;
}

void mg_clock_slept(uint64_t began, uint64_t asked) {
  uint64_t known = count, now = mg_clock_look();
  if (count == known && now - began > asked + MUCH) stood_still(began + asked, now);
}

uint64_t mg_clock_now(void) {
  uint64_t now = mg_clock_look();
  return now - stood;
}

uint64_t mg_clock_since(uint64_t then) {
  uint64_t now = mg_clock_look();
  if (then >= now) return 0;
  uint64_t ns = now - then;
  for (uint64_t i = count; i > 0 && count - i < STOPS && stops[(i - 1) % STOPS].to > then; i--) {
    uint64_t from = stops[(i - 1) % STOPS].from;
    ns -= stops[(i - 1) % STOPS].to - (from > then ? from : then);
  }
  return ns;
}
