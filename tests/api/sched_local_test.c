/* sched_local_test.c - goroutine-local storage. */
#include <errno.h>

#include "../support/check.h"

static mpg_local a, b;
static mpg_waitgroup done;

static void make_keys(void) {
  if (a.id) return;
  CHECK_EQ(mpg_local_new(&a), 0);
  CHECK_EQ(mpg_local_new(&b), 0);
}

static void keys_are_made_before_a_run(void *arg) {
  (void) arg;
  make_keys();
  CHECK_NE(a.id, b.id);
  CHECK_NE(a.id, 0);
  CHECK_EQ(mpg_local_new(NULL), -EINVAL);
}

static void values_are_null_until_set(void *arg) {
  (void) arg;
  int x;
  make_keys();
  CHECK(mpg_local_get(a) == NULL);
  CHECK_EQ(mpg_local_set(a, &x), 0);
  CHECK(mpg_local_get(a) == &x);
  CHECK(mpg_local_get(b) == NULL);
  CHECK_EQ(mpg_local_set(a, NULL), 0);
  CHECK(mpg_local_get(a) == NULL);
  CHECK_EQ(mpg_local_set(a, &x), 0);
}

static void what_is_no_key_is_refused(void *arg) {
  (void) arg;
  mpg_local zero = {0}, unknown = {UINT64_MAX}, next;
  CHECK_EQ(mpg_local_new(&next), 0);
  CHECK_EQ(mpg_local_set(next, &next), 0);
  next.id++; /* a slot of the table, not a key yet */
  CHECK_EQ(mpg_local_set(zero, &zero), -EINVAL);
  CHECK_EQ(mpg_local_set(unknown, &zero), -EINVAL);
  CHECK_EQ(mpg_local_set(next, &zero), -EINVAL);
  CHECK(mpg_local_get(zero) == NULL);
  CHECK(mpg_local_get(unknown) == NULL);
  CHECK(mpg_local_get(next) == NULL);
}

/* Also the last case's values, and those of dead goroutines, are gone. */
static void have_own_values(void *arg) {
  CHECK(mpg_local_get(a) == NULL);
  CHECK(mpg_local_get(b) == NULL);
  CHECK_EQ(mpg_local_set(a, arg), 0);
  for (int i = 0; i < 50; i++) {
    CHECK(mpg_local_get(a) == arg);
    CHECK_EQ(mpg_local_set(b, (char *) arg + i), 0);
    mpg_yield();
    CHECK(mpg_local_get(b) == (char *) arg + i);
  }
  mpg_waitgroup_done(&done);
}

static void every_goroutine_has_its_own(void *arg) {
  (void) arg;
  make_keys();
  CHECK_EQ(mpg_local_set(a, &done), 0);
  for (int round = 0; round < 10; round++) {
    mpg_waitgroup_add(&done, 100);
    for (uintptr_t i = 1; i <= 100; i++) CHECK_GO(have_own_values, (void *) i);
    mpg_waitgroup_wait(&done);
    CHECK(mpg_local_get(a) == &done);
  }
}

struct node {
  struct node *next;
  uint64_t value;
};

static struct node *list_new(int n) {
  struct node *head = NULL;
  for (int i = 0; i < n; i++) {
    struct node *node = mpg_alloc(sizeof(*node));
    CHECK(node != NULL);
    *node = (struct node){head, (uint64_t) i};
    head = node;
  }
  return head;
}

static __attribute__((noinline)) void hide_list(mpg_local key) {
  CHECK_EQ(mpg_local_set(key, list_new(100)), 0);
}

static void check_list(mpg_local key) {
  struct node *node = mpg_local_get(key);
  for (int i = 100; i-- > 0; node = node->next) CHECK_EQ(node->value, i);
  CHECK(node == NULL);
}

static __attribute__((noinline)) void wipe(void) {
  char *volatile p = __builtin_alloca(4000);
  memset(p, 0, 4000);
}

static _Atomic int ready, go_on;

static void keep_list(void *arg) {
  (void) arg;
  hide_list(b);
  wipe();
  atomic_fetch_add(&ready, 1);
  while (!atomic_load(&go_on)) mpg_sleep(100000);
  check_list(b);
  mpg_waitgroup_done(&done);
}

/* Of running, parked and blocked goroutines. */
static void keep_list_blocked(void *arg) {
  (void) arg;
  hide_list(b);
  wipe();
  atomic_fetch_add(&ready, 1);
  mpg_syscall_enter();
  struct timespec t = {0, 100000};
  while (!atomic_load(&go_on)) nanosleep(&t, NULL);
  mpg_syscall_exit();
  check_list(b);
  mpg_waitgroup_done(&done);
}

static void values_are_roots(void *arg) {
  (void) arg;
  make_keys();
  hide_list(a);
  wipe();
  mpg_waitgroup_add(&done, 20);
  for (int i = 0; i < 10; i++) CHECK_GO(keep_list, NULL);
  for (int i = 0; i < 10; i++) CHECK_GO(keep_list_blocked, NULL);
  CHECK_EVENTUALLY(atomic_load(&ready) == 20);
  for (int i = 0; i < 5; i++) {
    mpg_gc();
    for (int j = 0; j < 1000; j++) memset(mpg_alloc(16), 0xff, 16);
  }
  atomic_store(&go_on, 1);
  check_list(a);
  mpg_waitgroup_wait(&done);
}

static void many_keys(void *arg) {
  (void) arg;
  static mpg_local key[1000];
  for (uintptr_t i = 0; i < 1000; i++) {
    CHECK_EQ(mpg_local_new(&key[i]), 0);
    CHECK(mpg_local_get(key[i]) == NULL);
    CHECK_EQ(mpg_local_set(key[i], (void *) (i + 1)), 0);
  }
  for (uintptr_t i = 0; i < 1000; i++)
    CHECK(mpg_local_get(key[i]) == (void *) (i + 1));
}

/* Last: no more keys after it. */
static void keys_run_out(void *arg) {
  (void) arg;
  mpg_local key, last = {0};
  int err;
  while ((err = mpg_local_new(&key)) == 0) last = key;
  CHECK_EQ(err, -EAGAIN);
  CHECK_EQ(last.id, MPG_LOCALS_MAX);
  CHECK_EQ(mpg_local_set(last, &last), 0);
  CHECK(mpg_local_get(last) == &last);
}

static const struct check_case cases[] = {
    OUTSIDE(keys_are_made_before_a_run),
    INSIDE(values_are_null_until_set),
    INSIDE(what_is_no_key_is_refused),
    INSIDE(every_goroutine_has_its_own),
    INSIDE(values_are_roots),
    INSIDE(many_keys),
    INSIDE(keys_run_out),
};
CHECK_MAIN(cases, 20)
