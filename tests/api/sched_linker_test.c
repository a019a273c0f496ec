/* sched_linker_test.c - code that the dynamic linker calls with its locks held
 * (constructors, destructors, dl_iterate_phdr's callbacks) may stop the world,
 * and may take its time.
 *
 * Whoever stops the world waits for every thread in the runtime, and some of
 * those want the linker's locks: to list objects for a collection, to look for
 * text.  No timing is asserted: the watchdog ends what hangs.
 */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>

#include "../support/check.h"

#define ROUNDS 30
#define OTHERS 2

static mpg_waitgroup done;
static _Atomic int busy; /* with the lock */

/* ---- others, who want the lock ---- */

static _Atomic uint64_t collected, looked;

static void collect(void *arg) {
  (void) arg;
  while (atomic_load(&busy)) {
    mpg_gc();
    atomic_fetch_add(&collected, 1);
    mpg_yield();
  }
  mpg_waitgroup_done(&done);
}

static void allocate(void *arg) {
  (void) arg;
  while (atomic_load(&busy)) {
    void *p = mpg_alloc(64 << 10);
    CHECK(p != NULL);
    CHECK_OPAQUE(p);
    mpg_yield();
  }
  mpg_waitgroup_done(&done);
}

static void look_for_text(void *arg) {
  int data = 0;
  (void) arg;
  while (atomic_load(&busy)) {
    CHECK_EQ(mpg_text_add(&data), -EINVAL);
    atomic_fetch_add(&looked, 1);
    mpg_yield();
  }
  mpg_waitgroup_done(&done);
}

static _Atomic int attached;

static void *attached_collect(void *arg) {
  CHECK_EQ(mpg_thread_attach(), 0);
  atomic_store(&attached, 1);
  collect(arg);
  CHECK_EQ(mpg_thread_detach(), 0);
  return NULL;
}

/* fn beside all of them. */
static void beside_others(void (*fn)(void)) {
  pthread_t thread;
  mpg_gomaxprocs(4);
  atomic_store(&busy, 1);
  atomic_store(&collected, 0);
  atomic_store(&looked, 0);
  mpg_waitgroup_add(&done, 3 * OTHERS + 1);
  for (int i = 0; i < OTHERS; i++) {
    CHECK_GO(collect, NULL);
    CHECK_GO(allocate, NULL);
    CHECK_GO(look_for_text, NULL);
  }
  CHECK_EQ(pthread_create(&thread, NULL, attached_collect, NULL), 0);
  CHECK_EVENTUALLY(atomic_load(&collected) > 3 && atomic_load(&looked) > 3);
  fn();
  atomic_store(&busy, 0);
  mpg_waitgroup_wait(&done);
  CHECK_EQ(pthread_join(thread, NULL), 0);
}

/* ---- with the lock ---- */

static void stop_the_world(void) {
  static int n;
  mpg_gc();
  mpg_gomaxprocs(3 + ++n % 2);
  mpg_gc();
  void *p = mpg_alloc(1 << 20);
  CHECK(p != NULL);
  CHECK_OPAQUE(p);
  mpg_heap_profile_rate(mpg_heap_profile_rate(-1));
}

static int in_callback(struct dl_phdr_info *info, size_t bytes, void *arg) {
  (void) info, (void) bytes, (void) arg;
  stop_the_world();
  return 0;
}

static void list_objects(void) {
  for (int i = 0; i < ROUNDS / 10; i++)
    CHECK_EQ(dl_iterate_phdr(in_callback, NULL), 0);
}

static void a_callback_stops_the_world(void *arg) {
  (void) arg;
  beside_others(list_objects);
}

static void *attached_list(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_thread_attach(), 0);
  list_objects();
  mpg_waitgroup_done(&done);
  CHECK_EQ(mpg_thread_detach(), 0);
  return NULL;
}

static void list_on_a_thread(void) {
  pthread_t thread;
  mpg_waitgroup_add(&done, 1);
  CHECK_EQ(pthread_create(&thread, NULL, attached_list, NULL), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
}

static void an_attached_threads_callback_stops_the_world(void *arg) {
  (void) arg;
  beside_others(list_on_a_thread);
}

/* ---- constructors and destructors ---- */

static _Atomic int opened, closed;

/* What the library's thread-local word alone keeps is kept. */
static void hook(const char *when, void **local) {
  atomic_fetch_add(*when == 'o' ? &opened : &closed, 1);
  *local = mpg_alloc(100);
  CHECK(*local != NULL);
  memset(*local, 'x', 100);
  stop_the_world();
  for (int i = 0; i < 100; i++) CHECK_EQ(((char *) *local)[i], 'x');
}

static void open_and_close(void) {
  char path[PATH_MAX], text[32];
  ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 32);
  CHECK_GT(n, 0);
  path[n] = '\0';
  strcpy(strrchr(path, '/'), "/hooklib.so");
  snprintf(text, sizeof(text), "%lx", (unsigned long) (uintptr_t) hook);
  CHECK_EQ(setenv("HOOKLIB_CALL", text, 1), 0);
  for (int i = 0; i < ROUNDS; i++) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL);
    CHECK_EQ(dlclose(library), 0);
  }
  CHECK_EQ(atomic_load(&opened), ROUNDS);
  CHECK_EQ(atomic_load(&closed), ROUNDS);
}

static void a_constructor_stops_the_world(void *arg) {
  (void) arg;
  atomic_store(&opened, 0);
  atomic_store(&closed, 0);
  beside_others(open_and_close);
}

/* ---- for long ---- */

static _Atomic int begun, may_end;

static int hold_on(struct dl_phdr_info *info, size_t bytes, void *arg) {
  (void) info, (void) bytes, (void) arg;
  atomic_store(&begun, 1);
  while (!atomic_load(&may_end)) continue;
  return 1;
}

static void hold_the_lock(void *arg) {
  (void) arg;
  CHECK_EQ(dl_iterate_phdr(hold_on, NULL), 1);
  mpg_waitgroup_done(&done);
}

static void loop(void *arg) {
  (void) arg;
  while (!atomic_load(&may_end)) continue;
  mpg_waitgroup_done(&done);
}

/* With a loop on every other P, a sleep ends because sysmon sees to it: it must
 * not want the lock. */
static void loops_are_preempted_beside_a_long_callback(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  atomic_store(&begun, 0);
  atomic_store(&may_end, 0);
  mpg_waitgroup_add(&done, 3);
  CHECK_GO(hold_the_lock, NULL);
  CHECK_EVENTUALLY(atomic_load(&begun));
  for (int i = 0; i < 2; i++) CHECK_GO(loop, NULL);
  for (int i = 0; i < 40; i++) mpg_sleep(10 * 1000000);
  atomic_store(&may_end, 1);
  mpg_waitgroup_wait(&done);
}

/* The last case: the lock stays the frozen thread's. */
static void a_run_ends_while_others_wait(void *arg) {
  (void) arg;
  pthread_t thread;
  mpg_gomaxprocs(4);
  atomic_store(&begun, 0);
  atomic_store(&may_end, 0);
  atomic_store(&busy, 1);
  mpg_waitgroup_add(&done, 5);
  CHECK_GO(hold_the_lock, NULL);
  CHECK_EVENTUALLY(atomic_load(&begun));
  CHECK_GO(collect, NULL);
  CHECK_GO(allocate, NULL);
  CHECK_GO(look_for_text, NULL);
  atomic_store(&attached, 0);
  CHECK_EQ(pthread_create(&thread, NULL, attached_collect, NULL), 0);
  CHECK_EQ(pthread_detach(thread), 0);
  CHECK_EVENTUALLY(atomic_load(&attached)); /* not to a run that is over */
  mpg_sleep(10 * 1000000); /* most likely they wait for the lock now */
}

static const struct check_case cases[] = {
    INSIDE(a_callback_stops_the_world),
    INSIDE(an_attached_threads_callback_stops_the_world),
    INSIDE(a_constructor_stops_the_world),
    INJECTS_STEALS(loops_are_preempted_beside_a_long_callback),
    INSIDE(a_run_ends_while_others_wait),
};
CHECK_MAIN(cases, 30)
