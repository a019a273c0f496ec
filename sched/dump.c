/* dump.c - what tracebacks look like, and mpg_traceback_all.
 *
 * The format is Go's:
 *   goroutine 7 [chan receive, 2 minutes]:
 *   consume(...)
 *           /src/app.c:31 +0x2a
 *   created by main_goroutine in goroutine 1
 *           /src/app.c:60 +0x51
 * Without debug information the address stands where the file and line do, and
 * behind it the object and the address there.
 *
 * mpg_traceback_all takes a shot of every goroutine with the world stopped,
 * and prints when it runs again: libdw allocates, and a stopped thread may
 * hold malloc's locks.  It prints as in a system call, without a P.
 *
 * Who dies prints goroutines as they are (dying.c), with libdw only where
 * that may allocate.
 */
#include <sched/sched.h>

#include <errno.h>
#include <string.h>

#include <sched/gmp.h>

#include <sched/dump.h>

/* ---- output ---- */

void mpgi_out_flush(struct mpgi_out *o) {
  mpgi_os_write(o->fd, o->text, o->n);
  o->n = 0;
}

void mpgi_out_add(struct mpgi_out *o, const char *fmt, ...) {
  va_list ap;
  if (sizeof o->text - o->n < MPGI_OUT_LINE_BYTES) mpgi_out_flush(o);
  va_start(ap, fmt);
  o->n += (size_t) mpgi_vformat(o->text + o->n, MPGI_OUT_LINE_BYTES, fmt, ap);
  va_end(ap);
}

/* ---- a shot of a goroutine ---- */

struct shot {
  uint64_t goid, creator;
  uintptr_t creator_pc;
  int64_t wait_since;
  uint32_t status;
  uint8_t reason;
  bool locked, elsewhere;
  char name[32];
  struct mpgi_pcs pcs; /* last: as much of it as is used */
};

static size_t shot_bytes(const struct shot *s) {
  return offsetof(struct shot, pcs.pc) + s->pcs.n * sizeof s->pcs.pc[0];
}

/* It runs on a thread that didn't say where it is. */
static bool runs_elsewhere(const struct mpg_g *gp) {
  const struct mpg_m *mp = gp->m;
  return mpgi_g_status(gp) == MPGI_G_RUNNING && mp && mp != mpgi_tls_m() &&
         !mp->fault_pc && atomic_load(&mp->stop) == MPGI_M_GOING;
}

static void shoot(const struct mpg_g *gp, struct shot *s) {
  const struct mpg_m *mp = gp->m;
  s->goid = gp->goid;
  s->creator = gp->creator;
  s->creator_pc = gp->creator_pc;
  s->wait_since = gp->wait_since;
  s->status = mpgi_g_status(gp);
  s->reason = gp->wait_reason;
  s->locked = gp->locked_m != NULL;
  s->elsewhere = false;
  mpgi_format(s->name, sizeof s->name, "%s", gp->name ? gp->name : "");
  if (mp && atomic_load(&mp->caught) && mp->caught_g == gp) {
    s->pcs = mp->caught_pcs;
  } else if (runs_elsewhere(gp)) {
    s->pcs.n = 0;
    s->pcs.more = false;
    s->elsewhere = true;
  } else {
    mpgi_frames_get(gp, &s->pcs);
  }
}

/* ---- printing one ---- */

static void put_head(struct mpgi_out *o, const struct shot *s) {
  const char *what = s->status == MPGI_G_WAITING
                         ? mpgi_wait_reason_name(s->reason)
                         : mpgi_g_status_name(s->status);
  int64_t minutes = (mpgi_os_now() - s->wait_since) / 60000000000;
  /* Stopped for the dump: it runs. */
  if (s->status == MPGI_G_PREEMPTED) what = mpgi_g_status_name(MPGI_G_RUNNING);
  mpgi_out_add(o, "\ngoroutine %lu [%s", (unsigned long) s->goid, what);
  if (s->status == MPGI_G_WAITING && minutes >= 1)
    mpgi_out_add(o, ", %ld minutes", (long) minutes);
  mpgi_out_add(o, "%s]:%s%s\n", s->locked ? ", locked to thread" : "",
               s->name[0] ? " " : "", s->name);
}

/* For addr2line. */
static void put_object(struct mpgi_out *o, uintptr_t pc) {
  const char *path;
  uintptr_t bias;
  if (!mpgi_text_object(pc, &path, &bias)) return;
  const char *name = strrchr(path, '/');
  name = name ? name + 1 : path;
  if (strcmp(path, "/proc/self/exe") == 0) name = program_invocation_short_name;
  mpgi_out_add(o, " (%s 0x%lx)", name, (unsigned long) (pc - bias));
}

static void put_place(struct mpgi_out *o, const struct mpgi_symbol *sym,
                      uintptr_t pc) {
  if (sym->file[0])
    mpgi_out_add(o, "\t%s:%d", sym->file, sym->line);
  else
    mpgi_out_add(o, "\t%p", (void *) pc);
  if (sym->name[0])
    mpgi_out_add(o, " +0x%lx", (unsigned long) (sym->offset + (pc - sym->pc)));
  if (!sym->file[0]) put_object(o, pc);
  mpgi_out_add(o, "\n");
}

/* A return address may be the next function's, or on the next line. */
static const struct mpgi_symbol *symbol_of(struct mpgi_symbols *syms,
                                           uintptr_t pc, bool exact) {
  return mpgi_symbols_at(syms, exact ? pc : pc - 1);
}

static void put_frame(struct mpgi_out *o, struct mpgi_symbols *syms,
                      uintptr_t pc, bool exact) {
  const struct mpgi_symbol *sym = symbol_of(syms, pc, exact);
  mpgi_out_add(o, "%s(...)\n", sym->name[0] ? sym->name : "?");
  put_place(o, sym, pc);
}

static void put_creator(struct mpgi_out *o, struct mpgi_symbols *syms,
                        const struct shot *s) {
  if (!s->creator_pc) return;
  const struct mpgi_symbol *sym = symbol_of(syms, s->creator_pc, false);
  mpgi_out_add(o, "created by %s in goroutine %lu\n",
               sym->name[0] ? sym->name : "?", (unsigned long) s->creator);
  put_place(o, sym, s->creator_pc);
}

static void put_shot(struct mpgi_out *o, struct mpgi_symbols *syms,
                     const struct shot *s) {
  put_head(o, s);
  if (s->elsewhere)
    mpgi_out_add(o, "\tgoroutine running on other thread; stack unavailable\n");
  for (uint32_t i = 0; i < s->pcs.n; i++)
    put_frame(o, syms, s->pcs.pc[i], i == 0 && s->pcs.exact);
  if (s->pcs.more) mpgi_out_add(o, "...additional frames elided...\n");
  put_creator(o, syms, s);
}

/* ---- which ones ---- */

static bool is_shown(const struct mpg_g *gp, bool system) {
  uint32_t s = mpgi_g_status(gp);
  if (s == MPGI_G_DEAD || s == MPGI_G_IDLE) return false;
  /* Left behind by an earlier run. */
  if (gp->m && atomic_load(&gp->m->gone) == MPGI_GONE_FROZEN) return false;
  return system || gp->goid != 0;
}

static bool system_too(void) {
  return mpgi_opt.traceback >= MPGI_TRACEBACK_SYSTEM;
}

static void put_live(struct mpgi_out *o, struct mpgi_symbols *syms,
                     const struct mpg_g *gp) {
  struct shot s;
  shoot(gp, &s);
  put_shot(o, syms, &s);
  mpgi_out_flush(o); /* what comes next may go wrong */
}

void mpgi_dump_dying(int fd, const struct mpg_g *gp, bool quit, bool library) {
  static struct mpgi_symbols syms; /* one thread dies */
  struct mpgi_out o = {.fd = fd};
  bool all = quit || !gp || mpgi_opt.traceback >= MPGI_TRACEBACK_ALL;
  mpgi_symbols_begin(&syms, library);
  if (gp) put_live(&o, &syms, gp);
  size_t n = all ? atomic_load(&mpgi_sched.nallg) : 0;
  for (size_t i = 0; i < n; i++) {
    const struct mpg_g *other = mpgi_allg_get(i);
    if (other != gp && is_shown(other, system_too()))
      put_live(&o, &syms, other);
  }
  mpgi_symbols_end(&syms);
}

void mpgi_dump_names(int fd, const struct mpg_g *gp) {
  struct mpgi_symbols syms;
  struct mpgi_out o = {.fd = fd};
  mpgi_symbols_begin(&syms, false);
  put_live(&o, &syms, gp);
  mpgi_symbols_end(&syms);
}

/* ---- mpg_traceback_all ---- */

#define SHOTS_MIN_BYTES ((size_t) 256 << 10)
#define SHOTS_MAX_BYTES ((size_t) 64 << 20)
#define SHOT_TYPICAL_BYTES (sizeof(struct shot) / 4)

/* Memory for shots, mapped: this thread may have no P when it gives it back,
 * and then must not use fixmem. */
struct album {
  char *mem;
  size_t bytes, used;
  size_t next; /* index of the next goroutine to look at */
  bool (*pick)(const struct mpg_g *gp);
};

static bool album_open(struct album *a) {
  size_t want = atomic_load(&mpgi_sched.nallg) * SHOT_TYPICAL_BYTES;
  if (want < SHOTS_MIN_BYTES) want = SHOTS_MIN_BYTES;
  if (want > SHOTS_MAX_BYTES) want = SHOTS_MAX_BYTES;
  want = (want + mpgi_os_page_bytes - 1) & ~(mpgi_os_page_bytes - 1);
  *a = (struct album){.bytes = want};
  a->mem = mpgi_os_mem_map(want, mpgi_os_page_bytes);
  return a->mem != NULL;
}

/* As many as fit.  False: there are more. */
static bool album_fill_stw(struct album *a) {
  size_t n = atomic_load(&mpgi_sched.nallg);
  a->used = 0;
  for (; a->next < n; a->next++) {
    const struct mpg_g *gp = mpgi_allg_get(a->next);
    if (!is_shown(gp, system_too()) || !a->pick(gp)) continue;
    if (a->bytes - a->used < sizeof(struct shot)) return false;
    struct shot *s = (struct shot *) (void *) (a->mem + a->used);
    shoot(gp, s);
    a->used += shot_bytes(s);
  }
  return true;
}

static void album_print(const struct album *a, struct mpgi_out *o,
                        struct mpgi_symbols *syms) {
  for (size_t at = 0; at < a->used;) {
    const struct shot *s = (const struct shot *) (void *) (a->mem + at);
    put_shot(o, syms, s);
    at += shot_bytes(s);
  }
  mpgi_out_flush(o);
}

/* One more round; with the world running again.  False: it was the last. */
static bool album_take(struct album *a) {
  if (!mpgi_world_stop_if_running(MPGI_STOP_STATS)) return false;
  bool done = album_fill_stw(a);
  mpgi_world_start();
  return !done;
}

static void print_all(int fd, struct album *a) {
  struct mpgi_symbols syms;
  struct mpgi_out o = {.fd = fd};
  struct mpg_m *mp = mpgi_tls_m();
  bool more = album_take(a); /* so that the caller counts as running */
  bool give = mp && mp->curg && mp->p;
  if (give) mpgi_syscall_enter_g0();
  mpgi_symbols_begin(&syms, true);
  for (;; more = album_take(a)) {
    album_print(a, &o, &syms);
    if (!more) break;
  }
  mpgi_symbols_end(&syms);
  mpgi_os_mem_unmap(a->mem, a->bytes);
  if (give) mpgi_syscall_exit_g0(); /* may not return here */
}

void mpgi_dump_picked(int fd, bool (*pick)(const struct mpg_g *gp)) {
  struct album a;
  if (fd < 0 || !atomic_load(&mpgi_sched.running)) return;
  bool ok = album_open(&a);
  a.pick = pick;
  if (ok)
    print_all(fd, &a);
  else
    mpgi_print(fd, "mpg_traceback_all: out of memory\n");
}

static bool any(const struct mpg_g *gp) {
  (void) gp;
  return true;
}

void mpgi_traceback_all_g0(int fd) { mpgi_dump_picked(fd, any); }
