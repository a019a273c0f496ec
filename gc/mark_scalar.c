/* mark_scalar.c - the marker's loops for any processor. */
#define MPGI_GC_INSIDE 1
#define LEVEL scalar
#define VECTOR 1
#include <gc/mark_scan.h>
