/* gc_alloc_bench.c - the works of gc_work.h on mpg's heap.
 *
 * Twins: peers/gc_alloc.c (Boehm, malloc), peers/go/alloc.go.
 */
#include "bench.h"

#define HEAP_NEW(bytes) mpg_alloc(bytes)
#define HEAP_NEW_LEAF(bytes) mpg_alloc_noscan(bytes)
#define HEAP_DROP(p) ((void) (p))
#define HEAP_COLLECT() mpg_gc()
#define HEAP_TRIM() ((void) mpg_release_memory())

static void (*together_fn)(int);
static mpg_waitgroup together_done;

static void together_one(void *arg) {
  together_fn((int) (intptr_t) arg);
  mpg_waitgroup_done(&together_done);
}

static void heap_together(void (*fn)(int), int n) {
  together_fn = fn;
  mpg_waitgroup_add(&together_done, n);
  for (int i = 0; i < n; i++) bench_go(together_one, (void *) (intptr_t) i);
  mpg_waitgroup_wait(&together_done);
}

#include "gc_work.h"

static const struct work works[] = {
    {"trees", trees_work}, {"alloc", alloc_work}, {"padding", padding_work},
    {"hash", hash_work},   {"mixed", mixed_work},
};

BENCH_MAIN(works)
