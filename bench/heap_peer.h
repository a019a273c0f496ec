/* heap_peer.h - the words of heap works (gc_work.h) for Boehm's collector with
 * PEER_BOEHM, or whatever malloc is linked: glibc's or, with PEER_JEMALLOC,
 * jemalloc.
 */
#ifndef BENCH_HEAP_PEER_H
#define BENCH_HEAP_PEER_H

#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef PEER_BOEHM
#define GC_THREADS
#include <gc.h>
#include <gc/gc_typed.h>
#define HEAP_NEW(bytes) GC_MALLOC(bytes)
#define HEAP_NEW_LEAF(bytes) GC_MALLOC_ATOMIC(bytes)
#define HEAP_TYPE(bytes) ((void *) GC_make_descriptor(&(GC_word){2}, 2))
#define HEAP_NEW_TYPED(type, bytes) \
  GC_MALLOC_EXPLICITLY_TYPED(bytes, (GC_descr) (type))
#define HEAP_DROP(p) ((void) (p))
#define HEAP_FREE(p) GC_FREE(p)
#define HEAP_COLLECTED 1
#define HEAP_COLLECT() GC_gcollect()
#define HEAP_TRIM() GC_gcollect_and_unmap()
#else
#define HEAP_NEW(bytes) calloc(1, bytes)
#define HEAP_NEW_LEAF(bytes) malloc(bytes)
#define HEAP_TYPE(bytes) NULL
#define HEAP_NEW_TYPED(type, bytes) ((void) (type), calloc(1, bytes))
#define HEAP_DROP(p) free(p)
#define HEAP_FREE(p) free(p)
#define HEAP_COLLECTED 0
#define HEAP_COLLECT() ((void) 0)
#ifdef PEER_JEMALLOC
#include <jemalloc/jemalloc.h>
#define HEAP_TRIM() mallctl("arena.4096.purge", NULL, NULL, NULL, 0)
#else
#define HEAP_TRIM() malloc_trim(0)
#endif
#endif

#include "work.h"

#define HEAP_STACK_BYTES (256 << 20) /* of a thread; touched as it is used */

static void (*together_fn)(int);

static void *together_one(void *arg) {
  together_fn((int) (intptr_t) arg);
  return NULL;
}

WORK_UNUSED static void heap_together(void (*fn)(int), int n) {
  pthread_t threads[64];
  pthread_attr_t large;
  together_fn = fn;
  pthread_attr_init(&large);
  pthread_attr_setstacksize(&large, HEAP_STACK_BYTES);
  for (int i = 0; i < n; i++)
    if (pthread_create(&threads[i], &large, together_one,
                       (void *) (intptr_t) i) != 0)
      work_fail("no thread");
  for (int i = 0; i < n; i++) pthread_join(threads[i], NULL);
  pthread_attr_destroy(&large);
}

static int heap_main(const struct work *works, int n, int argc, char **argv) {
  const struct work *work = work_find(works, n, argc, argv);
  if (!work) return 2;
#ifdef PEER_BOEHM
  GC_set_markers_count((unsigned) work_arg("procs", 1));
  GC_INIT();
  GC_allow_register_threads();
#endif
  work->run();
  return 0;
}

#define HEAP_MAIN(works)                                                   \
  int main(int argc, char **argv) {                                        \
    return heap_main(works, (int) (sizeof(works) / sizeof *(works)), argc, \
                     argv);                                                \
  }

#endif /* BENCH_HEAP_PEER_H */
