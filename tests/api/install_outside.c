/* install_outside.c - a program outside the tree, built by install_test.sh
 * against an installed mpg in every way that is documented.
 *
 * Uses what links differently: goroutines that grow their stacks, a channel,
 * collected memory, a thread of its own (pthread_create may be wrapped), and
 * a function that calls nothing but mpg.
 */
#include <mpg.h>
#include <pthread.h>
#include <stdio.h>

/* Frames of about 300 bytes: more than a first segment, and on fixed stacks
 * less than the 256 KiB they have. */
#if defined(MPG_SPLIT_STACK)
enum { GOROUTINES = 20, DEPTH = 2000 };
#else
enum { GOROUTINES = 20, DEPTH = 400 };
#endif

static mpg_chan *results;
static int status = 1;

__attribute__((noinline)) static long descend(int depth) {
  volatile char frame[256];
  frame[depth & 255] = (char) depth;
  if (depth == 0) return frame[0];
  return 1 + descend(depth - 1) + (frame[depth & 255] - (char) depth);
}

static void worker(void *arg) {
  long *base = arg;
  long sum = *base + descend(DEPTH);
  mpg_chan_send(results, &sum);
}

/* Calls only mpg: the linker must leave its prologue alone. */
__attribute__((noinline)) void outside_leaf(void **slot);
__attribute__((noinline)) void outside_leaf(void **slot) {
  volatile char frame[512];
  frame[0] = 1;
  *slot = mpg_alloc(64 + (size_t) frame[0]);
  mpg_yield();
}

static void *thread_main(void *arg) {
  *(int *) arg = 7;
  return NULL;
}

static void main_goroutine(void *arg) {
  (void) arg;
  void *object = NULL;
  outside_leaf(&object);
  results = mpg_chan_new(sizeof(long), 4);
  for (long i = 0; i < GOROUTINES; i++) {
    long *n = mpg_alloc(sizeof *n);
    *n = i;
    if (mpg_go(worker, n) != 0) return;
  }
  long total = 0, sum = 0;
  for (int i = 0; i < GOROUTINES; i++) {
    if (!mpg_chan_recv(results, &sum)) return;
    total += sum;
  }
  mpg_gc();
  if (!object ||
      total != GOROUTINES * (GOROUTINES - 1) / 2 + (long) GOROUTINES * DEPTH)
    return;
  status = 0;
}

int main(void) {
  pthread_t thread;
  int answer = 0;
  if (pthread_create(&thread, NULL, thread_main, &answer) != 0) return 3;
  pthread_join(thread, NULL);
  if (answer != 7) return 4;
  if (mpg_run(main_goroutine, NULL) != 0) return 5;
  printf("mpg %s: %s\n", mpg_version(), status == 0 ? "ok" : "wrong");
  return status;
}
