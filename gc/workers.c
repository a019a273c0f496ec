/* workers.c - the collector's own marking threads.
 *
 * Used when the world has fewer stopped threads to lend than markers are
 * wanted (idle processors have none).  Started before the world is stopped,
 * because starting a thread takes libc's locks; never ended.  They sleep on a
 * futex word; `tokens` says how many may go to work.
 */
#define MPGI_GC_INSIDE 1
#include <arch/os.h>
#include <gc/mark_private.h>

#define STACK_BYTES ((size_t) 128 << 10)

static struct {
  _Atomic uint32_t tokens; /* futex */
  _Atomic uint32_t threads;
  _Atomic uintptr_t stack[MPGI_MARKERS_MAX]; /* somewhere at its high end */
} workers;

static bool token_take(void) {
  uint32_t n = atomic_load(&workers.tokens);
  while (n > 0)
    if (atomic_compare_exchange_weak(&workers.tokens, &n, n - 1)) return true;
  return false;
}

bool mpgi_workers_own(uintptr_t addr) {
  for (int i = 0; i < MPGI_MARKERS_MAX; i++) {
    uintptr_t top =
        atomic_load_explicit(&workers.stack[i], memory_order_relaxed);
    if (top - addr < STACK_BYTES) return true;
  }
  return false;
}

static void run(void *index) {
  atomic_store_explicit(&workers.stack[(uintptr_t) index],
                        (uintptr_t) __builtin_frame_address(0),
                        memory_order_relaxed);
  for (;;) {
    if (token_take()) {
      MPGI_CHAOS();
      mpgi_mark_join();
    } else {
      mpgi_os_futex_wait(&workers.tokens, 0, -1);
    }
  }
}

void mpgi_workers_prepare(unsigned n) {
  uint32_t have = atomic_load(&workers.threads);
  if (n > MPGI_MARKERS_MAX) n = MPGI_MARKERS_MAX;
  while (have < n) {
    if (!atomic_compare_exchange_weak(&workers.threads, &have, have + 1))
      continue;
    if (mpgi_os_thread_start(run, (void *) (uintptr_t) have, STACK_BYTES,
                             "mpg-mark") != 0) {
      atomic_fetch_sub(&workers.threads, 1); /* fewer, then */
      return;
    }
    have++;
  }
}

void mpgi_gc_forked(void) {
  atomic_store(&workers.threads, 0);
  atomic_store(&workers.tokens, 0);
  mpgi_sweep_forked();
}

unsigned mpgi_workers_wake(unsigned n) {
  uint32_t have = atomic_load(&workers.threads);
  if (n > have) n = have;
  if (n == 0) return 0;
  /* Tokens of a phase that was over before they were taken are void. */
  atomic_store(&workers.tokens, n);
  mpgi_os_futex_wake(&workers.tokens, (int) n);
  return n;
}
