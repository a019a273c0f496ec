/* text.c - which code is whose.
 *
 * user     text of the main program and of libraries declared with
 *          mpg_text_add: compiled by the application, keeps frame pointers;
 *          a goroutine may be preempted in it
 * foreign  every other loaded object: libc, libraries, the vdso
 * runtime  entry stubs (mpg_rt_text); asked with mpgi_arch_pc_in_rt
 *
 * The table is an immutable snapshot behind a pointer, read by signal
 * handlers.  A new one is made when the dynamic linker reports a change; old
 * ones are kept (they are small, and loading libraries is rare).
 *
 * [text.lister] Making one takes the dynamic linker's lock, which a callback of
 * the program's may hold for as long as it likes.  sysmon can't wait for that:
 * nobody would be preempted.  So it wakes a thread that does.  Who declares a
 * library waits for the lock abroad, without text_lock: what was collected is
 * published unless something newer has been.
 *
 * A statically linked libc would be in the main program's range: then nothing
 * counts as user text, and loops are stopped by freezing only.
 */
#include <sched/sched.h>

#include <errno.h>
#include <gnu/libc-version.h>
#include <link.h>

#include <sched/gmp.h>

#define TEXT_MAX 2048

struct text_range {
  uintptr_t lo, hi;
  const unsigned char *eh_hdr; /* .eh_frame_hdr, or NULL */
  const char *path;            /* the dynamic linker's, or a constant */
  uintptr_t bias;              /* of its addresses */
  uint64_t offset;             /* of lo in the file */
  bool user;
};

struct mpgi_text_table {
  size_t n;
  struct text_range range[];
};

static _Atomic(struct mpgi_text_table *) current;
static struct mpgi_mutex text_lock = MPGI_MUTEX_INIT(MPGI_RANK_TEXT);
static struct mpgi_range declared[64];  /* text_lock */
static size_t ndeclared;                /* text_lock */
static unsigned long long seen_changes; /* text_lock */

/* ---- lookup: signal-safe ---- */

static const struct text_range *find_in(const struct mpgi_text_table *t,
                                        uintptr_t pc) {
  size_t lo = 0, hi = t ? t->n : 0;
  while (lo < hi) {
    size_t mid = lo + (hi - lo) / 2;
    if (pc < t->range[mid].lo)
      hi = mid;
    else if (pc >= t->range[mid].hi)
      lo = mid + 1;
    else
      return &t->range[mid];
  }
  return NULL;
}

static const struct text_range *find(uintptr_t pc) {
  return find_in(mpgi_text_table(), pc);
}

const struct mpgi_text_table *mpgi_text_table(void) {
  return atomic_load_explicit(&current, memory_order_acquire);
}

size_t mpgi_text_number(const struct mpgi_text_table *t, uintptr_t pc) {
  const struct text_range *r = find_in(t, pc);
  return r ? (size_t) (r - t->range) + 1 : 0;
}

bool mpgi_text_get(const struct mpgi_text_table *t, size_t number,
                   struct mpgi_text_map *out) {
  if (!t || number == 0 || number > t->n) return false;
  const struct text_range *r = &t->range[number - 1];
  *out = (struct mpgi_text_map){r->lo, r->hi, r->offset, r->path};
  return true;
}

bool mpgi_text_is_user(uintptr_t pc) {
  if (mpgi_arch_pc_in_rt(pc)) return true;
  const struct text_range *r = find(pc);
  return r && r->user;
}

bool mpgi_text_is_user_again(struct mpgi_range *known, uintptr_t pc) {
  if (pc - known->lo < known->hi - known->lo) return true;
  if (mpgi_arch_pc_in_rt(pc)) return true;
  const struct text_range *r = find(pc);
  if (!r || !r->user) return false;
  *known = (struct mpgi_range){r->lo, r->hi};
  return true;
}

const unsigned char *mpgi_text_eh_hdr(uintptr_t pc) {
  const struct text_range *r = find(pc);
  return r ? r->eh_hdr : NULL;
}

bool mpgi_text_object(uintptr_t pc, const char **path, uintptr_t *bias) {
  const struct text_range *r = find(pc);
  if (!r) return false;
  *path = r->path;
  *bias = r->bias;
  return true;
}

bool mpgi_text_same_object(uintptr_t a, uintptr_t b) {
  const struct text_range *ra = find(a), *rb = find(b);
  return ra && rb && ra->path == rb->path && ra->bias == rb->bias;
}

bool mpgi_text_is_foreign(uintptr_t pc) {
  const struct text_range *r = find(pc);
  return r && !r->user && !mpgi_arch_pc_in_rt(pc);
}

/* ---- making the table ---- */

struct collect {
  struct text_range *out;
  size_t n;
  unsigned long long changes; /* objects that came, and that went, so far */
  size_t objects;
};

static bool is_declared(uintptr_t lo) {
  for (size_t i = 0; i < ndeclared; i++)
    if (lo >= declared[i].lo && lo < declared[i].hi) return true;
  return false;
}

static const unsigned char *eh_hdr_of(const struct dl_phdr_info *info) {
  for (int i = 0; i < info->dlpi_phnum; i++)
    if (info->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME)
      return (const unsigned char *) (info->dlpi_addr +
                                      info->dlpi_phdr[i].p_vaddr);
  return NULL;
}

static void collect_range(struct collect *c, struct text_range r) {
  if (c->n == TEXT_MAX) return;
  size_t i = c->n++;
  for (; i > 0 && c->out[i - 1].lo > r.lo; i--) c->out[i] = c->out[i - 1];
  c->out[i] = r;
}

static int collect_object(struct dl_phdr_info *info, size_t size, void *arg) {
  struct collect *c = arg;
  bool main_program = c->objects++ == 0;
  if (size >= offsetof(struct dl_phdr_info, dlpi_subs) + sizeof info->dlpi_subs)
    c->changes = info->dlpi_adds + info->dlpi_subs;
  /* Not a function that has a stub in the program (libc.def). */
  uintptr_t libc = (uintptr_t) gnu_get_libc_version;
  for (int i = 0; c->out && i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
    if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X)) continue;
    uintptr_t lo = info->dlpi_addr + ph->p_vaddr, hi = lo + ph->p_memsz;
    bool has_libc = libc >= lo && libc < hi;
    struct text_range r = {.lo = lo, .hi = hi, .bias = info->dlpi_addr};
    r.eh_hdr = eh_hdr_of(info);
    r.offset = ph->p_offset;
    r.path = main_program ? "/proc/self/exe" : info->dlpi_name;
    r.user = main_program && !has_libc;
    collect_range(c, r);
  }
  return 0;
}

static void collect(struct collect *c) {
  mpgi_abroad(true);
  dl_iterate_phdr(collect_object, c);
  mpgi_abroad(false);
}

/* false: c is older than the current table. */
static bool publish_locked(struct mpgi_text_table *t, const struct collect *c) {
  if (c->changes < seen_changes) return false;
  t->n = c->n;
  for (size_t i = 0; i < t->n; i++)
    t->range[i].user |= is_declared(t->range[i].lo);
  seen_changes = c->changes;
  atomic_store_explicit(&current, t, memory_order_release);
  return true;
}

/* With what has been declared until now. */
static int rebuild(void) {
  struct mpgi_text_table *t =
      mpgi_fixmem_alloc(sizeof *t + TEXT_MAX * sizeof t->range[0], 0);
  if (!t) return -ENOMEM;
  for (bool published = false; !published;) {
    struct collect c = {.out = t->range};
    collect(&c);
    MPGI_CHAOS();
    mpgi_mutex_lock(&text_lock);
    published = publish_locked(t, &c);
    mpgi_mutex_unlock(&text_lock);
  }
  return 0;
}

void mpgi_text_init(void) {
  rebuild();
  mpgi_leaf_init();
}

void mpgi_text_refresh(void) {
  struct collect c = {0};
  collect(&c);
  mpgi_mutex_lock(&text_lock);
  bool changed = c.changes != seen_changes;
  mpgi_mutex_unlock(&text_lock);
  if (changed) rebuild();
}

/* ---- the thread that looks for changes [text.lister] ---- */

#define LISTER_STACK_BYTES ((size_t) 64 << 10)

/* STARTED: it sleeps, or is about to. */
enum { LISTER_NONE, LISTER_STARTED, LISTER_ASKED };
static _Atomic uint32_t lister;

static void list(void *arg) {
  (void) arg;
  mpgi_fixmem_outside(); /* no stop waits for this thread */
  for (;;) {
    if (atomic_load(&lister) == LISTER_STARTED)
      mpgi_os_futex_wait(&lister, LISTER_STARTED, -1);
    MPGI_CHAOS();
    if (atomic_exchange(&lister, LISTER_STARTED) == LISTER_ASKED)
      mpgi_text_refresh();
  }
}

/* Asked again before it came back, it looks once more, or is stuck. */
void mpgi_text_refresh_soon(void) {
  uint32_t was = atomic_exchange(&lister, LISTER_ASKED);
  if (was == LISTER_STARTED) mpgi_os_futex_wake(&lister, 1);
  if (was == LISTER_NONE &&
      mpgi_os_thread_start(list, NULL, LISTER_STACK_BYTES, "mpg-text") != 0)
    atomic_store(&lister, LISTER_NONE); /* next time, then */
}

void mpgi_text_forked(void) { atomic_store(&lister, LISTER_NONE); }

/* ---- declaring ---- */

static int declare_locked(const struct mpgi_range *r, int n) {
  for (int i = 0; i < n; i++) {
    if (is_declared(r[i].lo)) continue;
    if (ndeclared == sizeof declared / sizeof *declared) return -ENOMEM;
    declared[ndeclared++] = r[i];
  }
  return 0;
}

int mpgi_text_add_g0(const void *addr) {
  struct mpgi_range r[8];
  if (!addr) return -EINVAL;
  mpgi_abroad(true);
  int n = mpgi_os_text_of(addr, r, 8);
  mpgi_abroad(false);
  if (n <= 0) return -EINVAL;
  mpgi_mutex_lock(&text_lock);
  int err = declare_locked(r, n);
  mpgi_mutex_unlock(&text_lock);
  return err ? err : rebuild();
}
