/* explore.h - every interleaving of a few threads that run real code.
 *
 * A model is a program: it includes model.h, then the scheduler's own source
 * files, and runs threads over them with explore_pass and explore_fail_with.
 * In those sources each atomic operation is a step (model.h redefines the
 * atomic_* macros); between two steps any other thread may run.  The explorer
 * visits every reachable state once (explore.c) and reports
 *   a failed check          explore_require, MPG_ASSERT, MPG_VERIFY, fatal
 *   a deadlock              nobody can run, and not every thread is done
 *   a state without a way   from it no order of steps reaches the end: a lost
 *                           wake-up with somebody spinning, a livelock
 *
 * Memory: EXPLORE_SC  every operation takes effect at once
 *         EXPLORE_TSO x86: stores wait in a FIFO of their thread; locked
 *                     operations, fences and system calls wait for it to
 *                     empty; loads look into it first
 *         EXPLORE_PSO weaker than x86: stores to different words may overtake
 *                     each other, except that a release store stays behind
 *                     earlier ones, and only RMWs that release or are
 *                     sequentially consistent wait.  Checks that the source
 *                     says what it needs, which a compiler relies on too.
 * Loads are never reordered, so missing acquires are not noticed.
 *
 * Mutants: an operation of one function made wrong, to show that the model
 * would see it.  A mutant that is never met fails the test.
 *
 * Rules for a model
 *   - All state is in the program's .data and .bss and on the threads' stacks;
 *     nothing is allocated, no _Thread_local is written.
 *   - Plain shared data is touched under a lock or by an owner: plain accesses
 *     between two steps are one with the step before them.
 *   - Stacks are EXPLORE_STACK_BYTES.
 */
#ifndef TESTS_MODEL_EXPLORE_H
#define TESTS_MODEL_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPLORE_THREADS 6
#define EXPLORE_STACK_BYTES ((size_t) 32 << 10)

enum explore_memory { EXPLORE_SC, EXPLORE_TSO, EXPLORE_PSO };

/* Sorts of operation, as a mutant names them. */
enum explore_op {
  EXPLORE_LOAD,
  EXPLORE_STORE,
  EXPLORE_RMW,
  EXPLORE_CAS,
  EXPLORE_FENCE,
  EXPLORE_WAKE,
};
enum explore_how {
  EXPLORE_SKIP,  /* it isn't there (loads and CAS: not allowed) */
  EXPLORE_RELAX, /* with relaxed order */
  EXPLORE_TEAR,  /* RMW, CAS: a load, then a relaxed store */
};

struct explore_mutant {
  const char *func; /* in which it is written */
  enum explore_op op;
  enum explore_how how;
  const volatile void *addr; /* only there; NULL: anywhere */
};

struct explore_thread {
  const char *name;
  void (*run)(int arg);
  int arg;
  bool daemon; /* the end doesn't wait for it */
};

struct explore_config {
  const char *name;
  enum explore_memory memory;
  bool spurious; /* sleepers may wake for no reason */
  bool barriers; /* explore_barrier is used: a store is a step of its own */
  void (*setup)(void);
  struct explore_thread thread[EXPLORE_THREADS]; /* until name is NULL */
  void (*at_end)(void);                          /* every thread is done */
  /* Nobody can run before the clock moves on (explore_sleep's deadlines). */
  void (*when_quiet)(int64_t next_deadline);
  const struct explore_mutant *mutant;
};

/* Explore; a failure of the program is printed with the steps that lead to it
 * and makes explore_status 1. */
void explore_pass(const struct explore_config *c);
/* Explore; not to fail, or to fail with a message without text, is a failure
 * of the program. */
void explore_fail_with(const struct explore_config *c, const char *text);
int explore_status(void);

/* ---- in setup ---- */
/* Nobody will write [p, p + bytes): it is no part of the state, and loads from
 * it are no steps.  Verified. */
void explore_constant(const volatile void *p, size_t bytes);
/* For printing. */
void explore_name(const volatile void *p, size_t bytes, const char *name);

/* ---- in threads ---- */
int explore_self(void); /* index of the running thread */
/* One of 0..n-1, every one is tried; n <= 15. */
int explore_choose(int n);
/* A step at which nothing happens. */
void explore_step(const char *what);
/* Wait until ready(arg); evaluated by the explorer, on memory. */
void explore_await(bool (*ready)(const void *arg), const void *arg);
/* Exclusive, word is 0 when free; a step each; barriers as a futex mutex. */
void explore_lock(_Atomic uint32_t *word);
void explore_unlock(_Atomic uint32_t *word);
bool explore_trylock(_Atomic uint32_t *word);
/* futex: sleep while *word == expected.  deadline: explore_now's clock, < 0
 * none; it is reached only when nobody else can run.  False: it was. */
bool explore_sleep(_Atomic uint32_t *word, uint32_t expected, int64_t deadline,
                   const char *func);
void explore_wake(_Atomic uint32_t *word, int n, const char *func);
/* End the running thread here. */
_Noreturn void explore_done(void);
/* Moves on only by deadlines. */
int64_t explore_now(void);

/* Give up this execution: the model is wrong. */
_Noreturn void explore_failed(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));
#define EXPLORE_STRING_(x) #x
#define EXPLORE_STRING(x) EXPLORE_STRING_(x)
#define explore_require(cond)                                                 \
  do {                                                                        \
    if (!(cond))                                                              \
      explore_failed("%s", __FILE__ ":" EXPLORE_STRING(__LINE__) ": " #cond); \
  } while (0)

/* ---- what the macros of model.h call ---- */
enum explore_rmw_op {
  EXPLORE_XCHG,
  EXPLORE_ADD,
  EXPLORE_SUB,
  EXPLORE_OR,
  EXPLORE_AND
};
uint64_t explore_load(const volatile void *p, size_t bytes, int order,
                      const char *func);
void explore_store(volatile void *p, size_t bytes, uint64_t value, int order,
                   const char *func);
uint64_t explore_rmw(volatile void *p, size_t bytes, enum explore_rmw_op op,
                     uint64_t operand, int order, const char *func);
bool explore_cas(volatile void *p, size_t bytes, void *expected,
                 uint64_t desired, int order, const char *func);
void explore_fence(int order, const char *func);
/* One in every thread: membarrier(2).  c.barriers must be set. */
void explore_barrier(const char *func);

#endif /* TESTS_MODEL_EXPLORE_H */
