/* roof_stack_boundary.c - what the memory lets a recursion have: the same one
 * as descent, on one contiguous stack of huge pages that is used again and
 * again, by the same thread.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include <pthread.h>

#define DESCENT_NOW() work_now()
#pragma GCC optimize("no-omit-frame-pointer", "no-optimize-sibling-calls")
#include "../descent_work.h"

#define HUGE_BYTES ((size_t) 2 << 20)
#define FRAME_BYTES 64 /* at most */

static void *descents(void *arg) {
  (void) arg;
  descent_run(descent_time);
  return NULL;
}

static void descent_work(void) {
  size_t bytes = (size_t) work_arg("depth", 10000) * FRAME_BYTES + HUGE_BYTES;
  bytes = (bytes + HUGE_BYTES - 1) & -HUGE_BYTES;
  char *mem = mmap(NULL, bytes + HUGE_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mem == MAP_FAILED) work_fail("no memory");
  mem = (char *) (((uintptr_t) mem + HUGE_BYTES - 1) & -HUGE_BYTES);
  madvise(mem, bytes, MADV_HUGEPAGE);
  pthread_attr_t attr;
  pthread_t t;
  pthread_attr_init(&attr);
  pthread_attr_setstack(&attr, mem, bytes);
  if (pthread_create(&t, &attr, descents, NULL) != 0) work_fail("no thread");
  pthread_join(t, NULL);
}

static const struct work works[] = {{"descent", descent_work}};

WORK_MAIN(works)
