/* public.h - libmpg_nonshared.a: entry stubs for the public functions.
 *
 * lld and gold give 16 KiB of stack to every function that calls another
 * library, because they know nothing about its needs.  Public functions need
 * next to nothing of it: they leave for g0.  So a program linked with
 * libmpg.so calls hidden functions of its own, in objects with the note, that
 * jump on; its goroutines stay on 2 KiB, as with libmpg.a.
 *
 * One object each (tools/cmake/nonshared.cmake makes the sources), so that a
 * program wants only those functions of libmpg.so that it calls.
 *
 * The function is named by its version, because its plain name is the stub's
 * (as in libc/stub.S).  Not through the PLT: see stubs.S.
 */
#include <arch/x86_64/asm.h>

#define PUBLIC_STUB(name)                 \
  .symver mpgi_real_##name, name##@MPG_0; \
  .text;                                  \
  HIDDEN_FUNCTION(name);                  \
  .cfi_startproc;                         \
  jmp *mpgi_real_##name @GOTPCREL(% rip); \
  .cfi_endproc;                           \
  END_FUNCTION(name);                     \
  OBJECT_NOTES
