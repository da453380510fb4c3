#include "ntt_tables.h"

#include <math.h>
#include <stdlib.h>

#include "kernels.h"
#include "modular.h"

#pragma STDC FP_CONTRACT OFF

// Public numbers alone: variable time.

static uint64_t power(uint64_t base, uint64_t exponent, uint64_t q) {
    uint64_t result = 1;
    for (; exponent > 0; exponent >>= 1, base = multiply_public(base, base, q))
        if (exponent & 1) result = multiply_public(result, base, q);
    return result;
}

static uint64_t shoup_quotient(uint64_t w, uint64_t q) { return (uint64_t)(((unsigned __int128)w << 64) / q); }

// out[bitrev(i)] = root^i
static void bit_reversed_powers(uint64_t *out, size_t n, uint64_t root, uint64_t q) {
    const uint64_t quotient = shoup_quotient(root, q);
    uint64_t value = 1;
    size_t position = 0;
    for (size_t i = 0; i < n; i++) {
        out[position] = value;
        value = subtract_once(shoup_lazy(value, root, quotient, q), q);
        // Counting up with the bits reversed.
        size_t bit = n >> 1;
        for (; position & bit; bit >>= 1) position ^= bit;
        position |= bit;
    }
}

static uint64_t *shoup_quotients(const uint64_t *w, size_t n, uint64_t q) {
    uint64_t *out = malloc(n * sizeof *out);
    if (out)
        for (size_t i = 0; i < n; i++) out[i] = shoup_quotient(w[i], q);
    return out;
}

// MARK: Tables in doubles

static double *pair(double *out, uint64_t w, uint64_t q) {
    out[0] = centered_number(w, q);
    out[1] = out[0] / (double)(int64_t)q;
    return out + 2;
}

// The factors of all passes for powers w in bit-reversed order; node i of a stage with m nodes has w[m + i].
static double *factors(const uint64_t *w, uint64_t q, hkms_ntt_pass *pass, int passes) {
    size_t count = 0, nodes = 1;
    for (int p = 0; p + 1 < passes; p++) {
        pass[p].offset = count;
        count += nodes * (2 * ((size_t)1 << pass[p].log_radix) - 2);
        nodes <<= pass[p].log_radix;
    }
    pass[passes - 1].offset = count;
    count += nodes * 6;
    double *table = aligned_alloc(64, (count * sizeof *table + 63) / 64 * 64);
    if (!table) return NULL;
    double *out = table;
    nodes = 1;
    for (int p = 0; p + 1 < passes; p++) {
        for (size_t i = 0; i < nodes; i++)
            for (int stage = 0; stage < pass[p].log_radix; stage++)
                for (size_t j = 0; j < (size_t)1 << stage; j++) out = pair(out, w[((nodes + i) << stage) + j], q);
        nodes <<= pass[p].log_radix;
    }
    for (size_t i = 0; i < nodes; i += 4, out += 24) {
        // The nodes' own factors; those of the pairs below nodes 0 and 1, then 2 and 3: left and right halves apart.
        const uint64_t *top = w + nodes + i, *below = w + 2 * (nodes + i);
        const uint64_t vectors[3][4] = {{top[0], top[1], top[2], top[3]},
                                        {below[0], below[2], below[1], below[3]},
                                        {below[4], below[6], below[5], below[7]}};
        for (size_t k = 0; k < 3; k++) {
            for (size_t j = 0; j < 4; j++) {
                double factor[2];
                pair(factor, vectors[k][j], q);
                out[8 * k + j] = factor[0];
                out[8 * k + 4 + j] = factor[1];
            }
        }
    }
    return table;
}

// |x w| modulo q for |x| <= x, as (1) of doubles.h; a little more for the roundings of this very computation.
static double product_bound(double x, double q) { return q * (0.5 + x * 0x1.8000001p-54) + 1; }


// The bound after a forward pass over values within x, or infinity if it may round.
static double forward_bound(double x, int log_radix, int reduce, double q) {
    // Element 0 meets sums alone and is in each of them; the others are multiplied before they join it. In a single
    // stage that is so for every first element of a pair, and all of them are reduced.
    double first = reduce ? 0.5000001 * q + 1 : x, others = x;
    for (int stage = 0; stage < log_radix; stage++) {
        if (others > 0x1p53) return INFINITY;
        double product = product_bound(others, q);
        first += product;
        others += product;
    }
    return first <= 0x1p53 ? first : INFINITY;
}

// Sets which forward passes reduce their first element, so that no magnitude passes 2^53. Inputs may be any integers
// of magnitude at most 2^50: canonical residues, or centered ones of another prime below 2^50.
// Returns the bound of what the last leaves.
static double plan_forward(hkms_ntt_pass *pass, int passes, double q) {
    double x = 0x1p50;
    for (int p = 0; p < passes; p++) {
        // As late as the next pass permits.
        double lazy = forward_bound(x, pass[p].log_radix, 0, q);
        pass[p].reduce = isinf(lazy) || (p + 1 < passes && isinf(forward_bound(lazy, pass[p + 1].log_radix, 1, q)));
        x = forward_bound(x, pass[p].log_radix, pass[p].reduce, q);
    }
    return x;
}

// The bound after an inverse pass over values within x, or infinity if it may round.
static double inverse_bound(double x, int log_radix, int reduce, double q) {
    // Element 0 is the sum of all, which a pass may reduce. The others were multiplied last or are, in radix 4, sums of
    // two products.
    const double sum = log_radix == 1 ? 2 * x : 4 * x;
    if (sum > 0x1p53) return INFINITY;
    double others = product_bound(sum, q);
    if (log_radix == 2) {
        const double twice = 2 * product_bound(2 * x, q);
        if (twice > 0x1p53) return INFINITY;
        others = fmax(others, fmax(twice, product_bound(twice, q)));
    }
    return fmax(others, reduce ? 0.5000001 * q + 1 : sum);
}

// The same for the inverse, whose passes run from the last to the first. Inputs are canonical. What the first leaves
// are products, in (-q, q).
static int plan_inverse(hkms_ntt_pass *pass, int passes, double q) {
    double x = q;
    for (int p = passes - 1; p > 0; p--) {
        double lazy = inverse_bound(x, pass[p].log_radix, 0, q);
        pass[p].reduce = isinf(inverse_bound(lazy, pass[p - 1].log_radix, 1, q));
        x = inverse_bound(x, pass[p].log_radix, pass[p].reduce, q);
    }
    return !isinf(inverse_bound(x, pass[0].log_radix, 1, q));
}

static int plan(struct hkms_ntt_tables *t) {
    int bits = 0;
    while ((size_t)1 << bits < t->n) bits++;
    if (bits < 7 || bits > 17 || t->q >= (uint64_t)1 << 50) return 0;
    const double q = (double)(int64_t)t->q;
    // Forward: radix 4 while a part of the row does not fit the cache, single stages, radix 4 on 16 and on 4 values.
    int rest = bits, passes = 0;
    do {
        t->forward_pass[passes++].log_radix = 2;
        rest -= 2;
    } while ((size_t)1 << rest > HKMS_CACHED_DOUBLES);
    for (; rest > 4; rest--) t->forward_pass[passes++].log_radix = 1;
    t->forward_pass[passes++].log_radix = 2;
    t->forward_pass[passes++].log_radix = 2;
    t->forward_passes = passes;
    // Inverse: radix 4 throughout, but for one stage where their number is odd, as far up as a part fits the cache.
    rest = bits;
    passes = 0;
    do {
        t->inverse_pass[passes++].log_radix = 2;
        rest -= 2;
    } while ((size_t)1 << rest > HKMS_CACHED_DOUBLES);
    if (rest & 1) {
        t->inverse_pass[passes++].log_radix = 1;
        rest--;
    }
    for (; rest > 0; rest -= 2) t->inverse_pass[passes++].log_radix = 2;
    t->inverse_passes = passes;
    const double bound = plan_forward(t->forward_pass, t->forward_passes, q);
    t->forward_small = bound < 0x1.ffp50;
    return !isinf(bound) && plan_inverse(t->inverse_pass, t->inverse_passes, q);
}

hkms_ntt_tables *hkms_ntt_tables_make(size_t n, const hkms_modulus *modulus, uint64_t psi) {
    const uint64_t q = modulus->q;
    struct hkms_ntt_tables *t = calloc(1, sizeof *t);
    uint64_t *forward = malloc(n * sizeof *forward), *inverse = malloc(n * sizeof *inverse);
    if (!t || !forward || !inverse) {
        free(t);
        free(forward);
        free(inverse);
        return NULL;
    }
    t->n = n;
    t->q = q;
    t->modulus = *modulus;
    bit_reversed_powers(forward, n, psi, q);
    bit_reversed_powers(inverse, n, power(psi, q - 2, q), q);
    t->n_inverse = power(n, q - 2, q);
    t->n_inverse_shoup = shoup_quotient(t->n_inverse, q);
    t->n_inverse_root = multiply_public(t->n_inverse, inverse[1], q);
    t->in_doubles = hkms_kernels_in_doubles(q) && plan(t);
    if (t->in_doubles) {
        t->forward_factors = factors(forward, q, t->forward_pass, t->forward_passes);
        t->inverse_factors = factors(inverse, q, t->inverse_pass, t->inverse_passes);
        free(forward);
        free(inverse);
        if (t->forward_factors && t->inverse_factors) return t;
    } else {
        t->forward = forward;
        t->inverse = inverse;
        t->forward_quotients = shoup_quotients(forward, n, q);
        t->inverse_quotients = shoup_quotients(inverse, n, q);
        if (t->forward_quotients && t->inverse_quotients) return t;
    }
    hkms_ntt_tables_destroy(t);
    return NULL;
}

void hkms_ntt_tables_destroy(hkms_ntt_tables *t) {
    if (!t) return;
    free(t->forward);
    free(t->forward_quotients);
    free(t->inverse);
    free(t->inverse_quotients);
    free(t->forward_factors);
    free(t->inverse_factors);
    free(t);
}
