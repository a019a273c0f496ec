/* fixmem.c - memory of the runtime that is not garbage collected.
 *
 * jemalloc's non-standard interface (mallocx and friends) in an arena of our
 * own: the collector may then stop a thread that holds a lock of the
 * application's arenas, and the application's statistics stay its own.
 * No thread cache: with one, jemalloc would serve us from the application's
 * arena; and callers keep free lists of what is hot.
 *
 * Only names that jemalloc alone defines are used, never malloc: so it does
 * not matter whether the process's malloc is jemalloc's or libc's.
 *
 * The arena is made at first use, by whoever comes first:
 *   arena_state   0 none, 1 being made, 2 + index
 *
 * A thread that is new to jemalloc is given one of the application's arenas,
 * made on the spot if each has a thread; jemalloc 5.3 dereferences NULL when
 * that fails.  So a thread's first use asks the system for as much memory
 * first, and counts as exhausted when there is none [arch.fixmem.first].
 * Another thread may take the memory between the look and the use.  So whoever
 * starts a thread of ours makes an arena for it before, which may fail
 * [arch.fixmem.arenas]: with k threads, the main one included, and k arenas,
 * one has none.  (A hole is left: a thread of the application's may come to
 * malloc for the first time and take that one.)  The program's own malloc
 * can't do any of this: it would crash, in a goroutine, instead of giving NULL.
 * So the first Ms become known at their start, as many as there are arenas;
 * with these, later threads share.
 *
 * errno is put back: it belongs to user code on the same thread.
 */
#include <arch/common/check.h>
#include <arch/common/fixmem.h>
#include <arch/common/sanitize.h>
#include <arch/os.h>
#include <errno.h>
#include <jemalloc/jemalloc.h>
#include <string.h>

#define ALIGN_DEFAULT 16
/* More than a new arena maps: a 2 MiB block, 2 MiB-aligned. */
#define FIRST_USE_BYTES ((size_t) 8 << 20)

enum { ARENA_NONE, ARENA_MAKING, ARENA_BASE };

static _Atomic unsigned arena_state;
static _Atomic uint64_t live_bytes;
static _Atomic int forbidden;
/* Set by a thread that no stop waits for and none freezes. */
static _Thread_local bool outside;
/* jemalloc knows this thread [arch.fixmem.first]. */
static _Thread_local bool known;
_Atomic int64_t mpgi_fixmem_fail_countdown;

static bool thread_ready(void) {
  return known || mpgi_os_mem_available(FIRST_USE_BYTES);
}

/* The index of a new arena + ARENA_BASE, or ARENA_NONE. */
static unsigned arena_create(void) {
  unsigned index = 0;
  size_t bytes = sizeof index;
  if (mallctl("arenas.create", &index, &bytes, NULL, 0) != 0) return ARENA_NONE;
  MPG_VERIFY(bytes == sizeof index);
  return index + ARENA_BASE;
}

static unsigned arena_get_slow(void) {
  for (;;) {
    unsigned s = ARENA_NONE;
    if (atomic_compare_exchange_strong(&arena_state, &s, ARENA_MAKING)) {
      s = arena_create();
      atomic_store(&arena_state, s);
      return s;
    }
    if (s >= ARENA_BASE) return s;
    mpgi_os_yield();
  }
}

static unsigned arena_get(void) {
  unsigned s = atomic_load_explicit(&arena_state, memory_order_acquire);
  return s >= ARENA_BASE ? s : arena_get_slow();
}

static int flags_of(unsigned arena, size_t align) {
  return MALLOCX_ARENA((int) (arena - ARENA_BASE)) | MALLOCX_TCACHE_NONE |
         MALLOCX_ALIGN(align ? align : ALIGN_DEFAULT);
}

static void check_world(void) {
  int stopped = atomic_load_explicit(&forbidden, memory_order_relaxed);
  MPG_ASSERT(stopped == 0 || outside);
  (void) stopped;
}

static void check_context(size_t bytes, size_t align) {
  check_world();
  MPG_ASSERT(bytes > 0);
  MPG_ASSERT((align & (align - 1)) == 0);
}

static unsigned application_arenas(void) {
  static _Atomic unsigned arenas;
  unsigned n = atomic_load(&arenas);
  size_t bytes = sizeof n;
  if (n) return n;
  if (mallctl("opt.narenas", &n, &bytes, NULL, 0) != 0) n = 1;
  atomic_store(&arenas, n);
  return n;
}

/* Make the application's arena; with no memory for it jemalloc would serve the
 * caller from its own. */
static bool application_arena(unsigned index) {
  check_world();
  void *p = mallocx(1, MALLOCX_ARENA((int) index) | MALLOCX_TCACHE_NONE);
  known = true;
  if (!p) return false;
  unsigned of = 0;
  size_t bytes = sizeof of;
  int err = mallctl("arenas.lookup", &of, &bytes, &p, sizeof p);
  dallocx(p, MALLOCX_TCACHE_NONE);
  return err == 0 && of == index;
}

/* [arch.fixmem.arenas]: 0 to `made` exist, one for each thread of ours and the
 * main thread's. */
bool mpgi_fixmem_thread_coming(void) {
  static _Atomic unsigned made;
  if (!thread_ready()) return false;
  int saved = errno;
  unsigned n = atomic_load(&made), arenas = application_arenas();
  bool ok = true;
  while (n + 1 < arenas && (ok = application_arena(n + 1)) &&
         !atomic_compare_exchange_weak(&made, &n, n + 1))
    continue;
  errno = saved;
  return ok;
}

/* The world may have stopped meanwhile, without this thread: it isn't frozen,
 * so whoever waits for a lock that it holds gets it. */
static void become_known(void) {
  unsigned arena = thread_ready() ? arena_get() : ARENA_NONE;
  if (arena == ARENA_NONE) return;
  void *p = mallocx(1, flags_of(arena, 0));
  if (p) dallocx(p, flags_of(arena, 0));
  known = true;
}

void mpgi_fixmem_thread_begin(void) {
  static _Atomic unsigned begun;
  int saved = errno;
  if (atomic_fetch_add(&begun, 1) < application_arenas()) become_known();
  errno = saved;
}

void *mpgi_fixmem_alloc(size_t bytes, size_t align) {
  check_context(bytes, align);
  if (mpgi_os_failpoint(&mpgi_fixmem_fail_countdown, !mpgi_os_fail_once))
    return NULL;
  if (bytes > (size_t) PTRDIFF_MAX) return NULL; /* mallocx would object */
  if (!thread_ready()) return NULL;
  int saved = errno;
  void *p = NULL;
  unsigned arena = arena_get();
  if (arena != ARENA_NONE)
    p = mallocx(bytes, flags_of(arena, align) | MALLOCX_ZERO);
  known = true;
  errno = saved;
  if (p) mpgi_san_taken(p);
  if (p) atomic_fetch_add_explicit(&live_bytes, bytes, memory_order_relaxed);
  MPG_ASSERT_INTERNAL(((uintptr_t) p & (align ? align - 1 : 15)) == 0);
  return p;
}

void mpgi_fixmem_free(void *p, size_t bytes, size_t align) {
  check_context(bytes, align);
  if (!p) return;
  if (!thread_ready()) return; /* rather leaked than torn */
  int flags = flags_of(arena_get(), align);
  MPG_ASSERT(sallocx(p, flags) >= bytes);
  if (MPG_CHECK >= 2) memset(p, 0xdf, bytes); /* dangling uses show */
  mpgi_san_given(p);
  int saved = errno;
  sdallocx(p, bytes, flags);
  known = true;
  errno = saved;
  uint64_t was =
      atomic_fetch_sub_explicit(&live_bytes, bytes, memory_order_relaxed);
  MPG_ASSERT(was >= bytes);
  (void) was;
}

void mpgi_fixmem_release(void) {
  unsigned arena = atomic_load_explicit(&arena_state, memory_order_acquire);
  size_t mib[3], n = 3;
  check_world();
  if (arena < ARENA_BASE || !thread_ready()) return;
  int saved = errno;
  if (mallctlnametomib("arena.0.purge", mib, &n) == 0) {
    mib[1] = arena - ARENA_BASE;
    mallctlbymib(mib, n, NULL, NULL, NULL, 0);
  }
  errno = saved;
}

uint64_t mpgi_fixmem_bytes(void) {
  return atomic_load_explicit(&live_bytes, memory_order_relaxed);
}

void mpgi_fixmem_forbid(int delta) {
  int was = atomic_fetch_add(&forbidden, delta);
  MPG_ASSERT(was + delta >= 0);
  (void) was;
}

void mpgi_fixmem_outside(void) { outside = true; }
void mpgi_fixmem_inside(void) { outside = false; }

const void *mpgi_fixmem_library(void) {
  return (const void *) (uintptr_t) mallocx;
}
