#include "kernels.h"

#include <string.h>

void hkms_pack_bits_portable(uint8_t *out, const uint64_t *in, size_t n, uint32_t bits) {
    unsigned __int128 buffer = 0;
    uint32_t filled = 0;
    for (size_t i = 0; i < n; i++) {
        buffer |= (unsigned __int128)in[i] << filled;
        filled += bits;
        while (filled >= 8) {
            *out++ = (uint8_t)buffer;
            buffer >>= 8;
            filled -= 8;
        }
    }
}

int hkms_unpack_bits_portable(uint64_t *out, const uint8_t *in, size_t n, uint32_t bits, uint64_t q) {
    const uint64_t mask = ((uint64_t)1 << bits) - 1;
    unsigned __int128 buffer = 0;
    uint32_t filled = 0;
    uint64_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        while (filled < bits) {
            buffer |= (unsigned __int128)*in++ << filled;
            filled += 8;
        }
        uint64_t value = (uint64_t)buffer & mask;
        buffer >>= bits;
        filled -= bits;
        bad |= (uint64_t)(value >= q);
        out[i] = value;
    }
    return bad == 0;
}
