/* symtab.c - the name of the function at an address, without a library.
 *
 * For tracebacks in signal handlers, with the world stopped, and where libdw
 * isn't installed: maps the object's file and looks through its symbol table,
 * which, unlike dladdr, knows static functions, and takes no lock.  Only
 * system calls; signal-safe.
 */
#include <sched/sched.h>

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sched/gmp.h>

#include <sched/dump.h>

static const void *at(const struct mpgi_symtab *t, uint64_t offset,
                      uint64_t bytes) {
  if (offset > t->bytes || bytes > t->bytes - offset) return NULL;
  return (const char *) t->map + offset;
}

static const Elf64_Shdr *section(const struct mpgi_symtab *t, unsigned i) {
  const Elf64_Ehdr *eh = at(t, 0, sizeof *eh);
  if (i >= eh->e_shnum || eh->e_shentsize != sizeof(Elf64_Shdr)) return NULL;
  return at(t, eh->e_shoff + i * sizeof(Elf64_Shdr), sizeof(Elf64_Shdr));
}

static const Elf64_Shdr *find_section(const struct mpgi_symtab *t,
                                      uint32_t type) {
  const Elf64_Shdr *s;
  for (unsigned i = 0; (s = section(t, i)); i++)
    if (s->sh_type == type) return s;
  return NULL;
}

static bool map_file(struct mpgi_symtab *t, const char *path) {
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool ok = fstat(fd, &st) == 0 && st.st_size > (off_t) sizeof(Elf64_Ehdr);
  if (ok) {
    t->bytes = (size_t) st.st_size;
    t->map = mmap(NULL, t->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (t->map == MAP_FAILED) t->map = NULL;
  }
  close(fd);
  return t->map != NULL;
}

void mpgi_symtab_close(struct mpgi_symtab *t) {
  if (t->map) munmap(t->map, t->bytes);
  *t = (struct mpgi_symtab){.map = NULL};
}

/* The tables of the object; one at a time is kept. */
static bool open_object(struct mpgi_symtab *t, const char *path,
                        uintptr_t bias) {
  if (t->path == path && t->bias == bias) return t->symbols != NULL;
  mpgi_symtab_close(t);
  t->path = path;
  t->bias = bias;
  if (!map_file(t, path)) return false;
  const unsigned char *magic = t->map;
  if (memcmp(magic, ELFMAG, SELFMAG) != 0 || magic[EI_CLASS] != ELFCLASS64)
    return false;
  const Elf64_Shdr *s = find_section(t, SHT_SYMTAB);
  if (!s) s = find_section(t, SHT_DYNSYM);
  const Elf64_Shdr *names = s ? section(t, s->sh_link) : NULL;
  if (!names) return false;
  t->symbols = at(t, s->sh_offset, s->sh_size);
  t->count = s->sh_size / sizeof(Elf64_Sym);
  t->names = at(t, names->sh_offset, names->sh_size);
  t->names_bytes = names->sh_size;
  return t->symbols && t->names;
}

/* The function that contains addr; a symbol without a size reaches to the
 * next one. */
static const Elf64_Sym *find(const struct mpgi_symtab *t, uint64_t addr) {
  const Elf64_Sym *best = NULL, *s = t->symbols;
  for (size_t i = 0; i < t->count; i++, s++) {
    if (ELF64_ST_TYPE(s->st_info) != STT_FUNC &&
        ELF64_ST_TYPE(s->st_info) != STT_GNU_IFUNC)
      continue;
    if (s->st_shndx == SHN_UNDEF || s->st_value > addr) continue;
    if (s->st_size && addr - s->st_value >= s->st_size) continue;
    if (!best || s->st_value > best->st_value || s->st_size) best = s;
    if (s->st_size) return s;
  }
  return best;
}

bool mpgi_symtab_lookup(struct mpgi_symtab *t, uintptr_t pc,
                        struct mpgi_symbol *out) {
  const char *path;
  uintptr_t bias;
  if (!mpgi_text_object(pc, &path, &bias) || !open_object(t, path, bias))
    return false;
  const Elf64_Sym *s = find(t, pc - bias);
  if (!s || s->st_name >= t->names_bytes) return false;
  mpgi_format(out->name, sizeof out->name, "%.*s",
              (int) (t->names_bytes - s->st_name), t->names + s->st_name);
  out->offset = pc - bias - s->st_value;
  return out->name[0] != 0;
}
