/* leaf.c - the C library's memory and string leaves, where a goroutine may be
 * preempted although they are foreign code.
 *
 * A loop around a memset of many megabytes is practically always inside it,
 * so "never in foreign code" would keep such a loop on its P for ever.  These
 * functions take no lock and touch nothing but their operands; each is one
 * frameless piece of assembler whose extent its unwind entry (FDE) gives
 * exactly [leaf.fde].  What an implementation jumps to outside that extent is
 * just not a leaf.  The caller must be user code: while a leaf has pushed
 * nothing the word at SP is its return address, and otherwise that word is
 * no code address, so it must be in user text.  (User code comes to them
 * through the stubs of libc.def, which only jump; so does this file, and looks
 * behind the jump.)
 *
 * [leaf.fde] DWARF CFI as GCC's unwinder registers it: length, CIE pointer,
 * pc_begin, pc_range, the latter two four bytes pc-relative (encoding 0x1b,
 * augmentation "zR"); an entry of another form is ignored.
 */
#include <sched/sched.h>

#include <string.h>
#include <strings.h>
#include <wchar.h>

#include <sched/gmp.h>

/* libgcc's unwind-dw2-fde.h, which is not installed. */
struct dwarf_eh_bases {
  void *tbase, *dbase, *func;
};
extern const void *_Unwind_Find_FDE(void *pc, struct dwarf_eh_bases *bases);

#define DW_EH_PE_PCREL_SDATA4 0x1b

static struct mpgi_range leaves[32];
static size_t nleaves; /* constant after init */

/* The FDE's CIE says how pc_range is encoded; 0 for a form we don't read. */
static uint32_t fde_range(const unsigned char *fde) {
  int32_t to_cie;
  uint32_t range;
  memcpy(&to_cie, fde + 4, 4);
  const unsigned char *cie = fde + 4 - to_cie;
  /* length 4, id 4, version 1, augmentation "zR\0", code alignment 1, data
   * alignment 1, return register 1, augmentation length 1, encoding */
  if (memcmp(cie + 9, "zR", 3) != 0 || cie[15] != 1 ||
      cie[16] != DW_EH_PE_PCREL_SDATA4)
    return 0;
  memcpy(&range, fde + 12, 4);
  return range;
}

static void add(void *named) {
  struct dwarf_eh_bases bases;
  void *fn = mpgi_arch_behind_jump(named);
  if (nleaves == sizeof leaves / sizeof *leaves) return;
  const unsigned char *fde = _Unwind_Find_FDE(fn, &bases);
  if (!fde || bases.func != fn) return;
  uint32_t bytes = fde_range(fde);
  if (bytes)
    leaves[nleaves++] =
        (struct mpgi_range){(uintptr_t) fn, (uintptr_t) fn + bytes};
}

void mpgi_leaf_init(void) {
  MPG_ASSERT(nleaves == 0);
  add((void *) memcpy);
  add((void *) memmove);
  add((void *) memset);
  add((void *) memcmp);
  add((void *) memchr);
  add((void *) memrchr);
  add((void *) rawmemchr);
  add((void *) strlen);
  add((void *) strnlen);
  add((void *) strcmp);
  add((void *) strncmp);
  add((void *) strchr);
  add((void *) strrchr);
  add((void *) strchrnul);
  add((void *) strcpy);
  add((void *) stpcpy);
  add((void *) wmemset);
}

bool mpgi_text_is_leaf(uintptr_t pc) {
  for (size_t i = 0; i < nleaves; i++)
    if (pc - leaves[i].lo < leaves[i].hi - leaves[i].lo) return true;
  return false;
}
