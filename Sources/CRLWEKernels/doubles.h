// Exact modular arithmetic in AVX2 doubles, for primes q below 2^50.
//
// A residue is any integer x of magnitude at most 2^53: a double holds it exactly. The product of x and w modulo q is
// taken from an error-free product and an approximate quotient (van der Hoeven, Lecerf and Quintin, "Modular SIMD
// arithmetic in Mathemagix", 2016, section 3; the factor's quotient w/q is prepared, as Shoup's is for integers):
//
//     h = fl(x w),  l = x w - h,  b = round(fl(x wq)) for wq = fl(w / q),  r = (h - b q) + l.
//
// Let |x| <= 2^53 and |w| < q/2 < 2^49.
//   l:        exact by fma, and |l| <= ulp(h)/2 <= 2^48, since |h| <= 2^102.
//   b:        |wq| < 1/2, so |wq - w/q| <= 2^-55 and |x wq| < 2^52; with the product's own rounding
//             |fl(x wq) - x w / q| <= |x| 2^-55 + min(|x| 2^-54, 2^-2) <= 1/2. Hence
//             |x w - b q| <= q (1/2 + min(3 |x| 2^-55, |x| 2^-55 + 2^-2)) < q:            (1)
//             strictly, because w / q, q being odd, lies in the middle of no two doubles;
//             the result is again a residue, a lazy one, in (-q, q).
//   h - b q:  an integer of magnitude at most q + |l| < 2^53: exact by fma. Adding l gives the integer r: exact.
// x +- y of two residues is exact while its magnitude stays at or below 2^53. That is the only thing to be watched:
// ntt_tables.c follows the growth by (1) from pass to pass.
//
// No zero is ever -0: in round-to-nearest a difference of equals is +0, and l is +0 where x w = 0. Canonical form
// may therefore go by the sign bit.
//
// All of this needs round-to-nearest and no flushing: dispatch.c sets MXCSR around every call.
#ifndef HKMS_DOUBLES_H
#define HKMS_DOUBLES_H

#pragma STDC FP_CONTRACT OFF

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels.h"
#include "modular.h"

#define HKMS_AVX2 __attribute__((target("avx2,fma")))
#define HKMS_AVX2_INLINE static inline __attribute__((target("avx2,fma"), always_inline))

typedef struct {
    __m256d q;
    __m256d inverse;  // fl(1 / q)
    __m256d two52;    // 2^52: its bits are the exponent that turns an integer below 2^52 into 2^52 + that integer
    __m256d two52_q;  // 2^52 + q
} hkms_field;

HKMS_AVX2_INLINE hkms_field field_of(uint64_t q) {
    hkms_field f;
    f.q = _mm256_set1_pd((double)(int64_t)q);
    f.inverse = _mm256_set1_pd(1.0 / (double)(int64_t)q);
    f.two52 = _mm256_set1_pd(0x1p52);
    f.two52_q = _mm256_set1_pd(0x1p52 + (double)(int64_t)q);
    return f;
}

// The low halves, or the high halves, of the vectors at p and at r. The half that crosses over is loaded by a
// broadcast, which takes no port of the arithmetic.
HKMS_AVX2_INLINE __m256d low_halves(const double *p, const double *r) {
    __m256d high = _mm256_broadcast_pd((const __m128d *)r);
    __asm__("" : "+x"(high));  // or clang makes one insertion of it, at a quarter of the speed
    return _mm256_blend_pd(_mm256_loadu_pd(p), high, 12);
}

HKMS_AVX2_INLINE __m256d high_halves(const double *p, const double *r) {
    __m256d low = _mm256_broadcast_pd((const __m128d *)(p + 2));
    __asm__("" : "+x"(low));
    return _mm256_blend_pd(low, _mm256_loadu_pd(r), 12);
}

HKMS_AVX2_INLINE __m256d rounded(__m256d x) {
    return _mm256_round_pd(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

// Words below 2^52.
HKMS_AVX2_INLINE __m256d from_words(__m256i words, __m256d two52) {
    return _mm256_sub_pd(_mm256_or_pd(_mm256_castsi256_pd(words), two52), two52);
}

HKMS_AVX2_INLINE __m256d load_words(const uint64_t *p, __m256d two52) {
    return from_words(_mm256_loadu_si256((const __m256i *)p), two52);
}

// [0, q) as words, from (-q, q).
HKMS_AVX2_INLINE __m256i canonical(__m256d r, const hkms_field *f) {
    __m256d chosen = _mm256_blendv_pd(_mm256_add_pd(r, f->two52), _mm256_add_pd(r, f->two52_q), r);
    return _mm256_castpd_si256(_mm256_xor_pd(chosen, f->two52));
}

HKMS_AVX2_INLINE void store_words(uint64_t *p, __m256i words) { _mm256_storeu_si256((__m256i *)p, words); }

HKMS_AVX2_INLINE void store_canonical(uint64_t *p, __m256d r, const hkms_field *f) { store_words(p, canonical(r, f)); }

// A residue to the nearest one of zero: |x| <= 2^53 to at most q (1/2 + |x| / q 2^-51), below q while |x| <= 2^50 q.
HKMS_AVX2_INLINE __m256d reduced(__m256d x, const hkms_field *f) {
    return _mm256_fnmadd_pd(rounded(_mm256_mul_pd(x, f->inverse)), f->q, x);
}

// [0, q) as words, from |x| < 2^51: floor((x + 1/2) / q) is computed with an error below (|x| + 1) 2^-52 / q < 1/2 / q,
// which is how far its argument is from an integer at least.
HKMS_AVX2_INLINE __m256i canonical_of_small(__m256d x, const hkms_field *f) {
    const __m256d half = _mm256_mul_pd(f->inverse, _mm256_set1_pd(0.5));
    __m256d quotient = _mm256_round_pd(_mm256_fmadd_pd(x, f->inverse, half), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m256d r = _mm256_fnmadd_pd(quotient, f->q, x);
    return _mm256_castpd_si256(_mm256_xor_pd(_mm256_add_pd(r, f->two52), f->two52));
}

// x w modulo q by the prepared quotient of w, as above.
HKMS_AVX2_INLINE __m256d product_prepared(__m256d x, __m256d w, __m256d wq, __m256d q) {
    __m256d b = rounded(_mm256_mul_pd(x, wq));
    __m256d h = _mm256_mul_pd(x, w);
    __m256d l = _mm256_fmsub_pd(x, w, h);
    return _mm256_add_pd(_mm256_fnmadd_pd(b, q, h), l);
}

// x y modulo q for 0 <= x, y <= 2^50, |x y| < 2^100: the quotient comes from h by three roundings of relative size
// 2^-53, off by less than 2^100 / q 3 2^-53 and so by 3/8 if x, y < q: |r| <= 7/8 q.
HKMS_AVX2_INLINE __m256d product(__m256d x, __m256d y, const hkms_field *f) {
    __m256d h = _mm256_mul_pd(x, y);
    __m256d l = _mm256_fmsub_pd(x, y, h);
    __m256d b = rounded(_mm256_mul_pd(h, f->inverse));
    return _mm256_add_pd(_mm256_fnmadd_pd(b, f->q, h), l);
}

// x y + z modulo q in (-q, q), for x, y in [0, q) and an integer |z| < 2^51 + 2^50: as product(), with z in the quotient
// too, which makes it wrong by 1 / q more at most; h - b q may be |z| more, and is exact still.
HKMS_AVX2_INLINE __m256d product_plus(__m256d x, __m256d y, __m256d z, const hkms_field *f) {
    __m256d h = _mm256_mul_pd(x, y);
    __m256d l = _mm256_fmsub_pd(x, y, h);
    __m256d quotient = rounded(_mm256_fmadd_pd(h, f->inverse, _mm256_mul_pd(z, f->inverse)));
    return _mm256_add_pd(_mm256_fnmadd_pd(quotient, f->q, h), _mm256_add_pd(l, z));
}

// 0 - r, since the negative of zero would have a sign.
HKMS_AVX2_INLINE __m256d negated(__m256d r) { return _mm256_sub_pd(_mm256_setzero_pd(), r); }

// A constant with its prepared quotient.
typedef struct {
    __m256d w, wq;
} factor;

HKMS_AVX2_INLINE factor factor_of(uint64_t s, uint64_t q, const hkms_field *f) {
    factor result;
    result.w = _mm256_set1_pd(centered_number(s, q));
    result.wq = _mm256_div_pd(result.w, f->q);
    return result;
}

// MARK: Sources

// Residues of another prime below 2^50 as the representatives nearest to zero.
typedef struct {
    __m256d prime, above_half;
} centered_source;

HKMS_AVX2_INLINE centered_source centered_source_of(uint64_t prime) {
    centered_source source;
    source.prime = _mm256_set1_pd((double)(int64_t)prime);
    source.above_half = _mm256_set1_pd((double)(int64_t)(prime / 2 + 1));
    return source;
}

HKMS_AVX2_INLINE __m256d load_centered(const uint64_t *p, const centered_source *source, __m256d two52) {
    __m256d x = load_words(p, two52);
    // x itself where x - (half + 1) is negative.
    return _mm256_blendv_pd(_mm256_sub_pd(x, source->prime), x, _mm256_sub_pd(x, source->above_half));
}

HKMS_AVX2_INLINE __m256d load_small(const int8_t *p) {
    return _mm256_cvtepi32_pd(_mm_cvtepi8_epi32(_mm_loadu_si32(p)));
}

// Four trits of one byte, less 1.
HKMS_AVX2_INLINE __m256d load_ternary(const uint8_t *p) {
    const __m256i shifts = _mm256_setr_epi64x(0, 2, 4, 6), three = _mm256_set1_epi64x(3);
    __m256i trits = _mm256_and_si256(_mm256_srlv_epi64(_mm256_set1_epi64x(*p), shifts), three);
    const __m256d two52 = _mm256_set1_pd(0x1p52);
    return _mm256_sub_pd(_mm256_or_pd(_mm256_castsi256_pd(trits), two52), _mm256_set1_pd(0x1p52 + 1));
}

// MARK: Sums of products without a rounding

// The sum of up to seven products x y, 0 <= x, y <= 2^50, and a start of magnitude at most 2^50, as
// high - 2^103 + low. high grows by fma from 2^103: below 2^104, so it is a multiple of 2^51 throughout and its steps
// are exact differences; what a step leaves of its product is an integer of at most 2^50, exact by fma. Then
// |low| <= 8 2^50 = 2^53.
#define HKMS_EXACT_TERMS 7

typedef struct {
    __m256d high, low;
} exact_sum;

HKMS_AVX2_INLINE exact_sum exact_sum_from(__m256d start) {
    exact_sum sum;
    sum.high = _mm256_set1_pd(0x1p103);
    sum.low = start;
    return sum;
}

HKMS_AVX2_INLINE void exact_sum_add(exact_sum *sum, __m256d x, __m256d y) {
    __m256d high = _mm256_fmadd_pd(x, y, sum->high);
    __m256d step = _mm256_sub_pd(high, sum->high);
    sum->low = _mm256_add_pd(sum->low, _mm256_fmsub_pd(x, y, step));
    sum->high = high;
}

// The residue nearest to zero, up to a relative 2^-49. high - 2^103 <= 2^103 by q is off by 2^103 / q 2^-52 at most:
// the first remainder is within q / 2 + 2^51 and its sum with low's within 2^53.
HKMS_AVX2_INLINE __m256d exact_sum_reduced(exact_sum sum, const hkms_field *f) {
    __m256d high = reduced(_mm256_sub_pd(sum.high, _mm256_set1_pd(0x1p103)), f);
    return reduced(_mm256_add_pd(high, reduced(sum.low, f)), f);
}

// start + sum of rows[j] * weights[j], words below 2^50, by prepared products: by (1) each is within q (1/2 + 3/32), so
// that eight and what was before them, within q, are within 6 q < 2^53.
#define HKMS_PREPARED_TERMS 8

typedef struct {
    const uint64_t *const *rows;
    size_t count;
    double start, weights[HKMS_MOST_TERMS], quotients[HKMS_MOST_TERMS];
} sum_source;

static inline void sum_source_of(sum_source *source, const uint64_t *const *rows, const uint64_t *weights,
                                 size_t count, uint64_t start, uint64_t q) {
    source->rows = rows;
    source->count = count;
    source->start = (double)(int64_t)start;
    for (size_t j = 0; j < count; j++) {
        source->weights[j] = centered_number(weights[j], q);
        source->quotients[j] = source->weights[j] / (double)(int64_t)q;
    }
}

// Eight sums, from i on, nearest to zero.
HKMS_AVX2_INLINE void load_sums(__m256d out[2], const sum_source *source, size_t i, const hkms_field *f) {
    out[0] = out[1] = _mm256_set1_pd(source->start);
    for (size_t j = 0; j < source->count; j++) {
        const uint64_t *row = source->rows[j] + i;
        const __m256d w = _mm256_broadcast_sd(&source->weights[j]), wq = _mm256_broadcast_sd(&source->quotients[j]);
        for (int k = 0; k < 2; k++) {
            if (j > 0 && j % HKMS_PREPARED_TERMS == 0) out[k] = reduced(out[k], f);
            out[k] = _mm256_add_pd(out[k], product_prepared(load_words(row + 4 * k, f->two52), w, wq, f->q));
        }
    }
    for (int k = 0; k < 2; k++) out[k] = reduced(out[k], f);
}

#endif
