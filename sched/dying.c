/* dying.c - the last words: fatal errors and SIGQUIT.
 *
 * Others go on running while the program dies; a traceback wants to know where
 * they are, and to find them there.  So every M is sent SIGURG: its handler
 * notes the frames of its goroutine, and stays if that holds nobody up: a
 * thread in foreign code may hold malloc's locks, which symbolising needs, and
 * goes on until it is found elsewhere.
 *
 * In a signal handler nothing may be allocated, and its stack is small; so a
 * handler asks sysmon, which is in neither, to print.  When sysmon doesn't
 * answer the handler prints itself, without file and line.  The same is done
 * when the world is stopped: frozen threads may hold any lock.
 *
 * SIGQUIT is ours only while the application has no handler for it.
 * Source: Go signal_unix.go, panic.go (freezetheworld).
 */
#include <sched/sched.h>

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <sched/gmp.h>

#include <sched/dump.h>

/* On a busy machine a thread waits for a CPU before it can answer; who never
 * answers (SIGURG blocked) costs the dying process that much. */
#define CATCH_NS (500 * 1000 * 1000)
#define RESEND_NS (5 * 1000 * 1000)
#define ANSWER_NS ((int64_t) 3 * 1000 * 1000 * 1000)
#define PRINT_NS ((int64_t) 30 * 1000 * 1000 * 1000)

static _Atomic int dumper; /* thread id of who prints; 0: nobody dies */

/* ---- catching the others ---- */

static bool may_stay(const struct mpgi_sigregs *r, const void *ucontext) {
  return !mpgi_text_is_foreign(r->pc) ||
         mpgi_text_same_object(r->pc, (uintptr_t) mpgi_fatal) ||
         mpgi_arch_in_syscall(ucontext);
}

/* Without a ucontext it is on g0, and its registers are saved. */
static void note_frames(struct mpg_m *mp, const void *ucontext) {
  if (!mp->curg || atomic_load(&mp->caught)) return;
  if (ucontext)
    mpgi_frames_get_sig(mp->curg, ucontext, &mp->caught_pcs);
  else
    mpgi_frames_get(mp->curg, &mp->caught_pcs);
  mp->caught_g = mp->curg;
  atomic_store(&mp->caught, 1);
}

bool mpgi_dying_sig(struct mpg_m *mp, void *ucontext) {
  static _Atomic uint32_t never;
  struct mpgi_sigregs r;
  if (!atomic_load(&dumper)) return false;
  if (atomic_load(&dumper) == mpgi_os_tid()) return true;
  note_frames(mp, ucontext);
  mpgi_arch_sigregs(ucontext, &r);
  while (may_stay(&r, ucontext)) mpgi_os_futex_wait(&never, 0, -1);
  return true;
}

/* Does somebody run a goroutine and hasn't said where it is?  Asks again. */
static bool ask_others(const struct mpg_m *self) {
  bool missing = false;
  for (struct mpg_m *mp = mpgi_sched.all_m; mp; mp = mp->all_link) {
    if (mp == self || !mp->tid || atomic_load(&mp->gone)) continue;
    if (atomic_load(&mp->stop) != MPGI_M_GOING) continue;
    missing = missing || (mp->curg && !atomic_load(&mp->caught));
    mpgi_os_tgkill(mp->tid, SIGURG);
  }
  return missing;
}

static void catch_others(const struct mpg_m *self) {
  int64_t end = mpgi_os_now() + CATCH_NS;
  atomic_store(&dumper, mpgi_os_tid());
  if (!atomic_load(&mpgi_sched.running)) return;
  while (ask_others(self) && mpgi_os_now() < end) mpgi_os_sleep(RESEND_NS);
}

/* ---- what a handler asks of sysmon ---- */

enum { ASKED_NOT, ASKED, ANSWERED, PRINTED };
static struct {
  _Atomic uint32_t state;
  int fd;
  struct mpg_m *mp; /* of the handler */
  bool quit;
} request;

void mpgi_dying_serve(void) {
  uint32_t s = ASKED;
  if (!atomic_compare_exchange_strong(&request.state, &s, ANSWERED)) return;
  catch_others(request.mp);
  mpgi_dump_dying(request.fd, request.mp ? request.mp->curg : NULL,
                  request.quit, !mpgi_stw_waiting());
  atomic_store(&request.state, PRINTED);
  for (;;) mpgi_os_sleep(PRINT_NS); /* the handler ends the process */
}

static bool wait_for(uint32_t state, int64_t ns) {
  int64_t end = mpgi_os_now() + ns;
  while (atomic_load(&request.state) < state && mpgi_os_now() < end) {
    mpgi_note_wake(&mpgi_sched.sysmon_note);
    mpgi_os_sleep(RESEND_NS);
  }
  return atomic_load(&request.state) >= state;
}

/* In a handler on a thread that may be an M's.  True: it was printed. */
static bool ask_sysmon(int fd, struct mpg_m *mp, bool quit) {
  request.fd = fd;
  request.mp = mp;
  request.quit = quit;
  atomic_store(&request.state, ASKED);
  uint32_t s = ASKED;
  if (!wait_for(ANSWERED, ANSWER_NS) &&
      atomic_compare_exchange_strong(&request.state, &s, ASKED_NOT))
    return false;
  wait_for(PRINTED, PRINT_NS);
  return true;
}

/* ---- fatal errors ---- */

void mpgi_fatal_dump(int fd) {
  struct mpg_m *mp = mpgi_tls_m();
  if (mpgi_opt.traceback == MPGI_TRACEBACK_NONE) return;
  bool handler = mp && mpgi_m_on_gsignal(mp, mpgi_arch_sp());
  if (handler && !mpgi_tls_g()) note_frames(mp, NULL);
  if (handler && ask_sysmon(fd, mp, false)) return;
  catch_others(mp);
  mpgi_dump_dying(fd, mp ? mp->curg : NULL, false,
                  !handler && !mpgi_stw_waiting());
}

/* ---- SIGQUIT ---- */

static _Noreturn void leave(void) {
  if (mpgi_opt.traceback == MPGI_TRACEBACK_CRASH) abort();
  mpgi_os_exit(2);
}

static void on_sigquit(int sig, void *info, void *ucontext) {
  (void) sig, (void) info;
  struct mpg_m *mp = mpgi_tls_m();
  if (!mpgi_die_first()) return; /* somebody is at it */
  mpgi_print(STDERR_FILENO, "SIGQUIT: quit\n");
  if (mpgi_opt.traceback == MPGI_TRACEBACK_NONE) leave();
  if (mp) note_frames(mp, ucontext);
  if (!ask_sysmon(STDERR_FILENO, mp, true)) {
    catch_others(mp);
    mpgi_dump_dying(STDERR_FILENO, mp ? mp->curg : NULL, true, false);
  }
  leave();
}

static bool quit_is_ours;

void mpgi_quit_init(void) {
  struct sigaction sa;
  quit_is_ours = sigaction(SIGQUIT, NULL, &sa) == 0 &&
                 !(sa.sa_flags & SA_SIGINFO) && sa.sa_handler == SIG_DFL &&
                 mpgi_os_signal_install(SIGQUIT, on_sigquit) == 0;
}

void mpgi_quit_restore(void) {
  if (quit_is_ours) mpgi_os_signal_restore(SIGQUIT);
  quit_is_ours = false;
}
