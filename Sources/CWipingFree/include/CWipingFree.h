// Linking this target makes the whole process wipe heap memory when it is freed: libraries that
// HKMS calls (HTTP, JSON, HMAC, AES-GCM) leave copies of secrets in freed heap blocks, and glibc's
// free does not clear them.
#ifndef HKMS_WIPING_FREE_H
#define HKMS_WIPING_FREE_H

// 1 where free and realloc are replaced (Linux with glibc), else 0. Calling it also keeps the
// linker from dropping this object file.
int hkms_wiping_free_is_active(void);

#endif
