// Calls of the kernels that were selected.
#ifndef HKMS_DISPATCH_H
#define HKMS_DISPATCH_H

#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// A call of an AVX2 kernel, or of nothing where there are none. Kernels in doubles need round-to-nearest, no flushing
// of subnormals and no traps, whatever the caller has set: it gets its own back. The kernels are in other files, so
// that the compiler moves none of their arithmetic across.
#if defined(__x86_64__)
#define IN_DOUBLES(call)                \
    do {                                \
        unsigned control = _mm_getcsr(); \
        _mm_setcsr(0x1F80);             \
        call;                           \
        _mm_setcsr(control);            \
    } while (0)
#define IN_VECTORS(call) call
#else
#define IN_DOUBLES(call) (void)0
#define IN_VECTORS(call) (void)0
#endif

// A call on any machine, whose result is that of round-to-nearest.
#if defined(__x86_64__)
#define IN_ROUND_TO_NEAREST(call) IN_DOUBLES(call)
#else
#define IN_ROUND_TO_NEAREST(call) call
#endif

#endif
