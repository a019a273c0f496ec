/* unreached.c - weak definitions of what models don't reach.
 *
 * The sources under test refer to functions that no explored path calls.  A
 * model that calls one fails; a model that needs one defines it.
 */
#include "explore.h"

_Noreturn void explore_unreached(void);
_Noreturn void explore_unreached(void) {
  explore_failed("a function that the model doesn't have, called from %p",
                 __builtin_return_address(0));
}

#define UNREACHED(name)                                     \
  __asm__(".weak " #name "\n.hidden " #name "\n.set " #name \
          ", explore_unreached");

/* arch */
UNREACHED(mpgi_arch_fpu_save)
UNREACHED(mpgi_arch_g0_enter)
UNREACHED(mpgi_arch_g0_leave)
UNREACHED(mpgi_arch_g0_restart)
UNREACHED(mpgi_arch_resume)
UNREACHED(mpgi_arch_xsave_bytes)
UNREACHED(mpgi_arch_xsave_init)
UNREACHED(mpgi_fixmem_alloc)
UNREACHED(mpgi_fixmem_free)
UNREACHED(mpgi_os_mem_decommit)
UNREACHED(mpgi_os_mem_map)
UNREACHED(mpgi_os_mem_reserve)
UNREACHED(mpgi_os_mem_unmap)
UNREACHED(mpgi_os_now)
UNREACHED(mpgi_os_sigaltstack)
UNREACHED(mpgi_os_sleep)
UNREACHED(mpgi_os_stack_bounds)
UNREACHED(mpgi_os_tgkill)
UNREACHED(mpgi_os_thread_clock)
UNREACHED(mpgi_os_thread_start)
UNREACHED(mpgi_os_tid)
UNREACHED(mpgi_os_tls_static)
UNREACHED(mpgi_os_timer_slack_lower)
UNREACHED(mpgi_os_yield)
UNREACHED(mpgi_resume_thunk)
/* notes: model_note.h */
UNREACHED(mpgi_note_clear)
UNREACHED(mpgi_note_sleep)
UNREACHED(mpgi_note_sleep_timed)
UNREACHED(mpgi_note_wake)
/* stack, gc */
UNREACHED(mpgi_stack_ranges)
UNREACHED(mpgi_stack_cache_flush)
UNREACHED(mpgi_gc_cache_new)
UNREACHED(mpgi_gc_collect)
UNREACHED(mpgi_gc_tick)
/* sched */
UNREACHED(mpgi_attached_cut)
UNREACHED(mpgi_attached_cut_sig)
UNREACHED(mpgi_attached_ready)
UNREACHED(mpgi_attached_run)
UNREACHED(mpgi_attached_take_p)
UNREACHED(mpgi_attached_block)
UNREACHED(mpgi_checkdead_again)
UNREACHED(mpgi_is_loose)
UNREACHED(mpgi_not_attached)
UNREACHED(mpgi_checkdead_locked)
UNREACHED(mpgi_frames_are_user)
UNREACHED(mpgi_freeze_for_ever_sig)
UNREACHED(mpgi_gfree_flush)
UNREACHED(mpgi_lock_give_p)
UNREACHED(mpgi_lock_run)
UNREACHED(mpgi_lockcheck_leave)
UNREACHED(mpgi_m_end)
UNREACHED(mpgi_m_exit)
UNREACHED(mpgi_m_pin)
UNREACHED(mpgi_m_start)
UNREACHED(mpgi_m_stop)
UNREACHED(mpgi_m_unpin)
UNREACHED(mpgi_metric_record)
UNREACHED(mpgi_p_retire)
UNREACHED(mpgi_runq_drain_locked)
UNREACHED(mpgi_schedtrace)
UNREACHED(mpgi_stop_here)
UNREACHED(mpgi_stw_arrive)
UNREACHED(mpgi_sysmon_due)
UNREACHED(mpgi_sysmon_wake)
UNREACHED(mpgi_text_refresh)
UNREACHED(mpgi_thread_gone)
UNREACHED(mpgi_timers_first)
UNREACHED(mpgi_timers_run)
UNREACHED(mpgi_timers_run_overdue)
