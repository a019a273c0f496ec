/* unit_sched.c - Ms, Ps and Gs for unit tests. */
#include "unit_sched.h"

#include <string.h>

#include <arch/tls.h>
#include <tests/support/unit.h>

static struct mpg_p ps[UNIT_PS];
static struct mpg_g gs[UNIT_GS];
static struct mpg_m m;

static void p_setup(int i) {
  struct mpgi_timer_slot *timers = ps[i].timers;
  uint32_t cap = ps[i].timers_cap;
  memset(&ps[i], 0, sizeof ps[i]);
  ps[i].timers = timers; /* fixmem: kept, like the runtime's Ps */
  ps[i].timers_cap = cap;
  ps[i].id = i;
  mpgi_mutex_init(&ps[i].timer_lock, MPGI_RANK_TIMERS);
  atomic_store(&ps[i].timer_first, INT64_MAX);
  atomic_store(&ps[i].status, MPGI_P_RUNNING);
  mpgi_sched.allp[i] = &ps[i];
}

void unit_sched_setup(void) {
  struct mpgi_sched *s = &mpgi_sched;
  unit_m_end();
  for (int i = 0; i < UNIT_PS; i++) p_setup(i);
  memset(gs, 0, sizeof gs);
  for (int i = 0; i < UNIT_GS; i++) {
    gs[i].signature = MPGI_G_SIGNATURE;
    gs[i].goid = (uint64_t) i + 1;
    atomic_store(&gs[i].status, MPGI_G_RUNNABLE);
  }
  s->runq = s->spent = (struct mpgi_gqueue){0};
  s->spent_at = 0;
  s->spent_passed = false;
  atomic_store(&s->runq_size, 0);
  s->nallp = UNIT_PS;
  atomic_store(&s->procs, UNIT_PS);
  atomic_store(&s->npidle, 0);
  atomic_store(&s->nmspinning, 0);
  atomic_store(&s->poller, NULL);
  atomic_store(&s->poll_until, INT64_MAX);
  s->idle_p = NULL;
  s->idle_m = NULL;
}

struct mpg_p *unit_p(int i) {
  return &ps[i];
}
struct mpg_g *unit_g(int i) {
  return &gs[i];
}

int unit_g_index(const struct mpg_g *gp) {
  if (!gp) return -1;
  assert_true(gp >= gs && gp < gs + UNIT_GS);
  return (int) (gp - gs);
}

struct mpg_m *unit_m_begin(struct mpg_p *pp) {
  memset(&m, 0, sizeof m);
  m.p = pp;
  if (pp) pp->m = &m;
  mpgi_tls_m_set(&m);
  return &m;
}

void unit_m_end(void) { mpgi_tls_m_set(NULL); }

struct mpg_g *unit_global_pop(void) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  struct mpg_g *gp = mpgi_gqueue_pop(&mpgi_sched.runq);
  atomic_store(&mpgi_sched.runq_size, mpgi_sched.runq.n);
  mpgi_mutex_unlock(&mpgi_sched.lock);
  return gp;
}
