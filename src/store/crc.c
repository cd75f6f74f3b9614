/* crc.c - see crc.h.  By the processor's instruction where the compiler may use it, else eight bytes at a time by
 * table. */
#include "crc.h"

#include <string.h>

#ifdef __SSE4_2__
#include <nmmintrin.h>

uint32_t mg_crc32c(uint32_t crc, const void *from, size_t n) {
  const uint8_t *p = from;
  uint64_t c = (uint32_t)~crc;
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word;
    memcpy(&word, p, 8);
    c = _mm_crc32_u64(c, word);
  }
  for (; n; n--) c = _mm_crc32_u8((uint32_t)c, *p++);
  return ~(uint32_t)c;
}
#else
#define POLYNOMIAL 0x82f63b78u

static uint32_t table[8][256];

static void fill(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
    table[0][i] = c;
  }
  for (uint32_t i = 0; i < 256; i++)
    for (int k = 1; k < 8; k++) table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
}

static uint32_t word_at(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t mg_crc32c(uint32_t crc, const void *from, size_t n) {
  const uint8_t *p = from;
  if (!table[7][255]) fill();
  uint32_t c = ~crc;
  for (; n >= 8; n -= 8, p += 8) {
    uint32_t low = c ^ word_at(p), high = word_at(p + 4);
    c = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^ table[4][low >> 24] ^
        table[3][high & 255] ^ table[2][high >> 8 & 255] ^ table[1][high >> 16 & 255] ^ table[0][high >> 24];
  }
  for (; n; n--) c = c >> 8 ^ table[0][(c ^ *p++) & 255];
  return ~c;
}
#endif
