/* roots.c - writable segments, thread-local blocks and text of loaded objects.
 *
 * The collector scans every writable segment of the program and its libraries
 * and every thread-local block of the stopped threads.  Both are listed by
 * mpgi_os_objects_list, with the world running, because the walk takes the
 * dynamic linker's lock; with the world stopped the lists are only read.
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
 * Between the listing and the stop an object may come or go.  So a list
 * remembers what the linker's list of objects looked like (a hash, taken under
 * its lock), and with the world stopped it is looked at again, without the
 * lock [linux.roots.current]: when it differs, or a stopped thread was about
 * to change it, the caller starts the world and begins anew.
 *
 * Concurrency: any number of threads list at the same time, each for itself,
 * whoever holds the linker's lock (in a constructor, in a callback) among them:
 * nobody who lists waits for anything but that lock.  A list is its maker's
 * until he adopts it, one thread at a time (whoever is about to stop the
 * world), or drops it.  The one adopted last is read by everybody.
 * Memory comes from mmap: malloc may be locked by a thread that the caller is
 * about to stop, and fixmem is not needed for a few tables.
 *
 * Assumptions about glibc, the first two checked by self_test for each list:
 *   [linux.tls.dtv]     *(thread pointer + 8) is the DTV; entries are 16
 *                       bytes {value, to_free}; entry -1 holds the length,
 *                       entry 0 the generation; value -1 is "not allocated";
 *                       to_free is NULL for static blocks
 *   [linux.tls.static]  static blocks lie below the thread pointer, at one
 *                       distance in every thread (x86-64 psABI, variant II)
 *   [linux.tls.tpoff]   R_X86_64_TPOFF64 is stored as symbol + addend - offset
 * A thread whose DTV is older than a module shows no entry for it, or the one
 * of an unloaded module of the same number: a block libc frees lazily.
 */
#include <arch/common/check.h>
#include <arch/linux/tls.h>
#include <arch/os.h>
#include <arch/tls.h>
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
  size_t id;        /* DTV index, from 1 */
  size_t bytes;     /* of the block */
  uintptr_t offset; /* static: thread pointer - block; 0: dynamic */
  /* Static, of unknown offset: a word that will lead to it; NULL: known. */
  const _Atomic intptr_t *pending;
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

struct mpgi_os_objects {
  struct table ranges;          /* struct mpgi_range */
  struct table modules;         /* struct tls_module */
  uint64_t hash;                /* of the linker's list; 0: none is known */
  _Atomic bool taken;           /* is somebody's, or current */
  struct mpgi_os_objects *next; /* in all; never changes once it is there */
};

/* The one that is current, one that somebody fills while he can't go on, and
 * one to fill, need no memory. */
#define STATIC_LISTS 3
static struct mpgi_range first_ranges[STATIC_LISTS][STATIC_ROWS];
static struct tls_module first_modules[STATIC_LISTS][STATIC_ROWS];
#define FIRST(i, after)                                                     \
  {                                                                         \
    .ranges = {first_ranges[i], 0, 0}, .modules = {first_modules[i], 0, 0}, \
    .next = after                                                           \
  }
static struct mpgi_os_objects first[STATIC_LISTS] = {
    FIRST(0, &first[1]), FIRST(1, &first[2]), FIRST(2, NULL)};
static _Atomic(struct mpgi_os_objects *) all = &first[0];
static _Atomic(struct mpgi_os_objects *) current;
/* The largest offset of a static module that any list had. */
static _Atomic uintptr_t static_max;

/* ---- tables ---- */

static bool table_reserve(struct table *t, size_t n, size_t elem) {
  size_t bytes = n * elem;
  if (bytes <= t->mapped) return true;
  if (t->mem && !t->mapped && n <= mpgi_os_roots_static_rows) return true;
  bytes = (bytes * 2 + mpgi_os_page_bytes - 1) & ~(mpgi_os_page_bytes - 1);
  void *mem = mpgi_os_mem_map(bytes, mpgi_os_page_bytes);
  if (!mem) return false;
  if (t->n) memcpy(mem, t->mem, t->n * elem);
  if (t->mapped) mpgi_os_mem_unmap(t->mem, t->mapped);
  t->mem = mem;
  t->mapped = bytes;
  return true;
}

static bool range_add(struct mpgi_os_objects *l, uintptr_t lo, uintptr_t hi) {
  struct table *t = &l->ranges;
  if (lo >= hi) return true;
  if (!table_reserve(t, t->n + 1, sizeof(struct mpgi_range))) return false;
  ((struct mpgi_range *) t->mem)[t->n++] = (struct mpgi_range){lo, hi};
  return true;
}

static void static_max_raise(uintptr_t offset) {
  uintptr_t max = atomic_load(&static_max);
  while (offset > max &&
         !atomic_compare_exchange_weak(&static_max, &max, offset))
    continue;
}

static bool module_add(struct mpgi_os_objects *l, const struct tls_module *m) {
  struct table *t = &l->modules;
  MPG_ASSERT(m->id > 0);
  if (!table_reserve(t, t->n + 1, sizeof *m)) return false;
  ((struct tls_module *) t->mem)[t->n++] = *m;
  static_max_raise(m->offset);
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

static bool add_segments(struct mpgi_os_objects *l,
                         const struct dl_phdr_info *info) {
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
    if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_W)) continue;
    uintptr_t lo = info->dlpi_addr + ph->p_vaddr, hi = lo + ph->p_memsz;
    MPG_ASSERT(lo <= hi);
    if (!range_add(l, skip_relro(info, lo, hi), hi)) return false;
  }
  return true;
}

/* ---- static modules that came by dlopen ----
 *
 * A thread that never accessed one through its DTV has no entry for it, and
 * having libc make one takes another of the linker's locks.  But a library
 * with static thread-local storage holds distances from the thread pointer,
 * relocated words: its block's follows from one of them [linux.tls.tpoff].
 * The one of a variable that can't be another library's is best.  Before it is
 * relocated (and is used) the word isn't negative. */

struct dynamic {
  const ElfW(Rela) * rela;
  size_t n;
  const ElfW(Sym) * symbols;
  bool is_static;
};

/* The linker may have made it an address, or not. */
static uintptr_t address_of(const struct dl_phdr_info *info, uintptr_t d_ptr) {
  return d_ptr < info->dlpi_addr ? d_ptr + info->dlpi_addr : d_ptr;
}

static void read_dynamic(const struct dl_phdr_info *info,
                         const ElfW(Dyn) * entry, struct dynamic *d) {
  for (; entry->d_tag != DT_NULL; entry++) {
    uintptr_t v = entry->d_un.d_val;
    switch (entry->d_tag) {
    case DT_RELA: d->rela = (const void *) address_of(info, v); break;
    case DT_RELASZ: d->n = v / sizeof(ElfW(Rela)); break;
    case DT_SYMTAB: d->symbols = (const void *) address_of(info, v); break;
    case DT_FLAGS: d->is_static = v & DF_STATIC_TLS; break;
    default: break;
    }
  }
}

/* A distance from the thread pointer to something of this object. */
static bool is_own_distance(const struct dynamic *d, const ElfW(Rela) * r,
                            bool certain) {
  if (ELF64_R_TYPE(r->r_info) != R_X86_64_TPOFF64) return false;
  size_t i = ELF64_R_SYM(r->r_info);
  if (i == 0) return true;
  const ElfW(Sym) *sym = &d->symbols[i];
  return sym->st_shndx != SHN_UNDEF &&
         (!certain || ELF64_ST_BIND(sym->st_info) == STB_LOCAL);
}

static const ElfW(Rela) * find_distance(const struct dynamic *d, bool certain) {
  for (size_t i = 0; d->symbols && i < d->n; i++)
    if (is_own_distance(d, &d->rela[i], certain)) return &d->rela[i];
  return NULL;
}

static void find_static(const struct dl_phdr_info *info, struct tls_module *m) {
  struct dynamic d = {0};
  for (int i = 0; i < info->dlpi_phnum; i++)
    if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
      read_dynamic(
          info, (const void *) (info->dlpi_addr + info->dlpi_phdr[i].p_vaddr),
          &d);
  if (!d.is_static || !d.rela) return;
  const ElfW(Rela) *r = find_distance(&d, true);
  if (!r) r = find_distance(&d, false);
  if (!r) return;
  const _Atomic intptr_t *word = (const void *) (info->dlpi_addr + r->r_offset);
  intptr_t distance = atomic_load(word), at = (intptr_t) r->r_addend;
  size_t i = ELF64_R_SYM(r->r_info);
  if (i) at += (intptr_t) d.symbols[i].st_value;
  if (distance < 0)
    m->offset = (uintptr_t) (at - distance);
  else
    m->pending = word;
}

static bool add_tls(struct mpgi_os_objects *l, const struct dl_phdr_info *info,
                    const ElfW(Phdr) * ph) {
  uintptr_t tp = mpgi_os_thread_pointer();
  struct tls_module m = {info->dlpi_tls_modid, ph->p_memsz, 0, NULL};
  const struct dtv_entry *e = dtv_entry_of(tp, m.id);
  if (info->dlpi_tls_data) {
    if (!e || e->value != (uintptr_t) info->dlpi_tls_data)
      mpgi_fatal("unknown layout of thread-local storage in this C library");
    if (!e->to_free) m.offset = tp - e->value;
    MPG_ASSERT(e->to_free || e->value < tp); /* [linux.tls.static] */
  } else {
    find_static(info, &m);
  }
  mpgi_linux_tls_add(info->dlpi_name, m.offset, m.bytes);
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
         contains(info, skip_addr) && !contains(info, (uintptr_t) &first);
}

/* ---- the linker's list of objects ---- */

/* Where the linker describes itself to debuggers; NULL: unknown.  Every list
 * finds the same, under the linker's lock. */
static const struct r_debug *_Atomic debug_info;

/* The main program's dynamic section says where, once it has been started. */
static void find_debug_info(const struct dl_phdr_info *info) {
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
    if (ph->p_type != PT_DYNAMIC) continue;
    const ElfW(Dyn) *d = (const void *) (info->dlpi_addr + ph->p_vaddr);
    for (; d->d_tag != DT_NULL; d++)
      if (d->d_tag == DT_DEBUG)
        atomic_store(&debug_info, (const void *) d->d_un.d_ptr);
  }
}

static uint64_t mix(uint64_t h, uintptr_t v) {
  return (h ^ v) * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

/* Of the list as it is; 0: it can't be read. */
static uint64_t objects_hash(void) {
  uint64_t h = 1;
  const struct r_debug *info = atomic_load(&debug_info);
  if (!info || info->r_version < 1) return 0;
  for (const struct link_map *m = info->r_map; m; m = m->l_next)
    h = mix(mix(mix(h, (uintptr_t) m), m->l_addr), (uintptr_t) m->l_ld);
  return h ? h : 1;
}

static int visit_object(struct dl_phdr_info *info, size_t size, void *arg) {
  struct mpgi_os_objects *l = arg;
  if (l->ranges.n == 0 && l->modules.n == 0 && !l->hash) {
    find_debug_info(info); /* the first one is the main program */
    l->hash = objects_hash();
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

/* ---- lists ---- */

/* Our own TLS words must be found: else the assumptions are wrong. */
static void self_test(const struct mpgi_os_objects *l) {
  uintptr_t tp = mpgi_os_thread_pointer(), own = (uintptr_t) &mpgi_tls;
  const struct tls_module *m = l->modules.mem;
  for (size_t i = 0; i < l->modules.n; i++)
    if (m[i].offset && own >= tp - m[i].offset &&
        own < tp - m[i].offset + m[i].bytes)
      return;
  mpgi_fatal("unknown layout of thread-local storage in this C library");
}

static struct mpgi_os_objects *list_take(void) {
  struct mpgi_os_objects *l = atomic_load(&all);
  for (; l; l = l->next)
    if (!atomic_load(&l->taken) && !atomic_exchange(&l->taken, true)) return l;
  l = mpgi_os_mem_map(mpgi_os_page_bytes, mpgi_os_page_bytes);
  if (!l) return NULL;
  atomic_init(&l->taken, true);
  l->next = atomic_load(&all);
  while (!atomic_compare_exchange_weak(&all, &l->next, l)) continue;
  return l;
}

void mpgi_os_objects_drop(struct mpgi_os_objects *l) {
  MPG_ASSERT(atomic_load(&l->taken) && l != atomic_load(&current));
  atomic_store(&l->taken, false);
}

struct mpgi_os_objects *mpgi_os_objects_list(void) {
  struct mpgi_os_objects *l = list_take();
  if (!l) return NULL;
  int saved = errno;
  l->ranges.n = l->modules.n = 0;
  l->hash = 0;
  int err = dl_iterate_phdr(visit_object, l);
  MPG_ASSERT(err == 0 || err == -ENOMEM);
  if (!err) {
    self_test(l);
  } else {
    mpgi_os_objects_drop(l);
    l = NULL;
  }
  errno = saved;
  return l;
}

void mpgi_os_objects_adopt(struct mpgi_os_objects *l) {
  struct mpgi_os_objects *was = atomic_exchange(&current, l);
  MPG_ASSERT(l && l != was && atomic_load(&l->taken));
  if (was) atomic_store(&was->taken, false);
}

int mpgi_os_roots_refresh(void) {
  struct mpgi_os_objects *l = mpgi_os_objects_list();
  if (l) mpgi_os_objects_adopt(l);
  return l ? 0 : -ENOMEM;
}

/* ---- readers: world stopped, or whoever adopts ---- */

static const struct mpgi_os_objects *published(void) {
  const struct mpgi_os_objects *l = atomic_load(&current);
  MPG_ASSERT(l); /* refresh comes first */
  return l;
}

const struct mpgi_range *mpgi_os_objects_ranges(const struct mpgi_os_objects *l,
                                                size_t *n) {
  *n = l->ranges.n;
  MPG_ASSERT(*n > 0); /* libc alone has writable data */
  return l->ranges.mem;
}

const struct mpgi_range *mpgi_os_roots(size_t *n) {
  return mpgi_os_objects_ranges(published(), n);
}

/* A library that was not relocated yet has been since. */
static bool any_is_known_now(const struct mpgi_os_objects *l) {
  const struct tls_module *m = l->modules.mem;
  for (size_t i = 0; i < l->modules.n; i++)
    if (m[i].pending && atomic_load(m[i].pending) < 0) return true;
  return false;
}

/* [linux.roots.current] r_state says that no thread is amid a change. */
bool mpgi_os_roots_current(void) {
  const struct mpgi_os_objects *l = published();
  if (!l->hash) return true;
  return atomic_load(&debug_info)->r_state == RT_CONSISTENT &&
         objects_hash() == l->hash && !any_is_known_now(l);
}

void mpgi_os_tls_words(uintptr_t thread_pointer,
                       void (*visit)(void *arg, const void *lo, const void *hi),
                       void *arg) {
  const struct mpgi_os_objects *l = published();
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
  uintptr_t max = atomic_load(&static_max);
  MPG_ASSERT(max && thread_pointer > max); /* refresh comes first */
  *lo = thread_pointer - max;
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
