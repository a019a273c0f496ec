/* gc_alloc_bench.c - the works of gc_work.h and gcbench_work.h on mpg's heap.
 *
 * Twins: peers/gc_alloc.c (Boehm, malloc), peers/go/alloc.go, gcbench.go.
 */
#include "heap_mpg.h"

#include "gc_work.h"
#include "gcbench_work.h"

static const struct work works[] = {
    {"trees", trees_work},     {"alloc", alloc_work}, {"free", free_work},
    {"padding", padding_work}, {"hash", hash_work},   {"mixed", mixed_work},
    {"gcbench", gcbench_work},
};

BENCH_MAIN(works)
