/* symbol.c - what stands at an address: function, file and line.
 *
 * With elfutils' libdw, opened when the first traceback wants it: reading
 * debug information is a library's work, and a program that never prints a
 * traceback shouldn't need, load or link one.  It allocates and takes locks, so
 * it is used only where the caller says so (dump.c).  Otherwise, and without
 * libdw: the function's name by symtab.c.
 *
 * Opening it takes the dynamic linker's lock, which a constructor of the
 * program's may hold that is stopped because the program dies.  So a thread of
 * its own opens it, and is waited for no longer than OPEN_NS.
 *
 * Not in programs linked with -static: what they open gets a C library of its
 * own, whose thread-local variables no thread here has.
 *
 * libdw's few functions and one structure are declared here, as its headers
 * declare them (ABI ELFUTILS_0.122 and 0.158).
 */
#include <sched/sched.h>

#include <dlfcn.h>
#include <errno.h>
#include <gnu/libc-version.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sched/gmp.h>

#include <sched/dump.h>

typedef struct Dwfl Dwfl;
typedef struct Dwfl_Module Dwfl_Module;
typedef struct Dwfl_Line Dwfl_Line;
typedef struct Dwarf_Die Dwarf_Die;
typedef struct Dwarf_Line Dwarf_Line;
typedef int find_debuginfo(Dwfl_Module *, void **, const char *, uint64_t,
                           const char *, const char *, uint32_t, char **);
struct callbacks {
  void *find_elf;
  find_debuginfo *find_debuginfo;
  void *section_address;
  char **debuginfo_path;
};

#define OPEN_NS INT64_C(2000000000)
#define OPEN_STACK_BYTES ((size_t) 256 << 10)

enum { CLOSED, OPENING, OPEN, NONE };
static _Atomic uint32_t library; /* futex */

static struct {
  Dwfl *(*begin)(const struct callbacks *);
  int (*proc_report)(Dwfl *, pid_t);
  int (*report_end)(Dwfl *, void *, void *);
  void (*end)(Dwfl *);
  Dwfl_Module *(*addrmodule)(Dwfl *, uint64_t);
  const char *(*addrinfo)(Dwfl_Module *, uint64_t, uint64_t *, void *,
                          uint32_t *, void **, uint64_t *);
  Dwfl_Line *(*getsrc)(Dwfl_Module *, uint64_t);
  const char *(*lineinfo)(Dwfl_Line *, uint64_t *, int *, int *, uint64_t *,
                          uint64_t *);
  Dwarf_Die *(*nextcu)(Dwfl_Module *, Dwarf_Die *, uint64_t *);
  int (*haspc)(Dwarf_Die *, uint64_t);
  Dwarf_Line *(*getsrc_die)(Dwarf_Die *, uint64_t);
  const char *(*linesrc)(Dwarf_Line *, uint64_t *, uint64_t *);
  int (*lineno)(Dwarf_Line *, int *);
  find_debuginfo *standard;
  struct callbacks callbacks;
} dw;

/* Separate debug files, but none from the network. */
static int local_debuginfo(Dwfl_Module *m, void **user, const char *name,
                           uint64_t base, const char *file, const char *link,
                           uint32_t crc, char **out) {
  const char *urls = getenv("DEBUGINFOD_URLS");
  if (urls && *urls) return -1;
  return dw.standard(m, user, name, base, file, link, crc, out);
}

static bool open_library(void) {
  void *h = dlopen("libdw.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!h) return false;
  const struct {
    const char *name;
    void **to;
  } table[] = {
      {"dwfl_begin", (void **) &dw.begin},
      {"dwfl_linux_proc_report", (void **) &dw.proc_report},
      {"dwfl_report_end", (void **) &dw.report_end},
      {"dwfl_end", (void **) &dw.end},
      {"dwfl_addrmodule", (void **) &dw.addrmodule},
      {"dwfl_module_addrinfo", (void **) &dw.addrinfo},
      {"dwfl_module_getsrc", (void **) &dw.getsrc},
      {"dwfl_lineinfo", (void **) &dw.lineinfo},
      {"dwfl_module_nextcu", (void **) &dw.nextcu},
      {"dwarf_haspc", (void **) &dw.haspc},
      {"dwarf_getsrc_die", (void **) &dw.getsrc_die},
      {"dwarf_linesrc", (void **) &dw.linesrc},
      {"dwarf_lineno", (void **) &dw.lineno},
      {"dwfl_standard_find_debuginfo", (void **) &dw.standard},
      {"dwfl_linux_proc_find_elf", &dw.callbacks.find_elf},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (!(*table[i].to = dlsym(h, table[i].name))) return false;
  dw.callbacks.find_debuginfo = local_debuginfo;
  return true;
}

static void opener(void *arg) {
  (void) arg;
  mpgi_fixmem_outside(); /* no stop waits for this thread */
  atomic_store(&library, open_library() ? OPEN : NONE);
  mpgi_os_futex_wake(&library, INT32_MAX);
}

static bool is_static(void) {
  return mpgi_text_same_object((uintptr_t) gnu_get_libc_version,
                               (uintptr_t) mpgi_fatal);
}

static bool have_library(void) {
  uint32_t s = CLOSED;
  if (is_static()) return false;
  if (atomic_compare_exchange_strong(&library, &s, OPENING) &&
      mpgi_os_thread_start(opener, NULL, OPEN_STACK_BYTES, "mpg-symbols") != 0)
    atomic_store(&library, CLOSED); /* next time, then */
  int64_t end = mpgi_os_now() + OPEN_NS, now;
  while ((s = atomic_load(&library)) == OPENING && (now = mpgi_os_now()) < end)
    mpgi_os_futex_wait(&library, OPENING, end - now);
  return s == OPEN;
}

void mpgi_symbols_begin(struct mpgi_symbols *s, bool with_library) {
  memset(s, 0, sizeof *s);
  s->saved_errno = errno;
  if (!with_library || !have_library()) return;
  Dwfl *d = dw.begin(&dw.callbacks);
  if (!d) return;
  if (dw.proc_report(d, getpid()) == 0 && dw.report_end(d, NULL, NULL) == 0)
    s->dwfl = d;
  else
    dw.end(d);
}

void mpgi_symbols_end(struct mpgi_symbols *s) {
  if (s->dwfl) dw.end(s->dwfl);
  s->dwfl = NULL;
  mpgi_symtab_close(&s->symtab);
  errno = s->saved_errno;
}

/* Clang lists no address ranges apart from its units (.debug_aranges), and
 * getsrc looks nowhere else. */
static const char *line_by_unit(Dwfl_Module *m, uintptr_t pc, int *number) {
  uint64_t bias = 0;
  for (Dwarf_Die *unit = NULL; (unit = dw.nextcu(m, unit, &bias));) {
    if (dw.haspc(unit, pc - bias) != 1) continue;
    Dwarf_Line *line = dw.getsrc_die(unit, pc - bias);
    if (!line || dw.lineno(line, number) != 0) return NULL;
    return dw.linesrc(line, NULL, NULL);
  }
  return NULL;
}

static bool by_library(struct mpgi_symbols *s, uintptr_t pc,
                       struct mpgi_symbol *out) {
  Dwfl_Module *m = dw.addrmodule(s->dwfl, pc);
  if (!m) return false;
  uint64_t symbol[3], offset = 0; /* a GElf_Sym */
  const char *name = dw.addrinfo(m, pc, &offset, symbol, NULL, NULL, NULL);
  if (!name) return false;
  mpgi_format(out->name, sizeof out->name, "%s", name);
  out->offset = offset;
  Dwfl_Line *line = dw.getsrc(m, pc);
  const char *file = line
                         ? dw.lineinfo(line, NULL, &out->line, NULL, NULL, NULL)
                         : line_by_unit(m, pc, &out->line);
  if (file) mpgi_format(out->file, sizeof out->file, "%s", file);
  return true;
}

const struct mpgi_symbol *mpgi_symbols_at(struct mpgi_symbols *s,
                                          uintptr_t pc) {
  struct mpgi_symbol *c = &s->cache[pc % MPGI_SYMBOLS_CACHED];
  if (c->pc == pc) return c;
  *c = (struct mpgi_symbol){.pc = pc};
  if (s->dwfl && by_library(s, pc, c)) return c;
  if (!mpgi_symtab_lookup(&s->symtab, pc, c)) c->name[0] = 0;
  return c;
}
