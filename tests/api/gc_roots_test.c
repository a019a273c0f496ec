/* gc_roots_test.c - one object for each sort of root, reachable from nothing
 * else, through collections that would otherwise free it.
 *
 * gc_collect_test.unreachable_objects_are_freed is the control: the same
 * objects without a root are freed.  Here each case repeats that control on
 * its own objects once the root is gone, where that can be done.
 */
#include <dlfcn.h>
#include <pthread.h>

#include "../support/hide.h"

#define PLAIN __attribute__((noinline))

static mpg_waitgroup done;

/* ---- globals ---- */

static void *in_bss;
static void *in_data = &in_data;
static _Thread_local void *in_tls;
static struct {
  char odd;
  void *inner;
} in_struct;

static PLAIN hidden put(void **where, uintptr_t i) {
  *where = hide_object(i);
  return hide(*where);
}

static PLAIN void keeps(void **where) {
  hidden h = put(where, 7);
  hide_collect();
  hide_collect();
  CHECK(hide_alive(h, 7));
  *where = NULL;
}

static void globals_are_roots(void *arg) {
  (void) arg;
  keeps(&in_bss);
  keeps(&in_data);
  keeps(&in_struct.inner);
}

static void thread_local_variables_are_roots(void *arg) {
  (void) arg;
  keeps(&in_tls);
}

/* Of a thread that runs nothing now: the goroutine that wrote it is gone. */
static hidden tls_hidden;

static void write_tls(void *arg) {
  (void) arg;
  tls_hidden = put(&in_tls, 11);
  mpg_waitgroup_done(&done);
}

static void thread_locals_of_idle_threads_are_roots(void *arg) {
  (void) arg;
  mpg_gomaxprocs(4);
  for (int i = 0; i < 20; i++) {
    mpg_waitgroup_add(&done, 1);
    CHECK_GO(write_tls, NULL);
    mpg_waitgroup_wait(&done);
    mpg_sleep(100000);
    hide_collect();
    CHECK(hide_alive(tls_hidden, 11));
  }
}

static void registered_ranges_are_roots(void *arg) {
  (void) arg;
  void **m = calloc(8, sizeof(*m));
  CHECK_EQ(mpg_root_add(m, 8 * sizeof(*m)), 0);
  keeps(&m[0]);
  keeps(&m[7]);
  CHECK_EQ(mpg_root_remove(m), 0);
  int alive = 0; /* malloc memory alone is none */
  for (uintptr_t i = 0; i < 20; i++) {
    hidden h = put(&m[i % 8], i);
    hide_collect();
    alive += hide_alive(h, i);
  }
  CHECK_LE(alive, 5);
  free(m);
}

/* ---- a library that is loaded while the runtime runs ---- */

static void *library_symbol(void *library, const char *name) {
  void *p = dlsym(library, name);
  CHECK(p != NULL);
  return p;
}

/* rootlib.so lies beside this program. */
static void *library_open(void) {
  char path[4096];
  ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 32);
  CHECK_GT(n, 0);
  path[n] = '\0';
  strcpy(strrchr(path, '/'), "/rootlib.so");
  void *library = dlopen(path, RTLD_NOW);
  CHECK(library != NULL);
  return library;
}

static void globals_of_loaded_libraries_are_roots(void *arg) {
  (void) arg;
  void *library = library_open();
  keeps(library_symbol(library, "rootlib_bss"));
  keeps(library_symbol(library, "rootlib_data"));
  CHECK_EQ(dlclose(library), 0);
  hide_collect(); /* what is unmapped isn't read */
}

static PLAIN hidden put_in_library(void (*set)(int, void *), uintptr_t i) {
  void *p = hide_object(i);
  set(2, p);
  return hide(p);
}

static void thread_locals_of_loaded_libraries_are_roots(void *arg) {
  (void) arg;
  void *library = library_open();
  void *symbol = library_symbol(library, "rootlib_tls_set");
  hidden h = put_in_library((void (*)(int, void *)) symbol, 3);
  hide_collect();
  CHECK(hide_alive(h, 3));
}

/* ---- stacks ---- */

static PLAIN void collect_at_depth(int depth) {
  volatile char frame[300];
  frame[depth % 300] = 1;
  if (depth > 0)
    collect_at_depth(depth - 1);
  else
    hide_collect();
  CHECK_EQ(frame[depth % 300], 1);
}

static PLAIN void hold_on_stack_and_go(int depth) {
  void *volatile local = hide_object((uintptr_t) depth);
  hidden h = hide(local);
  collect_at_depth(depth);
  CHECK(hide_alive(h, (uintptr_t) depth));
  CHECK(local != NULL);
}

static void stacks_are_roots_across_segments(void *arg) {
  (void) arg;
  for (int depth = 0; depth < 500; depth += 1 + depth)
    hold_on_stack_and_go(depth);
}

static mpg_chan *gate;
static hidden parked_hidden[50];

static PLAIN void park_deep(int depth) {
  volatile char frame[200];
  frame[depth % 200] = 1;
  if (depth > 0)
    park_deep(depth - 1);
  else
    mpg_chan_recv(gate, NULL);
  CHECK_EQ(frame[depth % 200], 1);
}

static void hold_and_park(void *arg) {
  uintptr_t i = (uintptr_t) arg;
  void *volatile local = hide_object(i);
  parked_hidden[i] = hide(local);
  mpg_waitgroup_done(&done);
  park_deep((int) i);
  CHECK(local != NULL);
}

static void stacks_of_parked_goroutines_are_roots(void *arg) {
  (void) arg;
  gate = mpg_chan_new(0, 0);
  mpg_waitgroup_add(&done, 50);
  for (uintptr_t i = 0; i < 50; i++) CHECK_GO(hold_and_park, (void *) i);
  mpg_waitgroup_wait(&done);
  hide_collect();
  for (uintptr_t i = 0; i < 50; i++) CHECK(hide_alive(parked_hidden[i], i));
  mpg_chan_close(gate);
  CHECK_EVENTUALLY(mpg_num_goroutines() == 1);
}

/* A large argument on the stack: copied to the new segment by value. */
struct by_value {
  void *p[40];
};

static PLAIN void collect_with(struct by_value v, int i) {
  volatile char frame[3000];
  frame[i] = 1;
  hide_collect();
  CHECK_EQ(frame[i], 1);
  CHECK(v.p[i] != NULL);
}

static PLAIN hidden fill_value(struct by_value *v, int i) {
  memset(v, 0, sizeof(*v));
  v->p[i] = hide_object((uintptr_t) i);
  return hide(v->p[i]);
}

static void stack_arguments_are_roots(void *arg) {
  (void) arg;
  for (int i = 0; i < 40; i += 13) {
    struct by_value v;
    hidden h = fill_value(&v, i);
    collect_with(v, i);
    CHECK(hide_alive(h, (uintptr_t) i));
  }
}

/* ---- registers ---- */

/* Move the object's address to the callee-saved register alone, call
 * hide_collect, and look whether it is still there.  The frame is large, so
 * that the prologue made room for what is pushed here. */
#define IN_REGISTER(reg)                                                       \
  static PLAIN bool kept_in_##reg(hidden h) {                                  \
    volatile char frame[512];                                                  \
    uintptr_t same;                                                            \
    frame[0] = 0;                                                              \
    __asm__ volatile("mov %[bits], %%" #reg "\n\tnot %%" #reg                  \
                     "\n\tcall *%[fn]\n\t"                                     \
                     "not %%" #reg "\n\tmov %%" #reg ", %[same]\n\t"           \
                     : [same] "=m"(same)                                       \
                     : [bits] "m"(h.bits), [fn] "m"(collect_entry)             \
                     : #reg, "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9",    \
                       "r10", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2",   \
                       "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
                       "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");  \
    CHECK_EQ(frame[0], 0);                                                     \
    return same == h.bits;                                                     \
  }

static void (*collect_entry)(void) = hide_collect;

IN_REGISTER(rbx)
IN_REGISTER(r12)
IN_REGISTER(r13)
IN_REGISTER(r14)
IN_REGISTER(r15)

static void callee_saved_registers_are_roots(void *arg) {
  (void) arg;
  bool (*const kept[])(hidden) = {kept_in_rbx, kept_in_r12, kept_in_r13,
                                  kept_in_r14, kept_in_r15};
  for (uintptr_t i = 0; i < 5; i++) {
    hidden h = hide_new(i);
    hide_scrub();
    CHECK(kept[i](h));
    CHECK(hide_alive(h, i));
  }
}

/* ---- registers of running code ---- */

static _Atomic uint32_t spinning, release;

struct spin {
  hidden h;
  uintptr_t number;
};

#define SPIN_UNTIL_RELEASED \
  "movl $1, %[spinning]\n"  \
  "1:\tpause\n\tcmpl $0, %[release]\n\tje 1b\n\t"
#define SPIN_IO [spinning] "=m"(spinning) : [release] "m"(release)

static PLAIN void spin_with_general(const struct spin *s) {
  uintptr_t bits = s->h.bits;
  __asm__ volatile("not %[bits]\n\t" SPIN_UNTIL_RELEASED "not %[bits]\n\t"
                   : [bits] "+r"(bits), SPIN_IO
                   : "cc", "memory");
  CHECK_EQ(bits, s->h.bits);
}

static PLAIN void spin_with_xmm(const struct spin *s) {
  uintptr_t bits = s->h.bits;
  __asm__ volatile(
      "not %[bits]\n\tmovq %[bits], %%xmm9\n\txor %[bits], %[bits]\n\t"
      "punpcklqdq %%xmm9, %%xmm9\n\tpsrldq $8, %%xmm9\n\t"
      "pslldq $8, %%xmm9\n\t" /* upper half only */
      SPIN_UNTIL_RELEASED
      "psrldq $8, %%xmm9\n\tmovq %%xmm9, %[bits]\n\tnot %[bits]\n\t"
      : [bits] "+r"(bits), SPIN_IO
      : "cc", "memory", "xmm9");
  CHECK_EQ(bits, s->h.bits);
}

static PLAIN void spin_with_zmm(const struct spin *s) {
  uintptr_t bits = s->h.bits;
  if (!__builtin_cpu_supports("avx512f")) {
    spin_with_xmm(s);
    return;
  }
  __asm__ volatile(/* in word 7 of zmm21, nowhere else */
                   "not %[bits]\n\tvpbroadcastq %[bits], %%zmm21\n\t"
                   "mov $0x80, %%eax\n\tkmovw %%eax, %%k1\n\t"
                   "vmovdqa64 %%zmm21, %%zmm21%{%%k1%}%{z%}\n\t"
                   "xor %[bits], %[bits]\n\t" SPIN_UNTIL_RELEASED
                   "vextracti64x4 $1, %%zmm21, %%ymm0\n\t"
                   "vextracti128 $1, %%ymm0, %%xmm0\n\tpsrldq $8, %%xmm0\n\t"
                   "movq %%xmm0, %[bits]\n\tvzeroupper\n\tnot %[bits]\n\t"
                   : [bits] "+r"(bits), SPIN_IO
                   : "cc", "memory", "rax", "xmm0");
  CHECK_EQ(bits, s->h.bits);
}

static void (*spin_how)(const struct spin *);

static void spin_goroutine(void *arg) {
  const struct spin *s = arg;
  spin_how(s);
  CHECK(hide_alive(s->h, s->number));
  mpg_waitgroup_done(&done);
}

static struct spin spins[3];
static void *until_spinning; /* a collection may come before it spins */

static void collect_while_spinning(mpg_func fn) {
  for (uintptr_t i = 0; i < 3; i++) {
    until_spinning = hide_object(i);
    spins[i] = (struct spin){hide(until_spinning), i};
    atomic_store(&spinning, 0);
    atomic_store(&release, 0);
    mpg_waitgroup_add(&done, 1);
    CHECK_GO(fn, &spins[i]);
    CHECK_EVENTUALLY(atomic_load(&spinning) == 1);
    until_spinning = NULL;
    hide_collect();
    hide_collect();
    atomic_store(&release, 1);
    mpg_waitgroup_wait(&done);
  }
}

static void on_procs(int procs) {
  void (*const how[])(const struct spin *) = {spin_with_general, spin_with_xmm,
                                              spin_with_zmm};
  mpg_gomaxprocs(procs);
  for (int i = 0; i < 3; i++) {
    spin_how = how[i];
    collect_while_spinning(spin_goroutine);
  }
}

static void registers_of_running_goroutines_are_roots(void *arg) {
  (void) arg;
  on_procs(2);
}

static void registers_of_preempted_goroutines_are_roots(void *arg) {
  (void) arg;
  on_procs(1);
}

/* Under the C library's frames a goroutine can't be switched out: its thread
 * is frozen in the signal handler. */
static const struct spin *frozen;

static int spin_in_comparator(const void *a, const void *b) {
  (void) a, (void) b;
  if (atomic_load(&release) == 0) spin_how(frozen);
  return 0;
}

static void spin_in_qsort(void *arg) {
  int v[2] = {1, 2};
  frozen = arg;
  qsort(v, 2, sizeof(v[0]), spin_in_comparator);
  CHECK(hide_alive(frozen->h, frozen->number));
  mpg_waitgroup_done(&done);
}

static void registers_of_frozen_threads_are_roots(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  spin_how = spin_with_general;
  collect_while_spinning(spin_in_qsort);
  spin_how = spin_with_zmm;
  collect_while_spinning(spin_in_qsort);
}

/* ---- what the runtime holds for a goroutine ---- */

static hidden arg_hidden[200];

static void check_arg(void *arg) {
  const uintptr_t *p = arg;
  CHECK_EQ(p[0], p[HIDE_WORDS - 1]);
  CHECK_GE(p[0], HIDE_PATTERN);
  mpg_waitgroup_done(&done);
}

static PLAIN void go_with_object(uintptr_t i) {
  void *p = hide_object(i);
  arg_hidden[i] = hide(p);
  CHECK_GO(check_arg, p);
}

static void args_of_waiting_goroutines_are_roots(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  mpg_waitgroup_add(&done, 200);
  mpg_preempt_disable(); /* none of them starts */
  for (uintptr_t i = 0; i < 200; i++) go_with_object(i);
  hide_collect();
  for (uintptr_t i = 0; i < 200; i++) CHECK(hide_alive(arg_hidden[i], i));
  mpg_preempt_enable();
  mpg_waitgroup_wait(&done);
}

static PLAIN hidden send_object(mpg_chan *c, uintptr_t i) {
  void *p = hide_object(i);
  mpg_chan_send(c, &p);
  return hide(p);
}

static mpg_timer *timer_handle;

static void finished(void *arg) {
  (void) arg;
  mpg_waitgroup_done(&done);
}

static PLAIN hidden start_timer(uintptr_t i, int64_t ns) {
  void *p = hide_object(i);
  timer_handle = mpg_timer_start(ns, 0, finished, p);
  CHECK(timer_handle != NULL);
  return hide(p);
}

/* Stale words may keep one or the other. */
static int alive_after_collecting(const hidden *h, int n) {
  int alive = 0;
  mpg_sleep(1000000);
  for (int i = 0; i < 3; i++) hide_collect();
  for (int i = 0; i < n; i++) alive += hide_alive(h[i], (uintptr_t) i);
  return alive;
}

static void a_timer_that_is_over_keeps_nothing(void *arg) {
  (void) arg;
  enum { N = 20 };
  static mpg_timer *handles[2 * N];
  hidden fired[N], stopped[N];
  for (int i = 0; i < N; i++) {
    mpg_waitgroup_add(&done, 1);
    fired[i] = start_timer((uintptr_t) i, 0);
    handles[i] = timer_handle;
    stopped[i] = start_timer((uintptr_t) i, (int64_t) 60e9);
    handles[N + i] = timer_handle;
    CHECK(mpg_timer_stop(timer_handle));
  }
  mpg_waitgroup_wait(&done);
  CHECK_LE(alive_after_collecting(fired, N), N / 2);
  CHECK_LE(alive_after_collecting(stopped, N), N / 2);
  memset(handles, 0, sizeof handles);
}

static void channel_buffers_are_roots(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(void *), 100);
  hidden h[100];
  for (uintptr_t i = 0; i < 100; i++) h[i] = send_object(c, i);
  hide_collect();
  for (uintptr_t i = 0; i < 100; i++) {
    void *p;
    CHECK(hide_alive(h[i], i));
    CHECK(mpg_chan_recv(c, &p));
    CHECK(p == unhide(h[i]));
  }
}

static hidden sent;

static void send_and_wait(void *arg) {
  void *p = hide_object(77);
  sent = hide(p);
  mpg_waitgroup_done(&done);
  mpg_chan_send(arg, &p);
}

static void elements_of_blocked_senders_are_roots(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(void *), 0);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(send_and_wait, c);
  mpg_waitgroup_wait(&done);
  for (int i = 0; i < 10; i++) hide_collect();
  void *p;
  CHECK(mpg_chan_recv(c, &p));
  CHECK(p == unhide(sent));
  CHECK(hide_alive(sent, 77));
}

/* In malloc memory, which is no root; at an odd address, at worst. */
static mpg_chan *unused;

static void send_from(void *place) {
  void *p = hide_object(78);
  sent = hide(p);
  memcpy(place, &p, sizeof p);
}

static PLAIN char *malloc_element(void) {
  char *place = malloc(64);
  CHECK(place != NULL);
  memset(place, 0, 64);
  send_from(place + 1);
  return place;
}

static void send_malloc_and_wait(void *arg) {
  char *place = malloc_element();
  hide_scrub();
  mpg_waitgroup_done(&done);
  mpg_chan_send(arg, place + 1);
  free(place);
}

static void select_malloc_and_wait(void *arg) {
  char *place = malloc_element();
  struct mpg_select_case *cases = calloc(3, sizeof *cases);
  CHECK(cases != NULL);
  cases[0] = (struct mpg_select_case){.chan = unused, .dir = MPG_RECV};
  cases[2] =
      (struct mpg_select_case){.chan = arg, .dir = MPG_SEND, .elem = place + 1};
  hide_scrub();
  mpg_waitgroup_done(&done);
  CHECK_EQ(mpg_select(cases, 3), 2);
  free(cases);
  free(place);
}

static void elements_in_other_memory_are_roots(void *arg) {
  (void) arg;
  const mpg_func how[] = {send_malloc_and_wait, select_malloc_and_wait};
  unused = mpg_chan_new(1, 0);
  for (int i = 0; i < 2; i++) {
    mpg_chan *c = mpg_chan_new(sizeof(void *), 0);
    void *p;
    mpg_waitgroup_add(&done, 1);
    CHECK_GO(how[i], c);
    mpg_waitgroup_wait(&done);
    mpg_sleep(1000000); /* until it waits */
    for (int k = 0; k < 5; k++) hide_collect();
    CHECK(hide_alive(sent, 78));
    CHECK(mpg_chan_recv(c, &p));
    CHECK(p == unhide(sent));
  }
}

/* The channel itself: only a parked receiver refers to it. */
static mpg_chan *only;

static void wait_on_own_channel(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(int), 0);
  only = c;
  mpg_waitgroup_done(&done);
  int x = 0;
  CHECK(mpg_chan_recv(c, &x));
  CHECK_EQ(x, 5);
  mpg_waitgroup_done(&done);
}

static PLAIN hidden take_channel(void) {
  hidden h = hide(only);
  only = NULL;
  return h;
}

static void channels_that_somebody_waits_on_are_kept(void *arg) {
  (void) arg;
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(wait_on_own_channel, NULL);
  mpg_waitgroup_wait(&done);
  hidden h = take_channel();
  hide_collect();
  int x = 5;
  mpg_waitgroup_add(&done, 1);
  mpg_chan_send(unhide(h), &x);
  mpg_waitgroup_wait(&done);
}

struct blocking {
  void *p;
  int pipe[2];
};

static void block_in_read(void *arg) {
  struct blocking *b = arg;
  char c;
  while (read(b->pipe[0], &c, 1) < 0) {
  }
}

static void call_blocking(void *arg) {
  mpg_blocking(block_in_read, arg);
  mpg_waitgroup_done(&done);
}

static hidden blocking_hidden;

static PLAIN int start_blocking(void) {
  struct blocking *b = mpg_alloc(sizeof(*b));
  b->p = hide_object(5);
  blocking_hidden = hide(b->p);
  CHECK_EQ(pipe(b->pipe), 0);
  CHECK_GO(call_blocking, b);
  return b->pipe[1];
}

static void arg_of_blocking_is_a_root(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  mpg_waitgroup_add(&done, 1);
  int fd = start_blocking();
  for (int i = 0; i < 10; i++) hide_collect();
  CHECK(hide_alive(blocking_hidden, 5));
  CHECK_EQ(write(fd, "x", 1), 1);
  mpg_waitgroup_wait(&done);
}

static const struct check_case cases[] = {
    INSIDE(globals_are_roots),
    INSIDE(thread_local_variables_are_roots),
    INSIDE(thread_locals_of_idle_threads_are_roots),
    INSIDE(registered_ranges_are_roots),
    INSIDE(globals_of_loaded_libraries_are_roots),
    INSIDE(thread_locals_of_loaded_libraries_are_roots),
    INSIDE(stacks_are_roots_across_segments),
    INSIDE(stacks_of_parked_goroutines_are_roots),
    INSIDE(stack_arguments_are_roots),
    INSIDE(callee_saved_registers_are_roots),
    INSIDE(registers_of_running_goroutines_are_roots),
    INJECTS(registers_of_preempted_goroutines_are_roots),
    STEALS(registers_of_frozen_threads_are_roots),
    INSIDE(args_of_waiting_goroutines_are_roots),
    INSIDE(a_timer_that_is_over_keeps_nothing),
    INSIDE(channel_buffers_are_roots),
    INSIDE(elements_of_blocked_senders_are_roots),
    INSIDE(elements_in_other_memory_are_roots),
    INSIDE(channels_that_somebody_waits_on_are_kept),
    INSIDE(arg_of_blocking_is_a_root),
};

int main(int argc, char **argv) {
  check_switches("clobberfree=1");
  return check_cases(cases, sizeof(cases) / sizeof(*cases), argc, argv, 30);
}
