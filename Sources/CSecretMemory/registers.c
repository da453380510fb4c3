#include "CSecretMemory.h"

// Copies and kernels leave what they moved last in vector registers. From there the dynamic linker writes it to the
// stack when it looks a function up at its first call, and the kernel when it delivers a signal. No caller keeps
// anything in these registers over a call (System V x86-64; AAPCS64 but for the low halves of v8 to v15, which are left).

#if defined(__x86_64__)

#define CLEAR(n) "vpxord %%zmm" #n ", %%zmm" #n ", %%zmm" #n "\n\t"

__attribute__((target("avx512f"))) static void clear_avx512(void) {
    // The first 16 by vzeroall.
    __asm__ volatile(CLEAR(16) CLEAR(17) CLEAR(18) CLEAR(19) CLEAR(20) CLEAR(21) CLEAR(22) CLEAR(23) CLEAR(24)
                         CLEAR(25) CLEAR(26) CLEAR(27) CLEAR(28) CLEAR(29) CLEAR(30) CLEAR(31) "vzeroall" ::
                             : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                               "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19",
                               "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28",
                               "xmm29", "xmm30", "xmm31");
}

__attribute__((target("avx"))) static void clear_avx(void) {
    __asm__ volatile("vzeroall" ::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                           "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

#define CLEAR_SSE(n) "pxor %%xmm" #n ", %%xmm" #n "\n\t"

static void clear_sse(void) {
    __asm__ volatile(CLEAR_SSE(0) CLEAR_SSE(1) CLEAR_SSE(2) CLEAR_SSE(3) CLEAR_SSE(4) CLEAR_SSE(5) CLEAR_SSE(6)
                         CLEAR_SSE(7) CLEAR_SSE(8) CLEAR_SSE(9) CLEAR_SSE(10) CLEAR_SSE(11) CLEAR_SSE(12) CLEAR_SSE(13)
                             CLEAR_SSE(14) CLEAR_SSE(15)::
                             : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                               "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

void hkms_clear_registers(void) {
    if (__builtin_cpu_supports("avx512f")) {
        clear_avx512();
    } else if (__builtin_cpu_supports("avx")) {
        clear_avx();
    } else {
        clear_sse();
    }
}

#elif defined(__aarch64__)

#define CLEAR(n) "movi v" #n ".2d, #0\n\t"

void hkms_clear_registers(void) {
    __asm__ volatile(CLEAR(0) CLEAR(1) CLEAR(2) CLEAR(3) CLEAR(4) CLEAR(5) CLEAR(6) CLEAR(7) CLEAR(16) CLEAR(17)
                         CLEAR(18) CLEAR(19) CLEAR(20) CLEAR(21) CLEAR(22) CLEAR(23) CLEAR(24) CLEAR(25) CLEAR(26)
                             CLEAR(27) CLEAR(28) CLEAR(29) CLEAR(30) CLEAR(31)::
                                 : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19", "v20",
                                   "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");
}

#else

void hkms_clear_registers(void) {}

#endif
