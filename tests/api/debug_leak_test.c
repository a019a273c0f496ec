/* debug_leak_test.c - goroutines that nobody can ever wake. */
#include <fcntl.h>

#include "../support/check.h"
#include "../support/noinline.h"

static mpg_chan *global;
static mpg_waitgroup there;
static _Atomic int woken;

/* What earlier calls left on the stack must hide nothing. */
static NOINLINE void wipe_stack(void) {
  volatile char junk[2000];
  for (size_t i = 0; i < sizeof(junk); i++) junk[i] = 0;
}

static void receives(void *c) {
  mpg_waitgroup_done(&there);
  mpg_chan_recv(c, NULL);
  atomic_fetch_add(&woken, 1);
}

static void sends(void *c) {
  long x = 1;
  mpg_waitgroup_done(&there);
  mpg_chan_send(c, &x);
}

static void locks(void *m) {
  mpg_waitgroup_done(&there);
  mpg_mutex_lock(m);
}

static void selects(void *arg) {
  mpg_chan **c = arg;
  struct mpg_select_case cases[2] = {{.chan = c[0], .dir = MPG_RECV},
                                     {.chan = c[1], .dir = MPG_RECV}};
  mpg_waitgroup_done(&there);
  mpg_select(cases, 2);
}

static void waits_for_nothing(void *arg) {
  (void) arg;
  mpg_waitgroup_done(&there);
  mpg_chan_recv(NULL, NULL);
}

static void sleeps(void *arg) {
  (void) arg;
  mpg_waitgroup_done(&there);
  mpg_sleep(INT64_C(3600) * 1000 * 1000 * 1000);
}

/* Two that wait for each other, reachable from nowhere else. */
static void waits_with_partner(void *arg) {
  mpg_chan **pair = arg; /* mine, and the partner's */
  mpg_waitgroup_done(&there);
  mpg_chan_recv(pair[0], NULL);
  mpg_chan_close(pair[1]);
}

static void start(mpg_func fn, void *arg) {
  mpg_waitgroup_add(&there, 1);
  CHECK_GO(fn, arg);
}

static NOINLINE void start_leaking(void) {
  start(receives, mpg_chan_new(0, 0));
  start(sends, mpg_chan_new(sizeof(long), 0));
  mpg_mutex *m = mpg_alloc(sizeof(*m));
  mpg_mutex_lock(m);
  start(locks, m);
  mpg_chan **two = mpg_alloc(2 * sizeof(*two));
  two[0] = mpg_chan_new(0, 0);
  two[1] = mpg_chan_new(0, 0);
  start(selects, two);
  mpg_chan **pair = mpg_alloc(2 * sizeof(*pair));
  mpg_chan **riap = mpg_alloc(2 * sizeof(*riap));
  pair[0] = riap[1] = mpg_chan_new(0, 0);
  pair[1] = riap[0] = mpg_chan_new(0, 0);
  start(waits_with_partner, pair);
  start(waits_with_partner, riap);
  start(waits_for_nothing, NULL);
}

/* On a goroutine of its own, whose stack is gone when it is over. */
static void start_leaking_goroutine(void *arg) {
  (void) arg;
  start_leaking();
  mpg_waitgroup_done(&there);
}

static void settle(void) {
  mpg_waitgroup_wait(&there);
  mpg_sleep(5 * 1000 * 1000); /* from done to parked */
  wipe_stack();
}

/* Some may not be parked yet, and a stale word may hide some for a while. */
static void leaks_become(int n) {
  CHECK_EVENTUALLY(mpg_leaked_goroutines(-1) == n);
}

static void leaks_are_counted(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_leaked_goroutines(-1), 0);
  start(start_leaking_goroutine, NULL);
  settle();
  leaks_become(7);
  CHECK_EQ(mpg_num_goroutines(), 8);
}

static void leaks_are_printed(void *arg) {
  (void) arg;
  char file[] = "/tmp/mpg_leak_test.XXXXXX", text[20000];
  start(start_leaking_goroutine, NULL);
  start(sleeps, NULL);
  settle();
  leaks_become(7);
  int fd = mkstemp(file);
  CHECK_GE(fd, 0);
  CHECK_EQ(unlink(file), 0);
  int leaks = mpg_leaked_goroutines(fd);
  CHECK_GE(leaks, 5); /* of the pair both or none */
  ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
  CHECK_GT(n, 0);
  text[n] = '\0';
  int entries = 0;
  for (char *at = text; (at = strstr(at, "\ngoroutine ")); at++) entries++;
  CHECK_EQ(entries, leaks);
  CHECK(strstr(text, "[select]") != NULL);
  CHECK(strstr(text, "[sleep]") == NULL);
  close(fd);
}

static NOINLINE void start_reachable(void) {
  global = mpg_chan_new(0, 0);
  start(receives, global);
  /* Reachable through one that can be woken. */
  mpg_chan **pair = mpg_alloc(2 * sizeof(*pair));
  pair[0] = global;
  pair[1] = mpg_chan_new(0, 0);
  start(waits_with_partner, pair);
  start(receives, pair[1]);
  start(sleeps, NULL);
}

static void start_reachable_goroutine(void *arg) {
  (void) arg;
  start_reachable();
  mpg_waitgroup_done(&there);
}

static void who_can_be_woken_is_not_leaked(void *arg) {
  (void) arg;
  atomic_store(&woken, 0);
  start(start_reachable_goroutine, NULL);
  settle();
  CHECK_EQ(mpg_leaked_goroutines(-1), 0);
  mpg_chan_close(global);
  CHECK_EVENTUALLY(atomic_load(&woken) == 2);
  global = NULL;
}

/* The finalizer closes what the goroutine waits for. */
struct owner {
  mpg_chan *c;
};

static void close_it(void *obj, void *arg) {
  (void) arg;
  mpg_chan_close(((struct owner *) obj)->c);
}

static void start_owned_goroutine(void *arg) {
  (void) arg;
  struct owner *o = mpg_alloc(sizeof(*o));
  o->c = mpg_chan_new(0, 0);
  CHECK_EQ(mpg_finalizer_set(o, close_it, NULL), 0);
  start(receives, o->c);
  mpg_waitgroup_done(&there);
}

static void whom_a_finalizer_wakes_is_not_leaked(void *arg) {
  (void) arg;
  atomic_store(&woken, 0);
  start(start_owned_goroutine, NULL);
  settle();
  CHECK_EQ(mpg_leaked_goroutines(-1), 0);
  CHECK_EVENTUALLY((mpg_gc(), atomic_load(&woken) == 1));
}

/* ---- every sort of object ---- */

struct object {
  mpg_chan *full, *empty;
  mpg_sem sem;
  mpg_mutex mutex;
  mpg_rwmutex written, read;
  mpg_waitgroup group;
  mpg_cond cond;
  mpg_mutex of_cond;
  bool said;
  mpg_once once;
  mpg_sem in_once;
};

static struct object *object_new(void) {
  struct object *o = mpg_alloc(sizeof(*o));
  long x = 1;
  CHECK(o != NULL);
  o->full = mpg_chan_new(sizeof(long), 1);
  o->empty = mpg_chan_new(sizeof(long), 1);
  mpg_chan_send(o->full, &x);
  mpg_mutex_lock(&o->mutex);
  mpg_rwmutex_lock(&o->written);
  mpg_rwmutex_rdlock(&o->read);
  mpg_waitgroup_add(&o->group, 1);
  return o;
}

/* Who is woken makes room for the next. */
static void on_full(struct object *o) {
  long x = 2;
  mpg_chan_send(o->full, &x);
  mpg_chan_recv(o->full, NULL);
}
static void on_empty(struct object *o) { mpg_chan_recv(o->empty, NULL); }

/* One of the two is enough to be woken by. */
static void on_some(struct object *o) {
  long x = 2;
  struct mpg_select_case k[3] = {
      {.chan = NULL, .dir = MPG_RECV},
      {.chan = mpg_chan_new(0, 0), .dir = MPG_RECV},
      {.chan = o->full, .dir = MPG_SEND, .elem = &x},
  };
  mpg_select(k, 3);
  mpg_chan_recv(o->full, NULL);
}
static void on_sem(struct object *o) {
  mpg_sem_acquire(&o->sem);
  mpg_sem_release(&o->sem);
}
static void on_mutex(struct object *o) {
  mpg_mutex_lock(&o->mutex);
  mpg_mutex_unlock(&o->mutex);
}
static void on_written(struct object *o) {
  mpg_rwmutex_rdlock(&o->written);
  mpg_rwmutex_rdunlock(&o->written);
}
static void on_written_to_write(struct object *o) {
  mpg_rwmutex_lock(&o->written);
  mpg_rwmutex_unlock(&o->written);
}
static void on_read(struct object *o) {
  mpg_rwmutex_lock(&o->read);
  mpg_rwmutex_unlock(&o->read);
}
static void on_group(struct object *o) { mpg_waitgroup_wait(&o->group); }
static void on_cond(struct object *o) {
  mpg_mutex_lock(&o->of_cond);
  while (!o->said) mpg_cond_wait(&o->cond, &o->of_cond);
  mpg_mutex_unlock(&o->of_cond);
}
static void in_once(void *o) {
  mpg_sem_acquire(&((struct object *) o)->in_once);
}
static void on_once(struct object *o) { mpg_once_do(&o->once, in_once, o); }

static void wake_full(struct object *o) { mpg_chan_recv(o->full, NULL); }
static void wake_empty(struct object *o) { mpg_chan_close(o->empty); }
static void wake_sem(struct object *o) { mpg_sem_release(&o->sem); }
static void wake_mutex(struct object *o) { mpg_mutex_unlock(&o->mutex); }
static void wake_written(struct object *o) { mpg_rwmutex_unlock(&o->written); }
static void wake_read(struct object *o) { mpg_rwmutex_rdunlock(&o->read); }
static void wake_group(struct object *o) { mpg_waitgroup_done(&o->group); }
static void wake_cond(struct object *o) {
  mpg_mutex_lock(&o->of_cond);
  o->said = true;
  mpg_mutex_unlock(&o->of_cond);
  mpg_cond_broadcast(&o->cond);
}
static void wake_once(struct object *o) { mpg_sem_release(&o->in_once); }

static const struct sort {
  void (*wait)(struct object *o), (*wake)(struct object *o);
} sorts[] = {
    {on_full, wake_full},   {on_empty, wake_empty},
    {on_some, wake_full},   {on_sem, wake_sem},
    {on_mutex, wake_mutex}, {on_written, wake_written},
    {on_read, wake_read},   {on_written_to_write, wake_written},
    {on_group, wake_group}, {on_cond, wake_cond},
    {on_once, wake_once},
};
#define SORTS ((int) (sizeof(sorts) / sizeof(*sorts)))

struct visit {
  const struct sort *sort;
  struct object *o;
};

static void visits(void *arg) {
  struct visit v = *(struct visit *) arg;
  mpg_waitgroup_done(&there);
  v.sort->wait(v.o);
  atomic_fetch_add(&woken, 1);
}

/* Two of them at one object: both wait at the same place, or one in it. */
static NOINLINE void start_visits(const struct sort *s, struct object *o) {
  for (int i = 0; i < 2; i++) {
    struct visit *v = mpg_alloc(sizeof(*v));
    *v = (struct visit){s, o};
    start(visits, v);
  }
}

static void start_visits_to_nobodys(void *sort) {
  start_visits(sort, object_new());
  mpg_waitgroup_done(&there);
}

static void every_sort_of_object_leaks(void *arg) {
  (void) arg;
  for (int i = 0; i < SORTS; i++) {
    start(start_visits_to_nobodys, (void *) (uintptr_t) &sorts[i]);
    settle();
    leaks_become(2 * (i + 1));
  }
}

static struct object *objects[SORTS];

static void start_visits_to_mine(void *sort) {
  const struct sort *s = sort;
  start_visits(s, objects[s - sorts]);
  mpg_waitgroup_done(&there);
}

static void no_sort_of_object_leaks_that_is_reachable(void *arg) {
  (void) arg;
  atomic_store(&woken, 0);
  for (int i = 0; i < SORTS; i++) {
    objects[i] = object_new();
    start(start_visits_to_mine, (void *) (uintptr_t) &sorts[i]);
    settle();
    CHECK_EQ(mpg_leaked_goroutines(-1), 0);
  }
  for (int i = 0; i < SORTS; i++) {
    sorts[i].wake(objects[i]);
    CHECK_EVENTUALLY(atomic_load(&woken) == 2 * (i + 1));
    CHECK_EQ(mpg_leaked_goroutines(-1), 0);
    objects[i] = NULL;
  }
}

/* ---- whom time wakes ---- */

#define HOUR (INT64_C(3600) * 1000 * 1000 * 1000)

static void waits_for_after(void *arg) {
  (void) arg;
  mpg_waitgroup_done(&there);
  mpg_chan_recv(mpg_after(HOUR), NULL);
}

static void selects_until(void *arg) {
  struct mpg_select_case k = {.chan = mpg_chan_new(0, 0), .dir = MPG_RECV};
  (void) arg;
  mpg_waitgroup_done(&there);
  mpg_select_until(&k, 1, mpg_now() + HOUR);
}

static void closes(void *c) { mpg_chan_close(c); }

static NOINLINE mpg_chan *closed_by_timer(int64_t period, bool stopped) {
  mpg_chan *c = mpg_chan_new(0, 0);
  mpg_timer *t = mpg_timer_start(HOUR, period, closes, c);
  CHECK(t != NULL);
  if (stopped) CHECK(mpg_timer_stop(t));
  return c;
}

static void start_waits_for_time(void *arg) {
  (void) arg;
  start(waits_for_after, NULL);
  start(selects_until, NULL);
  start(receives, closed_by_timer(0, false));
  start(receives, closed_by_timer(HOUR, false));
  mpg_waitgroup_done(&there);
}

static void whom_a_timer_wakes_is_not_leaked(void *arg) {
  (void) arg;
  start(start_waits_for_time, NULL);
  settle();
  for (int i = 0; i < 3; i++) CHECK_EQ(mpg_leaked_goroutines(-1), 0);
  CHECK_EQ(mpg_num_goroutines(), 5);
}

static void start_waits_for_stopped(void *arg) {
  (void) arg;
  start(receives, closed_by_timer(0, true));
  start(receives, closed_by_timer(HOUR, true));
  mpg_waitgroup_done(&there);
}

static void whom_a_stopped_timer_woke_is_leaked(void *arg) {
  (void) arg;
  start(start_waits_for_stopped, NULL);
  settle();
  leaks_become(2);
}

/* ---- whom the death of an object wakes ---- */

static void *kept;

static NOINLINE void add_kept(mpg_cleanup_queue *q) {
  kept = mpg_alloc(16);
  CHECK_EQ(mpg_cleanup_add(q, kept, NULL), 0);
}

static void waits_for_cleanup(void *arg) {
  struct mpg_cleanup what;
  mpg_cleanup_queue *q = mpg_cleanup_queue_new();
  (void) arg;
  add_kept(q);
  wipe_stack();
  mpg_waitgroup_done(&there);
  CHECK_EQ(mpg_cleanup_wait(q, &what, -1), 0);
  atomic_fetch_add(&woken, 1);
}

static void whom_a_cleanup_wakes_is_not_leaked(void *arg) {
  (void) arg;
  atomic_store(&woken, 0);
  start(waits_for_cleanup, NULL);
  settle();
  CHECK_EQ(mpg_leaked_goroutines(-1), 0);
  kept = NULL;
  CHECK_EVENTUALLY((mpg_gc(), atomic_load(&woken) == 1));
}

/* ---- who can be had without being kept ---- */

static mpg_weak *weak;
static mpg_weakmap *map;

static NOINLINE void weak_to_new(void *arg) {
  mpg_chan *c = mpg_chan_new(0, 0);
  (void) arg;
  weak = mpg_weak_new(c);
  start(receives, c);
  mpg_waitgroup_done(&there);
}

static NOINLINE void close_weak(void) { mpg_chan_close(mpg_weak_get(weak)); }

static void whom_a_weak_reference_has_is_not_leaked(void *arg) {
  (void) arg;
  atomic_store(&woken, 0);
  start(weak_to_new, NULL);
  settle();
  CHECK_EQ(mpg_leaked_goroutines(-1), 0);
  close_weak();
  CHECK_EVENTUALLY(atomic_load(&woken) == 1);
  weak = NULL;
}

static NOINLINE void value_is_new(void *arg) {
  mpg_chan *c = mpg_chan_new(0, 0);
  (void) arg;
  map = mpg_weakmap_new();
  kept = mpg_alloc(16);
  CHECK_EQ(mpg_weakmap_set(map, kept, c), 0);
  start(receives, c);
  mpg_waitgroup_done(&there);
}

static NOINLINE void close_value(void) {
  void *c;
  CHECK(mpg_weakmap_get(map, kept, &c));
  mpg_chan_close(c);
}

static void whom_a_weak_map_has_is_not_leaked(void *arg) {
  (void) arg;
  atomic_store(&woken, 0);
  start(value_is_new, NULL);
  settle();
  CHECK_EQ(mpg_leaked_goroutines(-1), 0);
  close_value();
  CHECK_EVENTUALLY(atomic_load(&woken) == 1);
  kept = map = NULL;
}

static const struct check_case cases[] = {
    INSIDE(whom_a_weak_reference_has_is_not_leaked),
    INSIDE(whom_a_weak_map_has_is_not_leaked),
    INSIDE(every_sort_of_object_leaks),
    INSIDE(no_sort_of_object_leaks_that_is_reachable),
    INSIDE(whom_a_timer_wakes_is_not_leaked),
    INSIDE(whom_a_stopped_timer_woke_is_leaked),
    INSIDE(whom_a_cleanup_wakes_is_not_leaked),
    INSIDE(leaks_are_counted),
    INSIDE(leaks_are_printed),
    INSIDE(who_can_be_woken_is_not_leaked),
    INSIDE(whom_a_finalizer_wakes_is_not_leaked),
};
CHECK_MAIN(cases, 20)
