#define _GNU_SOURCE
#include "CWipingFree.h"

#include <stddef.h>
#include <string.h>

#if defined(__linux__) && defined(__GLIBC__)
#include <errno.h>
#include <malloc.h>

extern void __libc_free(void *);
extern void *__libc_malloc(size_t);

void free(void *pointer) {
    if (pointer == NULL) return;
    int saved = errno;
    explicit_bzero(pointer, malloc_usable_size(pointer));
    __libc_free(pointer);
    errno = saved;
}

// glibc's realloc may move a block and free the old one without coming through `free` above.
void *realloc(void *pointer, size_t size) {
    if (pointer == NULL) return __libc_malloc(size);
    if (size == 0) {
        free(pointer);
        return NULL;
    }
    size_t usable = malloc_usable_size(pointer);
    if (size <= usable && size >= usable / 2) return pointer;
    void *moved = __libc_malloc(size);
    if (moved == NULL) return NULL;
    memcpy(moved, pointer, size < usable ? size : usable);
    free(pointer);
    return moved;
}

int hkms_wiping_free_is_active(void) { return 1; }
#else
int hkms_wiping_free_is_active(void) { return 0; }
#endif
