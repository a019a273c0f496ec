/* threads.h - kernel threads for the peers: small ones that nobody joins. */
#ifndef BENCH_THREADS_H
#define BENCH_THREADS_H

#include <pthread.h>
#include <stdatomic.h>

#include "work.h"

struct thread_start {
  void (*fn)(void *);
  void *arg;
};

static void *thread_main(void *start) {
  struct thread_start s = *(struct thread_start *) start;
  free(start);
  s.fn(s.arg);
  return NULL;
}

static void thread_start(void (*fn)(void *), void *arg) {
  struct thread_start *start = malloc(sizeof *start);
  pthread_t t;
  pthread_attr_t small;
  if (!start) work_fail("out of memory");
  *start = (struct thread_start){fn, arg};
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 65536);
  pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
  if (pthread_create(&t, &small, thread_main, start) != 0)
    work_fail("no thread");
  pthread_attr_destroy(&small);
}

static _Atomic int loops_started;

WORK_UNUSED static void thread_loop(void *arg) {
  (void) arg;
  atomic_fetch_add(&loops_started, 1);
  for (;;) __asm__ volatile("");
}

#endif /* BENCH_THREADS_H */
