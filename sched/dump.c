/* dump.c - schedtrace and goroutine dumps.
 *
 * The formats are Go 1.19's (schedtrace, traceback headers).  Everything is
 * read without stopping anybody: a line may be a moment old, as in Go.
 */
#include <sched/sched.h>

#include <dlfcn.h>

#include <sched/gmp.h>

/* A line is put together here and written at once. */
struct line {
  char text[4096];
  size_t n;
};

static void add(struct line *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void add(struct line *l, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int n = mpgi_vformat(l->text + l->n, sizeof l->text - l->n, fmt, ap);
  va_end(ap);
  size_t room = sizeof l->text - l->n;
  l->n += n < 0 ? 0 : (size_t) n < room ? (size_t) n : room - 1;
}

static void put(int fd, struct line *l) {
  l->text[l->n] = 0;
  mpgi_print(fd, "%s", l->text);
  l->n = 0;
}

/* ---- schedtrace ---- */

static void trace_head(struct line *l, bool detail) {
  struct mpgi_sched *s = &mpgi_sched;
  add(l,
      "SCHED %ldms: gomaxprocs=%d idleprocs=%d threads=%d "
      "spinningthreads=%d idlethreads=%d runqueue=%u",
      (long) ((mpgi_os_now() - s->start_ns) / 1000000), (int) s->procs,
      (int) s->npidle, (int) s->nm, (int) s->nmspinning, (int) s->nmidle,
      (unsigned) s->runq_size);
  if (detail)
    add(l, " gcwaiting=%u nmidlelocked=%d stopwait=%d sysmonwait=%u\n",
        (unsigned) mpgi_stw.waiting, (int) s->nmidle_locked,
        (int) mpgi_stw.stopwait, (unsigned) s->sysmon_wait);
}

static void trace_p(struct line *l, struct mpg_p *pp) {
  struct mpg_m *mp = pp->m;
  add(l,
      "  P%d: status=%u schedtick=%u syscalltick=%u m=%ld runqsize=%u "
      "gfreecnt=%u timerslen=%u\n",
      (int) pp->id, (unsigned) pp->status, (unsigned) pp->schedtick,
      (unsigned) pp->syscalltick, mp ? (long) mp->id : -1L, mpgi_runq_size(pp),
      pp->ngfree, pp->ntimers);
}

static void trace_m(struct line *l, struct mpg_m *mp) {
  struct mpg_p *pp = mp->p;
  struct mpg_g *gp = mp->curg;
  add(l,
      "  M%ld: p=%d curg=%ld mallocing=0 throwing=0 preemptoff=%s locks=%d "
      "dying=0 spinning=%s blocked=%s lockedg=%ld\n",
      (long) mp->id, pp ? (int) pp->id : -1, gp ? (long) gp->goid : -1L,
      gp && gp->preempt_off ? "mpg_preempt_disable" : "", (int) mp->locks,
      mp->spinning ? "true" : "false", mp->blocked ? "true" : "false",
      mp->locked_g ? (long) mp->locked_g->goid : -1L);
}

static void trace_g(struct line *l, struct mpg_g *gp) {
  struct mpg_m *mp = gp->m;
  struct mpg_m *lm = gp->locked_m;
  add(l, "  G%ld: status=%u(%s) m=%ld lockedm=%ld\n", (long) gp->goid,
      mpgi_g_status(gp), mpgi_wait_reason_name(gp->wait_reason),
      mp ? (long) mp->id : -1L, lm ? (long) lm->id : -1L);
}

static void trace_detail(struct line *l) {
  for (int32_t i = 0; i < mpgi_sched.procs; i++) {
    trace_p(l, mpgi_sched.allp[i]);
    put(2, l);
  }
  for (struct mpg_m *mp = mpgi_sched.all_m; mp; mp = mp->all_link) {
    trace_m(l, mp);
    put(2, l);
  }
  size_t n = atomic_load(&mpgi_sched.nallg);
  for (size_t i = 0; i < n; i++) {
    struct mpg_g *gp = mpgi_allg_get(i);
    if (gp->goid == 0 || mpgi_g_status(gp) == MPGI_G_DEAD ||
        mpgi_g_status(gp) == MPGI_G_IDLE)
      continue;
    trace_g(l, gp);
    put(2, l);
  }
}

void mpgi_schedtrace(bool detail) {
  struct line l = {.n = 0};
  /* Under the lock, so that no M or P comes or goes. */
  mpgi_mutex_lock(&mpgi_sched.lock);
  trace_head(&l, detail);
  if (detail) {
    put(2, &l);
    trace_detail(&l);
  } else {
    for (int32_t i = 0; i < mpgi_sched.procs; i++)
      add(&l, "%s%u", i ? " " : " [", mpgi_runq_size(mpgi_sched.allp[i]));
    add(&l, "]\n");
    put(2, &l);
  }
  mpgi_mutex_unlock(&mpgi_sched.lock);
}

/* ---- goroutine dumps ---- */

static void dump_pc(int fd, uintptr_t pc) {
  Dl_info info;
  if (dladdr((const void *) pc, &info) && info.dli_sname)
    mpgi_print(fd, "\t%p %s+0x%lx\n", (void *) pc, info.dli_sname,
               (unsigned long) (pc - (uintptr_t) info.dli_saddr));
  else
    mpgi_print(fd, "\t%p\n", (void *) pc);
}

static void dump_frames(int fd, const struct mpgi_context *ctx, uintptr_t sp,
                        uintptr_t fp) {
  const struct mpgi_segment *seg = mpgi_stack_find(ctx, sp);
  bool grown = false; /* fp is a frame of __morestack */
  for (int i = 0; seg && fp && i < 64; i++) {
    while (seg && (fp < seg->lo || fp > seg->hi - 16)) seg = seg->prev;
    if (!seg || (fp & 7)) return;
    const uintptr_t *frame = (const uintptr_t *) fp;
    uintptr_t pc = frame[grown ? 2 : 1];
    if (!mpgi_arch_pc_in_rt(pc)) dump_pc(fd, pc);
    grown = mpgi_arch_pc_in_morestack(frame[1]);
    fp = frame[0];
  }
}

static void dump_header(int fd, const struct mpg_g *gp) {
  uint32_t s = mpgi_g_status(gp);
  const char *what = s == MPGI_G_WAITING
                         ? mpgi_wait_reason_name(gp->wait_reason)
                         : mpgi_g_status_name(s);
  int64_t waited = (mpgi_os_now() - gp->wait_since) / 60000000000;
  mpgi_print(fd, "\ngoroutine %lu [%s", (unsigned long) gp->goid, what);
  if (s == MPGI_G_WAITING && waited >= 1)
    mpgi_print(fd, ", %ld minutes", (long) waited);
  mpgi_print(fd, "]:%s%s\n", gp->name ? " " : "", gp->name ? gp->name : "");
}

void mpgi_goroutine_dump(int fd, const struct mpg_g *gp) {
  dump_header(fd, gp);
  const struct mpgi_context *ctx = &gp->ctx;
  const struct mpg_m *mp = gp->m;
  if (mp && mp->fault_pc) {
    dump_pc(fd, mp->fault_pc);
    dump_frames(fd, ctx, ctx->lo, mp->fault_fp);
  } else if (ctx->sp && mpgi_stack_find(ctx, ctx->sp)) {
    const uintptr_t *w = (const uintptr_t *) ctx->sp;
    if (ctx->pc == (uintptr_t) mpgi_resume_async) {
      /* r15 ... rbp is the 11th of 15 pushed, then flags and PC */
      dump_pc(fd, w[16]);
      dump_frames(fd, ctx, ctx->sp, w[10]);
    } else if (ctx->sp + 56 <= ctx->hi) {
      dump_pc(fd, w[6]);
      dump_frames(fd, ctx, ctx->sp, w[5]);
    }
  }
  if (gp->creator_pc) {
    mpgi_print(fd, "created by goroutine %lu\n", (unsigned long) gp->creator);
    dump_pc(fd, gp->creator_pc);
  }
}

static void dump_all(int fd, const struct mpg_g *but) {
  size_t n = atomic_load(&mpgi_sched.nallg);
  for (size_t i = 0; i < n; i++) {
    const struct mpg_g *gp = mpgi_allg_get(i);
    uint32_t s = mpgi_g_status(gp);
    if (gp != but && gp->goid != 0 && s != MPGI_G_DEAD && s != MPGI_G_IDLE)
      mpgi_goroutine_dump(fd, gp);
  }
}

void mpgi_fatal_dump(int fd) {
  struct mpg_m *mp = mpgi_tls_m();
  const struct mpg_g *gp = mp ? mp->curg : NULL;
  if (mpgi_opt.traceback == 0) return;
  if (gp) mpgi_goroutine_dump(fd, gp);
  /* A deadlock has no current goroutine: then all of them are of interest. */
  if (mpgi_opt.traceback >= 2 || !gp) dump_all(fd, gp);
}

void mpgi_traceback_all_g0(int fd) {
  if (fd < 0 || !mpgi_world_stop_if_running(MPGI_STOP_STATS)) return;
  dump_all(fd, NULL);
  mpgi_world_start();
}
