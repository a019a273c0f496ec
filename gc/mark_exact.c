/* mark_exact.c - the marker's loops for heaps without interior pointers. */
#define MPGI_GC_INSIDE 1
#define OPS mpgi_mark_exact
#define OPS_NAME "exact"
#define VECTOR 1
#define EXACT 1
#include <gc/mark_scan.h>
