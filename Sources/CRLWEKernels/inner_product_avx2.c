#include "doubles.h"
#include "kernels.h"

#if defined(__x86_64__)

#pragma STDC FP_CONTRACT OFF

// Rows of one key lie at multiples of some large power of two from each other, so that the same place of all of them
// falls into one set of the cache, and there are more of them than a prefetcher follows. So each is read by pages, and
// the sums wait in the first cache meanwhile.
enum { BLOCK = 512 };

typedef struct {
    double high[BLOCK], low[BLOCK];
} sums;

HKMS_AVX2_INLINE void add_products(sums *s, size_t i, __m256d x, __m256d y, __m256d z, __m256d w, int two) {
    exact_sum sum;
    sum.high = _mm256_load_pd(s->high + i);
    sum.low = _mm256_load_pd(s->low + i);
    exact_sum_add(&sum, x, y);
    if (two) exact_sum_add(&sum, z, w);
    _mm256_store_pd(s->high + i, sum.high);
    _mm256_store_pd(s->low + i, sum.low);
}

// The residue so far, as the start of the next sum.
HKMS_AVX2_INLINE void reduce(sums *s, size_t n, const hkms_field *f) {
    for (size_t i = 0; i < n; i += 4) {
        exact_sum sum;
        sum.high = _mm256_load_pd(s->high + i);
        sum.low = _mm256_load_pd(s->low + i);
        sum = exact_sum_from(exact_sum_reduced(sum, f));
        _mm256_store_pd(s->high + i, sum.high);
        _mm256_store_pd(s->low + i, sum.low);
    }
}

HKMS_AVX2_INLINE void store(uint64_t *out, sums *s, size_t n, const hkms_field *f) {
    for (size_t i = 0; i < n; i += 4) {
        exact_sum sum;
        sum.high = _mm256_load_pd(s->high + i);
        sum.low = _mm256_load_pd(s->low + i);
        store_canonical(out + i, exact_sum_reduced(sum, f), f);
    }
}

// So few rows that the sums stay in registers: two vectors of out0, two of out1, which is a whole line of the cache.
HKMS_AVX2 static void add_few(uint64_t *out0, uint64_t *out1, const uint64_t *const *x, const uint64_t *const *y0,
                              const uint64_t *const *y1, const hkms_modulus *m, size_t count, size_t n) {
    const hkms_field f = field_of(m->q);
    for (size_t i = 0; i < n; i += 8) {
        exact_sum sum[4];
        for (int k = 0; k < 4; k++) sum[k] = exact_sum_from(_mm256_setzero_pd());
        for (size_t j = 0; j < count; j++) {
            const uint64_t *factors = x[j] + i, *left = y0[j] + i, *right = y1[j] + i;
            for (int k = 0; k < 2; k++) {
                const __m256d factor = load_words(factors + 4 * k, f.two52);
                exact_sum_add(&sum[k], factor, load_words(left + 4 * k, f.two52));
                exact_sum_add(&sum[k + 2], factor, load_words(right + 4 * k, f.two52));
            }
        }
        for (int k = 0; k < 2; k++) {
            store_canonical(out0 + i + 4 * k, exact_sum_reduced(sum[k], &f), &f);
            store_canonical(out1 + i + 4 * k, exact_sum_reduced(sum[k + 2], &f), &f);
        }
    }
}

HKMS_AVX2 void hkms_multiply_accumulate_many_avx2(uint64_t *out0, uint64_t *out1, const uint64_t *const *x,
                                                  const uint64_t *const *y0, const uint64_t *const *y1,
                                                  const hkms_modulus *m, size_t count, size_t n) {
    if (count <= HKMS_EXACT_TERMS) {
        add_few(out0, out1, x, y0, y1, m, count, n);
        return;
    }
    const hkms_field f = field_of(m->q);
    _Alignas(64) sums s0, s1;
    for (size_t start = 0; start < n; start += BLOCK) {
        const size_t length = n - start < BLOCK ? n - start : BLOCK;
        for (size_t i = 0; i < length; i += 4) {
            _mm256_store_pd(s0.high + i, _mm256_set1_pd(0x1p103));
            _mm256_store_pd(s1.high + i, _mm256_set1_pd(0x1p103));
            _mm256_store_pd(s0.low + i, _mm256_setzero_pd());
            _mm256_store_pd(s1.low + i, _mm256_setzero_pd());
        }
        size_t terms = 0;
        for (size_t j = 0; j < count;) {
            const int two = j + 1 < count && terms + 2 <= HKMS_EXACT_TERMS;
            if (terms + 1 > HKMS_EXACT_TERMS) {
                reduce(&s0, length, &f);
                reduce(&s1, length, &f);
                terms = 0;
                continue;
            }
            const uint64_t *a = x[j] + start, *b0 = y0[j] + start, *b1 = y1[j] + start;
            if (two) {
                const uint64_t *c = x[j + 1] + start, *d0 = y0[j + 1] + start, *d1 = y1[j + 1] + start;
                for (size_t i = 0; i < length; i += 4) {
                    __m256d u = load_words(a + i, f.two52), v = load_words(c + i, f.two52);
                    add_products(&s0, i, u, load_words(b0 + i, f.two52), v, load_words(d0 + i, f.two52), 1);
                    add_products(&s1, i, u, load_words(b1 + i, f.two52), v, load_words(d1 + i, f.two52), 1);
                }
            } else {
                for (size_t i = 0; i < length; i += 4) {
                    __m256d u = load_words(a + i, f.two52);
                    add_products(&s0, i, u, load_words(b0 + i, f.two52), u, u, 0);
                    add_products(&s1, i, u, load_words(b1 + i, f.two52), u, u, 0);
                }
            }
            j += two ? 2 : 1;
            terms += two ? 2 : 1;
        }
        store(out0 + start, &s0, length, &f);
        store(out1 + start, &s1, length, &f);
    }
}

#endif
