/* leak_stack.c - who has an address of a leaked goroutine's stack?
 *
 * A lock may be a local variable: of the goroutine that waits for it, or of
 * another.  It is reachable when that one may run on, or when an address of it
 * is anywhere but on stacks of goroutines that nobody can wake.  C allows such
 * an address to be where the collector never looks: the queue of requests whose
 * senders wait may be malloc's memory.  To report a goroutine that will be
 * woken is worse than to miss one, so any word counts that anybody may read
 * later, and any address of the stack: what lies before the lock may be the
 * structure that it is part of.  Words are
 *   1. on stacks and in registers of goroutines that aren't leaked
 *   2. in thread-local blocks of Ms
 *   3. in heap objects that can be reached, whatever their layout says
 *   4. anywhere else in the process's memory (arch/linux/words.c)
 * In the last, these places don't count, having been seen or being nobody's:
 * the heap; memory for stacks, in which goroutines that have ended leave such
 * addresses; stacks on which the runtime runs; records that the runtime has for
 * the leaked goroutines themselves.  Something stale anywhere else hides a
 * leak.
 *
 * Nobody else may have an address in a register alone: threads that mpg doesn't
 * know run on, and could.  So while there is one, but for the caller of
 * mpg_run, stacks aren't looked at, and what lies on one counts as reachable;
 * so it does with a sanitizer, whose shadow memory is terabytes.  What a
 * goroutine read since it entered a system call is as little seen as by the
 * collector, and nobody asks the kernel what it was given (epoll's data,
 * io_uring's).
 */
#include <sched/sched.h>

#include <sched/gmp.h>

#include <sched/chan.h>
#include <sched/leak.h>

struct stretch {
  uintptr_t lo, hi;
  struct mpg_g *gp; /* whose stack; NULL: a record that doesn't count */
};

static struct {
  struct stretch *at; /* ascending, disjoint; a mapping; NULL: none */
  size_t n, bytes;
  bool found; /* since this look began */
} leak MPGI_NOROOT;

/* ---- stretches ---- */

/* At first they are only counted. */
static void add(void *gp, const void *lo, const void *hi) {
  if (leak.at)
    leak.at[leak.n] = (struct stretch){(uintptr_t) lo, (uintptr_t) hi, gp};
  leak.n++;
}

/* Segments that aren't used any more or are not yet, and what is known of all:
 * in mappings of their own, large ones are. */
static void add_rest(const struct mpg_g *gp) {
  const struct mpgi_segment *s = gp->ctx.seg;
  if (s->lo < gp->ctx.sp) add(NULL, (void *) s->lo, (void *) gp->ctx.sp);
  for (; s; s = s->prev)
    if (s != &gp->seg0) add(NULL, s, s + 1);
  for (s = gp->ctx.seg->next; s; s = s->next) add(NULL, (void *) s->lo, s + 1);
  for (s = gp->ctx.dynamic; s; s = s->next) add(NULL, s, s + 1);
}

static void add_all_of(struct mpg_g *gp) {
  const struct mpgi_select *s = gp->select;
  mpgi_stack_ranges(&gp->ctx, gp->ctx.sp, add, gp);
  add_rest(gp);
  if (s) add(NULL, s, s->waiter + s->n);
  if (gp->movable) add(NULL, gp, mpgi_movable_of(gp) + 1);
}

static void add_leaked(size_t n) {
  leak.n = 0;
  for (size_t i = 0; i < n; i++) {
    struct mpg_g *gp = mpgi_allg_get(i);
    if (gp->leaked) add_all_of(gp);
  }
}

static void sort(void) {
  struct stretch *at = leak.at;
  for (size_t gap = leak.n / 2; gap > 0; gap /= 2)
    for (size_t i = gap; i < leak.n; i++) {
      struct stretch s = at[i];
      size_t k = i;
      for (; k >= gap && at[k - gap].lo > s.lo; k -= gap) at[k] = at[k - gap];
      at[k] = s;
    }
}

static const struct stretch *find(uintptr_t addr) {
  size_t lo = 0, hi = leak.n;
  while (lo < hi) {
    size_t mid = lo + (hi - lo) / 2;
    if (leak.at[mid].hi <= addr)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo < leak.n && leak.at[lo].lo <= addr ? &leak.at[lo] : NULL;
}

struct mpg_g *mpgi_leak_stack_of(const void *p) {
  const struct stretch *s = find((uintptr_t) p);
  return s ? s->gp : NULL;
}

/* ---- looking ---- */

static void has(uintptr_t word) {
  struct mpg_g *gp = mpgi_leak_stack_of((const void *) word);
  if (!gp || gp->leaked != MPGI_LEAKED) return;
  gp->leaked = MPGI_LEAKED_KNOWN;
  leak.found = true;
}

MPGI_NO_SANITIZE static void words(void *arg, const void *lo, const void *hi) {
  const uintptr_t *w =
      (const uintptr_t *) (((uintptr_t) lo + 7) & ~(uintptr_t) 7);
  (void) arg;
  for (; w + 1 <= (const uintptr_t *) hi; w++)
    has(*(const volatile uintptr_t *) w);
}

static bool is_of_an_m(uintptr_t addr) {
  for (const struct mpg_m *mp = mpgi_sched.all_m; mp; mp = mp->all_link)
    if (addr - mp->g0_lo < mp->g0_hi - mp->g0_lo ||
        mpgi_m_on_gsignal(mp, addr) || addr - (uintptr_t) mp < sizeof *mp)
      return true;
  return false;
}

static bool counts(uintptr_t at) {
  return !mpgi_gc_owns(at) && !mpgi_stack_owns(at) && !is_of_an_m(at) &&
         !find(at) && at - (uintptr_t) leak.at >= leak.bytes;
}

static void elsewhere(uintptr_t at, const uintptr_t *word, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const struct mpg_g *gp = mpgi_leak_stack_of((const void *) word[i]);
    if (gp && gp->leaked == MPGI_LEAKED && counts(at + i * sizeof *word))
      has(word[i]);
  }
}

/* The large ones that don't count. */
static bool wanted(uintptr_t lo, uintptr_t hi) {
  return !(mpgi_gc_owns(lo) && mpgi_gc_owns(hi - 1)) &&
         !(mpgi_stack_owns(lo) && mpgi_stack_owns(hi - 1));
}

static void all_are_known(size_t n) {
  for (size_t i = 0; i < n; i++) {
    struct mpg_g *gp = mpgi_allg_get(i);
    if (gp->leaked == MPGI_LEAKED) gp->leaked = MPGI_LEAKED_KNOWN;
  }
  leak.found = true;
}

bool mpgi_leak_stacks_look_stw(size_t n) {
  leak.found = false;
  mpgi_roots_tls(words, NULL);
  for (size_t i = 0; i < n; i++) {
    const struct mpg_g *gp = mpgi_allg_get(i);
    if (!gp->leaked) mpgi_roots_goroutine(gp, words, NULL);
  }
  mpgi_gc_reached_words(words);
  if (mpgi_os_words(wanted, elsewhere) != 0) all_are_known(n);
  return leak.found;
}

/* ---- beginning and end ---- */

static bool can_be_known(void) {
  return !MPGI_ASAN && !MPGI_TSAN && mpgi_os_threads_foreign() == 1;
}

void mpgi_leak_stacks_begin_stw(size_t n) {
  size_t page = mpgi_os_page_bytes;
  MPG_ASSERT(!leak.at);
  leak.n = 0;
  if (!can_be_known()) return;
  add_leaked(n);
  leak.bytes = (leak.n * sizeof *leak.at + page) & ~(page - 1);
  leak.at = mpgi_os_mem_map(leak.bytes, page);
  leak.n = 0;
  if (!leak.at) return;
  add_leaked(n);
  sort();
}

void mpgi_leak_stacks_end_stw(void) {
  if (leak.at) mpgi_os_mem_unmap(leak.at, leak.bytes);
  leak.at = NULL;
  leak.n = 0;
}
