/* histogram.c - log-linear histograms of nanoseconds.
 *
 * Values below 32 have a bucket each.  Above, every power of two [2^e,
 * 2^(e+1)) is cut into 32 equal buckets, so a bucket is at most 1/32 of its
 * lower end wide.  Bucket number: 32 * (e - 4) + the 5 bits after the leading
 * one.  A quantile is reported as its bucket's highest value, but never above
 * the maximum seen.
 *
 * Recording is lock-free and signal-safe; readers of a live histogram see
 * counts that may lag one another.
 *
 * The three public readers run on the caller's stack, which may be a 2 KiB
 * goroutine stack: they are entry stubs (mpg_rt_text) with small frames that
 * call nothing.  mpg_histogram_free needs g0 and is a thunk.
 */
#include <arch/common/check.h>
#include <arch/common/histogram.h>
#include <mpg/gc.h>

#define SUB_LOG2 MPGI_HISTOGRAM_SUB_LOG2
#define SUB (1u << SUB_LOG2)
#define BUCKETS MPGI_HISTOGRAM_BUCKETS

_Static_assert(BUCKETS == (64 - SUB_LOG2 + 1) * SUB, "buckets cover 64 bits");

#define STUB_INLINE static inline __attribute__((always_inline))

STUB_INLINE unsigned bucket_of(uint64_t v) {
  if (v < SUB) return (unsigned) v;
  unsigned e = 63 - (unsigned) __builtin_clzll(v);
  unsigned sub = (unsigned) (v >> (e - SUB_LOG2)) & (SUB - 1);
  return (e - SUB_LOG2 + 1) * SUB + sub;
}

/* The highest value of bucket b. */
STUB_INLINE uint64_t bucket_top(unsigned b) {
  if (b < SUB) return b;
  unsigned shift = b / SUB - 1; /* e - SUB_LOG2 */
  uint64_t lo = (uint64_t) (SUB + b % SUB) << shift;
  return lo + (((uint64_t) 1 << shift) - 1);
}

STUB_INLINE uint64_t load(const _Atomic uint64_t *p) {
  return atomic_load_explicit(p, memory_order_relaxed);
}

void mpgi_histogram_record(struct mpg_histogram *h, uint64_t v) {
  unsigned b = bucket_of(v);
  MPG_ASSERT_INTERNAL(b < BUCKETS && bucket_top(b) >= v);
  MPG_ASSERT_INTERNAL(b == 0 || bucket_top(b - 1) < v);
  atomic_fetch_add_explicit(&h->bucket[b], 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&h->sum, v, memory_order_relaxed);
  uint64_t max = load(&h->max);
  while (v > max &&
         !atomic_compare_exchange_weak_explicit(
             &h->max, &max, v, memory_order_relaxed, memory_order_relaxed))
    continue;
}

void mpgi_histogram_reset(struct mpg_histogram *h) {
  MPG_ASSERT(h);
  for (unsigned b = 0; b < BUCKETS; b++)
    atomic_store_explicit(&h->bucket[b], 0, memory_order_relaxed);
  atomic_store_explicit(&h->sum, 0, memory_order_relaxed);
  atomic_store_explicit(&h->max, 0, memory_order_relaxed);
}

void mpgi_histogram_copy(struct mpg_histogram *to,
                         const struct mpg_histogram *from) {
  MPG_ASSERT(to && from && to != from);
  for (unsigned b = 0; b < BUCKETS; b++)
    atomic_store_explicit(&to->bucket[b], load(&from->bucket[b]),
                          memory_order_relaxed);
  atomic_store_explicit(&to->sum, load(&from->sum), memory_order_relaxed);
  /* Last: never below a value counted above. */
  atomic_store_explicit(&to->max, load(&from->max), memory_order_relaxed);
}

/* ---- public readers: entry stubs ---- */

STUB_INLINE uint64_t count(const struct mpg_histogram *h) {
  uint64_t n = 0;
  for (unsigned b = 0; b < BUCKETS; b++) n += load(&h->bucket[b]);
  return n;
}

MPGI_RT_TEXT uint64_t mpg_histogram_count(const struct mpg_histogram *h) {
  return h ? count(h) : 0;
}

MPGI_RT_TEXT uint64_t mpg_histogram_max(const struct mpg_histogram *h) {
  return h ? load(&h->max) : 0;
}

/* The rank, 1..n, of quantile q; what is not a number counts as 0. */
STUB_INLINE uint64_t rank_of(double q, uint64_t n) {
  if (!(q > 0)) return 1;
  if (q >= 1) return n;
  double exact = q * (double) n;
  uint64_t rank = (uint64_t) exact;
  if ((double) rank < exact) rank++;
  if (rank == 0) rank = 1;
  return rank > n ? n : rank;
}

MPGI_RT_TEXT uint64_t mpg_histogram_quantile(const struct mpg_histogram *h,
                                             double q) {
  uint64_t n = h ? count(h) : 0;
  if (n == 0) return 0;
  uint64_t rank = rank_of(q, n), max = load(&h->max), seen = 0;
  for (unsigned b = 0; b < BUCKETS; b++) {
    seen += load(&h->bucket[b]);
    if (seen >= rank) {
      uint64_t top = bucket_top(b);
      return top < max ? top : max;
    }
  }
  return max;
}
