/* stats.c - mpg_gc_stats_read, and the bytes that are live by its count. */
#define MPGI_GC_INSIDE 1
#include <errno.h>
#include <string.h>

#include <arch/common/fixmem.h>
#include <arch/common/trace.h>
#include <gc/gc_private.h>
#include <gc/mark_private.h>
#include <mpg/gc.h>

static uint64_t or_zero(uint64_t (*fn)(void)) { return fn != NULL ? fn() : 0; }

/* Records, the tables of the heap as far as it is used, the markers' buffers,
 * what belongs to threads. */
static uint64_t offheap_bytes(void) {
  return mpgi_fixmem_bytes() + mpgi_heap_table_bytes() + mpgi_workbuf_bytes() +
         or_zero(mpgi_gc_world.offheap_bytes);
}

static void fill(struct mpg_gc_stats *s) {
  /* Freed first: what was freed was allocated before. */
  s->freed_objects = mpgi_sweep_freed_objects();
  mpgi_cache_totals(&s->total_alloc_bytes, &s->total_alloc_objects);
  s->cycles = mpgi_gc_cycles();
  s->heap_live = mpgi_gc_live_bytes();
  s->heap_goal = mpgi_pacer_goal();
  s->heap_mapped = mpgi_heap_mapped_bytes();
  s->heap_objects = s->total_alloc_objects - s->freed_objects;
  s->pause_total_ns = or_zero(mpgi_gc_world.pause_total_ns);
  s->mark_cpu_ns = mpgi_gc_mark_cpu_ns();
  s->stack_bytes = or_zero(mpgi_gc_world.stack_bytes);
  s->offheap_bytes = offheap_bytes();
  MPG_ASSERT(s->freed_objects <= s->total_alloc_objects);
}

void mpgi_gc_trace_heap(void) {
  uint64_t goal = mpgi_pacer_goal();
  MPGI_TRACE_EVERYBODY(HEAP, mpgi_gc_live_bytes(),
                       goal == UINT64_MAX ? 0 : goal);
}

int mpgi_gc_stats_read_g0(void *stats) {
  struct mpg_gc_stats *s = stats;
  if (s == NULL || s->size != sizeof *s) return -EINVAL;
  fill(s);
  return 0;
}
