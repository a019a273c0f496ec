/* app_lisp_bench.c - the Lisp on mpg: values on its heap, coroutines as
 * goroutines.
 *
 * Twin: peers/app_lisp.c (Boehm with kernel threads).
 */
#include "heap_mpg.h"

static void task_start(void (*fn)(void *), void *arg) { bench_go(fn, arg); }
static void *task_chan_new(void) { return bench_chan(sizeof(void *), 0); }
static void task_chan_send(void *c, void *v) { mpg_chan_send(c, &v); }
static void *task_chan_recv(void *c) {
  void *v;
  mpg_chan_recv(c, &v);
  return v;
}

#include "lisp/work.h"

static const struct work works[] = {{"lisp", lisp_work},
                                    {"corout", corout_work}};

BENCH_MAIN(works)
