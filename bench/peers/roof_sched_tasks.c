/* roof_sched_tasks.c - what the machine lets parked goroutines and a parallel
 * sort have.
 *
 * park: what the memory costs that parked goroutines need, as much as mpg's
 * stack arena maps for them, in the same way (a reserved range with huge pages
 * advised, made accessible in steps of one), of which each 2 KiB block's lowest
 * and highest line are written, in order, as a goroutine's record and its stack
 * are.
 *
 * On a virtual machine whose free memory is reported to the host (docs/
 * benchmarks.md, "Fresh memory") who comes soon after another finds memory that
 * the host still holds, at a tenth of the price.  So the program rests for
 * rest_s seconds before, and after it has given its memory back.
 *
 * sort: two threads each sort one half of the numbers, and never meet.  Sorting
 * the whole by a quicksort takes one thread's partition more.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include <unistd.h>

#include "../sort_work.h"
#include "../threads.h"

#define HUGE_BYTES ((size_t) 2 << 20)
#define BLOCK_BYTES 2048
#define LINE_BYTES 64
#define RESERVE_BYTES ((size_t) 64 << 30)

static void touch(char *chunk, uint64_t *total) {
  if (mprotect(chunk, HUGE_BYTES, PROT_READ | PROT_WRITE) != 0)
    work_fail("no memory");
  for (size_t at = 0; at < HUGE_BYTES; at += BLOCK_BYTES) {
    *(volatile char *) (chunk + at) = 1;
    *(volatile char *) (chunk + at + BLOCK_BYTES - LINE_BYTES) = 1;
    ++*total;
  }
}

static void park_work(void) {
  size_t n = (size_t) work_arg("n", 1000000), mapped = RESERVE_BYTES;
  unsigned rest = (unsigned) work_arg("rest_s", 0);
  work_need_bytes((double) n * 2150);
  sleep(rest);
  char *mem = mmap(NULL, mapped, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mem == MAP_FAILED) work_fail("no memory");
  mem = (char *) (((uintptr_t) mem + HUGE_BYTES - 1) & -HUGE_BYTES);
  madvise(mem, mapped - HUGE_BYTES, MADV_HUGEPAGE);
  uint64_t blocks = 0;
  int64_t start = work_now();
  for (char *chunk = mem; blocks < n; chunk += HUGE_BYTES)
    touch(chunk, &blocks);
  work_print("create_ms", (double) (work_now() - start) / 1e6);
  work_check((uint64_t) n);
  munmap(mem, (n * BLOCK_BYTES + HUGE_BYTES - 1) & -HUGE_BYTES);
  sleep(rest);
}

/* ---- sort ---- */

struct half {
  uint32_t *lo, *hi;
  _Atomic int *left; /* halves that aren't sorted yet */
  int64_t end;
};

static void sort_half(void *arg) {
  struct half *h = arg;
  sort_alone(h->lo, h->hi);
  h->end = work_now();
  atomic_fetch_sub_explicit(h->left, 1, memory_order_release);
}

static uint64_t merged_sum(struct half a, struct half b) {
  uint64_t sum = 0;
  while (a.lo < a.hi || b.lo < b.hi)
    if (b.lo == b.hi || (a.lo < a.hi && *a.lo < *b.lo))
      sort_sum(&sum, *a.lo++);
    else
      sort_sum(&sum, *b.lo++);
  return sum;
}

static void sort_work(void) {
  long n = work_arg("n", 10000000);
  size_t bytes = (size_t) n * sizeof(uint32_t);
  uint32_t *v =
      aligned_alloc(HUGE_BYTES, (bytes + HUGE_BYTES - 1) & -HUGE_BYTES);
  if (!v) work_fail("out of memory");
  madvise(v, bytes, MADV_HUGEPAGE);
  sort_fill(v, n);
  _Atomic int left = 2;
  struct half lower = {v, v + n / 2, &left, 0};
  struct half upper = {v + n / 2, v + n, &left, 0};
  int64_t start = work_now();
  thread_start(sort_half, &upper);
  sort_half(&lower);
  while (atomic_load_explicit(&left, memory_order_acquire) > 0) usleep(100);
  int64_t end = lower.end > upper.end ? lower.end : upper.end;
  work_print("ms", (double) (end - start) / 1e6);
  work_check(merged_sum(lower, upper));
}

static const struct work works[] = {{"park", park_work}, {"sort", sort_work}};

WORK_MAIN(works)
