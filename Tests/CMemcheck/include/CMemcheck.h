// What valgrind's memcheck is told: which memory is secret. Outside of valgrind, and on other machines than
// x86-64 and arm64, every call does nothing.
#ifndef HKMS_CMEMCHECK_H
#define HKMS_CMEMCHECK_H

#include <stddef.h>

// 1 under memcheck.
int hkms_memcheck_runs(void);

// Memcheck calls secret bytes "undefined" and reports every jump and every address that depends on one.
void hkms_mark_secret(const void *pointer, size_t count);

// What is published: a branch on it tells nothing.
void hkms_mark_public(const void *pointer, size_t count);

// Jumps on what it reads: a search for such jumps has to find it.
int hkms_jumps_on_bytes(const unsigned char *bytes, size_t count);

#endif
