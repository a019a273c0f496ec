/* gc_alloc.c - the works of gc_work.h and gcbench_work.h with pthreads, on
 * Boehm's collector or a malloc.
 */
#include "../heap_peer.h"

#include "../gc_work.h"
#include "../gcbench_work.h"

static const struct work works[] = {
    {"trees", trees_work},     {"alloc", alloc_work}, {"free", free_work},
    {"padding", padding_work}, {"hash", hash_work},   {"mixed", mixed_work},
    {"gcbench", gcbench_work},
};

HEAP_MAIN(works)
