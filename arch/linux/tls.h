/* tls.h - between roots.c, which knows the modules, and tls.c. */
#ifndef MPGI_LINUX_TLS_H
#define MPGI_LINUX_TLS_H

#include <stddef.h>
#include <stdint.h>

#include <arch/arch.h>

/* A module's static block of so many bytes begins `offset` below each thread
 * pointer; 0: it has none.  path: the linker's name of it; "", NULL: the main
 * program. */
MPGI_HIDDEN void mpgi_linux_tls_add(const char *path, uintptr_t offset,
                                    size_t bytes);

#endif /* MPGI_LINUX_TLS_H */
