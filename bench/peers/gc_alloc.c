/* gc_alloc.c - the works of gc_work.h with pthreads, on Boehm's collector or,
 * without PEER_BOEHM, on whatever malloc is linked: glibc's or jemalloc.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef PEER_BOEHM
#define GC_THREADS
#include <gc.h>
#define HEAP_NEW(bytes) GC_MALLOC(bytes)
#define HEAP_NEW_LEAF(bytes) GC_MALLOC_ATOMIC(bytes)
#define HEAP_DROP(p) ((void) (p))
#define HEAP_COLLECT() GC_gcollect()
#define HEAP_TRIM() GC_gcollect_and_unmap()
#else
#define HEAP_NEW(bytes) calloc(1, bytes)
#define HEAP_NEW_LEAF(bytes) malloc(bytes)
#define HEAP_DROP(p) free(p)
#define HEAP_COLLECT() ((void) 0)
#ifdef PEER_JEMALLOC
#include <jemalloc/jemalloc.h>
#define HEAP_TRIM() mallctl("arena.4096.purge", NULL, NULL, NULL, 0)
#else
#define HEAP_TRIM() malloc_trim(0)
#endif
#endif

static void (*together_fn)(int);

static void *together_one(void *arg) {
  together_fn((int) (intptr_t) arg);
  return NULL;
}

static void heap_together(void (*fn)(int), int n) {
  pthread_t threads[64];
  together_fn = fn;
  for (int i = 0; i < n; i++)
    if (pthread_create(&threads[i], NULL, together_one,
                       (void *) (intptr_t) i) != 0)
      abort();
  for (int i = 0; i < n; i++) pthread_join(threads[i], NULL);
}

#include "../gc_work.h"

static const struct work works[] = {
    {"trees", trees_work}, {"alloc", alloc_work}, {"padding", padding_work},
    {"hash", hash_work},   {"mixed", mixed_work},
};

int main(int argc, char **argv) {
  const struct work *work =
      work_find(works, sizeof works / sizeof *works, argc, argv);
  if (!work) return 2;
#ifdef PEER_BOEHM
  GC_set_markers_count((unsigned) work_arg("procs", 1));
  GC_INIT();
  GC_allow_register_threads();
#endif
  work->run();
  return 0;
}
