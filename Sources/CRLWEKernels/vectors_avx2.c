#include "kernels.h"

#if defined(__x86_64__)

#include "doubles.h"

#pragma STDC FP_CONTRACT OFF

// n is a multiple of 4 in every function: it is a power of two from 8.

HKMS_AVX2_INLINE __m256i load(const uint64_t *p) { return _mm256_loadu_si256((const __m256i *)p); }

// b where the top bit of `sign` is set, else a.
HKMS_AVX2_INLINE __m256i choose(__m256i a, __m256i b, __m256i sign) {
    return _mm256_castpd_si256(
        _mm256_blendv_pd(_mm256_castsi256_pd(a), _mm256_castsi256_pd(b), _mm256_castsi256_pd(sign)));
}

// MARK: Integers, any prime below 2^60

HKMS_AVX2 void hkms_add_avx2(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q) {
    const __m256i modulus = _mm256_set1_epi64x((long long)q);
    for (size_t i = 0; i < n; i += 4) {
        __m256i sum = _mm256_add_epi64(load(a + i), load(b + i));
        __m256i less = _mm256_sub_epi64(sum, modulus);
        store_words(out + i, choose(less, sum, less));
    }
}

HKMS_AVX2 void hkms_subtract_avx2(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q) {
    const __m256i modulus = _mm256_set1_epi64x((long long)q);
    for (size_t i = 0; i < n; i += 4) {
        __m256i difference = _mm256_sub_epi64(load(a + i), load(b + i));
        store_words(out + i, choose(difference, _mm256_add_epi64(difference, modulus), difference));
    }
}

HKMS_AVX2 void hkms_negate_avx2(uint64_t *out, const uint64_t *a, size_t n, uint64_t q) {
    const __m256i modulus = _mm256_set1_epi64x((long long)q), zero = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += 4) {
        __m256i x = load(a + i);
        store_words(out + i, _mm256_andnot_si256(_mm256_cmpeq_epi64(x, zero), _mm256_sub_epi64(modulus, x)));
    }
}

// MARK: Products

HKMS_AVX2 void hkms_multiply_avx2(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n,
                                  const hkms_modulus *m) {
    const hkms_field f = field_of(m->q);
    for (size_t i = 0; i < n; i += 4)
        store_canonical(out + i, product(load_words(a + i, f.two52), load_words(b + i, f.two52), &f), &f);
}

HKMS_AVX2_INLINE __m256d words_product_plus(const uint64_t *a, const uint64_t *b, const uint64_t *c,
                                            const hkms_field *f) {
    return product_plus(load_words(a, f->two52), load_words(b, f->two52), load_words(c, f->two52), f);
}

HKMS_AVX2 void hkms_multiply_plus_avx2(uint64_t *out, const uint64_t *a, const uint64_t *b, const uint64_t *c,
                                       size_t n, const hkms_modulus *m) {
    const hkms_field f = field_of(m->q);
    for (size_t i = 0; i < n; i += 4) store_canonical(out + i, words_product_plus(a + i, b + i, c + i, &f), &f);
}

HKMS_AVX2 void hkms_negated_multiply_plus_avx2(uint64_t *out, const uint64_t *a, const uint64_t *b, const uint64_t *c,
                                               size_t n, const hkms_modulus *m) {
    const hkms_field f = field_of(m->q);
    for (size_t i = 0; i < n; i += 4)
        store_canonical(out + i, negated(words_product_plus(a + i, b + i, c + i, &f)), &f);
}

HKMS_AVX2 void hkms_multiply_add_avx2(uint64_t *accumulator, const uint64_t *a, const uint64_t *b, size_t n,
                                      const hkms_modulus *m) {
    hkms_multiply_plus_avx2(accumulator, a, b, accumulator, n, m);
}

// MARK: Products with a constant

// An integer congruent to any 64-bit words, of magnitude below q / 2 + 2^33. The high half is taken modulo q first: its
// quotient by q is off by a relative 2^-52, which leaves at most 2^12 more than q / 2.
HKMS_AVX2_INLINE __m256d from_any(__m256i words, const hkms_field *f) {
    const __m256d two84 = _mm256_set1_pd(0x1p84);
    __m256d high =
        _mm256_sub_pd(_mm256_or_pd(_mm256_castsi256_pd(_mm256_srli_epi64(words, 32)), two84), two84);
    __m256d low = from_words(_mm256_blend_epi32(words, _mm256_setzero_si256(), 0xAA), f->two52);
    return _mm256_add_pd(reduced(high, f), low);
}

HKMS_AVX2 void hkms_multiply_scalar_avx2(uint64_t *out, const uint64_t *a, size_t n, uint64_t q, uint64_t s) {
    const hkms_field f = field_of(q);
    const factor k = factor_of(s, q, &f);
    for (size_t i = 0; i < n; i += 4)
        store_canonical(out + i, product_prepared(from_any(load(a + i), &f), k.w, k.wq, f.q), &f);
}

// x w + c for a residue |x| <= 2^50 and 0 <= c < q, in (-q, q): c joins the quotient.
HKMS_AVX2_INLINE __m256d prepared_plus(__m256d x, factor k, __m256d c, const hkms_field *f) {
    __m256d quotient = rounded(_mm256_fmadd_pd(x, k.wq, _mm256_mul_pd(c, f->inverse)));
    __m256d h = _mm256_mul_pd(x, k.w);
    __m256d l = _mm256_fmsub_pd(x, k.w, h);
    return _mm256_add_pd(_mm256_fnmadd_pd(quotient, f->q, h), _mm256_add_pd(l, c));
}

HKMS_AVX2 void hkms_multiply_scalar_add_avx2(uint64_t *accumulator, const uint64_t *a, size_t n, uint64_t q,
                                             uint64_t s) {
    const hkms_field f = field_of(q);
    const factor k = factor_of(s, q, &f);
    for (size_t i = 0; i < n; i += 4) {
        __m256d sum = prepared_plus(from_any(load(a + i), &f), k, load_words(accumulator + i, f.two52), &f);
        store_canonical(accumulator + i, sum, &f);
    }
}

HKMS_AVX2 void hkms_multiply_scalar_offset_avx2(uint64_t *out, const uint64_t *a, size_t n, uint64_t q, uint64_t s,
                                                uint64_t offset) {
    const hkms_field f = field_of(q);
    const factor k = factor_of(s, q, &f);
    const __m256d c = _mm256_set1_pd((double)(int64_t)offset);
    for (size_t i = 0; i < n; i += 4)
        store_canonical(out + i, prepared_plus(load_words(a + i, f.two52), k, c, &f), &f);
}

HKMS_AVX2 void hkms_subtract_multiply_scalar_avx2(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n,
                                                  uint64_t q, uint64_t s) {
    const hkms_field f = field_of(q);
    const factor k = factor_of(s, q, &f);
    for (size_t i = 0; i < n; i += 4) {
        __m256d difference = _mm256_sub_pd(load_words(a + i, f.two52), load_words(b + i, f.two52));
        store_canonical(out + i, product_prepared(difference, k.w, k.wq, f.q), &f);
    }
}

// MARK: Reductions

HKMS_AVX2 void hkms_reduce_avx2(uint64_t *out, const uint64_t *a, size_t n, const hkms_modulus *m) {
    const hkms_field f = field_of(m->q);
    for (size_t i = 0; i < n; i += 4) store_words(out + i, canonical_of_small(from_any(load(a + i), &f), &f));
}

HKMS_AVX2 void hkms_reduce_centered_avx2(uint64_t *out, const uint64_t *a, size_t n, uint64_t from,
                                         const hkms_modulus *to) {
    const hkms_field f = field_of(to->q);
    const centered_source source = centered_source_of(from);
    for (size_t i = 0; i < n; i += 4)
        store_words(out + i, canonical_of_small(load_centered(a + i, &source, f.two52), &f));
}

HKMS_AVX2 void hkms_permute_avx2(uint64_t *out, const uint64_t *in, const uint32_t *index, size_t n) {
    const __m128i three = _mm_set1_epi32(3);
    const __m256i upper = _mm256_set1_epi64x((long long)1 << 32);
    for (size_t i = 0; i < n; i += 4) {
        // Each place within the group as the numbers of its two halves.
        __m128i places = _mm_and_si128(_mm_loadu_si128((const __m128i *)(index + i)), three);
        __m256i halves = _mm256_slli_epi64(_mm256_cvtepu32_epi64(places), 1);
        halves = _mm256_or_si256(halves, _mm256_add_epi64(_mm256_slli_epi64(halves, 32), upper));
        store_words(out + i, _mm256_permutevar8x32_epi32(load(in + (index[i] & ~(uint32_t)3)), halves));
    }
}

HKMS_AVX2 void hkms_from_signed_avx2(uint64_t *out, const int64_t *a, size_t n, const hkms_modulus *m) {
    const hkms_field f = field_of(m->q);
    // The high half as an unsigned number that is 2^31 more.
    const __m256d two84 = _mm256_set1_pd(0x1p84), bias = _mm256_set1_pd(0x1p84 + 0x1p63);
    const __m256i sign = _mm256_set1_epi64x(0x80000000);
    for (size_t i = 0; i < n; i += 4) {
        __m256i words = load((const uint64_t *)a + i);
        __m256i half = _mm256_xor_si256(_mm256_srli_epi64(words, 32), sign);
        __m256d high = _mm256_sub_pd(_mm256_or_pd(_mm256_castsi256_pd(half), two84), bias);
        __m256d low = from_words(_mm256_blend_epi32(words, _mm256_setzero_si256(), 0xAA), f.two52);
        store_words(out + i, canonical_of_small(_mm256_add_pd(reduced(high, &f), low), &f));
    }
}

// MARK: Sums of products

HKMS_AVX2 void hkms_weighted_sum_avx2(uint64_t *out, const uint64_t *const *rows, const uint64_t *weights,
                                      size_t count, uint64_t start, const hkms_modulus *m, size_t n) {
    const hkms_field f = field_of(m->q);
    sum_source source;
    sum_source_of(&source, rows, weights, count, start, m->q);
    for (size_t i = 0; i < n; i += 8) {
        __m256d sums[2];
        load_sums(sums, &source, i, &f);
        for (int k = 0; k < 2; k++) store_canonical(out + i + 4 * k, sums[k], &f);
    }
}

HKMS_AVX2 void hkms_nearest_sum_of_fractions_avx2(uint64_t *out, const uint64_t *const *rows, const double *inverses,
                                                  size_t count, size_t n) {
    const __m256d two52 = _mm256_set1_pd(0x1p52);
    for (size_t i = 0; i < n; i += 8) {
        __m256d sums[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()};
        for (size_t j = 0; j < count; j++) {
            const uint64_t *row = rows[j] + i;
            const __m256d inverse = _mm256_broadcast_sd(inverses + j);
            for (int k = 0; k < 2; k++)
                sums[k] = _mm256_add_pd(sums[k], _mm256_mul_pd(load_words(row + 4 * k, two52), inverse));
        }
        // The last bit is 1.
        for (int k = 0; k < 2; k++)
            store_words(out + i + 4 * k, _mm256_castpd_si256(_mm256_xor_pd(_mm256_add_pd(sums[k], two52), two52)));
    }
}

#endif
