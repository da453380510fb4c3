#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "dispatch.h"

enum { UNKNOWN, PORTABLE, AVX2 };

static atomic_int selected = UNKNOWN;

static int best(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return AVX2;
#endif
    return PORTABLE;
}

static int selection(void) {
    int kind = atomic_load_explicit(&selected, memory_order_relaxed);
    if (kind == UNKNOWN) {
        // Threads that come here together find the same.
        const char *wanted = getenv("HKMS_KERNELS");
        kind = wanted && strcmp(wanted, "portable") == 0 ? PORTABLE : best();
        atomic_store_explicit(&selected, kind, memory_order_relaxed);
    }
    return kind;
}

void hkms_kernels_select(int portable) {
    atomic_store_explicit(&selected, portable ? PORTABLE : best(), memory_order_relaxed);
}

const char *hkms_kernels_name(void) { return selection() == AVX2 ? "avx2" : "portable"; }

static inline int in_vectors(void) { return selection() == AVX2; }

int hkms_kernels_in_doubles(uint64_t q) { return selection() == AVX2 && q < (uint64_t)1 << 50; }

void hkms_add(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q) {
    if (in_vectors())
        IN_VECTORS(hkms_add_avx2(out, a, b, n, q));
    else
        hkms_add_portable(out, a, b, n, q);
}

void hkms_subtract(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q) {
    if (in_vectors())
        IN_VECTORS(hkms_subtract_avx2(out, a, b, n, q));
    else
        hkms_subtract_portable(out, a, b, n, q);
}

void hkms_negate(uint64_t *out, const uint64_t *a, size_t n, uint64_t q) {
    if (in_vectors())
        IN_VECTORS(hkms_negate_avx2(out, a, n, q));
    else
        hkms_negate_portable(out, a, n, q);
}

void hkms_multiply(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, const hkms_modulus *m) {
    if (hkms_kernels_in_doubles(m->q))
        IN_DOUBLES(hkms_multiply_avx2(out, a, b, n, m));
    else
        hkms_multiply_portable(out, a, b, n, m);
}

void hkms_multiply_add(uint64_t *accumulator, const uint64_t *a, const uint64_t *b, size_t n, const hkms_modulus *m) {
    if (hkms_kernels_in_doubles(m->q))
        IN_DOUBLES(hkms_multiply_add_avx2(accumulator, a, b, n, m));
    else
        hkms_multiply_add_portable(accumulator, a, b, n, m);
}

void hkms_multiply_plus(uint64_t *out, const uint64_t *a, const uint64_t *b, const uint64_t *c, size_t n,
                        const hkms_modulus *m) {
    if (hkms_kernels_in_doubles(m->q))
        IN_DOUBLES(hkms_multiply_plus_avx2(out, a, b, c, n, m));
    else
        hkms_multiply_plus_portable(out, a, b, c, n, m);
}

void hkms_negated_multiply_plus(uint64_t *out, const uint64_t *a, const uint64_t *b, const uint64_t *c, size_t n,
                                const hkms_modulus *m) {
    if (hkms_kernels_in_doubles(m->q))
        IN_DOUBLES(hkms_negated_multiply_plus_avx2(out, a, b, c, n, m));
    else
        hkms_negated_multiply_plus_portable(out, a, b, c, n, m);
}

void hkms_multiply_accumulate_many(uint64_t *out0, uint64_t *out1, const uint64_t *const *x, const uint64_t *const *y0,
                                   const uint64_t *const *y1, const hkms_modulus *m, size_t count, size_t n) {
    if (hkms_kernels_in_doubles(m->q))
        IN_DOUBLES(hkms_multiply_accumulate_many_avx2(out0, out1, x, y0, y1, m, count, n));
    else
        hkms_multiply_accumulate_many_portable(out0, out1, x, y0, y1, m, count, n);
}

void hkms_weighted_sum(uint64_t *out, const uint64_t *const *rows, const uint64_t *weights, size_t count,
                       uint64_t start, const hkms_modulus *m, uint32_t source_bits, size_t n) {
    if (hkms_kernels_in_doubles(m->q) && source_bits <= 50 && count <= HKMS_MOST_TERMS)
        IN_DOUBLES(hkms_weighted_sum_avx2(out, rows, weights, count, start, m, n));
    else
        hkms_weighted_sum_portable(out, rows, weights, count, start, m, n);
}

void hkms_nearest_sum_of_fractions(uint64_t *out, const uint64_t *const *rows, const double *inverses, size_t count,
                                   uint32_t source_bits, size_t n) {
    if (in_vectors() && source_bits <= 50)
        IN_DOUBLES(hkms_nearest_sum_of_fractions_avx2(out, rows, inverses, count, n));
    else
        IN_ROUND_TO_NEAREST(hkms_nearest_sum_of_fractions_portable(out, rows, inverses, count, n));
}

void hkms_multiply_scalar(uint64_t *out, const uint64_t *a, size_t n, uint64_t q, uint64_t s, uint64_t s_shoup) {
    if (hkms_kernels_in_doubles(q))
        IN_DOUBLES(hkms_multiply_scalar_avx2(out, a, n, q, s));
    else
        hkms_multiply_scalar_portable(out, a, n, q, s, s_shoup);
}

void hkms_multiply_scalar_add(uint64_t *accumulator, const uint64_t *a, size_t n, uint64_t q, uint64_t s,
                              uint64_t s_shoup) {
    if (hkms_kernels_in_doubles(q))
        IN_DOUBLES(hkms_multiply_scalar_add_avx2(accumulator, a, n, q, s));
    else
        hkms_multiply_scalar_add_portable(accumulator, a, n, q, s, s_shoup);
}

void hkms_multiply_scalar_offset(uint64_t *out, const uint64_t *a, size_t n, uint64_t q, uint64_t s, uint64_t s_shoup,
                                 uint64_t offset) {
    if (hkms_kernels_in_doubles(q))
        IN_DOUBLES(hkms_multiply_scalar_offset_avx2(out, a, n, q, s, offset));
    else
        hkms_multiply_scalar_offset_portable(out, a, n, q, s, s_shoup, offset);
}

void hkms_subtract_multiply_scalar(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q,
                                   uint64_t s, uint64_t s_shoup) {
    if (hkms_kernels_in_doubles(q))
        IN_DOUBLES(hkms_subtract_multiply_scalar_avx2(out, a, b, n, q, s));
    else
        hkms_subtract_multiply_scalar_portable(out, a, b, n, q, s, s_shoup);
}

void hkms_reduce(uint64_t *out, const uint64_t *a, size_t n, const hkms_modulus *m) {
    if (hkms_kernels_in_doubles(m->q))
        IN_DOUBLES(hkms_reduce_avx2(out, a, n, m));
    else
        hkms_reduce_portable(out, a, n, m);
}

void hkms_reduce_centered(uint64_t *out, const uint64_t *a, size_t n, uint64_t from, const hkms_modulus *to) {
    if (hkms_kernels_in_doubles(to->q) && from < (uint64_t)1 << 50)
        IN_DOUBLES(hkms_reduce_centered_avx2(out, a, n, from, to));
    else
        hkms_reduce_centered_portable(out, a, n, from, to);
}

void hkms_permute(uint64_t *out, const uint64_t *in, const uint32_t *index, size_t n) {
    if (in_vectors())
        IN_VECTORS(hkms_permute_avx2(out, in, index, n));
    else
        hkms_permute_portable(out, in, index, n);
}

void hkms_from_signed(uint64_t *out, const int64_t *a, size_t n, const hkms_modulus *m) {
    if (hkms_kernels_in_doubles(m->q))
        IN_DOUBLES(hkms_from_signed_avx2(out, a, n, m));
    else
        hkms_from_signed_portable(out, a, n, m);
}

size_t hkms_mask_and_find_rejected_variable_time(uint64_t *out, const uint64_t *words, size_t n, const hkms_modulus *m,
                                                 uint32_t first, uint32_t *rejected) {
#if defined(__x86_64__)
    if (in_vectors()) return hkms_mask_and_find_rejected_variable_time_avx2(out, words, n, m, first, rejected);
#endif
    return hkms_mask_and_find_rejected_variable_time_portable(out, words, n, m, first, rejected);
}

void hkms_ternary_from_words(uint8_t *packed, const uint64_t *words, size_t n) {
    if (in_vectors())
        IN_VECTORS(hkms_ternary_from_words_avx2(packed, words, n));
    else
        hkms_ternary_from_words_portable(packed, words, n);
}

void hkms_ternary_expand(uint64_t *out, const uint8_t *packed, size_t n, uint64_t q) {
    if (in_vectors())
        IN_VECTORS(hkms_ternary_expand_avx2(out, packed, n, q));
    else
        hkms_ternary_expand_portable(out, packed, n, q);
}

int hkms_ternary_is_valid(const uint8_t *packed, size_t n) { return hkms_ternary_is_valid_portable(packed, n); }

void hkms_gaussian_add(int64_t *sum, const uint64_t *words, size_t n, int64_t factor) {
    if (in_vectors())
        IN_VECTORS(hkms_gaussian_add_avx2(sum, words, n, factor));
    else
        hkms_gaussian_add_portable(sum, words, n, factor);
}

void hkms_cbd21_from_words(int8_t *out, const uint64_t *words, size_t n) {
    if (in_vectors() && n >= 32)
        IN_VECTORS(hkms_cbd21_from_words_avx2(out, words, n));
    else
        hkms_cbd21_from_words_portable(out, words, n);
}

void hkms_small_expand(uint64_t *out, const int8_t *in, size_t n, uint64_t q) {
    if (in_vectors())
        IN_VECTORS(hkms_small_expand_avx2(out, in, n, q));
    else
        hkms_small_expand_portable(out, in, n, q);
}

void hkms_pack_bits(uint8_t *out, const uint64_t *in, size_t n, uint32_t bits) {
    if (in_vectors())
        IN_VECTORS(hkms_pack_bits_avx2(out, in, n, bits));
    else
        hkms_pack_bits_portable(out, in, n, bits);
}

int hkms_unpack_bits(uint64_t *out, const uint8_t *in, size_t n, uint32_t bits, uint64_t q) {
#if defined(__x86_64__)
    if (in_vectors()) return hkms_unpack_bits_avx2(out, in, n, bits, q);
#endif
    return hkms_unpack_bits_portable(out, in, n, bits, q);
}
