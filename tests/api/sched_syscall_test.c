/* sched_syscall_test.c - goroutines that block in the kernel.
 *
 * One P throughout: whatever main does beside a blocked goroutine shows that
 * the P was handed off.
 */
#include <errno.h>

#include "../support/check.h"

static mpg_waitgroup done;
static _Atomic int entered;

struct blocked {
  int pipe[2];
  int got;
};

static struct blocked *blocked_new(void) {
  struct blocked *b = mpg_alloc(sizeof(*b));
  CHECK(b != NULL);
  CHECK_EQ(pipe(b->pipe), 0);
  return b;
}

static void blocked_free(struct blocked *b) {
  close(b->pipe[0]);
  close(b->pipe[1]);
}

/* EINTR: the collector's signal may interrupt a read. */
static int read_byte(int fd) {
  unsigned char c;
  ssize_t n;
  do n = read(fd, &c, 1);
  while (n < 0 && errno == EINTR);
  return n == 1 ? c : -1;
}

static void write_byte(int fd, char c) { CHECK_EQ(write(fd, &c, 1), 1); }

static void read_in_syscall(void *arg) {
  struct blocked *b = arg;
  atomic_fetch_add(&entered, 1);
  mpg_syscall_enter();
  int got = read_byte(b->pipe[0]);
  mpg_syscall_exit();
  b->got = got;
  mpg_waitgroup_done(&done);
}

static void read_a_byte(void *arg) {
  struct blocked *b = arg;
  b->got = read_byte(b->pipe[0]);
}

static void read_in_blocking(void *arg) {
  atomic_fetch_add(&entered, 1);
  mpg_blocking(read_a_byte, arg);
  mpg_waitgroup_done(&done);
}

/* Nobody is told: the P stays with the blocked thread. */
static void read_raw(void *arg) {
  atomic_fetch_add(&entered, 1);
  read_a_byte(arg);
  mpg_waitgroup_done(&done);
}

static void let_others_run_beside(mpg_func fn) {
  mpg_gomaxprocs(1);
  struct blocked *b = blocked_new();
  atomic_store(&entered, 0);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(fn, b);
  CHECK_EVENTUALLY(atomic_load(&entered) == 1);
  for (int i = 0; i < 20; i++) {
    mpg_yield();
    mpg_sleep(10000);
    mpg_gc();
  }
  write_byte(b->pipe[1], 'x');
  mpg_waitgroup_wait(&done);
  CHECK_EQ(b->got, 'x');
  blocked_free(b);
}

static void syscall_hands_the_p_off(void *arg) {
  (void) arg;
  let_others_run_beside(read_in_syscall);
}

static void blocking_hands_the_p_off(void *arg) {
  (void) arg;
  let_others_run_beside(read_in_blocking);
}

static void a_raw_read_stops_nobody(void *arg) {
  (void) arg;
  let_others_run_beside(read_raw);
}

static void many_block(mpg_func fn, int n) {
  struct blocked **b = mpg_alloc((size_t) n * sizeof(*b));
  mpg_gomaxprocs(1);
  atomic_store(&entered, 0);
  mpg_waitgroup_add(&done, n);
  for (int i = 0; i < n; i++) CHECK_GO(fn, b[i] = blocked_new());
  CHECK_EVENTUALLY(atomic_load(&entered) == n);
  mpg_gc();
  for (int i = 0; i < n; i++) write_byte(b[i]->pipe[1], (char) (i % 100));
  mpg_waitgroup_wait(&done);
  for (int i = 0; i < n; i++) {
    CHECK_EQ(b[i]->got, i % 100);
    blocked_free(b[i]);
  }
}

static void a_hundred_block_at_once(void *arg) {
  (void) arg;
  many_block(read_in_syscall, 100);
  many_block(read_in_blocking, 100);
}

static void raw_reads_at_once_stop_nobody(void *arg) {
  (void) arg;
  many_block(read_raw, 20);
  /* The surplus goes when the threads have come back: one P is left. */
  CHECK_EQ(mpg_gomaxprocs(0), 1);
}

/* Threads that are started ahead take nobody's place below the limit. */
#define LIMIT 24

static void bursts_keep_to_the_limit(void *arg) {
  (void) arg;
  int old = mpg_set_max_threads(LIMIT);
  for (int i = 0; i < 20; i++) many_block(read_in_syscall, LIMIT - 4);
  CHECK_EQ(mpg_set_max_threads(old), LIMIT);
}

/* Short ones: the same P is taken back. */
static void do_syscalls(void *arg) {
  for (intptr_t i = (intptr_t) arg; i > 0; i--) {
    mpg_syscall_enter();
    pid_t pid = getppid();
    mpg_syscall_exit();
    CHECK_GT(pid, -1);
  }
  mpg_waitgroup_done(&done);
}

static void short_syscalls(void *arg) {
  (void) arg;
  for (int procs = 1; procs <= 4; procs *= 2) {
    mpg_gomaxprocs(procs);
    mpg_waitgroup_add(&done, 8);
    for (int i = 0; i < 8; i++) CHECK_GO(do_syscalls, (void *) 20000);
    for (int i = 0; i < 20; i++) {
      mpg_gc();
      mpg_yield();
    }
    mpg_waitgroup_wait(&done);
  }
}

/* The stack grows while the goroutine has no P. */
static __attribute__((noinline)) int deep(int depth) {
  volatile char frame[500];
  frame[depth % 500] = (char) depth;
  return depth == 0 ? 0
                    : deep(depth - 1) + (frame[depth % 500] == (char) depth);
}

static void call_deep(void *arg) { *(int *) arg = deep(100); }

static void the_stack_grows_in_there(void *arg) {
  (void) arg;
  for (int i = 0; i < 20; i++) {
    int n = 0;
    mpg_blocking(call_deep, &n);
    CHECK_EQ(n, 100);
    mpg_syscall_enter();
    n = deep(100);
    mpg_syscall_exit();
    CHECK_EQ(n, 100);
  }
}

static void sleep_blocking(void *arg) {
  (void) arg;
  struct timespec t = {0, 2000000};
  mpg_syscall_enter();
  nanosleep(&t, NULL);
  mpg_syscall_exit();
  mpg_waitgroup_done(&done);
}

static void the_number_of_ps_changes_meanwhile(void *arg) {
  (void) arg;
  for (int round = 0; round < 10; round++) {
    mpg_waitgroup_add(&done, 10);
    for (int i = 0; i < 10; i++) CHECK_GO(sleep_blocking, NULL);
    for (int i = 0; i < 10; i++) mpg_gomaxprocs(1 + (round + i) % 5);
    mpg_waitgroup_wait(&done);
  }
}

static void no_deadlock_is_seen_in_a_syscall(void *arg) {
  (void) arg;
  struct timespec t = {0, 20000000};
  mpg_syscall_enter();
  nanosleep(&t, NULL);
  mpg_syscall_exit();
}

/* The only pointers to objects are in registers that calls preserve. */
#define REGISTERS 5
static uintptr_t hidden[REGISTERS];
static void *kept[REGISTERS]; /* until they are in registers */
static _Atomic uint32_t inside, collected;

static __attribute__((noinline)) void hide_objects(mpg_weak **weak) {
  for (int i = 0; i < REGISTERS; i++) {
    kept[i] = mpg_alloc(64);
    CHECK((weak[i] = mpg_weak_new(kept[i])) != NULL);
    hidden[i] = ~(uintptr_t) kept[i];
  }
}

/* Enters with the objects in registers, says so, leaves when *until isn't 0. */
void enter_with_registers(const uintptr_t *masked, _Atomic uint32_t *says,
                          _Atomic uint32_t *until);
__asm__(
    ".pushsection .text\n"
    ".type enter_with_registers, @function\n"
    "enter_with_registers:\n\t"
    "push %rbp\n\t"
    "mov %rsp, %rbp\n\t"
    "push %rbx\n\t"
    "push %r12\n\t"
    "push %r13\n\t"
    "push %r14\n\t"
    "push %r15\n\t"
    "push %rsi\n\t"
    "push %rdx\n\t"
    "sub $8, %rsp\n\t"
    "mov (%rdi), %rbx\n\t"
    "mov 8(%rdi), %r12\n\t"
    "mov 16(%rdi), %r13\n\t"
    "mov 24(%rdi), %r14\n\t"
    "mov 32(%rdi), %r15\n\t"
    "not %rbx\n\t"
    "not %r12\n\t"
    "not %r13\n\t"
    "not %r14\n\t"
    "not %r15\n\t"
    "call mpg_syscall_enter@PLT\n\t"
    "mov 16(%rsp), %rsi\n\t"
    "mov 8(%rsp), %rdx\n\t"
    "movl $1, (%rsi)\n"
    "1:\n\t"
    "pause\n\t"
    "cmpl $0, (%rdx)\n\t"
    "je 1b\n\t"
    "call mpg_syscall_exit@PLT\n\t"
    "add $24, %rsp\n\t"
    "pop %r15\n\t"
    "pop %r14\n\t"
    "pop %r13\n\t"
    "pop %r12\n\t"
    "pop %rbx\n\t"
    "pop %rbp\n\t"
    "ret\n\t"
    ".size enter_with_registers, . - enter_with_registers\n"
    ".popsection");

static void keep_in_registers(void *arg) {
  hide_objects(arg);
  enter_with_registers(hidden, &inside, &collected);
  mpg_waitgroup_done(&done);
}

static void registers_keep_objects_alive(void *arg) {
  (void) arg;
  mpg_weak **weak = mpg_alloc(REGISTERS * sizeof *weak);
  mpg_gomaxprocs(2);
  for (int round = 0; round < 5; round++) {
    atomic_store(&inside, 0);
    atomic_store(&collected, 0);
    mpg_waitgroup_add(&done, 1);
    CHECK_GO(keep_in_registers, weak);
    CHECK_EVENTUALLY(atomic_load(&inside));
    memset(kept, 0, sizeof kept);
    mpg_gc();
    for (int i = 0; i < REGISTERS; i++) CHECK(mpg_weak_get(weak[i]) != NULL);
    atomic_store(&collected, 1);
    mpg_waitgroup_wait(&done);
  }
}

static void max_threads_is_set_and_reported(void *arg) {
  (void) arg;
  int before = mpg_set_max_threads(5000);
  CHECK_EQ(before, 10000);
  CHECK_EQ(mpg_set_max_threads(10000), 5000);
}

static const struct check_case cases[] = {
    INSIDE(syscall_hands_the_p_off),
    INSIDE(blocking_hands_the_p_off),
    INSIDE(a_hundred_block_at_once),
    INSIDE(bursts_keep_to_the_limit),
    INSIDE(a_raw_read_stops_nobody),
    STEALS(raw_reads_at_once_stop_nobody),
    INSIDE(short_syscalls),
    INSIDE(the_stack_grows_in_there),
    INSIDE(the_number_of_ps_changes_meanwhile),
    INSIDE(no_deadlock_is_seen_in_a_syscall),
    INSIDE(registers_keep_objects_alive),
    INSIDE(max_threads_is_set_and_reported),
};
CHECK_MAIN(cases, 20)
