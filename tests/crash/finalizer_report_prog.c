// EXPECT-EXIT: 0
// EXPECT-STDERR: ^mpg: the finalizer 0x[0-9a-f]+ has been running for [0-9]+ ms
// EXPECT-STDERR: ^mpg: [0-9]+ objects with finalizers reach each other and are never finalized
// ENV: MPG_DEBUG=slowfinalizer=20
#include <mpg.h>

static _Atomic int slept;

static void slow(void *obj, void *arg) {
  (void) obj, (void) arg;
  if (!slept) mpg_sleep(200000000);
  slept = 1;
}

static __attribute__((noinline)) void make(void) {
  for (int i = 0; i < 50; i++) mpg_finalizer_set(mpg_alloc(32), slow, NULL);
}

static __attribute__((noinline)) void make_cycles(void) {
  for (int i = 0; i < 50; i++) {
    void **a = mpg_alloc(32), **b = mpg_alloc(32);
    a[0] = b;
    b[0] = a;
    mpg_finalizer_set(a, slow, NULL);
    mpg_finalizer_set(b, slow, NULL);
  }
}

static void start(void *arg) {
  (void) arg;
  make();
  while (!slept) {
    mpg_gc();
    mpg_sleep(1000000);
  }
  make_cycles();
  for (int i = 0; i < 5; i++) {
    mpg_gc();
    mpg_sleep(1000000);
  }
}

int main(void) { return mpg_run(start, NULL); }
