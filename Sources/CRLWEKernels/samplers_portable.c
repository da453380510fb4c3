#include "gaussian.h"
#include "kernels.h"
#include "modular.h"

size_t hkms_mask_and_find_rejected_variable_time_portable(uint64_t *out, const uint64_t *words, size_t n,
                                                          const hkms_modulus *m, uint32_t first,
                                                          uint32_t *rejected) {
    const uint64_t mask = ((uint64_t)1 << m->bits) - 1, q = m->q;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t x = words[i] & mask;
        out[i] = x;
        rejected[count] = first + (uint32_t)i;
        count += x >= q;
    }
    return count;
}

// 1 if a >= b, from the borrow of the subtraction: no comparison for a compiler to turn into a jump.
static inline uint64_t at_least(uint64_t a, uint64_t b) {
    return (uint64_t)((((unsigned __int128)a - b) >> 64) & 1) ^ 1;
}

void hkms_ternary_from_words_portable(uint8_t *packed, const uint64_t *words, size_t n) {
    for (size_t i = 0; i < n; i += 4) {
        uint64_t byte = 0;
        for (size_t j = 0; j < 4; j++) {
            uint64_t w = words[i + j];
            uint64_t trit = at_least(w, 0x5555555555555556u) + at_least(w, 0xAAAAAAAAAAAAAAABu);
            byte |= trit << (2 * j);
        }
        packed[i / 4] = (uint8_t)byte;
    }
}

void hkms_ternary_expand_portable(uint64_t *out, const uint8_t *packed, size_t n, uint64_t q) {
    for (size_t i = 0; i < n; i++) {
        // trit - 1 is -1, 0 or 1; q is added where it is negative.
        uint64_t value = (uint64_t)((packed[i >> 2] >> (2 * (i & 3))) & 3) - 1;
        out[i] = value + (q & (0 - (value >> 63)));
    }
}

int hkms_ternary_is_valid_portable(const uint8_t *packed, size_t n) {
    uint8_t bad = 0;
    for (size_t i = 0; i < n / 4; i++) bad |= packed[i] & (packed[i] >> 1) & 0x55;
    return (int)(((unsigned)bad - 1u) >> 31);
}

static inline uint64_t popcount21(uint64_t x) {
    // Sums of pairs, nibbles and bytes; no table and no loop.
    x &= 0x1FFFFF;
    x = x - ((x >> 1) & 0x555555);
    x = (x & 0x333333) + ((x >> 2) & 0x333333);
    x = (x + (x >> 4)) & 0x0F0F0F;
    return ((x * 0x010101) >> 16) & 0xFF;
}

void hkms_cbd21_from_words_portable(int8_t *out, const uint64_t *words, size_t n) {
    for (size_t i = 0; i < n; i++)
        out[i] = (int8_t)(popcount21(words[i]) - popcount21(words[i] >> 32));
}

void hkms_small_expand_portable(uint64_t *out, const int8_t *in, size_t n, uint64_t q) {
    for (size_t i = 0; i < n; i++) {
        uint64_t value = (uint64_t)(int64_t)in[i];
        out[i] = value + (q & (0 - (value >> 63)));
    }
}

void hkms_gaussian_add_portable(int64_t *sum, const uint64_t *words, size_t n, int64_t factor) {
    hkms_gaussian_add_body(sum, words, n, factor);
}
