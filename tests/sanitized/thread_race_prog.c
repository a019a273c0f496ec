// EXPECT-EXIT: 66
// EXPECT-STDERR: WARNING: ThreadSanitizer: data race
// EXPECT-STDERR: #0 race_here
// EXPECT-STDERR: SUMMARY: ThreadSanitizer: data race .* in race_here
// REJECT-STDERR: in ordered

/* A race of two goroutines on two threads is found; what a channel and a
 * mutex order is none. */
#include <mpg.h>

#include <stdatomic.h>

static int racy, by_channel;
static int by_mutex;
static mpg_mutex lock;
static mpg_chan *c;
static _Atomic int there;

static __attribute__((noinline)) void race_here(void) { racy++; }

static __attribute__((noinline)) void ordered(int *n) { ++*n; }

static void worker(void *arg) {
  (void) arg;
  mpg_chan_recv(c, NULL);
  ordered(&by_channel);
  mpg_mutex_lock(&lock);
  ordered(&by_mutex);
  mpg_mutex_unlock(&lock);
  /* Both at once, so on two threads. */
  atomic_fetch_add_explicit(&there, 1, memory_order_relaxed);
  while (atomic_load_explicit(&there, memory_order_relaxed) < 2) continue;
  race_here();
}

static void start(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  c = mpg_chan_new(0, 0);
  if (mpg_go(worker, NULL) != 0) return;
  ordered(&by_channel);
  mpg_chan_send(c, NULL);
  mpg_mutex_lock(&lock);
  ordered(&by_mutex);
  mpg_mutex_unlock(&lock);
  atomic_fetch_add_explicit(&there, 1, memory_order_relaxed);
  while (atomic_load_explicit(&there, memory_order_relaxed) < 2) continue;
  race_here();
  mpg_sleep(1000 * 1000);
}

int main(void) { return mpg_run(start, NULL); }
