#include "ntt_tables.h"
#include "kernels.h"

#if defined(__x86_64__)

#include "doubles.h"

#pragma STDC FP_CONTRACT OFF

// Negacyclic transforms in doubles, four residues a vector (doubles.h has the arithmetic and its bounds; ntt_tables.c
// decides which passes reduce). The row's own words hold the doubles between the passes.
//
// Decimation and order are those of the portable twin (Longa and Naehrig, "Speeding up the Number Theoretic Transform",
// 2016). While a part of the row does not fit the first-level cache, two stages share a pass over memory; a part that
// fits is finished before the next one is begun.

// Four products in step: each instruction's four copies fill the ports while the first's result is on its way.
HKMS_AVX2_INLINE void products(__m256d b[4], const __m256d w[4], const __m256d wq[4], __m256d q) {
    __m256d t[4], h[4];
    for (int i = 0; i < 4; i++) t[i] = _mm256_mul_pd(b[i], wq[i]);
    for (int i = 0; i < 4; i++) h[i] = _mm256_mul_pd(b[i], w[i]);
    for (int i = 0; i < 4; i++) t[i] = rounded(t[i]);
    for (int i = 0; i < 4; i++) b[i] = _mm256_fmsub_pd(b[i], w[i], h[i]);
    for (int i = 0; i < 4; i++) h[i] = _mm256_fnmadd_pd(t[i], q, h[i]);
    for (int i = 0; i < 4; i++) b[i] = _mm256_add_pd(h[i], b[i]);
}

HKMS_AVX2_INLINE void products_by_one(__m256d b[4], const double *pair, __m256d q) {
    const __m256d w = _mm256_broadcast_sd(pair), wq = _mm256_broadcast_sd(pair + 1);
    const __m256d ws[4] = {w, w, w, w}, wqs[4] = {wq, wq, wq, wq};
    products(b, ws, wqs, q);
}

// By one factor for b[0] and b[1], by another for b[2] and b[3].
HKMS_AVX2_INLINE void products_by_two(__m256d b[4], const double *first, const double *second, __m256d q) {
    const __m256d w0 = _mm256_broadcast_sd(first), wq0 = _mm256_broadcast_sd(first + 1);
    const __m256d w1 = _mm256_broadcast_sd(second), wq1 = _mm256_broadcast_sd(second + 1);
    const __m256d ws[4] = {w0, w0, w1, w1}, wqs[4] = {wq0, wq0, wq1, wq1};
    products(b, ws, wqs, q);
}

HKMS_AVX2_INLINE void sum_and_difference(__m256d *a, __m256d *b) {
    __m256d v = *b;
    *b = _mm256_sub_pd(*a, v);
    *a = _mm256_add_pd(*a, v);
}

// MARK: Forward: (a, b) -> (a + b w, a - b w)

// Two stages on two columns: v[2i] and v[2i+1] are element i of the first and of the second.
HKMS_AVX2_INLINE void forward_radix4(__m256d v[8], const double *pairs, __m256d q) {
    products_by_one(v + 4, pairs, q);
    for (int i = 0; i < 4; i++) sum_and_difference(&v[i], &v[i + 4]);
    __m256d b[4] = {v[2], v[3], v[6], v[7]};
    products_by_two(b, pairs + 2, pairs + 4, q);
    v[2] = b[0];
    v[3] = b[1];
    v[6] = b[2];
    v[7] = b[3];
    sum_and_difference(&v[0], &v[2]);
    sum_and_difference(&v[1], &v[3]);
    sum_and_difference(&v[4], &v[6]);
    sum_and_difference(&v[5], &v[7]);
}

// The first two stages of a row, whose values come from elsewhere.
HKMS_AVX2_INLINE void forward_first(double *x, size_t n, const double *pairs, int kind, const hkms_ntt_source *source,
                                    uint64_t q, const hkms_field *f) {
    const centered_source centered = centered_source_of(source->prime);
    sum_source sum;
    if (kind == HKMS_SOURCE_SUM)
        sum_source_of(&sum, source->rows, source->weights, source->count, source->start, q);
    const size_t quarter = n / 4;
    for (size_t j = 0; j < quarter; j += 8) {
        __m256d v[8];
        for (size_t i = 0; i < 8; i++) {
            const size_t at = i / 2 * quarter + j + i % 2 * 4;
            if (kind == HKMS_SOURCE_WORDS) v[i] = load_words(source->words + at, f->two52);
            if (kind == HKMS_SOURCE_SMALL) v[i] = load_small(source->small + at);
            if (kind == HKMS_SOURCE_TERNARY) v[i] = load_ternary(source->packed + at / 4);
            if (kind == HKMS_SOURCE_CENTERED) v[i] = load_centered(source->words + at, &centered, f->two52);
            if (kind == HKMS_SOURCE_SUM && i % 2 == 0) load_sums(v + i, &sum, at, f);
        }
        forward_radix4(v, pairs, f->q);
        for (size_t i = 0; i < 8; i++) _mm256_storeu_pd(x + i / 2 * quarter + j + i % 2 * 4, v[i]);
    }
}

HKMS_AVX2 __attribute__((noinline)) void hkms_ntt_forward_first_avx2(uint64_t *x, size_t n, const double *pairs,
                                                                     const hkms_ntt_source *source, uint64_t q) {
    const hkms_field f = field_of(q);
    double *out = (double *)x;
    switch (source->kind) {
    case HKMS_SOURCE_WORDS: forward_first(out, n, pairs, HKMS_SOURCE_WORDS, source, q, &f); break;
    case HKMS_SOURCE_SMALL: forward_first(out, n, pairs, HKMS_SOURCE_SMALL, source, q, &f); break;
    case HKMS_SOURCE_TERNARY: forward_first(out, n, pairs, HKMS_SOURCE_TERNARY, source, q, &f); break;
    case HKMS_SOURCE_CENTERED: forward_first(out, n, pairs, HKMS_SOURCE_CENTERED, source, q, &f); break;
    case HKMS_SOURCE_SUM: forward_first(out, n, pairs, HKMS_SOURCE_SUM, source, q, &f); break;
    }
}

// Two stages on one node that does not fit the cache.
HKMS_AVX2_INLINE void forward_outer(double *x, size_t length, const double *pairs, int reduce, const hkms_field *f) {
    const size_t quarter = length / 4;
    for (size_t j = 0; j < quarter; j += 8) {
        __m256d v[8];
        for (size_t i = 0; i < 8; i++) v[i] = _mm256_loadu_pd(x + i / 2 * quarter + j + i % 2 * 4);
        if (reduce) {
            v[0] = reduced(v[0], f);
            v[1] = reduced(v[1], f);
        }
        forward_radix4(v, pairs, f->q);
        for (size_t i = 0; i < 8; i++) _mm256_storeu_pd(x + i / 2 * quarter + j + i % 2 * 4, v[i]);
    }
}

HKMS_AVX2 __attribute__((noinline)) void hkms_ntt_forward_outer_avx2(double *x, size_t length, const double *pairs,
                                                                     int reduce, uint64_t q) {
    const hkms_field f = field_of(q);
    if (reduce)
        forward_outer(x, length, pairs, 1, &f);
    else
        forward_outer(x, length, pairs, 0, &f);
}

// One stage on nodes of at least 32 values in the cache. No butterfly waits for another: on Zen 3 that gains more than
// the second pass over the cache costs.
HKMS_AVX2_INLINE void forward_stage(double *x, size_t length, size_t nodes, const double *pairs, int reduce,
                                    const hkms_field *f) {
    const size_t half = length / 2;
    for (double *end = x + length * nodes; x < end; x += length, pairs += 2) {
        const __m256d w = _mm256_broadcast_sd(pairs), wq = _mm256_broadcast_sd(pairs + 1);
        const __m256d ws[4] = {w, w, w, w}, wqs[4] = {wq, wq, wq, wq};
        for (size_t j = 0; j < half; j += 16) {
            double *low = x + j, *high = x + half + j;
            __m256d b[4];
            for (int i = 0; i < 4; i++) b[i] = _mm256_loadu_pd(high + 4 * i);
            products(b, ws, wqs, f->q);
            for (int i = 0; i < 4; i++) {
                __m256d a = _mm256_loadu_pd(low + 4 * i);
                if (reduce) a = reduced(a, f);
                _mm256_storeu_pd(low + 4 * i, _mm256_add_pd(a, b[i]));
                _mm256_storeu_pd(high + 4 * i, _mm256_sub_pd(a, b[i]));
            }
        }
    }
}

HKMS_AVX2 __attribute__((noinline)) void hkms_ntt_forward_stage_avx2(double *x, size_t length, size_t nodes,
                                                                     const double *pairs, int reduce, uint64_t q) {
    const hkms_field f = field_of(q);
    if (reduce)
        forward_stage(x, length, nodes, pairs, 1, &f);
    else
        forward_stage(x, length, nodes, pairs, 0, &f);
}

// Two stages on nodes of 16 values, two nodes at a time.
HKMS_AVX2_INLINE void forward_inner(double *x, size_t nodes, const double *pairs, int reduce, const hkms_field *f) {
    for (double *end = x + 16 * nodes; x < end; x += 32, pairs += 12) {
        __m256d a[4], b[4];
        for (int i = 0; i < 4; i++) {
            a[i] = _mm256_loadu_pd(x + 16 * (i / 2) + 4 * (i % 2));
            b[i] = _mm256_loadu_pd(x + 16 * (i / 2) + 4 * (i % 2) + 8);
        }
        if (reduce) {
            a[0] = reduced(a[0], f);
            a[2] = reduced(a[2], f);
        }
        products_by_two(b, pairs, pairs + 6, f->q);
        for (int i = 0; i < 4; i++) sum_and_difference(&a[i], &b[i]);
        // Elements 1 and 3 of both nodes.
        __m256d c[4] = {a[1], b[1], a[3], b[3]};
        const __m256d ws[4] = {_mm256_broadcast_sd(pairs + 2), _mm256_broadcast_sd(pairs + 4),
                               _mm256_broadcast_sd(pairs + 8), _mm256_broadcast_sd(pairs + 10)};
        const __m256d wqs[4] = {_mm256_broadcast_sd(pairs + 3), _mm256_broadcast_sd(pairs + 5),
                                _mm256_broadcast_sd(pairs + 9), _mm256_broadcast_sd(pairs + 11)};
        products(c, ws, wqs, f->q);
        for (int i = 0; i < 2; i++) {
            _mm256_storeu_pd(x + 16 * i, _mm256_add_pd(a[2 * i], c[2 * i]));
            _mm256_storeu_pd(x + 16 * i + 4, _mm256_sub_pd(a[2 * i], c[2 * i]));
            _mm256_storeu_pd(x + 16 * i + 8, _mm256_add_pd(b[2 * i], c[2 * i + 1]));
            _mm256_storeu_pd(x + 16 * i + 12, _mm256_sub_pd(b[2 * i], c[2 * i + 1]));
        }
    }
}

HKMS_AVX2 __attribute__((noinline)) void hkms_ntt_forward_inner_avx2(double *x, size_t nodes, const double *pairs,
                                                                     int reduce, uint64_t q) {
    const hkms_field f = field_of(q);
    if (reduce)
        forward_inner(x, nodes, pairs, 1, &f);
    else
        forward_inner(x, nodes, pairs, 0, &f);
}

// MARK: Neighbours: the last two stages forward, the first two back

// Sixteen neighbours are four nodes, x, y, z and t. The stage on four elements works on v0 = x0 y0 z0 t0 and v2, and on
// v1 and v3; the stage on pairs on x0 y0 x2 y2 and x1 y1 x3 y3, and so for z and t. The latter are one shuffle from
// memory's order, and from v0 ... v3 an exchange of halves, which costs nothing while loading.

// The two stages are two sweeps: a chain of both would keep too few nodes in flight. Between them memory holds
// v0 ... v3.

HKMS_AVX2_INLINE void load_nodes(__m256d v[4], const double *x) {
    const __m256d low0 = low_halves(x, x + 8), low1 = low_halves(x + 4, x + 12);       // x0 x1 z0 z1, y0 y1 t0 t1
    const __m256d high0 = high_halves(x, x + 8), high1 = high_halves(x + 4, x + 12);  // x2 x3 z2 z3, y2 y3 t2 t3
    v[0] = _mm256_unpacklo_pd(low0, low1);
    v[1] = _mm256_unpackhi_pd(low0, low1);
    v[2] = _mm256_unpacklo_pd(high0, high1);
    v[3] = _mm256_unpackhi_pd(high0, high1);
}

HKMS_AVX2_INLINE void forward_last_but_one(double *x, size_t n, const double *factors, int reduce,
                                           const hkms_field *f) {
    for (size_t j = 0; j < n; j += 32, factors += 48) {
        __m256d v[8];
        load_nodes(v, x + j);
        load_nodes(v + 4, x + j + 16);
        if (reduce) {
            v[0] = reduced(v[0], f);
            v[4] = reduced(v[4], f);
        }
        const __m256d w0 = _mm256_loadu_pd(factors), wq0 = _mm256_loadu_pd(factors + 4);
        const __m256d w1 = _mm256_loadu_pd(factors + 24), wq1 = _mm256_loadu_pd(factors + 28);
        const __m256d ws[4] = {w0, w0, w1, w1}, wqs[4] = {wq0, wq0, wq1, wq1};
        __m256d a[4] = {v[0], v[1], v[4], v[5]}, b[4] = {v[2], v[3], v[6], v[7]};
        products(b, ws, wqs, f->q);
        for (int i = 0; i < 4; i++) {
            _mm256_storeu_pd(x + j + 8 * (i & 2) + 4 * (i & 1), _mm256_add_pd(a[i], b[i]));
            _mm256_storeu_pd(x + j + 8 * (i & 2) + 4 * (i & 1) + 8, _mm256_sub_pd(a[i], b[i]));
        }
    }
}

// Four finished values, for place `at` of the row, within 2^51 or, unless `small`, within 2^53: what becomes of them.
HKMS_AVX2_INLINE void finish(uint64_t *x, size_t at, __m256d v, int small, int kind, const hkms_ntt_result *result,
                             const factor *scalar, const hkms_field *f) {
    if (kind == HKMS_RESULT_PLAIN && small) {
        store_words(x + at, canonical_of_small(v, f));
        return;
    }
    if (!small) v = reduced(v, f);
    if (kind == HKMS_RESULT_PLAIN) {
        store_canonical(x + at, v, f);
        return;
    }
    uint64_t *out = result->out + at;
    if (kind == HKMS_RESULT_SCALED_DIFFERENCE) {
        const __m256d difference = _mm256_sub_pd(load_words(result->c + at, f->two52), v);
        store_canonical(out, product_prepared(difference, scalar->w, scalar->wq, f->q), f);
        return;
    }
    if (kind == HKMS_RESULT_PLUS_PRODUCT_AND_MORE) v = _mm256_add_pd(v, load_words(result->c + at, f->two52));
    const __m256d r =
        product_plus(load_words(result->a + at, f->two52), load_words(result->b + at, f->two52), v, f);
    store_canonical(out, kind == HKMS_RESULT_NEGATED_PLUS_PRODUCT ? negated(r) : r, f);
}

// `at`: where the part of n values begins in the row.
HKMS_AVX2_INLINE void forward_last(uint64_t *row, size_t at, size_t n, const double *factors, int small, int kind,
                                   const hkms_ntt_result *result, const hkms_field *f) {
    const factor scalar = factor_of(result->scalar, (uint64_t)_mm256_cvtsd_f64(f->q), f);
    for (size_t j = at; j < at + n; j += 32, factors += 48) {
        const double *in = (const double *)(row + j);
        // Of x and y, of z and t, and of the next four nodes.
        __m256d a[4], b[4];
        for (int i = 0; i < 2; i++) {
            const double *v = in + 16 * i;
            b[2 * i] = low_halves(v + 4, v + 12);
            b[2 * i + 1] = high_halves(v + 4, v + 12);
        }
        const __m256d ws[4] = {_mm256_loadu_pd(factors + 8), _mm256_loadu_pd(factors + 16),
                               _mm256_loadu_pd(factors + 32), _mm256_loadu_pd(factors + 40)};
        const __m256d wqs[4] = {_mm256_loadu_pd(factors + 12), _mm256_loadu_pd(factors + 20),
                                _mm256_loadu_pd(factors + 36), _mm256_loadu_pd(factors + 44)};
        products(b, ws, wqs, f->q);
        for (int i = 0; i < 2; i++) {
            const double *v = in + 16 * i;
            a[2 * i] = low_halves(v, v + 8);
            a[2 * i + 1] = high_halves(v, v + 8);
        }
        for (int i = 0; i < 4; i++) sum_and_difference(&a[i], &b[i]);
        for (size_t i = 0; i < 4; i++) {
            finish(row, j + 8 * i, _mm256_unpacklo_pd(a[i], b[i]), small, kind, result, &scalar, f);
            finish(row, j + 8 * i + 4, _mm256_unpackhi_pd(a[i], b[i]), small, kind, result, &scalar, f);
        }
    }
}

#define HKMS_FORWARD_LAST(KIND)                                             \
    case KIND:                                                              \
        if (small)                                                          \
            forward_last(row, at, n, factors, 1, KIND, result, &f);         \
        else                                                                \
            forward_last(row, at, n, factors, 0, KIND, result, &f);         \
        break

HKMS_AVX2 __attribute__((noinline)) void hkms_ntt_forward_last_avx2(uint64_t *row, size_t at, size_t n,
                                                                    const double *factors,
                                                                    const hkms_ntt_result *result,
                                                                    const hkms_ntt_tables *t) {
    const hkms_field f = field_of(t->q);
    const int small = t->forward_small;
    if (t->forward_pass[t->forward_passes - 1].reduce)
        forward_last_but_one((double *)(row + at), n, factors, 1, &f);
    else
        forward_last_but_one((double *)(row + at), n, factors, 0, &f);
    switch (result->kind) {
        HKMS_FORWARD_LAST(HKMS_RESULT_PLAIN);
        HKMS_FORWARD_LAST(HKMS_RESULT_PLUS_PRODUCT);
        HKMS_FORWARD_LAST(HKMS_RESULT_PLUS_PRODUCT_AND_MORE);
        HKMS_FORWARD_LAST(HKMS_RESULT_NEGATED_PLUS_PRODUCT);
        HKMS_FORWARD_LAST(HKMS_RESULT_SCALED_DIFFERENCE);
    }
}

// Everything from pass p on for one node of that pass; `row` is the whole row.
static void forward_from(const hkms_ntt_tables *t, uint64_t *row, size_t at, size_t length, int p, size_t node,
                         const hkms_ntt_result *result) {
    const hkms_ntt_pass *pass = t->forward_pass;
    const int last = t->forward_passes - 1;
    double *x = (double *)(row + at);
    if (length > HKMS_CACHED_DOUBLES) {
        hkms_ntt_forward_outer_avx2(x, length, t->forward_factors + pass[p].offset + node * 6, pass[p].reduce, t->q);
        for (size_t i = 0; i < 4; i++)
            forward_from(t, row, at + i * (length / 4), length / 4, p + 1, 4 * node + i, result);
        return;
    }
    size_t nodes = 1;
    for (; p < last - 1; p++, node *= 2, nodes *= 2)
        hkms_ntt_forward_stage_avx2(x, length / nodes, nodes, t->forward_factors + pass[p].offset + node * 2,
                                    pass[p].reduce, t->q);
    hkms_ntt_forward_inner_avx2(x, nodes, t->forward_factors + pass[p].offset + node * 6, pass[p].reduce, t->q);
    hkms_ntt_forward_last_avx2(row, at, length, t->forward_factors + pass[last].offset + node * 24, result, t);
}

void hkms_ntt_forward_fused_avx2(uint64_t *work, const hkms_ntt_source *source, const hkms_ntt_result *result,
                                 const hkms_ntt_tables *t) {
    const size_t quarter = t->n / 4;
    hkms_ntt_forward_first_avx2(work, t->n, t->forward_factors, source, t->q);
    for (size_t i = 0; i < 4; i++) forward_from(t, work, i * quarter, quarter, 1, i, result);
}

void hkms_ntt_forward_avx2(uint64_t *x, const hkms_ntt_tables *t) {
    const hkms_ntt_source source = {.kind = HKMS_SOURCE_WORDS, .words = x};
    const hkms_ntt_result result = {.kind = HKMS_RESULT_PLAIN};
    hkms_ntt_forward_fused_avx2(x, &source, &result, t);
}

// MARK: Inverse: (a, b) -> (a + b, (a - b) w)

// Two stages on two columns, as forward_radix4.
HKMS_AVX2_INLINE void inverse_radix4_begin(__m256d v[8], const double *pairs, __m256d q) {
    sum_and_difference(&v[0], &v[2]);
    sum_and_difference(&v[1], &v[3]);
    sum_and_difference(&v[4], &v[6]);
    sum_and_difference(&v[5], &v[7]);
    __m256d b[4] = {v[2], v[3], v[6], v[7]};
    products_by_two(b, pairs + 2, pairs + 4, q);
    v[2] = b[0];
    v[3] = b[1];
    v[6] = b[2];
    v[7] = b[3];
    for (int i = 0; i < 4; i++) sum_and_difference(&v[i], &v[i + 4]);
}

HKMS_AVX2_INLINE void inverse_pass4(double *x, size_t length, size_t nodes, const double *pairs, int reduce,
                                    const hkms_field *f) {
    const size_t quarter = length / 4;
    for (double *end = x + length * nodes; x < end; x += length, pairs += 6) {
        for (size_t j = 0; j < quarter; j += 8) {
            __m256d v[8];
            for (size_t i = 0; i < 8; i++) v[i] = _mm256_loadu_pd(x + i / 2 * quarter + j + i % 2 * 4);
            inverse_radix4_begin(v, pairs, f->q);
            products_by_one(v + 4, pairs, f->q);
            if (reduce) {
                v[0] = reduced(v[0], f);
                v[1] = reduced(v[1], f);
            }
            for (size_t i = 0; i < 8; i++) _mm256_storeu_pd(x + i / 2 * quarter + j + i % 2 * 4, v[i]);
        }
    }
}

// Nodes of 16 values, two at a time.
HKMS_AVX2_INLINE void inverse_inner(double *x, size_t nodes, const double *pairs, int reduce, const hkms_field *f) {
    for (double *end = x + 16 * nodes; x < end; x += 32, pairs += 12) {
        // Elements 0 and 2, 1 and 3, of each node, as inverse_second has left them.
        __m256d a[4], c[4];
        for (int i = 0; i < 2; i++) {
            const double *v = x + 16 * i;
            a[2 * i] = low_halves(v, v + 8);
            c[2 * i] = low_halves(v + 4, v + 12);
            a[2 * i + 1] = high_halves(v, v + 8);
            c[2 * i + 1] = high_halves(v + 4, v + 12);
        }
        for (int i = 0; i < 4; i++) sum_and_difference(&a[i], &c[i]);
        const __m256d ws[4] = {_mm256_broadcast_sd(pairs + 2), _mm256_broadcast_sd(pairs + 4),
                               _mm256_broadcast_sd(pairs + 8), _mm256_broadcast_sd(pairs + 10)};
        const __m256d wqs[4] = {_mm256_broadcast_sd(pairs + 3), _mm256_broadcast_sd(pairs + 5),
                                _mm256_broadcast_sd(pairs + 9), _mm256_broadcast_sd(pairs + 11)};
        products(c, ws, wqs, f->q);
        __m256d b[4];
        for (int i = 0; i < 2; i++) {
            b[2 * i] = _mm256_sub_pd(a[2 * i], a[2 * i + 1]);
            b[2 * i + 1] = _mm256_sub_pd(c[2 * i], c[2 * i + 1]);
            __m256d sum = _mm256_add_pd(a[2 * i], a[2 * i + 1]);
            if (reduce) sum = reduced(sum, f);
            _mm256_storeu_pd(x + 16 * i, sum);
            _mm256_storeu_pd(x + 16 * i + 4, _mm256_add_pd(c[2 * i], c[2 * i + 1]));
        }
        products_by_two(b, pairs, pairs + 6, f->q);
        for (int i = 0; i < 4; i++) _mm256_storeu_pd(x + 16 * (i / 2) + 8 + 4 * (i % 2), b[i]);
    }
}

HKMS_AVX2 __attribute__((noinline)) void hkms_ntt_inverse_pass_avx2(double *x, size_t length, size_t nodes,
                                                                    const double *pairs, int reduce, uint64_t q) {
    const hkms_field f = field_of(q);
    if (length > 16) {
        if (reduce)
            inverse_pass4(x, length, nodes, pairs, 1, &f);
        else
            inverse_pass4(x, length, nodes, pairs, 0, &f);
    } else {
        if (reduce)
            inverse_inner(x, nodes, pairs, 1, &f);
        else
            inverse_inner(x, nodes, pairs, 0, &f);
    }
}

HKMS_AVX2_INLINE void inverse_first(double *x, const uint64_t *in, size_t n, const double *factors,
                                    const hkms_field *f) {
    for (size_t j = 0; j < n; j += 32, factors += 48) {
        __m256d b[4];
        for (size_t i = 0; i < 4; i++) {
            __m256d first = load_words(in + j + 8 * i, f->two52), second = load_words(in + j + 8 * i + 4, f->two52);
            __m256d even = _mm256_unpacklo_pd(first, second), odd = _mm256_unpackhi_pd(first, second);
            b[i] = _mm256_sub_pd(even, odd);
            _mm256_storeu_pd(x + j + 8 * i, _mm256_add_pd(even, odd));
        }
        const __m256d ws[4] = {_mm256_loadu_pd(factors + 8), _mm256_loadu_pd(factors + 16),
                               _mm256_loadu_pd(factors + 32), _mm256_loadu_pd(factors + 40)};
        const __m256d wqs[4] = {_mm256_loadu_pd(factors + 12), _mm256_loadu_pd(factors + 20),
                                _mm256_loadu_pd(factors + 36), _mm256_loadu_pd(factors + 44)};
        products(b, ws, wqs, f->q);
        for (size_t i = 0; i < 4; i++) _mm256_storeu_pd(x + j + 8 * i + 4, b[i]);
    }
}

// Leaves x0 x1 z0 z1, y0 y1 t0 t1, x2 x3 z2 z3, y2 y3 t2 t3 for the pass on 16 values.
HKMS_AVX2_INLINE void inverse_second(double *x, size_t n, const double *factors, int reduce, const hkms_field *f) {
    for (size_t j = 0; j < n; j += 32, factors += 48) {
        // v0 and v1, and of the next four nodes; v2 and v3.
        __m256d a[4], b[4];
        for (int i = 0; i < 4; i++) {
            const double *v = x + j + 8 * (i & 2) + 4 * (i & 1);
            a[i] = low_halves(v, v + 8);
            b[i] = high_halves(v, v + 8);
            sum_and_difference(&a[i], &b[i]);
        }
        const __m256d w0 = _mm256_loadu_pd(factors), wq0 = _mm256_loadu_pd(factors + 4);
        const __m256d w1 = _mm256_loadu_pd(factors + 24), wq1 = _mm256_loadu_pd(factors + 28);
        const __m256d ws[4] = {w0, w0, w1, w1}, wqs[4] = {wq0, wq0, wq1, wq1};
        products(b, ws, wqs, f->q);
        for (int i = 0; i < 4; i += 2) {
            double *out = x + j + 8 * i;
            if (reduce) a[i] = reduced(a[i], f);
            _mm256_storeu_pd(out, _mm256_unpacklo_pd(a[i], a[i + 1]));
            _mm256_storeu_pd(out + 4, _mm256_unpackhi_pd(a[i], a[i + 1]));
            _mm256_storeu_pd(out + 8, _mm256_unpacklo_pd(b[i], b[i + 1]));
            _mm256_storeu_pd(out + 12, _mm256_unpackhi_pd(b[i], b[i + 1]));
        }
    }
}

HKMS_AVX2 __attribute__((noinline)) void hkms_ntt_inverse_first_avx2(uint64_t *x, const uint64_t *in, size_t n,
                                                                     const double *factors, int reduce, uint64_t q) {
    const hkms_field f = field_of(q);
    inverse_first((double *)x, in, n, factors, &f);
    if (reduce)
        inverse_second((double *)x, n, factors, 1, &f);
    else
        inverse_second((double *)x, n, factors, 0, &f);
}

// The last stages, down to canonical words. n^-1 and the caller's factor are in the last one: sums are multiplied by
// scale[0], differences by scale[2]; scale[1] and scale[3] are their quotients.
HKMS_AVX2_INLINE void inverse_last(uint64_t *x, size_t n, const double *pairs, const double scale[4], int shift,
                                   __m256d offset, const hkms_field *f) {
    const size_t quarter = n / 4;
    for (size_t j = 0; j < quarter; j += 8) {
        __m256d v[8];
        for (size_t i = 0; i < 8; i++) v[i] = _mm256_loadu_pd((const double *)x + i / 2 * quarter + j + i % 2 * 4);
        inverse_radix4_begin(v, pairs, f->q);
        products_by_one(v, scale, f->q);
        products_by_one(v + 4, scale + 2, f->q);
        if (shift)
            for (size_t i = 0; i < 8; i++) v[i] = reduced(_mm256_add_pd(v[i], offset), f);
        for (size_t i = 0; i < 8; i++) store_canonical(x + i / 2 * quarter + j + i % 2 * 4, v[i], f);
    }
}

HKMS_AVX2 __attribute__((noinline)) void hkms_ntt_inverse_last_avx2(uint64_t *x, size_t n, const double *pairs,
                                                                    uint64_t sum_factor, uint64_t difference_factor,
                                                                    uint64_t offset, uint64_t q) {
    const hkms_field f = field_of(q);
    double scale[4];
    scale[0] = centered_number(sum_factor, q);
    scale[1] = scale[0] / (double)(int64_t)q;
    scale[2] = centered_number(difference_factor, q);
    scale[3] = scale[2] / (double)(int64_t)q;
    const __m256d shift = _mm256_set1_pd((double)(int64_t)offset);
    if (offset)
        inverse_last(x, n, pairs, scale, 1, shift, &f);
    else
        inverse_last(x, n, pairs, scale, 0, shift, &f);
}

// One stage on one node, where their number is odd: of at least 32 values.
HKMS_AVX2_INLINE void inverse_stage(double *x, size_t length, size_t nodes, const double *pairs, int reduce,
                                    const hkms_field *f) {
    const size_t half = length / 2;
    for (double *end = x + length * nodes; x < end; x += length, pairs += 2) {
        for (size_t j = 0; j < half; j += 16) {
            __m256d a[4], b[4];
            for (int i = 0; i < 4; i++) {
                a[i] = _mm256_loadu_pd(x + j + 4 * i);
                b[i] = _mm256_loadu_pd(x + half + j + 4 * i);
                sum_and_difference(&a[i], &b[i]);
                if (reduce) a[i] = reduced(a[i], f);
                _mm256_storeu_pd(x + j + 4 * i, a[i]);
            }
            products_by_one(b, pairs, f->q);
            for (int i = 0; i < 4; i++) _mm256_storeu_pd(x + half + j + 4 * i, b[i]);
        }
    }
}

HKMS_AVX2 __attribute__((noinline)) void hkms_ntt_inverse_stage_avx2(double *x, size_t length, size_t nodes,
                                                                     const double *pairs, int reduce, uint64_t q) {
    const hkms_field f = field_of(q);
    if (reduce)
        inverse_stage(x, length, nodes, pairs, 1, &f);
    else
        inverse_stage(x, length, nodes, pairs, 0, &f);
}

static void inverse_middle(const hkms_ntt_tables *t, uint64_t *x, size_t length, size_t nodes, int p, size_t node) {
    const hkms_ntt_pass *pass = &t->inverse_pass[p];
    if (pass->log_radix == 1)
        hkms_ntt_inverse_stage_avx2((double *)x, length, nodes, t->inverse_factors + pass->offset + node * 2,
                                    pass->reduce, t->q);
    else
        hkms_ntt_inverse_pass_avx2((double *)x, length, nodes, t->inverse_factors + pass->offset + node * 6,
                                   pass->reduce, t->q);
}

// Everything below and including pass p for one node of that pass.
static void inverse_upto(const hkms_ntt_tables *t, uint64_t *x, const uint64_t *in, size_t length, int p,
                         size_t node) {
    const hkms_ntt_pass *pass = t->inverse_pass;
    const int last = t->inverse_passes - 1;
    size_t nodes = 1;
    if (length > HKMS_CACHED_DOUBLES) {
        const int log_radix = pass[p].log_radix;
        const size_t part = length >> log_radix;
        for (size_t i = 0; i < (size_t)1 << log_radix; i++)
            inverse_upto(t, x + i * part, in + i * part, part, p + 1, (node << log_radix) + i);
    } else {
        // The numbers of nodes on the way down.
        int k = p;
        for (; k < last; k++) nodes <<= pass[k].log_radix;
        const size_t first = node * nodes;
        hkms_ntt_inverse_first_avx2(x, in, length, t->inverse_factors + pass[last].offset + first * 6,
                                    pass[last].reduce, t->q);
        for (k = last - 1; k > p; k--) {
            nodes >>= pass[k].log_radix;
            inverse_middle(t, x, length / nodes, nodes, k, node * nodes);
        }
        nodes = 1;
    }
    inverse_middle(t, x, length, nodes, p, node);
}

void hkms_ntt_inverse_scaled_avx2(uint64_t *x, const uint64_t *in, uint64_t sum_factor, uint64_t difference_factor,
                                  uint64_t offset, const hkms_ntt_tables *t) {
    const size_t part = t->n / 4;
    for (size_t i = 0; i < 4; i++) inverse_upto(t, x + i * part, in + i * part, part, 1, i);
    hkms_ntt_inverse_last_avx2(x, t->n, t->inverse_factors, sum_factor, difference_factor, offset, t->q);
}

void hkms_ntt_inverse_avx2(uint64_t *x, const hkms_ntt_tables *t) {
    hkms_ntt_inverse_scaled_avx2(x, x, t->n_inverse, t->n_inverse_root, 0, t);
}

#endif
