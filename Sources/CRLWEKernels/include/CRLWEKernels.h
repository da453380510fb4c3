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

// In-place negacyclic NTT. w[i], i in 1..<n, is psi^bitrev(i) over log2(n) bits, ws its Shoup
// quotients. Position j of the output holds the value at psi^(2*bitrev(j)+1).
void hkms_ntt_forward(uint64_t *x, size_t n, uint64_t q, const uint64_t *w, const uint64_t *ws);
// The inverse: w[i] is psi^-bitrev(i); n_inverse is n^-1 mod q with its Shoup quotient.
void hkms_ntt_inverse(uint64_t *x, size_t n, uint64_t q, const uint64_t *w, const uint64_t *ws,
                      uint64_t n_inverse, uint64_t n_inverse_shoup);

void hkms_add(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q);
void hkms_subtract(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q);
void hkms_negate(uint64_t *out, const uint64_t *a, size_t n, uint64_t q);
void hkms_multiply(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, const hkms_modulus *m);
// accumulator += a * b
void hkms_multiply_add(uint64_t *accumulator, const uint64_t *a, const uint64_t *b, size_t n,
                       const hkms_modulus *m);
// out = a * s; a may hold any 64-bit words.
void hkms_multiply_scalar(uint64_t *out, const uint64_t *a, size_t n, uint64_t q, uint64_t s, uint64_t s_shoup);
// accumulator += a * s; a may hold any 64-bit words.
void hkms_multiply_scalar_add(uint64_t *accumulator, const uint64_t *a, size_t n, uint64_t q, uint64_t s,
                              uint64_t s_shoup);
// out = a mod q for any 64-bit words.
void hkms_reduce(uint64_t *out, const uint64_t *a, size_t n, const hkms_modulus *m);
// out = the representative of a (mod from) in (-from/2, from/2], modulo to.
void hkms_reduce_centered(uint64_t *out, const uint64_t *a, size_t n, uint64_t from, const hkms_modulus *to);
// out[i] = in[index[i]]; the indices are public.
void hkms_permute(uint64_t *out, const uint64_t *in, const uint32_t *index, size_t n);
// out = a mod q for any signed words.
void hkms_from_signed(uint64_t *out, const int64_t *a, size_t n, const hkms_modulus *m);

// Uniform residues from n keystream words already in `words` (masked to the modulus' bits).
// Returns how many of them are q or more; their positions, ascending, go to `rejected` (n entries).
// Public data only.
size_t hkms_mask_and_find_rejected_variable_time(uint64_t *words, size_t n, const hkms_modulus *m,
                                                 uint32_t *rejected);

// Ternary coefficients from keystream words, packed as s + 1 in two bits each, coefficient 0 in the
// low bits of byte 0: n / 4 bytes.
void hkms_ternary_from_words(uint8_t *packed, const uint64_t *words, size_t n);
// Residues of packed ternary coefficients.
void hkms_ternary_expand(uint64_t *out, const uint8_t *packed, size_t n, uint64_t q);
// 1 if every pair of bits is 0, 1 or 2.
int hkms_ternary_is_valid(const uint8_t *packed, size_t n);
// Centered binomial noise, 21 + 21 bits of each word, variance 10.5.
void hkms_cbd21_from_words(int8_t *out, const uint64_t *words, size_t n);
// Residues of small signed coefficients.
void hkms_small_expand(uint64_t *out, const int8_t *in, size_t n, uint64_t q);

// Residues of `bits` bits each, least significant first, into ceil(n * bits / 8) bytes; n * bits is a
// multiple of 8.
void hkms_pack_bits(uint8_t *out, const uint64_t *in, size_t n, uint32_t bits);
// The inverse. Returns 1 if every value is below q, else 0.
int hkms_unpack_bits(uint64_t *out, const uint8_t *in, size_t n, uint32_t bits, uint64_t q);

#endif
