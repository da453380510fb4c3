#define _GNU_SOURCE
#include "CSecretMemory.h"

#include <errno.h>
#include <pthread.h>
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
    hkms_clear_registers();
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

// Mappings that were given back, zeroed and still locked, the oldest first: an operation on keys takes a dozen of a few
// sizes, and seven system calls for each would be most of its time.
enum { KEPT = 64 };
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t at_fork = PTHREAD_ONCE_INIT;
static struct {
    void *pointer;
    size_t length;
} kept[KEPT];
static size_t kept_count, kept_bytes, kept_limit = (size_t)4 << 20;

static void remove_kept(size_t index) {
    kept_bytes -= kept[index].length;
    kept_count--;
    memmove(&kept[index], &kept[index + 1], (kept_count - index) * sizeof kept[0]);
}

static void release_oldest(void) {
    (void)munlock(kept[0].pointer, kept[0].length);
    (void)munmap(kept[0].pointer, kept[0].length);
    remove_kept(0);
}

// A forked child has the pages, zeroed, but not their locks, and perhaps a mutex that nobody will open.
static void forget_in_child(void) {
    kept_count = kept_bytes = 0;
    (void)pthread_mutex_init(&kept_lock, NULL);
}

static void watch_forks(void) { (void)pthread_atfork(NULL, NULL, forget_in_child); }

static void *take_kept(size_t length) {
    void *pointer = NULL;
    (void)pthread_mutex_lock(&kept_lock);
    for (size_t i = kept_count; i-- > 0 && pointer == NULL;)
        if (kept[i].length == length) {
            pointer = kept[i].pointer;
            remove_kept(i);
        }
    (void)pthread_mutex_unlock(&kept_lock);
    return pointer;
}

static int keep(void *pointer, size_t length) {
    (void)pthread_mutex_lock(&kept_lock);
    const int fits = length <= kept_limit / 4;
    if (fits) {
        while (kept_count == KEPT || kept_bytes + length > kept_limit) release_oldest();
        kept[kept_count].pointer = pointer;
        kept[kept_count++].length = length;
        kept_bytes += length;
    }
    (void)pthread_mutex_unlock(&kept_lock);
    return fits;
}

// What is kept counts against the limit of locked memory: a process that has met it keeps nothing from then on.
static void stop_keeping(void) {
    (void)pthread_mutex_lock(&kept_lock);
    kept_limit = 0;
    while (kept_count > 0) release_oldest();
    (void)pthread_mutex_unlock(&kept_lock);
}

void *hkms_secret_map(size_t count, int *locked) {
    *locked = 0;
    if (count > SIZE_MAX / 2) return NULL;
    (void)pthread_once(&at_fork, watch_forks);
    size_t length = whole_pages(count);
    void *pointer = take_kept(length);
    if (pointer != NULL) {
        *locked = 1;
        return pointer;
    }
    pointer = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pointer == MAP_FAILED) return NULL;
#ifdef __linux__
    (void)madvise(pointer, length, MADV_DONTDUMP);
    (void)madvise(pointer, length, MADV_WIPEONFORK);
#endif
    *locked = mlock(pointer, length) == 0;
    if (!*locked) {
        stop_keeping();
        *locked = mlock(pointer, length) == 0;
    }
    return pointer;
}

void hkms_secret_unmap(void *pointer, size_t count, int locked) {
    if (pointer == NULL) return;
    size_t length = whole_pages(count);
    hkms_secure_zero(pointer, length);
    if (locked && keep(pointer, length)) return;
    if (locked) (void)munlock(pointer, length);
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
