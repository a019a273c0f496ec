/* split.c - what is seen of how user code was compiled and linked. */
#include <arch/arch.h>

#include <arch/x86_64/split.h>

MPGI_HIDDEN extern const uint8_t mpgi_split_probe[];

const char *mpgi_arch_refuses_linker(void) {
  return mpgi_split_probe[0] == MPGI_SPLIT_UNCHANGED ? MPGI_SPLIT_REFUSED
                                                     : NULL;
}

/* No further than it agrees: nothing may be mapped behind the function. */
static bool is(const uint8_t *code, const char *bytes) {
  for (int i = 0; i < 4; i++)
    if (code[i] != (uint8_t) bytes[i]) return false;
  return true;
}

/* Not the comparison of SP itself, which the caller has looked for.  A larger
 * frame is compared in r11; computing it alone is what plain code with
 * -fstack-clash-protection begins with, too. */
bool mpgi_arch_is_split_slow(uintptr_t fn) {
  const uint8_t *code = (const uint8_t *) fn;
  if (is(code, "\xf9\x0f\x1f\x84")) return true; /* stc; nopl ... */
  return is(code, "\x4c\x8d\x9c\x24") /* lea ...(%rsp), %r11 */ &&
         is(code + 8, "\x64\x4c\x3b\x1c"); /* cmp %fs:..., %r11 */
}
