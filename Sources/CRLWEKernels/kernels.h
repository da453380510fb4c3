// The kernels behind the dispatching functions: <name>_portable for every machine, <name>_avx2 for x86-64 with AVX2 and
// FMA; those that compute in doubles, for primes below 2^50.
#ifndef HKMS_KERNELS_H
#define HKMS_KERNELS_H

#include "CRLWEKernels.h"

// Rows of one weighted sum in doubles at most.
#define HKMS_MOST_TERMS 64

// 1 if arithmetic modulo q runs in doubles.
int hkms_kernels_in_doubles(uint64_t q);

void hkms_ntt_forward_portable(uint64_t *x, size_t n, uint64_t q, const uint64_t *w, const uint64_t *ws);
void hkms_ntt_inverse_portable(uint64_t *x, size_t n, uint64_t q, const uint64_t *w, const uint64_t *ws,
                               uint64_t n_inverse, uint64_t n_inverse_shoup);
// What a forward transform takes.
typedef struct {
    enum {
        HKMS_SOURCE_WORDS,     // words: canonical residues
        HKMS_SOURCE_SMALL,     // small: signed coefficients
        HKMS_SOURCE_TERNARY,   // packed: ternary coefficients
        HKMS_SOURCE_CENTERED,  // words: residues of `prime`, centered
        HKMS_SOURCE_SUM,       // start + sum of rows[j] * weights[j], count terms
    } kind;
    const uint64_t *words;
    const int8_t *small;
    const uint8_t *packed;
    uint64_t prime;
    const uint64_t *const *rows;
    const uint64_t *weights;
    size_t count;
    uint64_t start;
    uint32_t bits;  // of the words of a sum
} hkms_ntt_source;

// What becomes of the transformed values v.
typedef struct {
    enum {
        HKMS_RESULT_PLAIN,                  // v, in place
        HKMS_RESULT_PLUS_PRODUCT,           // out = a * b + v
        HKMS_RESULT_PLUS_PRODUCT_AND_MORE,  // out = a * b + v + c
        HKMS_RESULT_NEGATED_PLUS_PRODUCT,   // out = -(a * b + v)
        HKMS_RESULT_SCALED_DIFFERENCE,      // out = (c - v) * scalar
    } kind;
    uint64_t *out;
    const uint64_t *a, *b, *c;
    uint64_t scalar;
} hkms_ntt_result;

void hkms_ntt_forward_fused_avx2(uint64_t *work, const hkms_ntt_source *source, const hkms_ntt_result *result,
                                 const hkms_ntt_tables *t);
void hkms_ntt_forward_avx2(uint64_t *x, const hkms_ntt_tables *t);
// x = inverse(in) times s, plus offset: sum_factor is n^-1 s, difference_factor that times the last stage's factor.
void hkms_ntt_inverse_scaled_avx2(uint64_t *x, const uint64_t *in, uint64_t sum_factor, uint64_t difference_factor,
                                  uint64_t offset, const hkms_ntt_tables *t);
void hkms_ntt_inverse_avx2(uint64_t *x, const hkms_ntt_tables *t);

void hkms_add_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q);
void hkms_subtract_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q);
void hkms_negate_portable(uint64_t *out, const uint64_t *a, size_t n, uint64_t q);
void hkms_multiply_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, const hkms_modulus *m);
void hkms_multiply_add_portable(uint64_t *accumulator, const uint64_t *a, const uint64_t *b, size_t n,
                                const hkms_modulus *m);
void hkms_multiply_plus_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, const uint64_t *c, size_t n,
                                 const hkms_modulus *m);
void hkms_negated_multiply_plus_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, const uint64_t *c,
                                         size_t n, const hkms_modulus *m);
void hkms_multiply_accumulate_many_portable(uint64_t *out0, uint64_t *out1, const uint64_t *const *x,
                                            const uint64_t *const *y0, const uint64_t *const *y1, const hkms_modulus *m,
                                            size_t count, size_t n);
void hkms_weighted_sum_portable(uint64_t *out, const uint64_t *const *rows, const uint64_t *weights, size_t count,
                                uint64_t start, const hkms_modulus *m, size_t n);
void hkms_nearest_sum_of_fractions_portable(uint64_t *out, const uint64_t *const *rows, const double *inverses,
                                            size_t count, size_t n);
void hkms_multiply_scalar_portable(uint64_t *out, const uint64_t *a, size_t n, uint64_t q, uint64_t s,
                                   uint64_t s_shoup);
void hkms_multiply_scalar_add_portable(uint64_t *accumulator, const uint64_t *a, size_t n, uint64_t q, uint64_t s,
                                       uint64_t s_shoup);
void hkms_multiply_scalar_offset_portable(uint64_t *out, const uint64_t *a, size_t n, uint64_t q, uint64_t s,
                                          uint64_t s_shoup, uint64_t offset);
void hkms_subtract_multiply_scalar_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q,
                                            uint64_t s, uint64_t s_shoup);
void hkms_reduce_portable(uint64_t *out, const uint64_t *a, size_t n, const hkms_modulus *m);
void hkms_reduce_centered_portable(uint64_t *out, const uint64_t *a, size_t n, uint64_t from, const hkms_modulus *to);
void hkms_permute_portable(uint64_t *out, const uint64_t *in, const uint32_t *index, size_t n);
void hkms_from_signed_portable(uint64_t *out, const int64_t *a, size_t n, const hkms_modulus *m);
size_t hkms_mask_and_find_rejected_variable_time_portable(uint64_t *out, const uint64_t *words, size_t n,
                                                          const hkms_modulus *m, uint32_t first, uint32_t *rejected);
void hkms_ternary_from_words_portable(uint8_t *packed, const uint64_t *words, size_t n);
void hkms_ternary_expand_portable(uint64_t *out, const uint8_t *packed, size_t n, uint64_t q);
int hkms_ternary_is_valid_portable(const uint8_t *packed, size_t n);
void hkms_cbd21_from_words_portable(int8_t *out, const uint64_t *words, size_t n);
void hkms_gaussian_add_portable(int64_t *sum, const uint64_t *words, size_t n, int64_t factor);
void hkms_small_expand_portable(uint64_t *out, const int8_t *in, size_t n, uint64_t q);
void hkms_pack_bits_portable(uint8_t *out, const uint64_t *in, size_t n, uint32_t bits);
int hkms_unpack_bits_portable(uint64_t *out, const uint8_t *in, size_t n, uint32_t bits, uint64_t q);

void hkms_add_avx2(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q);
void hkms_subtract_avx2(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q);
void hkms_negate_avx2(uint64_t *out, const uint64_t *a, size_t n, uint64_t q);
void hkms_multiply_avx2(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, const hkms_modulus *m);
void hkms_multiply_add_avx2(uint64_t *accumulator, const uint64_t *a, const uint64_t *b, size_t n,
                            const hkms_modulus *m);
void hkms_multiply_plus_avx2(uint64_t *out, const uint64_t *a, const uint64_t *b, const uint64_t *c, size_t n,
                             const hkms_modulus *m);
void hkms_negated_multiply_plus_avx2(uint64_t *out, const uint64_t *a, const uint64_t *b, const uint64_t *c, size_t n,
                                     const hkms_modulus *m);
void hkms_multiply_accumulate_many_avx2(uint64_t *out0, uint64_t *out1, const uint64_t *const *x,
                                        const uint64_t *const *y0, const uint64_t *const *y1, const hkms_modulus *m,
                                        size_t count, size_t n);
void hkms_weighted_sum_avx2(uint64_t *out, const uint64_t *const *rows, const uint64_t *weights, size_t count,
                            uint64_t start, const hkms_modulus *m, size_t n);
void hkms_nearest_sum_of_fractions_avx2(uint64_t *out, const uint64_t *const *rows, const double *inverses,
                                        size_t count, size_t n);
void hkms_multiply_scalar_avx2(uint64_t *out, const uint64_t *a, size_t n, uint64_t q, uint64_t s);
void hkms_multiply_scalar_add_avx2(uint64_t *accumulator, const uint64_t *a, size_t n, uint64_t q, uint64_t s);
void hkms_multiply_scalar_offset_avx2(uint64_t *out, const uint64_t *a, size_t n, uint64_t q, uint64_t s,
                                      uint64_t offset);
void hkms_subtract_multiply_scalar_avx2(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q,
                                        uint64_t s);
void hkms_reduce_avx2(uint64_t *out, const uint64_t *a, size_t n, const hkms_modulus *m);
void hkms_reduce_centered_avx2(uint64_t *out, const uint64_t *a, size_t n, uint64_t from, const hkms_modulus *to);
void hkms_permute_avx2(uint64_t *out, const uint64_t *in, const uint32_t *index, size_t n);
void hkms_from_signed_avx2(uint64_t *out, const int64_t *a, size_t n, const hkms_modulus *m);
size_t hkms_mask_and_find_rejected_variable_time_avx2(uint64_t *out, const uint64_t *words, size_t n,
                                                      const hkms_modulus *m, uint32_t first, uint32_t *rejected);
void hkms_ternary_from_words_avx2(uint8_t *packed, const uint64_t *words, size_t n);
void hkms_ternary_expand_avx2(uint64_t *out, const uint8_t *packed, size_t n, uint64_t q);
void hkms_cbd21_from_words_avx2(int8_t *out, const uint64_t *words, size_t n);
void hkms_gaussian_add_avx2(int64_t *sum, const uint64_t *words, size_t n, int64_t factor);
void hkms_small_expand_avx2(uint64_t *out, const int8_t *in, size_t n, uint64_t q);
void hkms_pack_bits_avx2(uint8_t *out, const uint64_t *in, size_t n, uint32_t bits);
int hkms_unpack_bits_avx2(uint64_t *out, const uint8_t *in, size_t n, uint32_t bits, uint64_t q);

#endif
