/* model.h - makes the scheduler's sources explorable.
 *
 * Included first, before the sources under test.  Atomic operations, in their
 * text and in the inline functions of the runtime's headers, become steps of
 * the explorer; locks, futexes, notes and the thread-local words become the
 * model's.  The sources themselves are not changed.
 *
 * What a model doesn't use of a source is dropped by the linker
 * (--gc-sections), so only functions that are reached have to be there.
 */
#ifndef TESTS_MODEL_MODEL_H
#define TESTS_MODEL_MODEL_H

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "explore.h"

/* ---- atomics ---- */

/* The type of *p without _Atomic; a value of it as bits. */
#define MODEL_TYPE(p) __typeof__((void) 0, *(p))
#define MODEL_BITS(p, v)                           \
  __extension__({                                  \
    MODEL_TYPE(p) model_v_ = (v);                  \
    uint64_t model_b_ = 0;                         \
    memcpy(&model_b_, &model_v_, sizeof model_v_); \
    model_b_;                                      \
  })
#define MODEL_RMW(p, op, v, order)                                    \
  __extension__({                                                     \
    MODEL_TYPE(p)                                                     \
    model_r_ = (MODEL_TYPE(p)) explore_rmw(                           \
        (p), sizeof *(p), (op), MODEL_BITS(p, v), (order), __func__); \
    model_r_;                                                         \
  })

#undef atomic_load
#undef atomic_load_explicit
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_exchange
#undef atomic_exchange_explicit
#undef atomic_fetch_add
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub
#undef atomic_fetch_sub_explicit
#undef atomic_fetch_or
#undef atomic_fetch_or_explicit
#undef atomic_fetch_and
#undef atomic_fetch_and_explicit
#undef atomic_compare_exchange_strong
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_weak
#undef atomic_compare_exchange_weak_explicit
#undef atomic_thread_fence

#define atomic_load_explicit(p, order) \
  ((MODEL_TYPE(p)) explore_load((p), sizeof *(p), (order), __func__))
#define atomic_load(p) atomic_load_explicit(p, __ATOMIC_SEQ_CST)
#define atomic_store_explicit(p, v, order) \
  explore_store((p), sizeof *(p), MODEL_BITS(p, v), (order), __func__)
#define atomic_store(p, v) atomic_store_explicit(p, v, __ATOMIC_SEQ_CST)
#define atomic_exchange_explicit(p, v, order) \
  MODEL_RMW(p, EXPLORE_XCHG, v, order)
#define atomic_exchange(p, v) atomic_exchange_explicit(p, v, __ATOMIC_SEQ_CST)
#define atomic_fetch_add_explicit(p, v, order) \
  MODEL_RMW(p, EXPLORE_ADD, v, order)
#define atomic_fetch_add(p, v) atomic_fetch_add_explicit(p, v, __ATOMIC_SEQ_CST)
#define atomic_fetch_sub_explicit(p, v, order) \
  MODEL_RMW(p, EXPLORE_SUB, v, order)
#define atomic_fetch_sub(p, v) atomic_fetch_sub_explicit(p, v, __ATOMIC_SEQ_CST)
#define atomic_fetch_or_explicit(p, v, order) MODEL_RMW(p, EXPLORE_OR, v, order)
#define atomic_fetch_or(p, v) atomic_fetch_or_explicit(p, v, __ATOMIC_SEQ_CST)
#define atomic_fetch_and_explicit(p, v, order) \
  MODEL_RMW(p, EXPLORE_AND, v, order)
#define atomic_fetch_and(p, v) atomic_fetch_and_explicit(p, v, __ATOMIC_SEQ_CST)
#define atomic_compare_exchange_strong_explicit(p, e, v, order, fail) \
  explore_cas((p), sizeof *(p), (e), MODEL_BITS(p, v),                \
              ((void) (fail), (order)), __func__)
#define atomic_compare_exchange_strong(p, e, v)                      \
  atomic_compare_exchange_strong_explicit(p, e, v, __ATOMIC_SEQ_CST, \
                                          __ATOMIC_SEQ_CST)
/* x86: no spurious failures. */
#define atomic_compare_exchange_weak_explicit \
  atomic_compare_exchange_strong_explicit
#define atomic_compare_exchange_weak atomic_compare_exchange_strong
#define atomic_thread_fence(order) explore_fence((order), __func__)

/* The builtins that entry stubs use on plain words. */
#define __atomic_load_n(p, order) atomic_load_explicit(p, order)
#define __atomic_compare_exchange_n(p, e, v, weak, order, fail) \
  atomic_compare_exchange_strong_explicit(p, e, v, order, fail)
#define __atomic_store_n(p, v, order) atomic_store_explicit(p, v, order)
#define __atomic_fetch_or(p, v, order) atomic_fetch_or_explicit(p, v, order)
#define __atomic_fetch_sub(p, v, order) atomic_fetch_sub_explicit(p, v, order)
#define __atomic_add_fetch(p, v, order) \
  (MODEL_RMW(p, EXPLORE_ADD, v, order) + (v))
#define __atomic_sub_fetch(p, v, order) \
  (MODEL_RMW(p, EXPLORE_SUB, v, order) - (v))

/* ---- the runtime's headers, with those ---- */

#define MPGI_CHAOS() ((void) 0) /* every order is explored */

#include <sched/sched.h>

#include <sched/gmp.h>

/* Nothing is traced. */
#define mpgi_trace_is_on() false

/* ---- locks, notes, futexes ---- */

#define mpgi_mutex_lock(m) explore_lock(&(m)->state)
#define mpgi_mutex_unlock(m) explore_unlock(&(m)->state)
#define mpgi_spin_lock(m) explore_lock(&(m)->state)
#define mpgi_spin_unlock(m) explore_unlock(&(m)->state)
#define mpgi_spin_lock_more(m, before) \
  ((void) (before), explore_lock(&(m)->state))
#define mpgi_spin_unlock_more(m) explore_unlock(&(m)->state)
#define mpgi_mutex_trylock(m) explore_trylock(&(m)->state)
#define mpgi_spin_trylock(m) explore_trylock(&(m)->state)
#define mpgi_spin_untrylock(m) explore_unlock(&(m)->state)
#define mpgi_mutex_assert_held(m) \
  explore_require(explore_self() < 0 || memory_word(&(m)->state) != 0)
#define mpgi_os_futex_wait(word, expected, ns)                     \
  (explore_sleep((word), (expected), model_deadline(ns), __func__) \
       ? 0                                                         \
       : -ETIMEDOUT)
#define mpgi_os_futex_wake(word, n) explore_wake((word), (n), __func__)

static inline uint32_t memory_word(const _Atomic uint32_t *p) {
  uint32_t v;
  memcpy(&v, (const void *) p, sizeof v);
  return v;
}

static inline int64_t model_deadline(int64_t ns) {
  return ns < 0 ? -1 : explore_now() + ns;
}

/* ---- what the CPU and the thread are asked ---- */

/* Which M is the running thread?  Defined by the model. */
static struct mpg_m *model_m(void);
static inline struct mpg_g *model_current_g(const char *what) {
  (void) what;
  return model_m()->curg;
}
#define mpgi_current_g(what) model_current_g(what)
#define mpgi_tls_m() model_m()
#define mpgi_tls_g() (model_m()->curg)
#define mpgi_tls_user() ((struct mpg_g *) NULL) /* on g0 */
#define mpgi_tls_m_set(m) ((void) (m))
#define mpgi_tls_cache_set(c) ((void) (c))
#define mpgi_arch_relax() ((void) 0)
#define mpgi_arch_fence() explore_fence(__ATOMIC_SEQ_CST, __func__)
#define mpgi_arch_lock_bit(word) \
  (__atomic_fetch_or(word, 1, __ATOMIC_ACQUIRE) & 1)
#define mpgi_os_barrier_all() (explore_barrier(__func__), 0)
#define mpgi_arch_sp() ((uintptr_t) 0)
#define mpgi_arch_control_save(c) ((void) (c))
#define mpgi_arch_guard_set(v) ((void) (v))
#define __builtin_unwind_init() ((void) 0)

/* ---- failed checks ---- */

_Noreturn void mpgi_check_failed(const char *cond, const char *file, int line,
                                 const char *func) {
  explore_failed("%s:%d: %s: %s", file, line, func, cond);
}

_Noreturn void mpgi_fatal(const char *fmt, ...) {
  explore_failed("fatal: %s", fmt);
}

/* Under TSO: every one of configs[] passes, every mutant in wrong[] (config,
 * mutant) fails with a message that has `with` in it. */
#define MODEL_MAIN_TSO(with)                                        \
  int main(void) {                                                  \
    struct explore_config c;                                        \
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) { \
      c = configs[i];                                               \
      c.memory = EXPLORE_TSO;                                       \
      explore_pass(&c);                                             \
    }                                                               \
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {     \
      c = configs[wrong[i].config];                                 \
      c.memory = EXPLORE_TSO;                                       \
      c.mutant = &wrong[i].mutant;                                  \
      explore_fail_with(&c, with);                                  \
    }                                                               \
    return explore_status();                                        \
  }

#endif /* TESTS_MODEL_MODEL_H */
