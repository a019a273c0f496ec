/* tls.c - which addresses of thread-local memory a goroutine's code may keep
 * across a switch to another thread.
 *
 * sched/migrate.c moves words that are such addresses.  A word of a goroutine's
 * own may look like one by chance: a buffer that is partly filled lies over
 * what calls of libraries left there, which is full of addresses around the
 * thread pointer, and two bytes of text in front of the rest of one were moved
 * with it (stack_twin_stress found that).  So only those count that user code
 * can have: all of the program's and its libraries', of the C library what it
 * hands out, nothing of the allocator's, a sanitizer's and mpg's, which are
 * entered and left on one thread.
 *
 * Kept as a bit for each 8 bytes below the thread pointer, where static blocks
 * lie at one distance in all threads.  Bits are only ever set: readers need no
 * lock.  Beyond EXTENT_BYTES all addresses count if one does; in a program that
 * has the C library within, all of its block.
 */
#include <arch/linux/tls.h>
#include <errno.h>
#include <netdb.h>
#include <resolv.h>
#include <string.h>

#include <arch/common/sanitize.h>
#include <arch/os.h>
#include <arch/tls.h>

#define GRANULE_BYTES 8
/* TSan's own block is the first, and of hundreds of KiB. */
#define EXTENT_BYTES ((uintptr_t) (MPGI_TSAN ? 2048 : 64) << 10)
#define BITS (EXTENT_BYTES / GRANULE_BYTES)

static _Atomic uint64_t keeps[BITS / 64];
static _Atomic bool keeps_beyond;

static uintptr_t granule_of(uintptr_t below) {
  return (below + GRANULE_BYTES - 1) / GRANULE_BYTES;
}

static void keep(uintptr_t below) {
  uintptr_t i = granule_of(below);
  if (i >= BITS)
    atomic_store_explicit(&keeps_beyond, true, memory_order_relaxed);
  else
    atomic_fetch_or_explicit(&keeps[i / 64], UINT64_C(1) << i % 64,
                             memory_order_relaxed);
}

static void keep_address(const void *p) {
  keep(mpgi_os_thread_pointer() - (uintptr_t) p);
}

/* What functions return addresses of. */
static void keep_libcs(void) {
  keep_address(&errno);
  keep_address(&h_errno);
  keep_address(&_res);
}

/* Also one past the end. */
static void keep_block(uintptr_t offset, size_t bytes) {
  uintptr_t own = mpgi_os_thread_pointer() - (uintptr_t) &mpgi_tls;
  for (size_t at = 0; at <= bytes; at += GRANULE_BYTES)
    if (own - (offset - at) >= sizeof mpgi_tls) keep(offset - at);
}

static bool begins(const char *s, const char *prefix) {
  return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool keeps_none(const char *name) {
  static const char *const names[] = {"libjemalloc.so", "libmpg.so",
                                      "libtsan.so",     "libasan.so",
                                      "libubsan.so",    "liblsan.so"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (begins(name, names[i])) return true;
  return false;
}

void mpgi_linux_tls_add(const char *path, uintptr_t offset, size_t bytes) {
  const char *slash = path ? strrchr(path, '/') : NULL;
  const char *name = slash ? slash + 1 : path ? path : "";
  if (offset == 0 || keeps_none(name)) return;
  if (begins(name, "libc.so."))
    keep_libcs();
  else
    keep_block(offset, bytes);
}

bool mpgi_os_tls_keeps(uintptr_t below) {
  uintptr_t i = granule_of(below);
  if (below == 0) return true;
  if (i >= BITS)
    return atomic_load_explicit(&keeps_beyond, memory_order_relaxed);
  return atomic_load_explicit(&keeps[i / 64], memory_order_relaxed) >> i % 64 &
         1;
}
