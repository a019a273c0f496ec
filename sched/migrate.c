/* migrate.c - a goroutine goes on on another thread.
 *
 * Compilers keep addresses of thread-local variables in registers and on the
 * stack across calls, and so across a switch to another thread.  The static
 * TLS block has the same layout in every thread, so such a word is moved by
 * the difference of the thread pointers, if it is one that user code may have
 * (arch/linux/tls.c).  The saved registers are on the
 * stack; of a deep one the top is searched, where live copies are.  Vector
 * registers, which compilers spill to, and vectorise loops over pointers with,
 * are in the extended state.
 *
 * Context: g0 of the thread that is about to run it, whose curg it is; its
 * stack is not swapped out (move.c).
 */
#include <sched/sched.h>

#include <arch/common/sanitize.h>

#include <sched/gmp.h>

#define TLS_SEARCH_BYTES (64 << 10)

struct tls_move {
  uintptr_t lo, hi; /* old block, and the old thread pointer itself */
  uintptr_t delta;
  size_t left; /* bytes still to search */
};

static bool is_kept(const struct tls_move *t, uintptr_t word) {
  return word - t->lo <= t->hi - t->lo && mpgi_os_tls_keeps(t->hi - word);
}

MPGI_NO_SANITIZE static void tls_move_words(void *arg, const void *lo,
                                            const void *hi) {
  struct tls_move *t = arg;
  size_t n = (size_t) ((const char *) hi - (const char *) lo);
  if (n > t->left) n = t->left;
  t->left -= n;
  uintptr_t *w = (uintptr_t *) (uintptr_t) lo;
  for (size_t i = 0; i < n / sizeof *w; i++)
    if (is_kept(t, w[i])) w[i] += t->delta;
}

/* Not part of what is searched of the stack. */
static void tls_move_state(const struct tls_move *t,
                           const struct mpgi_xsave *x) {
  struct tls_move all = *t;
  all.left = SIZE_MAX;
  tls_move_words(&all, x->state, x->state + x->bytes);
}

void mpgi_tls_migrate(struct mpg_g *gp, const struct mpg_m *mp) {
  uintptr_t old = gp->last_tp, now = mp->thread_pointer;
  struct tls_move t = {.delta = now - old, .left = TLS_SEARCH_BYTES};
  mpgi_os_tls_static(old, &t.lo, &t.hi);
  t.hi = old;
  if (gp->ctx.pc == (uintptr_t) mpgi_resume_thunk && is_kept(&t, gp->ctx.ret))
    gp->ctx.ret += t.delta;
  const struct mpgi_xsave *x = gp->ctx.xsave;
  mpgi_valgrind_mute(1);
  if (x) tls_move_state(&t, x);
  mpgi_stack_ranges(&gp->ctx, gp->ctx.sp, tls_move_words, &t);
  mpgi_valgrind_mute(-1);
}
