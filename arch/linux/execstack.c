/* execstack.c - whether stacks are executable.
 *
 * GCC puts a piece of code on the stack for a nested function whose address is
 * taken, and marks the object file; linkers pass that on as PF_X of
 * PT_GNU_STACK.  The C library makes threads' stacks executable when a loaded
 * object has it, or has no PT_GNU_STACK, as old ones and some assembler's.
 * The same rule here, so that what works on a thread works on a goroutine.
 *
 * The vdso, which may have none either, isn't loaded by the dynamic linker.
 * What is opened later changes nothing.
 */
#include <errno.h>
#include <link.h>
#include <sys/auxv.h>

#include <arch/os.h>

bool mpgi_os_stacks_execute;

static bool is_vdso(const struct dl_phdr_info *info) {
  uintptr_t vdso = getauxval(AT_SYSINFO_EHDR), at = (uintptr_t) info->dlpi_phdr;
  return vdso && at - vdso < mpgi_os_page_bytes;
}

static int visit(struct dl_phdr_info *info, size_t size, void *arg) {
  unsigned flags = PF_X;
  (void) size, (void) arg;
  for (int i = 0; i < info->dlpi_phnum; i++)
    if (info->dlpi_phdr[i].p_type == PT_GNU_STACK)
      flags = info->dlpi_phdr[i].p_flags;
  return (flags & PF_X) && !is_vdso(info);
}

void mpgi_os_stacks_init(void) {
  int saved = errno;
  mpgi_os_stacks_execute = dl_iterate_phdr(visit, NULL) != 0;
  errno = saved;
}
