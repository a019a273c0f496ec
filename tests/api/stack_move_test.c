/* stack_move_test.c - stacks of movable goroutines: they are swapped out and
 * in, what is on them survives, and a pointer from elsewhere keeps them.
 *
 * A collection may swap out what stayed parked since the one before.
 */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>

#include "../support/hide.h"

/* Fixed stacks stay: then only that nothing breaks is tested. */
#if defined(MPG_SPLIT_STACK)
#define MOVES true
#else
#define MOVES false
#endif

static mpg_chan *gate, *done;
static _Atomic int ready;

static void go_movable(mpg_func fn, void *arg) {
  struct mpg_go_options opt = {.size = sizeof(opt), .flags = MPG_GO_MOVABLE};
  CHECK_EQ(mpg_go_with(&opt, fn, arg), 0);
}

static struct mpg_stack_stats stats(void) {
  struct mpg_stack_stats s = {.size = sizeof(s)};
  CHECK_EQ(mpg_stack_stats_read(&s), 0);
  return s;
}

static void begin(void) {
  gate = mpg_chan_new(sizeof(uint64_t), 0);
  done = mpg_chan_new(sizeof(uint64_t), 0);
  CHECK(gate != NULL && done != NULL);
  atomic_store(&ready, 0);
}

/* Until n are parked (or will be at once), then two collections. */
static void settle(int n) {
  CHECK_EVENTUALLY(atomic_load(&ready) == n);
  mpg_sleep(20 * 1000000);
  mpg_gc();
  mpg_gc();
}

#define COUNTER(name) offsetof(struct mpg_stack_stats, name)

static uint64_t counter_of(const struct mpg_stack_stats *s, size_t counter) {
  uint64_t x;
  memcpy(&x, (const char *) s + counter, sizeof(x));
  return x;
}

/* Collect until a counter has passed what it was: a stale word somewhere may
 * pin a stack for some cycles. */
static void until_counted(const struct mpg_stack_stats *before,
                          size_t counter) {
  uint64_t was = counter_of(before, counter);
  struct mpg_stack_stats now = stats();
  for (; MOVES && counter_of(&now, counter) == was; now = stats()) mpg_gc();
}

static uint64_t result(void) {
  uint64_t x = 0;
  CHECK(mpg_chan_recv(done, &x));
  return x;
}

static void open_gate(uint64_t value) { mpg_chan_send(gate, &value); }

/* ---- what is on a stack survives ---- */

struct link {
  struct link *next; /* on the same stack */
  uint64_t value;
};

static __attribute__((noinline)) uint64_t sum_links(const struct link *l) {
  uint64_t s = 0;
  for (; l; l = l->next) s = s * 31 + l->value;
  return s;
}

static __attribute__((noinline)) uint64_t chain(int depth, struct link *below) {
  struct link here = {below, (uint64_t) depth * 7 + 1};
  uint64_t got = 0;
  if (depth > 0) return chain(depth - 1, &here) + sum_links(&here);
  uint64_t before = sum_links(&here);
  atomic_fetch_add(&ready, 1);
  CHECK(mpg_chan_recv(gate, &got)); /* an element on this stack */
  CHECK_EQ(sum_links(&here), before);
  return before + got;
}

static void run_chain(void *arg) {
  uint64_t x = chain((int) (intptr_t) arg, NULL);
  mpg_chan_send(done, &x);
}

static uint64_t chain_expected(int depth) {
  struct link links[200];
  uint64_t total = 0;
  CHECK(depth < 200);
  for (int d = depth; d >= 0; d--) {
    links[d] =
        (struct link){d < depth ? &links[d + 1] : NULL, (uint64_t) d * 7 + 1};
    total += sum_links(&links[d]);
  }
  return total;
}

static void parked_and_resumed(int depth, size_t counter) {
  begin();
  struct mpg_stack_stats before = stats();
  go_movable(run_chain, (void *) (intptr_t) depth);
  settle(1);
  if (counter) until_counted(&before, counter);
  open_gate(1000);
  CHECK_EQ(result(), chain_expected(depth) + 1000);
}

static void a_parked_stack_is_swapped_out_and_in(void *arg) {
  (void) arg;
  for (int depth = 0; depth < 10; depth++) {
    struct mpg_stack_stats before = stats();
    parked_and_resumed(depth, COUNTER(swapped_out));
    if (MOVES) CHECK_GT(stats().swapped_in, before.swapped_in);
  }
}

static void deep_stacks_stay(void *arg) {
  (void) arg;
  for (int depth = 60; depth < 200; depth += 20)
    parked_and_resumed(depth, COUNTER(pinned_size));
}

static void send_from_the_stack(void *arg) {
  uint64_t element[3] = {(uint64_t) (uintptr_t) arg, 2, 3};
  atomic_fetch_add(&ready, 1);
  mpg_chan_send(gate, element);
  CHECK_EQ(element[0], (uintptr_t) arg);
  uint64_t x = element[1] + element[2];
  mpg_chan_send(done, &x);
}

static void a_blocked_senders_element_moves_with_it(void *arg) {
  (void) arg;
  begin();
  gate = mpg_chan_new(3 * sizeof(uint64_t), 0);
  for (uintptr_t i = 0; i < 10; i++)
    go_movable(send_from_the_stack, (void *) i);
  settle(10);
  uint64_t element[3], seen = 0;
  for (int i = 0; i < 10; i++) {
    CHECK(mpg_chan_recv(gate, element));
    seen |= UINT64_C(1) << element[0];
    CHECK(element[1] == 2 && element[2] == 3);
  }
  CHECK_EQ(seen, 0x3ff);
  for (int i = 0; i < 10; i++) CHECK_EQ(result(), 5);
}

static void select_on_the_stack(void *arg) {
  uint64_t got = 0, unsent = 77;
  mpg_chan *never = mpg_chan_new(sizeof(uint64_t), 0);
  struct mpg_select_case k[] = {
      {.chan = never, .dir = MPG_SEND, .elem = &unsent},
      {.chan = arg ? NULL : gate, .dir = MPG_RECV, .elem = &got},
  };
  atomic_fetch_add(&ready, 1);
  int i = arg ? mpg_select_until(k, 2, mpg_now() + 100 * 1000000)
              : mpg_select(k, 2);
  CHECK_EQ(i, arg ? -ETIMEDOUT : 1);
  CHECK(arg || k[1].ok);
  CHECK_EQ(unsent, 77);
  mpg_chan_send(done, &got);
}

static void a_select_moves(void *arg) {
  (void) arg;
  struct mpg_stack_stats before = stats();
  begin();
  go_movable(select_on_the_stack, NULL);
  go_movable(select_on_the_stack, "with a deadline");
  settle(2);
  until_counted(&before, COUNTER(swapped_out));
  open_gate(4711);
  CHECK_EQ(result() + result(), 4711);
}

/* What a function aligned stays aligned. */
static void aligned_locals(void *arg) {
  (void) arg;
  _Alignas(64) uint64_t v[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  uint64_t *p = v, got;
  atomic_fetch_add(&ready, 1);
  CHECK(mpg_chan_recv(gate, &got));
  CHECK_OPAQUE(p);
  CHECK_EQ((uintptr_t) p % 64, 0);
  mpg_chan_send(done, &p[got]);
}

static void what_is_aligned_stays_aligned(void *arg) {
  (void) arg;
  begin();
  go_movable(aligned_locals, NULL);
  settle(1);
  open_gate(6);
  CHECK_EQ(result(), 7);
}

/* ---- pointers from elsewhere ---- */

static uint64_t *global_pointer;
static __thread uint64_t *thread_pointer;
static uint64_t **heap_pointer; /* a root to the object only */
static uint64_t **malloc_pointer;

/* Park with the address of a local where arg says. */
static void give_address_away(void *arg) {
  uint64_t local = 41, got;
  uint64_t **where = arg;
  *where = &local;
  atomic_fetch_add(&ready, 1);
  CHECK(mpg_chan_recv(gate, &got));
  local++;
  mpg_chan_send(done, &local);
}

static void pins(uint64_t **where, size_t counter) {
  begin();
  struct mpg_stack_stats before = stats();
  go_movable(give_address_away, where);
  settle(1);
  /* With stackmove a stale word may be found first. */
  if (!check_switch("stackmove")) until_counted(&before, counter);
  for (int i = 0; i < 5; i++) mpg_gc();
  CHECK_EQ(stats().swapped_out, before.swapped_out);
  CHECK_EQ(**where, 41);
  **where = 99;
  open_gate(0);
  CHECK_EQ(result(), 100);
  *where = NULL;
}

static void a_global_variable_pins(void *arg) {
  (void) arg;
  pins(&global_pointer, COUNTER(pinned_root));
}

static void a_registered_root_pins(void *arg) {
  (void) arg;
  malloc_pointer = calloc(1, sizeof(*malloc_pointer));
  CHECK(malloc_pointer != NULL);
  CHECK_EQ(mpg_root_add(malloc_pointer, sizeof(*malloc_pointer)), 0);
  pins(malloc_pointer, COUNTER(pinned_root));
  CHECK_EQ(mpg_root_remove(malloc_pointer), 0);
  free(malloc_pointer);
}

static void an_object_of_the_heap_pins(void *arg) {
  (void) arg;
  heap_pointer = mpg_alloc(sizeof(*heap_pointer));
  CHECK(heap_pointer != NULL);
  pins(heap_pointer, COUNTER(pinned_heap));
  heap_pointer = NULL;
}

static void another_goroutines_stack_pins(void *arg) {
  (void) arg;
  uint64_t *here = NULL;
  pins(&here, COUNTER(pinned_stack));
}

/* Park with the address of a local in one of the collector's records. */
static void give_address_to(void (*record)(uint64_t *local)) {
  uint64_t local = 41, got;
  record(&local);
  hide_scrub();
  atomic_fetch_add(&ready, 1);
  CHECK(mpg_chan_recv(gate, &got));
  CHECK_OPAQUE(local);
  mpg_chan_send(done, &local);
}

static void *object; /* a finalizer's, or a key */
static mpg_weakmap *map;

static _Atomic int finalized;

static void write_argument(void *obj, void *arg) {
  (void) obj;
  *(uint64_t *) arg = 99;
  atomic_store(&finalized, 1);
}

static __attribute__((noinline)) void with_finalizer(uint64_t *local) {
  CHECK_EQ(mpg_finalizer_set(object, write_argument, local), 0);
}

static __attribute__((noinline)) void in_weak_map(uint64_t *local) {
  CHECK_EQ(mpg_weakmap_set(map, object, local), 0);
}

static void finalizers_local(void *arg) {
  (void) arg;
  give_address_to(with_finalizer);
}

static void weak_maps_local(void *arg) {
  (void) arg;
  give_address_to(in_weak_map);
}

static void record_pins(mpg_func fn) {
  begin();
  object = mpg_alloc(64);
  CHECK(object != NULL);
  struct mpg_stack_stats before = stats();
  atomic_store(&finalized, 0);
  go_movable(fn, NULL);
  settle(1);
  if (!check_switch("stackmove")) until_counted(&before, COUNTER(pinned_root));
  for (int i = 0; i < 5; i++) mpg_gc();
  CHECK_EQ(stats().swapped_out, before.swapped_out);
}

static void a_finalizers_argument_pins(void *arg) {
  (void) arg;
  record_pins(finalizers_local);
  object = NULL;
  while (!atomic_load(&finalized)) {
    hide_scrub();
    mpg_gc();
    mpg_sleep(1000000);
  }
  open_gate(0);
  CHECK_EQ(result(), 99);
}

static void a_weak_maps_value_pins(void *arg) {
  (void) arg;
  map = mpg_weakmap_new();
  CHECK(map != NULL);
  record_pins(weak_maps_local);
  void *value;
  CHECK(mpg_weakmap_get(map, object, &value));
  *(uint64_t *) value = 99;
  open_gate(0);
  CHECK_EQ(result(), 99);
  map = NULL;
}

static void root_on_own_stack(void *arg) {
  (void) arg;
  uint64_t *here[4] = {NULL}, got;
  CHECK_EQ(mpg_root_add(here, sizeof here), 0);
  here[2] = mpg_alloc(40);
  CHECK(here[2] != NULL);
  *here[2] = 41;
  atomic_fetch_add(&ready, 1);
  CHECK(mpg_chan_recv(gate, &got));
  CHECK_EQ(mpg_root_remove(here), 0);
  mpg_chan_send(done, here[2]);
}

static void a_registered_root_on_the_stack_pins(void *arg) {
  (void) arg;
  begin();
  struct mpg_stack_stats before = stats();
  go_movable(root_on_own_stack, NULL);
  settle(1);
  if (!check_switch("stackmove")) until_counted(&before, COUNTER(pinned_root));
  for (int i = 0; i < 5; i++) mpg_gc();
  CHECK_EQ(stats().swapped_out, before.swapped_out);
  open_gate(0);
  CHECK_EQ(result(), 41);
}

/* The block belongs to the thread of the goroutine that runs this. */
static void a_thread_local_variable_pins(void *arg) {
  (void) arg;
  mpg_lock_thread();
  pins(&thread_pointer, COUNTER(pinned_thread));
  mpg_unlock_thread();
}

/* A goroutine that has the address in a register only, in a loop. */
static uint64_t *taken;
static _Atomic int let_go, holding;

static void hold_in_a_register(void *arg) {
  (void) arg;
  uint64_t *p = taken;
  taken = NULL;
  atomic_store(&holding, 1);
  while (!atomic_load(&let_go)) __asm__ volatile("" : "+r"(p));
  CHECK_EQ(*p, 41);
  *p = 99;
  atomic_store(&holding, 0);
}

static void a_register_pins(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  begin();
  atomic_store(&let_go, 0);
  go_movable(give_address_away, &taken);
  CHECK_EVENTUALLY(atomic_load(&ready) == 1);
  CHECK_GO(hold_in_a_register, NULL);
  CHECK_EVENTUALLY(atomic_load(&holding) == 1);
  struct mpg_stack_stats before = stats();
  settle(1);
  until_counted(&before, COUNTER(pinned_stack));
  CHECK_EQ(stats().swapped_out, before.swapped_out);
  atomic_store(&let_go, 1);
  CHECK_EVENTUALLY(atomic_load(&holding) == 0);
  open_gate(0);
  CHECK_EQ(result(), 100);
}

/* Waits for a semaphore on its own stack: the runtime knows it by address. */
static mpg_sem *sem_on_stack;

static void wait_on_own_stack(void *arg) {
  (void) arg;
  mpg_sem sem = {0};
  sem_on_stack = &sem; /* inverted again by the test */
  atomic_fetch_add(&ready, 1);
  mpg_sem_acquire(&sem);
  uint64_t x = 5;
  mpg_chan_send(done, &x);
}

static void what_the_runtime_waits_for_pins(void *arg) {
  (void) arg;
  begin();
  go_movable(wait_on_own_stack, NULL);
  CHECK_EVENTUALLY(atomic_load(&ready) == 1);
  uintptr_t inverted = ~(uintptr_t) sem_on_stack;
  sem_on_stack = NULL;
  struct mpg_stack_stats before = stats();
  settle(1);
  for (int i = 0; i < 5; i++) mpg_gc();
  CHECK_EQ(stats().swapped_out, before.swapped_out);
  mpg_sem_release((mpg_sem *) ~inverted);
  CHECK_EQ(result(), 5);
}

/* A pin is for some cycles. */
static void a_pin_does_not_last(void *arg) {
  (void) arg;
  begin();
  go_movable(give_address_away, &global_pointer);
  settle(1);
  global_pointer = NULL;
  struct mpg_stack_stats before = stats();
  until_counted(&before, COUNTER(swapped_out));
  open_gate(0);
  CHECK_EQ(result(), 42);
}

/* ---- many, and ends ---- */

#define MANY 20000

static void wait_for_the_gate(void *arg) {
  uint64_t got, mine[6];
  for (int i = 0; i < 6; i++) mine[i] = (uintptr_t) arg + (uintptr_t) i;
  atomic_fetch_add(&ready, 1);
  bool ok = mpg_chan_recv(gate, &got);
  CHECK(!ok);
  for (int i = 0; i < 6; i++)
    CHECK_EQ(mine[i], (uintptr_t) arg + (uintptr_t) i);
  atomic_fetch_sub(&ready, 1);
}

static void parked_ones_are_small(void *arg) {
  (void) arg;
  begin();
  mpg_gc();
  uint64_t empty = stats().stack_bytes;
  for (uintptr_t i = 0; i < MANY; i++)
    go_movable(wait_for_the_gate, (void *) i);
  settle(MANY);
  uint64_t each = (stats().stack_bytes - empty) / MANY;
  if (MOVES) CHECK_LE(each, 1024);
  mpg_chan_close(gate);
  CHECK_EVENTUALLY(atomic_load(&ready) == 0);
}

/* ---- waits for descriptors ---- */

static int ends[2]; /* of the pair that a case is about */

/* fn waits for something that nobody does before it is swapped out. */
static void parks_on_a_descriptor(mpg_func fn) {
  begin();
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  struct mpg_stack_stats before = stats();
  atomic_store(&finalized, 0);
  go_movable(fn, NULL);
  settle(1);
  until_counted(&before, COUNTER(swapped_out));
}

static void close_ends(void) {
  for (int i = 0; i < 2; i++) mpg_close(ends[i]);
}

static void read_to_the_stack(void *arg) {
  (void) arg;
  uint64_t got[2] = {0, 4};
  atomic_fetch_add(&ready, 1);
  CHECK_EQ(mpg_read(ends[0], got, sizeof(got[0])), sizeof(got[0]));
  got[0] += got[1];
  mpg_chan_send(done, got);
}

static void a_reader_moves(void *arg) {
  (void) arg;
  uint64_t value = 38;
  parks_on_a_descriptor(read_to_the_stack);
  CHECK_EQ(mpg_write(ends[1], &value, sizeof(value)), sizeof(value));
  CHECK_EQ(result(), 42);
  close_ends();
}

static void read_until_closed(void *arg) {
  (void) arg;
  uint64_t got = 5;
  atomic_fetch_add(&ready, 1);
  CHECK_EQ(mpg_read(ends[0], &got, sizeof(got)), -ECANCELED);
  mpg_chan_send(done, &got);
}

static void closing_brings_a_reader_back(void *arg) {
  (void) arg;
  parks_on_a_descriptor(read_until_closed);
  close_ends();
  CHECK_EQ(result(), 5);
}

static void fill(int fd) {
  static const char much[4096];
  while (send(fd, much, sizeof(much), MSG_DONTWAIT) > 0) continue;
  CHECK_EQ(errno, EAGAIN);
}

static void write_from_the_stack(void *arg) {
  (void) arg;
  uint64_t mine = 77;
  fill(ends[0]);
  atomic_fetch_add(&ready, 1);
  CHECK_EQ(mpg_write(ends[0], &mine, sizeof(mine)), sizeof(mine));
  mpg_chan_send(done, &mine);
}

static void a_writer_moves(void *arg) {
  (void) arg;
  static char much[65536];
  ssize_t n;
  parks_on_a_descriptor(write_from_the_stack);
  do {
    n = mpg_read(ends[1], much, sizeof(much));
    CHECK_GE(n, 8);
  } while (much[n - 8] != 77);
  CHECK_EQ(result(), 77);
  close_ends();
}

static void wait_for_a_while(void *arg) {
  (void) arg;
  volatile uint64_t mine = 9;
  int64_t until = mpg_now() + 300 * INT64_C(1000000);
  atomic_fetch_add(&ready, 1);
  CHECK_EQ(mpg_wait_fd(ends[0], POLLIN, until), -ETIMEDOUT);
  CHECK_GE(mpg_now(), until);
  mpg_chan_send(done, &(uint64_t){mine});
}

/* It may be over before a collection on a busy machine: not counted on. */
static void a_deadline_brings_it_back(void *arg) {
  (void) arg;
  begin();
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  go_movable(wait_for_a_while, NULL);
  settle(1);
  CHECK_EQ(result(), 9);
  close_ends();
}

/* An image can be looked at like a stack. */
static void tracebacks_show_them(void *arg) {
  (void) arg;
  begin();
  struct mpg_stack_stats before = stats();
  go_movable(run_chain, NULL);
  settle(1);
  until_counted(&before, COUNTER(swapped_out));
  int fds[2];
  CHECK_EQ(pipe(fds), 0);
  mpg_traceback_all(fds[1]);
  close(fds[1]);
  char text[8000];
  ssize_t n = read(fds[0], text, sizeof(text) - 1);
  CHECK_GT(n, 0);
  text[n] = '\0';
  const char *at = strstr(text, "[chan receive]");
  CHECK(at != NULL && strstr(at, "\n\t") != NULL);
  close(fds[0]);
  open_gate(1);
  CHECK_EQ(result(), chain_expected(0) + 1);
}

static void the_run_may_end_meanwhile(void *arg) {
  (void) arg;
  begin();
  for (uintptr_t i = 0; i < 100; i++) go_movable(wait_for_the_gate, (void *) i);
  settle(100);
}

static void park_and_exit(void *arg) {
  (void) arg;
  uint64_t got;
  atomic_fetch_add(&ready, 1);
  CHECK(mpg_chan_recv(gate, &got));
  atomic_fetch_sub(&ready, 1);
  mpg_goexit();
}

static void they_may_exit(void *arg) {
  (void) arg;
  begin();
  for (int i = 0; i < 100; i++) go_movable(park_and_exit, NULL);
  settle(100);
  for (int i = 0; i < 100; i++) open_gate(0);
  CHECK_EVENTUALLY(atomic_load(&ready) == 0 && mpg_num_goroutines() == 1);
}

static void wrong_arguments(void *arg) {
  (void) arg;
  struct mpg_stack_stats s = {.size = sizeof(s) - 1};
  CHECK_EQ(mpg_stack_stats_read(&s), -EINVAL);
  CHECK_EQ(mpg_stack_stats_read(NULL), -EINVAL);
}

static const struct check_case cases[] = {
    OUTSIDE(wrong_arguments),
    INSIDE(a_parked_stack_is_swapped_out_and_in),
    INSIDE(deep_stacks_stay),
    INSIDE(a_blocked_senders_element_moves_with_it),
    INSIDE(a_select_moves),
    INSIDE(what_is_aligned_stays_aligned),
    INSIDE(a_global_variable_pins),
    INSIDE(a_registered_root_pins),
    INSIDE(an_object_of_the_heap_pins),
    INSIDE(another_goroutines_stack_pins),
    INSIDE(a_thread_local_variable_pins),
    INSIDE(a_register_pins),
    INSIDE(a_finalizers_argument_pins),
    INSIDE(a_weak_maps_value_pins),
    INSIDE(a_registered_root_on_the_stack_pins),
    INSIDE(what_the_runtime_waits_for_pins),
    INSIDE(a_pin_does_not_last),
    INSIDE(a_reader_moves),
    INSIDE(closing_brings_a_reader_back),
    INSIDE(a_writer_moves),
    INSIDE(a_deadline_brings_it_back),
    INSIDE(parked_ones_are_small),
    INSIDE(tracebacks_show_them),
    INSIDE(the_run_may_end_meanwhile),
    INSIDE(they_may_exit),
};
CHECK_MAIN(cases, 30)
