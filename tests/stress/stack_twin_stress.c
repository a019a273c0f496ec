/* stack_twin_stress.c - random recursion on goroutines, whose results are those
 * of the same recursion on a thread of the system's.
 *
 * A seed decides which functions call each other, how large their frames are
 * and what is passed: structures by value and returned, variable arguments,
 * variable-length arrays, alloca, comparators under qsort, text of the C
 * library.  Every frame folds what it holds into the result on the way out.
 * Only on goroutines does it also park, yield, allocate and collect, at any
 * depth.  A third of them are movable.
 */
#include <alloca.h>
#include <pthread.h>
#include <stdarg.h>

#include "../support/stress.h"

#define TWINS 24
#define PLAIN __attribute__((noinline))
#define THREAD_BYTES ((size_t) 256 << 20)
#if defined(MPG_SPLIT_STACK)
#define STACK_BYTES 0
#else /* stacks don't grow */
#define STACK_BYTES ((size_t) 64 << 20)
#endif

static uint64_t fold(uint64_t *rng, int depth);

static PLAIN void collect_or_allocate(uint64_t what) {
  if (what % 50 == 0) {
    mpg_gc();
    return;
  }
  uint64_t *p = mpg_alloc(64 + what % 500);
  CHECK(p != NULL && p[7] == 0);
  *p = what;
}

/* Decides by what the twin decides by, too, but draws nothing. */
static void perhaps_leave(uint64_t what) {
  if (mpg_goid() == 0) return;
  switch (what % 40) {
  case 0: mpg_yield(); break;
  case 1: mpg_sleep(10000); break;
  case 2: collect_or_allocate(what / 40); break;
  default: break;
  }
}

/* ---- frames ---- */

struct words {
  uint64_t w[40];
};

static struct words words_draw(uint64_t *rng) {
  struct words v;
  for (int i = 0; i < 40; i++) v.w[i] = stress_random(rng);
  return v;
}

static uint64_t words_fold(uint64_t sum, const struct words *v) {
  for (int i = 0; i < 40; i++) sum = sum * 31 + v->w[i];
  return sum;
}

static PLAIN uint64_t by_value(uint64_t *rng, int depth, struct words v,
                               double x) {
  uint64_t sum = fold(rng, depth - 1);
  return words_fold(sum, &v) + (uint64_t) x;
}

static PLAIN struct words returned(uint64_t *rng, int depth) {
  struct words v = words_draw(rng);
  v.w[0] = fold(rng, depth - 1);
  return v;
}

#ifndef __clang__ /* which can't compile it for segments */
static PLAIN uint64_t variable(uint64_t *rng, int depth, ...) {
  va_list ap;
  va_start(ap, depth);
  uint64_t sum = fold(rng, depth - 1);
  for (int i = 0; i < 7; i++) {
    sum = sum * 7 + va_arg(ap, uint64_t);
    sum += (uint64_t) va_arg(ap, double);
  }
  sum += (uint64_t) va_arg(ap, long double);
  va_end(ap);
  return sum;
}

static PLAIN uint64_t with_variable(uint64_t *rng, int depth) {
  uint64_t a = stress_random(rng);
  return variable(rng, depth, a, 1., a + 1, 2., a + 2, 3., a + 3, 4., a + 4, 5.,
                  a + 5, 6., a + 6, 7., (long double) 8);
}
#else
#define with_variable with_array
#endif

static PLAIN uint64_t with_array(uint64_t *rng, int depth) {
  size_t most = stress_below(rng, 20) == 0 ? 40000 : 1500;
  size_t n = 1 + stress_below(rng, most);
  unsigned char b[n];
  for (size_t i = 0; i < n; i += 37)
    b[i] = (unsigned char) (i ^ (size_t) depth);
  uint64_t sum = fold(rng, depth - 1);
  for (size_t i = 0; i < n; i += 37) sum = sum * 3 + b[i];
  return sum;
}

struct piece {
  struct piece *next;
  uint64_t value;
};

static PLAIN uint64_t with_alloca(uint64_t *rng, int depth) {
  struct piece *list = NULL;
  for (uint64_t i = stress_below(rng, 6); i > 0; i--) {
    struct piece *p = alloca(sizeof *p + stress_below(rng, 900));
    *p = (struct piece){list, i + (uint64_t) depth};
    list = p;
  }
  uint64_t sum = fold(rng, depth - 1);
  for (; list != NULL; list = list->next) sum = sum * 5 + list->value;
  return sum;
}

static int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
  return (x > y) - (x < y);
}

static PLAIN uint64_t with_sort(uint64_t *rng, int depth) {
  struct words v = words_draw(rng);
  qsort(v.w, 40, sizeof v.w[0], compare);
  return words_fold(fold(rng, depth - 1), &v);
}

static PLAIN uint64_t with_text(uint64_t *rng, int depth) {
  char text[200];
  double x = (double) stress_below(rng, 100000) / 7;
  int n = snprintf(text, sizeof text, "%d %.6f %s %lx", depth, x, "abc",
                   (unsigned long) stress_random(rng));
  uint64_t sum = fold(rng, depth - 1);
  for (int i = 0; i < n; i++) sum = sum * 31 + (unsigned char) text[i];
  return sum + (uint64_t) strtod(strchr(text, ' '), NULL);
}

static PLAIN uint64_t with_words(uint64_t *rng, int depth) {
  struct words v = returned(rng, depth);
  return words_fold(0, &v);
}

static uint64_t fold(uint64_t *rng, int depth) {
  uint64_t r = stress_random(rng);
  perhaps_leave(r >> 20);
  if (depth <= 0) return r;
  switch (r % 8) {
  case 0: return by_value(rng, depth, words_draw(rng), 1.5 * depth);
  case 1: return with_words(rng, depth);
  case 2: return with_variable(rng, depth);
  case 3: return with_alloca(rng, depth);
  case 4: return with_sort(rng, depth);
  case 5: return with_text(rng, depth);
  default: return with_array(rng, depth);
  }
}

/* ---- twins ---- */

static struct twin {
  uint64_t seed, on_thread;
  int depth;
} twins[TWINS];
static mpg_waitgroup done;

static uint64_t fold_of(const struct twin *t) {
  uint64_t rng = t->seed;
  return fold(&rng, t->depth);
}

static void *on_thread(void *arg) {
  (void) arg;
  for (int i = 0; i < TWINS; i++) twins[i].on_thread = fold_of(&twins[i]);
  return NULL;
}

static void on_goroutine(void *arg) {
  const struct twin *t = arg;
  CHECK_EQ(fold_of(t), t->on_thread);
  mpg_waitgroup_done(&done);
}

static void ask_thread(void *arg) {
  (void) arg;
  pthread_attr_t attr;
  pthread_t thread;
  CHECK_EQ(pthread_attr_init(&attr), 0);
  CHECK_EQ(pthread_attr_setstacksize(&attr, THREAD_BYTES), 0);
  CHECK_EQ(pthread_create(&thread, &attr, on_thread, NULL), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  pthread_attr_destroy(&attr);
}

static void run_twins(uint64_t *rng) {
  for (int i = 0; i < TWINS; i++) {
    uint64_t most = stress_below(rng, 8) == 0 ? 600 : 90;
    twins[i].seed = stress_random(rng);
    twins[i].depth = (int) stress_below(rng, most);
  }
  mpg_blocking(ask_thread, NULL);
  stress_procs(rng, 8);
  mpg_waitgroup_add(&done, TWINS);
  for (int i = 0; i < TWINS; i++) {
    struct mpg_go_options opt = {.size = sizeof opt,
                                 .flags = i % 3 == 0 ? MPG_GO_MOVABLE : 0,
                                 .stack_bytes = STACK_BYTES};
    CHECK_EQ(mpg_go_with(&opt, on_goroutine, &twins[i]), 0);
  }
  mpg_waitgroup_wait(&done);
}

static void start(void *arg) {
  uint64_t rng = stress.seed;
  (void) arg;
  while (!stress_over()) run_twins(&rng);
}

int main(int argc, char **argv) { return stress_main(argc, argv, start); }
