#include "kernels.h"

#if defined(__x86_64__)

#include "doubles.h"
#include "gaussian.h"

// Integers alone: MXCSR does not matter here. No tables but of registers.

HKMS_AVX2_INLINE __m256i load(const uint64_t *p) { return _mm256_loadu_si256((const __m256i *)p); }

HKMS_AVX2 size_t hkms_mask_and_find_rejected_variable_time_avx2(uint64_t *out, const uint64_t *words, size_t n,
                                                                const hkms_modulus *m, uint32_t first,
                                                                uint32_t *rejected) {
    const __m256i mask = _mm256_set1_epi64x((long long)(((uint64_t)1 << m->bits) - 1));
    const __m256i largest = _mm256_set1_epi64x((long long)(m->q - 1));
    size_t count = 0;
    for (size_t i = 0; i < n; i += 4) {
        __m256i x = _mm256_and_si256(load(words + i), mask);
        store_words(out + i, x);
        unsigned hits = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(x, largest)));
        for (; hits; hits &= hits - 1) rejected[count++] = first + (uint32_t)i + (uint32_t)__builtin_ctz(hits);
    }
    return count;
}

HKMS_AVX2 void hkms_ternary_from_words_avx2(uint8_t *packed, const uint64_t *words, size_t n) {
    // Signed comparisons of numbers moved by 2^63.
    const __m256i sign = _mm256_set1_epi64x((long long)((uint64_t)1 << 63));
    const __m256i first = _mm256_xor_si256(_mm256_set1_epi64x(0x5555555555555555), sign);
    const __m256i second = _mm256_xor_si256(_mm256_set1_epi64x((long long)0xAAAAAAAAAAAAAAAA), sign);
    for (size_t i = 0; i < n; i += 4) {
        __m256i x = _mm256_xor_si256(load(words + i), sign);
        __m256i one_or_two = _mm256_cmpgt_epi64(x, first), two = _mm256_cmpgt_epi64(x, second);
        // The low bit of a trit in the low half's sign, the high bit in the high half's.
        __m256i bits = _mm256_blend_epi32(_mm256_xor_si256(one_or_two, two), two, 0xAA);
        packed[i / 4] = (uint8_t)_mm256_movemask_ps(_mm256_castsi256_ps(bits));
    }
}

HKMS_AVX2 void hkms_ternary_expand_avx2(uint64_t *out, const uint8_t *packed, size_t n, uint64_t q) {
    const __m256i modulus = _mm256_set1_epi64x((long long)q), shifts = _mm256_setr_epi64x(0, 2, 4, 6);
    const __m256i three = _mm256_set1_epi64x(3), one = _mm256_set1_epi64x(1);
    for (size_t i = 0; i < n; i += 4) {
        __m256i trits = _mm256_and_si256(_mm256_srlv_epi64(_mm256_set1_epi64x(packed[i / 4]), shifts), three);
        __m256i value = _mm256_sub_epi64(trits, one);
        __m256i negative = _mm256_cmpgt_epi64(_mm256_setzero_si256(), value);
        store_words(out + i, _mm256_add_epi64(value, _mm256_and_si256(modulus, negative)));
    }
}

HKMS_AVX2 void hkms_small_expand_avx2(uint64_t *out, const int8_t *in, size_t n, uint64_t q) {
    const __m256i modulus = _mm256_set1_epi64x((long long)q);
    for (size_t i = 0; i < n; i += 4) {
        __m256i value = _mm256_cvtepi8_epi64(_mm_loadu_si32(in + i));
        __m256i negative = _mm256_cmpgt_epi64(_mm256_setzero_si256(), value);
        store_words(out + i, _mm256_add_epi64(value, _mm256_and_si256(modulus, negative)));
    }
}

// popcount of bits 0...20 minus popcount of bits 32...52 of each word, as two 32-bit terms of a 64-bit lane.
HKMS_AVX2_INLINE __m256i difference_terms(__m256i words) {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    // Unsigned bytes times signs, neighbours added, and once more.
    const __m256i signs = _mm256_set1_epi64x((long long)0xFFFFFFFF01010101);
    words = _mm256_and_si256(words, _mm256_set1_epi64x(0x001FFFFF001FFFFF));
    __m256i bytes = _mm256_add_epi8(_mm256_shuffle_epi8(counts, _mm256_and_si256(words, nibble)),
                                    _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi64(words, 4), nibble)));
    return _mm256_madd_epi16(_mm256_maddubs_epi16(bytes, signs), _mm256_set1_epi16(1));
}

// n is a multiple of 32.
HKMS_AVX2 void hkms_cbd21_from_words_avx2(int8_t *out, const uint64_t *words, size_t n) {
    for (size_t i = 0; i < n; i += 32) {
        __m256i sums[4];
        for (size_t j = 0; j < 4; j++)
            sums[j] = _mm256_hadd_epi32(difference_terms(load(words + i + 8 * j)),
                                        difference_terms(load(words + i + 8 * j + 4)));
        __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(sums[0], sums[1]), _mm256_packs_epi32(sums[2], sums[3]));
        // The lower half has pairs 0, 2, 4 ... of words, the upper half pairs 1, 3, 5 ...
        __m128i low = _mm256_castsi256_si128(packed), high = _mm256_extracti128_si256(packed, 1);
        _mm_storeu_si128((__m128i *)(out + i), _mm_unpacklo_epi16(low, high));
        _mm_storeu_si128((__m128i *)(out + i + 16), _mm_unpackhi_epi16(low, high));
    }
}

HKMS_AVX2 void hkms_gaussian_add_avx2(int64_t *sum, const uint64_t *words, size_t n, int64_t factor) {
    hkms_gaussian_add_body(sum, words, n, factor);
}

#endif
