// What a transform modulo one prime needs, for the kernels that were selected when it was made.
#ifndef HKMS_NTT_TABLES_H
#define HKMS_NTT_TABLES_H

#include "CRLWEKernels.h"

#define HKMS_NTT_PASSES 16
#define HKMS_CACHED_DOUBLES 2048  // 16 KiB: half of a first-level cache; the rest is for factors

typedef struct {
    uint8_t log_radix;  // 1 or 2
    uint8_t reduce;     // whether sums that grow are reduced in this pass
    size_t offset;      // where the pass's factors begin
} hkms_ntt_pass;

struct hkms_ntt_tables {
    size_t n;
    uint64_t q;
    hkms_modulus modulus;
    int in_doubles;

    // Portable: powers of psi (or its inverse) in bit-reversed order, and Shoup quotients.
    uint64_t *forward, *forward_quotients, *inverse, *inverse_quotients;
    uint64_t n_inverse, n_inverse_shoup;
    uint64_t n_inverse_root;  // n^-1 times the factor of the inverse's last stage

    // AVX2: passes from the whole row down to pairs of neighbours, the last of radix 4. A factor is a pair (w, w / q)
    // with w in (-q/2, q/2). A node of radix 2 has one pair, of radix 4 three: the tree's, top down. The last pass has
    // four nodes in 24 doubles, three times four factors w and their four quotients: of the nodes, of what is below the
    // first two, of what is below the others.
    int forward_passes, inverse_passes;
    int forward_small;  // whether what the forward passes leave is below 2^51 in magnitude
    hkms_ntt_pass forward_pass[HKMS_NTT_PASSES], inverse_pass[HKMS_NTT_PASSES];
    double *forward_factors, *inverse_factors;
};

// hkms_ntt_tables_create in round-to-nearest.
hkms_ntt_tables *hkms_ntt_tables_make(size_t n, const hkms_modulus *modulus, uint64_t psi);

#endif
