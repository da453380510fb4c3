#include <string.h>

#include "kernels.h"
#include "modular.h"

#pragma STDC FP_CONTRACT OFF

void hkms_add_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q) {
    for (size_t i = 0; i < n; i++) out[i] = subtract_once(a[i] + b[i], q);
}

void hkms_subtract_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q) {
    for (size_t i = 0; i < n; i++) out[i] = subtract_once(a[i] + q - b[i], q);
}

void hkms_negate_portable(uint64_t *out, const uint64_t *a, size_t n, uint64_t q) {
    for (size_t i = 0; i < n; i++) out[i] = subtract_once(q - a[i], q);
}

void hkms_multiply_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, const hkms_modulus *m) {
    const uint64_t q = m->q, mu = m->mu;
    const uint32_t bits = m->bits;
    for (size_t i = 0; i < n; i++) out[i] = barrett(a[i], b[i], q, mu, bits);
}

void hkms_multiply_add_portable(uint64_t *accumulator, const uint64_t *a, const uint64_t *b, size_t n,
                       const hkms_modulus *m) {
    const uint64_t q = m->q, mu = m->mu;
    const uint32_t bits = m->bits;
    for (size_t i = 0; i < n; i++)
        accumulator[i] = subtract_once(accumulator[i] + barrett(a[i], b[i], q, mu, bits), q);
}

void hkms_multiply_scalar_portable(uint64_t *out, const uint64_t *a, size_t n, uint64_t q, uint64_t s,
                                   uint64_t s_shoup) {
    for (size_t i = 0; i < n; i++) out[i] = subtract_once(shoup_lazy(a[i], s, s_shoup, q), q);
}

void hkms_multiply_scalar_add_portable(uint64_t *accumulator, const uint64_t *a, size_t n, uint64_t q, uint64_t s,
                              uint64_t s_shoup) {
    for (size_t i = 0; i < n; i++) {
        uint64_t product = subtract_once(shoup_lazy(a[i], s, s_shoup, q), q);
        accumulator[i] = subtract_once(accumulator[i] + product, q);
    }
}

void hkms_reduce_portable(uint64_t *out, const uint64_t *a, size_t n, const hkms_modulus *m) {
    const uint64_t q = m->q, reciprocal = m->reciprocal;
    for (size_t i = 0; i < n; i++) out[i] = subtract_once(shoup_lazy(a[i], 1, reciprocal, q), q);
}

void hkms_reduce_centered_portable(uint64_t *out, const uint64_t *a, size_t n, uint64_t from, const hkms_modulus *to) {
    const uint64_t q = to->q, reciprocal = to->reciprocal;
    const uint64_t half = from >> 1;
    const uint64_t half_reduced = subtract_once(shoup_lazy(half, 1, reciprocal, q), q);
    for (size_t i = 0; i < n; i++) {
        uint64_t shifted = subtract_once(a[i] + half, from);
        uint64_t reduced = subtract_once(shoup_lazy(shifted, 1, reciprocal, q), q);
        out[i] = subtract_once(reduced + q - half_reduced, q);
    }
}

void hkms_permute_portable(uint64_t *out, const uint64_t *in, const uint32_t *index, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = in[index[i]];
}

void hkms_from_signed_portable(uint64_t *out, const int64_t *a, size_t n, const hkms_modulus *m) {
    const uint64_t q = m->q, reciprocal = m->reciprocal;
    for (size_t i = 0; i < n; i++) {
        uint64_t word = (uint64_t)a[i];
        uint64_t sign = 0 - (word >> 63);
        uint64_t magnitude = (word ^ sign) - sign;
        uint64_t residue = subtract_once(shoup_lazy(magnitude, 1, reciprocal, q), q);
        uint64_t negated = subtract_once(q - residue, q);
        out[i] = residue ^ ((residue ^ negated) & sign);
    }
}

void hkms_multiply_scalar_offset_portable(uint64_t *out, const uint64_t *a, size_t n, uint64_t q, uint64_t s,
                                          uint64_t s_shoup, uint64_t offset) {
    for (size_t i = 0; i < n; i++)
        out[i] = subtract_once(subtract_once(shoup_lazy(a[i], s, s_shoup, q), q) + offset, q);
}

void hkms_subtract_multiply_scalar_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q,
                                            uint64_t s, uint64_t s_shoup) {
    for (size_t i = 0; i < n; i++) out[i] = subtract_once(shoup_lazy(a[i] + q - b[i], s, s_shoup, q), q);
}

void hkms_multiply_plus_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, const uint64_t *c, size_t n,
                                 const hkms_modulus *m) {
    const uint64_t q = m->q, mu = m->mu;
    const uint32_t bits = m->bits;
    for (size_t i = 0; i < n; i++) out[i] = subtract_once(barrett(a[i], b[i], q, mu, bits) + c[i], q);
}

void hkms_negated_multiply_plus_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, const uint64_t *c,
                                         size_t n, const hkms_modulus *m) {
    const uint64_t q = m->q, mu = m->mu;
    const uint32_t bits = m->bits;
    for (size_t i = 0; i < n; i++)
        out[i] = subtract_once(q - subtract_once(barrett(a[i], b[i], q, mu, bits) + c[i], q), q);
}

void hkms_multiply_accumulate_many_portable(uint64_t *out0, uint64_t *out1, const uint64_t *const *x,
                                            const uint64_t *const *y0, const uint64_t *const *y1,
                                            const hkms_modulus *m, size_t count, size_t n) {
    const uint64_t q = m->q, mu = m->mu;
    const uint32_t bits = m->bits;
    for (size_t i = 0; i < n; i++) {
        uint64_t sum0 = 0, sum1 = 0;
        for (size_t j = 0; j < count; j++) {
            const uint64_t factor = x[j][i];
            sum0 = subtract_once(sum0 + barrett(factor, y0[j][i], q, mu, bits), q);
            sum1 = subtract_once(sum1 + barrett(factor, y1[j][i], q, mu, bits), q);
        }
        out0[i] = sum0;
        out1[i] = sum1;
    }
}

void hkms_weighted_sum_portable(uint64_t *out, const uint64_t *const *rows, const uint64_t *weights, size_t count,
                                uint64_t start, const hkms_modulus *m, size_t n) {
    const uint64_t q = m->q;
    for (size_t i = 0; i < n; i++) out[i] = start;
    for (size_t j = 0; j < count; j++) {
        const uint64_t quotient = (uint64_t)(((unsigned __int128)weights[j] << 64) / q);
        hkms_multiply_scalar_add_portable(out, rows[j], n, q, weights[j], quotient);
    }
}

// Each step rounds once and in one order, so that there is one result on every machine. A word taken for a signed one
// is below 2^60.
void hkms_nearest_sum_of_fractions_portable(uint64_t *out, const uint64_t *const *rows, const double *inverses,
                                            size_t count, size_t n) {
    const double two52 = 0x1p52;
    uint64_t exponent, word;
    memcpy(&exponent, &two52, sizeof exponent);
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t j = 0; j < count; j++) sum += (double)(int64_t)rows[j][i] * inverses[j];
        sum += two52;  // its last bit is 1
        memcpy(&word, &sum, sizeof word);
        out[i] = word ^ exponent;
    }
}
