/* schedtrace.c - MPG_DEBUG=schedtrace and scheddetail.
 *
 * The format is Go 1.19's.  Everything is read without stopping anybody: a
 * line may be a moment old, as in Go.
 */
#include <sched/sched.h>

#include <sched/gmp.h>

#include <sched/dump.h>

static void trace_head(struct mpgi_out *o, bool detail) {
  struct mpgi_sched *s = &mpgi_sched;
  mpgi_out_add(o,
               "SCHED %ldms: gomaxprocs=%d idleprocs=%d threads=%d "
               "spinningthreads=%d idlethreads=%d runqueue=%u",
               (long) ((mpgi_os_now() - s->start_ns) / 1000000), (int) s->procs,
               (int) s->npidle, (int) s->nm, (int) s->nmspinning,
               (int) s->nmidle, (unsigned) s->runq_size);
  if (detail)
    mpgi_out_add(o, " gcwaiting=%u nmidlelocked=%d stopwait=%d sysmonwait=%u\n",
                 (unsigned) mpgi_stw_waiting(), (int) s->nmidle_locked,
                 (int) mpgi_stw.stopwait, (unsigned) s->sysmon_wait);
}

static void trace_p(struct mpgi_out *o, struct mpg_p *pp) {
  struct mpg_m *mp = pp->m;
  mpgi_out_add(o,
               "  P%d: status=%u schedtick=%u syscalltick=%u m=%ld runqsize=%u "
               "gfreecnt=%u timerslen=%u\n",
               (int) pp->id, (unsigned) pp->status, (unsigned) pp->schedtick,
               (unsigned) pp->syscalltick, mp ? (long) mp->id : -1L,
               mpgi_runq_size(pp), pp->ngfree, pp->ntimers - pp->ndead);
}

static void trace_m(struct mpgi_out *o, struct mpg_m *mp) {
  struct mpg_p *pp = mp->p;
  struct mpg_g *gp = mp->curg;
  mpgi_out_add(
      o,
      "  M%ld: p=%d curg=%ld mallocing=0 throwing=0 preemptoff=%s locks=0 "
      "dying=0 spinning=%s blocked=%s lockedg=%ld\n",
      (long) mp->id, pp ? (int) pp->id : -1, gp ? (long) gp->goid : -1L,
      gp && gp->preempt_off ? "mpg_preempt_disable" : "",
      mp->spinning ? "true" : "false", mp->blocked ? "true" : "false",
      mp->locked_g ? (long) mp->locked_g->goid : -1L);
}

static void trace_g(struct mpgi_out *o, struct mpg_g *gp) {
  struct mpg_m *mp = gp->m;
  struct mpg_m *lm = gp->locked_m;
  mpgi_out_add(o, "  G%ld: status=%u(%s) m=%ld lockedm=%ld\n", (long) gp->goid,
               mpgi_g_status(gp), mpgi_wait_reason_name(gp->wait_reason),
               mp ? (long) mp->id : -1L, lm ? (long) lm->id : -1L);
}

static void trace_detail(struct mpgi_out *o) {
  /* Beyond gomaxprocs: who makes up for one that is stuck, who is attached. */
  for (int32_t i = 0; i < mpgi_sched.nallp; i++) {
    struct mpg_p *pp = mpgi_sched.allp[i];
    if (i >= mpgi_sched.procs && !pp->m) continue;
    trace_p(o, pp);
    mpgi_out_flush(o);
  }
  for (struct mpg_m *mp = mpgi_sched.all_m; mp; mp = mp->all_link) {
    trace_m(o, mp);
    mpgi_out_flush(o);
  }
  size_t n = atomic_load(&mpgi_sched.nallg);
  for (size_t i = 0; i < n; i++) {
    struct mpg_g *gp = mpgi_allg_get(i);
    if (gp->goid == 0 || mpgi_g_status(gp) == MPGI_G_DEAD ||
        mpgi_g_status(gp) == MPGI_G_IDLE)
      continue;
    trace_g(o, gp);
    mpgi_out_flush(o);
  }
}

void mpgi_schedtrace(bool detail) {
  struct mpgi_out o = {.fd = 2};
  /* Under the lock, so that no M or P comes or goes. */
  mpgi_mutex_lock(&mpgi_sched.lock);
  trace_head(&o, detail);
  if (detail) {
    mpgi_out_flush(&o);
    trace_detail(&o);
  } else {
    for (int32_t i = 0; i < mpgi_sched.procs; i++)
      mpgi_out_add(&o, "%s%u", i ? " " : " [",
                   mpgi_runq_size(mpgi_sched.allp[i]));
    mpgi_out_add(&o, "]\n");
    mpgi_out_flush(&o);
  }
  mpgi_mutex_unlock(&mpgi_sched.lock);
}
