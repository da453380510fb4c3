// Memory that holds secrets: pages that are locked, kept out of core dumps, and zeroed in a way
// that no optimizer removes.
#ifndef HKMS_SECRET_MEMORY_H
#define HKMS_SECRET_MEMORY_H

#include <stddef.h>
#include <stdint.h>

// Zeroes `count` bytes. A plain memset of a dying buffer is removed at -O2; this one is not.
void hkms_secure_zero(void *pointer, size_t count);

// Zeroes the stack below the caller's frame, 32 KiB of what functions that have returned left there, and the vector
// registers.
void hkms_zero_dead_stack(void);

// Zeroes the vector registers, which no caller keeps anything in: what copies and kernels left there.
void hkms_clear_registers(void);

// Returns 1 if the two regions hold the same bytes, 0 if not. Takes the same time either way.
int hkms_equal_constant_time(const void *left, const void *right, size_t count);

// Maps at least `count` zeroed bytes of whole pages, out of core dumps and zeroed in forked children.
// Sets *locked to 1 when the pages are locked into memory. Returns NULL when no memory is to be had.
void *hkms_secret_map(size_t count, int *locked);

// Zeroes what hkms_secret_map returned for the same `count`, at once, and gives it back: to the system, or, some MiB at
// most of what is locked, to the next call for as many pages. Kept pages are let go where a lock fails.
void hkms_secret_unmap(void *pointer, size_t count, int locked);

// Fills `count` bytes from the operating system's generator. Returns 0, or errno.
int hkms_random_bytes(void *pointer, size_t count);

// No core dump of this process, and no other process of the same user may read its memory.
// Returns 0, or errno.
int hkms_forbid_core_dumps(void);

// The soft limit of locked memory in bytes (RLIMIT_MEMLOCK); UINT64_MAX when unlimited.
uint64_t hkms_locked_memory_limit(void);

#endif
