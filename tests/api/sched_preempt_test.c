/* sched_preempt_test.c - a loop that never calls the runtime loses its P.
 *
 * One P, one loop of each sort, and main, which needs that P to get anything
 * done.
 */
#include "../../examples/loops.h"
#include "../support/check.h"
#include "../support/noinline.h"

static void beside(const char *name) {
  const struct loop_kind *kind = loops_find(name);
  CHECK(kind != NULL);
  if (!loops_usable(kind)) return;
  mpg_gomaxprocs(1);
  CHECK_EQ(loops_open(), 0);
  CHECK_GO(kind->fn, NULL);
  while (atomic_load(&loops_started) == 0) mpg_yield();
  for (int i = 0; i < 3; i++) mpg_yield(); /* each: a slice of the loop */
  for (int i = 0; i < 3; i++) mpg_sleep(100000);
  loops_close(0);
}

static void beside_an_empty_loop(void *arg) { (void) arg, beside("empty"); }
static void beside_a_frameless_leaf(void *arg) { (void) arg, beside("leaf"); }
static void beside_a_loop_that_calls(void *arg) { (void) arg, beside("calls"); }
static void beside_an_avx512_loop(void *arg) { (void) arg, beside("avx512"); }
/* Not while they are in the C library, but between two calls of it. */
static void beside_memset(void *arg) { (void) arg, beside("memset"); }
static void beside_qsort(void *arg) { (void) arg, beside("qsort"); }

static mpg_waitgroup done;
static _Atomic uint64_t turns[4];
static _Atomic bool quit;

static void take_turns(void *arg) {
  _Atomic uint64_t *mine = arg;
  while (!atomic_load(&quit)) atomic_fetch_add(mine, 1);
  mpg_waitgroup_done(&done);
}

static void loops_share_one_p(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  mpg_waitgroup_add(&done, 4);
  for (int i = 0; i < 4; i++) CHECK_GO(take_turns, &turns[i]);
  for (int round = 0; round < 3; round++) {
    uint64_t before[4];
    for (int i = 0; i < 4; i++) before[i] = atomic_load(&turns[i]);
    for (int i = 0; i < 4; i++)
      CHECK_EVENTUALLY(atomic_load(&turns[i]) > before[i]);
  }
  atomic_store(&quit, true);
  mpg_waitgroup_wait(&done);
}

/* ---- what must not notice ---- */

/* Every value that the loop carries in flags and general registers. */
static void sum_in_registers(void *arg) {
  uint64_t *result = arg;
  uint64_t a = 0, b = 1;
  for (uint64_t i = 0; i < 30000000; i++) {
    uint64_t t = a + b;
    a = b;
    b = t ^ (i & 0xff);
    CHECK_OPAQUE(a);
  }
  *result = a;
  mpg_waitgroup_done(&done);
}

static void results_of_preempted_loops_agree(void *arg) {
  (void) arg;
  uint64_t r[4] = {0};
  mpg_gomaxprocs(1);
  mpg_waitgroup_add(&done, 4);
  for (int i = 0; i < 4; i++) CHECK_GO(sum_in_registers, &r[i]);
  mpg_waitgroup_wait(&done);
  for (int i = 1; i < 4; i++) CHECK_EQ(r[i], r[0]);
}

/* The 128 bytes below SP belong to a leaf. */
static void use_red_zone(void *arg) {
  (void) arg;
  while (!atomic_load(&quit)) {
    uint64_t bad = 0;
    __asm__ volatile(
        "movq $0x1111, -8(%%rsp)\n\t"
        "movq $0x2222, -64(%%rsp)\n\t"
        "movq $0x3333, -128(%%rsp)\n\t"
        "mov $100000, %%ecx\n"
        "1:\tdec %%ecx\n\t"
        "jnz 1b\n\t"
        "cmpq $0x1111, -8(%%rsp)\n\t"
        "setne %b0\n\t"
        "cmpq $0x2222, -64(%%rsp)\n\t"
        "setne %%cl\n\t"
        "or %%cl, %b0\n\t"
        "cmpq $0x3333, -128(%%rsp)\n\t"
        "setne %%cl\n\t"
        "or %%cl, %b0\n\t"
        : "+q"(bad)
        :
        : "rcx", "cc", "memory");
    CHECK_EQ(bad, 0);
  }
  mpg_waitgroup_done(&done);
}

static void the_red_zone_survives(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  atomic_store(&quit, false);
  mpg_waitgroup_add(&done, 3);
  for (int i = 0; i < 3; i++) CHECK_GO(use_red_zone, NULL);
  for (int i = 0; i < 20; i++) mpg_yield();
  atomic_store(&quit, true);
  mpg_waitgroup_wait(&done);
}

/* The compiler keeps errno's address in a register: when the goroutine moves
 * to another thread, so must the address; and the value is carried over. */
static void keep_errno(void *arg) {
  int mine = (int) (intptr_t) arg;
  errno = mine;
  while (!atomic_load(&quit)) CHECK_EQ(errno, mine);
  mpg_waitgroup_done(&done);
}

static void errno_survives(void *arg) {
  (void) arg;
  for (int procs = 1; procs <= 3; procs++) {
    mpg_gomaxprocs(procs);
    atomic_store(&quit, false);
    mpg_waitgroup_add(&done, 5);
    for (int i = 1; i <= 5; i++) CHECK_GO(keep_errno, (void *) (intptr_t) i);
    for (int i = 0; i < 20; i++) mpg_yield();
    atomic_store(&quit, true);
    mpg_waitgroup_wait(&done);
  }
}

/* ---- disable: promised to every kind of code ---- */

static _Atomic bool ran;
static pthread_t runner; /* before ran */

static void run_now(void *arg) {
  (void) arg;
  runner = pthread_self();
  atomic_store(&ran, true);
}

/* Under TSan a goroutine that waits for a lock of its library counts as
 * blocked, and another may run beside it: on another thread. */
static bool ran_instead(void) {
#if defined(__SANITIZE_THREAD__)
  return atomic_load(&ran) && pthread_equal(runner, pthread_self());
#else
  return atomic_load(&ran);
#endif
}

static void spin_ms(int64_t ms) {
  for (int64_t end = mpg_now() + ms * 1000000; mpg_now() < end;)
    __asm__ volatile("pause");
}

static void disable_forbids_the_switch(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  mpg_preempt_disable();
  mpg_preempt_disable(); /* nests */
  CHECK_GO(run_now, NULL);
  spin_ms(30);
  CHECK(!ran_instead());
  mpg_preempt_enable();
  spin_ms(30);
  CHECK(!ran_instead());
  mpg_preempt_enable();
  CHECK_EVENTUALLY(atomic_load(&ran));
}

static _Atomic bool collected;

static void collect(void *arg) {
  (void) arg;
  mpg_gc();
  atomic_store(&collected, true);
}

/* The collector freezes the thread where it is. */
static void disable_does_not_delay_a_collection(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  CHECK_GO(collect, NULL);
  mpg_preempt_disable();
  while (!atomic_load(&collected)) __asm__ volatile("pause");
  mpg_preempt_enable();
}

/* ---- SP is no multiple of 8 in leaf functions of Clang's ---- */

enum { ODD = 7 };
static mpg_waitgroup odd_done;
static _Atomic bool odd_end;

/* Until *end, with SP lower by `by`; the object is in a register only.  Who
 * looks at its frame has a frame pointer, and tables that don't count SP. */
static NOINLINE long *keep_in_register(long *object, long by,
                                       const _Atomic bool *end) {
  __asm__ volatile(
      "sub %1, %%rsp\n"
      "1:\tcmpb $0, (%2)\n\t"
      "je 1b\n\t"
      "add %1, %%rsp"
      : "+r"(object)
      : "r"(by), "r"(end), "r"(__builtin_frame_address(0))
      : "cc", "memory");
  return object;
}

static void hold(void *arg) {
  long by = (long) arg, *object = mpg_alloc(3 * sizeof(long));
  CHECK(object != NULL);
  object[1] = by;
  object = keep_in_register(object, by, &odd_end);
  CHECK_EQ(object[1], by);
  mpg_waitgroup_done(&odd_done);
}

/* Everybody has run, and was switched out, when main's turn has come twice. */
static void registers_at_an_odd_sp_are_roots(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  atomic_store(&odd_end, false);
  mpg_waitgroup_add(&odd_done, ODD);
  for (long by = 1; by <= ODD; by++) CHECK_GO(hold, (void *) by);
  for (int i = 0; i < 2; i++) mpg_yield();
  for (int i = 0; i < 3; i++) {
    mpg_gc();
    for (int k = 0; k < 1000; k++) {
      long *other = mpg_alloc(3 * sizeof(long));
      CHECK(other != NULL);
      other[1] = -1;
    }
    mpg_yield();
  }
  atomic_store(&odd_end, true);
  mpg_waitgroup_wait(&odd_done);
}

static const struct check_case cases[] = {
    INJECTS(beside_an_empty_loop),
    INJECTS(beside_a_frameless_leaf),
    INSIDE(beside_a_loop_that_calls),
    INJECTS(beside_an_avx512_loop),
    INJECTS(beside_memset),
    INJECTS(beside_qsort),
    INJECTS(loops_share_one_p),
    INSIDE(results_of_preempted_loops_agree),
    INJECTS(the_red_zone_survives),
    INJECTS(errno_survives),
    INJECTS(registers_at_an_odd_sp_are_roots),
    INSIDE(disable_forbids_the_switch),
    STEALS(disable_does_not_delay_a_collection),
};
CHECK_MAIN(cases, 20)
