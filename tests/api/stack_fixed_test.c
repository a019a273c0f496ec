/* stack_fixed_test.c - fixed stacks: a hundred thousand at once, each written
 * to, beyond what a mapping or a guard each would allow (vm.max_map_count);
 * their memory goes back, and they are used again.
 */
#include "../support/check.h"
#include "../support/resident.h"

/* Once is enough: the other variants do the same with fewer. */
#if defined(MPG_SPLIT_STACK)
enum { MANY = 100000 };
#else
enum { MANY = 5000 };
#endif
enum { ROOM_BYTES = 2000, KEPT_BYTES = 64 << 20 };

static mpg_chan *gate;
static _Atomic int parked, wrong;

static void worker(void *arg) {
  volatile char room[ROOM_BYTES];
  char mark = (char) (uintptr_t) arg;
  room[0] = room[ROOM_BYTES - 1] = mark;
  atomic_fetch_add(&parked, 1);
  mpg_chan_recv(gate, NULL);
  if (room[0] != mark || room[ROOM_BYTES - 1] != mark) atomic_store(&wrong, 1);
  atomic_fetch_sub(&parked, 1);
}

static void start_many(int n) {
  struct mpg_go_options fixed = {.size = sizeof(fixed),
                                 .flags = MPG_GO_FIXED_STACK};
  gate = mpg_chan_new(1, 0);
  for (int i = 0; i < n; i++)
    CHECK_EQ(mpg_go_with(&fixed, worker, (void *) (intptr_t) i), 0);
  CHECK_EVENTUALLY(atomic_load(&parked) == n);
}

static void end_many(void) {
  mpg_chan_close(gate);
  CHECK_EVENTUALLY(atomic_load(&parked) == 0 && mpg_num_goroutines() == 1);
  CHECK_EQ(wrong, 0);
}

static void a_hundred_thousand_at_once(void *arg) {
  (void) arg;
  long before = resident_bytes();
  start_many(MANY);
  long all = resident_bytes();
  CHECK_GE(all - before, MANY * 4096L); /* they are all there */
  end_many();
  /* What dead ones touched goes back by and by, though nobody runs; records and
   * some stacks stay.  With stackguard each record has a page outside of
   * itself. */
  long kept = KEPT_BYTES + (check_switch("stackguard") ? MANY * 4096L : 0);
  CHECK_EVENTUALLY(resident_bytes() - before <= (all - before) / 3 + kept);
}

static void they_are_used_again(void *arg) {
  (void) arg;
  start_many(MANY / 10);
  end_many();
}

static const struct check_case cases[] = {
    INSIDE(a_hundred_thousand_at_once),
    INSIDE(they_are_used_again),
};
CHECK_MAIN(cases, 50)
