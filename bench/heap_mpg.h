/* heap_mpg.h - the words of heap works (gc_work.h), for mpg. */
#ifndef BENCH_HEAP_MPG_H
#define BENCH_HEAP_MPG_H

#include "bench.h"

#define HEAP_NEW(bytes) mpg_alloc(bytes)
#define HEAP_NEW_LEAF(bytes) mpg_alloc_noscan(bytes)
#define HEAP_TYPE(bytes) mpg_type_new(bytes, &(size_t){8}, 1)
#define HEAP_NEW_TYPED(type, bytes) mpg_alloc_typed(type, 1)
#define HEAP_DROP(p) ((void) (p))
#define HEAP_FREE(p) mpg_free(p)
#define HEAP_COLLECTED 1
#define HEAP_COLLECT() mpg_gc()
#define HEAP_TRIM() ((void) mpg_release_memory())

/* Memory for time: how much the heap may grow between collections. */
#define HEAP_GROWTH(percent) ((void) mpg_gc_percent(percent))

static void (*together_fn)(int);
static mpg_waitgroup together_done;

static void together_one(void *arg) {
  together_fn((int) (intptr_t) arg);
  mpg_waitgroup_done(&together_done);
}

WORK_UNUSED static void heap_together(void (*fn)(int), int n) {
  together_fn = fn;
  mpg_waitgroup_add(&together_done, n);
  for (int i = 0; i < n; i++) bench_go(together_one, (void *) (intptr_t) i);
  mpg_waitgroup_wait(&together_done);
}

#endif /* BENCH_HEAP_MPG_H */
