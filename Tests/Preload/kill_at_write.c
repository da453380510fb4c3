// Preloaded by Tests/SystemTests/KillTests.swift and Tests/AuditLogTests/KillTests.swift: ends the process, as kill -9
// does, at the n-th call that changes a file, counted over all threads. strace counts by thread, and so cannot do that.
//
// The test steers it through a file that both have mapped, named by HKMS_KILL_CONTROL. It also puts the clock forward,
// so that a test need not wait for what takes ten minutes.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum manner { BEFORE = 0, AFTER = 1, HALFWAY = 2 };

struct control {
    int64_t target;         // the call to die at; 0: none, and nothing is counted
    int64_t manner;         // before the call, after it, or with half of what it writes written
    _Atomic int64_t count;  // calls since the target was set
    int64_t clock_seconds;  // added to the time of day
};

static struct control *control;

__attribute__((constructor)) static void map_control(void) {
    const char *path = getenv("HKMS_KILL_CONTROL");
    if (!path) return;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) control = mapped;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

// 1 where the process dies at this call. Calls of other threads after it are not made at all.
static int is_last(void) {
    if (!control || control->target == 0) return 0;
    int64_t number = atomic_fetch_add(&control->count, 1) + 1;
    if (number > control->target) for (;;) pause();
    return number == control->target;
}

#define CHANGE(call)                              \
    do {                                          \
        int last = is_last();                     \
        if (last && control->manner != AFTER) die(); \
        long result = (call);                     \
        if (last) die();                          \
        return result;                            \
    } while (0)

// Logs and sockets are no storage.
static int is_storage(int file) {
    struct stat status;
    return file > 2 && fstat(file, &status) == 0 && S_ISREG(status.st_mode);
}

ssize_t write(int file, const void *bytes, size_t count) {
    int last = is_storage(file) && is_last();
    if (last && control->manner == BEFORE) die();
    if (last && control->manner == HALFWAY) count /= 2;
    ssize_t written = syscall(SYS_write, file, bytes, count);
    if (last) die();
    return written;
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    int last = is_last();
    if (last && control->manner == BEFORE) die();
    if (last && control->manner == HALFWAY) count /= 2;
    ssize_t written = syscall(SYS_pwrite64, file, bytes, count, offset);
    if (last) die();
    return written;
}
ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) { return pwrite64(file, bytes, count, offset); }

int fsync(int file) { CHANGE(syscall(SYS_fsync, file)); }
int fdatasync(int file) { CHANGE(syscall(SYS_fdatasync, file)); }
int ftruncate64(int file, off64_t length) { CHANGE(syscall(SYS_ftruncate, file, length)); }
int ftruncate(int file, off_t length) { return ftruncate64(file, length); }

int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    CHANGE(syscall(SYS_renameat2, from, old, to, new, flags));
}
int renameat(int from, const char *old, int to, const char *new) { return renameat2(from, old, to, new, 0); }
int rename(const char *old, const char *new) { return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0); }

int linkat(int from, const char *old, int to, const char *new, int flags) {
    CHANGE(syscall(SYS_linkat, from, old, to, new, flags));
}
int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

int unlinkat(int directory, const char *name, int flags) { CHANGE(syscall(SYS_unlinkat, directory, name, flags)); }
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int directory, const char *name, mode_t mode) { CHANGE(syscall(SYS_mkdirat, directory, name, mode)); }
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && control) now->tv_sec += control->clock_seconds;
    return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec precise;
    if (clock_gettime(CLOCK_REALTIME, &precise) != 0) return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *out) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
