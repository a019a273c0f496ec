/* app_json_bench.c - the JSON application on mpg's heap.
 *
 * Twin: peers/app_json.c (Boehm, malloc).
 */
#include "heap_mpg.h"

#include "json/work.h"

static const struct work works[] = {{"json", json_work}};

BENCH_MAIN(works)
