// Modular arithmetic of one word, shared by the kernels. Branch-free.
#ifndef HKMS_MODULAR_H
#define HKMS_MODULAR_H

#include <stdint.h>

static inline uint64_t mulhi(uint64_t a, uint64_t b) {
    return (uint64_t)(((unsigned __int128)a * b) >> 64);
}

// a - q if a >= q, else a; a < 2^63.
static inline uint64_t subtract_once(uint64_t a, uint64_t q) {
    uint64_t difference = a - q;
    return difference + (q & (0 - (difference >> 63)));
}

// a * w mod q in [0, 2q), Harvey: a any word, w < q, ws = floor(w * 2^64 / q).
static inline uint64_t shoup_lazy(uint64_t a, uint64_t w, uint64_t ws, uint64_t q) {
    return a * w - mulhi(a, ws) * q;
}

// a * b mod q for a, b < q, Barrett with mu = floor(2^(2*bits) / q): the quotient estimate is at most 2
// too small.
static inline uint64_t barrett(uint64_t a, uint64_t b, uint64_t q, uint64_t mu, uint32_t bits) {
    unsigned __int128 z = (unsigned __int128)a * b;
    uint64_t high = (uint64_t)(z >> (bits - 1));
    uint64_t quotient = (uint64_t)(((unsigned __int128)high * mu) >> (bits + 1));
    uint64_t r = (uint64_t)z - quotient * q;
    return subtract_once(subtract_once(r, q), q);
}

// a * b mod q of public numbers below q. Variable time.
static inline uint64_t multiply_public(uint64_t a, uint64_t b, uint64_t q) {
    return (uint64_t)((unsigned __int128)a * b % q);
}

// A public w in [0, q) as the representative nearest to zero.
static inline double centered_number(uint64_t w, uint64_t q) {
    return (double)((int64_t)w - (int64_t)(q & (0 - (uint64_t)(w > q / 2))));
}

#endif
