#include "CRLWEKernels.h"

// Mixed-radix digits back to numbers. Works on decrypted values on their way out, not constant-time in them.

void hkms_center_digits_variable_time(double *out, uint64_t *negative, const uint64_t *d0, const uint64_t *d1,
                                      const uint64_t *d2, size_t n, uint64_t q0, uint64_t q1, uint64_t q2) {
    const unsigned __int128 q01 = (unsigned __int128)q0 * (d1 ? q1 : 1);
    const unsigned __int128 product = q01 * (d2 ? q2 : 1), half = product >> 1;
    for (size_t i = 0; i < n; i++) {
        unsigned __int128 x = d0[i];
        if (d1) x += (unsigned __int128)d1[i] * q0;
        if (d2) x += q01 * d2[i];
        const int above = x > half;
        negative[i] = above ? ~(uint64_t)0 : 0;
        out[i] = (double)(__int128)(above ? x - product : x);
    }
}

int hkms_equals_centered_variable_time(const uint64_t *residues, const uint64_t *words, const uint64_t *negative,
                                       size_t n, uint64_t product, uint64_t q) {
    uint64_t differs = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t x = words[i] + (negative[i] & (q - product));
        x -= x >= q ? q : 0;
        differs |= x ^ residues[i];
    }
    return differs == 0;
}
