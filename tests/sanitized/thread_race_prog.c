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

/* Be one of n who are here; relaxed, which orders nothing. */
static void meet(int n) {
  atomic_fetch_add_explicit(&there, 1, memory_order_relaxed);
  while (atomic_load_explicit(&there, memory_order_relaxed) < n) continue;
}

static void worker(void *arg) {
  (void) arg;
  mpg_chan_recv(c, NULL);
  ordered(&by_channel);
  mpg_mutex_lock(&lock);
  ordered(&by_mutex);
  mpg_mutex_unlock(&lock);
  meet(2); /* both run, so on two threads */
  race_here();
  meet(4);
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
  meet(2);
  while (atomic_load_explicit(&there, memory_order_relaxed) < 3) continue;
  race_here(); /* TSan may miss accesses in the same moment */
  meet(4);
}

int main(void) { return mpg_run(start, NULL); }
