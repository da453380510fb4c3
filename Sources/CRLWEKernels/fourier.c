#include <math.h>

#include "dispatch.h"

// Without contraction and without reassociation IEEE arithmetic gives one result: the vector build of these loops has
// the same bits as the portable one.
#pragma STDC FP_CONTRACT OFF

#if defined(__x86_64__)
#define HKMS_AVX2 __attribute__((target("avx2")))
#endif
#define ALWAYS_INLINE static inline __attribute__((always_inline))

// Cooley and Tukey's two orders of the same network. Two levels at a time, so that memory is passed half as often: the
// twiddles of the upper level are w and i w.
//
// cosines[h + k], sines[h + k] for k < h: exp(i pi k / h), for h = 1, 2, 4 ... n / 2.

ALWAYS_INLINE void gather_levels(double *restrict re, double *restrict im, size_t n, const double *cosines,
                                 const double *sines) {
    size_t half = 1;
    if (__builtin_ctzll(n) & 1) {
        for (size_t i = 0; i < n; i += 2) {
            double x = re[i + 1], y = im[i + 1];
            re[i + 1] = re[i] - x;
            im[i + 1] = im[i] - y;
            re[i] += x;
            im[i] += y;
        }
        half = 2;
    }
    for (; half < n; half *= 4) {
        const double *c1 = cosines + half, *s1 = sines + half, *c2 = cosines + 2 * half, *s2 = sines + 2 * half;
        for (size_t start = 0; start < n; start += 4 * half) {
            double *restrict r0 = re + start, *restrict r1 = r0 + half, *restrict r2 = r1 + half,
                             *restrict r3 = r2 + half;
            double *restrict i0 = im + start, *restrict i1 = i0 + half, *restrict i2 = i1 + half,
                             *restrict i3 = i2 + half;
            for (size_t k = 0; k < half; k++) {
                double c = c1[k], s = s1[k], d = c2[k], t = s2[k];
                double x1 = r1[k] * c - i1[k] * s, y1 = r1[k] * s + i1[k] * c;
                double x3 = r3[k] * c - i3[k] * s, y3 = r3[k] * s + i3[k] * c;
                double a0 = r0[k] + x1, b0 = i0[k] + y1, a1 = r0[k] - x1, b1 = i0[k] - y1;
                double a2 = r2[k] + x3, b2 = i2[k] + y3, a3 = r2[k] - x3, b3 = i2[k] - y3;
                double x2 = a2 * d - b2 * t, y2 = a2 * t + b2 * d;
                double u = a3 * d - b3 * t, v = a3 * t + b3 * d;
                r0[k] = a0 + x2;
                i0[k] = b0 + y2;
                r2[k] = a0 - x2;
                i2[k] = b0 - y2;
                // times i
                r1[k] = a1 - v;
                i1[k] = b1 + u;
                r3[k] = a1 + v;
                i3[k] = b1 - u;
            }
        }
    }
}

ALWAYS_INLINE void spread_levels(double *restrict re, double *restrict im, size_t n, const double *cosines,
                                 const double *sines) {
    size_t half = n / 4;
    for (; half >= 1; half /= 4) {
        const double *c1 = cosines + half, *s1 = sines + half, *c2 = cosines + 2 * half, *s2 = sines + 2 * half;
        for (size_t start = 0; start < n; start += 4 * half) {
            double *restrict r0 = re + start, *restrict r1 = r0 + half, *restrict r2 = r1 + half,
                             *restrict r3 = r2 + half;
            double *restrict i0 = im + start, *restrict i1 = i0 + half, *restrict i2 = i1 + half,
                             *restrict i3 = i2 + half;
            for (size_t k = 0; k < half; k++) {
                double c = c1[k], s = s1[k], d = c2[k], t = s2[k];
                double a0 = r0[k] + r2[k], b0 = i0[k] + i2[k], p = r0[k] - r2[k], q = i0[k] - i2[k];
                double a1 = r1[k] + r3[k], b1 = i1[k] + i3[k], u = r1[k] - r3[k], v = i1[k] - i3[k];
                double a2 = p * d - q * t, b2 = p * t + q * d;
                // times i
                double a3 = -(u * t + v * d), b3 = u * d - v * t;
                double x1 = a0 - a1, y1 = b0 - b1, x3 = a2 - a3, y3 = b2 - b3;
                r0[k] = a0 + a1;
                i0[k] = b0 + b1;
                r1[k] = x1 * c - y1 * s;
                i1[k] = x1 * s + y1 * c;
                r2[k] = a2 + a3;
                i2[k] = b2 + b3;
                r3[k] = x3 * c - y3 * s;
                i3[k] = x3 * s + y3 * c;
            }
        }
    }
    if (__builtin_ctzll(n) & 1) {
        for (size_t i = 0; i < n; i += 2) {
            double x = re[i + 1], y = im[i + 1];
            re[i + 1] = re[i] - x;
            im[i + 1] = im[i] - y;
            re[i] += x;
            im[i] += y;
        }
    }
}

ALWAYS_INLINE void twist(double *re, double *im, size_t n, const double *cosines, const double *sines, double factor) {
    for (size_t k = 0; k < n; k++) {
        double x = re[k], y = im[k], c = cosines[k], s = sines[k];
        re[k] = (x * c - y * s) * factor;
        im[k] = (x * s + y * c) * factor;
    }
}

#define KERNEL __attribute__((noinline)) static

KERNEL void gather_portable(double *re, double *im, size_t n, const double *cosines, const double *sines) {
    gather_levels(re, im, n, cosines, sines);
}
KERNEL void spread_portable(double *re, double *im, size_t n, const double *cosines, const double *sines) {
    spread_levels(re, im, n, cosines, sines);
}
KERNEL void twist_portable(double *re, double *im, size_t n, const double *cosines, const double *sines,
                           double factor) {
    twist(re, im, n, cosines, sines, factor);
}
KERNEL void round_portable(int64_t *out, const double *values, size_t n, double factor) {
    // Half away from zero: the largest number below a half cannot carry a smaller fraction to the next integer.
    const double almost_half = 0x1.fffffffffffffp-2;
    for (size_t i = 0; i < n; i++) {
        double scaled = values[i] * factor;
        out[i] = (int64_t)(scaled + copysign(almost_half, scaled));
    }
}

#ifdef HKMS_AVX2
HKMS_AVX2 KERNEL void gather_avx2(double *re, double *im, size_t n, const double *cosines, const double *sines) {
    gather_levels(re, im, n, cosines, sines);
}
HKMS_AVX2 KERNEL void spread_avx2(double *re, double *im, size_t n, const double *cosines, const double *sines) {
    spread_levels(re, im, n, cosines, sines);
}
HKMS_AVX2 KERNEL void twist_avx2(double *re, double *im, size_t n, const double *cosines, const double *sines,
                                 double factor) {
    twist(re, im, n, cosines, sines, factor);
}
#define BEST(name, ...) (hkms_kernels_in_doubles(0) ? name##_avx2(__VA_ARGS__) : name##_portable(__VA_ARGS__))
#else
#define BEST(name, ...) name##_portable(__VA_ARGS__)
#endif

void hkms_dft_from_reversed(double *re, double *im, size_t n, const double *cosines, const double *sines) {
    IN_ROUND_TO_NEAREST(BEST(gather, re, im, n, cosines, sines));
}

void hkms_dft_to_reversed(double *re, double *im, size_t n, const double *cosines, const double *sines) {
    IN_ROUND_TO_NEAREST(BEST(spread, re, im, n, cosines, sines));
}

void hkms_twist(double *re, double *im, size_t n, const double *cosines, const double *sines, double factor) {
    IN_ROUND_TO_NEAREST(BEST(twist, re, im, n, cosines, sines, factor));
}

void hkms_round_to_signed(int64_t *out, const double *values, size_t n, double factor) {
    IN_ROUND_TO_NEAREST(round_portable(out, values, n, factor));
}

double hkms_largest_magnitude_variable_time(const double *values, size_t n) {
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        double magnitude = fabs(values[i]);
        // Not max(): a NaN must come out.
        largest = magnitude <= largest ? largest : magnitude;
        if (magnitude != magnitude) return magnitude;
    }
    return largest;
}
