/* os.h - the operating-system contract.
 *
 * Universal preconditions: called on a thread's own stack or on g0, never on
 * a goroutine's stack.  "signal-safe" functions may also be called from a
 * signal handler and with the world stopped.  No function sets errno for its
 * caller; failures are negative errno.  EINTR is handled inside.
 */
#ifndef MPGI_OS_H
#define MPGI_OS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <arch/arch.h>

/* ---- memory (linux/mem.c): all signal-safe (bare system calls) ---- */
MPGI_HIDDEN extern size_t mpgi_os_page_bytes; /* 4096 */
#define MPGI_OS_HUGE_BYTES ((size_t) 2 << 20)
/* No mapping is here or above, but where a program insists. */
#define MPGI_OS_ADDRESS_MAX ((uintptr_t) 1 << 47)
/* Reserve address space without access, aligned (power of two >= page).
 * NULL when the system refuses. */
MPGI_HIDDEN void *mpgi_os_mem_reserve(size_t bytes, size_t align);
/* Make reserved pages readable and writable; zeroed at first use. 0, -ENOMEM */
MPGI_HIDDEN int mpgi_os_mem_commit(void *lo, size_t bytes);
/* Give the pages back; the range stays accessible and reads zero.  False: it
 * has its memory still, all or some of it, and reads as before or zero. */
MPGI_HIDDEN bool mpgi_os_mem_release(void *lo, size_t bytes);
/* Make it read zero, by giving the pages back when that is possible. */
MPGI_HIDDEN void mpgi_os_mem_zero(void *lo, size_t bytes);
/* What can't be unmapped is given back, and its addresses are lost. */
MPGI_HIDDEN void mpgi_os_mem_unmap(void *lo, size_t bytes);
/* reserve + commit; NULL on failure. */
MPGI_HIDDEN void *mpgi_os_mem_map(size_t bytes, size_t align);
/* The lowest page of [lo, hi) from which on all is mapped up to hi; hi when
 * nothing is.  For a stack that grows down, whose rest may not exist yet. */
MPGI_HIDDEN uintptr_t mpgi_os_mem_mapped_below(uintptr_t lo, uintptr_t hi);
/* Could this much be mapped just now? */
MPGI_HIDDEN bool mpgi_os_mem_available(size_t bytes);
/* Advise huge pages; best effort. */
MPGI_HIDDEN void mpgi_os_mem_huge(void *lo, size_t bytes);
/* Never: what isn't touched has no memory. */
MPGI_HIDDEN void mpgi_os_mem_not_huge(void *lo, size_t bytes);
/* Make a guard region: any access faults.  Doesn't split the mapping where
 * the kernel can (MADV_GUARD_INSTALL).  0, or -ENOMEM out of mappings. */
MPGI_HIDDEN int mpgi_os_mem_guard(void *lo, size_t bytes);
/* It does: each costs two of vm.max_map_count. */
MPGI_HIDDEN bool mpgi_os_mem_guard_maps(void);
/* 0, or -ENOMEM: it faults still. */
MPGI_HIDDEN int mpgi_os_mem_unguard(void *lo, size_t bytes);
/* As map and commit, for stacks: executable where the program's are.  (What
 * unguard makes accessible again was one.) */
MPGI_HIDDEN void *mpgi_os_stack_map(size_t bytes, size_t align);
MPGI_HIDDEN int mpgi_os_stack_commit(void *lo, size_t bytes);
/* Are they?  Asks what is loaded (linux/execstack.c); not signal-safe.  Before
 * it was called none is. */
MPGI_HIDDEN void mpgi_os_stacks_init(void);
MPGI_HIDDEN extern bool mpgi_os_stacks_execute;
/* Failpoint: when armed (MPG_DEBUG=failmap=N), the Nth mmap, munmap, mprotect
 * or madvise from now fails with ENOMEM, and unless mpgi_os_fail_once
 * (failonce=1) every one after it. */
MPGI_HIDDEN extern _Atomic int64_t mpgi_os_mem_fail_countdown;
MPGI_HIDDEN extern _Atomic bool mpgi_os_fail_once;

/* ---- all memory (linux/words.c) ---- */
/* Visit copies of all words that the process can write: of each range of 2 MiB
 * at most that is wanted, pieces, which were at `at`.  0; negative errno: some
 * could not be seen. */
MPGI_HIDDEN int mpgi_os_words(bool (*wanted)(uintptr_t lo, uintptr_t hi),
                              void (*visit)(uintptr_t at, const uintptr_t *word,
                                            size_t n));

/* ---- process (linux/process.c) ---- */
/* Write all of buf: 0, or the first error, where it stops.  Signal-safe. */
MPGI_HIDDEN int mpgi_os_write(int fd, const void *buf, size_t bytes);
MPGI_HIDDEN int mpgi_os_pid(void);
/* Leave at once: no atexit handlers, no flushing.  Signal-safe. */
MPGI_HIDDEN _Noreturn void mpgi_os_exit(int status);

/* ---- time (linux/time.c) ---- */
MPGI_HIDDEN int64_t mpgi_os_now(void); /* CLOCK_MONOTONIC, ns; signal-safe */
MPGI_HIDDEN int64_t mpgi_os_wall_now(void); /* ns since 1970 */
MPGI_HIDDEN void mpgi_os_sleep(int64_t ns);
MPGI_HIDDEN void mpgi_os_yield(void);             /* sched_yield; signal-safe */
MPGI_HIDDEN void mpgi_os_timer_slack_lower(void); /* this thread: 1 ns */

/* ---- threads (linux/thread.c) ---- */
/* Start fn(arg) on a detached thread with a stack of stack_bytes and every
 * signal but the synchronous ones and SIGURG, SIGPROF blocked.
 * 0, or -EAGAIN, -ENOMEM. */
MPGI_HIDDEN int mpgi_os_thread_start(void (*fn)(void *), void *arg,
                                     size_t stack_bytes, const char *name);
/* The calling thread wants the CPU for no longer than this at a time: the
 * kernel then gives it one the sooner when it wakes up.  A wish.  Returns the
 * ns before; 0: nothing was done. */
MPGI_HIDDEN int64_t mpgi_os_thread_slice(int64_t ns);
/* SIGURG for the thread tid of this process at that time of mpgi_os_now, once.
 * One owner; zeroed before the first use.  False: the kernel has no timer left,
 * or there is no such thread. */
struct mpgi_os_alarm {
  int tid; /* 0: none was made */
  int id;
  bool set;
};
MPGI_HIDDEN bool mpgi_os_alarm_set(struct mpgi_os_alarm *a, int tid,
                                   int64_t when);
/* Not any more, if it hasn't been sent. */
MPGI_HIDDEN void mpgi_os_alarm_cancel(struct mpgi_os_alarm *a);
MPGI_HIDDEN void mpgi_os_alarm_end(struct mpgi_os_alarm *a);
/* Signal-safe: whether a signal is an alarm's. */
MPGI_HIDDEN bool mpgi_os_is_alarm(const void *siginfo);
MPGI_HIDDEN int mpgi_os_tid(void); /* cached; signal-safe on Ms */
/* CPU time consumed by a thread, ns, or -1. clock from ..._clock(). */
MPGI_HIDDEN int mpgi_os_thread_clock(void); /* of the calling thread */
MPGI_HIDDEN int64_t mpgi_os_clock_read(int clock_id);
#define MPGI_OS_PROCESS_CLOCK 2 /* of all its threads */
/* Does it wait in the kernel, rather than run or wait for a CPU?  When that
 * can't be known blocked says true, asleep false. */
MPGI_HIDDEN bool mpgi_os_thread_blocked(int tid);
MPGI_HIDDEN bool mpgi_os_thread_asleep(int tid);
/* A full memory barrier in every thread of the process, before it returns.  0,
 * or negative errno: the process hasn't joined, which takes some ms when it has
 * several threads. */
MPGI_HIDDEN int mpgi_os_barrier_join(void);
MPGI_HIDDEN int mpgi_os_barrier_all(void);
/* Lower the calling thread's share of the CPU; best effort. */
MPGI_HIDDEN void mpgi_os_thread_nice(int nice);
MPGI_HIDDEN int mpgi_os_ncpu(void); /* allowed by the affinity mask */
/* How many threads of the process were not made by mpgi_os_thread_start; -1:
 * that can't be known. */
MPGI_HIDDEN int mpgi_os_threads_foreign(void);
/* Those made by it that have not ended (thread.c). */
MPGI_HIDDEN extern _Atomic int mpgi_os_threads_own;
/* Stack extent of the calling thread. 0 or negative errno. */
MPGI_HIDDEN int mpgi_os_stack_bounds(uintptr_t *lo, uintptr_t *hi);
/* Failpoint: the Nth thread start from now fails with EAGAIN. */
MPGI_HIDDEN extern _Atomic int64_t mpgi_os_thread_fail_countdown;
/* A failpoint's counter: true when this use must fail.  0: off.  N > 0: the
 * Nth use fails; sticky: and every one after it.  Signal-safe. */
static inline bool mpgi_os_failpoint(_Atomic int64_t *countdown, bool sticky) {
  int64_t n = atomic_load_explicit(countdown, memory_order_relaxed);
  while (n != 0) {
    int64_t left = n == 1 ? (sticky ? -1 : 0) : n - 1;
    if (n < 0) return true;
    if (atomic_compare_exchange_weak_explicit(
            countdown, &n, left, memory_order_relaxed, memory_order_relaxed))
      return n == 1;
  }
  return false;
}

/* ---- locks of libc (linux/lockcheck.c) ---- */
/* Called when the thread took (+1) or is about to release (-1) a lock of the
 * C library, true when it counts that; NULL: off. */
MPGI_HIDDEN extern bool (*_Atomic mpgi_lockcheck_hook)(const void *lock,
                                                       int delta);
/* For the assembler: real(lock, a, b), counted. */
typedef int mpgi_lockcheck_fn(void *lock, uintptr_t a, uintptr_t b);
MPGI_HIDDEN int mpgi_lockcheck_lock(void *lock, uintptr_t a, uintptr_t b,
                                    mpgi_lockcheck_fn *real);
MPGI_HIDDEN int mpgi_lockcheck_unlock(void *lock, uintptr_t a, uintptr_t b,
                                      mpgi_lockcheck_fn *real);

/* ---- locks that remember their thread (linux/lockowner.c) ---- */
MPGI_HIDDEN bool mpgi_os_mutex_has_owner(const void *mutex);
/* For the assembler, as those above. */
#define MPGI_OS_LOCK_FN(name)                                \
  MPGI_HIDDEN int name(void *lock, uintptr_t a, uintptr_t b, \
                       mpgi_lockcheck_fn *real)
MPGI_OS_LOCK_FN(mpgi_hold);
MPGI_OS_LOCK_FN(mpgi_hold_mutex);
MPGI_OS_LOCK_FN(mpgi_hold_file);
MPGI_OS_LOCK_FN(mpgi_drop_mutex);
MPGI_OS_LOCK_FN(mpgi_drop_rwlock);
MPGI_OS_LOCK_FN(mpgi_drop_file);
/* Upcalls (sched/lock.c), on any stack: between the two, which nest, the
 * calling goroutine, if any, stays on its thread. */
MPGI_HIDDEN void mpgi_thread_hold(void);
MPGI_HIDDEN void mpgi_thread_drop(void);

/* ---- futex (linux/futex.c): signal-safe ---- */
/* Sleep while *word == expected, at most timeout_ns (< 0: for ever); may wake
 * spuriously.  0, or -ETIMEDOUT. */
MPGI_HIDDEN int mpgi_os_futex_wait(_Atomic uint32_t *word, uint32_t expected,
                                   int64_t timeout_ns);
MPGI_HIDDEN void mpgi_os_futex_wake(_Atomic uint32_t *word, int n);

/* ---- readiness of descriptors (linux/poll.c) ---- */
enum {
  MPGI_OS_POLL_IN = 1,
  MPGI_OS_POLL_PRI = 2,
  MPGI_OS_POLL_OUT = 4,
  MPGI_OS_POLL_ERR = 8,
  MPGI_OS_POLL_HUP = 16,
  MPGI_OS_POLL_RDHUP = 0x2000,
};
struct mpgi_os_poll_event {
  uint64_t data;
  uint32_t events; /* MPGI_OS_POLL_... */
};
#define MPGI_OS_POLL_EVENTS 128
/* Before the rest.  0 or negative errno. */
MPGI_HIDDEN int mpgi_os_poll_open(void);
/* False: the program has closed, or replaced, a descriptor of ours. */
MPGI_HIDDEN bool mpgi_os_poll_is_open(void);
/* What is still ours; it may be opened again. */
MPGI_HIDDEN void mpgi_os_poll_close(void);
/* Report every edge of fd with data (not UINT64_MAX).  0; -EEXIST: the file
 * behind fd is registered under this number; -EPERM: files of its sort can't
 * be waited for; -EBADF, -ENOMEM, -ENOSPC. */
MPGI_HIDDEN int mpgi_os_poll_add(int fd, uint64_t data);
MPGI_HIDDEN void mpgi_os_poll_del(int fd);
/* Up to max events; 0 after the time (< 0: none), a signal, or a break.
 * broken: somebody called ..._break, and it stays broken until ..._unbreak. */
MPGI_HIDDEN int mpgi_os_poll_wait(struct mpgi_os_poll_event *out, int max,
                                  int64_t timeout_ns, bool *broken);
/* 0, or negative errno: as ..._is_open. */
MPGI_HIDDEN int mpgi_os_poll_break(void);
MPGI_HIDDEN int mpgi_os_poll_unbreak(void);
/* What poll(2) says now: events, 0, or negative errno. */
MPGI_HIDDEN int mpgi_os_poll_now(int fd, int events);

/* ---- descriptors (linux/io.c): results as the system call's, or negative
 * errno ---- */
struct sockaddr;
MPGI_HIDDEN int mpgi_os_fd_flags(int fd);
MPGI_HIDDEN bool mpgi_os_fd_is_nonblocking(int fd);
MPGI_HIDDEN int mpgi_os_fd_set_nonblocking(int fd);
MPGI_HIDDEN int mpgi_os_socket_type(int fd); /* SOCK_..., or -ENOTSOCK */
MPGI_HIDDEN bool mpgi_os_socket_is_tcp(int fd);
/* Closing it may wait; also when it is no socket. */
MPGI_HIDDEN bool mpgi_os_socket_lingers(int fd);
MPGI_HIDDEN int mpgi_os_close(int fd);
/* A descriptor of the runtime's own goes where a program that closes a number
 * twice, or counts on the lowest free one, is not likely to meet it.  The new
 * number, close-on-exec; fd itself when there is none, or fd < 0. */
MPGI_HIDDEN int mpgi_os_fd_move_up(int fd);
MPGI_HIDDEN ssize_t mpgi_os_fd_read(int fd, void *buf, size_t n);
/* Never raises SIGPIPE. */
MPGI_HIDDEN ssize_t mpgi_os_fd_write(int fd, const void *buf, size_t n);
/* The same, and they never wait, whatever the descriptor's flags.  -EOPNOTSUPP:
 * this file or this kernel can't do that; or the others say what is wrong. */
MPGI_HIDDEN ssize_t mpgi_os_fd_read_nowait(int fd, void *buf, size_t n);
MPGI_HIDDEN ssize_t mpgi_os_fd_write_nowait(int fd, const void *buf, size_t n);
/* On sockets; these never wait, whatever the descriptor's flags. */
MPGI_HIDDEN ssize_t mpgi_os_recv(int fd, void *buf, size_t n);
MPGI_HIDDEN ssize_t mpgi_os_send(int fd, const void *buf, size_t n);
/* The new descriptor is non-blocking and close-on-exec. */
MPGI_HIDDEN int mpgi_os_accept(int fd, struct sockaddr *sa, unsigned *len);
/* -EINPROGRESS also after a signal. */
MPGI_HIDDEN int mpgi_os_connect(int fd, const struct sockaddr *sa,
                                unsigned len);
MPGI_HIDDEN int mpgi_os_socket_error(int fd); /* 0 or negative errno */

/* ---- signals (linux/signal.c) ---- */
typedef void mpgi_os_sighandler(int sig, void *siginfo, void *ucontext);
/* Install on the alternate stack, SA_RESTART, all signals blocked while it
 * runs; remembers the application's handler for ..._chain. */
MPGI_HIDDEN int mpgi_os_signal_install(int sig, mpgi_os_sighandler *handler);
MPGI_HIDDEN void mpgi_os_signal_restore(int sig);
/* The kernel's default action, for a handler that is about to return: whatever
 * raised sig raises it again.  Signal-safe. */
MPGI_HIDDEN void mpgi_os_signal_default(int sig);
/* Call what was installed before us (ignore when it was default/ignored). */
MPGI_HIDDEN void mpgi_os_signal_chain(int sig, void *siginfo, void *ucontext);
/* Did the application have a handler before us (neither default nor
 * ignored)?  Signal-safe. */
MPGI_HIDDEN bool mpgi_os_signal_has_old(int sig);
/* Give the calling thread an alternate stack of bytes at mem (NULL: none). */
MPGI_HIDDEN int mpgi_os_sigaltstack(void *mem, size_t bytes);
/* The same; what there was goes to *before. */
struct mpgi_os_altstack {
  void *sp;
  int flags;
  size_t bytes;
};
MPGI_HIDDEN int mpgi_os_sigaltstack_swap(void *mem, size_t bytes,
                                         struct mpgi_os_altstack *before);
MPGI_HIDDEN void mpgi_os_sigaltstack_restore(
    const struct mpgi_os_altstack *before);
/* The calling thread's signal mask, bit sig - 1; returns the previous one. */
MPGI_HIDDEN uint64_t mpgi_os_sigmask_set(uint64_t mask);
MPGI_HIDDEN uint64_t mpgi_os_sigmask_get(void);
/* mask without what a thread that runs goroutines must take: SIGURG, and the
 * signals of its own faults. */
MPGI_HIDDEN uint64_t mpgi_os_sigmask_open(uint64_t mask);
#define MPGI_OS_SIGMASK_ALL (~(uint64_t) 0)
/* 0, -ESRCH (gone), -EAGAIN (queue full).  Signal-safe. */
MPGI_HIDDEN int mpgi_os_tgkill(int tid, int sig);
/* Failpoint: when armed, the Nth tgkill from now fails with EAGAIN. */
MPGI_HIDDEN extern _Atomic int64_t mpgi_os_signal_fail_countdown;
/* Give every handler the application installed SA_ONSTACK (a goroutine's
 * stack can't take a signal frame). */
MPGI_HIDDEN void mpgi_os_signal_onstack_all(void);

/* ---- roots (linux/roots.c) ---- */
struct mpgi_range {
  uintptr_t lo, hi;
};
/* The writable segments of every loaded object and the layout of thread-local
 * blocks. */
struct mpgi_os_objects;
/* A list as of now, the caller's, who adopts or drops it; NULL: no memory.
 * Takes the dynamic linker's lock, which may take long, and which a thread in a
 * constructor or a callback holds already: never with the world stopped, nor
 * while such a thread may be waiting for the caller. */
MPGI_HIDDEN struct mpgi_os_objects *mpgi_os_objects_list(void);
MPGI_HIDDEN void mpgi_os_objects_drop(struct mpgi_os_objects *l);
/* From now on all of the functions below go by it.  One caller at a time. */
MPGI_HIDDEN void mpgi_os_objects_adopt(struct mpgi_os_objects *l);
/* The writable segments of one's own list. */
MPGI_HIDDEN const struct mpgi_range *mpgi_os_objects_ranges(
    const struct mpgi_os_objects *l, size_t *n);
/* List and adopt.  0 or -ENOMEM (the old list stays). */
MPGI_HIDDEN int mpgi_os_roots_refresh(void);
/* From the next list on leave out the segments of the library that contains
 * addr, which holds no reference to collected memory.  At most one; the main
 * program is never left out. */
MPGI_HIDDEN void mpgi_os_roots_skip(const void *addr);
/* Tests: rows that need no memory; at most, and by default, 128. */
MPGI_HIDDEN extern size_t mpgi_os_roots_static_rows;
/* Of the list adopted last; stable until the next is adopted.  Signal-safe. */
MPGI_HIDDEN const struct mpgi_range *mpgi_os_roots(size_t *n);
/* With the world stopped: is the list still that of the loaded objects?  False
 * also when a stopped thread is amid changing them: start the world, list
 * again.  Threads that aren't stopped must not load or unload meanwhile. */
MPGI_HIDDEN bool mpgi_os_roots_current(void);
/* Thread-local blocks of a stopped thread, by its thread pointer.  Calls
 * visit for each range (static blocks, and dynamic ones through its DTV).
 * Signal-safe; the thread must be stopped or be the caller. */
MPGI_HIDDEN void mpgi_os_tls_words(uintptr_t thread_pointer,
                                   void (*visit)(void *arg, const void *lo,
                                                 const void *hi),
                                   void *arg);
/* Static TLS extent [lo, hi) relative to a thread pointer's block. */
MPGI_HIDDEN void mpgi_os_tls_static(uintptr_t thread_pointer, uintptr_t *lo,
                                    uintptr_t *hi);
/* May user code keep the address so far below the thread pointer across a
 * switch (linux/tls.c)?  0: the thread pointer itself. */
MPGI_HIDDEN bool mpgi_os_tls_keeps(uintptr_t below);
static inline uintptr_t mpgi_os_thread_pointer(void) {
  uintptr_t tp;
  __asm__ volatile("mov %%fs:0, %0" : "=r"(tp));
  return tp;
}
/* Executable ranges of the loaded object that contains addr, and of the main
 * program (addr NULL).  Returns the number written, at most max. */
MPGI_HIDDEN int mpgi_os_text_of(const void *addr, struct mpgi_range *out,
                                int max);

#endif /* MPGI_OS_H */
