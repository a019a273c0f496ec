/* gc_cleanup_test.c - cleanup queues: dead objects for whoever asks. */
#include <errno.h>
#include <sys/eventfd.h>

#include "../support/hide.h"

static mpg_cleanup_queue *queue; /* a root */

static void collect(void) {
  hide_scrub();
  mpg_gc();
  hide_scrub();
}

static __attribute__((noinline)) hidden make(uintptr_t i, void *tag) {
  void *p = hide_object(i);
  CHECK_EQ(mpg_cleanup_add(queue, p, tag), 0);
  return hide(p);
}

/* Take one, without keeping it; false: the queue is empty. */
static __attribute__((noinline)) bool take(hidden *obj, void **tag) {
  struct mpg_cleanup c;
  int rc = mpg_cleanup_poll(queue, &c);
  if (rc != 0) {
    CHECK_EQ(rc, -EAGAIN);
    return false;
  }
  *obj = hide(c.obj);
  *tag = c.tag;
  return true;
}

/* The same; what it leaves on the stack isn't found in the frames of those who
 * are called next. */
static bool take_clean(hidden *obj, void **tag) {
  bool any = take(obj, tag);
  hide_scrub();
  return any;
}

/* Collect until something comes; a stale word may delay it. */
static void take_soon(hidden *obj, void **tag) {
  for (int i = 0; i < 10; i++) {
    collect();
    if (take_clean(obj, tag)) return;
  }
  CHECK(false);
}

static void expect_none(void) {
  hidden h;
  void *tag;
  for (int i = 0; i < 4; i++) {
    collect();
    CHECK(!take_clean(&h, &tag));
  }
}

static void begin(void *arg) {
  (void) arg;
  queue = mpg_cleanup_queue_new();
  CHECK(queue != NULL);
}

/* ---- what the calls say ---- */

static void arguments_are_checked(void *arg) {
  char *p = mpg_alloc(100);
  int local;
  begin(arg);
  CHECK_EQ(mpg_cleanup_add(queue, NULL, NULL), -EINVAL);
  CHECK_EQ(mpg_cleanup_add(queue, p + 16, NULL), -EINVAL);
  CHECK_EQ(mpg_cleanup_add(queue, &local, NULL), -EINVAL);
  CHECK_EQ(mpg_cleanup_remove(queue, p), -ENOENT);
  CHECK_EQ(mpg_cleanup_add(queue, p, NULL), 0);
  CHECK_EQ(mpg_cleanup_add(queue, p, NULL), 0);
  CHECK_EQ(mpg_cleanup_remove(queue, p), 0);
  CHECK_EQ(mpg_cleanup_remove(queue, p), -ENOENT);
  expect_none();
}

static void delivers_the_dead_whole(void *arg) {
  static int token;
  hidden h;
  void *tag;
  begin(arg);
  hidden dead = make(7, &token);
  uintptr_t *alive = hide_object(8);
  CHECK_EQ(mpg_cleanup_add(queue, alive, NULL), 0);
  take_soon(&h, &tag);
  CHECK_EQ(h.bits, dead.bits);
  CHECK(tag == &token);
  CHECK(hide_alive(h, 7));
  expect_none();
  CHECK_EQ(alive[0], HIDE_PATTERN + 8);
}

/* In the queue it lives; taken and dropped it is freed. */
static void lives_as_long_as_somebody_has_it(void *arg) {
  hidden h;
  void *tag;
  begin(arg);
  hidden dead = make(9, NULL);
  for (int i = 0; i < 5; i++) hide_collect();
  CHECK(hide_alive(dead, 9));
  CHECK(take_clean(&h, &tag));
  CHECK(hide_alive(dead, 9));
  for (int i = 0; i < 10 && hide_alive(dead, 9); i++) hide_collect();
  CHECK(!hide_alive(dead, 9));
}

static __attribute__((noinline)) void make_pair(hidden *a, hidden *b) {
  void **pa = mpg_alloc(64), *pb = hide_object(2);
  pa[0] = pb;
  CHECK_EQ(mpg_cleanup_add(queue, pb, (void *) 2), 0);
  CHECK_EQ(mpg_cleanup_add(queue, pa, (void *) 1), 0);
  *a = hide(pa);
  *b = hide(pb);
}

static void a_before_b(void *arg) {
  hidden a, b, h;
  void *tag;
  begin(arg);
  make_pair(&a, &b);
  for (int i = 0; i < 5; i++) collect();
  CHECK(take_clean(&h, &tag));
  CHECK_EQ(h.bits, a.bits);
  CHECK(!take_clean(&h, &tag)); /* the queue kept a, and a keeps b */
  take_soon(&h, &tag);
  CHECK_EQ(h.bits, b.bits);
  CHECK(tag == (void *) 2);
}

static void a_tag_is_kept_and_replaced(void *arg) {
  hidden h;
  void *tag;
  begin(arg);
  hidden kept = hide_new(50);
  hidden dead = make(5, NULL);
  CHECK_EQ(mpg_cleanup_add(queue, unhide(dead), unhide(kept)), 0);
  hide_scrub();
  for (int i = 0; i < 3; i++) hide_collect();
  CHECK(hide_alive(kept, 50));
  take_soon(&h, &tag);
  CHECK(tag == unhide(kept));
  CHECK(!take_clean(&h, &tag));
}

/* ---- with the rest of the collector ---- */

static _Atomic int finalized;
static void finalize(void *obj, void *arg) {
  (void) obj;
  (void) arg;
  atomic_fetch_add(&finalized, 1);
}

static __attribute__((noinline)) mpg_weak *make_everything(void) {
  void *p = hide_object(3);
  CHECK_EQ(mpg_finalizer_set(p, finalize, NULL), 0);
  CHECK_EQ(mpg_cleanup_add(queue, p, NULL), 0);
  return mpg_weak_new(p);
}

static void finalizer_and_weak_reference(void *arg) {
  hidden h;
  void *tag;
  begin(arg);
  atomic_store(&finalized, 0);
  mpg_weak *w = make_everything();
  bool taken = false;
  for (int i = 0; i < 20 && !(taken && atomic_load(&finalized)); i++) {
    collect();
    taken = taken || take_clean(&h, &tag);
    mpg_sleep(1000000);
    CHECK(!taken || mpg_weak_get(w) == NULL);
  }
  CHECK(taken);
  CHECK_EQ(atomic_load(&finalized), 1);
}

static __attribute__((noinline)) hidden make_and_free(void) {
  void *p = hide_object(4);
  CHECK_EQ(mpg_cleanup_add(queue, p, NULL), 0);
  mpg_free(p);
  void *q = mpg_alloc(48);
  CHECK_EQ(mpg_cleanup_add(queue, q, (void *) 77), 0);
  void *moved = mpg_realloc(q, 5000);
  CHECK(moved != q);
  return hide(moved);
}

static void free_drops_and_realloc_takes_along(void *arg) {
  hidden h;
  void *tag;
  begin(arg);
  hidden moved = make_and_free();
  take_soon(&h, &tag);
  CHECK_EQ(h.bits, moved.bits);
  CHECK(tag == (void *) 77);
  expect_none();
}

/* ---- queues that go ---- */

/* An object that leads to its own queue, as everything of an embedder's
 * instance does: all of it is freed. */
static __attribute__((noinline)) void make_ring(hidden *h, int n) {
  mpg_cleanup_queue *own = mpg_cleanup_queue_new();
  for (int i = 0; i < n; i++) {
    uintptr_t *p = hide_object((uintptr_t) i);
    void **link = mpg_alloc(32);
    link[0] = own;
    link[1] = p;
    CHECK_EQ(mpg_cleanup_add(own, p, NULL), 0);
    CHECK_EQ(mpg_cleanup_add(own, link, NULL), 0);
    h[i] = hide(p);
  }
}

/* Of objects 0 to n - 1; a stale word may keep one or the other. */
static void nearly_all_die(const hidden *h, uintptr_t n) {
  uintptr_t alive = n;
  for (int i = 0; i < 5 && alive > 2; i++) {
    hide_collect();
    alive = 0;
    for (uintptr_t k = 0; k < n; k++) alive += hide_alive(h[k], k);
  }
  CHECK_LE(alive, 2);
}

static void dies_with_an_unreachable_queue(void *arg) {
  enum { N = 100 };
  hidden h[N];
  (void) arg;
  make_ring(h, N);
  nearly_all_die(h, N);
}

static __attribute__((noinline)) void fill_and_forget(hidden *h, int n) {
  mpg_cleanup_queue *volatile own = mpg_cleanup_queue_new();
  for (int i = 0; i < n; i++) {
    h[i] = hide_new((uintptr_t) i);
    CHECK_EQ(mpg_cleanup_add(own, unhide(h[i]), own), 0);
    CHECK_EQ(mpg_cleanup_add(own, unhide(h[i]), NULL), 0);
  }
  mpg_keep_alive(own);
  for (int i = 0; i < 5; i++) collect();
  mpg_keep_alive(own);
  own = NULL;
}

static void what_lies_in_a_lost_queue_is_freed(void *arg) {
  enum { N = 100 };
  hidden h[N];
  (void) arg;
  fill_and_forget(h, N);
  nearly_all_die(h, N);
}

static void a_freed_queue_gets_nothing(void *arg) {
  begin(arg);
  for (uintptr_t i = 0; i < 100; i++) make(i, NULL);
  mpg_free(queue);
  queue = mpg_cleanup_queue_new(); /* perhaps in its place */
  expect_none();
}

/* ---- many ---- */

static void everything_comes_once(void *arg) {
  enum { N = 20000 };
  static char seen[N];
  hidden h;
  void *tag;
  begin(arg);
  for (uintptr_t i = 0; i < N; i++) make(i, (void *) i);
  int n = 0;
  for (int i = 0; i < 20 && n < N; i++) {
    collect();
    for (; take_clean(&h, &tag); n++) {
      CHECK(hide_alive(h, (uintptr_t) tag));
      CHECK_EQ(seen[(uintptr_t) tag]++, 0);
    }
  }
  CHECK_GE(n, N - N / 50);
}

/* ---- waiting ---- */

static mpg_waitgroup done;
static _Atomic int waited;

static void waiter(void *arg) {
  struct mpg_cleanup c;
  (void) arg;
  while (mpg_cleanup_wait(queue, &c, -1) == 0 && c.tag != &done) {
    CHECK_EQ(*(uintptr_t *) c.obj, HIDE_PATTERN + (uintptr_t) c.tag);
    atomic_fetch_add(&waited, 1);
  }
  mpg_waitgroup_done(&done);
}

static void waiters_get_everything(void *arg) {
  enum { N = 3000, WAITERS = 4 };
  begin(arg);
  atomic_store(&waited, 0);
  mpg_waitgroup_add(&done, WAITERS);
  for (int i = 0; i < WAITERS; i++) CHECK_GO(waiter, NULL);
  for (uintptr_t i = 0; i < N; i++) {
    make(i, (void *) i);
    if (i % 500 == 0) mpg_gc();
  }
  for (int i = 0; i < 20 && atomic_load(&waited) < N - N / 50; i++) {
    collect();
    mpg_sleep(2000000);
  }
  CHECK_GE(atomic_load(&waited), N - N / 50);
  /* One for each: it takes one and ends. */
  for (int left = WAITERS; left > 0; left--) make(0, &done);
  for (int i = 0; i < 100; i++) {
    collect();
    mpg_sleep(1000000);
    make(0, &done); /* in place of one that a stale word keeps */
  }
  mpg_waitgroup_wait(&done);
}

static void waiting_ends_at_the_deadline(void *arg) {
  struct mpg_cleanup c;
  begin(arg);
  int64_t t = mpg_now();
  CHECK_EQ(mpg_cleanup_wait(queue, &c, t + 20000000), -ETIMEDOUT);
  CHECK_GE(mpg_now() - t, 20000000);
  CHECK_EQ(mpg_cleanup_wait(queue, &c, t), -ETIMEDOUT);
  make(1, NULL);
  for (int i = 0; i < 5; i++) collect();
  CHECK_EQ(mpg_cleanup_wait(queue, &c, t), 0);
  CHECK(c.obj != NULL);
}

static void write_event(void *arg) {
  uint64_t one = 1;
  if (write(*(int *) arg, &one, sizeof one) < 0) abort();
}

static bool readable(int fd) {
  uint64_t n;
  return read(fd, &n, sizeof n) == sizeof n;
}

static void tells_an_event_loop(void *arg) {
  static int fd;
  hidden h;
  void *tag;
  begin(arg);
  fd = eventfd(0, EFD_NONBLOCK);
  CHECK_GE(fd, 0);
  mpg_cleanup_notify(queue, write_event, &fd);
  expect_none();
  CHECK(!readable(fd));
  for (uintptr_t i = 0; i < 10; i++) make(i, NULL);
  for (int i = 0; i < 3; i++) collect();
  CHECK(readable(fd));
  CHECK(take_clean(&h, &tag));
  collect();
  collect();
  mpg_cleanup_notify(queue, write_event, &fd); /* there is something */
  CHECK(readable(fd));
  mpg_cleanup_notify(queue, NULL, NULL);
  make(1, NULL);
  for (int i = 0; i < 3; i++) collect();
  CHECK(!readable(fd));
  close(fd);
}

/* ---- an embedder's own thread ---- */

static void *embedder(void *arg) {
  struct mpg_cleanup c;
  int *n = arg;
  CHECK_EQ(mpg_thread_attach(), 0);
  while (mpg_cleanup_wait(queue, &c, mpg_now() + 300000000) == 0) ++*n;
  CHECK_EQ(mpg_thread_detach(), 0);
  return NULL;
}

static void an_attached_thread_drains(void *arg) {
  static int n;
  pthread_t t;
  begin(arg);
  CHECK_EQ(pthread_create(&t, NULL, embedder, &n), 0);
  for (uintptr_t i = 0; i < 1000; i++) make(i, NULL);
  for (int i = 0; i < 10; i++) {
    collect();
    mpg_sleep(5000000);
  }
  mpg_syscall_enter();
  pthread_join(t, NULL);
  mpg_syscall_exit();
  CHECK_GE(n, 980);
}

static const struct check_case cases[] = {
    INSIDE(arguments_are_checked),
    INSIDE(delivers_the_dead_whole),
    INSIDE(lives_as_long_as_somebody_has_it),
    INSIDE(a_before_b),
    INSIDE(a_tag_is_kept_and_replaced),
    INSIDE(finalizer_and_weak_reference),
    INSIDE(free_drops_and_realloc_takes_along),
    INSIDE(dies_with_an_unreachable_queue),
    INSIDE(what_lies_in_a_lost_queue_is_freed),
    INSIDE(a_freed_queue_gets_nothing),
    INSIDE(everything_comes_once),
    INSIDE(waiters_get_everything),
    INSIDE(waiting_ends_at_the_deadline),
    INSIDE(tells_an_event_loop),
    INSIDE(an_attached_thread_drains),
};

int main(int argc, char **argv) {
  check_switches("clobberfree=1,gcverify=1");
  return check_cases(cases, sizeof(cases) / sizeof(*cases), argc, argv, 30);
}
