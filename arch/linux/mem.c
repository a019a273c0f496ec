/* mem.c - address space: reserve, commit, release, guard.
 *
 * Bare system calls only, so that the collector may use it with the world
 * stopped and handlers may too.  States of a page:
 *
 *   reserved   PROT_NONE, no memory, not counted by overcommit, not in core
 *              files: gcore writes a terabyte of zeros otherwise
 *   committed  readable and writable, zero at first use
 *   guarded    any access faults
 *
 * Each of the four system calls is a failpoint: the kernel may refuse any of
 * them, for want of memory or of mappings (one is split), also in the middle of
 * an operation, and also those that give memory back.
 *
 * Assumptions about the kernel: mmap places MAP_NORESERVE|PROT_NONE ranges
 * without accounting them [linux.mem.reserve]; MADV_DONTNEED on a private
 * anonymous mapping frees the pages at once and they read zero afterwards
 * [linux.mem.release], but refuses locked memory, of which MADV_DONTNEED_LOCKED
 * (5.18 and later) takes the pages and not the lock; mmap fails with EAGAIN
 * beyond RLIMIT_MEMLOCK after mlockall(MCL_FUTURE); MADV_GUARD_INSTALL exists
 * from 6.13 on and keeps the mapping in one piece, which matters because
 * vm.max_map_count (65530) would otherwise bound the number of fixed stacks
 * [linux.mem.guard].
 */
#include <arch/common/check.h>
#include <arch/linux/sys.h>
#include <arch/os.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

size_t mpgi_os_page_bytes = 4096;
_Atomic int64_t mpgi_os_mem_fail_countdown;
_Atomic bool mpgi_os_fail_once;

static bool refused(void) {
  return mpgi_os_failpoint(
      &mpgi_os_mem_fail_countdown,
      !atomic_load_explicit(&mpgi_os_fail_once, memory_order_relaxed));
}

static bool page_aligned(const void *p, size_t bytes) {
  return (((uintptr_t) p | bytes) & (mpgi_os_page_bytes - 1)) == 0;
}

static long sys_mmap(void *at, size_t bytes, int prot, int flags) {
  if (refused()) return -ENOMEM;
  return mpgi_sys6(SYS_mmap, (long) at, (long) bytes, prot,
                   MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

static long sys_munmap(uintptr_t lo, size_t bytes) {
  if (bytes == 0) return 0;
  if (refused()) return -ENOMEM;
  return mpgi_sys3(SYS_munmap, (long) lo, (long) bytes, 0);
}

static long sys_mprotect(void *lo, size_t bytes, int prot) {
  if (refused()) return -ENOMEM;
  return mpgi_sys3(SYS_mprotect, (long) lo, (long) bytes, prot);
}

static long sys_madvise(void *lo, size_t bytes, int advice) {
  if (refused()) return -ENOMEM;
  return mpgi_sys3(SYS_madvise, (long) lo, (long) bytes, advice);
}

/* Give the memory back, locked or not. */
static bool drop(void *lo, size_t bytes) {
  return sys_madvise(lo, bytes, MADV_DONTNEED) == 0 ||
         sys_madvise(lo, bytes, MADV_DONTNEED_LOCKED) == 0;
}

/* Map with alignment: over-reserve, then trim both ends. */
static void *map_aligned(size_t bytes, size_t align, int prot, int flags) {
  MPG_ASSERT(bytes > 0 && page_aligned(NULL, bytes));
  MPG_ASSERT(align >= mpgi_os_page_bytes && (align & (align - 1)) == 0);
  size_t slack = align - mpgi_os_page_bytes;
  if (bytes > (size_t) PTRDIFF_MAX - slack) return NULL;
  long r = sys_mmap(NULL, bytes + slack, prot, flags);
  if (r < 0) return NULL;
  uintptr_t lo = (uintptr_t) r;
  uintptr_t at = (lo + align - 1) & ~(align - 1);
  long a = sys_munmap(lo, at - lo);
  long b = sys_munmap(at + bytes, lo + bytes + slack - (at + bytes));
  /* A failed trim (too many mappings) only wastes address space. */
  MPG_ASSERT_INTERNAL((a == 0 || a == -ENOMEM) && (b == 0 || b == -ENOMEM));
  (void) a, (void) b;
  MPG_ASSERT((at & (align - 1)) == 0);
  return (void *) at;
}

void *mpgi_os_mem_reserve(size_t bytes, size_t align) {
  void *lo = map_aligned(bytes, align, PROT_NONE, MAP_NORESERVE);
  if (lo) sys_madvise(lo, bytes, MADV_DONTDUMP);
  return lo;
}

void *mpgi_os_mem_map(size_t bytes, size_t align) {
  return map_aligned(bytes, align, PROT_READ | PROT_WRITE, 0);
}

static int stack_prot(void) {
  int prot = PROT_READ | PROT_WRITE;
  return mpgi_os_stacks_execute ? prot | PROT_EXEC : prot;
}

void *mpgi_os_stack_map(size_t bytes, size_t align) {
  return map_aligned(bytes, align, stack_prot(), 0);
}

bool mpgi_os_mem_available(size_t bytes) {
  long r = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, 0);
  return r >= 0 && sys_munmap((uintptr_t) r, bytes) == 0;
}

/* Some systems grant nothing that is writable and executable: -EACCES. */
static int commit(void *lo, size_t bytes, int prot) {
  MPG_ASSERT(page_aligned(lo, bytes));
  long r = sys_mprotect(lo, bytes, prot);
  MPG_ASSERT(r == 0 || r == -ENOMEM || (prot & PROT_EXEC));
  if (r == 0) sys_madvise(lo, bytes, MADV_DODUMP);
  return r == 0 ? 0 : -ENOMEM;
}

int mpgi_os_mem_commit(void *lo, size_t bytes) {
  return commit(lo, bytes, PROT_READ | PROT_WRITE);
}

int mpgi_os_stack_commit(void *lo, size_t bytes) {
  return commit(lo, bytes, stack_prot());
}

bool mpgi_os_mem_release(void *lo, size_t bytes) {
  MPG_ASSERT(page_aligned(lo, bytes));
  return drop(lo, bytes);
}

void mpgi_os_mem_zero(void *lo, size_t bytes) {
  if (!mpgi_os_mem_release(lo, bytes)) memset(lo, 0, bytes);
}

void mpgi_os_mem_unmap(void *lo, size_t bytes) {
  MPG_ASSERT(page_aligned(lo, bytes));
  long r = sys_munmap((uintptr_t) lo, bytes);
  if (r == 0) return;
  /* Cutting a hole would need one mapping too many: keep the addresses. */
  MPG_ASSERT(r == -ENOMEM);
  drop(lo, bytes);
}

void mpgi_os_mem_huge(void *lo, size_t bytes) {
  MPG_ASSERT(page_aligned(lo, bytes));
  /* Best effort: kernels without huge pages refuse. */
  sys_madvise(lo, bytes, MADV_HUGEPAGE);
}

void mpgi_os_mem_not_huge(void *lo, size_t bytes) {
  MPG_ASSERT(page_aligned(lo, bytes));
  sys_madvise(lo, bytes, MADV_NOHUGEPAGE); /* a kernel without: none anyway */
}

/* ---- guards ---- */

enum guard_mode { GUARD_UNKNOWN, GUARD_MADVISE, GUARD_MPROTECT };
/* Written by whoever probes first; every prober finds the same. */
static _Atomic int guard_mode;

/* Does this kernel know MADV_GUARD_INSTALL?  Asked of a page of our own,
 * because EINVAL for a user's range could also mean locked memory. */
static int guard_probe(void) {
  int mode = GUARD_MPROTECT;
  long page = sys_mmap(NULL, mpgi_os_page_bytes, PROT_READ | PROT_WRITE, 0);
  if (page < 0) return mode; /* no memory: don't remember, see caller */
  if (sys_madvise((void *) page, mpgi_os_page_bytes, MADV_GUARD_INSTALL) == 0)
    mode = GUARD_MADVISE;
  sys_munmap((uintptr_t) page, mpgi_os_page_bytes);
  atomic_store_explicit(&guard_mode, mode, memory_order_relaxed);
  return mode;
}

static int guard_mode_get(void) {
  int mode = atomic_load_explicit(&guard_mode, memory_order_relaxed);
  return mode == GUARD_UNKNOWN ? guard_probe() : mode;
}

bool mpgi_os_mem_guard_maps(void) { return guard_mode_get() == GUARD_MPROTECT; }

int mpgi_os_mem_guard(void *lo, size_t bytes) {
  MPG_ASSERT(page_aligned(lo, bytes));
  if (guard_mode_get() == GUARD_MADVISE &&
      sys_madvise(lo, bytes, MADV_GUARD_INSTALL) == 0)
    return 0;
  long r = sys_mprotect(lo, bytes, PROT_NONE);
  MPG_ASSERT(r == 0 || r == -ENOMEM);
  return (int) r;
}

int mpgi_os_mem_unguard(void *lo, size_t bytes) {
  MPG_ASSERT(page_aligned(lo, bytes));
  if (guard_mode_get() == GUARD_MADVISE &&
      sys_madvise(lo, bytes, MADV_GUARD_REMOVE) != 0)
    return -ENOMEM;
  /* The guard may have been made the other way; no-op when it wasn't. */
  long r = sys_mprotect(lo, bytes, stack_prot());
  MPG_ASSERT(r == 0 || r == -ENOMEM);
  return (int) r;
}

#define MAPPED_STEP 64

/* Are all pages of [lo, hi) mapped? */
static bool is_mapped(uintptr_t lo, uintptr_t hi) {
  unsigned char in_core[MAPPED_STEP];
  MPG_ASSERT(hi - lo <= MAPPED_STEP * mpgi_os_page_bytes);
  return mpgi_sys3(SYS_mincore, (long) lo, (long) (hi - lo), (long) in_core) ==
         0;
}

uintptr_t mpgi_os_mem_mapped_below(uintptr_t lo, uintptr_t hi) {
  uintptr_t page = mpgi_os_page_bytes, step = MAPPED_STEP * page;
  lo &= ~(page - 1);
  uintptr_t at = (hi + page - 1) & ~(page - 1);
  while (at - lo >= step && is_mapped(at - step, at)) at -= step;
  while (at - lo >= page && is_mapped(at - page, at)) at -= page;
  return at < hi ? at : hi;
}
