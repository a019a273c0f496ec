# sanitized.cmake - the suite under ASan (with UBSan) and TSan.
#
# Everything in tests/unit, api, crash and stress runs, on fixed stacks, but
# for what is listed here with its reason.  Not added at all: models (their
# explorer switches stacks itself, and runs one thread) and scripts that build
# programs with mpg's usual flags.  Besides, programs that a sanitizer must
# find a fault in: tests/sanitized.

# Tests ask each other to wait less than a sanitizer needs.
get_property(sanitized_tests DIRECTORY PROPERTY TESTS)
set(sanitized_environment
  # Objects that only the collected heap refers to look lost.  And ASan gives
  # back the alternate signal stack at a thread's end, whosever it is.
  "ASAN_OPTIONS=detect_leaks=0:use_sigaltstack=0"
  "TSAN_OPTIONS=suppressions=${tsan_suppressions}:detect_deadlocks=0:report_mutex_bugs=0:die_after_fork=0")
set_tests_properties(${sanitized_tests} PROPERTIES TIMEOUT 480
  ENVIRONMENT "${sanitized_environment}")

# not_under(<sanitizer> <test> <reason>)
function(not_under sanitizer test reason)
  if(sanitizer STREQUAL MPG_SANITIZE AND TEST ${test})
    set_tests_properties(${test} PROPERTIES DISABLED TRUE)
  endif()
endfunction()

foreach(sanitizer address thread)
  foreach(test libc_callback_prog lockcheck_prog lockcheck_libc_prog)
    not_under(${sanitizer} crash.${test}.fixed
      "needs stand-ins for the C library, which the sanitizer has itself")
  endforeach()
  not_under(${sanitizer} api.sched_lock_owner_test.fixed
    "needs stand-ins for the C library, which the sanitizer has itself")
  not_under(${sanitizer} unit.arch_libc_test
    "measures the C library's functions, not the sanitizer's stand-ins")
  foreach(test stackguard_prog stackguard_foreign_prog stackguard_deep_prog
          signal_stack_overflow_prologue_prog
          copystack_prog stackmove_prog sigquit_swapped_prog
          stack_overflow_alloca_prog stack_overflow_blocking_prog
          stack_overflow_array_prog stack_overflow_array_limit_prog
          stack_overflow_array_wrapped_prog
          stack_overflow_array_wrapped_fixed_prog
          stack_overflow_array_fixed_far_prog)
    not_under(${sanitizer} crash.${test}.fixed "is about segments")
  endforeach()
  not_under(${sanitizer} crash.stack_overflow_step_prog.fixed
    "looks for an address that can't be read by reading")
  not_under(${sanitizer} stress.stack_recursion_stress.fixed
    "recurses deeper than a fixed stack is")
  not_under(${sanitizer} crash.segv_prog.fixed
    "expects the signal that the sanitizer makes a report of")
  not_under(${sanitizer} api.failure_test.fixed
    "limits the address space, of which the sanitizer needs terabytes")
  not_under(${sanitizer} api.gc_overshoot_test.fixed
    "the sanitizer's own globals are roots, and raise the goal")
endforeach()
not_under(address crash.signal_stack_overflow_prog.fixed
  "the report comes from where the overflowing frames are, poisoned")
foreach(test stress.stack_signals_stress.fixed
        stress.preemptall.stack_signals)
  not_under(thread ${test}
    "its signals reach threads before the sanitizer knows them")
endforeach()
not_under(thread unit.arch_mem_test
  "reserves a tebibyte, for which the sanitizer leaves no addresses")
not_under(thread api.failpoint_test.fixed
  "makes many short processes, each of which takes it seconds")
not_under(thread unit.sched_sema_test "parks where there is no g0 to switch to")
not_under(thread unit.sched_stw_test
  "counts thaws while loops are asked a hundred times: 34 to 60, not 1")
not_under(thread unit.stack_fixed_test
  "measures resident memory, of which the sanitizer's shadow is a part")
not_under(thread unit.gc_heap_test
  "instrumented code leaves copies of dead pointers in its frames")
# TSan: what synchronises, which is the scheduler, channels, locks, timers and
# descriptors.  A goroutine is a thread to it, with a megabyte of history that
# is mapped and unmapped: tests make no more than CHECK_MANY_GOROUTINES of them.
# A loop of accesses is nearly always inside of its library, where nobody can be
# stopped, so whoever preempts one has to ask a hundred times.
if(MPG_SANITIZE STREQUAL "thread")
  foreach(test IN LISTS sanitized_tests)
    if(test MATCHES "^crash\\.")
      not_under(thread ${test}
        "expects exit statuses and all of stderr, where TSan has its own")
    elseif(test MATCHES "^(api|stress)\\.(chaos\\.)?gc_")
      not_under(thread ${test} "about the collector, which is exempt")
    elseif(test MATCHES "^api\\.(stack|libc)_")
      not_under(thread ${test} "about segments, and what fits on them")
    endif()
  endforeach()
endif()
not_under(thread api.foreign_test.fixed
  "dlopen's lists are ordered by a lock that TSan doesn't know")
not_under(thread api.sched_linker_test.fixed "likewise")
not_under(thread api.chaos.debug_trace
  "memory that jemalloc hands on in other pieces: orders only by address")
not_under(thread api.debug_trace_test.fixed
  "memory that jemalloc hands on in other pieces: orders only by address")
not_under(thread api.debug_traceback_test.fixed
  "expects frames of loops, which are in the library of TSan instead")
not_under(thread stress.io_connections_stress.fixed "thousands of goroutines")
not_under(thread api.sched_registers_test.fixed
  "a thousand preemptions of loops, for nothing that TSan looks at: 3 minutes")
not_under(thread api.sched_gomaxprocs_test.fixed
  "who waits for a lock of TSan's is blocked, and a P beyond the limit runs")
not_under(thread api.chaos.sched_gomaxprocs "likewise")
not_under(thread api.sched_fair_test.fixed
  "counts whose turn it is while loops are asked a hundred times")
not_under(thread api.time_timer_test.fixed
  "timers beside loops, which are asked a hundred times: minutes")

foreach(test api.stack_jump_test crash.longjmp_runtime_prog)
  not_under(address ${test}.fixed
    "longjmp is the C library's there (longjmp.S); the preset ubsan runs them")
endforeach()
not_under(address api.stack_fixed_test.fixed
  "measures resident memory, of which the sanitizer's shadow is a part")
not_under(address api.gc_finalizer_test.fixed
  "instrumented code leaves copies of dead pointers in its frames")

file(GLOB sources CONFIGURE_DEPENDS sanitized/${MPG_SANITIZE}_*_prog.c)
foreach(source IN LISTS sources)
  get_filename_component(base ${source} NAME_WE)
  mpg_add_program(sanitized_${base} ${source} fixed)
  target_link_libraries(sanitized_${base} PRIVATE Threads::Threads)
  set_target_properties(sanitized_${base} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/sanitized)
  add_test(NAME sanitized.${base} COMMAND
    ${CMAKE_CURRENT_SOURCE_DIR}/support/crash_driver
    ${source} $<TARGET_FILE:sanitized_${base}>)
  set_tests_properties(sanitized.${base} PROPERTIES
    LABELS sanitized TIMEOUT 60 ENVIRONMENT "${sanitized_environment}")
endforeach()
