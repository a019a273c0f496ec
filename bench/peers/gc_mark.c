/* gc_mark.c - the works of mark_work.h on Boehm's collector, and live on a
 * malloc.  stacks: n ranges of 1 KiB that are scanned as roots, which is what
 * a coroutine library would tell Boehm.
 */
#include "../heap_peer.h"

#ifdef PEER_BOEHM
#include <gc/gc_mark.h>
#define HEAP_AUTOMATIC(on) ((on) ? GC_enable() : GC_disable())
#else
#define HEAP_AUTOMATIC(on) ((void) 0)
#endif
#define HEAP_SLEEP(ns) usleep((useconds_t) ((ns) / 1000))

static void heap_pauses_begin(void);
static void heap_pauses_print(void);

#include "../mark_work.h"

#ifdef PEER_BOEHM

#define PAUSES_MAX 100000
static struct work_samples pauses;
static int64_t pause_began;

/* The samples have room: nothing is allocated here. */
static void GC_CALLBACK on_event(GC_EventType event) {
  if (event == GC_EVENT_PRE_STOP_WORLD) pause_began = work_now();
  if (event == GC_EVENT_POST_START_WORLD && pauses.n < pauses.max)
    pauses.v[pauses.n++] = (double) (work_now() - pause_began);
}

static void heap_pauses_begin(void) {
  pauses.max = PAUSES_MAX;
  pauses.v = calloc(pauses.max, sizeof *pauses.v);
  GC_set_on_collection_event(on_event);
}

static void heap_pauses_print(void) {
  work_print_samples("pause", &pauses, 1e6);
}

#define STACK_BYTES 1024
#define STACK_COLLECTIONS 5
static char *stacks;
static long stacks_n;

static void GC_CALLBACK push_stacks(void) {
  for (long i = 0; i < stacks_n; i++)
    GC_push_all_eager(stacks + 2 * i * STACK_BYTES,
                      stacks + (2 * i + 1) * STACK_BYTES);
}

static void stacks_work(void) {
  stacks_n = work_arg("n", 10000);
  stacks = malloc((size_t) stacks_n * 2 * STACK_BYTES);
  if (!stacks) work_fail("out of memory");
  for (long i = 0; i < stacks_n; i++)
    for (int word = 0; word < STACK_BYTES / 8; word++)
      ((uint64_t *) (stacks + 2 * i * STACK_BYTES))[word] = (uint64_t) word;
  GC_set_push_other_roots(push_stacks);
  GC_gcollect();
  int64_t start = work_now();
  for (int i = 0; i < STACK_COLLECTIONS; i++) GC_gcollect();
  work_print("ms", (double) (work_now() - start) / 1e6 / STACK_COLLECTIONS);
  work_check((uint64_t) stacks_n);
}

static const struct work works[] = {
    {"graph", graph_work}, {"live", live_work}, {"stacks", stacks_work}};

#else

static void heap_pauses_begin(void) {}

static void heap_pauses_print(void) {}

static const struct work works[] = {{"graph", graph_work}, {"live", live_work}};

#endif

HEAP_MAIN(works)
