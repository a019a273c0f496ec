/* rwmutex.c - one writer or many readers; writers don't starve.
 *
 *   readers   readers inside or waiting; less MAX while a writer is there
 *   leaving   readers that a writer waits for
 *
 * Writers exclude each other by a mutex.  One announces itself by taking MAX
 * off readers: readers that come then wait.  Those that were inside count
 * themselves off leaving, and the last wakes the writer:
 *   writer   r = readers, readers -= MAX    leaving += r; zero: in
 *   reader   readers -= 1; below zero:      leaving -= 1; zero: wakes it
 * leaving may fall below zero before the writer adds r; only one of them makes
 * it zero.  A writer that leaves lets in every reader that waits, before the
 * next writer can announce itself.  Model-checked by tests/model/sema_model.c.
 *
 * Source: Go sync/rwmutex.go.
 */
#include <sched/sched.h>

#include <sched/gmp.h>

#include <sched/sync.h>

#define MAX (1 << 30)

static _Atomic int32_t *leaving_of(mpg_rwmutex *m) {
  return (_Atomic int32_t *) &m->leaving;
}

/* ---- readers ---- */

MPGI_RT_TEXT void mpg_rwmutex_rdlock(mpg_rwmutex *m) {
  mpgi_stub_check("mpg_rwmutex_rdlock");
  if (__atomic_add_fetch(&m->readers, 1, __ATOMIC_ACQUIRE) < 0)
    mpgi_thunk_rwmutex_rdlock_slow(m);
}

MPGI_RT_TEXT bool mpg_rwmutex_tryrdlock(mpg_rwmutex *m) {
  mpgi_stub_check("mpg_rwmutex_tryrdlock");
  int32_t r = __atomic_load_n(&m->readers, __ATOMIC_RELAXED);
  while (r >= 0)
    if (__atomic_compare_exchange_n(&m->readers, &r, r + 1, true,
                                    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
      return true;
  return false;
}

MPGI_RT_TEXT void mpg_rwmutex_rdunlock(mpg_rwmutex *m) {
  mpgi_stub_check("mpg_rwmutex_rdunlock");
  int32_t r = __atomic_sub_fetch(&m->readers, 1, __ATOMIC_RELEASE);
  if (r < 0) mpgi_thunk_rwmutex_rdunlock_slow(m, r);
}

void mpgi_rwmutex_rdlock_slow_g0(mpg_rwmutex *m) {
  struct mpg_m *mp = mpgi_current_g("mpg_rwmutex_rdlock")->m;
  if (!mpgi_sema_acquire(mp, mpgi_sema_word(&m->reader_sema),
                         MPGI_WAIT_RWMUTEX_R, false, NULL))
    mpgi_schedule(mp);
}

void mpgi_rwmutex_rdunlock_slow_g0(mpg_rwmutex *m, int32_t r) {
  mpgi_current_g("mpg_rwmutex_rdunlock");
  if (r == -1 || r == -1 - MAX) mpgi_fatal("RUnlock of unlocked RWMutex");
  if (atomic_fetch_sub(leaving_of(m), 1) == 1)
    mpgi_sema_release(mpgi_sema_word(&m->writer_sema));
}

/* ---- writers ---- */

MPGI_RT_TEXT void mpg_rwmutex_lock(mpg_rwmutex *m) {
  mpgi_stub_check("mpg_rwmutex_lock");
  mpgi_mutex_fast_lock(&m->writers);
  int32_t r = __atomic_sub_fetch(&m->readers, MAX, __ATOMIC_ACQ_REL) + MAX;
  if (r != 0) mpgi_thunk_rwmutex_lock_slow(m, r);
}

MPGI_RT_TEXT bool mpg_rwmutex_trylock(mpg_rwmutex *m) {
  mpgi_stub_check("mpg_rwmutex_trylock");
  uint32_t unlocked = 0;
  int32_t none = 0;
  if (!__atomic_compare_exchange_n(&m->writers.state, &unlocked,
                                   MPGI_MUTEX_LOCKED, false, __ATOMIC_ACQUIRE,
                                   __ATOMIC_RELAXED))
    return false;
  bool ok = __atomic_compare_exchange_n(&m->readers, &none, -MAX, false,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
  if (!ok) mpgi_mutex_fast_unlock(&m->writers);
  return ok;
}

MPGI_RT_TEXT void mpg_rwmutex_unlock(mpg_rwmutex *m) {
  mpgi_stub_check("mpg_rwmutex_unlock");
  int32_t r = __atomic_add_fetch(&m->readers, MAX, __ATOMIC_RELEASE);
  if (r != 0) mpgi_thunk_rwmutex_unlock_slow(m, r);
  mpgi_mutex_fast_unlock(&m->writers);
}

void mpgi_rwmutex_lock_slow_g0(mpg_rwmutex *m, int32_t r) {
  struct mpg_m *mp = mpgi_current_g("mpg_rwmutex_lock")->m;
  if (atomic_fetch_add(leaving_of(m), r) + r == 0) return;
  if (!mpgi_sema_acquire(mp, mpgi_sema_word(&m->writer_sema),
                         MPGI_WAIT_RWMUTEX_W, false, NULL))
    mpgi_schedule(mp);
}

void mpgi_rwmutex_unlock_slow_g0(mpg_rwmutex *m, int32_t r) {
  mpgi_current_g("mpg_rwmutex_unlock");
  if (r >= MAX) mpgi_fatal("Unlock of unlocked RWMutex");
  while (r--) mpgi_sema_release(mpgi_sema_word(&m->reader_sema));
}
