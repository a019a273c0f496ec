/* sched.h - the door of the scheduler.
 *
 * What lives here: goroutines, the threads that run them, stop-the-world,
 * channels, locks, timers.  Private header: gmp.h.
 *
 * g0 sides of the public functions (arch/x86_64/thunks.def).  Context of
 * each: g0 of the calling goroutine's M; or, for a thread without a
 * goroutine, its own stack.
 */
#ifndef MPGI_SCHED_H
#define MPGI_SCHED_H

#include <mpg.h>

#include <arch/arch.h>

struct mpg_m;

#undef mpg_run
#undef mpg_go
#undef mpg_go_with
#undef mpg_timer_start

MPGI_HIDDEN int mpgi_run_fixed_g0(mpg_func fn, void *arg);
MPGI_HIDDEN int mpgi_run_segmented_g0(mpg_func fn, void *arg);
MPGI_HIDDEN int mpgi_go_segmented_g0(mpg_func fn, void *arg);
MPGI_HIDDEN int mpgi_go_fixed_g0(mpg_func fn, void *arg);
MPGI_HIDDEN int mpgi_go_with_segmented_g0(const struct mpg_go_options *opt,
                                          mpg_func fn, void *arg);
MPGI_HIDDEN int mpgi_go_with_fixed_g0(const struct mpg_go_options *opt,
                                      mpg_func fn, void *arg);
MPGI_HIDDEN void mpgi_yield_g0(struct mpgi_context *ctx, struct mpg_m *mp);
MPGI_HIDDEN _Noreturn void mpgi_goexit_misuse(void);
MPGI_HIDDEN int mpgi_gomaxprocs_g0(int n);
MPGI_HIDDEN int mpgi_set_max_threads_g0(int n);
MPGI_HIDDEN int mpgi_num_goroutines_g0(void);
MPGI_HIDDEN void mpgi_preempt_disable_g0(void);
MPGI_HIDDEN void mpgi_preempt_enable_g0(void);
MPGI_HIDDEN void mpgi_syscall_enter_g0(void);
MPGI_HIDDEN void mpgi_syscall_entered_g0(void);
MPGI_HIDDEN void mpgi_syscall_exit_g0(void);
MPGI_HIDDEN void mpgi_syscall_back_g0(void);
MPGI_HIDDEN int mpgi_thread_attach_g0(void);
MPGI_HIDDEN int mpgi_thread_detach_g0(void);
/* The rest of mpg_thread_detach, on the thread's own stack. */
MPGI_HIDDEN int mpgi_thread_detached(int err);
MPGI_HIDDEN void mpgi_lock_thread_g0(void);
MPGI_HIDDEN void mpgi_unlock_thread_g0(void);
MPGI_HIDDEN int mpgi_local_set_slow_g0(uint64_t id, void *value);
MPGI_HIDDEN void *mpgi_local_get_slow_g0(uint64_t id);
MPGI_HIDDEN int mpgi_metric_read_g0(enum mpg_metric m,
                                    struct mpg_histogram **out);
MPGI_HIDDEN int mpgi_stop_metric_read_g0(enum mpg_metric m,
                                         enum mpg_stop_reason reason,
                                         struct mpg_histogram **out);
MPGI_HIDDEN void mpgi_metric_reset_g0(enum mpg_metric m);
MPGI_HIDDEN void mpgi_histogram_free_g0(struct mpg_histogram *h);
MPGI_HIDDEN int mpgi_text_add_g0(const void *addr);
MPGI_HIDDEN void mpgi_traceback_all_g0(int fd);
MPGI_HIDDEN int mpgi_heap_profile_g0(int fd);
MPGI_HIDDEN void *mpgi_cleanup_queue_new_g0(void);
MPGI_HIDDEN int mpgi_leaked_goroutines_g0(int fd);
MPGI_HIDDEN int mpgi_trace_start_g0(const char *path);
MPGI_HIDDEN int mpgi_trace_stop_g0(void);
MPGI_HIDDEN int mpgi_stack_stats_read_g0(struct mpg_stack_stats *s);

MPGI_HIDDEN mpg_chan *mpgi_chan_new_g0(size_t elem_bytes, size_t capacity);
MPGI_HIDDEN uintptr_t mpgi_chan_send_g0(mpg_chan *c, const void *elem);
MPGI_HIDDEN uintptr_t mpgi_chan_recv_g0(mpg_chan *c, void *elem);
MPGI_HIDDEN int mpgi_chan_try_send_g0(mpg_chan *c, const void *elem);
MPGI_HIDDEN int mpgi_chan_try_recv_g0(mpg_chan *c, void *elem);
MPGI_HIDDEN void mpgi_chan_close_g0(mpg_chan *c);
MPGI_HIDDEN int mpgi_select_g0(struct mpg_select_case *cases, int n);
MPGI_HIDDEN int mpgi_select_try_g0(struct mpg_select_case *cases, int n);
MPGI_HIDDEN int mpgi_select_until_g0(struct mpg_select_case *cases, int n,
                                     int64_t deadline_ns);

MPGI_HIDDEN void mpgi_mutex_lock_slow_g0(mpg_mutex *m);
MPGI_HIDDEN void mpgi_mutex_unlock_slow_g0(mpg_mutex *m, uint32_t was);
MPGI_HIDDEN void mpgi_rwmutex_rdlock_slow_g0(mpg_rwmutex *m);
MPGI_HIDDEN void mpgi_rwmutex_rdunlock_slow_g0(mpg_rwmutex *m, int32_t r);
MPGI_HIDDEN void mpgi_rwmutex_lock_slow_g0(mpg_rwmutex *m, int32_t r);
MPGI_HIDDEN void mpgi_rwmutex_unlock_slow_g0(mpg_rwmutex *m, int32_t r);
MPGI_HIDDEN void mpgi_cond_wait_g0(mpg_cond *c, mpg_mutex *m);
MPGI_HIDDEN void mpgi_cond_signal_slow_g0(mpg_cond *c);
MPGI_HIDDEN void mpgi_cond_broadcast_slow_g0(mpg_cond *c);
MPGI_HIDDEN void mpgi_once_begin_g0(mpg_once *o);
MPGI_HIDDEN void mpgi_once_end_g0(mpg_once *o);
MPGI_HIDDEN void mpgi_waitgroup_add_slow_g0(mpg_waitgroup *wg, int n,
                                            uint64_t now);
MPGI_HIDDEN void mpgi_waitgroup_wait_g0(mpg_waitgroup *wg);
MPGI_HIDDEN void mpgi_sem_acquire_slow_g0(mpg_sem *s);
MPGI_HIDDEN void mpgi_sem_wake_g0(mpg_sem *s);
MPGI_HIDDEN void mpgi_sleep_g0(int64_t ns);
MPGI_HIDDEN void mpgi_sleep_until_g0(int64_t deadline_ns);
MPGI_HIDDEN mpg_chan *mpgi_after_g0(int64_t ns);
MPGI_HIDDEN mpg_timer *mpgi_timer_start_segmented_g0(int64_t ns,
                                                     int64_t period_ns,
                                                     mpg_func fn, void *arg);
MPGI_HIDDEN mpg_timer *mpgi_timer_start_fixed_g0(int64_t ns, int64_t period_ns,
                                                 mpg_func fn, void *arg);
MPGI_HIDDEN bool mpgi_timer_stop_g0(mpg_timer *t);

struct mpgi_resolve {
  const char *host, *service;
  const struct addrinfo *hints;
  struct addrinfo **list;
  int result;
};
MPGI_HIDDEN void mpgi_resolve_g0(struct mpgi_resolve *r);
MPGI_HIDDEN void mpgi_resolve_free_g0(struct addrinfo *list);

/* The same, as entry stubs (mpg_rt_text): callable on a goroutine's stack. */
MPGI_HIDDEN int mpgi_thunk_thread_attach(void);
MPGI_HIDDEN int mpgi_thunk_thread_detach(void);
MPGI_HIDDEN int mpgi_thunk_local_set_slow(uint64_t id, void *value);
MPGI_HIDDEN void *mpgi_thunk_local_get_slow(uint64_t id);
MPGI_HIDDEN void mpgi_thunk_syscall_exit(void);
MPGI_HIDDEN void mpgi_thunk_syscall_back(void);
struct mpg_g;
MPGI_HIDDEN unsigned mpgi_syscall_enter_here(struct mpg_g *gp,
                                             struct mpg_m *mp);
/* A stub was called on a thread without a goroutine. */
MPGI_HIDDEN _Noreturn void mpgi_stub_misuse(const char *what);
MPGI_HIDDEN void mpgi_thunk_chan_send(mpg_chan *c, const void *elem);
MPGI_HIDDEN bool mpgi_thunk_chan_recv(mpg_chan *c, void *elem);
MPGI_HIDDEN int mpgi_thunk_chan_try_send(mpg_chan *c, const void *elem);
MPGI_HIDDEN int mpgi_thunk_chan_try_recv(mpg_chan *c, void *elem);
MPGI_HIDDEN void mpgi_thunk_mutex_lock_slow(mpg_mutex *m);
MPGI_HIDDEN void mpgi_thunk_mutex_unlock_slow(mpg_mutex *m, uint32_t was);
MPGI_HIDDEN void mpgi_thunk_rwmutex_rdlock_slow(mpg_rwmutex *m);
MPGI_HIDDEN void mpgi_thunk_rwmutex_rdunlock_slow(mpg_rwmutex *m, int32_t r);
MPGI_HIDDEN void mpgi_thunk_rwmutex_lock_slow(mpg_rwmutex *m, int32_t r);
MPGI_HIDDEN void mpgi_thunk_rwmutex_unlock_slow(mpg_rwmutex *m, int32_t r);
MPGI_HIDDEN void mpgi_thunk_cond_signal_slow(mpg_cond *c);
MPGI_HIDDEN void mpgi_thunk_cond_broadcast_slow(mpg_cond *c);
MPGI_HIDDEN void mpgi_thunk_once_begin(mpg_once *o);
MPGI_HIDDEN void mpgi_thunk_once_end(mpg_once *o);
MPGI_HIDDEN void mpgi_thunk_waitgroup_add_slow(mpg_waitgroup *wg, int n,
                                               uint64_t now);
MPGI_HIDDEN void mpgi_thunk_sem_acquire_slow(mpg_sem *s);
MPGI_HIDDEN void mpgi_thunk_sem_wake(mpg_sem *s);
MPGI_HIDDEN void mpgi_thunk_resolve(struct mpgi_resolve *r);

#endif /* MPGI_SCHED_H */
