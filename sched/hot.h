/* hot.h - what every switch does, in line.  Private to sched/.
 *
 * A switch, a wake-up and a spawn are each a dozen of these steps of a few
 * instructions; as calls they cost more than they do.  The functions of the
 * same names without hot (status.c, runq.c, proc.c) are for everybody else.
 *
 * Included by sources, after gmp.h: models change what is used here.
 */
#ifndef MPGI_HOT_H
#define MPGI_HOT_H

#ifndef MPGI_GMP_H
#error "include sched/gmp.h first; hot.h is private to sched/"
#endif

#define MPGI_HOT static inline __attribute__((always_inline))
/* Ends in a jump: without this the compiler thinks that whatever leads there
 * is seldom run, and makes it small. */
#define MPGI_HOT_END __attribute__((hot))

/* ---- statuses (status.c) ---- */

/* Row: from; bits: to.  Both are constants where this is used. */
#define MPGI_TO(s) (1u << MPGI_G_##s)
MPGI_HOT bool mpgi_hot_status_may(enum mpgi_g_status from,
                                  enum mpgi_g_status to) {
  uint32_t may = 0;
  switch (from) {
  case MPGI_G_IDLE: may = MPGI_TO(DEAD); break;
  case MPGI_G_DEAD: may = MPGI_TO(RUNNABLE); break;
  case MPGI_G_RUNNABLE:
    may = MPGI_TO(RUNNING) | MPGI_TO(DEAD) | MPGI_TO(COPYSTACK);
    break;
  case MPGI_G_RUNNING:
    may = MPGI_TO(RUNNABLE) | MPGI_TO(SYSCALL) | MPGI_TO(WAITING) |
          MPGI_TO(DEAD) | MPGI_TO(PREEMPTED) | MPGI_TO(COPYSTACK);
    break;
  case MPGI_G_SYSCALL:
    may = MPGI_TO(RUNNING) | MPGI_TO(RUNNABLE) | MPGI_TO(DEAD);
    break;
  case MPGI_G_WAITING:
    may = MPGI_TO(RUNNABLE) | MPGI_TO(DEAD) | MPGI_TO(COPYSTACK);
    break;
  case MPGI_G_PREEMPTED:
    may = MPGI_TO(RUNNING) | MPGI_TO(RUNNABLE) | MPGI_TO(DEAD);
    break;
  case MPGI_G_COPYSTACK:
    may = MPGI_TO(WAITING) | MPGI_TO(RUNNABLE) | MPGI_TO(RUNNING);
    break;
  case MPGI_G_SCAN: break;
  }
  return may >> to & 1;
}
#undef MPGI_TO

/* status.c: it wasn't from, or may not become to. */
MPGI_HIDDEN __attribute__((cold)) _Noreturn void mpgi_status_wrong(
    struct mpg_g *gp, enum mpgi_g_status from, enum mpgi_g_status to);

MPGI_HOT void mpgi_hot_status_set(struct mpg_g *gp, enum mpgi_g_status from,
                                  enum mpgi_g_status to) {
  uint32_t now = atomic_load_explicit(&gp->status, memory_order_relaxed);
  if (MPGI_UNLIKELY(now != from || !mpgi_hot_status_may(from, to)))
    mpgi_status_wrong(gp, from, to);
  atomic_store_explicit(&gp->status, to, memory_order_release);
}

/* ---- what is mostly zero ----
 *
 * A switch has a locked instruction or two, and each of these waits for all
 * stores before it, which go to the cache one by one; loads are cheap. */
MPGI_HOT void mpgi_hot_preempt_clear(struct mpg_g *gp) {
  if (MPGI_UNLIKELY(
          atomic_load_explicit(&gp->ctx.preempt, memory_order_relaxed) != 0))
    atomic_store_explicit(&gp->ctx.preempt, 0, memory_order_relaxed);
}

/* ---- cache lines ----
 *
 * Records lie 2 KiB apart, so that those of some dozen goroutines don't fit in
 * the first-level cache, and every switch touches the first lines.  Who comes
 * next but one is known: fetch it meanwhile.  Nothing is read, so gp may be
 * somebody else's by now, or NULL. */
MPGI_HOT void mpgi_hot_prefetch(const struct mpg_g *gp) {
  uintptr_t p = (uintptr_t) gp;
  for (unsigned i = 0; i < 4; i++)
    __builtin_prefetch((const void *) (p + i * MPGI_CACHE_LINE_BYTES));
  /* the top of its first stack, unless it is movable */
  __builtin_prefetch(
      (const void *) (p + MPGI_STACK_BLOCK_BYTES - MPGI_CACHE_LINE_BYTES));
}

/* The same for a wake-up. */
MPGI_HOT void mpgi_hot_prefetch_parked(const struct mpg_g *gp) {
  uintptr_t p = (uintptr_t) gp;
  __builtin_prefetch((const void *) (p + offsetof(struct mpg_g, status)), 1);
  __builtin_prefetch((const void *) (p + offsetof(struct mpg_g, extra)), 1);
  __builtin_prefetch((const void *) (p + offsetof(struct mpg_g, io_over)), 1);
  __builtin_prefetch((const void *) (p + offsetof(struct mpg_g, wait)), 1);
}

/* ---- run queues (runq.c) ---- */

#define MPGI_RUNQ_SLOT(i) ((i) % MPGI_RUNQ_SLOTS)

/* The index in the word runq_head; each take from the tail adds to the rest. */
#define MPGI_RUNQ_TAG (UINT64_C(1) << 32)
MPGI_HOT uint32_t mpgi_hot_runq_head(const struct mpg_p *pp,
                                     memory_order order) {
  return (uint32_t) atomic_load_explicit(&pp->runq_head, order);
}

/* runq.c: the ring is full. */
MPGI_HIDDEN void mpgi_runq_append_full(struct mpg_p *pp, struct mpg_g *gp);

/* The ring as its owner saw it: since then thieves may have taken some. */
struct mpgi_ring {
  uint64_t head;
  uint32_t tail;
};
MPGI_HOT struct mpgi_ring mpgi_hot_ring(const struct mpg_p *pp) {
  return (struct mpgi_ring){
      atomic_load_explicit(&pp->runq_head, memory_order_acquire),
      atomic_load_explicit(&pp->runq_tail, memory_order_relaxed)};
}
MPGI_HOT uint32_t mpgi_hot_ring_n(struct mpgi_ring r) {
  return r.tail - (uint32_t) r.head;
}

/* There is room. */
MPGI_HOT void mpgi_hot_runq_store(struct mpg_p *pp, struct mpgi_ring r,
                                  struct mpg_g *gp) {
  atomic_store_explicit(&pp->runq[MPGI_RUNQ_SLOT(r.tail)], gp,
                        memory_order_relaxed);
  atomic_store_explicit(&pp->runq_tail, r.tail + 1, memory_order_release);
}

MPGI_HOT void mpgi_hot_runq_append(struct mpg_p *pp, struct mpgi_ring r,
                                   struct mpg_g *gp) {
  if (MPGI_UNLIKELY(mpgi_hot_ring_n(r) >= MPGI_RUNQ_SLOTS)) {
    mpgi_runq_append_full(pp, gp);
    return;
  }
  mpgi_hot_runq_store(pp, r, gp);
}

/* Not a newborn: nor is anybody before it treated as one any more. */
MPGI_HOT void mpgi_hot_runq_put_tail(struct mpg_p *pp, struct mpg_g *gp) {
  pp->young = 0;
  mpgi_hot_runq_append(pp, mpgi_hot_ring(pp), gp);
}

/* Those put last were woken [fair.woken]. */
MPGI_HOT void mpgi_hot_runq_mark_woken(struct mpg_p *pp) {
  uint32_t tail = atomic_load_explicit(&pp->runq_tail, memory_order_relaxed);
  atomic_store_explicit(&pp->woken_tail, tail, memory_order_relaxed);
}

/* [runq.solo] Nobody else takes; asked by the owner, on g0. */
MPGI_HOT bool mpgi_hot_runq_is_solo(const struct mpg_p *pp) {
  bool solo = atomic_load_explicit(&pp->solo, memory_order_relaxed);
  MPG_ASSERT_INTERNAL(!solo || !mpgi_tls_user());
  return MPGI_UNLIKELY(solo); /* several are to pay nothing for it */
}

/* What pp's runnext was, gp is there now.  A full fence unless it is solo. */
MPGI_HOT struct mpg_g *mpgi_hot_runnext_swap(struct mpg_p *pp,
                                             struct mpg_g *gp) {
  if (!mpgi_hot_runq_is_solo(pp)) {
    struct mpg_g *old = atomic_exchange(&pp->runnext, gp);
    mpgi_arch_fence_after_rmw();
    return old;
  }
  struct mpg_g *old = atomic_load_explicit(&pp->runnext, memory_order_relaxed);
  atomic_store_explicit(&pp->runnext, gp, memory_order_release);
  return old;
}

/* pp's head goes from *head to to; or *head is where it is now. */
MPGI_HOT bool mpgi_hot_runq_advance(struct mpg_p *pp, uint64_t *head,
                                    uint64_t to) {
  if (!mpgi_hot_runq_is_solo(pp))
    return MPGI_LIKELY(atomic_compare_exchange_weak_explicit(
        &pp->runq_head, head, to, memory_order_release, memory_order_acquire));
  atomic_store_explicit(&pp->runq_head, to, memory_order_release);
  return true;
}

/* gp was woken, or is a newborn.  True: somebody was kicked to the tail.  If
 * not, a full fence came after the put [wake.fence], or pp is solo. */
MPGI_HOT bool mpgi_hot_runq_put_next(struct mpg_p *pp, struct mpg_g *gp,
                                     bool woken) {
  struct mpg_g *old = mpgi_hot_runnext_swap(pp, gp);
  uint32_t was = atomic_load_explicit(&pp->woken, memory_order_relaxed);
  if (was != woken)
    atomic_store_explicit(&pp->woken, woken, memory_order_relaxed);
  if (!old) return false;
  mpgi_hot_runq_append(pp, mpgi_hot_ring(pp), old);
  pp->young++;
  if (was) {
    pp->young = 0;
    mpgi_hot_runq_mark_woken(pp);
  }
  return true;
}

/* Who is at *head, when the head is there still; NULL: *head is where it is
 * now.  Somebody was there when *head was read. */
MPGI_HOT struct mpg_g *mpgi_hot_runq_take_at(struct mpg_p *pp, uint64_t *head) {
  uint64_t at = *head; /* in a register: for the CAS *head would be memory */
  struct mpg_g *gp =
      atomic_load_explicit(&pp->runq[MPGI_RUNQ_SLOT(at)], memory_order_relaxed);
  if (MPGI_LIKELY(mpgi_hot_runq_advance(pp, &at, at + 1))) {
    if (!gp) __builtin_unreachable(); /* nobody else took that slot */
    return gp;
  }
  *head = at;
  return NULL;
}

/* The oldest of the ring, taken by the owner or by anybody else, who may see
 * the tail before the head [runq.tag]. */
MPGI_HOT struct mpg_g *mpgi_hot_runq_take_head(struct mpg_p *pp, bool owner) {
  uint64_t head = atomic_load_explicit(&pp->runq_head, memory_order_acquire);
  for (;;) {
    uint32_t tail = atomic_load_explicit(&pp->runq_tail, memory_order_acquire);
    uint32_t n = tail - (uint32_t) head;
    if (n == 0 || (!owner && (int32_t) n < 0)) return NULL;
    struct mpg_g *gp = mpgi_hot_runq_take_at(pp, &head);
    if (MPGI_LIKELY(gp != NULL)) return gp;
  }
}

/* The youngest of the ring, by its owner [runq.tag].  NULL: thieves took them
 * all. */
MPGI_HOT struct mpg_g *mpgi_hot_runq_take_tail(struct mpg_p *pp) {
  uint32_t last =
      atomic_load_explicit(&pp->runq_tail, memory_order_relaxed) - 1;
  uint64_t head = atomic_load_explicit(&pp->runq_head, memory_order_acquire);
  if ((uint32_t) head == last + 1) return NULL;
  struct mpg_g *gp = atomic_load_explicit(&pp->runq[MPGI_RUNQ_SLOT(last)],
                                          memory_order_relaxed);
  atomic_store_explicit(&pp->runq_tail, last, memory_order_release);
  while (
      MPGI_UNLIKELY(!mpgi_hot_runq_advance(pp, &head, head + MPGI_RUNQ_TAG))) {
    if ((uint32_t) head != last + 1) continue;
    atomic_store_explicit(&pp->runq_tail, last + 1, memory_order_release);
    return NULL;
  }
  return gp;
}

/* The last newborn that is left [fair.family]. */
MPGI_HOT struct mpg_g *mpgi_hot_runq_take_young(struct mpg_p *pp) {
  struct mpg_g *gp = mpgi_hot_runq_take_tail(pp);
  pp->young = gp ? pp->young - 1 : 0;
  return gp;
}

/* Who is at i; or whoever was in that slot before. */
MPGI_HOT void mpgi_hot_runq_prefetch(struct mpg_p *pp, uint32_t i) {
  mpgi_hot_prefetch(
      atomic_load_explicit(&pp->runq[MPGI_RUNQ_SLOT(i)], memory_order_relaxed));
}

/* Who is at the head will go on in its operation: its wait, the frames on top
 * of its stack, its descriptor.  Where these are says its record, which was
 * fetched a turn before.  Records stay mapped, so whose they are by now, and
 * what it waited for, doesn't matter (TSan would call it a race). */
MPGI_HOT void mpgi_hot_runq_prefetch_io(const struct mpg_p *pp) {
  if (MPGI_TSAN) return;
  uint32_t head = mpgi_hot_runq_head(pp, memory_order_relaxed);
  const struct mpg_g *gp = atomic_load_explicit(&pp->runq[MPGI_RUNQ_SLOT(head)],
                                                memory_order_relaxed);
  const struct mpg_g *then = atomic_load_explicit(
      &pp->runq[MPGI_RUNQ_SLOT(head + 1)], memory_order_relaxed);
  uintptr_t p = (uintptr_t) then; /* or NULL */
  __builtin_prefetch((const void *) (p + offsetof(struct mpg_g, ctx.sp)));
  __builtin_prefetch((const void *) (p + offsetof(struct mpg_g, pd)));
  if (!gp) return;
  __builtin_prefetch(&gp->wait);
  __builtin_prefetch(gp->pd);
  for (unsigned i = 0; i < 4; i++)
    __builtin_prefetch((char *) gp->ctx.sp + i * MPGI_CACHE_LINE_BYTES);
}

MPGI_HOT bool mpgi_hot_has_next(const struct mpg_p *pp) {
  return atomic_load_explicit(&pp->runnext, memory_order_relaxed) != NULL;
}

/* Only the owner fills it; NULL also when a thief was faster.  It releases,
 * too: whoever sees runnext empty must see in the ring what was kicked out of
 * it (mpgi_runq_empty). */
MPGI_HOT struct mpg_g *mpgi_hot_runq_take_next(struct mpg_p *pp) {
  if (!mpgi_hot_has_next(pp)) return NULL;
  return mpgi_hot_runnext_swap(pp, NULL);
}

/* As seen by the owner, who is the only one that adds. */
MPGI_HOT bool mpgi_hot_ring_empty(struct mpg_p *pp) {
  return mpgi_hot_runq_head(pp, memory_order_relaxed) ==
         atomic_load_explicit(&pp->runq_tail, memory_order_relaxed);
}
/* Nobody in it but its newborns, or nobody. */
MPGI_HOT bool mpgi_hot_ring_all_young(struct mpg_p *pp) {
  return atomic_load_explicit(&pp->runq_tail, memory_order_relaxed) -
             mpgi_hot_runq_head(pp, memory_order_relaxed) <=
         pp->young;
}
MPGI_HOT bool mpgi_hot_runq_empty(struct mpg_p *pp) {
  return mpgi_hot_ring_empty(pp) && !mpgi_hot_has_next(pp);
}

/* ---- waking (proc.c, [wake.fence]) ---- */

/* [wake.lazy] pp is lazy, and somebody more waits.  That P goes on to be lazy:
 * for who is in runnext as long as nobody else waits, and for some that are
 * brief.  kicked: to the ring, whose others were there before. */
MPGI_HOT bool mpgi_hot_stays_lazy(struct mpg_p *pp, bool kicked) {
  if (!atomic_load_explicit(&pp->lazy, memory_order_relaxed)) return false;
  uint32_t waiting = mpgi_hot_ring_n(mpgi_hot_ring(pp));
  if (waiting <= kicked) pp->brief_left = (int32_t) pp->brief;
  if (waiting == 0) return true;
  pp->next_base = atomic_load_explicit(&pp->next_taken, memory_order_relaxed);
  return --pp->brief_left > 0;
}

/* Into runnext, which is somebody's whom gp's waker wants to run soon. */
MPGI_HOT void mpgi_hot_put_next_and_wake(struct mpg_p *pp, struct mpg_g *gp,
                                         bool woken) {
  bool kicked = mpgi_hot_runq_put_next(pp, gp, woken);
  if (kicked && !mpgi_hot_runq_is_solo(pp)) mpgi_arch_fence();
  if (MPGI_UNLIKELY(atomic_load_explicit(&mpgi_sched.npidle,
                                         memory_order_relaxed) != 0) &&
      !mpgi_hot_stays_lazy(pp, kicked))
    mpgi_wake_for_next(pp, kicked);
}

/* proc.c: gp runs, and is counted, in some other way than most. */
MPGI_HIDDEN void mpgi_ready_specially(struct mpg_m *mp, struct mpg_g *gp);
#define MPGI_LATENCY_EVERY 64 /* a wake-up is sampled */

/* mpgi_ready by a thread amid a goroutine. */
MPGI_HOT void mpgi_hot_ready(struct mpg_m *mp, struct mpg_g *gp) {
  if (MPGI_UNLIKELY(++mp->fastrand % MPGI_LATENCY_EVERY == 0 || !mp->p ||
                    mp->attached || gp->attached)) {
    mpgi_ready_specially(mp, gp);
    return;
  }
  mpgi_hot_status_set(gp, MPGI_G_WAITING, MPGI_G_RUNNABLE);
  MPGI_TRACE_READY(mp, G_WAKE, gp);
  mpgi_hot_put_next_and_wake(mp->p, gp, true);
}

/* ---- Ps come and go (p.c) ---- */

/* pp was not idle since mp had it, or another had it since then. */
MPGI_HOT void mpgi_hot_p_own(struct mpg_m *mp, struct mpg_p *pp) {
  MPG_ASSERT(!mp->p && pp);
  mp->p = pp;
  pp->m = mp;
  mpgi_tls_cache_set(pp->cache);
}

MPGI_HOT void mpgi_hot_p_acquire(struct mpg_m *mp, struct mpg_p *pp) {
  mpgi_hot_p_own(mp, pp);
  atomic_store_explicit(&pp->handed, NULL, memory_order_relaxed);
}

MPGI_HOT struct mpg_p *mpgi_hot_p_release(struct mpg_m *mp) {
  struct mpg_p *pp = mp->p;
  MPG_ASSERT(pp && pp->m == mp);
  mpgi_tls_cache_set(NULL);
  mp->p = NULL;
  pp->m = NULL;
  return pp;
}

/* ---- leaving (proc.c) ---- */

/* proc.c: gp takes its C++ exceptions along [cxx.swap]. */
MPGI_HIDDEN void mpgi_cxx_leave(struct mpgi_cxx *cxx, struct mpg_g *gp);
MPGI_HOT bool mpgi_hot_amid_cxx(const struct mpgi_cxx *cxx) {
  return MPGI_UNLIKELY(cxx && ((uintptr_t) cxx->caught | cxx->uncaught) != 0);
}

/* Amid no C++ exceptions, and without a look at stackmove. */
MPGI_HOT void mpgi_hot_part_quick(struct mpg_m *mp, struct mpg_g *gp) {
  MPG_ASSERT_INTERNAL(mp->curg == gp && gp->m == mp);
  MPG_ASSERT_INTERNAL(!mpgi_tls_libc());
  mpgi_san_leave();
  mp->curg = NULL;
  gp->m = NULL;
}

/* For good: nothing of it is saved. */
MPGI_HOT void mpgi_hot_lose_g(struct mpg_m *mp, struct mpg_g *gp) {
  if (mpgi_hot_amid_cxx(mp->cxx)) mpgi_cxx_leave(mp->cxx, gp);
  mpgi_hot_part_quick(mp, gp);
  if (MPGI_UNLIKELY(mpgi_opt.stackmove)) mp->move_wanted |= gp->movable;
}

MPGI_HOT void mpgi_hot_drop_g(struct mpg_m *mp, struct mpg_g *gp) {
  mpgi_arch_control_save(&gp->ctx.control);
  mpgi_hot_lose_g(mp, gp);
}

/* proc.c: it is traced or checked that gp parks. */
MPGI_HIDDEN void mpgi_park_watched(struct mpg_m *mp, struct mpg_g *gp,
                                   enum mpgi_wait_reason reason);

/* mpgi_park_begin */
MPGI_HOT void mpgi_hot_park_begin(struct mpg_m *mp, struct mpg_g *gp,
                                  enum mpgi_wait_reason reason) {
  gp->ctx.pc = (uintptr_t) mpgi_resume_thunk;
  gp->wait_reason = (uint8_t) reason;
  gp->wait_since =
      atomic_load_explicit(&mpgi_sched.coarse_now, memory_order_relaxed);
  if (MPGI_UNLIKELY(mpgi_trace_is_on() || mpgi_opt.lockcheck))
    mpgi_park_watched(mp, gp, reason);
  mpgi_hot_drop_g(mp, gp);
  mpgi_hot_status_set(gp, MPGI_G_RUNNING, MPGI_G_WAITING);
}

/* ---- beginning and end (g.c) ---- */

#define MPGI_GFREE_MAX 64

/* g.c: the P's numbers are used up; returns the first of more. */
MPGI_HIDDEN uint64_t mpgi_goid_refill(struct mpg_p *pp);

MPGI_HOT uint64_t mpgi_hot_goid_new(struct mpg_p *pp) {
  if (MPGI_UNLIKELY(pp->goid == pp->goid_end)) return mpgi_goid_refill(pp);
  return ++pp->goid;
}

MPGI_HOT void mpgi_hot_counter_add(_Atomic uint64_t *n) {
  atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
                        memory_order_relaxed);
}

MPGI_HOT void mpgi_hot_g_count_start(struct mpg_p *pp, struct mpg_g *gp) {
  gp->goid = mpgi_hot_goid_new(pp);
  mpgi_hot_counter_add(&pp->started);
}

MPGI_HOT void mpgi_hot_gfree_push(struct mpg_p *pp, struct mpg_g *gp) {
  gp->link = pp->gfree;
  pp->gfree = gp;
  pp->ngfree++;
}

/* There is one. */
MPGI_HOT struct mpg_g *mpgi_hot_gfree_pop(struct mpg_p *pp) {
  struct mpg_g *gp = pp->gfree, *next = gp->link;
  pp->gfree = next;
  pp->ngfree--;
  if (next) {
    mpgi_hot_prefetch(next);
    __builtin_prefetch(&next->seg0);
  }
  return gp;
}

/* gp, dead, on its stack, is to run fn. */
MPGI_HOT void mpgi_hot_g_begin(struct mpg_g *gp, mpg_func fn, void *arg) {
  MPG_VERIFY(gp->signature == MPGI_G_SIGNATURE);
  MPG_ASSERT_INTERNAL((gp->ctx.seg->hi & 15) == 0);
  mpgi_san_new(&gp->ctx);
  mpgi_arch_context_init(&gp->ctx, gp->ctx.seg, mpgi_sched.control, fn, arg);
  gp->fn = fn;
  gp->goid = 0;
  gp->last_tp = 0;
}

/* It never had more than its first segment. */
MPGI_HOT bool mpgi_hot_stack_is_first(const struct mpg_g *gp) {
  const struct mpgi_segment *seg = gp->ctx.seg;
  return !seg->prev && !seg->next && !gp->ctx.dynamic;
}

/* [end.plain] Nothing that most goroutines don't have: neither of what leaves
 * announces (an attached thread's, main, the finalizers' or a fixed stack, a
 * name, locals, a call of once), nor anything extra, which for a running one is
 * to be locked to its thread. */
MPGI_HOT bool mpgi_hot_g_is_plain(const struct mpg_g *gp) {
  return !gp->leaves && !gp->movable && !gp->extra;
}

/* mpgi_g_free of a plain one that just ran. */
MPGI_HOT void mpgi_hot_g_free(struct mpg_p *pp, struct mpg_g *gp) {
  MPG_ASSERT_INTERNAL(!gp->attached && !gp->is_main && !gp->finalizers &&
                      !gp->fixed && !gp->name && !gp->locals && !gp->once &&
                      !gp->locked_m && !gp->on_resume); /* [end.plain] */
  if (MPGI_UNLIKELY(!mpgi_hot_stack_is_first(gp) ||
                    pp->ngfree >= MPGI_GFREE_MAX)) {
    mpgi_g_free(pp, gp);
    return;
  }
  mpgi_san_dead(&gp->ctx);
  gp->preempt_off = 0;
  gp->growing = gp->leaked = gp->leak_said = gp->at_call = 0;
  mpgi_hot_gfree_push(pp, gp);
}

#endif /* MPGI_HOT_H */
