#include "CRLWEKernels.h"
#include "kernels.h"
#include "modular.h"

// David Harvey, "Faster arithmetic for number-theoretic transforms" (2014): values stay in [0, 4q)
// going forward and in [0, 2q) going back, so that a butterfly has one correction.
//
// Longa and Naehrig, "Speeding up the Number Theoretic Transform" (2016), for the merged twist by psi.

void hkms_ntt_forward_portable(uint64_t *x, size_t n, uint64_t q, const uint64_t *w, const uint64_t *ws) {
    const uint64_t two_q = 2 * q;
    for (size_t m = 1, t = n >> 1; m < n; m <<= 1, t >>= 1) {
        for (size_t i = 0; i < m; i++) {
            const uint64_t twiddle = w[m + i], quotient = ws[m + i];
            uint64_t *low = x + 2 * i * t;
            uint64_t *high = low + t;
            for (size_t j = 0; j < t; j++) {
                uint64_t u = subtract_once(low[j], two_q);
                uint64_t v = shoup_lazy(high[j], twiddle, quotient, q);
                low[j] = u + v;
                high[j] = u + two_q - v;
            }
        }
    }
    for (size_t j = 0; j < n; j++) x[j] = subtract_once(subtract_once(x[j], two_q), q);
}

void hkms_ntt_inverse_portable(uint64_t *x, size_t n, uint64_t q, const uint64_t *w, const uint64_t *ws,
                      uint64_t n_inverse, uint64_t n_inverse_shoup) {
    const uint64_t two_q = 2 * q;
    for (size_t m = n >> 1, t = 1; m >= 1; m >>= 1, t <<= 1) {
        for (size_t i = 0; i < m; i++) {
            const uint64_t twiddle = w[m + i], quotient = ws[m + i];
            uint64_t *low = x + 2 * i * t;
            uint64_t *high = low + t;
            for (size_t j = 0; j < t; j++) {
                uint64_t u = low[j], v = high[j];
                low[j] = subtract_once(u + v, two_q);
                high[j] = shoup_lazy(u + two_q - v, twiddle, quotient, q);
            }
        }
    }
    for (size_t j = 0; j < n; j++) x[j] = subtract_once(shoup_lazy(x[j], n_inverse, n_inverse_shoup, q), q);
}
