#define _GNU_SOURCE
#include "CMemcheck.h"

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

// Valgrind's client requests (valgrind manual, "The Client Request mechanism"): a rotation by 128 bits in four
// parts, and an instruction that changes nothing, which valgrind knows for a request. rax points to six words,
// the first of them the request's number; the answer comes back in rdx.
static uint64_t request(uint64_t number, uint64_t a, uint64_t b) {
    uint64_t answer = 0;
    volatile uint64_t words[6] = {number, a, b, 0, 0, 0};
#if defined(__x86_64__)
    __asm__ volatile("rolq $3, %%rdi; rolq $13, %%rdi; rolq $61, %%rdi; rolq $51, %%rdi; xchgq %%rbx, %%rbx"
                     : "=d"(answer)
                     : "a"(&words[0]), "0"(answer)
                     : "cc", "memory");
#elif defined(__aarch64__)
    __asm__ volatile("mov x3, %1; mov x4, %2; ror x12, x12, #3; ror x12, x12, #13; ror x12, x12, #51;"
                     "ror x12, x12, #61; orr x10, x10, x10; mov %0, x3"
                     : "=r"(answer)
                     : "r"(answer), "r"(&words[0])
                     : "cc", "memory", "x3", "x4");
#endif
    return answer;
}

enum { RUNNING_ON_VALGRIND = 0x1001 };
#define MEMCHECK_REQUEST(n) (((uint64_t)'M' << 24 | (uint64_t)'C' << 16) + (n))

int hkms_memcheck_runs(void) { return request(RUNNING_ON_VALGRIND, 0, 0) != 0; }

void hkms_mark_secret(const void *pointer, size_t count) {
    request(MEMCHECK_REQUEST(1), (uint64_t)(uintptr_t)pointer, count);
}

void hkms_mark_public(const void *pointer, size_t count) {
    request(MEMCHECK_REQUEST(2), (uint64_t)(uintptr_t)pointer, count);
}

int hkms_jumps_on_bytes(const unsigned char *bytes, size_t count) {
    int odd = 0;
    for (size_t i = 0; i < count; i++)
        if (bytes[i] & 1) {
            // The compiler must not turn the jump into arithmetic.
            __asm__ volatile("" : "+r"(odd));
            odd++;
        }
    return odd;
}

// Takes libc's place in the program that links this: all that SecretBytes takes from the system's generator is
// secret from the start.
int getentropy(void *buffer, size_t length) {
    unsigned char *bytes = buffer;
    for (size_t done = 0; done < length;) {
        long got = syscall(SYS_getrandom, bytes + done, length - done, 0);
        if (got < 0 && errno != EINTR) return -1;
        if (got > 0) done += (size_t)got;
    }
    hkms_mark_secret(buffer, length);
    return 0;
}
