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
  "TSAN_OPTIONS=suppressions=${tsan_suppressions}:detect_deadlocks=0:report_mutex_bugs=0")
set_tests_properties(${sanitized_tests} PROPERTIES TIMEOUT 480
  ENVIRONMENT "${sanitized_environment}")

# not_under(<sanitizer> <test> <reason>)
function(not_under sanitizer test reason)
  if(sanitizer STREQUAL MPG_SANITIZE AND TEST ${test})
    set_tests_properties(${test} PROPERTIES DISABLED TRUE)
  endif()
endfunction()

foreach(sanitizer address thread)
  foreach(test libc_callback_prog lockcheck_prog)
    not_under(${sanitizer} crash.${test}.fixed
      "needs stand-ins for the C library, which the sanitizer has itself")
  endforeach()
  not_under(${sanitizer} unit.arch_libc_test
    "measures the C library's functions, not the sanitizer's stand-ins")
  foreach(test stackguard_prog stackguard_foreign_prog)
    not_under(${sanitizer} crash.${test}.fixed "is about segments")
  endforeach()
  not_under(${sanitizer} stress.stack_recursion_stress.fixed
    "recurses deeper than a fixed stack is")
  not_under(${sanitizer} crash.segv_prog.fixed
    "expects the signal that the sanitizer makes a report of")
  not_under(${sanitizer} api.failure_test.fixed
    "limits the address space, of which the sanitizer needs terabytes")
  not_under(${sanitizer} api.gc_overshoot_test.fixed
    "the sanitizer's own globals are roots, and raise the goal")
endforeach()
not_under(thread unit.sched_sema_test "parks where there is no g0 to switch to")
not_under(thread unit.stack_fixed_test
  "measures resident memory, of which the sanitizer's shadow is a part")
not_under(thread unit.gc_heap_test
  "instrumented code leaves copies of dead pointers in its frames")
# TSan: the tests of what synchronises.  To it a goroutine is a thread, of
# which it has some thousands, each with a megabyte of history that is mapped
# and unmapped: milliseconds on a busy machine.  So tests that start many take
# minutes (sched_go_test one; time_timer_test looked like a hang), and tests
# that count on the clock fail (time_timer_test, sched_gomaxprocs_test,
# sched_fair_test, sched_raw_blocking_test).  Some fork beside threads, which
# it refuses (sched_run_test, sched_unattached_test).  Nor are the tests of
# preemption for it, and of the collector, which is exempt.
if(MPG_SANITIZE STREQUAL "thread")
  set(synchronising chan select sync sync_cond sync_rwmutex time io io_tcp
    io_net io_attach io_resolve sched_go sched_local sched_syscall
    sched_lock_thread sched_attach sched_stw sched_preempt sched_signal
    sched_tls)
  list(TRANSFORM synchronising REPLACE "(.+)" "api.\\1_test.fixed")
  list(APPEND synchronising stress.chan_select_stress.fixed
    stress.io_echo_stress.fixed)
  foreach(test IN LISTS sanitized_tests)
    if(test MATCHES "^(api|crash|stress)\\." AND NOT test IN_LIST synchronising)
      not_under(thread ${test} "see above")
    endif()
  endforeach()
endif()

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
