/* mark_avx2_exact.c - mark_avx2.c for heaps without interior pointers. */
#define EXACT 1
#include <gc/mark_avx2.c>
