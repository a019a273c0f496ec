// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: mpg_free of .*: that memory is free; was it freed twice
#include <mpg.h>

static void *p;
static mpg_waitgroup done;

static void other(void *arg) {
  (void) arg;
  mpg_free(p);
  mpg_waitgroup_done(&done);
}

static void locked(void *arg) {
  mpg_lock_thread();
  other(arg);
}

/* What one P has freed, another one frees again. */
static void start(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  mpg_lock_thread();
  for (int i = 0; i < 100; i++) {
    p = mpg_alloc(100);
    mpg_waitgroup_add(&done, 1);
    if (mpg_go(locked, NULL) != 0) return;
    mpg_waitgroup_wait(&done);
    if (i == 99) mpg_free(p);
  }
}

int main(void) { return mpg_run(start, NULL); }
