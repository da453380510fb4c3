#define _GNU_SOURCE
#include "CSecretMemory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

void hkms_secure_zero(void *pointer, size_t count) {
    if (count == 0) return;
#ifdef __linux__
    explicit_bzero(pointer, count);
#else
    volatile unsigned char *bytes = pointer;
    while (count--) *bytes++ = 0;
#endif
}

__attribute__((noinline)) void hkms_zero_dead_stack(void) {
    unsigned char frames[32 << 10];
    hkms_secure_zero(frames, sizeof frames);
}

int hkms_equal_constant_time(const void *left, const void *right, size_t count) {
    const volatile unsigned char *l = left;
    const volatile unsigned char *r = right;
    unsigned char difference = 0;
    for (size_t i = 0; i < count; i++) difference |= (unsigned char)(l[i] ^ r[i]);
    return (int)(((unsigned)difference - 1u) >> 31);
}

static size_t whole_pages(size_t count) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (count == 0) count = 1;
    return (count + page - 1) / page * page;
}

void *hkms_secret_map(size_t count, int *locked) {
    *locked = 0;
    if (count > SIZE_MAX / 2) return NULL;
    size_t length = whole_pages(count);
    void *pointer = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pointer == MAP_FAILED) return NULL;
#ifdef __linux__
    (void)madvise(pointer, length, MADV_DONTDUMP);
    (void)madvise(pointer, length, MADV_WIPEONFORK);
#endif
    *locked = mlock(pointer, length) == 0;
    return pointer;
}

void hkms_secret_unmap(void *pointer, size_t count) {
    if (pointer == NULL) return;
    size_t length = whole_pages(count);
    hkms_secure_zero(pointer, length);
    (void)munlock(pointer, length);
    (void)munmap(pointer, length);
}

int hkms_random_bytes(void *pointer, size_t count) {
    unsigned char *bytes = pointer;
    while (count > 0) {
        size_t step = count < 256 ? count : 256;  // getentropy gives no more at once
        if (getentropy(bytes, step) != 0) return errno;
        bytes += step;
        count -= step;
    }
    return 0;
}

int hkms_forbid_core_dumps(void) {
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0) return errno;
#ifdef __linux__
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return errno;
#endif
    return 0;
}

uint64_t hkms_locked_memory_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 0;
    return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : (uint64_t)limit.rlim_cur;
}
