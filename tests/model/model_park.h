/* model_park.h - goroutines that park, for models of what they wait for.
 *
 * A thread of the model is a goroutine together with whatever M runs it:
 * parked, it waits until somebody readies it; then it does what mpgi_execute
 * would (on_resume) and goes on behind the call that parked.
 *
 * With MODEL_RESUMED_BY_WAKER the waker may do on_resume at once, while the
 * thread that parked is still on its way out of the call, as another M may;
 * what the macro names is called after it.
 */
#ifndef TESTS_MODEL_MODEL_PARK_H
#define TESTS_MODEL_MODEL_PARK_H

#include "model.h"

#include <setjmp.h>

#include <sched/hot.h>
#define mpgi_hot_park_begin(mp, gp, reason) mpgi_park_begin(mp, gp, reason)
#define mpgi_hot_ready(mp, gp) ((void) (mp), mpgi_ready(gp))

#define THREADS 4

struct mpgi_sched mpgi_sched;

static struct mpg_m ms[THREADS];
static struct mpg_g gs[THREADS];
static bool readied[THREADS];
static jmp_buf behind[THREADS]; /* the call that parked */

static struct mpg_m *model_m(void) { return &ms[explore_self()]; }
static struct mpg_g *self(void) { return &gs[explore_self()]; }

void mpgi_park_begin(struct mpg_m *mp, struct mpg_g *gp,
                     enum mpgi_wait_reason reason) {
  (void) reason;
  explore_require(mp == model_m() && gp == self());
  explore_require(!readied[gp - gs]);
  gp->m = NULL;
}

void mpgi_ready(struct mpg_g *gp) {
  explore_require(gp->m == NULL && !readied[gp - gs]);
  explore_step("ready");
#ifdef MODEL_RESUMED_BY_WAKER
  if (gp->on_resume && explore_choose(2)) {
    void (*fn)(struct mpg_g *) = gp->on_resume;
    gp->on_resume = NULL;
    gp->m = model_m();
    fn(gp);
    MODEL_RESUMED_BY_WAKER(gp);
    gp->m = NULL;
  }
#endif
  readied[gp - gs] = true;
}

static bool is_ready(const void *arg) { return *(const bool *) arg; }

/* Parked: off to other goroutines until it is this one's turn again. */
void mpgi_schedule(struct mpg_m *mp) {
  int t = explore_self();
  struct mpg_g *gp = self();
  explore_await(is_ready, &readied[t]);
  readied[t] = false;
  gp->m = mp;
  if (gp->on_resume) {
    void (*fn)(struct mpg_g *) = gp->on_resume;
    gp->on_resume = NULL;
    fn(gp);
  }
  longjmp(behind[t], 1);
}

#define PARKS(call)                                  \
  do {                                               \
    if (setjmp(behind[explore_self()]) == 0) (call); \
  } while (0)

/* What the call returns, at once or after parking. */
#define PARKS_FOR(call)                                    \
  (setjmp(behind[explore_self()]) == 0 ? (intptr_t) (call) \
                                       : (intptr_t) self()->ctx.ret)

static void setup_goroutines(void) {
  for (int t = 0; t < THREADS; t++) {
    gs[t].m = &ms[t];
    ms[t].curg = &gs[t];
  }
}

#endif /* TESTS_MODEL_MODEL_PARK_H */
