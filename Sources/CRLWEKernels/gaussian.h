// Samples of the discrete Gaussian of deviation 8, by inversion: the magnitude is how many entries of the table of tail
// probabilities a random number of 126 bits is below. Every sample is held against every entry, and the comparison is
// the borrow of a subtraction in two parts of 63 bits: no jump, and no address but those of the whole table in turn.
#ifndef HKMS_GAUSSIAN_H
#define HKMS_GAUSSIAN_H

#include "gaussian_table.h"
#include "kernels.h"

// Four lanes, which a compiler makes of one vector register or of two.
typedef uint64_t hkms_lanes __attribute__((vector_size(32)));

// n is a multiple of 4.
static inline __attribute__((always_inline)) void hkms_gaussian_add_body(int64_t *sum, const uint64_t *words, size_t n,
                                                                         int64_t factor) {
    for (size_t i = 0; i < n; i += 4) {
        const uint64_t *w = words + 2 * i;
        const hkms_lanes first = {w[0], w[2], w[4], w[6]}, second = {w[1], w[3], w[5], w[7]};
        const hkms_lanes high = first >> 1, low = second >> 1, sign = first & 1;
        hkms_lanes magnitude = {0, 0, 0, 0};
        for (size_t j = 0; j < HKMS_GAUSSIAN_ENTRIES; j++) {
            const uint64_t *tail = hkms_gaussian_tails[j];
            hkms_lanes borrow = (low - tail[1]) >> 63;
            magnitude += (high - tail[0] - borrow) >> 63;
        }
        // Zero has one sign: its two halves are one entry of the table.
        hkms_lanes sample = (magnitude ^ -sign) + sign;
        for (size_t lane = 0; lane < 4; lane++)
            sum[i + lane] = (int64_t)((uint64_t)sum[i + lane] + sample[lane] * (uint64_t)factor);
    }
}

#endif
