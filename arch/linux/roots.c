/* roots.c - writable segments, thread-local blocks and text of loaded objects.
 *
 * The collector scans every writable segment of the program and its libraries
 * and every thread-local block of the stopped threads.  Both lists are made by
 * mpgi_os_roots_refresh, with the world running, because the walk takes the
 * dynamic linker's lock; with the world stopped they are only read.
 *
 * Concepts
 *   object list   ranges [lo, hi) of writable PT_LOAD segments without the
 *                 part that is read-only after relocation (PT_GNU_RELRO)
 *   TLS module    an object with a PT_TLS segment; number, size, and for a
 *                 static one its distance below the thread pointer, which is
 *                 the same in every thread
 *   DTV           glibc's per-thread vector of blocks, found at thread
 *                 pointer + 8: entry m describes module m
 *
 * Between a refresh and the stop an object may come or go.  So a refresh
 * remembers what the linker's list of objects looked like (a hash, taken under
 * its lock), and with the world stopped it is looked at again, without the
 * lock [linux.roots.current]: when it differs, or a stopped thread was about
 * to change it, the caller starts the world and begins anew.
 *
 * Two tables exist of each; a refresh fills the idle one and then publishes
 * it, so a reader in a stopped world sees a whole one.
 *
 * Concurrency: one refresh at a time (asserted); the caller is the initiator
 * of a collection.  Memory comes from mmap: malloc may be locked by a thread
 * that the caller is about to stop, and fixmem is not needed for four tables.
 *
 * Assumptions about glibc, all checked by self_test at each refresh:
 *   [linux.tls.dtv]     *(thread pointer + 8) is the DTV; entries are 16
 *                       bytes {value, to_free}; entry -1 holds the length,
 *                       entry 0 the generation; value -1 is "not allocated";
 *                       to_free is NULL for static blocks
 *   [linux.tls.static]  static blocks lie below the thread pointer, at one
 *                       distance in every thread (x86-64 psABI, variant II)
 * A thread whose DTV is older than a module shows no entry for it, or the one
 * of an unloaded module of the same number: a block libc frees lazily.
 */
#include <arch/common/check.h>
#include <arch/os.h>
#include <arch/tls.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <string.h>

/* A DTV longer than this is not a DTV. */
#define DTV_LENGTH_MAX ((size_t) 1 << 20)

struct dtv_entry {
  uintptr_t value;
  uintptr_t to_free;
};
#define DTV_UNALLOCATED ((uintptr_t) -1)

struct tls_module {
  size_t id;            /* DTV index, from 1 */
  size_t bytes;         /* of the block */
  uintptr_t offset;     /* static: thread pointer - block; 0: dynamic */
  uintptr_t unresolved; /* static, offset not known yet: an address in it */
};

/* A growable array: static at first, so that a program with a usual number of
 * libraries can collect when no memory is left; then in its own mapping. */
struct table {
  void *mem;
  size_t mapped; /* bytes of the mapping; 0: mem is static */
  size_t n;      /* rows in use */
};
#define STATIC_ROWS 128
size_t mpgi_os_roots_static_rows = STATIC_ROWS;

struct lists {
  struct table ranges;  /* struct mpgi_range */
  struct table modules; /* struct tls_module */
  uintptr_t static_max; /* largest offset of a static module */
  uint64_t objects;     /* hash of the linker's list; 0: none is known */
};

/* [0] and [1]; current is the published one.  Written by refresh only. */
static struct mpgi_range first_ranges[2][STATIC_ROWS];
static struct tls_module first_modules[2][STATIC_ROWS];
static struct lists lists[2] = {
    {{first_ranges[0], 0, 0}, {first_modules[0], 0, 0}, 0, 0},
    {{first_ranges[1], 0, 0}, {first_modules[1], 0, 0}, 0, 0},
};
static _Atomic(struct lists *) current;
static atomic_flag refreshing = ATOMIC_FLAG_INIT;

/* ---- tables ---- */

static bool table_reserve(struct table *t, size_t n, size_t elem) {
  size_t bytes = n * elem;
  if (bytes <= t->mapped) return true;
  if (!t->mapped && n <= mpgi_os_roots_static_rows) return true;
  bytes = (bytes * 2 + mpgi_os_page_bytes - 1) & ~(mpgi_os_page_bytes - 1);
  void *mem = mpgi_os_mem_map(bytes, mpgi_os_page_bytes);
  if (!mem) return false;
  if (t->n) memcpy(mem, t->mem, t->n * elem);
  if (t->mapped) mpgi_os_mem_unmap(t->mem, t->mapped);
  t->mem = mem;
  t->mapped = bytes;
  return true;
}

static bool range_add(struct lists *l, uintptr_t lo, uintptr_t hi) {
  struct table *t = &l->ranges;
  if (lo >= hi) return true;
  if (!table_reserve(t, t->n + 1, sizeof(struct mpgi_range))) return false;
  ((struct mpgi_range *) t->mem)[t->n++] = (struct mpgi_range){lo, hi};
  return true;
}

static bool module_add(struct lists *l, const struct tls_module *m) {
  struct table *t = &l->modules;
  MPG_ASSERT(m->id > 0);
  if (!table_reserve(t, t->n + 1, sizeof *m)) return false;
  ((struct tls_module *) t->mem)[t->n++] = *m;
  if (m->offset > l->static_max) l->static_max = m->offset;
  return true;
}

/* ---- the DTV of a thread ---- */

static const struct dtv_entry *dtv_of(uintptr_t tp) {
  return *(const struct dtv_entry *const *) (tp + sizeof(uintptr_t));
}

/* The entry of module id; NULL when the thread has none.  A thread frozen
 * while libc moves its DTV shows the old, still readable one. */
static const struct dtv_entry *dtv_entry_of(uintptr_t tp, size_t id) {
  const struct dtv_entry *dtv = dtv_of(tp);
  if (!dtv) return NULL;
  size_t length = dtv[-1].value; /* [linux.tls.dtv] */
  if (length > DTV_LENGTH_MAX || id > length) return NULL;
  const struct dtv_entry *e = &dtv[id];
  return e->value && e->value != DTV_UNALLOCATED ? e : NULL;
}

/* ---- walking the loaded objects ---- */

static uintptr_t page_down(uintptr_t a) {
  return a & ~(mpgi_os_page_bytes - 1);
}

/* The part of [lo, hi) that stays writable: RELRO lies at its start. */
static uintptr_t skip_relro(const struct dl_phdr_info *info, uintptr_t lo,
                            uintptr_t hi) {
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
    if (ph->p_type != PT_GNU_RELRO) continue;
    uintptr_t from = page_down(info->dlpi_addr + ph->p_vaddr);
    uintptr_t to = page_down(info->dlpi_addr + ph->p_vaddr + ph->p_memsz);
    if (from <= lo && to > lo) return to < hi ? to : hi;
  }
  return lo;
}

static bool add_segments(struct lists *l, const struct dl_phdr_info *info) {
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
    if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_W)) continue;
    uintptr_t lo = info->dlpi_addr + ph->p_vaddr, hi = lo + ph->p_memsz;
    MPG_ASSERT(lo <= hi);
    if (!range_add(l, skip_relro(info, lo, hi), hi)) return false;
  }
  return true;
}

/* Was the object linked for static thread-local storage? */
static bool is_static_tls(const struct dl_phdr_info *info) {
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
    if (ph->p_type != PT_DYNAMIC) continue;
    const ElfW(Dyn) *d = (const void *) (info->dlpi_addr + ph->p_vaddr);
    for (; d->d_tag != DT_NULL; d++)
      if (d->d_tag == DT_FLAGS) return d->d_un.d_val & DF_STATIC_TLS;
  }
  return false;
}

static bool add_tls(struct lists *l, const struct dl_phdr_info *info,
                    const ElfW(Phdr) * ph) {
  uintptr_t tp = mpgi_os_thread_pointer();
  struct tls_module m = {info->dlpi_tls_modid, ph->p_memsz, 0, 0};
  const struct dtv_entry *e = dtv_entry_of(tp, m.id);
  if (info->dlpi_tls_data) {
    if (!e || e->value != (uintptr_t) info->dlpi_tls_data)
      mpgi_fatal("unknown layout of thread-local storage in this C library");
    if (!e->to_free) m.offset = tp - e->value;
    MPG_ASSERT(e->to_free || e->value < tp); /* [linux.tls.static] */
  } else if (is_static_tls(info)) {
    m.unresolved = info->dlpi_addr + ph->p_vaddr;
  }
  return module_add(l, &m);
}

/* An address in the library to leave out; 0: none. */
static uintptr_t skip_addr;

void mpgi_os_roots_skip(const void *addr) { skip_addr = (uintptr_t) addr; }

static bool contains(const struct dl_phdr_info *info, uintptr_t addr) {
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
    uintptr_t lo = info->dlpi_addr + ph->p_vaddr;
    if (ph->p_type == PT_LOAD && addr >= lo && addr < lo + ph->p_memsz)
      return true;
  }
  return false;
}

/* Linked into the main program or with us, it is not a library of its own. */
static bool is_skipped(const struct dl_phdr_info *info) {
  return skip_addr && info->dlpi_name && info->dlpi_name[0] &&
         contains(info, skip_addr) && !contains(info, (uintptr_t) &lists);
}

/* ---- the linker's list of objects ---- */

/* Where the linker describes itself to debuggers; NULL: unknown. */
static const struct r_debug *debug_info;

/* The main program's dynamic section says where, once it has been started. */
static void find_debug_info(const struct dl_phdr_info *info) {
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
    if (ph->p_type != PT_DYNAMIC) continue;
    const ElfW(Dyn) *d = (const void *) (info->dlpi_addr + ph->p_vaddr);
    for (; d->d_tag != DT_NULL; d++)
      if (d->d_tag == DT_DEBUG) debug_info = (const void *) d->d_un.d_ptr;
  }
}

static uint64_t mix(uint64_t h, uintptr_t v) {
  return (h ^ v) * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

/* Of the list as it is; 0: it can't be read. */
static uint64_t objects_hash(void) {
  uint64_t h = 1;
  if (!debug_info || debug_info->r_version < 1) return 0;
  for (const struct link_map *m = debug_info->r_map; m; m = m->l_next)
    h = mix(mix(mix(h, (uintptr_t) m), m->l_addr), (uintptr_t) m->l_ld);
  return h ? h : 1;
}

static int visit_object(struct dl_phdr_info *info, size_t size, void *arg) {
  struct lists *l = arg;
  if (l->ranges.n == 0 && l->modules.n == 0 && !l->objects) {
    find_debug_info(info); /* the first one is the main program */
    l->objects = objects_hash();
  }
  /* Older C libraries pass a shorter structure, without the TLS fields. */
  MPG_VERIFY(size >= offsetof(struct dl_phdr_info, dlpi_tls_data) + 8);
  if (!is_skipped(info) && !add_segments(l, info)) return -ENOMEM;
  for (int i = 0; i < info->dlpi_phnum; i++)
    if (info->dlpi_phdr[i].p_type == PT_TLS && info->dlpi_tls_modid &&
        !add_tls(l, info, &info->dlpi_phdr[i]))
      return -ENOMEM;
  return 0;
}

/* ---- static modules that came by dlopen ---- */

/* glibc's argument of __tls_get_addr (x86-64 psABI). */
struct tls_index {
  unsigned long module, offset;
};
/* Weak: a statically linked program has none, and no dlopen either. */
void *__tls_get_addr(struct tls_index *ti) __attribute__((weak));

/* A library with static TLS, loaded after this thread started and never
 * accessed here through the DTV: have libc fill our DTV entry.  The handle
 * keeps it loaded meanwhile; without it, it is gone and so is the block. */
static void resolve(struct lists *l, struct tls_module *m) {
  Dl_info info;
  struct link_map *map;
  size_t id = 0;
  if (!dladdr1((void *) m->unresolved, &info, (void **) &map, RTLD_DL_LINKMAP))
    return;
  if (!__tls_get_addr) return;
  void *handle = dlopen(map->l_name, RTLD_NOLOAD | RTLD_LAZY);
  if (!handle) return;
  if (dlinfo(handle, RTLD_DI_TLS_MODID, &id) == 0 && id == m->id) {
    struct tls_index ti = {m->id, 0};
    uintptr_t block = (uintptr_t) __tls_get_addr(&ti);
    uintptr_t tp = mpgi_os_thread_pointer();
    const struct dtv_entry *e = dtv_entry_of(tp, m->id);
    MPG_ASSERT(e && e->value == block);
    if (e && !e->to_free) m->offset = tp - block;
    if (m->offset > l->static_max) l->static_max = m->offset;
    m->unresolved = 0;
  }
  dlclose(handle);
}

static void resolve_all(struct lists *l) {
  struct tls_module *m = l->modules.mem;
  for (size_t i = 0; i < l->modules.n; i++)
    if (m[i].unresolved) resolve(l, &m[i]);
}

/* ---- refresh ---- */

/* Our own TLS words must be found: else the assumptions are wrong. */
static void self_test(const struct lists *l) {
  uintptr_t tp = mpgi_os_thread_pointer(), own = (uintptr_t) &mpgi_tls;
  const struct tls_module *m = l->modules.mem;
  for (size_t i = 0; i < l->modules.n; i++)
    if (m[i].offset && own >= tp - m[i].offset &&
        own < tp - m[i].offset + m[i].bytes)
      return;
  mpgi_fatal("unknown layout of thread-local storage in this C library");
}

int mpgi_os_roots_refresh(void) {
  bool busy = atomic_flag_test_and_set(&refreshing);
  MPG_ASSERT(!busy);
  (void) busy;
  int saved = errno;
  struct lists *was = atomic_load(&current);
  struct lists *l = was == &lists[0] ? &lists[1] : &lists[0];
  l->ranges.n = l->modules.n = 0;
  l->static_max = 0;
  l->objects = 0;
  int err = dl_iterate_phdr(visit_object, l);
  if (!err) {
    resolve_all(l);
    self_test(l);
    atomic_store(&current, l);
  }
  errno = saved;
  atomic_flag_clear(&refreshing);
  MPG_ASSERT(err == 0 || err == -ENOMEM);
  return err;
}

/* ---- readers: world stopped, or the refreshing thread ---- */

static const struct lists *published(void) {
  const struct lists *l = atomic_load(&current);
  MPG_ASSERT(l); /* refresh comes first */
  return l;
}

const struct mpgi_range *mpgi_os_roots(size_t *n) {
  const struct lists *l = published();
  *n = l->ranges.n;
  MPG_ASSERT(*n > 0); /* libc alone has writable data */
  return l->ranges.mem;
}

/* [linux.roots.current] r_state says that no thread is amid a change. */
bool mpgi_os_roots_current(void) {
  uint64_t was = published()->objects;
  if (!was) return true;
  return debug_info->r_state == RT_CONSISTENT && objects_hash() == was;
}

void mpgi_os_tls_words(uintptr_t thread_pointer,
                       void (*visit)(void *arg, const void *lo, const void *hi),
                       void *arg) {
  const struct lists *l = published();
  const struct tls_module *m = l->modules.mem;
  MPG_ASSERT(thread_pointer);
  for (size_t i = 0; i < l->modules.n; i++) {
    uintptr_t lo = thread_pointer - m[i].offset;
    if (!m[i].offset) {
      const struct dtv_entry *e = dtv_entry_of(thread_pointer, m[i].id);
      if (!e) continue;
      lo = e->value;
    }
    visit(arg, (const void *) lo, (const void *) (lo + m[i].bytes));
  }
}

void mpgi_os_tls_static(uintptr_t thread_pointer, uintptr_t *lo,
                        uintptr_t *hi) {
  const struct lists *l = published();
  MPG_ASSERT(thread_pointer > l->static_max);
  *lo = thread_pointer - l->static_max;
  *hi = thread_pointer;
}

/* ---- text ---- */

struct text_query {
  uintptr_t addr; /* 0: the main program, which comes first */
  struct mpgi_range *out;
  int max, n;
};

static int text_visit(struct dl_phdr_info *info, size_t size, void *arg) {
  struct text_query *q = arg;
  (void) size;
  if (q->addr && !contains(info, q->addr)) return 0;
  for (int i = 0; i < info->dlpi_phnum && q->n < q->max; i++) {
    const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
    if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X)) continue;
    uintptr_t lo = info->dlpi_addr + ph->p_vaddr;
    q->out[q->n++] = (struct mpgi_range){lo, lo + ph->p_memsz};
  }
  return 1; /* found: stop */
}

int mpgi_os_text_of(const void *addr, struct mpgi_range *out, int max) {
  MPG_ASSERT(out && max > 0);
  struct text_query q = {(uintptr_t) addr, out, max, 0};
  dl_iterate_phdr(text_visit, &q);
  MPG_ASSERT(q.n <= max);
  return q.n;
}
