/* app_json.c - the JSON application with pthreads, on Boehm's collector or a
 * malloc.
 */
#include "../heap_peer.h"

#include "../json/work.h"

static const struct work works[] = {{"json", json_work}};

HEAP_MAIN(works)
