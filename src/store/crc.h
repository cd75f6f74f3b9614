/* crc.h - CRC-32C (Castagnoli), the checksum of stored records. */
#ifndef MG_CRC_H
#define MG_CRC_H

#include "core/mg.h"

/* The CRC-32C of n bytes, going on from `crc`: 0 for the first bytes, then the result so far. */
uint32_t mg_crc32c(uint32_t crc, const void *from, size_t n);

#endif
