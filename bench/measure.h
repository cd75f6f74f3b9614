/* SPDX-License-Identifier: MIT
 * What the C programs of the benchmarks share: a clock, percentiles, the end on an error. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PINGS 10000u /* round trips of W7, unless said otherwise */

static inline void die(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static inline double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline double cpu(void) { return (double)clock() / CLOCKS_PER_SEC; }

static inline int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Sorts `times` (seconds) and prints p50 and p99 in microseconds. */
static inline void print_percentiles(double *times, size_t n, double before) {
  qsort(times, n, sizeof *times, by_value);
  printf("items=%zu p50_us=%.3f p99_us=%.3f cpu_before=%.3f ok=1\n", n, times[n / 2] * 1e6,
         times[n * 99 / 100] * 1e6, before);
}

#endif
