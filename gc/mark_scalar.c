/* mark_scalar.c - the marker's loops for any processor. */
#define MPGI_GC_INSIDE 1
#define OPS mpgi_mark_scalar
#define OPS_NAME "scalar"
#define VECTOR 1
#include <gc/mark_scan.h>
