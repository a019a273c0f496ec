/* mark_scalar_exact.c - mark_scalar.c for heaps without interior pointers. */
#define EXACT 1
#include <gc/mark_scalar.c>
