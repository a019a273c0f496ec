/* sizeclass.c - the size classes as tables for C.
 *
 * The table of requests is computed once by init: it is 8 KiB and follows from
 * sizeclass.def, which tools/sizeclass.py makes and explains.
 */
#define MPGI_GC_INSIDE 1
#include <gc/gc_private.h>

/* bytes <= 2^15 and offsets < 2^17, so rounding 2^32 / bytes up is exact. */
#define MAGIC(bytes) (uint32_t)(((UINT64_C(1) << 32) + (bytes) -1) / (bytes))
_Static_assert((MPGI_SMALL_PAGES_MAX << MPGI_PAGE_LOG2) <= 1 << 17,
               "offsets in a span are below 2^17");

const struct mpgi_class mpgi_class[MPGI_CLASSES] = {
    [MPGI_CLASS_LARGE] = {.objects = 1},
#define MPGI_SIZECLASS(n, b, u, p, o, tail, worst) \
  [n] = {.magic = MAGIC(b),                        \
         .bytes = (b),                             \
         .pages = (p),                             \
         .objects = (o),                           \
         .usable = (u)},
#include <gc/sizeclass.def>
#undef MPGI_SIZECLASS
};

uint16_t mpgi_class_table[MPGI_SMALL_MAX_BYTES / 8 + 1];

void mpgi_sizeclass_init(void) {
  unsigned class = 1;
  for (size_t i = 0; i <= MPGI_SMALL_MAX_BYTES / 8; i++) {
    if (i * 8 > mpgi_class[class].usable) class ++;
    MPG_ASSERT(class < MPGI_CLASSES && i * 8 <= mpgi_class[class].usable);
    mpgi_class_table[i] = (uint16_t) (class * MPGI_HOLE_BYTES);
  }
}
