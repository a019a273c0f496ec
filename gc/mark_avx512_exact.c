/* mark_avx512_exact.c - mark_avx512.c for heaps without interior pointers. */
#define EXACT 1
#include <gc/mark_avx512.c>
