// The hot loops of HKMS: number-theoretic transforms, modular vectors, samplers, bit packing.
//
// Conventions. n is a power of two, at least 8. q is a prime below 2^60. Residues are canonical, in
// [0, q), on entry and exit unless said otherwise. "Shoup quotient" of s modulo q is
// floor(s * 2^64 / q). Arrays do not overlap unless they are the same array. No function branches on
// or indexes by the contents of its arrays, except those whose name ends in _variable_time.
#ifndef HKMS_RLWE_KERNELS_H
#define HKMS_RLWE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

// Barrett constants of a modulus q of `bits` bits: mu = floor(2^(2*bits) / q).
typedef struct {
    uint64_t q;
    uint64_t mu;
    uint64_t reciprocal;  // floor(2^64 / q)
    uint32_t bits;
} hkms_modulus;

// Which kernels run: "avx2" or "portable", the same results either way. The first call of any function decides: the
// best of the machine, or the portable ones where the environment has HKMS_KERNELS=portable.
const char *hkms_kernels_name(void);
// For tests: the portable kernels, or the best again. Not while other threads compute.
void hkms_kernels_select(int portable);

// What the transforms modulo one prime need.
typedef struct hkms_ntt_tables hkms_ntt_tables;

// Tables for n a power of two from 8, a prime that is 1 modulo 2n, and psi, a primitive 2n-th root of unity. They serve
// the kernels that are selected at this call. NULL where there is no memory.
hkms_ntt_tables *hkms_ntt_tables_create(size_t n, const hkms_modulus *modulus, uint64_t psi);
void hkms_ntt_tables_destroy(hkms_ntt_tables *tables);

// In-place negacyclic NTT of n residues. Position j of the output holds the value at psi^(2*bitrev(j)+1).
void hkms_ntt_forward(uint64_t *x, const hkms_ntt_tables *tables);
void hkms_ntt_inverse(uint64_t *x, const hkms_ntt_tables *tables);

// Transforms of values that are made on the way: hkms_small_expand, hkms_ternary_expand, hkms_reduce_centered or
// hkms_weighted_sum, and then hkms_ntt_forward.
void hkms_ntt_forward_small(uint64_t *out, const int8_t *in, const hkms_ntt_tables *tables);
void hkms_ntt_forward_ternary(uint64_t *out, const uint8_t *packed, const hkms_ntt_tables *tables);
void hkms_ntt_forward_centered(uint64_t *out, const uint64_t *in, uint64_t from, const hkms_ntt_tables *tables);
void hkms_ntt_forward_weighted_sum(uint64_t *out, const uint64_t *const *rows, const uint64_t *weights, size_t count,
                                   uint64_t start, uint32_t source_bits, const hkms_ntt_tables *tables);

// The same, and on with the transform v. `work` has n words and is left with what was on the way: as secret as the
// input. It may be `out`, but no other argument.
//
// out = a * b + v + c: encryption. c may be NULL. out may be a or b.
void hkms_ntt_small_plus_product(uint64_t *out, uint64_t *work, const int8_t *in, const uint64_t *a, const uint64_t *b,
                                 const uint64_t *c, const hkms_ntt_tables *tables);
// out = -(a * b + v): a key's masked half. out may be a.
void hkms_ntt_small_negated_plus_product(uint64_t *out, uint64_t *work, const int8_t *in, const uint64_t *a,
                                         const uint64_t *b, const hkms_ntt_tables *tables);
// out = (x - v) * s: division by one prime or by several, s their inverse. out may be x.
void hkms_ntt_centered_scaled_difference(uint64_t *out, uint64_t *work, const uint64_t *x, const uint64_t *in,
                                         uint64_t from, uint64_t s, const hkms_ntt_tables *tables);
void hkms_ntt_weighted_sum_scaled_difference(uint64_t *out, uint64_t *work, const uint64_t *x,
                                             const uint64_t *const *rows, const uint64_t *weights, size_t count,
                                             uint64_t start, uint32_t source_bits, uint64_t s,
                                             const hkms_ntt_tables *tables);
// out = inverse(in) * s + offset: a base conversion's first half; s = 1 and offset = 0 for the inverse elsewhere.
void hkms_ntt_inverse_scaled(uint64_t *out, const uint64_t *in, uint64_t s, uint64_t offset,
                             const hkms_ntt_tables *tables);

void hkms_add(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q);
void hkms_subtract(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q);
void hkms_negate(uint64_t *out, const uint64_t *a, size_t n, uint64_t q);
void hkms_multiply(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, const hkms_modulus *m);
// accumulator += a * b
void hkms_multiply_add(uint64_t *accumulator, const uint64_t *a, const uint64_t *b, size_t n,
                       const hkms_modulus *m);
// out = a * b + c
void hkms_multiply_plus(uint64_t *out, const uint64_t *a, const uint64_t *b, const uint64_t *c, size_t n,
                        const hkms_modulus *m);
// out = -(a * b + c)
void hkms_negated_multiply_plus(uint64_t *out, const uint64_t *a, const uint64_t *b, const uint64_t *c, size_t n,
                                const hkms_modulus *m);
// out0 = sum of x[j] * y0[j], out1 = sum of x[j] * y1[j], over `count` rows; one reduction for seven products.
void hkms_multiply_accumulate_many(uint64_t *out0, uint64_t *out1, const uint64_t *const *x, const uint64_t *const *y0,
                                   const uint64_t *const *y1, const hkms_modulus *m, size_t count, size_t n);
// out = start + sum of rows[j] * weights[j] modulo m, over `count` rows of residues below 2^source_bits <= 2^60, that
// need not be below m's prime; start and weights are.
void hkms_weighted_sum(uint64_t *out, const uint64_t *const *rows, const uint64_t *weights, size_t count,
                       uint64_t start, const hkms_modulus *m, uint32_t source_bits, size_t n);
// out = the sum of rows[j] / q_j, to the nearest integer, over `count` <= 64 rows of residues below 2^source_bits <=
// 2^60; inverses[j] is 1 / q_j, both rounded to double. What is rounded is off by less than count (count + 9) 2^-54.
void hkms_nearest_sum_of_fractions(uint64_t *out, const uint64_t *const *rows, const double *inverses, size_t count,
                                   uint32_t source_bits, size_t n);
// out = a * s; a may hold any 64-bit words.
void hkms_multiply_scalar(uint64_t *out, const uint64_t *a, size_t n, uint64_t q, uint64_t s, uint64_t s_shoup);
// accumulator += a * s; a may hold any 64-bit words.
void hkms_multiply_scalar_add(uint64_t *accumulator, const uint64_t *a, size_t n, uint64_t q, uint64_t s,
                              uint64_t s_shoup);
// out = a * s + offset
void hkms_multiply_scalar_offset(uint64_t *out, const uint64_t *a, size_t n, uint64_t q, uint64_t s, uint64_t s_shoup,
                                 uint64_t offset);
// out = (a - b) * s
void hkms_subtract_multiply_scalar(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q,
                                   uint64_t s, uint64_t s_shoup);
// out = a mod q for any 64-bit words.
void hkms_reduce(uint64_t *out, const uint64_t *a, size_t n, const hkms_modulus *m);
// out = the representative of a (mod from) in (-from/2, from/2], modulo to.
void hkms_reduce_centered(uint64_t *out, const uint64_t *a, size_t n, uint64_t from, const hkms_modulus *to);
// out[i] = in[index[i]]; the indices are public, and those of each aligned group of four lie in one such group, as a
// Galois automorphism's do in the order of the transform: neighbours differ in the exponent's upper bits.
void hkms_permute(uint64_t *out, const uint64_t *in, const uint32_t *index, size_t n);
// out = a mod q for any signed words.
void hkms_from_signed(uint64_t *out, const int64_t *a, size_t n, const hkms_modulus *m);

// Uniform residues from n keystream words, masked to the modulus' bits; `out` may be `words`.
// Returns how many of them are q or more; their positions, ascending and counted from `first`, go to `rejected`
// (n entries). Public data only.
size_t hkms_mask_and_find_rejected_variable_time(uint64_t *out, const uint64_t *words, size_t n, const hkms_modulus *m,
                                                 uint32_t first, uint32_t *rejected);

// Ternary coefficients from keystream words, packed as s + 1 in two bits each, coefficient 0 in the
// low bits of byte 0: n / 4 bytes.
void hkms_ternary_from_words(uint8_t *packed, const uint64_t *words, size_t n);
// Residues of packed ternary coefficients.
void hkms_ternary_expand(uint64_t *out, const uint8_t *packed, size_t n, uint64_t q);
// 1 if every pair of bits is 0, 1 or 2.
int hkms_ternary_is_valid(const uint8_t *packed, size_t n);
// Centered binomial noise, 21 + 21 bits of each word, variance 10.5.
void hkms_cbd21_from_words(int8_t *out, const uint64_t *words, size_t n);
// sum += factor times samples of the discrete Gaussian over the integers of deviation 8, but for a statistical distance
// of 2^-120 a sample: n of them from 2n words. Samples are at most 104 in magnitude; sums wrap. n is a multiple of 4.
void hkms_gaussian_add(int64_t *sum, const uint64_t *words, size_t n, int64_t factor);
// Residues of small signed coefficients.
void hkms_small_expand(uint64_t *out, const int8_t *in, size_t n, uint64_t q);

// Residues of `bits` bits each, least significant first, into ceil(n * bits / 8) bytes; n * bits is a
// multiple of 8.
void hkms_pack_bits(uint8_t *out, const uint64_t *in, size_t n, uint32_t bits);
// The inverse. Returns 1 if every value is below q, else 0.
int hkms_unpack_bits(uint64_t *out, const uint8_t *in, size_t n, uint32_t bits, uint64_t q);

// Discrete Fourier transforms of n complex numbers, exponent +2 pi i / n, from or to bit-reversed order; the other sign
// is had by changing re for im. cosines[h + k] and sines[h + k], k < h: exp(i pi k / h) for h = 1, 2, 4 ... n / 2. Bits
// are the same on every machine with IEEE arithmetic.
void hkms_dft_from_reversed(double *re, double *im, size_t n, const double *cosines, const double *sines);
void hkms_dft_to_reversed(double *re, double *im, size_t n, const double *cosines, const double *sines);
// (re + i im) times (cosines + i sines) times factor
void hkms_twist(double *re, double *im, size_t n, const double *cosines, const double *sines, double factor);
// The largest magnitude, infinity among them; NaN if there is one.
double hkms_largest_magnitude_variable_time(const double *values, size_t n);
// values * factor, rounded to the nearest integer, halves away from zero; their magnitude is below 2^63.
void hkms_round_to_signed(int64_t *out, const double *values, size_t n, double factor);

// out = d0 + d1 q0 + d2 q0 q1, less q0 q1 q2 where that is nearer to zero, rounded once; negative: all ones there, else
// zero. d2, or d1 and d2, may be null; the product of those primes is below 2^126.
void hkms_center_digits_variable_time(double *out, uint64_t *negative, const uint64_t *d0, const uint64_t *d1,
                                      const uint64_t *d2, size_t n, uint64_t q0, uint64_t q1, uint64_t q2);
// 1 if every residue is the word, less `product` (below q) where `negative`, modulo q.
int hkms_equals_centered_variable_time(const uint64_t *residues, const uint64_t *words, const uint64_t *negative,
                                       size_t n, uint64_t product, uint64_t q);

#endif
