#include "kernels.h"

#if defined(__x86_64__)

#include <string.h>

#include "doubles.h"

static inline void store_word(uint8_t *p, uint64_t word) { memcpy(p, &word, 8); }

// Whole words as they fill up: what runs here depends on `bits` alone.
HKMS_AVX2 void hkms_pack_bits_avx2(uint8_t *out, const uint64_t *in, size_t n, uint32_t bits) {
    uint64_t buffer = 0;
    uint32_t filled = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t value = in[i];
        buffer |= value << filled;
        filled += bits;
        if (filled >= 64) {
            store_word(out, buffer);
            out += 8;
            filled -= 64;
            buffer = value >> (bits - filled);
        }
    }
    for (; filled >= 8; filled -= 8, buffer >>= 8) *out++ = (uint8_t)buffer;
}

// A value of up to 57 bits lies within eight bytes, and two neighbours within sixteen: a vector of four is two such
// windows, moved to their lanes by a byte shuffle.
HKMS_AVX2 int hkms_unpack_bits_avx2(uint64_t *out, const uint8_t *in, size_t n, uint32_t bits, uint64_t q) {
    if (bits > 57) return hkms_unpack_bits_portable(out, in, n, bits, q);
    const __m256i mask = _mm256_set1_epi64x((long long)(((uint64_t)1 << bits) - 1));
    const __m256i largest = _mm256_set1_epi64x((long long)(q - 1));
    __m256i bad = _mm256_setzero_si256();
    // Eight values take `bits` bytes: places repeat.
    __m256i bytes[2], shifts[2];
    size_t window[4];
    for (size_t g = 0; g < 2; g++) {
        uint8_t places[32];
        uint64_t amounts[4];
        for (size_t k = 0; k < 4; k++) {
            const size_t begin = (4 * g + k) * bits, first = (4 * g + (k & 2)) * bits;
            if (!(k & 1)) window[2 * g + k / 2] = begin / 8;
            for (size_t j = 0; j < 8; j++) places[8 * k + j] = (uint8_t)(begin / 8 - first / 8 + j);
            amounts[k] = begin % 8;
        }
        bytes[g] = _mm256_loadu_si256((const __m256i *)places);
        shifts[g] = _mm256_loadu_si256((const __m256i *)amounts);
    }
    // Windows may reach 16 bytes beyond the values of a group: the last groups go the portable way.
    const size_t length = n / 8 * bits;
    size_t i = 0;
    const uint8_t *p = in;
    for (; i + 8 <= n && (size_t)(p - in) + window[3] + 16 <= length; i += 8, p += bits) {
        for (size_t g = 0; g < 2; g++) {
            __m256i x = _mm256_inserti128_si256(
                _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(p + window[2 * g]))),
                _mm_loadu_si128((const __m128i *)(p + window[2 * g + 1])), 1);
            x = _mm256_and_si256(_mm256_srlv_epi64(_mm256_shuffle_epi8(x, bytes[g]), shifts[g]), mask);
            bad = _mm256_or_si256(bad, _mm256_cmpgt_epi64(x, largest));
            store_words(out + i + 4 * g, x);
        }
    }
    const int rest = i == n || hkms_unpack_bits_portable(out + i, p, n - i, bits, q);
    return _mm256_testz_si256(bad, bad) & rest;
}

#endif
